//! A pattern of names, as operators write it in permissions and policies.
//!
//! RabbitMQ's meaning: a regular expression that is looked for anywhere in the name, and an empty one matches the empty
//! name only. Invariant: a pattern that was made compiles within a limit of memory, and matching takes time in
//! proportion to the name. Not here: what is asked of which pattern (`access`, `broker`).

use std::fmt;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Longest pattern, in bytes.
pub const PATTERN_LEN_MAX: usize = 1024;

/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Option<Regex>,
}

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It is too long.
    #[error("a pattern has at most {PATTERN_LEN_MAX} bytes, and this one has {0}")]
    TooLong(usize),
    /// It is none.
    #[error("'{pattern}' is not a valid regular expression: {problem}")]
    Invalid {
        /// The text.
        pattern: String,
        /// What is wrong with it, in one line.
        problem: String,
    },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_LEN_MAX {
            return Err(PatternError::TooLong(text.len()));
        }
        if text.is_empty() {
            return Ok(Pattern { text: String::new(), regex: None });
        }
        let regex = RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
        let regex = regex.map_err(|error| {
            let problem = error.to_string();
            let last = problem.lines().last().unwrap_or_default();
            let problem = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            PatternError::Invalid { pattern: text.to_owned(), problem }
        })?;
        Ok(Pattern { text: text.to_owned(), regex: Some(regex) })
    }

    /// Whether the name is one of those that are meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(name),
            None => name.is_empty(),
        }
    }

    /// The text that it was made from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_looked_for_anywhere_and_an_empty_one_matches_nothing_but_the_empty_name() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(name);
        assert!(matches("ord", "my-orders") && matches(".*", "") && matches("^a|b$", "xb"));
        assert!(!matches("^ord", "my-orders") && !matches("^$", "a"));
        assert!(matches("", "") && !matches("", "a"));
    }

    #[test]
    fn what_is_no_pattern_is_told_with_what_is_wrong() {
        assert!(Pattern::new("(").unwrap_err().to_string().starts_with("'(' is not a valid regular"));
        assert_eq!(Pattern::new(&"a".repeat(2000)), Err(PatternError::TooLong(2000)));
        assert!(Pattern::new("((a{100}){100}){100}").is_err());
    }
}
