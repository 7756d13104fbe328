//! Targets for routing: the indexes find what the plain rule finds.

use std::collections::BTreeSet;

use rialto::model::{ExchangeKind, ExchangeName, ExchangeOptions, QueueId, QueueName, RoutingKey};
use rialto::routing::{
    Destination, RouteInput, Routed, RoutingTable, TOPIC_HASHES_MAX, TOPIC_WORDS_MAX, topic_matches,
};
use rialto_protocol::types::{FieldTable, RawProperties, ShortStr};

/// Queues that bindings lead to, so that some share one.
const QUEUES: u64 = 8;

/// How many lines of one input are run: each routed key is compared with every pattern.
const LINES_MAX: usize = 64;

/// Lines of text: `+pattern` binds it, `-pattern` unbinds it everywhere, anything else is a key to route. What
/// the trie finds is what one pattern after the other finds.
pub fn topic_match(data: &[u8]) {
    let exchange = ExchangeName::new("topic").expect("short");
    let mut table = RoutingTable::new();
    table
        .declare_exchange(exchange.clone(), ExchangeOptions::new(ExchangeKind::Topic))
        .expect("the table is empty");
    for n in 0..QUEUES {
        assert!(table.add_queue(QueueName::new(n.to_string()).expect("short"), QueueId(n)));
    }
    let none = FieldTable::new();
    let mut bound = BTreeSet::new();
    let mut found = Routed::new();
    for (n, line) in data.split(|&byte| byte == b'\n').take(LINES_MAX).enumerate() {
        let line = ShortStr::truncated(String::from_utf8_lossy(line));
        if let Some(pattern) = line.strip_prefix('+') {
            let queue = n as u64 % QUEUES;
            let key = RoutingKey::new(pattern).expect("a part of a short text");
            match table.bind(&exchange, &Destination::Queue(QueueId(queue)), key, &none) {
                Ok(new) => assert_eq!(new, bound.insert((pattern.to_owned(), queue)), "{pattern:?}"),
                Err(error) => assert!(is_past_a_limit(pattern), "{pattern:?}: {error}"),
            }
        } else if let Some(pattern) = line.strip_prefix('-') {
            let key = RoutingKey::new(pattern).expect("a part of a short text");
            for queue in 0..QUEUES {
                let unbound = table.unbind(&exchange, &Destination::Queue(QueueId(queue)), &key, &none);
                let existed = unbound.expect("it is not the default exchange").existed;
                assert_eq!(existed, bound.remove(&(pattern.to_owned(), queue)), "{pattern:?}");
            }
        } else {
            let input =
                RouteInput { exchange: &exchange, routing_keys: &[&line], properties: RawProperties::EMPTY };
            table.route(&input, &mut found).expect("the exchange exists");
            let matching = bound.iter().filter(|(pattern, _)| topic_matches(pattern, &line));
            let expected: BTreeSet<u64> = matching.map(|(_, queue)| *queue).collect();
            let got: Vec<u64> = found.queues.iter().map(|id| id.0).collect();
            assert_eq!(got, expected.into_iter().collect::<Vec<_>>(), "{line:?} among {bound:?}");
        }
    }
    assert_eq!(table.bindings_len(), bound.len());
}

fn is_past_a_limit(pattern: &str) -> bool {
    let hashes = pattern.split('.').filter(|word| *word == "#").count();
    pattern.split('.').count() > TOPIC_WORDS_MAX || hashes > TOPIC_HASHES_MAX
}
