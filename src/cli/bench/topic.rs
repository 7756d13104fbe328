//! The bindings and keys of a topic measurement: very many patterns, of which each message matches one.
//!
//! Invariants: patterns take turns in three kinds, like `a.*.c`, `a.#` and `*.b.c`; a key matches exactly one pattern, so
//! every message has one copy and counts stay exact; all keys have one length, so blocks can be written once; keys
//! that follow one another lie far apart. Not here: how a broker is told (`native`, `amqp`, `nats`).

use serde::Serialize;

use super::plan::Plan;

/// How many patterns there are, and how many different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Topic {
    pub(super) bindings: u32,
    pub(super) keys: u32,
}

/// What a pattern has for any number of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `#`
    Amqp,
    /// `>`, which takes one word at least.
    Nats,
}

/// Neighbours in the order of keys are so many bindings apart: a prime that no number of bindings below it divides.
const STRIDE: u64 = 2_654_435_761;

impl Topic {
    /// Bindings that a broker may be asked for: Rialto's limit, by default.
    pub(super) const BINDINGS_MAX: i64 = 10_000_000;
    /// What the length of a number in a key allows.
    pub(super) const KEYS_MAX: i64 = 10_000_000;

    /// Bytes that spelling the route of each message out takes at most, so that a block stays as short as others.
    pub(super) const ROUTE_LEN: usize = 64;
    /// Bindings that are asked for before the broker's answer is waited for.
    pub(super) const BINDINGS_AT_A_TIME: usize = 1000;

    /// The pattern of a binding.
    pub(super) fn pattern(self, binding: u32, dialect: Dialect) -> String {
        match (binding % 3, dialect) {
            (0, _) => format!("b{binding:07}.*.created"),
            (1, Dialect::Amqp) => format!("b{binding:07}.#"),
            (1, Dialect::Nats) => format!("b{binding:07}.>"),
            _ => format!("*.b{binding:07}.updated"),
        }
    }

    /// The queue that a binding leads to.
    pub(super) fn queue(self, binding: u32, plan: &Plan) -> u32 {
        binding % plan.queues
    }

    /// The binding that a key matches.
    fn binding(self, key: u32) -> u32 {
        (u64::from(key) * STRIDE % u64::from(self.bindings)) as u32
    }

    fn key(self, key: u32) -> String {
        let binding = self.binding(key);
        match binding % 3 {
            0 => format!("b{binding:07}.k{key:07}.created"),
            1 => format!("b{binding:07}.k{key:07}.deleted"),
            _ => format!("k{key:07}.b{binding:07}.updated"),
        }
    }

    /// The keys that a publisher takes in turn.
    pub(super) fn keys(self) -> Keys {
        let texts: String = (0..self.keys).map(|key| self.key(key)).collect();
        Keys { len: texts.len() / self.keys as usize, texts: texts.into_bytes().into(), at: 0 }
    }
}

/// Keys of one length, taken in turn without end.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// One behind the other.
    texts: Box<[u8]>,
    len: usize,
    at: usize,
}

impl Keys {
    /// Bytes of each.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The next.
    pub(super) fn next(&mut self) -> &[u8] {
        if self.at == self.texts.len() {
            self.at = 0;
        }
        let from = self.at;
        self.at += self.len;
        &self.texts[from..self.at]
    }

    /// Begins where this one of `publishers` does: not all with the same key.
    pub(super) fn begin_as(mut self, publisher: u32, publishers: u32) -> Self {
        let keys = (self.texts.len() / self.len) as u64;
        self.at = (u64::from(publisher) * keys / u64::from(publishers)) as usize * self.len;
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::routing::topic_matches;

    use super::*;

    #[test]
    fn every_key_matches_one_pattern() {
        for (bindings, keys) in [(1, 1), (2, 5), (10, 30), (100, 40)] {
            let topic = Topic { bindings, keys };
            let mut known = topic.keys();
            for key in 0..keys {
                let text = String::from_utf8(known.next().to_vec()).unwrap();
                let patterns = (0..bindings).map(|binding| topic.pattern(binding, Dialect::Amqp));
                let matching: Vec<u32> =
                    (0..).zip(patterns).filter(|(_, p)| topic_matches(p, &text)).map(|(n, _)| n).collect();
                assert_eq!(matching, [topic.binding(key)], "{text}");
            }
            assert_eq!(known.next(), topic.key(0).as_bytes(), "they begin again");
        }
    }

    #[test]
    fn the_last_keys_are_as_long_as_the_first() {
        let last = u32::try_from(Topic::KEYS_MAX).unwrap() - 1;
        let topic = Topic { bindings: u32::try_from(Topic::BINDINGS_MAX).unwrap(), keys: last + 1 };
        assert_eq!(topic.key(0).len(), topic.key(last).len());
        assert_eq!(topic.keys().begin_as(1, 2).next(), topic.key(last / 2 + 1).as_bytes());
    }

    #[test]
    fn keys_are_spread_over_all_bindings() {
        for bindings in [10, 1000, 65_536] {
            let topic = Topic { bindings, keys: bindings };
            let mut hit: Vec<u32> = (0..bindings).map(|key| topic.binding(key)).collect();
            hit.sort_unstable();
            hit.dedup();
            assert_eq!(hit.len(), bindings as usize);
        }
    }
}
