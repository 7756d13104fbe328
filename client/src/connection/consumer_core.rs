//! One consumer as the connection sees it: messages that arrived and were not taken yet, and what is to be
//! told about those that were: settlements and credit.
//!
//! ```text
//!  Running --cancel(), drop--> Leaving --answer--> Ended
//!     \\_____ ConsumerCancelled, Failure, the end _____/^
//! ```
//!
//! Invariants: what waits here is bounded by the credit that was given, so a slow consumer never stops the
//! connection's reader; a settlement is only ever told to the connection that delivered the message; a
//! message that nobody will take goes back to its queue.
//! Lock order: this inbox, then `Control`. Wakers run outside of both.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rialto_protocol::native::{Command, Consume, Deliver, Frame, Request, Settle, Settlement};
use rialto_protocol::types::{FieldTable, ShortStr};
use tokio::sync::oneshot;

use super::control::{Asked, Asker};
use super::ranges::TagRanges;
use super::{CONSUME_CHANNEL, REQUEST_CHANNEL, Shared};
use crate::error::{Error, Result};

/// How a consumer was asked for, so that it can be asked for again.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumeOptions {
    pub(crate) queue: ShortStr,
    pub(crate) tag: ShortStr,
    pub(crate) auto_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) prefetch: u32,
    pub(crate) arguments: FieldTable,
    /// Messages that may wait here.
    pub(crate) window_messages: u32,
    /// Bytes of messages that may wait here.
    pub(crate) window_bytes: u32,
}

/// Messages with one exchange and key, not taken yet.
#[derive(Debug)]
pub(crate) struct BufferedRun {
    /// The connection that brought them.
    pub(crate) epoch: u64,
    pub(crate) exchange: ShortStr,
    pub(crate) routing_key: ShortStr,
    pub(crate) next_tag: u64,
    pub(crate) left: u32,
    pub(crate) entries: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Nobody takes messages any more; those that still come go back.
    Leaving,
    /// Nothing comes any more.
    Ended,
}

/// Settlements that were not told yet.
#[derive(Debug, Default)]
struct Unsaid {
    epoch: u64,
    acks: TagRanges,
    requeues: TagRanges,
    rejects: Vec<(ShortStr, TagRanges)>,
    credit_messages: u32,
    credit_bytes: u32,
}

#[derive(Debug)]
struct Inbox {
    phase: Phase,
    /// The queue's name on this connection: one that the broker makes changes with the connection.
    queue: ShortStr,
    /// The connection that was asked to start this consumer.
    asked: Option<u64>,
    /// Told once, when the consumer has started for the first time.
    started: Option<oneshot::Sender<Result<()>>>,
    /// Exchange and key of the last run: most have the same, and then share the text.
    names: (ShortStr, ShortStr),
    runs: VecDeque<BufferedRun>,
    /// Highest tag that arrived over this connection.
    last_tag: u64,
    /// What arrived and was not given back as credit.
    held_messages: u64,
    held_bytes: u64,
    unsaid: Unsaid,
    /// In the writer's list.
    dirty: bool,
    waker: Option<Waker>,
    /// Told to the user once, after what has arrived.
    failure: Option<Error>,
}

/// See the module.
pub(crate) struct ConsumerCore {
    pub(crate) shared: Arc<Shared>,
    /// The number on the wire; 0 for messages that were got without a consumer.
    pub(crate) id: u32,
    pub(crate) options: ConsumeOptions,
    inbox: Mutex<Inbox>,
}

impl std::fmt::Debug for ConsumerCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerCore").field("id", &self.id).field("options", &self.options).finish()
    }
}

/// What the user's side finds in the inbox.
pub(crate) enum Arrived {
    /// Messages.
    Runs(VecDeque<BufferedRun>),
    /// Nothing yet; the waker was kept.
    Nothing,
    /// Nothing ever again, after this error if there is one.
    End(Option<Error>),
}

impl ConsumerCore {
    pub(crate) fn new(shared: Arc<Shared>, id: u32, options: ConsumeOptions) -> Arc<Self> {
        let unsaid = Unsaid { epoch: shared.epoch(), ..Unsaid::default() };
        let inbox = Inbox {
            phase: Phase::Running,
            queue: options.queue.clone(),
            asked: None,
            started: None,
            names: (ShortStr::default(), ShortStr::default()),
            runs: VecDeque::new(),
            last_tag: 0,
            held_messages: 0,
            held_bytes: 0,
            unsaid,
            dirty: false,
            waker: None,
            failure: None,
        };
        Arc::new(ConsumerCore { shared, id, options, inbox: Mutex::new(inbox) })
    }

    fn channel(&self) -> u16 {
        if self.id == 0 { REQUEST_CHANNEL } else { CONSUME_CHANNEL }
    }

    // The connection's side.

    /// Asks this connection to start the consumer, unless it was asked already.
    pub(crate) fn start(self: &Arc<Self>) -> Result<()> {
        let epoch = self.shared.epoch();
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Running || inbox.asked == Some(epoch) {
            return Ok(());
        }
        // Only auto-acked messages outlive their connection; see `connection_lost`.
        let left = |window: u32, held: u64| u64::from(window).saturating_sub(held) as u32;
        let credit = (
            left(self.options.window_messages, inbox.held_messages),
            left(self.options.window_bytes, inbox.held_bytes),
        );
        let request = Request::Consume(Consume {
            queue: inbox.queue.clone(),
            consumer: self.id,
            tag: self.options.tag.clone(),
            auto_ack: self.options.auto_ack,
            exclusive: self.options.exclusive,
            prefetch: self.options.prefetch,
            credit: Some(credit),
            arguments: self.options.arguments.clone(),
        });
        // The inbox stays locked, so that no credit can be told before the consumer is asked for.
        let asked = Asked::Consume(self.clone(), request);
        let (_, wake) = self.shared.control.lock().ask(self.channel(), asked, Asker::Session)?;
        inbox.asked = Some(epoch);
        drop(inbox);
        if wake {
            self.shared.writer_wake.notify_one();
        }
        Ok(())
    }

    /// Where the first start is told.
    pub(crate) fn on_start(&self) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.inbox.lock().started = Some(sender);
        receiver
    }

    /// The broker has started the consumer.
    pub(crate) fn started(&self) {
        let started = self.inbox.lock().started.take();
        if let Some(started) = started {
            // Nobody may wait any more; the dropped `Consumer` has cancelled it then.
            let _ = started.send(Ok(()));
        }
    }

    /// Whether somebody waits for its first start.
    pub(crate) fn is_starting(&self) -> bool {
        self.inbox.lock().started.is_some()
    }

    /// The queue has another name on this connection.
    pub(crate) fn rename(&self, old: &ShortStr, new: &ShortStr) {
        let mut inbox = self.inbox.lock();
        if inbox.queue == *old {
            inbox.queue = new.clone();
        }
    }

    /// Messages have arrived. `slack` is what the broker may send beyond the credit in bytes.
    pub(crate) fn deliver(self: &Arc<Self>, deliver: &Deliver, slack: u64) -> Result<()> {
        let epoch = self.shared.epoch();
        let mut inbox = self.inbox.lock();
        let mut tag = deliver.first_tag;
        if inbox.phase == Phase::Ended || tag != inbox.last_tag + 1 {
            let problem = format!("consumer {} was sent tag {tag} after {}", self.id, inbox.last_tag);
            return Err(Error::Protocol { problem });
        }
        let keep = inbox.phase == Phase::Running;
        for run in deliver.runs_ref(CONSUME_CHANNEL) {
            let run = run.map_err(|error| Error::Protocol { problem: error.to_string() })?;
            inbox.held_messages += u64::from(run.count);
            inbox.held_bytes += run.entries.len() as u64;
            let next_tag = tag;
            tag += u64::from(run.count);
            if keep {
                if *inbox.names.0 != *run.exchange {
                    inbox.names.0 = ShortStr::truncated(run.exchange);
                }
                if *inbox.names.1 != *run.routing_key {
                    inbox.names.1 = ShortStr::truncated(run.routing_key);
                }
                let (exchange, routing_key) = inbox.names.clone();
                let entries = deliver.runs.slice_ref(run.entries);
                inbox.runs.push_back(BufferedRun {
                    epoch,
                    exchange,
                    routing_key,
                    next_tag,
                    left: run.count,
                    entries,
                });
            }
        }
        inbox.last_tag = tag - 1;
        let over_messages = inbox.held_messages > u64::from(self.options.window_messages);
        if over_messages || inbox.held_bytes > u64::from(self.options.window_bytes) + slack {
            let problem = format!("consumer {} was sent more than its credit", self.id);
            return Err(Error::Protocol { problem });
        }
        if !keep && !self.options.auto_ack {
            inbox.unsaid.requeues.add_range(deliver.first_tag, tag - 1);
            self.mark_dirty(&mut inbox);
        }
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The connection is gone. What it delivered is no longer ours, unless it was settled on the way.
    pub(crate) fn connection_lost(&self) {
        let mut inbox = self.inbox.lock();
        if !self.options.auto_ack {
            inbox.runs.clear();
            (inbox.held_messages, inbox.held_bytes) = (0, 0);
        }
        inbox.last_tag = 0;
        inbox.unsaid = Unsaid { epoch: self.shared.epoch(), ..Unsaid::default() };
        inbox.dirty = false;
    }

    /// The end of this consumer. Messages that have arrived can still be taken.
    pub(crate) fn end(&self, failure: Option<Error>) {
        let mut inbox = self.inbox.lock();
        if inbox.phase == Phase::Ended {
            return;
        }
        inbox.phase = Phase::Ended;
        let started = inbox.started.take();
        let waker = inbox.waker.take();
        let told = started.is_some_and(|started| {
            started.send(Err(failure.clone().unwrap_or(Error::Closed { why: None }))).is_ok()
        });
        // An error is told once: to who waits for the start, or else to who takes messages.
        inbox.failure = failure.filter(|_| !told);
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it should be started again on a new connection.
    pub(crate) fn is_running(&self) -> bool {
        self.inbox.lock().phase == Phase::Running
    }

    /// Writes what is to be told.
    pub(crate) fn flush(&self, out: &mut BytesMut) {
        let mut inbox = self.inbox.lock();
        inbox.dirty = false;
        let ended = inbox.phase != Phase::Running;
        let unsaid = &mut inbox.unsaid;
        if unsaid.epoch != self.shared.epoch() {
            return;
        }
        let mut say = |command| Frame { channel: self.channel(), command }.encode(out);
        let mut settle = |settlement: Settlement, tags: &mut TagRanges| {
            let ranges = tags.take();
            for ranges in ranges.chunks(RANGES_PER_FRAME) {
                let (settlement, ranges) = (settlement.clone(), ranges.to_vec());
                say(Command::Settle(Settle { consumer: self.id, settlement, ranges }));
            }
        };
        settle(Settlement::Ack, &mut unsaid.acks);
        settle(Settlement::Requeue, &mut unsaid.requeues);
        for (reason, mut tags) in unsaid.rejects.drain(..) {
            settle(Settlement::Reject { reason }, &mut tags);
        }
        let messages = std::mem::take(&mut unsaid.credit_messages);
        let bytes = std::mem::take(&mut unsaid.credit_bytes);
        if !ended && (messages > 0 || bytes > 0) {
            say(Command::Credit { consumer: self.id, messages, bytes });
        }
    }

    // The user's side.

    /// What has arrived.
    pub(crate) fn take(&self, waker: &Waker) -> Arrived {
        let mut inbox = self.inbox.lock();
        if !inbox.runs.is_empty() {
            return Arrived::Runs(std::mem::take(&mut inbox.runs));
        }
        if inbox.phase == Phase::Running {
            match &mut inbox.waker {
                Some(old) => old.clone_from(waker),
                None => inbox.waker = Some(waker.clone()),
            }
            return Arrived::Nothing;
        }
        Arrived::End(inbox.failure.take())
    }

    /// The user has taken so much: the broker may send as much again.
    pub(crate) fn give_back(self: &Arc<Self>, epoch: u64, messages: u32, bytes: u32) {
        let mut inbox = self.inbox.lock();
        if inbox.phase != Phase::Running || (epoch != inbox.unsaid.epoch && !self.options.auto_ack) {
            return;
        }
        inbox.held_messages = inbox.held_messages.saturating_sub(messages.into());
        inbox.held_bytes = inbox.held_bytes.saturating_sub(bytes.into());
        if inbox.asked != Some(self.shared.epoch()) {
            // The next start will count it in.
            return;
        }
        inbox.unsaid.credit_messages = inbox.unsaid.credit_messages.saturating_add(messages);
        inbox.unsaid.credit_bytes = inbox.unsaid.credit_bytes.saturating_add(bytes);
        self.mark_dirty(&mut inbox);
    }

    /// Settles the tags from `first` up to `last`, delivered by the connection `epoch`.
    pub(crate) fn settle(
        self: &Arc<Self>,
        epoch: u64,
        (first, last): (u64, u64),
        settlement: Settlement,
    ) -> Result<()> {
        if self.options.auto_ack {
            return Ok(());
        }
        let mut inbox = self.inbox.lock();
        if epoch != self.shared.epoch() {
            return Err(Error::StaleDelivery);
        }
        if inbox.unsaid.epoch != epoch {
            // A consumer that had ended when the connection was lost: what it left unsaid is void.
            (inbox.unsaid, inbox.dirty) = (Unsaid { epoch, ..Unsaid::default() }, false);
        }
        let unsaid = &mut inbox.unsaid;
        match settlement {
            Settlement::Ack => unsaid.acks.add_range(first, last),
            Settlement::Requeue => unsaid.requeues.add_range(first, last),
            Settlement::Reject { reason } => match unsaid.rejects.last_mut() {
                Some((last_reason, tags)) if *last_reason == reason => tags.add_range(first, last),
                _ => {
                    let mut tags = TagRanges::default();
                    tags.add_range(first, last);
                    unsaid.rejects.push((reason, tags));
                }
            },
        }
        self.mark_dirty(&mut inbox);
        Ok(())
    }

    /// Nobody takes messages any more: those that wait, and `local` ones, go back. True: it was running.
    pub(crate) fn leave(self: &Arc<Self>, local: impl Iterator<Item = BufferedRun>) -> bool {
        let mut inbox = self.inbox.lock();
        let epoch = self.shared.epoch();
        let runs = std::mem::take(&mut inbox.runs);
        if !self.options.auto_ack && inbox.unsaid.epoch == epoch {
            for run in local.chain(runs).filter(|run| run.epoch == epoch && run.left > 0) {
                inbox.unsaid.requeues.add_range(run.next_tag, run.next_tag + u64::from(run.left) - 1);
            }
            if !inbox.unsaid.requeues.is_empty() {
                self.mark_dirty(&mut inbox);
            }
        }
        inbox.waker = None;
        let running = inbox.phase == Phase::Running;
        if running {
            inbox.phase = Phase::Leaving;
        }
        running
    }

    fn mark_dirty(self: &Arc<Self>, inbox: &mut Inbox) {
        if !std::mem::replace(&mut inbox.dirty, true) && self.shared.control.lock().mark_dirty(self.clone()) {
            self.shared.writer_wake.notify_one();
        }
    }
}

/// Ranges in one `Settle`, at most, so that the frame is far below any limit.
const RANGES_PER_FRAME: usize = 1024;

impl Shared {
    /// Counts connections; tags of one mean nothing on another.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}
