//! The broker: vhosts and what they hold, and the operations that both protocols call.
//!
//! Invariants, lock order (outermost first): vhost topology -> one queue cell -> outbox. Never two queues at
//! once, never a wait inside. Every operation takes a [`Turn`], which its driver finishes when nothing is
//! locked. Not here: frames (`session`), sockets and tasks (`server`), the rules of routing and queues.

mod alarms;
mod browsing;
mod cells;
mod channel_info;
mod commit;
mod connections;
mod counters;
mod dead_letters;
mod deduplication;
mod delayed;
mod error;
mod exchanges;
mod explaining;
mod figure;
mod identity;
mod importing;
mod journalling;
mod keeping;
mod limits;
mod link;
mod listing;
mod moving;
mod outbox;
mod paging;
mod parameters;
mod pausing;
mod permissions;
mod policies;
mod pressure;
mod publish;
mod published_properties;
mod purpose;
mod queue_cell;
mod reply_queues;
mod restoring;
mod target_runs;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
mod vhost;
mod vhosts;
mod views;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use alarms::{Alarm, FullQueue};
pub use browsing::{BrowsePage, HeldBy, Holder, UnackedPage};
pub use channel_info::{ChannelInfo, ChannelList, ChannelMessages, ChannelMode};
pub use commit::Commit;
pub use connections::{ConnectionGuard, ConnectionInfo, ConnectionRefused};
pub use counters::{
    ChannelCounts, ChannelTotals, Churn, Counters, Counts, Distribution, ExchangeCounts, ExchangeFigures,
    InQueues, Publishing,
};
pub use error::BrokerError;
pub use explaining::{Explained, ExplainedExchange};
pub use figure::Figure;
pub use importing::{Exported, ImportedEnd};
pub use limits::Limits;
pub use link::{Link, Traffic};
pub use listing::{ListPage, Listed};
pub use moving::{Move, Moved};
pub use outbox::{DeliveryRun, LocalConsumer, Notice, Outbox, Outgoing};
pub use parameters::{CLUSTER_NAME, CLUSTER_NAME_LEN_MAX, is_cluster_name};
pub use policies::HoldingPolicies;
pub use pressure::Hold;
pub use publish::{PublishBatch, Repeats, Resolved, Targets, UNDECIDED};
pub use published_properties::PublishedProperties;
pub use purpose::Purpose;
pub use queue_cell::{QueueCell, Settled};
pub use reply_queues::REPLY_TO;
pub use restoring::RestoreError;
pub use turn::Turn;
pub(crate) use vhost::random_name;
pub use vhost::{DeclaredQueue, Vhost};
pub use vhosts::VHOST_NAME_LEN_MAX;
pub use views::ExchangeView;

use crate::access::{Access, AccessOptions};
use crate::model::{
    Clock, ConnectionId, ConsumerId, MemoryGauge, QueueId, SystemClock, Timestamp, VhostName,
};
use crate::store::journal::JournalStats;
use crate::store::{Catalog, CatalogContents, Log, MemoryLog, Position};
use alarms::FullQueues;
use commit::Commits;
use connections::Connections;
use parameters::Parameters;
use pressure::Pressure;
use timers::Timers;

/// Queues whose timers are looked after in one turn.
const TICKS_EACH_TURN: usize = 16;

/// A handle to the broker. Clones are the same broker.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    vhosts: DashMap<VhostName, Arc<Vhost>, ahash::RandomState>,
    core: Arc<Core>,
}

/// What vhosts and queues need of their broker. They must not hold the broker itself: it holds them, and
/// nothing would ever be freed.
struct Core {
    connections: Connections,
    access: Arc<Access>,
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    /// What was declared and must outlive the broker. None: nothing must.
    catalog: Option<Arc<Catalog>>,
    /// The last change that it was told.
    catalog_version: AtomicU64,
    commits: Commits,
    limits: Limits,
    /// Changes of users, permissions, vhosts and parameters are made one after the other, under this lock.
    identity: Mutex<()>,
    parameters: RwLock<Parameters>,
    gauge: MemoryGauge,
    pressure: Pressure,
    /// Queues with publishers that wait.
    congested: Mutex<Vec<Weak<QueueCell>>>,
    /// Those of them that are full.
    full_queues: FullQueues,
    pressure_began: Notify,
    timers: Timers,
    counters: Counters,
    queue_ids: AtomicU64,
    consumer_ids: AtomicU64,
    connection_ids: AtomicU64,
}

/// What a broker is made of.
pub struct Builder {
    clock: Arc<dyn Clock>,
    log: Arc<dyn Log>,
    catalog: Option<Arc<Catalog>>,
    limits: Limits,
    access: Arc<Access>,
    has_guest: bool,
    vhosts: Vec<VhostName>,
}

impl Builder {
    /// Takes the time from here: a [`crate::model::ManualClock`] in tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Appends to this log, instead of keeping nothing.
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// Holds peers to these limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets these users in. If there are none, neither here nor in the data folder, there will be `guest`.
    pub fn access(mut self, access: Arc<Access>) -> Self {
        self.access = access;
        self
    }

    /// Has no `guest`, even if there is no other user: somebody else will say who there is.
    pub fn without_guest(mut self) -> Self {
        self.has_guest = false;
        self
    }

    /// Has these vhosts, instead of `/`.
    pub fn vhosts(mut self, names: impl IntoIterator<Item = VhostName>) -> Self {
        self.vhosts = names.into_iter().collect();
        self
    }

    /// Makes a broker whose durable queues, and all that was declared durable, are those of a data folder. It serves
    /// nobody yet, and its queues are empty until [`Broker::restore_messages`].
    ///
    /// # Errors
    /// Something that was declared cannot be declared by this version.
    pub fn restore(
        mut self,
        log: Arc<dyn Log>,
        catalog: Arc<Catalog>,
        mut contents: CatalogContents,
    ) -> Result<Broker, RestoreError> {
        self.log = log;
        self.catalog = Some(catalog);
        let has_guest = self.has_guest;
        let broker = self.without_guest().build();
        broker.restore_vhosts(&contents);
        broker.restore_identity(&mut contents);
        broker.restore_parameters(std::mem::take(&mut contents.parameters));
        broker.restore_topology(contents)?;
        if has_guest {
            broker.put_guest();
        }
        Ok(broker)
    }

    /// Makes the broker. It serves nobody yet: see [`crate::server`].
    pub fn build(self) -> Broker {
        let gauge = MemoryGauge::new();
        let first_queue_id = self.catalog.as_ref().map_or(1, |catalog| catalog.queue_ids().start);
        let core = Arc::new(Core {
            connections: Connections::default(),
            access: self.access,
            clock: self.clock,
            log: self.log,
            catalog: self.catalog,
            catalog_version: AtomicU64::new(0),
            commits: Commits::default(),
            pressure: Pressure::new(&self.limits, gauge.clone()),
            limits: self.limits,
            identity: Mutex::default(),
            parameters: RwLock::default(),
            gauge,
            congested: Mutex::default(),
            full_queues: FullQueues::default(),
            pressure_began: Notify::new(),
            timers: Timers::default(),
            counters: Counters::default(),
            queue_ids: AtomicU64::new(first_queue_id),
            consumer_ids: AtomicU64::new(1),
            connection_ids: AtomicU64::new(1),
        });
        let told = Arc::downgrade(&core);
        core.log.on_progress(Box::new(move || {
            if let Some(core) = told.upgrade() {
                core.log_progressed();
            }
        }));
        if let Some(catalog) = &core.catalog {
            let told = Arc::downgrade(&core);
            catalog.on_progress(Box::new(move || {
                if let Some(core) = told.upgrade() {
                    core.log_progressed();
                }
            }));
        }
        // What happened before somebody listened.
        core.log_progressed();
        let broker = Broker(Arc::new(Inner { vhosts: DashMap::default(), core }));
        for name in self.vhosts {
            broker.vhost_or_new(name);
        }
        if self.has_guest {
            broker.put_guest();
        }
        broker
    }
}

impl Broker {
    /// Starts a broker that keeps everything in memory.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use rialto::broker::Broker;
    /// use rialto::model::ManualClock;
    ///
    /// let broker = Broker::in_memory().clock(Arc::new(ManualClock::new())).build();
    /// assert!(broker.vhost("/").is_some());
    /// ```
    pub fn in_memory() -> Builder {
        Builder {
            clock: Arc::new(SystemClock::new()),
            log: Arc::new(MemoryLog::new()),
            catalog: None,
            limits: Limits::default(),
            access: Access::new(AccessOptions::default()),
            has_guest: true,
            vhosts: vec![VhostName::new("/").expect("one byte is short")],
        }
    }

    /// The vhost with this name, which is made if it is not there.
    fn vhost_or_new(&self, name: VhostName) -> Arc<Vhost> {
        let (core, vhost) = (&self.0.core, name.clone());
        self.0.vhosts.entry(name).or_insert_with(|| Vhost::new(vhost, core.clone())).clone()
    }

    /// The vhost with this name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.0.vhosts.get(name).map(|entry| entry.value().clone())
    }

    /// Every vhost.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        self.0.vhosts.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Who may do what.
    pub fn access(&self) -> &Arc<Access> {
        &self.0.core.access
    }

    /// The present moment, by the broker's clock.
    pub fn now(&self) -> Timestamp {
        self.0.core.clock.now()
    }

    /// The limits that hold.
    pub fn limits(&self) -> &Limits {
        &self.0.core.limits
    }

    /// Bytes that messages hold in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.0.core.gauge.bytes()
    }

    /// The journal's figures. None: nothing is kept on disk.
    pub fn journal_stats(&self) -> Option<JournalStats> {
        self.log().stats()
    }

    /// How far the log has come, and how far of that everything is safe.
    pub fn log_positions(&self) -> (Position, Position) {
        (self.log().written(), self.log().committed())
    }

    /// Whether publishers of durable messages wait because the disk is full, or nearly so.
    pub fn disk_is_full(&self) -> bool {
        self.0.core.commits.disk_is_full()
    }

    /// Queues whose publishers wait now.
    pub fn congested_queues(&self) -> usize {
        self.0.core.congested.lock().len()
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.0.core.counters
    }

    /// A number for a new consumer.
    pub fn next_consumer_id(&self) -> ConsumerId {
        ConsumerId(self.0.core.consumer_ids.fetch_add(1, Ordering::Relaxed))
    }

    /// When [`Broker::run_timers`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.0.core.timers.next()
    }

    /// Queues that have something to do at some time; each counts once.
    pub fn timers_len(&self) -> usize {
        self.0.core.timers.len()
    }

    /// Waits until [`Broker::next_deadline`] has come nearer.
    pub async fn deadline_changed(&self) {
        self.0.core.timers.changed().await;
    }

    /// Does everything that is due: expires messages and queues, and lets delayed messages go on. A test calls it
    /// after it has moved its clock.
    pub fn run_timers(&self, turn: &mut Turn) {
        while self.run_some_timers(turn) {}
    }

    /// Does some of what is due, a few milliseconds' worth. True while there is more: a driver lets others run
    /// first. Drivers call it when [`Broker::next_deadline`] has come.
    pub fn run_some_timers(&self, turn: &mut Turn) -> bool {
        turn.begin(self.now());
        for _ in 0..TICKS_EACH_TURN {
            let Some((at, queue)) = self.0.core.timers.due(turn.now) else { return false };
            if let Some(queue) = queue.upgrade() {
                queue.tick(at, turn);
            }
            turn.finish(self);
        }
        true
    }

    /// Looks again at every queue that holds publishers back: memory may have become free elsewhere.
    /// True while some are still held back.
    pub fn review_pressure(&self, turn: &mut Turn) -> bool {
        turn.begin(self.now());
        self.tell_full_queues(turn.now);
        // Whoever waits for an alarm is in a queue below; what changes is told here.
        self.0.core.pressure.alarm();
        let queues = std::mem::take(&mut *self.0.core.congested.lock());
        let still: Vec<_> = queues
            .into_iter()
            .filter(|queue| queue.upgrade().is_some_and(|queue| queue.review_pressure(turn)))
            .collect();
        let any = !still.is_empty();
        self.0.core.congested.lock().extend(still);
        turn.finish(self);
        any
    }

    /// Waits until a queue begins to hold publishers back.
    pub async fn pressure_began(&self) {
        self.0.core.pressure_began.notified().await;
    }

    /// Whether so much memory is in use that nothing more can be taken: see [`Limits::memory_budget`].
    pub fn memory_exhausted(&self) -> bool {
        self.0.core.pressure.exhausted()
    }

    fn gauge(&self) -> &MemoryGauge {
        &self.0.core.gauge
    }

    fn log(&self) -> &dyn Log {
        &*self.0.core.log
    }

    fn next_connection_id(&self) -> ConnectionId {
        ConnectionId(self.0.core.connection_ids.fetch_add(1, Ordering::Relaxed))
    }
}

impl Core {
    fn watch_pressure(&self, queue: &Arc<QueueCell>) {
        let mut congested = self.congested.lock();
        let queue = Arc::downgrade(queue);
        if !congested.iter().any(|known| known.ptr_eq(&queue)) {
            congested.push(queue);
            self.pressure_began.notify_one();
        }
    }

    fn next_queue_id(&self) -> QueueId {
        QueueId(self.queue_ids.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("vhosts", &self.0.vhosts.len()).finish_non_exhaustive()
    }
}
