//! How a client connects and how much it may hold: checked values with defaults, set through `ClientBuilder`.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::tls::TlsOptions;

/// Everything that can be chosen about a client.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Shown in the broker's list of connections.
    pub(crate) name: Option<String>,
    /// Wished heartbeat interval; zero: none.
    pub(crate) heartbeat: Duration,
    /// For TCP and login together.
    pub(crate) connect_timeout: Duration,
    /// For each request, reconnecting included.
    pub(crate) request_timeout: Duration,
    /// For what is still unconfirmed when the client is closed.
    pub(crate) close_timeout: Duration,
    /// Largest frame we are willing to read; 0: the broker's choice.
    pub(crate) frame_max: u32,
    /// Bytes of messages that wait for their outcome (or to be written) before `publish` waits.
    pub(crate) publish_buffer: usize,
    /// What to do when the connection breaks.
    pub(crate) reconnect: Reconnect,
    /// Whom to trust when the connection is encrypted.
    pub(crate) tls: TlsOptions,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: None,
            heartbeat: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(10),
            frame_max: 0,
            publish_buffer: 32 * 1024 * 1024,
            reconnect: Reconnect::default(),
            tls: TlsOptions::default(),
        }
    }
}

/// Whether and how a broken connection is made again: exponential back-off with jitter.
///
/// The first connection is not covered: `connect()` fails at once, so that a typing mistake in an address
/// is an error and not a wait.
///
/// ```
/// use std::time::Duration;
/// use rialto_client::Reconnect;
/// let patient = Reconnect::default().max_delay(Duration::from_secs(60));
/// let impatient = Reconnect::default().attempts(3);
/// let never = Reconnect::never();
/// ```
#[derive(Clone, Debug)]
pub struct Reconnect {
    first_delay: Duration,
    max_delay: Duration,
    attempts: Option<usize>,
}

impl Default for Reconnect {
    /// From 100 ms to 10 s, without end.
    fn default() -> Self {
        Reconnect {
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(10),
            attempts: None,
        }
    }
}

impl Reconnect {
    /// A broken connection is the end.
    pub fn never() -> Self {
        Reconnect { attempts: Some(0), ..Self::default() }
    }

    /// The wait before the first attempt; each further one doubles it. Jitter adds up to as much again.
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The longest wait before jitter.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Gives up after so many attempts in a row.
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// The delays before each attempt.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        let builder = ExponentialBuilder::new()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_jitter();
        match self.attempts {
            Some(attempts) => builder.with_max_times(attempts),
            None => builder.without_max_times(),
        }
        .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit_with_jitter() {
        let delays: Vec<_> = Reconnect::default().delays().take(12).collect();
        assert_eq!(delays.len(), 12);
        assert!(delays[0] >= Duration::from_millis(100) && delays[0] <= Duration::from_millis(200));
        assert!(delays[11] >= Duration::from_secs(10) && delays[11] <= Duration::from_secs(20));
    }

    #[test]
    fn attempts_are_counted() {
        assert_eq!(Reconnect::never().delays().count(), 0);
        assert_eq!(Reconnect::default().attempts(3).delays().count(), 3);
    }
}
