//! The words of topic keys, each stored once under a small number.
//!
//! Words lie in the hash table itself, and what the trie's own hash table is asked with is a word's hash rather than its
//! number: whoever looks for both waits for as little memory as there can be, and for both at once.
//! Invariant: a number is valid as long as somebody holds a reference to it, and is reused afterwards.

use ahash::RandomState;
use hashbrown::HashTable;

/// Texts up to this many bytes need no allocation: with its length byte and the tag, 16 bytes.
const INLINE_MAX: usize = 14;

#[derive(Debug)]
enum Text {
    Inline {
        len: u8,
        bytes: [u8; INLINE_MAX],
    },
    // A thin pointer to the fat one, so that a short text's slot is not paid for the long ones.
    #[allow(clippy::redundant_allocation)]
    Heap(Box<Box<[u8]>>),
}

impl Text {
    fn new(text: &str) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match bytes.get_mut(..text.len()) {
            Some(space) => {
                space.copy_from_slice(text.as_bytes());
                Text::Inline { len: text.len() as u8, bytes }
            }
            None => Text::Heap(Box::new(text.as_bytes().into())),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Text::Heap(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Word {
    text: Text,
    number: u32,
    /// How many hold it.
    references: u32,
}

#[derive(Debug, Default)]
pub(super) struct Words {
    table: HashTable<Word>,
    /// By number.
    hashes: Vec<u32>,
    free_numbers: Vec<u32>,
    hasher: RandomState,
}

/// A word as a trie looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    pub(super) number: u32,
    /// Of the word's text: known without looking anywhere.
    pub(super) hash: u32,
}

impl Words {
    /// The word; its number is `unknown` if nobody holds it.
    pub(super) fn find(&self, word: &[u8], unknown: u32) -> Sought {
        let hash = self.hasher.hash_one(word);
        let found = self.table.find(hash, |known| known.text.as_bytes() == word);
        Sought { number: found.map_or(unknown, |word| word.number), hash: hash as u32 }
    }

    /// A word that somebody holds.
    pub(super) fn sought(&self, number: u32) -> Sought {
        Sought { number, hash: self.hashes[number as usize] }
    }

    /// The word's number, held once more.
    pub(super) fn acquire(&mut self, word: &str) -> u32 {
        let hash = self.hasher.hash_one(word.as_bytes());
        if let Some(known) = self.table.find_mut(hash, |known| known.text.as_bytes() == word.as_bytes()) {
            known.references += 1;
            return known.number;
        }
        let number = self.free_numbers.pop().unwrap_or_else(|| {
            self.hashes.push(0);
            self.hashes.len() as u32 - 1
        });
        self.hashes[number as usize] = hash as u32;
        let hasher = &self.hasher;
        let slot = Word { text: Text::new(word), number, references: 1 };
        self.table.insert_unique(hash, slot, |word| hasher.hash_one(word.text.as_bytes()));
        number
    }

    /// Gives one reference back.
    pub(super) fn release(&mut self, word: &str) {
        let hash = self.hasher.hash_one(word.as_bytes());
        let Ok(mut entry) = self.table.find_entry(hash, |known| known.text.as_bytes() == word.as_bytes())
        else {
            return;
        };
        let known = entry.get_mut();
        known.references -= 1;
        if known.references == 0 {
            self.free_numbers.push(known.number);
            entry.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
