//! A broker inside another program, reachable on a port of its own: for tests, examples and applications.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Server, ServerOptions};
use crate::broker::{Broker, Turn};
use crate::model::ManualClock;

/// A running broker. It stops when this is dropped; [`Embedded::stop`] also waits for its connections to end.
///
/// ```
/// use rialto::broker::Broker;
/// use rialto::server::Embedded;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let broker = Embedded::start(Broker::in_memory().build()).await?;
/// println!("connect to {}", broker.url());
/// broker.stop().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Embedded {
    broker: Broker,
    address: SocketAddr,
    stop: CancellationToken,
    running: Option<JoinHandle<bool>>,
    clock: Option<Arc<ManualClock>>,
}

impl Embedded {
    /// Serves a broker on a free port of the loopback interface.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(broker: Broker) -> io::Result<Embedded> {
        Self::start_with(broker, ServerOptions::default()).await
    }

    /// [`Embedded::start`] with other options.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start_with(broker: Broker, options: ServerOptions) -> io::Result<Embedded> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(broker.clone(), &[any], options).await?;
        let address = server.addresses()?[0];
        let stop = server.stop_token();
        let running = Some(tokio::spawn(server.run()));
        Ok(Embedded { broker, address, stop, running, clock: None })
    }

    /// A broker whose time stands still until [`Embedded::advance`] moves it: an hour's time to live passes in
    /// a test's millisecond.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn with_manual_clock() -> io::Result<Embedded> {
        let clock = Arc::new(ManualClock::new());
        let broker = Broker::in_memory().clock(clock.clone()).build();
        let mut embedded = Self::start(broker).await?;
        embedded.clock = Some(clock);
        Ok(embedded)
    }

    /// Moves the manual clock on, and lets everything happen that was due by then: messages expire, die and
    /// arrive elsewhere before this returns.
    ///
    /// # Panics
    /// If the broker was not made by [`Embedded::with_manual_clock`].
    pub fn advance(&self, by: Duration) {
        let clock = self.clock.as_ref().expect("advance needs a broker made by with_manual_clock");
        clock.advance(by);
        self.broker.run_timers(&mut Turn::new());
    }

    /// The broker itself.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients connect to, as the user `guest` in the vhost `/`.
    pub fn url(&self) -> String {
        format!("rialto://guest:guest@{}", self.address)
    }

    /// Stops, telling every connection, and waits until all have ended. True if they did so in time.
    pub async fn stop(mut self) -> bool {
        self.stop.cancel();
        match self.running.take() {
            Some(running) => running.await.unwrap_or(false),
            None => true,
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
