//! What an import of definitions needs besides what every client may do.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::FieldTable;

use super::reply_queues::is_reply_queue;
use super::{Broker, BrokerError, Purpose, QueueCell, Turn, Vhost};
use crate::model::{ConnectionId, ExchangeName, ExchangeOptions, QueueName, QueueOptions, RoutingKey};
use crate::routing::{Binding, BindingTarget, Destination};
use crate::store::CatalogHold;

/// Queues, exchanges and bindings.
pub type Exported = (Vec<Arc<QueueCell>>, Vec<(ExchangeName, ExchangeOptions)>, Vec<Binding>);

/// No connection has it: they count from 1.
const NOBODY: ConnectionId = ConnectionId(0);

impl Broker {
    /// While the answer is kept, what is changed in the catalog is not committed; then it is, all together. There is room
    /// for so many changes. None: there is no catalog.
    ///
    /// # Errors
    /// There is no such room, or nothing durable can be changed.
    pub fn hold_catalog(&self, changes: usize) -> Result<Option<CatalogHold>, BrokerError> {
        let held = self.0.core.catalog.as_ref().map(|catalog| catalog.hold(changes)).transpose();
        held.map_err(|error| {
            let text = format!("nothing durable can be changed: {error}");
            BrokerError::refused(ReplyCode::ResourceError, text)
        })
    }
}

impl Vhost {
    /// Whether there is such a queue already.
    ///
    /// # Errors
    /// There is one, and it is another; or no queue may have this name.
    pub fn check_queue_import(&self, name: &QueueName, options: &QueueOptions) -> Result<bool, BrokerError> {
        if is_reply_queue(name) {
            return Err(BrokerError::QueueNameReserved { queue: name.clone() });
        }
        let queue = match self.queue(name, NOBODY) {
            Ok(queue) => queue,
            Err(BrokerError::NoQueue { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match queue.options().equivalent(options.flags(), &options.arguments) {
            Ok(()) => Ok(true),
            Err(different) => {
                let text = different.text(name, self.name());
                Err(BrokerError::refused(ReplyCode::PreconditionFailed, text))
            }
        }
    }

    /// Whether there is a queue with this name that can be bound to.
    pub fn has_queue(&self, name: &str) -> bool {
        self.queue(name, NOBODY).is_ok()
    }

    /// What an export has of the vhost, sorted by name: queues that belong to no connection and not to the broker itself,
    /// exchanges that were declared, and the bindings among them.
    pub fn exported(&self) -> Exported {
        let mut queues = self.queues();
        queues.retain(|queue| {
            !queue.is_closed() && queue.purpose() == Purpose::Ordinary && queue.owner().is_none()
        });
        queues.sort_by(|a, b| a.name().cmp(b.name()));
        let topology = self.topology.read();
        let declared = topology.routing.exchanges().filter(|exchange| {
            let name = exchange.name();
            !name.is_empty() && !name.starts_with("amq.")
        });
        let mut exchanges: Vec<_> =
            declared.map(|exchange| (exchange.name().clone(), exchange.options().clone())).collect();
        exchanges.sort_by(|(a, _), (b, _)| a.cmp(b));
        let is_exported = |binding: &Binding| match &binding.destination {
            _ if binding.source.is_empty() => false,
            BindingTarget::Queue { name, .. } => {
                queues.binary_search_by(|queue| queue.name().cmp(name)).is_ok()
            }
            BindingTarget::Exchange(_) => true,
        };
        let mut bindings: Vec<_> = topology.routing.bindings().filter(is_exported).collect();
        bindings.sort_by_cached_key(|binding| {
            let Binding { source, destination, routing_key, arguments, .. } = binding;
            let arguments = arguments.encoded();
            (source.clone(), destination.kind(), destination.name().clone(), routing_key.clone(), arguments)
        });
        (queues, exchanges, bindings)
    }

    /// Declares a queue as it was elsewhere: even if it was given its name by the broker there. Whether it is new.
    ///
    /// # Errors
    /// As [`Vhost::check_queue_import`], or there are as many queues as there may be.
    pub fn import_queue(
        &self,
        name: &QueueName,
        options: QueueOptions,
        turn: &mut Turn,
    ) -> Result<bool, BrokerError> {
        if self.check_queue_import(name, &options)? {
            return Ok(false);
        }
        Ok(self.create_queue(name.clone(), options, Purpose::Ordinary, NOBODY, turn)?.created)
    }

    /// Takes out a queue that an import has made.
    pub fn take_back_queue(&self, name: &QueueName, turn: &mut Turn) {
        // One that is gone, or has an owner by now, is no longer the import's.
        let _ = self.delete_queue(name, false, false, NOBODY, turn);
    }

    /// Whether there is such an exchange already.
    ///
    /// # Errors
    /// There is one, and it is another; or no exchange may have this name.
    pub fn check_exchange_import(
        &self,
        name: &ExchangeName,
        options: &ExchangeOptions,
    ) -> Result<bool, BrokerError> {
        let topology = self.topology.read();
        match topology.routing.refuses_declare(name, options, &options.arguments) {
            Some(refused) => Err(BrokerError::refused(refused.reply_code(), refused.text(self.name()))),
            None => Ok(topology.routing.exchange(name).is_some()),
        }
    }

    /// Binds to a queue or an exchange by its name. Whether the binding is new.
    ///
    /// # Errors
    /// One of both is not there, or the arguments are invalid.
    pub fn import_binding(
        &self,
        source: &ExchangeName,
        destination: &ImportedEnd<'_>,
        key: &RoutingKey,
        arguments: &FieldTable,
    ) -> Result<bool, BrokerError> {
        let destination = self.imported_end(destination)?;
        if self.topology.read().routing.has_binding(source, &destination, key, arguments) {
            return Ok(false);
        }
        self.bind(source, &destination, key.clone(), arguments)?;
        Ok(true)
    }

    /// Takes out a binding that an import has made.
    pub fn take_back_binding(
        &self,
        source: &ExchangeName,
        destination: &ImportedEnd<'_>,
        key: &RoutingKey,
        arguments: &FieldTable,
    ) {
        // A queue may be gone, and the binding with it.
        let Ok(destination) = self.imported_end(destination) else { return };
        let mut topology = self.topology.write();
        // No unbind: an exchange that had no bindings before, and goes with its last one, is to be there again.
        topology.routing.take_back(source, &destination, key, arguments);
        self.keep_binding(&topology, source, &destination, key, arguments, false);
        self.publish_generation(&topology);
    }

    fn imported_end(&self, destination: &ImportedEnd<'_>) -> Result<Destination, BrokerError> {
        Ok(match destination {
            ImportedEnd::Queue(name) => Destination::Queue(self.queue(name, NOBODY)?.id()),
            ImportedEnd::Exchange(name) => Destination::Exchange((*name).clone()),
        })
    }
}

/// Where a binding of an import leads.
#[derive(Clone, Copy, Debug)]
pub enum ImportedEnd<'a> {
    /// A queue.
    Queue(&'a QueueName),
    /// An exchange.
    Exchange(&'a ExchangeName),
}
