//! Figures over time: samples of counters, and the rates between them.
//!
//! Every few seconds one task reads the counters of everything that is listed and works out how fast they grew since the
//! time before. What is read here is the present count and that rate. Invariants: sampling takes no queue's lock; a
//! reader sees the rates of one sample, and waits for none; what is gone is forgotten with the next sample.
//! Not here: the counters (`broker`), metrics without rates (`metrics`), who may see them (`api`).

mod message_stats;
mod samples;
mod series;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use message_stats::{LengthRates, MessageStats, Rate};
use samples::Samples;

use crate::broker::{Broker, ChannelInfo, ConnectionInfo, ExchangeCounts, QueueCell, Vhost};
use crate::queue::QueueStats;
use message_stats::{
    EXCHANGE, LENGTHS, MESSAGES, OF_QUEUES, TRAFFIC, channel_row, exchange_row, message_row, queue_row,
    traffic_row,
};

/// See the module.
#[derive(Debug)]
pub struct Stats {
    broker: Broker,
    samples: RwLock<Arc<Samples>>,
}

impl Stats {
    /// Of a broker. There are no rates before the second sample.
    pub fn new(broker: Broker) -> Self {
        Stats { broker, samples: RwLock::default() }
    }

    /// Takes samples at this interval until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        // After a machine has slept, one sample is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let stats = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || stats.sample()).await {
                tracing::error!(%error, "a sample of the counters failed; rates stay as they are");
            }
        }
    }

    /// Takes a sample now.
    pub fn sample(&self) {
        let before = self.samples.read().clone();
        let now = Arc::new(Samples::take(&self.broker, &before));
        *self.samples.write() = now;
    }

    /// What has happened to messages, over all vhosts.
    pub fn total(&self) -> MessageStats {
        let samples = self.samples.read().clone();
        MessageStats::new(&MESSAGES, &message_row(&self.broker.counts()), samples.total.rates())
    }

    /// How fast the queues of all vhosts grow.
    pub fn total_lengths(&self) -> LengthRates {
        LengthRates::new(self.samples.read().total.rates_from(LENGTHS))
    }

    /// What has happened to messages of one vhost.
    pub fn vhost(&self, vhost: &Vhost) -> MessageStats {
        let samples = self.samples.read().clone();
        let rates = samples.vhosts.get(vhost.name()).map(|series| series.rates()).unwrap_or_default();
        MessageStats::new(&MESSAGES, &message_row(&vhost.counts()), rates)
    }

    /// How fast the queues of one vhost grow.
    pub fn vhost_lengths(&self, vhost: &Vhost) -> LengthRates {
        let samples = self.samples.read().clone();
        let series = samples.vhosts.get(vhost.name());
        LengthRates::new(series.map(|series| series.rates_from(LENGTHS)).unwrap_or_default())
    }

    /// What has happened to messages of one queue, given its figures.
    pub fn queue(&self, queue: &QueueCell, figures: &QueueStats) -> MessageStats {
        let samples = self.samples.read().clone();
        let rates = samples.queues.get(&queue.id()).map(|series| series.rates()).unwrap_or_default();
        MessageStats::new(&OF_QUEUES, &queue_row(figures), rates)
    }

    /// How fast one queue grows.
    pub fn queue_lengths(&self, queue: &QueueCell) -> LengthRates {
        let samples = self.samples.read().clone();
        let series = samples.queues.get(&queue.id());
        LengthRates::new(series.map(|series| series.rates_from(LENGTHS)).unwrap_or_default())
    }

    /// What one exchange has taken and given.
    pub fn exchange(&self, vhost: &Vhost, name: &str, counts: &ExchangeCounts) -> MessageStats {
        let samples = self.samples.read().clone();
        let series = samples.exchanges.get(vhost.name()).and_then(|exchanges| exchanges.get(name));
        let rates = series.map(|series| series.rates()).unwrap_or_default();
        MessageStats::new(&EXCHANGE, &exchange_row(counts), rates)
    }

    /// What one connection's socket has carried: `recv_oct`, `recv_cnt`, `send_oct`, `send_cnt`.
    pub fn traffic(&self, connection: &ConnectionInfo) -> MessageStats {
        let samples = self.samples.read().clone();
        let before = samples.connections.get(&connection.id);
        let rates = before.map(|before| before.traffic.rates()).unwrap_or_default();
        MessageStats::new(&TRAFFIC, &traffic_row(&connection.link.traffic), rates)
    }

    /// What has happened to messages on one channel.
    pub fn channel(&self, connection: &ConnectionInfo, channel: &ChannelInfo) -> MessageStats {
        let samples = self.samples.read().clone();
        let before = samples.connections.get(&connection.id);
        let before = before.and_then(|before| before.channels.get(&channel.number));
        let rates = before.map(|before| before.rates()).unwrap_or_default();
        MessageStats::new(&MESSAGES, &channel_row(&channel.messages), rates)
    }
}

#[cfg(test)]
mod tests;
