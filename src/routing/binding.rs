//! Bindings: what they are to others, and the rows in which a routing table keeps them.
//!
//! Invariants: a row is in the identity table once, in its source's chain once and in its destination's chain once.
//! So any of its neighbours leads to it, and it is found and removed without looking at other bindings.
//! Not here: what a binding matches (`direct`, `fanout`, `topic`, `headers`).

use ahash::RandomState;
use bytes::Bytes;
use hashbrown::HashTable;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};
use slab::Slab;

use super::target::Target;
use crate::model::{ExchangeName, QueueId, QueueName, RoutingKey};

/// Where a binding leads, as the broker names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A queue.
    Queue(QueueId),
    /// Another exchange.
    Exchange(ExchangeName),
}

/// Where a binding leads, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindingTarget {
    /// A queue.
    Queue {
        /// Its name.
        name: QueueName,
        /// Its identity.
        id: QueueId,
    },
    /// Another exchange.
    Exchange(ExchangeName),
}

impl BindingTarget {
    /// The name of the queue or exchange.
    pub fn name(&self) -> &ShortStr {
        match self {
            BindingTarget::Queue { name, .. } => name.short(),
            BindingTarget::Exchange(name) => name.short(),
        }
    }

    /// `queue` or `exchange`, as lists call it.
    pub fn kind(&self) -> &'static str {
        match self {
            BindingTarget::Queue { .. } => "queue",
            BindingTarget::Exchange(_) => "exchange",
        }
    }
}

/// One binding, as lists show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that messages come from; empty: the default exchange.
    pub source: ExchangeName,
    /// Where they go.
    pub destination: BindingTarget,
    /// The binding's key.
    pub routing_key: RoutingKey,
    /// Its arguments, sorted by name.
    pub arguments: FieldTable,
}

/// Arguments in the form in which two bindings' arguments are compared: sorted by name, and as bytes, because
/// equal values of different types are different arguments and a NaN equals itself.
#[derive(Debug)]
pub(super) struct BindingArguments {
    pub(super) table: FieldTable,
    encoded: Bytes,
}

impl BindingArguments {
    /// None if there are none.
    pub(super) fn new(table: &FieldTable) -> Option<Box<Self>> {
        if table.is_empty() {
            return None;
        }
        let mut entries: Vec<(&ShortStr, &FieldValue)> = table.iter().collect();
        entries.sort_by_key(|(name, _)| *name);
        let entries = entries.into_iter().map(|(name, value)| (name.clone(), value.clone()));
        let table: FieldTable = entries.collect();
        let encoded = table.encoded();
        Some(Box::new(BindingArguments { table, encoded }))
    }
}

#[derive(Debug)]
pub(super) struct BindingRow {
    pub(super) source: u32,
    /// A packed [`Target`].
    pub(super) target: u32,
    pub(super) routing_key: RoutingKey,
    pub(super) arguments: Option<Box<BindingArguments>>,
    of_source: Link,
    of_target: Link,
}

const END: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

const EMPTY: Chain = Chain { first: END, last: END };

/// Which of a row's two chains.
#[derive(Clone, Copy)]
enum Axis {
    Source,
    Target,
}

impl BindingRow {
    fn link(&mut self, axis: Axis) -> &mut Link {
        match axis {
            Axis::Source => &mut self.of_source,
            Axis::Target => &mut self.of_target,
        }
    }
}

/// What makes a binding the same binding.
#[derive(Clone, Copy)]
pub(super) struct BindingIdentity<'a> {
    pub(super) source: u32,
    pub(super) target: u32,
    pub(super) routing_key: &'a str,
    pub(super) arguments: Option<&'a BindingArguments>,
}

impl BindingIdentity<'_> {
    fn of(row: &BindingRow) -> BindingIdentity<'_> {
        BindingIdentity {
            source: row.source,
            target: row.target,
            routing_key: &row.routing_key,
            arguments: row.arguments.as_deref(),
        }
    }

    fn parts(&self) -> (u32, u32, &str, &[u8]) {
        let arguments = self.arguments.map_or(&[][..], |arguments| &arguments.encoded);
        (self.source, self.target, self.routing_key, arguments)
    }

    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one(self.parts())
    }
}

/// The bindings of one vhost.
#[derive(Debug, Default)]
pub(super) struct BindingRows {
    rows: Slab<BindingRow>,
    identities: HashTable<u32>,
    hasher: RandomState,
    by_source: Vec<Chain>,
    by_exchange: Vec<Chain>,
    by_queue: Vec<Chain>,
}

impl BindingRows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn row(&self, number: u32) -> &BindingRow {
        &self.rows[number as usize]
    }

    pub(super) fn find(&self, identity: BindingIdentity<'_>) -> Option<u32> {
        let same = |&n: &u32| BindingIdentity::of(&self.rows[n as usize]).parts() == identity.parts();
        self.identities.find(identity.hash(&self.hasher), same).copied()
    }

    /// Adds a binding that [`BindingRows::find`] did not find.
    pub(super) fn insert(
        &mut self,
        source: u32,
        target: u32,
        routing_key: RoutingKey,
        arguments: Option<Box<BindingArguments>>,
    ) -> u32 {
        let alone = Link { previous: END, next: END };
        let row = BindingRow { source, target, routing_key, arguments, of_source: alone, of_target: alone };
        let hash = BindingIdentity::of(&row).hash(&self.hasher);
        let number = self.rows.insert(row) as u32;
        let (rows, hasher) = (&self.rows, &self.hasher);
        self.identities.insert_unique(hash, number, |&n| BindingIdentity::of(&rows[n as usize]).hash(hasher));
        self.append(number, Axis::Source);
        self.append(number, Axis::Target);
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> BindingRow {
        self.unlink(number, Axis::Source);
        self.unlink(number, Axis::Target);
        let row = self.rows.remove(number as usize);
        let hash = BindingIdentity::of(&row).hash(&self.hasher);
        if let Ok(entry) = self.identities.find_entry(hash, |&n| n == number) {
            entry.remove();
        }
        row
    }

    /// All, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &BindingRow> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// Those of a source, oldest first.
    pub(super) fn of_source(&self, exchange: u32) -> impl Iterator<Item = &BindingRow> {
        let mut at = self.by_source.get(exchange as usize).map_or(END, |chain| chain.first);
        std::iter::from_fn(move || {
            let row = self.rows.get(at as usize)?;
            at = row.of_source.next;
            Some(row)
        })
    }

    /// Those that lead to a destination, oldest first.
    pub(super) fn of_target(&self, target: Target) -> impl Iterator<Item = &BindingRow> {
        let mut at = self.first_of_target(target).unwrap_or(END);
        std::iter::from_fn(move || {
            let row = self.rows.get(at as usize)?;
            at = row.of_target.next;
            Some(row)
        })
    }

    pub(super) fn first_of_source(&self, exchange: u32) -> Option<u32> {
        self.by_source.get(exchange as usize).map(|chain| chain.first).filter(|&first| first != END)
    }

    pub(super) fn first_of_target(&self, target: Target) -> Option<u32> {
        let chain = match target {
            Target::Queue(slot) => self.by_queue.get(slot as usize),
            Target::Exchange(slot) => self.by_exchange.get(slot as usize),
        };
        chain.map(|chain| chain.first).filter(|&first| first != END)
    }

    fn chain(&mut self, number: u32, axis: Axis) -> &mut Chain {
        let row = &self.rows[number as usize];
        let (chains, slot) = match (axis, Target::unpack(row.target)) {
            (Axis::Source, _) => (&mut self.by_source, row.source),
            (Axis::Target, Target::Queue(slot)) => (&mut self.by_queue, slot),
            (Axis::Target, Target::Exchange(slot)) => (&mut self.by_exchange, slot),
        };
        let slot = slot as usize;
        if chains.len() <= slot {
            chains.resize(slot + 1, EMPTY);
        }
        &mut chains[slot]
    }

    fn append(&mut self, number: u32, axis: Axis) {
        let chain = self.chain(number, axis);
        let last = chain.last;
        chain.last = number;
        if last == END {
            chain.first = number;
        } else {
            self.rows[last as usize].link(axis).next = number;
        }
        *self.rows[number as usize].link(axis) = Link { previous: last, next: END };
    }

    fn unlink(&mut self, number: u32, axis: Axis) {
        let Link { previous, next } = *self.rows[number as usize].link(axis);
        if previous == END {
            self.chain(number, axis).first = next;
        } else {
            self.rows[previous as usize].link(axis).next = next;
        }
        if next == END {
            self.chain(number, axis).last = previous;
        } else {
            self.rows[next as usize].link(axis).previous = previous;
        }
    }
}
