//! What administration sees of a vhost: its queues, exchanges and bindings as they are, read and never changed here.
//!
//! Invariant: what is handed out is a copy of one moment; nothing stays locked. Not here: the lists of the native
//! protocol (`listing`), figures (`counters`).

use std::sync::Arc;

use super::purpose::Purpose;
use super::reply_queues::is_reply_queue;
use super::{BrokerError, HoldingPolicies, QueueCell, Vhost};
use crate::model::{ExchangeName, ExchangeOptions};
use crate::routing::{Binding, Destination};

/// An exchange at one moment.
#[derive(Clone, Debug)]
pub struct ExchangeView {
    /// Its name; empty: the default exchange.
    pub name: ExchangeName,
    /// What it was declared with.
    pub options: ExchangeOptions,
    /// The policies that hold for it.
    pub policies: HoldingPolicies,
    /// Of a delayed exchange, how many messages wait.
    pub messages_delayed: Option<u64>,
}

impl Vhost {
    /// The queues that people may know of, in no order: those that are open, and whose name is nobody's secret.
    pub fn listed_queues(&self) -> Vec<Arc<QueueCell>> {
        let mut queues = self.queues();
        queues.retain(|queue| !queue.is_closed() && queue.purpose() != Purpose::Replies);
        queues
    }

    /// One of them, whoever it belongs to.
    ///
    /// # Errors
    /// There is none with this name.
    pub fn listed_queue(&self, name: &str) -> Result<Arc<QueueCell>, BrokerError> {
        let found = self.find_queue(name)?;
        match found.purpose() {
            Purpose::Ordinary | Purpose::Delays => Ok(found),
            Purpose::Replies => Err(self.no_queue(name)),
        }
    }

    /// How many exchanges there are.
    pub fn exchange_count(&self) -> usize {
        self.topology.read().routing.exchanges().len()
    }

    /// Every exchange, in no order.
    pub fn exchanges(&self) -> Vec<ExchangeView> {
        let topology = self.topology.read();
        let names: Vec<_> = topology.routing.exchanges().map(|exchange| exchange.name().clone()).collect();
        names.iter().filter_map(|name| topology.exchange_view(name)).collect()
    }

    /// The exchange with this name.
    pub fn exchange(&self, name: &str) -> Option<ExchangeView> {
        self.topology.read().exchange_view(name)
    }

    /// Every binding, those to the default exchange first.
    pub fn bindings(&self) -> Vec<Binding> {
        self.topology.read().routing.bindings().filter(is_listed).collect()
    }

    /// The bindings from an exchange; none if there is no such exchange.
    pub fn bindings_from(&self, exchange: &str) -> Vec<Binding> {
        self.topology.read().routing.bindings_from(exchange).filter(is_listed).collect()
    }

    /// The bindings that lead to a queue or an exchange, that to the default exchange first.
    pub fn bindings_to(&self, destination: &Destination) -> Vec<Binding> {
        self.topology.read().routing.bindings_to(destination).filter(is_listed).collect()
    }
}

impl super::vhost::Topology {
    fn exchange_view(&self, name: &str) -> Option<ExchangeView> {
        let found = self.routing.exchange(name)?;
        Some(ExchangeView {
            name: found.name().clone(),
            options: found.options().clone(),
            policies: self.policies.of_exchange(name),
            messages_delayed: self.messages_delayed(found.name()),
        })
    }
}

/// The names of reply queues are secrets of those who are sent them.
fn is_listed(binding: &Binding) -> bool {
    !is_reply_queue(binding.destination.name())
}
