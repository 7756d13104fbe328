//! Why a message goes where it goes: the routing rule, told step by step.
//!
//! [`RoutingTable::explain`] walks as [`RoutingTable::route`] does, but asks every binding by the plain rule of its
//! exchange's kind instead of an index, so that it can say of each why it matches, or how nearly it did. A property test
//! holds the two together.
//!
//! Invariants: nothing is changed; the queues are those that `route` finds; the work is bounded, however many bindings
//! there are, and what was left out is told ([`Explanation::is_complete`]).
//! Not here: who may publish, policies, what queues would say to the message (`broker`).

mod fault;
mod nearness;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use rialto_protocol::types::FieldTable;

use super::binding::{Binding, BindingRow};
use super::delay::delay_ms;
use super::error::NoSuchExchange;
use super::exchange::{Exchange, Index};
use super::headers::HeaderTests;
use super::route::{RouteInput, Routed};
use super::table::RoutingTable;
use super::target::Target;
use super::topic::topic_matches;
use crate::model::{ExchangeKind, ExchangeName, QueueId, RoutingKey};

pub use fault::Fault;
use nearness::Near;

/// Bindings that are asked one by one for one explanation. More would hold up who declares meanwhile.
const BINDINGS_LOOKED_AT_MAX: usize = 1_000_000;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainLimits {
    /// Bindings told of an exchange that match.
    pub matches_max: usize,
    /// Bindings told of an exchange that nearly match.
    pub near_max: usize,
}

impl Default for ExplainLimits {
    fn default() -> Self {
        ExplainLimits { matches_max: 100, near_max: 5 }
    }
}

/// Where a message would go, and why.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// Each exchange that it comes to, in order.
    pub visits: Vec<Visit>,
    /// The queues that it reaches, each once, oldest first.
    pub queues: Vec<QueueId>,
    /// Whether every binding on the way was asked. If not, there may be more visits and matches than are told; the queues
    /// are all there are.
    pub is_complete: bool,
}

/// A message at an exchange.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The exchange; empty: the default exchange.
    pub exchange: ExchangeName,
    /// As it was declared.
    pub kind: ExchangeKind,
    /// How the message came there.
    pub via: Via,
    /// Bindings that match, oldest first, as far as they are told.
    pub matches: Vec<Match>,
    /// How many match, a binding that several routing keys match counted for each.
    pub matches_len: usize,
    /// Bindings that nearly match, the nearest first.
    pub near: Vec<NearMiss>,
    /// The alternate exchange, if it has one, and what became of it.
    pub alternate: Option<(ExchangeName, Alternate)>,
    /// The message waits first, for so many milliseconds, in this queue; its bindings are asked when it goes on.
    pub waits: Option<(QueueId, u64)>,
}

/// How a message came to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// It was published there.
    Publish,
    /// By a binding of another exchange.
    Binding {
        /// The other exchange.
        from: ExchangeName,
        /// The binding's key.
        routing_key: RoutingKey,
    },
    /// Another exchange had no binding that matched.
    Alternate {
        /// The other exchange.
        of: ExchangeName,
    },
}

/// What became of an alternate exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternate {
    /// The message goes on to it, for no binding matches.
    Taken,
    /// It is not asked, for bindings match.
    NotNeeded,
    /// There is no such exchange, so the message ends here.
    Missing,
}

/// A binding that matches.
#[derive(Clone, Debug)]
pub struct Match {
    /// The binding.
    pub binding: Binding,
    /// Which of the message's routing keys it matches: its own, or one of its `CC` or `BCC` headers.
    pub routing_key: String,
}

/// A binding that does not match, but nearly.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// The binding.
    pub binding: Binding,
    /// Which of the message's routing keys is meant.
    pub routing_key: String,
    /// What would have to be otherwise, all of it.
    pub faults: Vec<Fault>,
}

impl RoutingTable {
    /// Says where a message would go, and why.
    ///
    /// # Errors
    /// There is no such exchange. [`RoutingTable::exchanges_like`] knows what may have been meant.
    pub fn explain(
        &self,
        input: &RouteInput<'_>,
        limits: ExplainLimits,
    ) -> Result<Explanation, NoSuchExchange> {
        let mut routed = Routed::new();
        self.route(input, &mut routed)?;
        let headers = input.properties.headers().unwrap_or_default();
        let mut walk = Walk {
            table: self,
            input,
            headers: &headers,
            limits,
            seen: HashSet::new(),
            next: Vec::new(),
            looked_at: 0,
        };
        walk.go_to(self.exchange_slots[input.exchange], Via::Publish);
        let mut visits = Vec::new();
        let mut at = 0;
        while let Some((slot, via)) = walk.next.get(at).cloned() {
            at += 1;
            visits.push(walk.visit(slot, via));
        }
        let is_complete = walk.looked_at <= BINDINGS_LOOKED_AT_MAX;
        Ok(Explanation { visits, queues: routed.queues, is_complete })
    }

    /// Exchanges whose names are like this one, the likest first: what may have been meant.
    pub fn exchanges_like(&self, name: &str, max: usize) -> Vec<ExchangeName> {
        nearness::likest(name, self.exchange_slots.keys(), max).into_iter().cloned().collect()
    }
}

/// The way of one message.
struct Walk<'a> {
    table: &'a RoutingTable,
    input: &'a RouteInput<'a>,
    headers: &'a FieldTable,
    limits: ExplainLimits,
    seen: HashSet<u32>,
    /// Exchanges in the order of their visit.
    next: Vec<(u32, Via)>,
    looked_at: usize,
}

impl<'a> Walk<'a> {
    fn go_to(&mut self, slot: u32, via: Via) {
        if self.seen.insert(slot) {
            self.next.push((slot, via));
        }
    }

    fn visit(&mut self, slot: u32, via: Via) -> Visit {
        let table: &'a RoutingTable = self.table;
        let exchange = table.exchange_at(slot);
        let mut visit = Visit {
            exchange: exchange.name.clone(),
            kind: exchange.options.kind,
            via,
            matches: Vec::new(),
            matches_len: 0,
            near: Vec::new(),
            alternate: None,
            waits: None,
        };
        if let Some(queue) = exchange.delay_queue
            && let Some(delay) = delay_ms(&self.input.properties)
        {
            visit.waits = Some((queue, delay));
            return visit;
        }
        let mut near = Near::new(self.limits.near_max);
        match exchange.index {
            Index::Default => self.ask_names(&mut visit, &mut near),
            _ => self.ask_bindings(slot, exchange, &mut visit, &mut near),
        }
        visit.near = near.into_misses(self.table);
        if let Some(name) = &exchange.alternate {
            let there = self.table.exchange_slots.get(&**name);
            let what = match there {
                _ if visit.matches_len > 0 => Alternate::NotNeeded,
                Some(_) => Alternate::Taken,
                None => Alternate::Missing,
            };
            if what == Alternate::Taken
                && let Some(&alternate) = there
            {
                self.go_to(alternate, Via::Alternate { of: exchange.name.clone() });
            }
            visit.alternate = Some((name.clone(), what));
        }
        visit
    }

    /// The default exchange: a queue's name is the key of its one binding.
    fn ask_names(&self, visit: &mut Visit, near: &mut Near<'a>) {
        for key in self.input.routing_keys {
            match self.table.queue_slots.get(*key) {
                Some(&slot) => {
                    visit.matches_len += 1;
                    if visit.matches.len() < self.limits.matches_max {
                        let binding = super::table::implicit_binding(self.table.queue_at(slot));
                        visit.matches.push(Match { binding, routing_key: (*key).to_owned() });
                    }
                }
                None => {
                    let names = self.table.queue_slots.iter();
                    names.for_each(|(name, slot)| near.look_at_queue(key, name, *slot));
                }
            }
        }
    }

    fn ask_bindings(&mut self, slot: u32, exchange: &Exchange, visit: &mut Visit, near: &mut Near<'a>) {
        let table: &'a RoutingTable = self.table;
        let drawn = match &exchange.index {
            Index::Hash(index) => index.drawn(self.input),
            _ => None,
        };
        let drawn = drawn.map(|number| table.bindings.row(number));
        for row in table.bindings.of_source(slot) {
            self.looked_at += 1;
            if self.looked_at > BINDINGS_LOOKED_AT_MAX {
                return;
            }
            // Kinds that look at no routing key match once, whatever further keys there are.
            let keys = match exchange.index {
                Index::Direct(_) | Index::Topic(_) => self.input.routing_keys,
                _ => &self.input.routing_keys[..self.input.routing_keys.len().min(1)],
            };
            let matched = |key: &&&str| self.is_match(exchange, row, key, drawn);
            let mut any = false;
            for key in keys.iter().filter(matched) {
                any = true;
                visit.matches_len += 1;
                if visit.matches.len() < self.limits.matches_max {
                    let binding = self.table.binding_of(row);
                    visit.matches.push(Match { binding, routing_key: (*key).to_owned() });
                }
            }
            if any {
                if let Target::Exchange(to) = Target::unpack(row.target) {
                    let (from, routing_key) = (exchange.name.clone(), row.routing_key.clone());
                    self.go_to(to, Via::Binding { from, routing_key });
                }
                continue;
            }
            match &exchange.index {
                Index::Direct(_) => keys.iter().for_each(|key| near.look_at_direct(key, row)),
                Index::Topic(_) => keys.iter().for_each(|key| near.look_at_topic(key, row)),
                Index::Headers(_) => near.look_at_headers(self.headers, row),
                Index::Default | Index::Fanout(_) | Index::Hash(_) => {}
            }
        }
    }

    fn is_match(&self, exchange: &Exchange, row: &BindingRow, key: &str, drawn: Option<&BindingRow>) -> bool {
        match &exchange.index {
            Index::Default => false,
            Index::Direct(_) => row.routing_key.as_str() == key,
            Index::Fanout(_) => true,
            Index::Topic(_) => topic_matches(&row.routing_key, key),
            Index::Headers(_) => tests_of(row).is_some_and(|tests| tests.matches(self.headers)),
            Index::Hash(_) => drawn.is_some_and(|drawn| std::ptr::eq(drawn, row)),
        }
    }
}

/// The tests of a headers binding. None: it would not have been accepted.
fn tests_of(row: &BindingRow) -> Option<HeaderTests> {
    HeaderTests::new(row.arguments.as_ref().map(|arguments| &arguments.table)).ok()
}
