//! The connection: what its handles and its tasks share, and how they work together.
//!
//! ```text
//!  handles (Client, Publisher, Consumer, Delivery, Confirm)
//!      | push, ask, settle                ^ wakers, answers
//!      v                                  |
//!  Shared { ledger, control, consumers }  |
//!      | take                             | handle
//!      v                                  |
//!  writer task --> socket --> broker --> socket --> reader task
//!                 (both owned by the supervisor task, which also connects, restores and closes)
//! ```
//!
//! Rooms: `supervisor` (the life of the client), `login`, `reader`, `writer`, `restore`; the machines
//! `ledger` (publishing) with `slots`, `control` (requests), `consumer_core` with `ranges`, `publish_frame`;
//! `limits` (what is refused before it is sent).
//! Lock order, outermost first: a consumer's inbox or the ledger (never both), then `control`. The list of
//! consumers is locked on its own. No lock is held across an `.await` or while a waker runs.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ahash::AHashMap;
use parking_lot::Mutex;
use rialto_protocol::native::{Command, Request, Response};
use rialto_protocol::types::ShortStr;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::time::{Instant, timeout};

pub(crate) mod consumer_core;
pub(crate) mod control;
pub(crate) mod ledger;
pub(crate) mod limits;
mod login;
mod publish_frame;
mod ranges;
mod reader;
mod restore;
pub(crate) mod slots;
pub(crate) mod supervisor;
mod transport;
mod writer;

pub(crate) use publish_frame::{Target, entry_len};

use crate::address::Address;
use crate::confirm::Returned;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::events::Announcer;
use crate::options::Options;
use consumer_core::{ConsumeOptions, ConsumerCore};
use control::{Answer, Answers, Asked, Asker, Control, lost};
use ledger::{Effects, Ledger};

/// The channel of requests and gets.
pub(crate) const REQUEST_CHANNEL: u16 = 1;
/// The channel of consumers. Those of publishing are the ledger's.
pub(crate) const CONSUME_CHANNEL: u16 = 2;
/// Returned messages nobody else waits for that are kept for a slow listener.
const RETURNS_KEPT: usize = 1024;

/// What every handle and every task of one client has in common.
pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) options: Options,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) control: Mutex<Control>,
    pub(crate) consumers: Mutex<Consumers>,
    /// Bytes that may still be taken for publishing. Closed with the client.
    pub(crate) window: Semaphore,
    /// Wakes the writer.
    pub(crate) writer_wake: Notify,
    /// Something published has its outcome, or was written.
    progress: Notify,
    /// Counts connections; see [`Shared::epoch`].
    epoch: AtomicU64,
    pub(crate) announcer: Announcer,
    pub(crate) returns: broadcast::Sender<Returned>,
    /// When the closing that somebody asked for must be done.
    closing: watch::Sender<Option<Instant>>,
}

/// The consumers that the connection knows, by number.
#[derive(Default)]
pub(crate) struct Consumers {
    known: AHashMap<u32, Arc<ConsumerCore>>,
    last_id: u32,
    closed: Option<Error>,
}

impl Shared {
    fn new(address: Address, options: Options) -> Self {
        Shared {
            window: Semaphore::new(options.publish_buffer),
            address,
            options,
            ledger: Mutex::new(Ledger::new()),
            control: Mutex::new(Control::new()),
            consumers: Mutex::new(Consumers::default()),
            writer_wake: Notify::new(),
            progress: Notify::new(),
            epoch: AtomicU64::new(0),
            announcer: Announcer::new(),
            returns: broadcast::Sender::new(RETURNS_KEPT),
            closing: watch::Sender::new(None),
        }
    }

    /// Wakes who waited, gives back what was held of the window. Never under a lock.
    pub(crate) fn apply(&self, effects: Effects) {
        effects.wakers.into_iter().for_each(std::task::Waker::wake);
        if effects.released > 0 {
            self.window.add_permits(effects.released);
            self.progress.notify_one();
        }
    }

    pub(crate) fn wake_writer(&self, wake: bool) {
        if wake {
            self.writer_wake.notify_one();
        }
    }

    /// Asks, without waiting.
    pub(crate) fn ask(&self, channel: u16, asked: Asked, asker: Asker) -> Result<Answers> {
        let (answers, wake) = self.control.lock().ask(channel, asked, asker)?;
        self.wake_writer(wake);
        Ok(answers)
    }

    /// Asks the broker and waits for the answer, across reconnects, within the request timeout.
    pub(crate) async fn request(&self, request: Request) -> Result<Response> {
        match self.answer(request).await? {
            Answer::Response(response) => Ok(response),
            Answer::Got(_) => Err(Error::Protocol { problem: "a message answers no Get".into() }),
        }
    }

    /// Takes one message from a queue.
    pub(crate) async fn get(&self, request: Request) -> Result<Option<Delivery>> {
        match self.answer(request).await? {
            Answer::Got(delivery) => Ok(Some(delivery)),
            Answer::Response(Response::Empty) => Ok(None),
            Answer::Response(other) => Err(unexpected(&other)),
        }
    }

    async fn answer(&self, request: Request) -> Result<Answer> {
        limits::check_request(&request)?;
        let what = control::described(&request);
        let answers = self.ask(REQUEST_CHANNEL, Asked::Request(request), Asker::User)?;
        self.await_answer(what, answers).await
    }

    /// Waits for an answer, within the request timeout.
    pub(crate) async fn await_answer(&self, what: String, answers: Answers) -> Result<Answer> {
        let after = self.options.request_timeout;
        match timeout(after, answers).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(Error::Timeout { what, after }),
        }
    }

    /// Deletes an exclusive queue that the client made for itself, without waiting, and does not restore it.
    pub(crate) fn discard_queue(&self, name: ShortStr) {
        let wake = self.control.lock().discard_queue(REQUEST_CHANNEL, name);
        self.wake_writer(wake);
    }

    /// Says something that has no answer.
    pub(crate) fn say(&self, channel: u16, command: &Command) {
        let wake = self.control.lock().say(channel, command);
        self.wake_writer(wake);
    }

    /// Gives a number to an exchange and key and defines it on the connection, if there is one.
    pub(crate) fn intern(&self, target: Target) -> Target {
        let mut ledger = self.ledger.lock();
        let (interned, new) = ledger.intern(target.clone());
        if let (true, Target::Defined(route), Target::Inline { exchange, routing_key }) =
            (new, &interned, target)
        {
            // The ledger stays locked: the definition must be said before anybody can use the number.
            let define = Command::DefineRoute { route: *route, exchange, routing_key };
            ledger.channels().iter().for_each(|&channel| self.say(channel, &define));
        }
        interned
    }

    // Consumers.

    /// Makes a consumer known, so that it is started now or as soon as there is a connection.
    pub(crate) fn add_consumer(self: &Arc<Self>, options: ConsumeOptions) -> Result<Arc<ConsumerCore>> {
        let mut consumers = self.consumers.lock();
        if let Some(error) = &consumers.closed {
            return Err(error.clone());
        }
        loop {
            consumers.last_id = consumers.last_id.wrapping_add(1).max(1);
            if !consumers.known.contains_key(&consumers.last_id) {
                break;
            }
        }
        let id = consumers.last_id;
        let core = ConsumerCore::new(self.clone(), id, options);
        consumers.known.insert(id, core.clone());
        Ok(core)
    }

    pub(crate) fn consumer(&self, id: u32) -> Option<Arc<ConsumerCore>> {
        self.consumers.lock().known.get(&id).cloned()
    }

    pub(crate) fn remove_consumer(&self, id: u32) -> Option<Arc<ConsumerCore>> {
        self.consumers.lock().known.remove(&id)
    }

    /// The consumers in the order in which they were made.
    fn all_consumers(&self) -> Vec<Arc<ConsumerCore>> {
        let mut all: Vec<_> = self.consumers.lock().known.values().cloned().collect();
        all.sort_unstable_by_key(|core| core.id);
        all
    }

    /// What stands behind messages that were got without a consumer: it only settles.
    fn getter(self: &Arc<Self>) -> Arc<ConsumerCore> {
        let mut consumers = self.consumers.lock();
        let getter = consumers.known.entry(0);
        getter.or_insert_with(|| ConsumerCore::new(self.clone(), 0, ConsumeOptions::default())).clone()
    }

    // The end.

    /// Asks the supervisor to settle what is on its way and to close.
    pub(crate) fn request_close(&self) {
        self.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            closing.get_or_insert_with(|| Instant::now() + self.options.close_timeout);
            first
        });
    }

    /// Ends everything that waits, with the reason.
    fn finish(&self, why: Option<Error>) {
        let error = Error::Closed { why: why.clone().map(Arc::new) };
        let mut effects = Effects::default();
        self.ledger.lock().close(&error, &mut effects);
        self.window.close();
        for waker in effects.wakers {
            waker.wake();
        }
        let ended = self.control.lock().close(&error);
        for mut pending in ended {
            control::tell(&mut pending.answer, Err(error.clone()));
        }
        let consumers = {
            let mut consumers = self.consumers.lock();
            consumers.closed = Some(error.clone());
            std::mem::take(&mut consumers.known)
        };
        for core in consumers.into_values() {
            core.end(why.is_some().then(|| error.clone()));
        }
        self.announcer.close(why);
    }
}

/// An answer that does not fit its request.
pub(crate) fn unexpected(response: &Response) -> Error {
    Error::Protocol { problem: format!("an unexpected answer: {response:?}") }
}
