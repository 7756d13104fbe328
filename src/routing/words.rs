//! The words of topic keys, each stored once under a small number.
//!
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
    /// How many hold it; of a free slot: 0.
    references: u32,
}

#[derive(Debug, Default)]
pub(super) struct Words {
    words: Vec<Word>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Words {
    /// The word's number, if anybody holds it.
    pub(super) fn find(&self, word: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(word.as_bytes());
        self.numbers.find(hash, |&n| self.words[n as usize].text.as_bytes() == word.as_bytes()).copied()
    }

    /// The word's number, held once more.
    pub(super) fn acquire(&mut self, word: &str) -> u32 {
        if let Some(number) = self.find(word) {
            self.words[number as usize].references += 1;
            return number;
        }
        let slot = Word { text: Text::new(word), references: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.words[number as usize] = slot;
                number
            }
            None => {
                self.words.push(slot);
                self.words.len() as u32 - 1
            }
        };
        let (words, hasher) = (&self.words, &self.hasher);
        self.numbers.insert_unique(hasher.hash_one(word.as_bytes()), number, |&n| {
            hasher.hash_one(words[n as usize].text.as_bytes())
        });
        number
    }

    /// Gives one reference back.
    pub(super) fn release(&mut self, number: u32) {
        let word = &mut self.words[number as usize];
        word.references -= 1;
        if word.references > 0 {
            return;
        }
        let hash = self.hasher.hash_one(word.text.as_bytes());
        if let Ok(entry) = self.numbers.find_entry(hash, |&n| n == number) {
            entry.remove();
        }
        self.words[number as usize].text = Text::new("");
        self.free.push(number);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
