//! What the trie is made of: nodes that branch, and leaves that have the rest of their pattern in themselves.
//!
//! Invariants: a node is half a cache line, and does not straddle two; a leaf's words, its own included, have one `#` at
//! most, so that it is compared with a key in one pass: what stands before the `#` from the front, what stands
//! behind it from the end.

/// In place of a node's number.
pub(super) const NONE: u32 = u32::MAX;
/// In place of a word's number.
pub(super) const STAR: u32 = u32::MAX - 1;
/// In place of a word's number.
pub(super) const HASH: u32 = u32::MAX - 2;
/// In place of the number of a word of a message that no pattern has: there for `*` and `#` to match.
pub(super) const UNKNOWN: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) word: u32,
    /// [`NONE`], the only target, or a set's number with the bit `SET`.
    pub(super) targets: u32,
    /// A `#` stands somewhere in front, so a walk can come here at several positions.
    pub(super) below_hash: bool,
    pub(super) shape: Shape,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Branch {
        /// The child for `*`.
        star: u32,
        /// The child for `#`.
        hash: u32,
        /// Children by word.
        literals: u32,
    },
    /// The words behind the node's own. (Not a type of its own: that would pad it past half a line.)
    Leaf { len: u8, words: [u32; TAIL_MAX] },
}

/// Words of a leaf besides its own.
const TAIL_MAX: usize = 3;

impl Node {
    pub(super) fn new(parent: u32, word: u32, below_hash: bool, shape: Shape) -> Self {
        Node { parent, word, targets: NONE, below_hash, shape }
    }

    /// Whether walks need not come here: no pattern ends here or behind.
    pub(super) fn is_dead(&self) -> bool {
        let has_children = match self.shape {
            Shape::Branch { star, hash, literals } => star != NONE || hash != NONE || literals > 0,
            Shape::Leaf { .. } => false,
        };
        self.targets == NONE && !has_children
    }
}

impl Shape {
    /// Without children.
    pub(super) const BRANCH: Shape = Shape::Branch { star: NONE, hash: NONE, literals: 0 };

    /// Of a node for a word with nothing below it yet, when a pattern goes on with `behind`.
    pub(super) fn of_last(word: u32, behind: &[u32]) -> Self {
        let hashes = behind.iter().filter(|&&word| word == HASH).count() + usize::from(word == HASH);
        let mut words = [NONE; TAIL_MAX];
        match words.get_mut(..behind.len()) {
            Some(space) if hashes <= 1 => space.copy_from_slice(behind),
            _ => return Shape::BRANCH,
        }
        Shape::Leaf { len: behind.len() as u8, words }
    }

    /// The words of a leaf.
    pub(super) fn tail(&self) -> Option<&[u32]> {
        match self {
            Shape::Leaf { len, words } => Some(&words[..usize::from(*len)]),
            Shape::Branch { .. } => None,
        }
    }
}

/// Where the `#` of a leaf's words stands.
pub(super) fn hash_at(tail: &[u32]) -> Option<usize> {
    tail.iter().position(|&word| word == HASH)
}

/// Whether a leaf's words match all of these words of a message.
pub(super) fn matches(tail: &[u32], words: &[u32]) -> bool {
    match hash_at(tail) {
        None => words.len() == tail.len() && all_match(tail, words),
        Some(at) => {
            let behind = &tail[at + 1..];
            words.len() >= at + behind.len()
                && all_match(&tail[..at], &words[..at])
                && all_match(behind, &words[words.len() - behind.len()..])
        }
    }
}

/// Whether the words of a leaf for a `#` match what these words of a message end with.
pub(super) fn matches_end(tail: &[u32], words: &[u32]) -> bool {
    words.len() >= tail.len() && all_match(tail, &words[words.len() - tail.len()..])
}

fn all_match(pattern: &[u32], words: &[u32]) -> bool {
    pattern.iter().zip(words).all(|(&pattern, &word)| pattern == word || pattern == STAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_half_a_cache_line() {
        assert_eq!((size_of::<Node>(), align_of::<Node>()), (32, 32));
    }
}
