//! Topic exchanges: a trie of words, with `*` for one word and `#` for any number.
//!
//! Nodes are 32 bytes in one array. Children by word are found through one hash table for the whole trie, keyed
//! by (parent, word): a table in every node would cost more than the node, since most have a single child. What a
//! pattern has behind the word that tells it from all others is in its leaf, so that a walk among many bindings ends
//! there: what routing costs is the number of places in memory that it has to wait for.
//!
//! Rooms: `node` nodes and leaves; `walk` from a key to the targets; `words` the texts of words; `rule` the rule for one
//! pattern, which the trie is tested against.
//!
//! Invariants: a node without targets and children does not exist (save the root); every binding holds each word of
//! its key once. Not here: what a target is (`target`).

mod node;
mod rule;
mod walk;
mod words;

use ahash::RandomState;
use hashbrown::HashTable;

use super::error::BindError;
use super::id_set::IdSet;
use super::target::TARGET_SLOTS_MAX;
use node::{HASH, NONE, Node, STAR, Shape, UNKNOWN};
pub(super) use rule::words;
use walk::Walk;
use words::{Sought, Words};

pub use rule::topic_matches;
pub(super) use walk::TopicScratch;

/// Words in the key of a topic binding. Bounds the depth of the trie. (Messages may have more.)
pub const TOPIC_WORDS_MAX: usize = 128;

/// `#` words in the key of a topic binding. Each can cost a walk over all words of a message.
pub const TOPIC_HASHES_MAX: usize = 16;

const ROOT: u32 = 0;
/// In [`Node::targets`]: the rest is the number of a set. Targets never have this bit.
const SET: u32 = TARGET_SLOTS_MAX;

#[derive(Debug)]
pub(super) struct TopicTrie {
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    /// Children by word.
    edges: HashTable<u32>,
    sets: slab::Slab<IdSet>,
    words: Words,
    edge_hash: EdgeHash,
    /// The numbers of a pattern's words; kept for its room.
    pattern: Vec<u32>,
}

/// Whether a key can be bound to a topic exchange.
pub(super) fn check_topic_key(key: &str) -> Result<(), BindError> {
    if words(key).count() > TOPIC_WORDS_MAX {
        return Err(BindError::TooManyWords { max: TOPIC_WORDS_MAX });
    }
    if words(key).filter(|word| *word == "#").count() > TOPIC_HASHES_MAX {
        return Err(BindError::TooManyHashes { max: TOPIC_HASHES_MAX });
    }
    Ok(())
}

impl Default for TopicTrie {
    fn default() -> Self {
        TopicTrie {
            nodes: vec![Node::new(NONE, NONE, false, Shape::BRANCH)],
            free_nodes: Vec::new(),
            edges: HashTable::new(),
            sets: slab::Slab::new(),
            words: Words::default(),
            edge_hash: EdgeHash::new(),
            pattern: Vec::new(),
        }
    }
}

/// Looking for nodes.
impl TopicTrie {
    fn literal_child(&self, parent: u32, word: Sought) -> Option<u32> {
        let same = |&n: &u32| {
            let node = &self.nodes[n as usize];
            (node.parent, node.word) == (parent, word.number)
        };
        self.edges.find(self.edge_hash.of(parent, word), same).copied()
    }

    fn child(&self, at: u32, word: u32) -> Option<u32> {
        let Shape::Branch { star, hash, .. } = self.nodes[at as usize].shape else { return None };
        match word {
            STAR => Some(star).filter(|&child| child != NONE),
            HASH => Some(hash).filter(|&child| child != NONE),
            word => self.literal_child(at, self.words.sought(word)),
        }
    }

    /// The node that has a pattern's targets.
    fn find(&self, pattern: &[u32]) -> Option<u32> {
        let (mut at, mut rest) = (ROOT, pattern);
        loop {
            if let Some(tail) = self.nodes[at as usize].shape.tail() {
                return (tail == rest).then_some(at);
            }
            let Some((&word, behind)) = rest.split_first() else { return Some(at) };
            (at, rest) = (self.child(at, word)?, behind);
        }
    }

    /// Adds the targets of every pattern that matches, each pattern's once.
    pub(super) fn route(&self, key: &str, scratch: &mut TopicScratch, found: &mut Vec<u32>) {
        Walk::new(self, key, scratch, found).run(ROOT);
    }

    fn add_targets(&self, node: &Node, found: &mut Vec<u32>) {
        match node.targets {
            NONE => {}
            set if set & SET != 0 => found.extend_from_slice(self.sets[(set & !SET) as usize].as_slice()),
            target => found.push(target),
        }
    }

    /// Nodes and words that exist, without the root.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.nodes.len() - self.free_nodes.len() - 1, self.words.len())
    }
}

/// Growing.
impl TopicTrie {
    pub(super) fn insert(&mut self, key: &str, target: u32) {
        let mut pattern = std::mem::take(&mut self.pattern);
        pattern.extend(words(key).map(|word| match word {
            "*" => STAR,
            "#" => HASH,
            word => self.words.acquire(word),
        }));
        let node = self.find_or_grow(&pattern);
        pattern.clear();
        self.pattern = pattern;
        let targets = self.nodes[node as usize].targets;
        if targets == NONE {
            self.nodes[node as usize].targets = target;
        } else if targets & SET != 0 {
            self.sets[(targets & !SET) as usize].add(target);
        } else {
            let mut set = IdSet::One(targets);
            set.add(target);
            self.nodes[node as usize].targets = self.sets.insert(set) as u32 | SET;
        }
    }

    /// The node that is to have a pattern's targets.
    fn find_or_grow(&mut self, pattern: &[u32]) -> u32 {
        let (mut at, mut rest) = (ROOT, pattern);
        loop {
            if let Some(tail) = self.nodes[at as usize].shape.tail() {
                if tail == rest {
                    return at;
                }
                self.split(at);
            }
            let Some((&word, behind)) = rest.split_first() else { return at };
            let child = self.child(at, word);
            at = child.unwrap_or_else(|| self.grow(at, word, Shape::of_last(word, behind)));
            rest = behind;
        }
    }

    /// Makes a leaf a node that can have children; the first is what was behind it.
    fn split(&mut self, leaf: u32) {
        let node = &mut self.nodes[leaf as usize];
        let leaf_shape = std::mem::replace(&mut node.shape, Shape::BRANCH);
        if let Some((&word, behind)) = leaf_shape.tail().and_then(<[u32]>::split_first) {
            let targets = std::mem::replace(&mut node.targets, NONE);
            let child = self.grow(leaf, word, Shape::of_last(word, behind));
            self.nodes[child as usize].targets = targets;
        }
    }

    fn grow(&mut self, at: u32, word: u32, shape: Shape) -> u32 {
        let parent = &self.nodes[at as usize];
        let node = Node::new(at, word, parent.below_hash || parent.word == HASH, shape);
        let child = match self.free_nodes.pop() {
            Some(free) => {
                self.nodes[free as usize] = node;
                free
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        let Shape::Branch { star, hash, literals } = &mut self.nodes[at as usize].shape else {
            unreachable!("a leaf that gets children is split first");
        };
        match word {
            STAR => *star = child,
            HASH => *hash = child,
            word => {
                *literals += 1;
                let (nodes, words, edge_hash) = (&self.nodes, &self.words, &self.edge_hash);
                self.edges.insert_unique(edge_hash.of(at, words.sought(word)), child, |&n| {
                    let node = &nodes[n as usize];
                    edge_hash.of(node.parent, words.sought(node.word))
                });
            }
        }
        child
    }
}

/// Shrinking.
impl TopicTrie {
    pub(super) fn remove(&mut self, key: &str, target: u32) {
        let mut pattern = std::mem::take(&mut self.pattern);
        let numbers = words(key).map_while(|word| match word {
            "*" => Some(STAR),
            "#" => Some(HASH),
            word => Some(self.words.find(word.as_bytes(), UNKNOWN).number).filter(|&n| n != UNKNOWN),
        });
        pattern.extend(numbers);
        let is_known = pattern.len() == words(key).count();
        let node = self.find(&pattern).filter(|_| is_known);
        pattern.clear();
        self.pattern = pattern;
        if let Some(node) = node
            && self.remove_target(node, target)
        {
            self.prune(node);
            words(key).filter(|&word| word != "*" && word != "#").for_each(|word| self.words.release(word));
        }
    }

    /// False: the node does not have it.
    fn remove_target(&mut self, node: u32, target: u32) -> bool {
        let targets = &mut self.nodes[node as usize].targets;
        match *targets {
            NONE => false,
            set if set & SET != 0 => {
                let set_at = (set & !SET) as usize;
                let was_there = self.sets[set_at].remove(target);
                if let IdSet::One(last) = self.sets[set_at] {
                    self.sets.remove(set_at);
                    *targets = last;
                }
                was_there
            }
            only => {
                if only == target {
                    *targets = NONE;
                }
                only == target
            }
        }
    }

    /// Removes nodes that lead nowhere, from a leaf upwards.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes[at as usize].is_dead() {
            let Node { parent, word, .. } = self.nodes[at as usize];
            let Shape::Branch { star, hash, literals } = &mut self.nodes[parent as usize].shape else {
                unreachable!("a leaf has no children");
            };
            match word {
                STAR => *star = NONE,
                HASH => *hash = NONE,
                word => {
                    *literals -= 1;
                    let hash = self.edge_hash.of(parent, self.words.sought(word));
                    if let Ok(edge) = self.edges.find_entry(hash, |&n| n == at) {
                        edge.remove();
                    }
                }
            }
            self.free_nodes.push(at);
            at = parent;
        }
    }
}

/// Where a child stands in the table of edges.
#[derive(Debug)]
struct EdgeHash([u64; 2]);

impl EdgeHash {
    fn new() -> Self {
        let keys = RandomState::default();
        EdgeHash([keys.hash_one(0), keys.hash_one(1) | 1])
    }

    /// One multiplication is enough: what it spreads has been hashed with a key that peers do not know.
    fn of(&self, parent: u32, word: Sought) -> u64 {
        let sought = (u64::from(parent) << 32 | u64::from(word.hash)) ^ self.0[0];
        let product = u128::from(sought) * u128::from(self.0[1]);
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two letters, both wildcards, and the empty word: small enough that patterns meet keys.
    fn text(words: &'static str, len: std::ops::Range<usize>) -> impl Strategy<Value = String> {
        let words: Vec<&str> = words.split(' ').collect();
        prop::collection::vec(prop::sample::select(words), len).prop_map(|words| words.join("."))
    }

    fn pattern() -> impl Strategy<Value = String> {
        text("a a b * # # ", 0..7)
    }

    fn key() -> impl Strategy<Value = String> {
        text("a a a b c ", 0..9)
    }

    fn route(trie: &TopicTrie, key: &str, scratch: &mut TopicScratch) -> Vec<u32> {
        let mut found = Vec::new();
        trie.route(key, scratch, &mut found);
        found.sort_unstable();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn the_trie_finds_what_the_rule_finds_also_after_removals(
            patterns in prop::collection::vec((pattern(), any::<bool>()), 0..40),
            keys in prop::collection::vec(key(), 1..20),
        ) {
            let mut trie = TopicTrie::default();
            let mut scratch = TopicScratch::default();
            for (target, (pattern, _)) in patterns.iter().enumerate() {
                trie.insert(pattern, target as u32);
            }
            for removed in [false, true] {
                for key in &keys {
                    // Each target once: a state of the walk is not looked at twice.
                    let expected: Vec<u32> = (0..)
                        .zip(&patterns)
                        .filter(|(_, (pattern, goes))| !(removed && *goes) && topic_matches(pattern, key))
                        .map(|(target, _)| target)
                        .collect();
                    prop_assert_eq!(route(&trie, key, &mut scratch), expected, "{:?}", key);
                }
                for (target, (pattern, goes)) in patterns.iter().enumerate() {
                    if *goes && !removed {
                        trie.remove(pattern, target as u32);
                    }
                }
            }
            for (target, (pattern, goes)) in patterns.iter().enumerate() {
                if !*goes {
                    trie.remove(pattern, target as u32);
                }
            }
            prop_assert_eq!(trie.size(), (0, 0), "nothing is left behind");
            prop_assert!(trie.edges.is_empty() && trie.sets.is_empty());
        }
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut trie = TopicTrie::default();
        let mut scratch = TopicScratch::default();
        for (key, target) in [("a.b", 1), ("a.*", 2), ("a.#", 3), ("a.b", 4)] {
            trie.insert(key, target);
        }
        for (key, target) in [("a", 1), ("a.b", 9), ("a.b.c", 1), ("*", 2), ("#", 3), ("zz", 1), ("a.*", 1)] {
            trie.remove(key, target);
        }
        assert_eq!(route(&trie, "a.b", &mut scratch), [1, 2, 3, 4]);
    }

    #[test]
    fn words_of_every_length_are_told_apart() {
        let mut trie = TopicTrie::default();
        let mut scratch = TopicScratch::default();
        let word = |len: u32| "w".repeat(len as usize);
        (0..=60).for_each(|len| trie.insert(&format!("{}.x", word(len)), len));
        for len in 0..=60 {
            assert_eq!(route(&trie, &format!("{}.x", word(len)), &mut scratch), [len]);
        }
        (0..=60).for_each(|len| trie.remove(&format!("{}.x", word(len)), len));
        assert_eq!(trie.size(), (0, 0));
    }

    #[test]
    fn what_stands_behind_a_pattern_s_own_word_is_in_its_leaf() {
        let mut trie = TopicTrie::default();
        let mut scratch = TopicScratch::default();
        trie.insert("site.a.*.temperature", 1);
        assert_eq!(trie.size().0, 1);
        trie.insert("site.b.#.temperature", 2);
        assert_eq!(trie.size().0, 3, "one for what they share");
        trie.insert("site.b.#.*.humidity", 3);
        assert_eq!(trie.size().0, 6, "two for site.b.#");
        trie.insert("#.a.#.b", 4);
        assert_eq!(trie.size().0, 8, "a leaf has one # only");
        for (key, targets) in [
            ("site.a.x.temperature", &[1][..]),
            ("site.b.temperature", &[2]),
            ("site.b.x.humidity", &[3]),
            ("site.b.humidity", &[]),
            ("a.a.a.b.b", &[4]),
        ] {
            assert_eq!(route(&trie, key, &mut scratch), targets, "{key}");
        }
    }
}
