//! The broker's operations as a specification, as sessions call them: no sockets, and a clock moved by hand.

mod copies;
mod counting;
mod deduplication;
mod delayed;
mod durable;
mod identity;
mod operating;
mod policies;
mod reply_queues;
mod restoring;
mod spreading;

use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::types::{FieldTable, FieldValue, Properties, RawProperties};

use super::*;
use crate::model::{
    ConsumerId, ExchangeName, ExchangeOptions, ManualClock, MessageRoute, QueueName, QueueOptions, RoutingKey,
};
use crate::queue::Delivery;
use crate::routing::{Declared, Routed};
use crate::store::Change;

pub(super) const ME: ConnectionId = ConnectionId(1);
pub(super) const OTHER: ConnectionId = ConnectionId(2);

/// A broker with one connection that does things in the vhost `/`.
pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) vhost: Arc<Vhost>,
    pub(super) turn: Turn,
    pub(super) outbox: Arc<Outbox>,
    clock: Arc<ManualClock>,
    scratch: Routed,
}

pub(super) fn exchange(name: &str) -> ExchangeName {
    ExchangeName::new(name).unwrap()
}

pub(super) fn headers(headers: FieldTable) -> Properties {
    Properties { headers: Some(headers), ..Properties::default() }
}

pub(super) fn texts(texts: &[&str]) -> FieldValue {
    FieldValue::Array(texts.iter().map(|text| (*text).into()).collect())
}

impl World {
    pub(super) fn new() -> World {
        World::with_limits(Limits::default())
    }

    pub(super) fn with_limits(limits: Limits) -> World {
        let clock = Arc::new(ManualClock::new());
        let broker = Broker::in_memory().clock(clock.clone()).limits(limits).build();
        let vhost = broker.vhost("/").unwrap();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        World { broker, vhost, turn, outbox: Arc::default(), clock, scratch: Routed::new() }
    }

    /// Moves the clock, and lets happen what is due.
    pub(super) fn advance(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.broker.run_timers(&mut self.turn);
        self.turn.begin(self.broker.now());
    }

    pub(super) fn queue(&mut self, name: &str) -> Arc<QueueCell> {
        self.queue_with(name, FieldTable::new())
    }

    pub(super) fn queue_with(&mut self, name: &str, arguments: FieldTable) -> Arc<QueueCell> {
        let options = QueueOptions::from_declare(true, false, false, &arguments).unwrap();
        self.declare(name, options).unwrap()
    }

    pub(super) fn declare(
        &mut self,
        name: &str,
        options: QueueOptions,
    ) -> Result<Arc<QueueCell>, BrokerError> {
        let name = QueueName::new(name).unwrap();
        Ok(self.vhost.declare_queue(&name, options, ME, &mut self.turn)?.queue)
    }

    pub(super) fn exchange(
        &mut self,
        kind: &str,
        name: &str,
        arguments: FieldTable,
    ) -> Result<Declared, BrokerError> {
        let options = ExchangeOptions::from_arguments(kind, true, false, false, arguments).unwrap();
        self.vhost.declare_exchange(&exchange(name), options)
    }

    pub(super) fn bind(&mut self, source: &str, queue: &str, key: &str) {
        let key = RoutingKey::new(key).unwrap();
        self.vhost.bind_queue(&exchange(source), queue, key, FieldTable::new(), ME).unwrap();
    }

    /// Publishes as a session does. How many queues it was routed to.
    pub(super) fn publish(
        &mut self,
        to: &str,
        key: &str,
        properties: &Properties,
        body: &str,
    ) -> Result<usize, BrokerError> {
        let encoded = properties.encoded();
        let raw = RawProperties::check(&encoded).unwrap();
        let resolved = self.vhost.resolve(to, key, raw, ME, &mut self.scratch)?;
        let route = MessageRoute { exchange: exchange(to), routing_key: RoutingKey::new(key).unwrap() };
        let stored = resolved.stored.as_deref().unwrap_or(&encoded);
        let mut batch = PublishBatch::default();
        resolved.counts.iter().for_each(|counts| batch.from_exchange(counts));
        if !resolved.targets.queues.is_empty() {
            batch
                .push_content(&route, &resolved.targets, stored, body.as_bytes())
                .map_err(|error| BrokerError::refused(error.reply_code(), error.to_string()))?;
            let _ = self.broker.publish(&mut batch, &self.outbox, &mut Vec::new(), &mut self.turn);
            self.turn.finish(&self.broker);
        }
        Ok(resolved.targets.queues.len())
    }

    /// Takes the next message of a queue.
    pub(super) fn get(&mut self, queue: &str) -> Option<Delivery> {
        let cell = self.vhost.queue(queue, ME).unwrap();
        let got = cell.get(ConsumerId(0), true, &mut self.turn).unwrap();
        self.turn.finish(&self.broker);
        got.map(|got| got.delivery)
    }

    /// Takes all messages of a queue and gives their bodies.
    pub(super) fn drain(&mut self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get(queue)).map(|got| body(&got)).collect()
    }
}

pub(super) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body().to_vec()).unwrap()
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, BrokerError>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.reply_code().number(), error.to_string())
}
