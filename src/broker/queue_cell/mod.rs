//! How a queue is hosted: the machine behind its lock, and the outboxes of its consumers.
//!
//! Invariants: every operation on a queue passes through [`QueueCell::run`], which moves the effects on before
//! the lock is released: deliveries to outboxes (so their order is the queue's), deadlines to the timers, dead
//! letters to the turn's work list. No other queue is locked and nothing waits meanwhile.
//! Once closed, a cell refuses everything; who still holds it sees a queue deleted just now.

mod consuming;
mod figures;
mod holding;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};

use crate::broker::counters::MessageCounts;
use crate::broker::deduplication::Windows;
use crate::broker::outbox::{LocalConsumer, Notice, Outbox};
use crate::broker::pressure::Hold;
use crate::broker::purpose::Purpose;
use crate::broker::vhost::Vhost;
use crate::broker::{Core, Turn};
use crate::model::{
    ConnectionId, ConsumerId, Lsn, OverflowRule, Publication, QueueId, QueueName, QueueOptions, Returned,
    StoredRun, Timestamp,
};
use crate::queue::{Admission, ConsumerInfo, Effects, Queue, QueueStats, RejectReason, Settle};
use crate::store::RestoredQueue;
use figures::Figures;

/// A queue as the rest of the broker sees it.
pub struct QueueCell {
    id: QueueId,
    name: QueueName,
    options: Arc<QueueOptions>,
    /// What holds now. Taken under the queue's lock or under none; nothing is locked meanwhile.
    effective: RwLock<Arc<QueueOptions>>,
    purpose: Purpose,
    owner: Option<ConnectionId>,
    journalled: bool,
    /// The version of the catalog that has it; 0 if the catalog always had.
    kept_at: AtomicU64,
    vhost: Weak<Vhost>,
    core: Arc<Core>,
    /// Microseconds since the epoch: see [`QueueCell::load`].
    pub(in crate::broker) unreadable_until: AtomicU64,
    /// Whether its deliveries are stopped. Written under the queue's lock.
    paused: AtomicBool,
    figures: Figures,
    counts: Arc<MessageCounts>,
    pub(in crate::broker) hosted: Mutex<Hosted>,
}

pub(in crate::broker) struct Hosted {
    pub(in crate::broker) queue: Queue,
    pub(in crate::broker) ports: AHashMap<ConsumerId, Port>,
    /// Cancelled consumers that still have something to settle: they too are told when the queue goes, because
    /// what they hold counts for their channel's prefetch.
    pub(in crate::broker) cancelled: Vec<(ConsumerId, Port)>,
    /// Publishers that wait until this queue takes messages again.
    waiting: Vec<Weak<Outbox>>,
    /// Why they wait: the weightiest reason of any of them.
    hold: Option<Hold>,
    armed: Timestamp,
    memory: u64,
    messages: u64,
    pub(in crate::broker) closed: bool,
    /// What the journal had of it when it was closed.
    left: Vec<StoredRun>,
}

/// Where a consumer's deliveries go.
pub(in crate::broker) struct Port {
    pub(in crate::broker) outbox: Arc<Outbox>,
    pub(in crate::broker) consumer: LocalConsumer,
}

/// A range of a consumer's deliveries and what becomes of it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// First delivery tag.
    pub first: u64,
    /// Last delivery tag.
    pub last: u64,
    /// What becomes of them.
    pub settlement: Settle,
}

impl QueueCell {
    pub(in crate::broker) fn new(
        id: QueueId,
        queue: Queue,
        purpose: Purpose,
        owner: Option<ConnectionId>,
        vhost: &Arc<Vhost>,
        core: &Arc<Core>,
    ) -> Arc<Self> {
        let (name, options) = (queue.name().clone(), queue.options().clone());
        let paused = queue.is_paused();
        let hosted = Hosted {
            queue,
            ports: AHashMap::new(),
            cancelled: Vec::new(),
            waiting: Vec::new(),
            hold: None,
            armed: Timestamp::NEVER,
            memory: 0,
            messages: 0,
            closed: false,
            left: Vec::new(),
        };
        let counts = vhost.message_counts().clone();
        let (vhost, core) = (Arc::downgrade(vhost), core.clone());
        let options = Arc::new(options);
        let effective = RwLock::new(options.clone());
        let hosted = Mutex::new(hosted);
        let journalled = options.durable && owner.is_none() && core.log.is_durable();
        let unreadable_until = AtomicU64::new(0);
        let paused = AtomicBool::new(paused);
        Arc::new(QueueCell {
            id,
            name,
            options,
            effective,
            purpose,
            owner,
            journalled,
            kept_at: AtomicU64::new(0),
            vhost,
            core,
            unreadable_until,
            paused,
            figures: Figures::default(),
            counts,
            hosted,
        })
    }

    /// Its identity.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// What it was declared with. What holds now may differ: [`QueueCell::effective_options`].
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the journal has its messages: it is durable, and does not go with a connection.
    pub(in crate::broker) fn is_journalled(&self) -> bool {
        self.journalled
    }

    /// The options that hold now.
    pub fn effective_options(&self) -> Arc<QueueOptions> {
        self.effective.read().clone()
    }

    /// Gives the queue other options, at once; see [`Queue::set_options`] for what stays.
    pub fn set_options(self: &Arc<Self>, options: QueueOptions, turn: &mut Turn) {
        self.run(turn, |queue, now, effects| {
            queue.set_options(options, now, effects);
            queue.dispatch(now, effects);
            // Under the queue's lock, so that the last change wins in both places.
            *self.effective.write() = Arc::new(queue.options().clone());
        });
    }

    /// The connection that alone may use it, if it is exclusive.
    pub fn owner(&self) -> Option<ConnectionId> {
        self.owner
    }

    /// The version of the catalog that has it.
    pub(in crate::broker) fn kept_at(&self) -> u64 {
        self.kept_at.load(Ordering::Relaxed)
    }

    /// The catalog was told of it, as this version. Before anybody can publish to it.
    pub(in crate::broker) fn set_kept_at(&self, version: u64) {
        self.kept_at.store(version, Ordering::Relaxed);
    }

    /// Takes what the journal had of it when it was closed.
    pub(in crate::broker) fn take_left(&self) -> Vec<StoredRun> {
        std::mem::take(&mut self.hosted.lock().left)
    }

    pub(in crate::broker) fn core(&self) -> &Core {
        &self.core
    }

    pub(in crate::broker) fn vhost(&self) -> Option<Arc<Vhost>> {
        self.vhost.upgrade()
    }

    /// Whether the queue has been deleted.
    pub fn is_closed(&self) -> bool {
        self.hosted.lock().closed
    }

    /// Does something with the queue and moves the effects on. None: the queue is gone.
    pub(in crate::broker) fn run<R>(
        self: &Arc<Self>,
        turn: &mut Turn,
        operation: impl FnOnce(&mut Queue, Timestamp, &mut Effects) -> R,
    ) -> Option<R> {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return None;
        }
        let result = operation(&mut hosted.queue, turn.now, &mut turn.effects);
        self.carry_out(&mut hosted, turn);
        Some(result)
    }

    /// Looks at the queue, and changes nothing. None: it is gone.
    pub(in crate::broker) fn look<R>(&self, look: impl FnOnce(&Queue) -> R) -> Option<R> {
        let hosted = self.hosted.lock();
        (!hosted.closed).then(|| look(&hosted.queue))
    }

    /// Whether an operator has stopped its deliveries.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Stops deliveries, or lets them go on. Whether that is a change.
    pub(in crate::broker) fn set_paused(self: &Arc<Self>, paused: bool, turn: &mut Turn) -> bool {
        let changed = self.run(turn, |queue, now, effects| {
            let changed = queue.is_paused() != paused;
            queue.set_paused(paused);
            self.paused.store(paused, Ordering::Relaxed);
            queue.dispatch(now, effects);
            changed
        });
        changed.unwrap_or(false)
    }

    /// Whether it is a queue that refuses what exceeds its limits.
    pub(in crate::broker) fn may_refuse(&self) -> bool {
        let options = self.effective.read();
        options.overflow != OverflowRule::DropHead && options.has_max_length()
    }

    /// Whether so many messages with so many bytes of bodies would be taken now.
    pub(in crate::broker) fn has_room_for(&self, messages: u64, body_bytes: u64) -> bool {
        self.hosted.lock().queue.has_room_for(messages, body_bytes)
    }

    /// Whether one more message is within the queue's limits.
    pub fn has_room(&self) -> bool {
        self.has_room_for(1, 0)
    }

    /// Takes messages, in order. `rejected` gets the positions of those that the queue refuses.
    /// The publisher's outbox is told when a queue that held it back takes messages again.
    pub(in crate::broker) fn publish(
        self: &Arc<Self>,
        publications: impl Iterator<Item = (u32, Publication)>,
        admission: Admission,
        publisher: Option<&Arc<Outbox>>,
        rejected: &mut Vec<(u32, RejectReason)>,
        turn: &mut Turn,
    ) {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return;
        }
        if hosted.queue.paged() > 0 {
            // Those that came first go first, and what is refused depends on how many wait.
            hosted.queue.dispatch(turn.now, &mut turn.effects);
            // What is not loaded now is loaded when the queue is asked to go on, below.
            let _ = self.load(&mut hosted.queue, turn.now, &mut turn.effects, turn.dead.len());
        }
        let delays = self.purpose == Purpose::Delays;
        let publications = publications.map(|(place, mut publication)| {
            if delays {
                // Its own time to live begins when it goes on.
                publication.ttl_ms = publication.delay_ms;
            }
            (place, publication)
        });
        hosted.queue.admit_all(publications, admission, turn.now, &mut turn.effects, rejected);
        self.carry_out(&mut hosted, turn);
        if let Some(publisher) = publisher {
            self.hold_back(&mut hosted, publisher, turn);
        }
    }

    /// Drops the ready and the delayed messages and says how many there were.
    pub fn purge(self: &Arc<Self>, turn: &mut Turn) -> u64 {
        self.run(turn, |queue, now, effects| queue.purge(now, effects)).unwrap_or(0)
    }

    /// A redeclare counts as use: the queue's idle time starts again.
    pub(in crate::broker) fn touch(self: &Arc<Self>, turn: &mut Turn) {
        self.run(turn, |queue, now, _| queue.touch(now));
    }

    /// The timer that was armed for this moment has fired.
    pub(in crate::broker) fn tick(self: &Arc<Self>, at: Timestamp, turn: &mut Turn) {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return;
        }
        // Unless it was armed anew on the way here.
        if hosted.armed == at {
            hosted.armed = Timestamp::NEVER;
        }
        hosted.queue.tick(turn.now, &mut turn.effects);
        hosted.queue.dispatch(turn.now, &mut turn.effects);
        self.carry_out(&mut hosted, turn);
    }

    /// Figures of this moment, for checks: waits for the queue's lock. Lists and metrics take [`QueueCell::figures`].
    pub fn stats(&self) -> QueueStats {
        self.hosted.lock().queue.stats()
    }

    /// Its consumers, with the connection's own name for each.
    pub fn consumers(&self) -> Vec<(LocalConsumer, ConsumerInfo)> {
        let hosted = self.hosted.lock();
        let local = |id| hosted.ports.get(&id).map(|port| port.consumer);
        hosted.queue.consumers().filter_map(|info| Some((local(info.id)?, info))).collect()
    }

    /// Its consumers, each with where its connection hears of things: [`super::ConnectionInfo::outbox`].
    pub fn consumers_and_outboxes(&self) -> Vec<(LocalConsumer, Arc<Outbox>, ConsumerInfo)> {
        let hosted = self.hosted.lock();
        let port = |id| hosted.ports.get(&id).map(|port| (port.consumer, port.outbox.clone()));
        let with_port = |info: ConsumerInfo| port(info.id).map(|(local, outbox)| (local, outbox, info));
        hosted.queue.consumers().filter_map(with_port).collect()
    }

    /// Closes the queue if `allowed` agrees with its figures; the caller takes it out of the vhost.
    pub(in crate::broker) fn close_if<E>(
        self: &Arc<Self>,
        turn: &mut Turn,
        allowed: impl FnOnce(&QueueStats) -> Result<(), E>,
    ) -> Option<Result<u64, E>> {
        let mut hosted = self.hosted.lock();
        if hosted.closed {
            return None;
        }
        let mut stats = hosted.queue.stats();
        // What has died and is no dead letter yet is still there.
        stats.delayed = hosted.queue.messages() - stats.ready - stats.unacked;
        if let Err(refused) = allowed(&stats) {
            return Some(Err(refused));
        }
        self.close(&mut hosted, turn);
        Some(Ok(stats.ready + stats.delayed))
    }

    /// Takes a closed queue out of its vhost. Not under a queue's lock.
    pub(in crate::broker) fn leave_vhost(self: &Arc<Self>) {
        if let Some(vhost) = self.vhost() {
            vhost.forget_queue(self);
        }
    }

    /// Gives an empty queue what it held when the broker stopped.
    /// Exchanges that drop duplicates know again what is still there: `windows`.
    /// Those before `delivered_before` may have been with a consumer, and are flagged as delivered before.
    pub(in crate::broker) fn restore(
        self: &Arc<Self>,
        held: RestoredQueue,
        delivered_before: Lsn,
        windows: &Windows<'_>,
        turn: &mut Turn,
    ) {
        self.run(turn, |queue, _, _| {
            // Only so many of the newest can be in a window: the others need not be read.
            let own = queue.options().deduplication.as_ref().map_or(0, |options| options.size as u64);
            let remembered = own.max(windows.size_max());
            let mut left = held.messages();
            for mut run in held {
                if self.purpose == Purpose::Delays {
                    run.ttl_ms = run.delay_ms;
                }
                if run.first < delivered_before {
                    let (lsn, location) = (run.first, run.location);
                    let (delivery_count, returns, until) = (0, 1, None);
                    run.returned.get_or_insert(Returned { lsn, location, delivery_count, returns, until });
                }
                queue.restore(run);
                left = left.saturating_sub(run.count.into());
                if left < remembered {
                    self.restore_keys(queue, &run, windows);
                }
            }
        });
    }

    /// Lets pass what passed while the broker was not there: what should have expired does so, and timers are armed.
    pub(in crate::broker) fn catch_up(self: &Arc<Self>, turn: &mut Turn) {
        self.run(turn, |queue, now, effects| queue.tick(now, effects));
    }

    fn carry_out(self: &Arc<Self>, hosted: &mut Hosted, turn: &mut Turn) {
        let Hosted { queue, ports, .. } = hosted;
        let go_on = self.load(queue, turn.now, &mut turn.effects, turn.dead.len());
        self.page_out(queue, &mut turn.effects);
        queue.take_deliveries(|id, deliveries| {
            let Some(port) = ports.get(&id) else { return };
            if port.outbox.push(port.consumer, deliveries) {
                turn.wakes.push(port.outbox.clone());
            }
        });
        if !turn.effects.late.is_empty() {
            tell_late(hosted, turn);
        }
        for dead in turn.effects.dead.drain(..) {
            turn.dead.push_back((self.clone(), dead));
        }
        match self.is_journalled() {
            true => turn.notes.take(self.id, &mut turn.effects),
            false => {
                turn.effects.settled.clear();
                turn.effects.returned.clear();
            }
        }
        turn.released.append(&mut turn.effects.released);
        self.core.counters.waited.take(&mut turn.effects.waited);
        self.core.counters.held.take(&mut turn.effects.held);
        if turn.effects.deleted.take().is_some() {
            self.close(hosted, turn);
            turn.closed.push(self.clone());
            return;
        }
        self.weigh(hosted);
        self.publish_figures(hosted);
        self.lift_pressure(hosted, turn);
        // What is overdue is due now: it must not go before what other queues have waited for longer.
        let deadline = hosted.queue.next_deadline().into_iter().chain(go_on).min();
        if let Some(deadline) = deadline.map(|deadline| deadline.max(turn.now))
            && deadline < hosted.armed
        {
            let before = std::mem::replace(&mut hosted.armed, deadline);
            self.core.timers.arm(deadline, before, self.id, Arc::downgrade(self));
        }
    }

    fn close(self: &Arc<Self>, hosted: &mut Hosted, turn: &mut Turn) {
        hosted.closed = true;
        hosted.queue.close(&mut turn.effects);
        hosted.left = std::mem::take(&mut turn.effects.settled);
        turn.released.append(&mut turn.effects.released);
        let ended = turn.effects.cancelled.drain(..).filter_map(|id| hosted.ports.remove(&id));
        for port in ended.chain(hosted.cancelled.drain(..).map(|(_, port)| port)) {
            if port.outbox.notify(Notice::ConsumerCancelled { consumer: port.consumer }) {
                turn.wakes.push(port.outbox);
            }
        }
        hosted.ports.clear();
        self.core.timers.disarm(hosted.armed, self.id);
        self.weigh(hosted);
        self.publish_figures(hosted);
        self.tell_waiting(hosted, turn);
    }
}

/// Tells the channels whose messages were taken back that they may have room.
fn tell_late(hosted: &mut Hosted, turn: &mut Turn) {
    for (id, count) in turn.effects.late.drain(..) {
        let of_cancelled = |hosted: &Hosted| {
            let found = hosted.cancelled.iter().find(|(cancelled, _)| *cancelled == id);
            found.map(|(_, port)| (port.outbox.clone(), port.consumer, true))
        };
        let port = hosted.ports.get(&id).map(|port| (port.outbox.clone(), port.consumer, false));
        // Those of a `get` have no port: they count for no prefetch.
        let Some((outbox, consumer, was_cancelled)) = port.or_else(|| of_cancelled(hosted)) else { continue };
        if outbox.notify(Notice::MessagesTakenBack { consumer, count, was_cancelled }) {
            turn.wakes.push(outbox);
        }
        let queue = &hosted.queue;
        hosted.cancelled.retain(|(cancelled, _)| *cancelled != id || queue.unacked_of(id) > 0);
    }
}

impl fmt::Debug for QueueCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueCell").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
