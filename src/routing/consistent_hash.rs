//! Consistent-hash exchanges: each message to one binding, chosen by a hash of its key.
//!
//! Weighted rendezvous hashing: every binding draws a lot from the message's hash and its own, and the highest lot
//! wins. So a binding's share is its weight's share exactly (RabbitMQ's and LavinMQ's rings come near it); one that
//! comes takes its share from the others evenly, one that goes leaves its own to the others evenly, and nothing else
//! moves. It costs a few nanoseconds for each binding, whose number is limited; results by routing key are remembered.
//!
//! Invariants: the choice depends on names, weights and what is hashed, not on the order of bindings, nor on numbers
//! given by chance: it is the same after a restart. Two bindings to one destination do not add up: the heavier counts.

use rialto_protocol::types::RawProperties;

use super::error::BindError;
use super::route::RouteInput;
use crate::model::{HashSource, RoutingKey};

/// Bindings of one consistent-hash exchange: all of them are looked at for a message.
pub const HASH_BINDINGS_MAX: usize = 4096;

/// Weight of one binding. Only their proportions matter.
pub const HASH_WEIGHT_MAX: u32 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct HashIndex {
    source: HashSource,
    bindings: Vec<Weighted>,
}

#[derive(Debug)]
struct Weighted {
    number: u32,
    target: u32,
    /// Hash of the destination's name.
    seed: u64,
    weight: u32,
}

/// The weight that a binding's key gives, read as RabbitMQ's plugin reads it.
pub(super) fn weight_of(key: &str) -> Result<u32, BindError> {
    let digits = key.strip_prefix(['+', '-']).unwrap_or(key);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // The key is a binding's already, so it is short enough.
        return Err(BindError::WeightNotInteger(RoutingKey::new(key).unwrap_or_default()));
    }
    if key.starts_with('-') {
        return Err(BindError::WeightTooSmall);
    }
    match digits.parse() {
        Ok(0) => Err(BindError::WeightTooSmall),
        Ok(weight) if weight <= HASH_WEIGHT_MAX => Ok(weight),
        _ => Err(BindError::WeightTooLarge { max: HASH_WEIGHT_MAX }),
    }
}

impl HashIndex {
    pub(super) fn new(source: HashSource) -> Self {
        HashIndex { source, bindings: Vec::new() }
    }

    pub(super) fn check_room(&self) -> Result<(), BindError> {
        match self.bindings.len() < HASH_BINDINGS_MAX {
            true => Ok(()),
            false => Err(BindError::TooManyWeights { max: HASH_BINDINGS_MAX }),
        }
    }

    pub(super) fn insert(&mut self, number: u32, target: u32, destination: &str, weight: u32) {
        self.bindings.push(Weighted { number, target, seed: hash(destination.as_bytes()), weight });
    }

    pub(super) fn remove(&mut self, number: u32) {
        self.bindings.retain(|binding| binding.number != number);
    }

    /// Whether the routing key alone decides.
    pub(super) fn is_by_routing_key(&self) -> bool {
        self.source == HashSource::RoutingKey
    }

    /// Finds the one destination of a message, if there are any.
    pub(super) fn route(&self, input: &RouteInput<'_>, found: &mut Vec<u32>) {
        found.extend(self.winner(input).map(|binding| binding.target));
    }

    /// The number of the one binding that a message takes.
    pub(super) fn drawn(&self, input: &RouteInput<'_>) -> Option<u32> {
        self.winner(input).map(|binding| binding.number)
    }

    fn winner(&self, input: &RouteInput<'_>) -> Option<&Weighted> {
        let key = self.hash_of(input);
        let lots = self.bindings.iter().map(|binding| (lot(key, binding), binding));
        // Equal lots: the destination's hash decides, so that the order of bindings does not.
        let winner = lots.max_by(|(a, one), (b, other)| a.total_cmp(b).then(one.seed.cmp(&other.seed)));
        winner.map(|(_, binding)| binding)
    }

    fn hash_of(&self, input: &RouteInput<'_>) -> u64 {
        let properties: &RawProperties<'_> = &input.properties;
        match &self.source {
            // With further keys in `CC`, the message's own counts, as in RabbitMQ.
            HashSource::RoutingKey => hash(input.routing_keys.first().unwrap_or(&"").as_bytes()),
            HashSource::Header(name) => hash(properties.header(name).map_or(&[], |field| field.value)),
            HashSource::CorrelationId => hash(properties.correlation_id().unwrap_or("").as_bytes()),
            HashSource::MessageId => hash(properties.message_id().unwrap_or("").as_bytes()),
            HashSource::Timestamp => hash(&properties.timestamp().unwrap_or(0).to_be_bytes()),
        }
    }
}

/// A number that is larger the luckier and the heavier the binding is. With u even in (0, 1), -w / ln u is the
/// highest of all with the probability w / (sum of weights).
fn lot(key: u64, binding: &Weighted) -> f64 {
    let drawn = mix(key ^ binding.seed);
    // 53 bits, and half a step, so that it is never 0 or 1.
    let even = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(binding.weight) / -even.ln()
}

/// FNV-1a, then mixed: the same on every machine and in every run, which a keyed hasher is not. Who chooses keys
/// so that they meet only fills one queue, which an equal key does too.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// The finalizer of SplitMix64: every bit of the input moves half the bits of the output.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rialto_protocol::types::{FieldTable, Properties, ShortStr};
    use std::collections::BTreeMap;

    const MESSAGES: usize = 20_000;

    /// An exchange with a binding for each weight; targets are the positions.
    fn index(weights: &[u32]) -> HashIndex {
        let mut index = HashIndex::new(HashSource::RoutingKey);
        for (n, &weight) in weights.iter().enumerate() {
            index.insert(n as u32, n as u32, &format!("queue-{n}"), weight);
        }
        index
    }

    fn pick(index: &HashIndex, key: &str, properties: RawProperties<'_>) -> u32 {
        let mut found = Vec::new();
        index.route(&RouteInput { exchange: "x", routing_keys: &[key, "a copy"], properties }, &mut found);
        assert_eq!(found.len(), 1, "one binding for each message");
        found[0]
    }

    fn picks(index: &HashIndex) -> Vec<u32> {
        (0..MESSAGES).map(|n| pick(index, &format!("key.{n}"), RawProperties::EMPTY)).collect()
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        let weights = [1, 1, 2, 4, 8];
        let mut counts = BTreeMap::new();
        picks(&index(&weights)).into_iter().for_each(|n| *counts.entry(n).or_insert(0) += 1);
        for (n, weight) in weights.into_iter().enumerate() {
            let expected = MESSAGES as f64 * f64::from(weight) / 16.0;
            let count = f64::from(counts[&(n as u32)]);
            assert!((count / expected - 1.0).abs() < 0.1, "{n}: {count} of {expected}");
        }
    }

    #[test]
    fn only_what_must_move_moves_when_a_binding_comes_or_goes() {
        let before = picks(&index(&[1; 8]));
        let more = picks(&index(&[1; 9]));
        let moved = before.iter().zip(&more).filter(|(a, b)| a != b);
        let share = moved.clone().count() as f64 / MESSAGES as f64;
        assert!((share - 1.0 / 9.0).abs() < 0.01, "{share}");
        assert!(moved.clone().all(|(_, &to)| to == 8), "to the new one only");
        let mut fewer = index(&[1; 8]);
        fewer.remove(3);
        for (a, b) in before.iter().zip(picks(&fewer)) {
            assert!(*a == b || *a == 3, "only its own messages move");
        }
    }

    #[test]
    fn a_change_of_weight_moves_only_its_share() {
        let light = picks(&index(&[1, 1, 1]));
        let heavy = picks(&index(&[1, 1, 2]));
        for (a, b) in light.iter().zip(&heavy) {
            assert!(a == b || *b == 2, "to the heavier one only");
        }
    }

    #[test]
    fn the_order_of_bindings_makes_no_difference() {
        let one = index(&[1, 2, 3]);
        let mut other = HashIndex::new(HashSource::RoutingKey);
        for n in [2, 0, 1] {
            other.insert(7 - n, n, &format!("queue-{n}"), n + 1);
        }
        assert_eq!(picks(&one), picks(&other));
    }

    #[test]
    fn choices_are_the_same_in_every_run() {
        let index = index(&[1, 2, 3, 4]);
        let first: Vec<u32> = (0..12).map(|n| pick(&index, &n.to_string(), RawProperties::EMPTY)).collect();
        let fixed = [3, 1, 3, 3, 1, 3, 2, 0, 1, 3, 3, 2];
        assert_eq!(first, fixed, "a change of the hash moves every message of every user");
    }

    #[test]
    fn headers_and_properties_can_be_hashed_instead_of_the_key() {
        let encode = |n: u64| {
            let text = Some(ShortStr::truncated(n.to_string()));
            Properties {
                headers: Some(FieldTable::new().with("other", 1).with("user", n as i64)),
                correlation_id: text.clone(),
                message_id: text,
                timestamp: Some(n),
                ..Properties::default()
            }
            .encoded()
        };
        let messages: Vec<Bytes> = (0..200).map(encode).collect();
        for source in [
            HashSource::Header("user".into()),
            HashSource::CorrelationId,
            HashSource::MessageId,
            HashSource::Timestamp,
        ] {
            let mut index = index(&[1; 4]);
            index.source = source.clone();
            assert!(!index.is_by_routing_key());
            let of = |key: &str| -> Vec<u32> {
                messages.iter().map(|bytes| pick(&index, key, RawProperties::trusted(bytes))).collect()
            };
            let choices = of("a");
            assert_eq!(choices, of("b"), "{source:?}: whatever the key");
            for n in 0..4 {
                assert!(choices.iter().filter(|&&choice| choice == n).count() > 20, "{source:?}");
            }
            let without = pick(&index, "a", RawProperties::EMPTY);
            assert_eq!(without, pick(&index, "b", RawProperties::EMPTY), "{source:?}: one place together");
        }
    }

    #[test]
    fn weights_are_read_as_rabbitmq_reads_them() {
        for (key, weight) in [("1", 1), ("007", 7), ("+3", 3), ("1000000000", HASH_WEIGHT_MAX)] {
            assert_eq!(weight_of(key), Ok(weight), "{key}");
        }
        for (key, text) in [
            ("0", "The binding key must be greater than 0"),
            ("-1", "The binding key must be greater than 0"),
            ("", "The binding key must be an integer: <<\"\">>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
            ("x", "The binding key must be an integer: <<\"x\">>"),
            ("1000000001", "The binding key must be at most 1000000000"),
            ("99999999999999999999", "The binding key must be at most 1000000000"),
        ] {
            assert_eq!(weight_of(key).unwrap_err().text("/"), text, "{key}");
        }
    }
}
