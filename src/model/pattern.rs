//! A pattern of names, as operators write it in permissions and policies.
//!
//! RabbitMQ's meaning: a regular expression that is looked for anywhere in the name. It may look ahead, for one of those
//! that are written most often does: `^(?!amq\\.).*`. Characters are Unicode's, where RabbitMQ's are bytes.
//!
//! Invariants: a pattern that was made has been compiled within a limit of memory; matching takes bounded time, and what
//! cannot be decided in it is no match. Not here: what is asked of which pattern (`access`, `policy`).

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Longest pattern, in bytes.
pub const PATTERN_LEN_MAX: usize = 1024;

/// Bytes that a compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Steps back that a pattern which looks around may take for one name. Others take none.
const STEPS_BACK_MAX: usize = 20_000;

/// See the module.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    /// None: nothing but the empty name.
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
        let mut builder = RegexBuilder::new(text);
        builder.backtrack_limit(STEPS_BACK_MAX).delegate_size_limit(COMPILED_BYTES_MAX);
        let regex = builder.build();
        let regex = regex.map_err(|error| {
            let problem = error.to_string();
            let last = problem.lines().last().unwrap_or_default();
            let problem = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            PatternError::Invalid { pattern: text.to_owned(), problem }
        })?;
        Ok(Pattern { text: text.to_owned(), regex: Some(regex) })
    }

    /// Reads a pattern of a permission: there, an empty one allows nothing but the empty name.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn of_permission(text: &str) -> Result<Self, PatternError> {
        match text {
            "" => Ok(Pattern { text: String::new(), regex: None }),
            text => Self::new(text),
        }
    }

    /// Whether the name is one of those that are meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(name).unwrap_or(false),
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
    fn a_pattern_is_looked_for_anywhere_and_an_empty_one_of_a_permission_matches_nothing_but_the_empty_name()
    {
        let matches = |pattern: &str, name: &str| Pattern::of_permission(pattern).unwrap().matches(name);
        assert!(matches("ord", "my-orders") && matches(".*", "") && matches("^a|b$", "xb"));
        assert!(!matches("^ord", "my-orders") && !matches("^$", "a"));
        assert!(matches("", "") && !matches("", "a"));
        assert!(Pattern::new("").unwrap().matches("a"));
    }

    #[test]
    fn a_pattern_may_look_ahead() {
        let own = Pattern::new("^(?!amq\\.).*").unwrap();
        assert!(own.matches("orders") && !own.matches("amq.gen-1"));
    }

    #[test]
    fn a_pattern_that_explodes_is_no_match_and_ends_soon() {
        let exploding = Pattern::new("^(?=(a+)+$)(a|aa)+$(?<!b)").unwrap();
        assert!(!exploding.matches(&("a".repeat(200) + "c")));
        let plain = Pattern::new("^(a+)+$").unwrap();
        assert!(!plain.matches(&("a".repeat(200) + "c")));
    }

    proptest::proptest! {
        /// What RabbitMQ's engine does with the simple patterns that both know.
        #[test]
        fn alternatives_of_names_mean_what_they_say(names in proptest::collection::vec("[a-c.]{1,3}", 1..4), name in "[a-c.]{0,5}") {
            let escaped = names.iter().map(|name| name.replace('.', "\\.")).collect::<Vec<_>>().join("|");
            let is_one = names.contains(&name);
            let holds_one = names.iter().any(|one| name.contains(one.as_str()));
            let begins = names.iter().any(|one| name.starts_with(one.as_str()));
            let matches = |pattern: String| Pattern::of_permission(&pattern).unwrap().matches(&name);
            proptest::prop_assert_eq!(matches(format!("^({escaped})$")), is_one);
            proptest::prop_assert_eq!(matches(escaped.clone()), holds_one);
            proptest::prop_assert_eq!(matches(format!("^({escaped})")), begins);
            proptest::prop_assert_eq!(matches(format!("^(?!({escaped})$)")), !is_one);
        }

        #[test]
        fn no_text_makes_a_pattern_panic(text in ".{0,40}", name in ".{0,40}") {
            if let Ok(pattern) = Pattern::new(&text) {
                pattern.matches(&name);
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_with_what_is_wrong() {
        assert!(Pattern::new("(").unwrap_err().to_string().starts_with("'(' is not a valid regular"));
        assert_eq!(Pattern::new(&"a".repeat(2000)), Err(PatternError::TooLong(2000)));
        assert!(Pattern::new("((a{100}){100}){100}").is_err());
    }
}
