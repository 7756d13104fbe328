//! The life of a client: connect, restore, serve, lose the connection, try again, end.
//!
//! One task per client, which owns everything that runs for it: the reader and the writer of the connection
//! of the moment end with it. It ends when somebody closes the client (or drops its last handle), when trying
//! again would only repeat the error, or when the attempts are used up; then everything that waits is told.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Closing, Command};
use rialto_protocol::types::ShortStr;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::login::{Link, establish};
use super::reader::Reader;
use super::{Shared, restore, writer};
use crate::address::Address;
use crate::error::{Error, Result};
use crate::events::{ConnectionState, Event};
use crate::options::Options;

/// How long the last word may take to be written when the broker closes.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Connects for the first time, and starts the task.
pub(crate) async fn start(address: Address, options: Options) -> Result<(Arc<Shared>, JoinHandle<()>)> {
    let link = establish(&address, &options).await?;
    let shared = Arc::new(Shared::new(address, options));
    let republished = restore::begin(&shared, &link.welcome)?;
    // Nothing to restore yet: requests may be made as soon as this function returns.
    shared.control.lock().go_online();
    shared.ledger.lock().go_online();
    shared.announcer.enter(ConnectionState::Connected);
    let task = tokio::spawn(supervise(shared.clone(), link, republished));
    Ok((shared, task))
}

async fn supervise(shared: Arc<Shared>, first: Link, republished: usize) {
    let endpoint = shared.address.endpoint();
    info!(broker = endpoint, "connected");
    let mut delays = shared.options.reconnect.delays();
    let mut attempt = 0;
    let mut next = Some((first, republished));
    loop {
        let error = match next.take() {
            Some((link, republished)) => {
                let began = Instant::now();
                match serve(&shared, link, republished).await {
                    Ok(()) => return shared.finish(None),
                    Err(error) => {
                        lose(&shared);
                        if began.elapsed() > shared.options.connect_timeout {
                            // It was a good connection; one that breaks at once goes on with the longer delays.
                            (delays, attempt) = (shared.options.reconnect.delays(), 0);
                        }
                        warn!(broker = endpoint, %error, "disconnected");
                        error
                    }
                }
            }
            None => unreachable!("the loop below ends with a connection or with the client"),
        };
        if error.repeats() {
            return shared.finish(Some(error));
        }
        shared.announcer.enter(ConnectionState::Reconnecting);
        shared.announcer.tell(Event::Disconnected { error: error.clone() });
        let mut last = error;
        while next.is_none() {
            let Some(delay) = delays.next() else {
                let error = match attempt {
                    0 => last,
                    attempts => Error::GaveUp { attempts, last: Arc::new(last) },
                };
                return shared.finish(Some(error));
            };
            attempt += 1;
            shared.announcer.tell(Event::Reconnecting { attempt, delay });
            let connected = async {
                sleep(delay).await;
                establish(&shared.address, &shared.options).await
            };
            let result = tokio::select! {
                result = connected => result,
                () = hopeless(&shared) => return shared.finish(None),
            };
            match result.and_then(|link| Ok((restore::begin(&shared, &link.welcome)?, link))) {
                Ok((republished, link)) => {
                    info!(broker = endpoint, republished, "connected again");
                    next = Some((link, republished));
                }
                Err(error) if error.repeats() => return shared.finish(Some(error)),
                Err(error) => {
                    debug!(broker = endpoint, attempt, %error, "could not connect");
                    shared.announcer.tell(Event::AttemptFailed { attempt, error: error.clone() });
                    last = error;
                }
            }
        }
    }
}

/// Runs one connection. `Ok`: it was closed because somebody asked for it.
async fn serve(shared: &Arc<Shared>, link: Link, republished: usize) -> Result<()> {
    let heartbeat = match link.welcome.heartbeat_ms {
        0 => None,
        interval => Some(Duration::from_millis(interval.into())),
    };
    let (read, write) = link.stream.into_split();
    let reader = Reader {
        shared: shared.clone(),
        socket: read,
        buf: link.read_ahead,
        frame_max: link.welcome.frame_max,
        heartbeat,
        unreadable: None,
    };
    // The set ends its tasks when it is dropped.
    let mut readers = JoinSet::new();
    readers.spawn(reader.run());
    let mut writers = JoinSet::new();
    writers.spawn(writer::run(shared.clone(), write, heartbeat));

    let conversation = async {
        restore::run(shared).await?;
        shared.announcer.enter(ConnectionState::Connected);
        if shared.epoch() > 0 {
            shared.announcer.tell(Event::Reconnected { republished });
        }
        part(shared).await
    };
    let end = tokio::select! {
        biased;
        read = readers.join_next() => joined(read),
        // A writer that is done has said the last word; what the reader hears then is the end.
        Err(error) = async { joined(writers.join_next().await) } => Err(error),
        error = conversation => Err(error.err().unwrap_or_else(super::lost)),
    };
    if let Err(Error::ClosedByBroker { .. } | Error::Protocol { .. }) = end {
        // A failure only means that the broker does not listen any more.
        let _ = timeout(FAREWELL_TIME, writers.join_next()).await;
    }
    end
}

/// Waits until somebody wants to close, settles what is on its way, and says so. Ends only with an error: the
/// answer is the reader's.
async fn part(shared: &Shared) -> Result<()> {
    let deadline = deadline(shared).await;
    let settled = async {
        while !shared.ledger.lock().is_settled() {
            shared.progress.notified().await;
        }
    };
    tokio::select! {
        () = settled => {}
        () = sleep_until(deadline) => {}
    }
    let closing = Closing {
        code: ReplyCode::Success.number(),
        text: ShortStr::truncated("the client is done"),
        kind: 0,
        correlation: 0,
    };
    let wake = shared.control.lock().say_last(&Command::Close(closing));
    shared.wake_writer(wake);
    sleep_until(deadline.max(Instant::now() + FAREWELL_TIME)).await;
    Err(Error::Timeout { what: "close the connection".into(), after: shared.options.close_timeout })
}

/// While there is no connection: ends when closing was asked for and nothing is left to wait for.
async fn hopeless(shared: &Shared) {
    let deadline = deadline(shared).await;
    if !shared.ledger.lock().is_settled() {
        sleep_until(deadline).await;
    }
}

/// When closing must be done; waits until somebody asks for it.
async fn deadline(shared: &Shared) -> Instant {
    let mut closing = shared.closing.subscribe();
    let asked = match closing.wait_for(Option::is_some).await {
        Ok(asked) => *asked,
        Err(_) => None,
    };
    match asked {
        Some(deadline) => deadline,
        None => pending().await,
    }
}

/// The connection is gone: what belonged to it is void, what outlives it waits.
fn lose(shared: &Arc<Shared>) {
    // First, so that nothing of the old connection is told to the next.
    shared.epoch.fetch_add(1, Ordering::AcqRel);
    shared.ledger.lock().go_offline();
    let ended = shared.control.lock().go_offline();
    drop(ended);
    for core in shared.all_consumers() {
        core.connection_lost();
        if !core.is_running() {
            shared.remove_consumer(core.id);
            core.end(None);
        }
    }
}

fn joined(result: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    match result {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            Err(Error::ConnectionLost { reason: format!("a task of the client ended: {error}") })
        }
        None => Err(super::lost()),
    }
}
