//! Where does this message go? Exchanges, bindings, and the one rule that answers.
//!
//! A [`RoutingTable`] is the topology of one vhost; [`RoutingTable::route`] is the rule, for both protocols, for
//! dead letters and for alternate exchanges alike. It is a plain value: reading it (routing) shares it, changing it
//! (declare, bind) does not, and whoever hosts it puts it behind a lock.
//!
//! Invariants: a message reaches a queue once; routing ends, however exchanges are bound to one another; its cost
//! follows what matches, not how many bindings there are; a warm [`Routed`] does not allocate.
//! Not here: queues themselves (`queue`), permissions and policies (`broker`), what survives a restart (`store`).
//!
//! Rooms: `route` the rule; `explain` the rule told step by step, with near misses; `copy_keys` what `CC` and `BCC` add to it; `delay` who
//! waits first; `table` the topology; `exchange` one exchange; `binding` the rows; `direct`, `fanout`,
//! `topic`, `headers`, `consistent_hash` one index for each kind; `id_set`, `target` what the indexes are built of.

mod binding;
mod consistent_hash;
mod copy_keys;
pub mod delay;
mod direct;
mod error;
mod exchange;
mod explain;
mod fanout;
mod headers;
mod id_set;
mod route;
mod table;
mod target;
mod topic;

pub use binding::{Binding, BindingTarget, Destination};
pub use consistent_hash::{HASH_BINDINGS_MAX, HASH_WEIGHT_MAX};
pub use copy_keys::{CopyKeys, InvalidCopyKeys};
pub use error::{BindError, DeclareExchangeError, DeleteExchangeError, Inequivalence, NoSuchExchange};
pub use exchange::Exchange;
pub use explain::{Alternate, ExplainLimits, Explanation, Fault, Match, NearMiss, Via, Visit};
pub use route::{RouteInput, Routed};
pub use table::{Declared, DeletedExchange, Removed, RoutingLimits, RoutingTable, Unbound};
pub use topic::{TOPIC_HASHES_MAX, TOPIC_WORDS_MAX, topic_matches};

#[cfg(test)]
mod tests;
