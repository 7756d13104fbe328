//! The life of a client: connect, restore, serve, lose the connection, try again, end.
//!
//! One task per client, which owns everything that runs for it: the reader and the writer of the connection
//! of the moment end with it. It ends when somebody closes the client (or drops its last handle), when trying
//! again would only repeat the error, or when the attempts are used up; then everything that waits is told.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backon::ExponentialBackoff;
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
    restore::begin(&shared, &link.welcome)?;
    // Nothing to restore yet: requests may be made as soon as this function returns.
    shared.control.lock().go_online();
    shared.ledger.lock().go_online();
    shared.announcer.enter(ConnectionState::Connected);
    let task = tokio::spawn(supervise(shared.clone(), link));
    Ok((shared, task))
}

async fn supervise(shared: Arc<Shared>, mut link: Link) {
    let endpoint = shared.address.endpoint();
    info!(broker = endpoint, "connected");
    let mut republished = 0;
    let mut attempts = Attempts::new(&shared.options);
    loop {
        let began = Instant::now();
        let error = match serve(&shared, link, republished).await {
            Ok(()) => return shared.finish(unsettled(&shared)),
            Err(error) => error,
        };
        lose(&shared);
        warn!(broker = endpoint, %error, "disconnected");
        if error.repeats() {
            return shared.finish(Some(error));
        }
        if began.elapsed() > shared.options.connect_timeout {
            // It was a good connection. After one that broke at once, the delays go on growing.
            attempts = Attempts::new(&shared.options);
        }
        shared.announcer.enter(ConnectionState::Reconnecting);
        shared.announcer.tell(Event::Disconnected { error: error.clone() });
        let connected = tokio::select! {
            connected = attempts.connect(&shared, error) => connected,
            () = hopeless(&shared) => return shared.finish(unsettled(&shared)),
        };
        match connected {
            Ok(connected) => (link, republished) = connected,
            Err(error) => return shared.finish(Some(error)),
        }
        info!(broker = endpoint, republished, "connected again");
    }
}

/// The attempts to connect again since the last good connection.
struct Attempts {
    delays: ExponentialBackoff,
    made: usize,
}

impl Attempts {
    fn new(options: &Options) -> Self {
        Attempts { delays: options.reconnect.delays(), made: 0 }
    }

    /// Tries until there is a connection, or no hope of one. Returns how many messages will be published
    /// again over it.
    async fn connect(&mut self, shared: &Shared, lost: Error) -> Result<(Link, usize)> {
        let mut last = lost;
        loop {
            let Some(delay) = self.delays.next() else {
                return Err(match self.made {
                    0 => last,
                    attempts => Error::GaveUp { attempts, last: Arc::new(last) },
                });
            };
            self.made += 1;
            let attempt = self.made;
            shared.announcer.tell(Event::Reconnecting { attempt, delay });
            sleep(delay).await;
            let link = establish(&shared.address, &shared.options).await;
            match link.and_then(|link| restore::begin(shared, &link.welcome).map(|count| (link, count))) {
                Ok(connected) => return Ok(connected),
                Err(error) if error.repeats() => return Err(error),
                Err(error) => {
                    debug!(broker = shared.address.endpoint(), attempt, %error, "could not connect");
                    shared.announcer.tell(Event::AttemptFailed { attempt, error: error.clone() });
                    last = error;
                }
            }
        }
    }
}

/// Closing was asked for and done, but not everything had its outcome by then.
fn unsettled(shared: &Shared) -> Option<Error> {
    let after = shared.options.close_timeout;
    let what = "the outcomes of everything that was published";
    (!shared.ledger.lock().is_settled()).then(|| Error::Timeout { what: what.into(), after })
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
    // The sets end their tasks when this future is dropped.
    let mut readers = JoinSet::new();
    readers.spawn(reader.run());
    let mut writers = JoinSet::new();
    writers.spawn(writer::run(shared.clone(), write, heartbeat));

    let conversation = async {
        // The first connection has nothing to restore, and its user may be at work already.
        if shared.epoch() > 0 {
            restore::run(shared).await?;
            shared.announcer.enter(ConnectionState::Connected);
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
    end_tasks(readers).await;
    end_tasks(writers).await;
    end
}

/// Ends tasks and waits until they have ended. One that another thread is just running goes on until it has to
/// wait, and what it does by then is this connection's: the next must not begin before.
async fn end_tasks<T: 'static>(mut tasks: JoinSet<T>) {
    tasks.shutdown().await;
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_in_the_midst_of_its_work_is_waited_for() {
        let (begin, begun) = oneshot::channel();
        let (go_on, told) = mpsc::channel();
        let (did, done) = mpsc::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            begin.send(()).unwrap();
            // Holds its thread, as work does.
            told.recv().unwrap();
            did.send(()).unwrap();
            pending::<()>().await;
        });
        begun.await.unwrap();
        let mut ending = pin!(end_tasks(tasks));
        assert!(poll_fn(|cx| Poll::Ready(ending.as_mut().poll(cx).is_pending())).await);
        go_on.send(()).unwrap();
        ending.await;
        done.try_recv().expect("it has done its work by now");
    }
}
