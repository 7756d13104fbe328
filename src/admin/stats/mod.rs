//! Figures over time: samples of counters, and the rates between them.

use crate::broker::Broker;

/// See the module.
#[derive(Debug)]
pub struct Stats {
    _broker: Broker,
}

impl Stats {
    /// Of a broker.
    pub fn new(broker: Broker) -> Self {
        Stats { _broker: broker }
    }
}
