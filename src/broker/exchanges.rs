//! The exchanges of a vhost and their bindings, as they are declared, bound and deleted.
//!
//! Invariant: what goes with an exchange (its counts, the keys it has seen, the queue in which its messages wait, its row in the
//! catalog) begins and ends with it, under the topology's lock. Not here: routes (`routing`), queues (`vhost`).

use rialto_protocol::types::FieldTable;

use super::counters::ExchangeCounts;
use super::vhost::Topology;
use super::{BrokerError, Vhost};
use crate::model::{
    ConnectionId, ExchangeFlags, ExchangeName, ExchangeOptions, ExchangeOptionsError, RoutingKey,
};
use crate::routing::{BindError, Declared, Destination};

impl Vhost {
    /// Declares an exchange.
    ///
    /// # Errors
    /// It exists with other options, or its name is reserved.
    pub fn declare_exchange(
        &self,
        name: &ExchangeName,
        options: ExchangeOptions,
    ) -> Result<Declared, BrokerError> {
        let mut topology = self.topology.write();
        if topology.routing.exchange(name).is_none() {
            self.check_delays(name, &options)?;
            self.check_keeps(options.durable)?;
        }
        let declared = topology
            .routing
            .declare_exchange(name.clone(), options.clone())
            .map_err(|error| BrokerError::refused(error.reply_code(), error.text(self.name())))?;
        if declared == Declared::Created {
            self.keep_exchange(&mut topology, name, &options);
            self.begin_delays(&mut topology, name, &options, None);
            self.begin_exchange(&mut topology, name, &options);
        }
        self.publish_generation(&topology);
        Ok(declared)
    }

    /// Gives a new exchange what it has besides bindings.
    pub(super) fn begin_exchange(
        &self,
        topology: &mut Topology,
        name: &ExchangeName,
        options: &ExchangeOptions,
    ) {
        topology.exchanges.insert(name.clone(), ExchangeCounts::new(self.message_counts()));
        topology.begin_window(name, options);
        let alternate = topology.policies.alternate(name, options);
        topology.routing.set_alternate(name, alternate);
    }

    /// Declares an exchange as a client words it. What exists is only compared with the declare, and a name that nobody
    /// may take is refused, before its alternate exchange is read: as RabbitMQ does it.
    ///
    /// # Errors
    /// It exists with other options, its name is reserved, or an argument is invalid.
    pub fn declare_exchange_from(
        &self,
        name: &ExchangeName,
        kind: &str,
        flags: ExchangeFlags,
        arguments: FieldTable,
    ) -> Result<Declared, BrokerError> {
        let invalid = |error: ExchangeOptionsError| {
            BrokerError::refused(error.reply_code(), error.text(name, self.name()))
        };
        let read = |arguments| {
            let ExchangeFlags { durable, auto_delete, internal } = flags;
            ExchangeOptions::from_arguments(kind, durable, auto_delete, internal, arguments)
        };
        match read(arguments.clone()) {
            Ok(options) => self.declare_exchange(name, options),
            Err(error) if error.is_alternate() => {
                let plain = read(ExchangeOptions::without_alternate(arguments.clone())).map_err(invalid)?;
                let refused = self.topology.read().routing.refuses_declare(name, &plain, &arguments);
                Err(match refused {
                    Some(refused) => BrokerError::refused(refused.reply_code(), refused.text(self.name())),
                    None => invalid(error),
                })
            }
            Err(error) => Err(invalid(error)),
        }
    }

    /// Ends what exchanges had besides their bindings.
    pub(super) fn exchanges_gone<'a>(
        &self,
        topology: &mut Topology,
        gone: impl IntoIterator<Item = &'a ExchangeName, IntoIter: Clone>,
    ) {
        let gone = gone.into_iter();
        topology.end_windows(gone.clone());
        gone.clone().for_each(|name| drop(topology.exchanges.remove(name)));
        gone.clone().for_each(|name| self.forget_kept_exchange(topology, name));
        self.end_delays(topology, gone);
    }

    /// Checks that an exchange exists.
    ///
    /// # Errors
    /// It does not.
    pub fn check_exchange(&self, name: &ExchangeName) -> Result<(), BrokerError> {
        match self.topology.read().routing.exchange(name) {
            Some(_) => Ok(()),
            None => Err(self.no_exchange(name)),
        }
    }

    /// Deletes an exchange. One that does not exist is fine.
    ///
    /// # Errors
    /// It has bindings and that was to be respected, or it is predeclared.
    pub fn delete_exchange(&self, name: &ExchangeName, if_unused: bool) -> Result<(), BrokerError> {
        let mut topology = self.topology.write();
        let deleted = topology
            .routing
            .delete_exchange(name, if_unused)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.text(self.name())))?;
        self.exchanges_gone(&mut topology, deleted.removed.exchanges.iter().chain([name]));
        self.publish_generation(&topology);
        Ok(())
    }

    /// Binds a queue to an exchange. Binding again changes nothing.
    ///
    /// # Errors
    /// One of them does not exist or is not this connection's, or the arguments are invalid.
    pub fn bind_queue(
        &self,
        exchange: &ExchangeName,
        queue: &str,
        key: RoutingKey,
        arguments: FieldTable,
        by: ConnectionId,
    ) -> Result<(), BrokerError> {
        self.check_bindable(exchange)?;
        let destination = Destination::Queue(self.queue(queue, by)?.id());
        self.bind(exchange, &destination, key, &arguments)
    }

    /// Undoes a binding. One that does not exist is fine.
    ///
    /// # Errors
    /// The default exchange is meant, or the binding exists and its queue is not this connection's.
    pub fn unbind_queue(
        &self,
        exchange: &ExchangeName,
        queue: &str,
        key: &RoutingKey,
        arguments: &FieldTable,
        by: ConnectionId,
    ) -> Result<(), BrokerError> {
        let Ok(found) = self.find_queue(queue) else { return self.check_not_default(exchange) };
        let destination = Destination::Queue(found.id());
        if let Err(locked) = self.queue(queue, by) {
            // Who may not touch the queue may still undo what there is not.
            let exists = self.topology.read().routing.has_binding(exchange, &destination, key, arguments);
            return if exists { Err(locked) } else { self.check_not_default(exchange) };
        }
        self.unbind(exchange, &destination, key, arguments)
    }

    /// Checks that clients may bind to an exchange, before the queue is looked at.
    fn check_bindable(&self, exchange: &ExchangeName) -> Result<(), BrokerError> {
        self.check_not_default(exchange)?;
        self.check_exchange(exchange)
    }

    fn check_not_default(&self, exchange: &ExchangeName) -> Result<(), BrokerError> {
        match exchange.is_empty() {
            true => {
                let error = BindError::DefaultExchange;
                Err(BrokerError::refused(error.reply_code(), error.text(self.name())))
            }
            false => Ok(()),
        }
    }

    /// Routes from one exchange into another.
    ///
    /// # Errors
    /// One of them does not exist, or the arguments are invalid.
    pub fn bind(
        &self,
        source: &ExchangeName,
        destination: &Destination,
        key: RoutingKey,
        arguments: &FieldTable,
    ) -> Result<(), BrokerError> {
        let mut topology = self.topology.write();
        self.check_keeps(topology.is_durable(source))?;
        topology
            .routing
            .bind(source, destination, key.clone(), arguments)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.text(self.name())))?;
        self.keep_binding(&topology, source, destination, &key, arguments, true);
        self.publish_generation(&topology);
        Ok(())
    }

    /// Undoes a binding. One that does not exist is fine.
    ///
    /// # Errors
    /// The default exchange is meant.
    pub fn unbind(
        &self,
        source: &ExchangeName,
        destination: &Destination,
        key: &RoutingKey,
        arguments: &FieldTable,
    ) -> Result<(), BrokerError> {
        let mut topology = self.topology.write();
        let unbound = topology
            .routing
            .unbind(source, destination, key, arguments)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.text(self.name())))?;
        self.keep_binding(&topology, source, destination, key, arguments, false);
        self.exchanges_gone(&mut topology, &unbound.removed.exchanges);
        self.publish_generation(&topology);
        Ok(())
    }
}
