//! What the catalog is told: durable exchanges, queues and bindings, as they come and go.
//!
//! Told under the topology's lock, so that the catalog hears of changes in the order in which they were made. Who has
//! asked for one is answered when it is safe ([`Broker::catalog_commit`]); others see it at once.
//!
//! Invariants: exclusive queues are never kept, for they go with their connection; a binding is kept if both its ends
//! are, as in RabbitMQ. Not here: how it is kept (`store::Catalog`), how it comes back (`restoring`).

use std::sync::atomic::Ordering;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::FieldTable;

use super::commit::Later;
use super::purpose::Purpose;
use super::vhost::Topology;
use super::{Broker, BrokerError, Commit, Core, QueueCell, Vhost};
use crate::model::{ExchangeFlags, ExchangeName, ExchangeOptions, RoutingKey};
use crate::routing::Destination;
use crate::store::{BindingEnd, BindingRow, Change, ExchangeRow, QueueRow, QueueUse};

impl Core {
    /// Whether the catalog can be told of anything.
    pub(super) fn check_catalog(&self) -> Result<(), BrokerError> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        if let Some(why) = catalog.failure() {
            let text = format!("nothing durable can be changed: {why}");
            return Err(BrokerError::refused(ReplyCode::InternalError, text));
        }
        if catalog.is_behind() {
            // Else it would be declared, and its messages confirmed, and gone with the next start.
            let text = "nothing durable can be changed for now: the catalog's disk is too slow, or full";
            return Err(BrokerError::refused(ReplyCode::ResourceError, text.to_owned()));
        }
        Ok(())
    }

    /// Tells the catalog, and says which version of it has the change.
    pub(super) fn keep(&self, change: Change) -> u64 {
        let Some(catalog) = &self.catalog else { return 0 };
        match catalog.change(change) {
            Ok(version) => {
                self.catalog_version.fetch_max(version, Ordering::AcqRel);
                version
            }
            // It was asked before; who is answered now hears it when the answer is due.
            Err(error) => {
                tracing::error!(%error, "a change of the topology is not kept");
                u64::MAX
            }
        }
    }
}

impl Broker {
    /// What every change of the topology so far must wait for to be safe.
    pub fn catalog_commit(&self) -> Commit {
        let catalog = self.0.core.catalog_version.load(Ordering::Acquire);
        Commit { catalog, ..Commit::NONE }
    }
}

impl Vhost {
    /// Asks before something durable is changed.
    ///
    /// # Errors
    /// Nothing durable can be changed any more.
    pub(super) fn check_keeps(&self, durable: bool) -> Result<(), BrokerError> {
        if self.is_ended() {
            return Err(BrokerError::NoVhost { vhost: self.name().clone() });
        }
        if durable { self.core().check_catalog() } else { Ok(()) }
    }

    /// Tells the catalog of a change, unless this vhost is deleted: its rows are gone, and those that the name has now may be
    /// another vhost's. As [`Core::keep`].
    pub(super) fn keep(&self, change: Change) -> u64 {
        match self.is_ended() {
            true => self.core().catalog_version.load(Ordering::Acquire),
            false => self.core().keep(change),
        }
    }

    pub(super) fn keep_queue(&self, queue: &QueueCell) {
        if !queue.is_journalled() {
            return;
        }
        self.core().log.add_queue(queue.id());
        queue.set_kept_at(self.keep_queue_row(queue, false));
    }

    /// Tells the catalog what a queue is now. Only of one that is in the topology: another would come back.
    pub(super) fn keep_queue_row(&self, queue: &QueueCell, paused: bool) -> u64 {
        let purpose = match queue.purpose() {
            Purpose::Delays => QueueUse::Delays,
            Purpose::Ordinary | Purpose::Replies => QueueUse::Ordinary,
        };
        let options = queue.options();
        self.keep(Change::PutQueue(QueueRow {
            vhost: self.name().clone(),
            name: queue.name().clone(),
            id: queue.id(),
            purpose,
            paused,
            flags: options.flags(),
            arguments: options.arguments.clone(),
        }))
    }

    pub(super) fn forget_kept_queue(&self, queue: &QueueCell) {
        if queue.is_journalled() {
            let (vhost, name, id) = (self.name().clone(), queue.name().clone(), queue.id());
            self.keep(Change::DeleteQueue { vhost, name, id });
            self.core().tell_journal_later(Later::RemoveQueue { queue: id, runs: queue.take_left() });
        }
    }

    pub(super) fn keep_exchange(
        &self,
        topology: &mut Topology,
        name: &ExchangeName,
        options: &ExchangeOptions,
    ) {
        if !options.durable || self.core().catalog.is_none() {
            return;
        }
        topology.kept_exchanges.insert(name.clone());
        let ExchangeOptions { kind, durable, auto_delete, internal, .. } = *options;
        self.keep(Change::PutExchange(ExchangeRow {
            vhost: self.name().clone(),
            name: name.clone(),
            kind,
            flags: ExchangeFlags { durable, auto_delete, internal },
            arguments: options.arguments.clone(),
        }));
    }

    pub(super) fn forget_kept_exchange(&self, topology: &mut Topology, name: &ExchangeName) {
        if topology.kept_exchanges.remove(name) {
            let (vhost, name) = (self.name().clone(), name.clone());
            self.keep(Change::DeleteExchange { vhost, name });
        }
    }

    /// Notes that a binding is there, or is not.
    pub(super) fn keep_binding(
        &self,
        topology: &Topology,
        source: &ExchangeName,
        destination: &Destination,
        routing_key: &RoutingKey,
        arguments: &FieldTable,
        is_there: bool,
    ) {
        if self.core().catalog.is_none() || !topology.is_durable(source) {
            return;
        }
        let destination = match destination {
            Destination::Queue(id) => match topology.cells.get(*id) {
                Some(queue) if queue.is_journalled() => BindingEnd::Queue(queue.name().clone()),
                _ => return,
            },
            Destination::Exchange(name) if topology.is_durable(name) => BindingEnd::Exchange(name.clone()),
            Destination::Exchange(_) => return,
        };
        let row = BindingRow {
            vhost: self.name().clone(),
            source: source.clone(),
            destination,
            routing_key: routing_key.clone(),
            arguments: arguments.clone(),
        };
        self.keep(if is_there { Change::PutBinding(row) } else { Change::DeleteBinding(row) });
    }
}

impl Topology {
    /// Whether an exchange outlives the broker: it was declared so, or is always there.
    pub(super) fn is_durable(&self, exchange: &str) -> bool {
        self.routing.exchange(exchange).is_some_and(|exchange| exchange.options().durable)
    }
}
