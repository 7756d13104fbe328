//! A vhost: the exchanges and queues that know each other.
//!
//! Names of queues are in a concurrent map. Exchanges and bindings are in one table behind a read-write lock:
//! publishers read it once for a route they have not seen in this generation, declares write it. (A table that
//! is changed in place, rather than copied for each change, keeps a bind cheap among a million bindings.)
//! Lock order: topology, then at most one queue. Not here: exchanges and bindings as they come and go
//! (`exchanges`), publishing (`publish`), the routing rule (`routing`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::{AHashMap, AHashSet};
use dashmap::DashMap;
use parking_lot::RwLock;
use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, ShortStr};

use super::cells::Cells;
use super::counters::{Event, ExchangeCounts, Membership, MessageCounts};
use super::deduplication::Window;
use super::policies::Policies;
use super::purpose::Purpose;
use super::reply_queues::is_reply_queue;
use super::{BrokerError, Core, QueueCell, Turn};
use crate::model::{
    ConnectionId, ExchangeName, Inequivalent, InvalidArgument, QueueFlags, QueueId, QueueName, QueueOptions,
    VhostLimits, VhostName, VhostOptions,
};
use crate::queue::Queue;
use crate::routing::RoutingTable;

/// See the module.
#[derive(Debug)]
pub struct Vhost {
    name: VhostName,
    core: Arc<Core>,
    pub(super) topology: RwLock<Topology>,
    queues: DashMap<QueueName, Arc<QueueCell>, ahash::RandomState>,
    generation: AtomicU64,
    membership: Membership,
    /// What an operator has noted, and how much may be in it.
    pub(super) notes: RwLock<(Arc<VhostOptions>, VhostLimits)>,
    /// Set under the topology's lock.
    ended: AtomicBool,
    this: Weak<Vhost>,
}

/// What routing needs: the table, and the queues behind its numbers.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) routing: RoutingTable,
    pub(super) cells: Cells,
    pub(super) policies: Policies,
    /// Of delayed exchanges, the queues in which messages wait.
    pub(super) delays: AHashMap<ExchangeName, Arc<QueueCell>>,
    /// Of exchanges that drop duplicates, the keys they have seen.
    pub(super) windows: AHashMap<ExchangeName, Window>,
    /// What exchanges have taken and given.
    pub(super) exchanges: AHashMap<ExchangeName, Arc<ExchangeCounts>>,
    /// Exchanges that are in the catalog.
    pub(super) kept_exchanges: AHashSet<ExchangeName>,
    /// Exclusive queues by their owner, who takes them along when it goes.
    exclusive: AHashMap<ConnectionId, AHashMap<QueueId, Arc<QueueCell>>>,
}

/// A queue that a declare has found or made.
#[derive(Debug)]
pub struct DeclaredQueue {
    /// The queue.
    pub queue: Arc<QueueCell>,
    /// Whether it is new.
    pub created: bool,
}

impl Vhost {
    pub(super) fn new(name: VhostName, core: Arc<Core>) -> Arc<Self> {
        let routing = RoutingTable::with_limits(core.limits.routing);
        let membership = core.counters.all.join();
        let predeclared = routing.exchanges().map(|exchange| exchange.name().clone());
        let exchanges = predeclared.map(|name| (name, ExchangeCounts::new(&membership.counts))).collect();
        Arc::new_cyclic(|this| Vhost {
            name,
            core,
            generation: AtomicU64::new(routing.generation()),
            membership,
            topology: RwLock::new(Topology { routing, exchanges, ..Topology::default() }),
            queues: DashMap::default(),
            notes: RwLock::default(),
            ended: AtomicBool::new(false),
            this: this.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &VhostName {
        &self.name
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    pub(super) fn message_counts(&self) -> &Arc<MessageCounts> {
        &self.membership.counts
    }

    /// Takes nothing more: it is being deleted.
    pub(super) fn end(&self) {
        let _nobody_declares_now = self.topology.write();
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it has been deleted.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Grows whenever a route may lead elsewhere than before.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The queue with this name, for this connection to use: consume from, get, bind, delete.
    ///
    /// # Errors
    /// There is none, or it is another connection's exclusive queue.
    pub fn queue(&self, name: &str, by: ConnectionId) -> Result<Arc<QueueCell>, BrokerError> {
        let queue = self.find_queue(name)?;
        match queue.purpose() {
            Purpose::Ordinary => self.check_owner(&queue, by)?,
            Purpose::Replies => return Err(self.no_queue(name)),
            Purpose::Delays => {
                let (queue, vhost) = (queue.name().clone(), self.name.clone());
                return Err(BrokerError::QueueInternal { queue, vhost });
            }
        }
        Ok(queue)
    }

    /// The queue with this name, to be looked at: for a passive declare, and for its figures. A reply queue is told
    /// to whoever knows its name: that is how a server finds out whether its client still waits.
    ///
    /// # Errors
    /// As [`Vhost::queue`].
    pub fn passive_queue(&self, name: &str, by: ConnectionId) -> Result<Arc<QueueCell>, BrokerError> {
        let queue = self.find_queue(name)?;
        match queue.purpose() {
            Purpose::Ordinary => self.check_owner(&queue, by)?,
            Purpose::Replies | Purpose::Delays => {}
        }
        Ok(queue)
    }

    /// Drops the ready messages of a queue and says how many there were. Of a delayed exchange's queue: cancels what
    /// waits there. That they are gone is safe once [`Turn::take_commit`] is.
    ///
    /// # Errors
    /// As [`Vhost::queue`].
    pub fn purge_queue(&self, name: &str, by: ConnectionId, turn: &mut Turn) -> Result<u64, BrokerError> {
        let queue = match self.passive_queue(name, by)? {
            queue if queue.purpose() == Purpose::Replies => return Err(self.no_queue(name)),
            queue => queue,
        };
        let purged = queue.purge(turn);
        turn.require_notes(&*self.core.log);
        Ok(purged)
    }

    pub(super) fn queue_id(&self, name: &str) -> Option<QueueId> {
        self.queues.get(name).map(|entry| entry.value().id())
    }

    /// The queue with this name, whoever's it is and whatever it is for. None: there is none. For operators.
    pub fn any_queue(&self, name: &str) -> Option<Arc<QueueCell>> {
        self.find_queue(name).ok()
    }

    pub(super) fn find_queue(&self, name: &str) -> Result<Arc<QueueCell>, BrokerError> {
        let found = self.queues.get(name).map(|entry| entry.value().clone());
        found.filter(|queue| !queue.is_closed()).ok_or_else(|| self.no_queue(name))
    }

    fn check_owner(&self, queue: &QueueCell, by: ConnectionId) -> Result<(), BrokerError> {
        match queue.owner() {
            Some(owner) if owner != by => {
                Err(BrokerError::QueueLocked { queue: queue.name().clone(), vhost: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Every queue, in no order.
    pub fn queues(&self) -> Vec<Arc<QueueCell>> {
        self.queues.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Declares a queue with options that have been read.
    ///
    /// # Errors
    /// It exists with other options, belongs to another connection, or its name is reserved.
    pub fn declare_queue(
        &self,
        name: &QueueName,
        options: QueueOptions,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        self.core.counters.count(Event::QueueDeclared, 1);
        if let Some(found) = self.find_declared(name, options.flags(), &options.arguments, by, turn)? {
            return Ok(found);
        }
        self.create_queue(name.clone(), options, Purpose::Ordinary, by, turn)
    }

    /// Declares a queue as a client words it; an empty name asks for one made here (`amq.gen-…`). What exists is only
    /// compared with the declare: an argument that no queue could have is then a difference like any other.
    ///
    /// # Errors
    /// It exists with other options, belongs to another connection, its name is reserved, or an argument is invalid.
    pub fn declare_queue_from(
        &self,
        name: &QueueName,
        flags: QueueFlags,
        arguments: &FieldTable,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        if name.is_empty() {
            return self.declare_generated_queue(&Self::generated_queue_name(), flags, arguments, by, turn);
        }
        self.declare_queue_named(name, false, flags, arguments, by, turn)
    }

    /// A name for a queue whose client leaves it to the broker.
    pub fn generated_queue_name() -> QueueName {
        QueueName::from(ShortStr::truncated(format!("amq.gen-{}", random_name())))
    }

    /// Declares a queue with a name of [`Vhost::generated_queue_name`].
    ///
    /// # Errors
    /// An argument is invalid, or there are too many queues.
    pub fn declare_generated_queue(
        &self,
        name: &QueueName,
        flags: QueueFlags,
        arguments: &FieldTable,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        self.declare_queue_named(name, true, flags, arguments, by, turn)
    }

    fn declare_queue_named(
        &self,
        name: &QueueName,
        is_generated: bool,
        flags: QueueFlags,
        arguments: &FieldTable,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        let noted = self.options();
        let default_type = noted.type_for(flags.durable, flags.exclusive, flags.auto_delete, arguments);
        let with_type = default_type.map(|queue_type| noted.with_type(arguments, queue_type));
        let arguments = with_type.as_ref().unwrap_or(arguments);
        self.core.counters.count(Event::QueueDeclared, 1);
        if !is_generated && let Some(found) = self.find_declared(name, flags, arguments, by, turn)? {
            return Ok(found);
        }
        let invalid = |error: InvalidArgument, name: &QueueName| {
            BrokerError::refused(error.reply_code(), error.text(name, &self.name))
        };
        let QueueFlags { durable, exclusive, auto_delete } = flags;
        let options = QueueOptions::from_declare(durable, exclusive, auto_delete, arguments)
            .map_err(|error| invalid(error, name))?;
        if name.starts_with("amq.gen-") {
            options.allow_server_name().map_err(|error| invalid(error, name))?;
        }
        self.create_queue(name.clone(), options, Purpose::Ordinary, by, turn)
    }

    /// The queue that a declare means, if it exists.
    fn find_declared(
        &self,
        name: &QueueName,
        flags: QueueFlags,
        arguments: &FieldTable,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<Option<DeclaredQueue>, BrokerError> {
        if is_reply_queue(name) {
            // As RabbitMQ: whatever is declared, the answer tells whether it is there.
            return Ok(Some(DeclaredQueue { queue: self.find_queue(name)?, created: false }));
        }
        if name.starts_with("amq.") {
            return Err(BrokerError::QueueNameReserved { queue: name.clone() });
        }
        match self.queue(name, by) {
            Ok(queue) => Self::redeclare(&self.name, queue, flags, arguments, turn).map(Some),
            Err(BrokerError::NoQueue { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn redeclare(
        vhost: &VhostName,
        queue: Arc<QueueCell>,
        flags: QueueFlags,
        arguments: &FieldTable,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        match queue.options().equivalent(flags, arguments) {
            Ok(()) => {}
            Err(Inequivalent::Exclusive) => {
                return Err(BrokerError::QueueLocked { queue: queue.name().clone(), vhost: vhost.clone() });
            }
            Err(different) => {
                let text = different.text(queue.name(), vhost);
                return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
            }
        }
        queue.touch(turn);
        Ok(DeclaredQueue { queue, created: false })
    }

    pub(super) fn create_queue(
        &self,
        name: QueueName,
        options: QueueOptions,
        purpose: Purpose,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<DeclaredQueue, BrokerError> {
        let mut topology = self.topology.write();
        let existing = self.queues.get(&name).map(|entry| entry.value().clone());
        match existing {
            // It has ended but whoever ended it has not yet come to take it out: do that first.
            Some(queue) if queue.is_closed() => self.forget(&mut topology, &queue),
            // Another connection was quicker. It is used as it is, even if it ends just now: looking it up again
            // could tell a client that declares a queue that there is none.
            Some(queue) => {
                drop(topology);
                self.check_owner(&queue, by)?;
                return Self::redeclare(&self.name, queue, options.flags(), &options.arguments, turn);
            }
            None => {}
        }
        self.check_queue_count(&name)?;
        self.check_queue_limit(&name)?;
        self.check_keeps(options.durable && !options.exclusive)?;
        self.core.counters.count(Event::QueueCreated, 1);
        let owner = options.exclusive.then_some(by);
        let machine = Queue::new(name.clone(), options, self.core.limits.queue, turn.now);
        let queue = self.host(machine, purpose, owner);
        topology.routing.add_queue(name, queue.id());
        topology.cells.insert(queue.clone());
        self.keep_queue(&queue);
        if let Some(owner) = owner {
            topology.exclusive.entry(owner).or_default().insert(queue.id(), queue.clone());
        }
        topology.apply_policy(&queue, turn);
        self.publish_generation(&topology);
        drop(topology);
        // Arms the timer of a queue that expires unused.
        queue.touch(turn);
        Ok(DeclaredQueue { queue, created: true })
    }

    /// Hosts a queue under its name. Topology must be locked for writing.
    pub(super) fn host(
        &self,
        machine: Queue,
        purpose: Purpose,
        owner: Option<ConnectionId>,
    ) -> Arc<QueueCell> {
        self.host_as(self.core.next_queue_id(), machine, purpose, owner)
    }

    /// [`Vhost::host`] with the identity that the journal knows it by.
    pub(super) fn host_as(
        &self,
        id: QueueId,
        machine: Queue,
        purpose: Purpose,
        owner: Option<ConnectionId>,
    ) -> Arc<QueueCell> {
        let vhost = self.this.upgrade().expect("a vhost in use is alive");
        let queue = QueueCell::new(id, machine, purpose, owner, &vhost, &self.core);
        self.queues.insert(queue.name().clone(), queue.clone());
        queue
    }

    /// Takes a closed queue's name out, unless it is another's by now.
    pub(super) fn forget_name(&self, queue: &QueueCell) {
        self.queues.remove_if(queue.name(), |_, found| found.id() == queue.id());
    }

    pub(super) fn check_queue_count(&self, name: &QueueName) -> Result<(), BrokerError> {
        let max = self.core.limits.queues_max;
        if self.queues.len() >= max {
            let (queue, vhost) = (name.clone(), self.name.clone());
            return Err(BrokerError::TooManyQueues { queue, vhost, max });
        }
        Ok(())
    }

    /// Refuses a queue that a client declares when the vhost has as many as it may have.
    fn check_queue_limit(&self, name: &QueueName) -> Result<(), BrokerError> {
        let Some(max) = self.limits().max_queues else { return Ok(()) };
        // All of them are seldom looked at: only where the limit is near.
        if self.queues.len() >= max as usize && self.declared_queue_count() >= max as usize {
            let vhost = &self.name;
            let text =
                format!("cannot declare queue '{name}': queue limit in vhost '{vhost}' ({max}) is reached");
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        Ok(())
    }

    /// How many queues clients have declared. The others are of channels and of delayed exchanges, and nobody chose to
    /// have them: no limit of the vhost counts them.
    pub fn declared_queue_count(&self) -> usize {
        let is_declared = |queue: &QueueCell| queue.purpose() == Purpose::Ordinary && !queue.is_closed();
        self.queues.iter().filter(|entry| is_declared(entry.value())).count()
    }

    /// Deletes a queue and says how many ready messages went with it. A queue that does not exist is fine.
    ///
    /// # Errors
    /// It is in use or not empty and that was to be respected, or it is another connection's.
    pub fn delete_queue(
        &self,
        name: &str,
        if_unused: bool,
        if_empty: bool,
        by: ConnectionId,
        turn: &mut Turn,
    ) -> Result<u64, BrokerError> {
        let queue = match self.queue(name, by) {
            Ok(queue) => queue,
            Err(BrokerError::NoQueue { .. }) => return Ok(0),
            Err(error) => return Err(error),
        };
        let (queue_name, vhost) = (queue.name().clone(), self.name.clone());
        let closed = queue.close_if(turn, |stats| {
            if if_empty && stats.ready + stats.delayed > 0 {
                return Err(BrokerError::QueueNotEmpty { queue: queue_name, vhost });
            }
            if if_unused && stats.consumers > 0 {
                return Err(BrokerError::QueueInUse { queue: queue_name, vhost });
            }
            Ok(())
        });
        let Some(closed) = closed else { return Ok(0) };
        let messages = closed?;
        self.forget_queue(&queue);
        Ok(messages)
    }

    /// Deletes the exclusive queues of a connection that has ended.
    pub fn delete_exclusive_queues(&self, owner: ConnectionId, turn: &mut Turn) {
        let queues = self.topology.write().exclusive.remove(&owner);
        for queue in queues.into_iter().flat_map(AHashMap::into_values) {
            if queue.close_if(turn, |_| Ok::<_, BrokerError>(())).is_some() {
                self.forget_queue(&queue);
            }
        }
    }

    /// Takes a closed queue out of names and routes.
    pub(super) fn forget_queue(&self, queue: &Arc<QueueCell>) {
        let mut topology = self.topology.write();
        self.forget(&mut topology, queue);
    }

    fn forget(&self, topology: &mut Topology, queue: &Arc<QueueCell>) {
        if !topology.cells.remove(queue.id()) {
            return;
        }
        self.core.counters.count(Event::QueueDeleted, 1);
        let removed = topology.routing.remove_queue(queue.name());
        self.forget_kept_queue(queue);
        self.exchanges_gone(topology, &removed.exchanges);
        if let Some(owner) = queue.owner()
            && let Some(queues) = topology.exclusive.get_mut(&owner)
        {
            queues.remove(&queue.id());
            if queues.is_empty() {
                topology.exclusive.remove(&owner);
            }
        }
        self.forget_name(queue);
        self.publish_generation(topology);
    }

    pub(super) fn no_exchange(&self, name: &str) -> BrokerError {
        BrokerError::NoExchange { exchange: ShortStr::truncated(name).into(), vhost: self.name.clone() }
    }

    /// What to say when there is no such queue.
    pub fn no_queue(&self, name: &str) -> BrokerError {
        BrokerError::NoQueue { queue: ShortStr::truncated(name).into(), vhost: self.name.clone() }
    }

    pub(super) fn publish_generation(&self, topology: &Topology) {
        self.generation.store(topology.routing.generation(), Ordering::Release);
    }
}

/// 22 characters that nobody guesses, as RabbitMQ's generated names have.
pub(crate) fn random_name() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(22).collect()
}
