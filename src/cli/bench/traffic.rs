//! The two ends of the traffic, as a round drives them, whatever protocol they speak.

use std::net::TcpStream;

use hdrhistogram::Histogram;

use super::error::BenchResult;

/// When a message of a batch was due, in nanoseconds of the round's clock.
pub(super) type Due<'a> = &'a dyn Fn(u32) -> u64;

/// A publishing connection.
pub(super) trait Publisher: Send {
    /// Publishes `count` messages, from 1 to the plan's batch. Waits while the broker or the window of
    /// unconfirmed messages does not let it. With `due`, bodies carry those times.
    fn publish(&mut self, count: u32, due: Option<Due<'_>>) -> BenchResult<()>;

    /// Something has come over the socket: takes it in. Waits if nothing has.
    fn listen(&mut self) -> BenchResult<()> {
        Ok(())
    }

    /// Waits until the broker has taken everything and answered for it, and closes the connection.
    fn finish(&mut self) -> BenchResult<Answers>;

    /// The window begins: what is published from here on counts.
    fn begin_window(&mut self) {}

    /// Nanoseconds that each message of the window has waited to be confirmed, if it is.
    fn confirm_times(&self) -> Option<&Histogram<u64>> {
        None
    }

    /// The socket, by which a round that has failed ends this.
    fn socket(&self) -> &TcpStream;
}

/// A consuming connection.
pub(super) trait Consumer: Send {
    /// Reads once and says what has come; none once the connection has ended. `stamp` is called for each
    /// message's time, if the plan has stamps.
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>>;

    /// Whether something has come that the socket does not tell of any more: it was read, and there was no room.
    fn has_more(&mut self) -> bool {
        false
    }

    /// The socket, by which the round ends this.
    fn socket(&self) -> &TcpStream;
}

/// What the broker said about published messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Confirmed; 0 without confirms.
    pub(super) confirmed: u64,
    /// Not taken: no queue, or refused.
    pub(super) rejected: u64,
}

/// Connections that are ready to go.
pub(super) struct Ends {
    pub(super) publishers: Vec<Box<dyn Publisher>>,
    pub(super) consumers: Vec<Box<dyn Consumer>>,
    /// Removes what was made for the round.
    pub(super) clean_up: Box<dyn FnOnce() -> BenchResult<()>>,
}
