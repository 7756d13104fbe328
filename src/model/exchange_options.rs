//! What an exchange is declared with, checked once at the declare.
//!
//! Invariant: after [`ExchangeOptions::from_arguments`] nothing reads the argument table again; it is kept only
//! to be listed. Not here: equivalence with an exchange that exists (`routing`).

use std::fmt;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, ShortStr};
use thiserror::Error;

use super::ExchangeName;

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// The routing key equals the binding's key.
    #[default]
    Direct,
    /// Every binding.
    Fanout,
    /// The binding's key is a pattern of words: `*` one word, `#` any number of words.
    Topic,
    /// The binding's arguments are compared with the message's headers.
    Headers,
}

impl ExchangeKind {
    /// Every kind.
    pub const ALL: &'static [ExchangeKind] =
        &[ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic, ExchangeKind::Headers];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
        }
    }

    /// The kind with this name on the wire.
    pub fn from_name(name: &str) -> Option<ExchangeKind> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an exchange was declared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeOptions {
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether it outlives a restart of the broker.
    pub durable: bool,
    /// Whether it is deleted when its last binding goes.
    pub auto_delete: bool,
    /// Whether clients may not publish to it: only bindings and alternate exchanges lead to it.
    pub internal: bool,
    /// Where messages go that match none of its bindings.
    pub alternate: Option<ExchangeName>,
    /// All arguments as they were given, for lists.
    pub arguments: FieldTable,
}

/// Why options cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExchangeOptionsError {
    /// A kind that this broker does not know.
    #[error("unknown exchange type '{0}'")]
    UnknownKind(ShortStr),
    /// An argument with a value of the wrong type.
    #[error("invalid type '{type_name}' for arg '{argument}'")]
    ArgumentType {
        /// The argument's name.
        argument: &'static str,
        /// The type that was given.
        type_name: &'static str,
    },
    /// An alternate exchange whose name cannot be an exchange's name.
    #[error("invalid name in arg '{argument}': at most 255 bytes of UTF-8")]
    ArgumentName {
        /// The argument's name.
        argument: &'static str,
    },
}

impl ExchangeOptionsError {
    /// The code it is answered with: 406, as RabbitMQ from 4.x does for unknown kinds too.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::PreconditionFailed
    }

    /// The text it is answered with.
    pub fn text(&self, exchange: &str, vhost: &str) -> String {
        match self {
            ExchangeOptionsError::UnknownKind(_) => self.to_string(),
            _ => format!("{self} in exchange '{exchange}' in vhost '{vhost}'"),
        }
    }
}

/// The argument that names the alternate exchange, and its name in LavinMQ's and older clients' spelling.
const ALTERNATE: [&str; 2] = ["alternate-exchange", "x-alternate-exchange"];

impl ExchangeOptions {
    /// Options without arguments: neither durable, auto-delete nor internal.
    pub fn new(kind: ExchangeKind) -> Self {
        ExchangeOptions { kind, ..Self::default() }
    }

    /// Reads a declare. Unknown arguments are kept and mean nothing.
    pub fn from_arguments(
        kind: &str,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: FieldTable,
    ) -> Result<Self, ExchangeOptionsError> {
        let kind = ExchangeKind::from_name(kind)
            .ok_or_else(|| ExchangeOptionsError::UnknownKind(ShortStr::truncated(kind)))?;
        let alternate = alternate_of(&arguments)?;
        Ok(ExchangeOptions { kind, durable, auto_delete, internal, alternate, arguments })
    }
}

fn alternate_of(arguments: &FieldTable) -> Result<Option<ExchangeName>, ExchangeOptionsError> {
    for argument in ALTERNATE {
        let Some(value) = arguments.get(argument) else { continue };
        let type_name = value.type_name();
        if type_name != "longstr" {
            return Err(ExchangeOptionsError::ArgumentType { argument, type_name });
        }
        let name = value.as_str().and_then(|name| ExchangeName::new(name).ok());
        return name.map(Some).ok_or(ExchangeOptionsError::ArgumentName { argument });
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, arguments: FieldTable) -> Result<ExchangeOptions, ExchangeOptionsError> {
        ExchangeOptions::from_arguments(kind, true, false, false, arguments)
    }

    #[test]
    fn kinds_lead_back_to_their_names() {
        for &kind in ExchangeKind::ALL {
            assert_eq!(read(kind.name(), FieldTable::new()).unwrap().kind, kind);
        }
    }

    #[test]
    fn unknown_kinds_are_named() {
        let error = read("x-topik", FieldTable::new()).unwrap_err();
        assert_eq!(error.text("e", "/"), "unknown exchange type 'x-topik'");
        assert_eq!(error.reply_code(), ReplyCode::PreconditionFailed);
    }

    #[test]
    fn the_alternate_exchange_has_two_spellings_and_the_plain_one_wins() {
        let alternate = |arguments| read("direct", arguments).unwrap().alternate;
        assert_eq!(alternate(FieldTable::new()), None);
        let both = FieldTable::new().with("x-alternate-exchange", "b");
        assert_eq!(alternate(both.clone()).as_deref(), Some("b"));
        assert_eq!(alternate(both.with("alternate-exchange", "a")).as_deref(), Some("a"));
    }

    #[test]
    fn an_alternate_exchange_that_is_no_name_is_refused() {
        let error = read("direct", FieldTable::new().with("alternate-exchange", 7)).unwrap_err();
        let text = "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'e' in vhost '/'";
        assert_eq!(error.text("e", "/"), text);
        let long = FieldTable::new().with("alternate-exchange", "x".repeat(256));
        let argument = "alternate-exchange";
        assert_eq!(read("direct", long), Err(ExchangeOptionsError::ArgumentName { argument }));
    }

    #[test]
    fn unknown_arguments_are_kept() {
        let arguments = FieldTable::new().with("x-colour", "red");
        assert_eq!(read("fanout", arguments.clone()).unwrap().arguments, arguments);
    }
}
