//! An exchange: its name, its options, and the index that its kind matches with.

use super::binding::BindingRow;
use super::consistent_hash::{HashIndex, weight_of};
use super::direct::DirectIndex;
use super::error::{BindError, Inequivalence};
use super::fanout::FanoutIndex;
use super::headers::{HeaderTests, HeadersIndex};
use super::topic::{TopicTrie, check_topic_key};
use crate::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId};
use rialto_protocol::types::FieldTable;

/// An exchange of a routing table.
#[derive(Debug)]
pub struct Exchange {
    pub(super) name: ExchangeName,
    pub(super) options: ExchangeOptions,
    pub(super) index: Index,
    /// Where messages go that match nothing: as declared, unless a policy has it otherwise.
    pub(super) alternate: Option<ExchangeName>,
    /// Where messages wait that are to go on later; of a delayed exchange.
    pub(super) delay_queue: Option<QueueId>,
    pub(super) bindings_from: usize,
    pub(super) bindings_to: usize,
}

impl Exchange {
    pub(super) fn new(name: ExchangeName, options: ExchangeOptions) -> Self {
        let index = match options.routes_as() {
            _ if name.is_empty() => Index::Default,
            ExchangeKind::Direct => Index::Direct(DirectIndex::default()),
            ExchangeKind::Fanout => Index::Fanout(FanoutIndex::default()),
            ExchangeKind::Topic => Index::Topic(TopicTrie::default()),
            ExchangeKind::Headers => Index::Headers(HeadersIndex::default()),
            ExchangeKind::ConsistentHash => Index::Hash(HashIndex::new(options.hash_on.clone())),
            ExchangeKind::Delayed | ExchangeKind::Deduplication => {
                unreachable!("a kind that adds to another routes as that")
            }
        };
        let alternate = options.alternate.clone();
        Exchange { name, options, index, alternate, delay_queue: None, bindings_from: 0, bindings_to: 0 }
    }

    /// Its name; empty: the default exchange.
    pub fn name(&self) -> &ExchangeName {
        &self.name
    }

    /// What it was declared with.
    pub fn options(&self) -> &ExchangeOptions {
        &self.options
    }

    /// How many bindings have it as their source. The default exchange's implicit ones are not counted.
    pub fn bindings_from(&self) -> usize {
        self.bindings_from
    }

    /// How many bindings lead to it.
    pub fn bindings_to(&self) -> usize {
        self.bindings_to
    }

    /// Whether it was there from the start and cannot be deleted.
    pub fn is_predeclared(&self) -> bool {
        self.name.is_empty() || is_reserved(&self.name)
    }

    /// The first property in which a declare with these options asks for another exchange. As RabbitMQ's
    /// `rabbit_exchange:assert_equivalence`: of the arguments only the alternate exchange is compared; and how
    /// messages go on from a delayed exchange, since that is half of its type.
    pub fn inequivalence(&self, received: &ExchangeOptions) -> Option<Inequivalence> {
        let current = &self.options;
        if received.kind != current.kind {
            Some(Inequivalence::Kind(received.kind, current.kind))
        } else if received.durable != current.durable {
            Some(Inequivalence::Durable(received.durable, current.durable))
        } else if received.auto_delete != current.auto_delete {
            Some(Inequivalence::AutoDelete(received.auto_delete, current.auto_delete))
        } else if received.internal != current.internal {
            Some(Inequivalence::Internal(received.internal, current.internal))
        } else if received.delayed_kind != current.delayed_kind {
            Some(Inequivalence::DelayedKind(received.delayed_kind, current.delayed_kind))
        } else if received.alternate != current.alternate {
            Some(Inequivalence::Alternate(received.alternate.clone(), current.alternate.clone()))
        } else {
            None
        }
    }
}

/// Whether a name belongs to the broker.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("amq.")
}

/// What a kind of exchange finds bindings with.
#[derive(Debug)]
pub(super) enum Index {
    /// Of the default exchange, which looks queues up by name; and of an exchange that is being deleted.
    Default,
    Direct(DirectIndex),
    Fanout(FanoutIndex),
    Topic(TopicTrie),
    Headers(HeadersIndex),
    Hash(HashIndex),
}

/// A binding that the exchange's kind accepts.
pub(super) enum Checked {
    Key,
    Tests(HeaderTests),
    Weight(u32),
}

impl Index {
    pub(super) fn check(&self, key: &str, arguments: Option<&FieldTable>) -> Result<Checked, BindError> {
        match self {
            Index::Topic(_) => check_topic_key(key).map(|()| Checked::Key),
            Index::Headers(_) => HeaderTests::new(arguments).map(Checked::Tests),
            Index::Hash(_) => weight_of(key).map(Checked::Weight),
            _ => Ok(Checked::Key),
        }
    }

    /// Whether there is room for another binding.
    pub(super) fn check_room(&self) -> Result<(), BindError> {
        match self {
            Index::Hash(index) => index.check_room(),
            _ => Ok(()),
        }
    }

    /// `destination` is the name that the row's target has: hashes must not depend on numbers given by chance.
    pub(super) fn insert(&mut self, number: u32, row: &BindingRow, destination: &str, checked: Checked) {
        match (self, checked) {
            (Index::Direct(index), _) => index.insert(&row.routing_key, row.target),
            (Index::Fanout(index), _) => index.insert(row.target),
            (Index::Topic(trie), _) => trie.insert(&row.routing_key, row.target),
            (Index::Headers(index), Checked::Tests(tests)) => index.insert(number, tests, row.target),
            (Index::Hash(index), Checked::Weight(weight)) => {
                index.insert(number, row.target, destination, weight);
            }
            (Index::Headers(_) | Index::Hash(_) | Index::Default, _) => {}
        }
    }

    pub(super) fn remove(&mut self, number: u32, row: &BindingRow) {
        match self {
            Index::Default => {}
            Index::Direct(index) => index.remove(&row.routing_key, row.target),
            Index::Fanout(index) => index.remove(row.target),
            Index::Topic(trie) => trie.remove(&row.routing_key, row.target),
            Index::Headers(index) => index.remove(number),
            Index::Hash(index) => index.remove(number),
        }
    }
}
