//! The words of the field as types: names, tags, messages, times, options.
//!
//! Invariants: plain values, checked when made; nothing here routes, queues, waits or does IO.

mod exchange_kind;
mod exchange_options;
mod ids;
mod memory;
mod message;
mod names;
mod queue_options;
mod time;

pub use exchange_kind::ExchangeKind;
pub use exchange_options::{ExchangeOptions, ExchangeOptionsError, HashSource};
pub use ids::{ChannelId, ConnectionId, ConsumerId, Lsn, Priority, QueueId};
pub use memory::{MemoryCharge, MemoryGauge};
pub use message::{BatchBuilder, Message, MessageBatch, MessageRoute, Publication};
pub use names::{ConsumerTag, ExchangeName, QueueName, RoutingKey, VhostName};
pub use queue_options::{
    DeadLetterStrategy, DeadLetterTarget, EXPIRY_MS_MAX, Inequivalent, InvalidArgument, OverflowRule,
    QUORUM_DELIVERY_LIMIT, QueueOptions, QueueType,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
