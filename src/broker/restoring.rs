//! A broker after a restart: what was declared and what its queues held.
//!
//! What the catalog has is declared again by the rules of every declare, except that nobody is asked whether it may be.
//! Whoever starts the broker sets its policies then, and at last it lets time pass: what should have expired since
//! does so.
//! Not here: what the journal and the catalog find on disk (`store`).

use std::cell::RefCell;
use std::sync::Arc;

use ahash::AHashMap;
use thiserror::Error;

use super::deduplication::Windows;
use super::delayed::queue_name;
use super::purpose::Purpose;
use super::vhost::Topology;
use super::{Broker, QueueCell, Turn, Vhost};
use crate::model::{
    ExchangeFlags, ExchangeName, ExchangeOptions, Lsn, Policy, PolicyKind, QueueFlags, QueueId, QueueName,
    QueueOptions, RestoredRun, Timestamp, VhostName,
};
use crate::queue::Queue;
use crate::routing::{Destination, RoutingLimits};
use crate::store::{
    BindingEnd, CatalogContents, Change, ExchangeRow, PolicyRow, QueueRow, QueueUse, RestoredQueue,
};

/// Something in the catalog that this version of the broker cannot declare.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{what} of vhost '{vhost}' cannot be declared again: {why}; start the version of Rialto that declared it"
)]
pub struct RestoreError {
    what: String,
    vhost: String,
    why: String,
}

impl RestoreError {
    fn of(what: String, vhost: &Vhost, why: impl ToString) -> Self {
        RestoreError { what, vhost: vhost.name().to_string(), why: why.to_string() }
    }
}

impl Broker {
    /// Declares what is in the catalog.
    pub(super) fn restore_topology(&self, contents: CatalogContents) -> Result<(), RestoreError> {
        let CatalogContents { vhosts, exchanges, queues, bindings, policies, operator_policies, .. } =
            contents;
        let names = vhosts.into_iter().map(|row| row.name);
        let names = names.chain(queues.iter().map(|row| row.vhost.clone()));
        for name in names.chain(exchanges.iter().map(|row| row.vhost.clone())) {
            // A limit that was lowered since is for what comes, and no reason not to start.
            self.vhost_or_new(name).topology.write().routing.set_limits(RoutingLimits::NONE);
        }
        let vhost = |name: &str| self.vhost(name).expect("every vhost of a queue was added");
        let mut delays: AHashMap<(VhostName, QueueName), QueueId> = AHashMap::new();
        let (hidden, queues): (Vec<_>, Vec<_>) =
            queues.into_iter().partition(|row| row.purpose == QueueUse::Delays);
        for row in hidden {
            self.0.core.log.add_queue(row.id);
            delays.insert((row.vhost, row.name), row.id);
        }
        let delays = RefCell::new(delays);
        for row in exchanges {
            vhost(&row.vhost)
                .restore_exchange(row, |vhost, name| delays.borrow_mut().remove(&(vhost, name)))?;
        }
        // The broker was killed between the end of an exchange and that of its queue.
        for ((vhost, name), id) in delays.into_inner() {
            self.0.core.log.remove_queue(id, &[]);
            self.0.core.keep(Change::DeleteQueue { vhost, name, id });
        }
        let now = self.now();
        for row in queues {
            vhost(&row.vhost).restore_queue(row, now)?;
        }
        for row in bindings {
            let Some(vhost) = self.vhost(&row.vhost) else { continue };
            let what = || format!("a binding of exchange '{}'", row.source);
            let mut topology = vhost.topology.write();
            let destination = match &row.destination {
                BindingEnd::Queue(name) => match vhost.queue_id(name) {
                    Some(id) => Destination::Queue(id),
                    None => continue,
                },
                BindingEnd::Exchange(name) => Destination::Exchange(name.clone()),
            };
            let bound =
                topology.routing.bind(&row.source, &destination, row.routing_key.clone(), &row.arguments);
            bound.map_err(|error| RestoreError::of(what(), &vhost, error.text(vhost.name())))?;
        }
        let users = policies.into_iter().map(|row| (PolicyKind::User, row));
        let operators = operator_policies.into_iter().map(|row| (PolicyKind::Operator, row));
        self.restore_policies(users.chain(operators))?;
        for vhost in self.vhosts() {
            vhost.topology.write().routing.set_limits(self.limits().routing);
            vhost.publish_generation(&vhost.topology.read());
        }
        Ok(())
    }

    fn restore_policies(
        &self,
        rows: impl Iterator<Item = (PolicyKind, PolicyRow)>,
    ) -> Result<(), RestoreError> {
        let mut of_vhosts: AHashMap<VhostName, Vec<Policy>> = AHashMap::new();
        for (kind, PolicyRow { vhost, name, pattern, target, priority, definition }) in rows {
            let policy = Policy::of_kind(kind, &name, &pattern, target, priority, &definition);
            let policy = policy.map_err(|error| RestoreError {
                what: format!("policy '{name}'"),
                vhost: vhost.to_string(),
                why: error.to_string(),
            })?;
            of_vhosts.entry(vhost).or_default().push(policy);
        }
        let mut turn = Turn::new();
        turn.begin(self.now());
        for (name, policies) in of_vhosts {
            if let Some(vhost) = self.vhost(&name) {
                vhost.restore_policies(policies, &mut turn);
            }
        }
        turn.finish(self);
        Ok(())
    }

    /// Gives the queues what they held. To be called when the policies are set, which say when messages expire.
    /// Those before `delivered_before` may have been with a consumer when a process was killed.
    pub fn restore_messages(
        &self,
        mut held: AHashMap<QueueId, RestoredQueue>,
        delivered_before: Lsn,
        turn: &mut Turn,
    ) {
        turn.begin(self.now());
        for vhost in self.vhosts() {
            let topology = vhost.topology.read();
            let windows = topology.windows();
            for queue in vhost.queues() {
                if let Some(held) = held.remove(&queue.id()) {
                    queue.restore(held, delivered_before, &windows, turn);
                }
            }
        }
        turn.finish(self);
        // When all of them have what they held, for dead letters go from one to another. One by one: what has expired
        // meanwhile may be more than memory takes.
        for queue in self.vhosts().into_iter().flat_map(|vhost| vhost.queues()) {
            queue.catch_up(turn);
            turn.finish(self);
        }
    }
}

impl QueueCell {
    /// Remembers the keys by which repetitions of these messages are known.
    pub(super) fn restore_keys(&self, queue: &mut Queue, run: &RestoredRun, windows: &Windows<'_>) {
        let RestoredRun { mut from, mut len, .. } = *run;
        while len > 0 {
            let messages = match self.read(run.location, from, len) {
                Ok(messages) if !messages.is_empty() => messages,
                // Whoever consumes them will hear of it.
                Ok(_) | Err(_) => return,
            };
            for message in &messages {
                from += message.len() as u32;
                len = len.saturating_sub(message.len() as u32);
                queue.restore_key(message, run.at);
                windows.restore_key(message, run.at);
            }
        }
    }
}

impl Vhost {
    fn restore_exchange(
        self: &Arc<Self>,
        row: ExchangeRow,
        delays: impl Fn(VhostName, QueueName) -> Option<QueueId>,
    ) -> Result<(), RestoreError> {
        let ExchangeRow { name, kind, flags, arguments, .. } = row;
        let what = |name: &ExchangeName| format!("exchange '{name}'");
        let ExchangeFlags { durable, auto_delete, internal } = flags;
        let options = ExchangeOptions::from_arguments(kind.name(), durable, auto_delete, internal, arguments)
            .map_err(|error| RestoreError::of(what(&name), self, error.text(&name, self.name())))?;
        let mut topology = self.topology.write();
        topology
            .routing
            .declare_exchange(name.clone(), options.clone())
            .map_err(|error| RestoreError::of(what(&name), self, error.text(self.name())))?;
        let known_as = delays(self.name().clone(), queue_name(&name));
        self.begin_delays(&mut topology, &name, &options, known_as);
        self.begin_exchange(&mut topology, &name, &options);
        topology.kept_exchanges.insert(name);
        Ok(())
    }

    fn restore_queue(self: &Arc<Self>, row: QueueRow, now: Timestamp) -> Result<(), RestoreError> {
        let QueueRow { name, id, paused, flags, arguments, .. } = row;
        let QueueFlags { durable, exclusive, auto_delete } = flags;
        let options =
            QueueOptions::from_declare(durable, exclusive, auto_delete, &arguments).map_err(|error| {
                RestoreError::of(format!("queue '{name}'"), self, error.text(&name, self.name()))
            })?;
        let mut topology: parking_lot::RwLockWriteGuard<'_, Topology> = self.topology.write();
        let mut machine = Queue::new(name.clone(), options, self.core().limits.queue, now);
        machine.set_paused(paused);
        self.core().log.add_queue(id);
        let queue = self.host_as(id, machine, Purpose::Ordinary, None);
        topology.routing.add_queue(name, id);
        topology.cells.insert(queue);
        Ok(())
    }
}
