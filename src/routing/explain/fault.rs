//! What keeps a binding from matching, in words.

use std::fmt;

use rialto_protocol::types::{FieldValue, ShortStr};

/// One thing that would have to be otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Two texts are nearly the same.
    Spelling {
        /// Which word of the routing key, counted from 1; none: the whole key.
        word: Option<usize>,
        /// What the message has.
        is: String,
        /// What the binding wants.
        wanted: String,
        /// Letters to be changed, added, left out, or swapped with their neighbours.
        edits: usize,
    },
    /// Two texts are the same but for capital letters.
    Case {
        /// As in [`Fault::Spelling`].
        word: Option<usize>,
        /// What the message has.
        is: String,
        /// What the binding wants.
        wanted: String,
    },
    /// A word is another than the binding wants.
    Word {
        /// Which word of the routing key, counted from 1.
        word: usize,
        /// What the message has.
        is: String,
        /// What the binding wants.
        wanted: String,
    },
    /// The binding wants a word that the routing key does not have.
    WordMissing {
        /// Which word of the binding's key, counted from 1.
        word: usize,
        /// What it wants; `*` is any one word.
        wanted: String,
    },
    /// The routing key has a word that the binding has no place for.
    WordTooMany {
        /// Which word of the routing key, counted from 1.
        word: usize,
        /// The word.
        is: String,
    },
    /// The binding's key is a pattern that would match, but its exchange compares keys letter by letter.
    PatternOnDirect {
        /// The pattern.
        pattern: String,
    },
    /// The message does not have a header.
    HeaderMissing {
        /// The header.
        name: ShortStr,
        /// A header that it has, whose name is like this one.
        like: Option<ShortStr>,
    },
    /// A header has another value.
    HeaderDiffers {
        /// The header.
        name: ShortStr,
        /// What the message has.
        is: Box<FieldValue>,
        /// What the binding wants.
        wanted: Box<FieldValue>,
    },
}

impl Fault {
    /// A name for it, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Spelling { .. } => "spelling",
            Fault::Case { .. } => "case",
            Fault::Word { .. } => "word",
            Fault::WordMissing { .. } => "word-missing",
            Fault::WordTooMany { .. } => "word-too-many",
            Fault::PatternOnDirect { .. } => "pattern-on-direct",
            Fault::HeaderMissing { .. } => "header-missing",
            Fault::HeaderDiffers { .. } => "header-differs",
        }
    }

    /// How far it is from a match: compared with others, it means no more.
    pub(super) fn cost(&self) -> usize {
        match self {
            Fault::Case { .. } | Fault::PatternOnDirect { .. } => 1,
            Fault::Spelling { edits, .. } => 1 + edits,
            Fault::HeaderDiffers { .. } => 3,
            // Rather a word too few for a wildcard than one that the pattern spells out.
            Fault::WordMissing { wanted, .. } if wanted == "*" => 3,
            Fault::HeaderMissing { like: Some(_), .. } => 3,
            Fault::WordMissing { .. } | Fault::WordTooMany { .. } | Fault::HeaderMissing { .. } => 4,
            Fault::Word { .. } => 5,
        }
    }
}

/// Which word is meant, or the whole key.
struct Which(Option<usize>);

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, "word {word}"),
            None => f.write_str("the routing key"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Spelling { word, is, wanted, edits } => {
                let letters = if *edits == 1 { "letter" } else { "letters" };
                write!(f, "{} is '{is}', the binding wants '{wanted}' ({edits} {letters} off)", Which(*word))
            }
            Fault::Case { word, is, wanted } => {
                write!(f, "{} is '{is}', the binding wants '{wanted}': capital letters count", Which(*word))
            }
            Fault::Word { word, is, wanted } => {
                write!(f, "word {word} is '{is}', the binding wants '{wanted}'")
            }
            Fault::WordMissing { word, wanted } if wanted == "*" => {
                write!(
                    f,
                    "there is no word for '*' at place {word}: '*' is exactly one word, '#' may be none"
                )
            }
            Fault::WordMissing { word, wanted } => {
                write!(
                    f,
                    "the binding wants '{wanted}' as its word {word}, the routing key ends before or has no such word"
                )
            }
            Fault::WordTooMany { word, is } => {
                write!(f, "word {word}, '{is}', is one too many: '*' is exactly one word, '#' any number")
            }
            Fault::PatternOnDirect { pattern } => {
                write!(f, "'{pattern}' would match in a topic exchange; a direct exchange knows no wildcards")
            }
            Fault::HeaderMissing { name, like: None } => write!(f, "header '{name}' is missing"),
            Fault::HeaderMissing { name, like: Some(like) } => {
                write!(f, "header '{name}' is missing; the message has '{like}'")
            }
            Fault::HeaderDiffers { name, is, wanted } => {
                let (one, other) = (is.type_name(), wanted.type_name());
                write!(f, "header '{name}' is {is}, the binding wants {wanted}")?;
                match one == other {
                    true => Ok(()),
                    false => write!(f, " (a value of type {one} and one of type {other})"),
                }
            }
        }
    }
}
