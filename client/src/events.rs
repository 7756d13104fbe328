//! What happens to the connection, for those who want to know: the state now, and a stream of events.
//!
//! Nobody has to listen: events are kept in a ring of [`EVENTS_KEPT`], and a listener that is slower than
//! that loses the oldest.

use std::time::Duration;

use rialto_protocol::types::ShortStr;
use tokio::sync::{broadcast, watch};

use crate::error::Error;

/// How many events wait for a slow listener.
pub const EVENTS_KEPT: usize = 256;

/// The state of the connection.
#[derive(Clone, Debug)]
pub enum ConnectionState {
    /// Connected; everything declared and consumed has been restored.
    Connected,
    /// Broken; waiting to try again, connecting, or restoring.
    Reconnecting,
    /// Ended for good, with the error that ended it; none if it was closed on purpose.
    Closed(Option<Error>),
}

/// Something that happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection broke.
    Disconnected {
        /// Why.
        error: Error,
    },
    /// The next attempt to connect comes after this delay.
    Reconnecting {
        /// Counts from 1 since the connection broke.
        attempt: usize,
        /// The wait before it.
        delay: Duration,
    },
    /// An attempt to connect failed.
    AttemptFailed {
        /// Counts from 1 since the connection broke.
        attempt: usize,
        /// Why.
        error: Error,
    },
    /// The connection is back, and what was declared and consumed has been restored.
    Reconnected {
        /// How many messages are published again because their outcome is not known.
        republished: usize,
    },
    /// Something could not be restored. The rest has been.
    RestoreFailed {
        /// What: `declare queue "tasks"`.
        what: String,
        /// Why.
        error: Error,
    },
    /// A queue whose name the broker makes has another name on the new connection. Bindings and consumers
    /// that this client made follow it.
    QueueRenamed {
        /// Its name on the old connection.
        old: ShortStr,
        /// Its name now.
        new: ShortStr,
    },
    /// The broker withholds publish credit; publishing waits.
    Blocked {
        /// Why.
        reason: ShortStr,
    },
    /// Publish credit flows again.
    Unblocked,
    /// The client has ended for good.
    Closed {
        /// Why; none if it was closed on purpose.
        error: Option<Error>,
    },
}

/// A listener to the events since it was made. See [`crate::Client::events`].
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after [`Event::Closed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Where the connection's task tells what happens.
#[derive(Debug)]
pub(crate) struct Announcer {
    state: watch::Sender<ConnectionState>,
    /// Taken away at the end, so that listeners see it.
    events: parking_lot::Mutex<Option<broadcast::Sender<Event>>>,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        Announcer {
            state: watch::Sender::new(ConnectionState::Reconnecting),
            events: parking_lot::Mutex::new(Some(broadcast::Sender::new(EVENTS_KEPT))),
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(events) = &*self.events.lock() {
            // An error only says that nobody listens.
            let _ = events.send(event);
        }
    }

    pub(crate) fn enter(&self, state: ConnectionState) {
        self.state.send_replace(state);
    }

    /// Tells that all is over and ends every listener's stream.
    pub(crate) fn close(&self, error: Option<Error>) {
        self.enter(ConnectionState::Closed(error.clone()));
        self.tell(Event::Closed { error });
        self.events.lock().take();
    }

    pub(crate) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    pub(crate) fn listen(&self) -> Events {
        let receiver = match &*self.events.lock() {
            Some(events) => events.subscribe(),
            // A sender that is dropped at once: the listener's stream has ended.
            None => broadcast::Sender::new(1).subscribe(),
        };
        Events { receiver }
    }
}
