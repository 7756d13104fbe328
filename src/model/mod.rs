//! The words of the field as types: names, tags, messages, times, options.
//!
//! Invariants: plain values, checked when made; nothing here routes, queues, waits or does IO.

mod argument_difference;
mod batch_slice;
mod deduplication;
mod delayed_retry;
mod exchange_kind;
mod exchange_options;
mod expiration;
mod ids;
mod json;
mod location;
mod memory;
mod message;
mod names;
mod packed_rows;
mod pattern;
mod policy;
mod queue_arguments;
mod queue_options;
mod queue_refusal;
mod time;
mod tls_facts;
mod vhost_options;

pub use argument_difference::{argument_difference, expected_integer};
pub use batch_slice::BatchSlice;
pub use deduplication::{
    ArgumentProblem, DEDUPLICATION_KEY_LEN_MAX, DEDUPLICATION_SIZE, DEDUPLICATION_SIZE_MAX, Deduplication,
    DeduplicationKey, DeduplicationOptions, KnownKey,
};
pub use delayed_retry::{DELAYED_RETRY_MAX_MS, DELAYED_RETRY_MIN_MS, DelayedRetry, DelayedRetryType};
pub use exchange_kind::ExchangeKind;
pub use exchange_options::{ExchangeFlags, ExchangeOptions, ExchangeOptionsError, HashSource};
pub use expiration::{BadExpiration, expiration};
pub use ids::{ChannelId, ConnectionId, ConsumerId, Lsn, Priority, QueueId};
pub use json::{field_from_json, json_from_field, json_from_table, lost_in_json, table_from_json};
pub use location::{Location, RestoredRun, Returned, SegmentId, StoredRun};
pub use memory::{MemoryCharge, MemoryGauge};
pub use message::{BatchBuilder, Message, MessageBatch, MessageRoute, Publication};
pub use names::{ConsumerTag, ExchangeName, QueueName, RoutingKey, VhostName};
pub use packed_rows::{PackedRows, Unpack};
pub use pattern::{PATTERN_LEN_MAX, Pattern, PatternError};
pub use policy::{EffectivePolicy, POLICY_TEXT_LEN_MAX, Policy, PolicyError, PolicyKind, PolicyTarget};
pub use queue_options::{
    DeadLetterStrategy, DeadLetterTarget, EXPIRY_MS_MAX, OverflowRule, QUORUM_DEFAULT_PRIORITY,
    QUORUM_DELIVERY_LIMIT, QUORUM_MAX_PRIORITY, QueueFlags, QueueOptions, QueueType,
};
pub use queue_refusal::{Inequivalent, InvalidArgument};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use tls_facts::{PeerCertificate, TlsFacts};
pub use vhost_options::{VHOST_TAGS_MAX, VHOST_TEXT_LEN_MAX, VhostLimits, VhostOptions};
