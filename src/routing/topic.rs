//! Topic exchanges: a trie of words, with `*` for one word and `#` for any number.
//!
//! Nodes are 24 bytes in one array. Children by word are found through one hash table for the whole trie, keyed
//! by (parent, word): a table in every node would cost more than the node, since most have a single child.
//!
//! Invariants: a node without targets and children does not exist (save the root); a `(node, position)` pair is
//! looked at once per key, so several `#` in a key cost (nodes x words) at most and never their product.
//! Not here: the rule for one pattern (`topic_rule`), the text of words (`words`).

use ahash::{HashMap, RandomState};
use hashbrown::HashTable;

use super::error::BindError;
use super::id_set::IdSet;
use super::target::TARGET_SLOTS_MAX;
use super::topic_rule::words;
use super::words::Words;

/// Words in the key of a topic binding. Bounds the depth of the trie. (Messages may have more.)
pub const TOPIC_WORDS_MAX: usize = 128;

/// `#` words in the key of a topic binding. Each can cost a walk over all words of a message.
pub const TOPIC_HASHES_MAX: usize = 16;

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;
/// In place of a word's number.
const STAR: u32 = u32::MAX - 1;
/// In place of a word's number.
const HASH: u32 = u32::MAX - 2;
/// In [`Node::targets`]: the rest is the number of a set. Targets never have this bit.
const SET: u32 = TARGET_SLOTS_MAX;
/// In [`Node::literals`]: a `#` stands somewhere in front, so a walk can come here at several positions.
const BELOW_HASH: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    word: u32,
    star: u32,
    hash: u32,
    /// Children by word, and the bit [`BELOW_HASH`].
    literals: u32,
    /// [`NONE`], the only target, or a set's number with the bit [`SET`].
    targets: u32,
}

impl Node {
    fn new(parent: u32, word: u32) -> Self {
        Node { parent, word, star: NONE, hash: NONE, literals: 0, targets: NONE }
    }

    fn has_literals(&self) -> bool {
        self.literals & !BELOW_HASH > 0
    }

    fn is_below_hash(&self) -> bool {
        self.literals & BELOW_HASH != 0
    }

    fn has_children(&self) -> bool {
        self.has_literals() || self.star != NONE || self.hash != NONE
    }
}

#[derive(Debug)]
pub(super) struct TopicTrie {
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    edges: HashTable<u32>,
    sets: slab::Slab<IdSet>,
    words: Words,
    hasher: RandomState,
}

/// What a walk needs to remember; reused from walk to walk.
#[derive(Debug, Default)]
pub(super) struct TopicScratch {
    words: Vec<u32>,
    stack: Vec<(u32, u32)>,
    /// For `#` nodes: the first position from which they have been entered.
    entered: HashMap<u32, u32>,
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
            nodes: vec![Node::new(NONE, NONE)],
            free_nodes: Vec::new(),
            edges: HashTable::new(),
            sets: slab::Slab::new(),
            words: Words::default(),
            hasher: RandomState::default(),
        }
    }
}

impl TopicTrie {
    fn child(&self, parent: u32, word: u32) -> Option<u32> {
        let same = |&n: &u32| {
            let node = &self.nodes[n as usize];
            (node.parent, node.word) == (parent, word)
        };
        self.edges.find(self.hasher.hash_one((parent, word)), same).copied()
    }

    fn new_node(&mut self, parent: u32, word: u32) -> u32 {
        let mut node = Node::new(parent, word);
        let above = &self.nodes[parent as usize];
        if above.is_below_hash() || above.word == HASH {
            node.literals = BELOW_HASH;
        }
        if let Some(free) = self.free_nodes.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    fn step_or_grow(&mut self, at: u32, word: &str) -> u32 {
        let special = match word {
            "*" => self.nodes[at as usize].star,
            "#" => self.nodes[at as usize].hash,
            word => {
                let known = self.words.find(word).and_then(|number| self.child(at, number));
                return known.unwrap_or_else(|| self.grow_literal(at, word));
            }
        };
        if special != NONE {
            return special;
        }
        if word == "*" {
            let child = self.new_node(at, STAR);
            self.nodes[at as usize].star = child;
            child
        } else {
            let child = self.new_node(at, HASH);
            self.nodes[at as usize].hash = child;
            child
        }
    }

    fn grow_literal(&mut self, at: u32, word: &str) -> u32 {
        let number = self.words.acquire(word);
        let child = self.new_node(at, number);
        self.nodes[at as usize].literals += 1;
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.edges.insert_unique(hasher.hash_one((at, number)), child, |&n| {
            let node = &nodes[n as usize];
            hasher.hash_one((node.parent, node.word))
        });
        child
    }

    pub(super) fn insert(&mut self, key: &str, target: u32) {
        let node = words(key).fold(ROOT, |at, word| self.step_or_grow(at, word));
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

    pub(super) fn remove(&mut self, key: &str, target: u32) {
        let step = |at: u32, word: &str| match word {
            "*" => Some(self.nodes[at as usize].star).filter(|&n| n != NONE),
            "#" => Some(self.nodes[at as usize].hash).filter(|&n| n != NONE),
            word => self.child(at, self.words.find(word)?),
        };
        let Some(node) = words(key).try_fold(ROOT, step) else { return };
        let targets = self.nodes[node as usize].targets;
        if targets == target {
            self.nodes[node as usize].targets = NONE;
        } else if targets != NONE && targets & SET != 0 {
            let set = &mut self.sets[(targets & !SET) as usize];
            set.remove(target);
            if let IdSet::One(last) = *set {
                self.sets.remove((targets & !SET) as usize);
                self.nodes[node as usize].targets = last;
            }
        }
        self.prune(node);
    }

    /// Removes nodes that lead nowhere, from a leaf upwards.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let node = self.nodes[at as usize];
            if node.targets != NONE || node.has_children() {
                return;
            }
            let parent = &mut self.nodes[node.parent as usize];
            match node.word {
                STAR => parent.star = NONE,
                HASH => parent.hash = NONE,
                word => {
                    parent.literals -= 1;
                    let hash = self.hasher.hash_one((node.parent, word));
                    if let Ok(edge) = self.edges.find_entry(hash, |&n| n == at) {
                        edge.remove();
                    }
                    self.words.release(word);
                }
            }
            self.free_nodes.push(at);
            at = node.parent;
        }
    }

    /// Adds the targets of every pattern that matches; a target may come more than once.
    pub(super) fn route(&self, key: &str, scratch: &mut TopicScratch, found: &mut Vec<u32>) {
        scratch.words.clear();
        // A word that no pattern has keeps its place, for `*` and `#` to match.
        scratch.words.extend(words(key).map(|word| self.words.find(word).unwrap_or(NONE)));
        scratch.stack.clear();
        scratch.entered.clear();
        let mut walk = Walk { trie: self, scratch, found };
        walk.visit(ROOT, 0);
        while let Some((node, position)) = walk.scratch.stack.pop() {
            walk.visit(node, position);
        }
    }

    fn emit(&self, node: &Node, found: &mut Vec<u32>) {
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

struct Walk<'a> {
    trie: &'a TopicTrie,
    scratch: &'a mut TopicScratch,
    found: &'a mut Vec<u32>,
}

impl Walk<'_> {
    /// A node whose pattern so far matches exactly the words before `position`.
    fn visit(&mut self, at: u32, position: u32) {
        let node = &self.trie.nodes[at as usize];
        if position as usize == self.scratch.words.len() {
            self.trie.emit(node, self.found);
        } else {
            self.step(at, node, position);
        }
        if node.hash != NONE {
            self.enter_hash(node.hash, position);
        }
    }

    /// The children that take the word at `position`.
    fn step(&mut self, at: u32, node: &Node, position: u32) {
        let word = self.scratch.words[position as usize];
        if node.has_literals()
            && word != NONE
            && let Some(child) = self.trie.child(at, word)
        {
            self.scratch.stack.push((child, position + 1));
        }
        if node.star != NONE {
            self.scratch.stack.push((node.star, position + 1));
        }
    }

    /// A `#` node that may take any number of words from `position` on.
    fn enter_hash(&mut self, mut at: u32, position: u32) {
        let end = self.scratch.words.len() as u32;
        loop {
            let node = &self.trie.nodes[at as usize];
            // Behind another `#` this one can be entered again. Whatever lies behind its first position is then
            // known already, and only the positions in front of it are new.
            let mut until = end;
            if node.is_below_hash() {
                match self.scratch.entered.insert(at, position) {
                    Some(first) if first <= position => {
                        self.scratch.entered.insert(at, first);
                        return;
                    }
                    Some(first) => until = first,
                    None => self.trie.emit(node, self.found),
                }
            } else {
                self.trie.emit(node, self.found);
            }
            if node.has_literals() || node.star != NONE {
                for position in position..until {
                    self.step(at, node, position);
                }
            }
            if node.hash == NONE {
                return;
            }
            at = node.hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::topic_rule::topic_matches;
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
    fn a_node_is_24_bytes() {
        assert_eq!(std::mem::size_of::<Node>(), 24);
    }
}
