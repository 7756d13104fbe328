//! From a message's key to the targets of all patterns that match it.
//!
//! Invariants: a `(node, position)` pair is looked at once per key, so several `#` in a key cost (nodes x words) at most
//! and never their product; each pattern's targets are found once.

use ahash::HashMap;

use super::TopicTrie;
use super::node::{HASH, NONE, Node, Shape, UNKNOWN, hash_at, matches, matches_end};
use super::words::Sought;

/// What a walk needs to remember; reused from walk to walk.
#[derive(Debug, Default)]
pub(in super::super) struct TopicScratch {
    /// The numbers of the key's words.
    words: Vec<u32>,
    /// Their hashes.
    hashes: Vec<u32>,
    stack: Vec<(u32, u32)>,
    /// For `#` nodes: the first position from which they have been entered. For leaves with a `#`: that they matched.
    entered: HashMap<u32, u32>,
}

pub(super) struct Walk<'a> {
    trie: &'a TopicTrie,
    scratch: &'a mut TopicScratch,
    found: &'a mut Vec<u32>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        trie: &'a TopicTrie,
        key: &str,
        scratch: &'a mut TopicScratch,
        found: &'a mut Vec<u32>,
    ) -> Self {
        scratch.words.clear();
        scratch.hashes.clear();
        if !key.is_empty() {
            let words = key.as_bytes().split(|&byte| byte == b'.');
            for word in words {
                let Sought { number, hash } = trie.words.find(word, UNKNOWN);
                scratch.words.push(number);
                scratch.hashes.push(hash);
            }
        }
        scratch.stack.clear();
        scratch.entered.clear();
        Walk { trie, scratch, found }
    }

    pub(super) fn run(&mut self, root: u32) {
        self.visit(root, 0);
        while let Some((node, position)) = self.scratch.stack.pop() {
            self.visit(node, position);
        }
    }

    /// A node whose pattern so far matches exactly the words before `position`.
    fn visit(&mut self, at: u32, position: u32) {
        let node = &self.trie.nodes[at as usize];
        match &node.shape {
            shape @ Shape::Leaf { .. } => {
                let tail = shape.tail().unwrap_or_default();
                if matches(tail, &self.scratch.words[position as usize..]) {
                    self.emit_leaf(at, node, tail);
                }
            }
            &Shape::Branch { star, hash, literals } => {
                if position as usize == self.scratch.words.len() {
                    self.emit(node);
                } else {
                    self.step(at, star, literals, position);
                }
                if hash != NONE {
                    self.enter_hash(hash, position);
                }
            }
        }
    }

    /// The children that take the word at `position`.
    fn step(&mut self, at: u32, star: u32, literals: u32, position: u32) {
        let at_word = position as usize;
        let word = Sought { number: self.scratch.words[at_word], hash: self.scratch.hashes[at_word] };
        if literals > 0
            && word.number != UNKNOWN
            && let Some(child) = self.trie.literal_child(at, word)
        {
            self.scratch.stack.push((child, position + 1));
        }
        if star != NONE {
            self.scratch.stack.push((star, position + 1));
        }
    }

    /// A `#` node that may take any number of words from `position` on.
    fn enter_hash(&mut self, mut at: u32, position: u32) {
        let end = self.scratch.words.len() as u32;
        loop {
            let node = &self.trie.nodes[at as usize];
            let (star, hash, literals) = match &node.shape {
                &Shape::Branch { star, hash, literals } => (star, hash, literals),
                shape @ Shape::Leaf { .. } => {
                    let tail = shape.tail().unwrap_or_default();
                    if matches_end(tail, &self.scratch.words[position as usize..]) {
                        self.emit_leaf(at, node, tail);
                    }
                    return;
                }
            };
            // Behind another `#` this one can be entered again. Whatever lies behind its first position is then
            // known already, and only the positions in front of it are new.
            let mut until = end;
            if node.below_hash {
                match self.scratch.entered.insert(at, position) {
                    Some(first) if first <= position => {
                        self.scratch.entered.insert(at, first);
                        return;
                    }
                    Some(first) => until = first,
                    None => self.emit(node),
                }
            } else {
                self.emit(node);
            }
            if literals > 0 || star != NONE {
                for position in position..until {
                    self.step(at, star, literals, position);
                }
            }
            if hash == NONE {
                return;
            }
            at = hash;
        }
    }

    /// A leaf that matches. One with a `#` can match again from another position.
    fn emit_leaf(&mut self, at: u32, node: &Node, tail: &[u32]) {
        let may_repeat = node.below_hash && (node.word == HASH || hash_at(tail).is_some());
        if !may_repeat || self.scratch.entered.insert(at, 0).is_none() {
            self.emit(node);
        }
    }

    fn emit(&mut self, node: &Node) {
        self.trie.add_targets(node, self.found);
    }
}
