//! The one routing rule: from a message to the queues that get it.
//!
//! As RabbitMQ's `rabbit_exchange:route1`: an exchange that matches nothing passes the message to its alternate
//! exchange; bindings may lead to exchanges, each of which is visited once, however they are tangled; a queue gets
//! the message once, however many ways lead to it. At a delayed exchange a message that asks for it waits first,
//! also if it came there through another exchange.
//! One difference: an alternate exchange "" routes by queue name, as a publish to it does.
//!
//! Not here: whether the publisher may publish to the exchange (`internal`, permissions), and what becomes of a
//! message without queues.

use rialto_protocol::types::{FieldTable, RawProperties, ShortStr};

use super::delay::delay_ms;
use super::error::NoSuchExchange;
use super::exchange::Index;
use super::table::RoutingTable;
use super::target::Target;
use super::topic::TopicScratch;
use crate::model::{ExchangeName, QueueId};

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// The exchange the message is published to.
    pub exchange: &'a str,
    /// Its routing key, and those of AMQP's `CC` and `BCC` headers.
    pub routing_keys: &'a [&'a str],
    /// Its properties: headers exchanges decode the headers, nobody else touches them.
    pub properties: RawProperties<'a>,
}

/// The queues found for a message, and room to look for them. Keep one and use it again: a warm one does not
/// allocate (unless a headers exchange has to decode the message's headers).
#[derive(Debug, Default)]
pub struct Routed {
    /// Each once, oldest first.
    pub queues: Vec<QueueId>,
    /// Whether another message with the same exchange and routing keys goes to the same queues, as long as the
    /// table's generation stays the same. Not if headers took part.
    pub cacheable: bool,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    /// Exchanges in the order of their visit, those to come included.
    visits: Vec<u32>,
    /// A bit for each exchange in `visits`.
    seen: Vec<u64>,
    /// What one exchange found.
    found: Vec<u32>,
    topic: TopicScratch,
}

impl Scratch {
    fn visit(&mut self, exchange: u32) {
        let (word, bit) = (exchange as usize / 64, 1 << (exchange % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.visits.push(exchange);
        }
    }

    fn forget_visits(&mut self) {
        for exchange in self.visits.drain(..) {
            self.seen[exchange as usize / 64] = 0;
        }
    }
}

impl Routed {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The headers of a message, decoded when they are first asked for.
struct LazyHeaders<'a> {
    properties: RawProperties<'a>,
    table: Option<FieldTable>,
}

impl LazyHeaders<'_> {
    fn table(&mut self) -> &FieldTable {
        self.table.get_or_insert_with(|| self.properties.headers().unwrap_or_default())
    }
}

impl RoutingTable {
    /// Finds the queues of a message. `found` is emptied first, also if there is no such exchange.
    pub fn route(&self, input: &RouteInput<'_>, found: &mut Routed) -> Result<(), NoSuchExchange> {
        let Routed { queues, cacheable, scratch } = found;
        queues.clear();
        *cacheable = true;
        let Some(&first) = self.exchange_slots.get(input.exchange) else {
            return Err(NoSuchExchange(ExchangeName::from(ShortStr::truncated(input.exchange))));
        };
        let mut headers = LazyHeaders { properties: input.properties, table: None };
        scratch.visit(first);
        let mut next = 0;
        while let Some(&slot) = scratch.visits.get(next) {
            next += 1;
            let exchange = self.exchange_at(slot);
            if let Some(queue) = exchange.delay_queue {
                *cacheable = false;
                if delay_ms(&input.properties).is_some() {
                    queues.push(queue);
                    continue;
                }
            }
            scratch.found.clear();
            match &exchange.index {
                Index::Default => self.queues_named(input.routing_keys, &mut scratch.found),
                Index::Direct(index) => {
                    input.routing_keys.iter().for_each(|key| index.route(key, &mut scratch.found));
                }
                Index::Fanout(index) => index.route(&mut scratch.found),
                Index::Topic(trie) => {
                    for key in input.routing_keys {
                        trie.route(key, &mut scratch.topic, &mut scratch.found);
                    }
                }
                Index::Hash(index) => {
                    *cacheable &= index.is_by_routing_key();
                    index.route(input, &mut scratch.found);
                }
                Index::Headers(index) => {
                    *cacheable = false;
                    index.route(headers.table(), &mut scratch.found);
                }
            }
            if scratch.found.is_empty()
                && let Some(name) = &exchange.alternate
                && let Some(&alternate) = self.exchange_slots.get(&**name)
            {
                scratch.visit(alternate);
            }
            let targets = std::mem::take(&mut scratch.found);
            for &target in &targets {
                match Target::unpack(target) {
                    Target::Queue(slot) => queues.push(self.queue_at(slot).id),
                    Target::Exchange(slot) => scratch.visit(slot),
                }
            }
            scratch.found = targets;
        }
        scratch.forget_visits();
        // A fanout's targets are in order already, and sorting what is sorted is one pass.
        queues.sort_unstable();
        queues.dedup();
        Ok(())
    }

    fn queues_named(&self, names: &[&str], found: &mut Vec<u32>) {
        let slots = names.iter().filter_map(|name| self.queue_slots.get(*name));
        found.extend(slots.map(|&slot| Target::Queue(slot).pack()));
    }
}
