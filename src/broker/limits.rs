//! The broker's limits: what a peer can make grow, and how far.

use crate::queue::QueueLimits;
use crate::routing::RoutingLimits;

/// Limits that queues, exchanges and publishers are held to. `broker.toml` documents each.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of messages in memory above which every queue gets only its fair share. At twice as many, what is
    /// published is rejected with 506.
    pub memory_budget: u64,
    /// Bytes of messages in one queue above which its publishers are held back.
    pub queue_budget: u64,
    /// Bytes of waiting messages that a queue keeps in memory if it can do without them.
    pub queue_bodies: u64,
    /// Publishers go on when a queue has fallen to this share of what held them back, in percent.
    pub low_water_percent: u64,
    /// Bytes that the process may take before all publishers are held back; `u64::MAX` is no limit.
    pub process_limit: u64,
    /// Bytes of deliveries that may wait to be sent on one connection, over all its consumers.
    pub outbox_bytes: u64,
    /// Bytes of deliveries that may wait to be sent for one consumer.
    pub consumer_window: u64,
    /// Most vhosts.
    pub vhosts_max: usize,
    /// Most queues in a vhost.
    pub queues_max: usize,
    /// Most policies of a vhost, and as many operator policies: every declare looks at all of them.
    pub policies_max: usize,
    /// Most parameters.
    pub parameters_max: usize,
    /// Longest value of a parameter, in bytes of JSON.
    pub parameter_size_max: u64,
    /// Most exchanges and bindings in a vhost.
    pub routing: RoutingLimits,
    /// What may grow with each queue.
    pub queue: QueueLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_budget: 1 << 30,
            queue_budget: 128 << 20,
            queue_bodies: 16 << 20,
            low_water_percent: 80,
            process_limit: u64::MAX,
            outbox_bytes: 4 << 20,
            consumer_window: 1 << 20,
            vhosts_max: 10_000,
            queues_max: 100_000,
            policies_max: 1000,
            parameters_max: 10_000,
            parameter_size_max: 256 << 10,
            routing: RoutingLimits::default(),
            queue: QueueLimits::default(),
        }
    }
}

impl Limits {
    /// The window of each consumer on a connection that has `consumers` of them: a share of the outbox,
    /// but enough for one read's worth of messages.
    pub fn consumer_window(&self, consumers: usize) -> u64 {
        const LEAST: u64 = 32 << 10;
        (self.outbox_bytes / consumers.max(1) as u64).clamp(LEAST, self.consumer_window.max(LEAST))
    }
}
