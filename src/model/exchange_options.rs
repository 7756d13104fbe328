//! What an exchange is declared with, checked once at the declare.
//!
//! Invariant: after [`ExchangeOptions::from_arguments`] nothing reads the argument table again; it is kept only
//! to be listed. Not here: equivalence with an exchange that exists (`routing`).

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, FieldValue, ShortStr};
use thiserror::Error;

use super::{ArgumentProblem, DeduplicationOptions, ExchangeKind, ExchangeName};

/// What a consistent-hash exchange takes the hash of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashSource {
    /// The routing key.
    #[default]
    RoutingKey,
    /// The header with this name. Messages without it go to one queue together.
    Header(String),
    /// The property `correlation_id`.
    CorrelationId,
    /// The property `message_id`.
    MessageId,
    /// The property `timestamp`.
    Timestamp,
}

/// The flags of a declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeFlags {
    /// Outlives a restart.
    pub durable: bool,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
}

/// What an exchange was declared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeOptions {
    /// What it was declared as.
    pub kind: ExchangeKind,
    /// How messages go on from a [`ExchangeKind::Delayed`] exchange (`x-delayed-type`).
    pub delayed_kind: ExchangeKind,
    /// What a [`ExchangeKind::ConsistentHash`] exchange looks at.
    pub hash_on: HashSource,
    /// How it knows messages that were published before, if it is to drop them.
    pub deduplication: Option<DeduplicationOptions>,
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
    /// An argument with a value that it cannot have.
    #[error("invalid arg '{}': {}", .0.arg, .0.problem)]
    Argument(ArgumentProblem),
    /// `hash-property` names a property that cannot be hashed.
    #[error("Unsupported property: {0}")]
    HashProperty(String),
    /// Two sources for one hash.
    #[error("hash-header and hash-property are mutually exclusive")]
    HashBoth,
    /// A delayed exchange must say how its messages go on.
    #[error("Invalid argument, 'x-delayed-type' must be an existing exchange type")]
    DelayedKind,
}

impl ExchangeOptionsError {
    /// Whether it is the alternate exchange that cannot be taken.
    pub fn is_alternate(&self) -> bool {
        match self {
            ExchangeOptionsError::ArgumentType { argument, .. }
            | ExchangeOptionsError::ArgumentName { argument } => ALTERNATE.contains(argument),
            _ => false,
        }
    }

    /// The code it is answered with: 406, as RabbitMQ from 4.x does for unknown kinds too.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::PreconditionFailed
    }

    /// The text it is answered with.
    pub fn text(&self, exchange: &str, vhost: &str) -> String {
        match self {
            ExchangeOptionsError::ArgumentType { .. } | ExchangeOptionsError::ArgumentName { .. } => {
                format!("{self} in exchange '{exchange}' in vhost '{vhost}'")
            }
            ExchangeOptionsError::Argument(ArgumentProblem { arg, problem }) => {
                format!("invalid arg '{arg}' for exchange '{exchange}' in vhost '{vhost}': {problem}")
            }
            _ => self.to_string(),
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

    /// Arguments without those that name an alternate exchange.
    pub fn without_alternate(mut arguments: FieldTable) -> FieldTable {
        for argument in ALTERNATE {
            arguments.remove(argument);
        }
        arguments
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
        let delayed_kind = match kind {
            ExchangeKind::Delayed => delayed_kind_of(&arguments)?,
            _ => ExchangeKind::default(),
        };
        let hash_on = match [kind, delayed_kind].contains(&ExchangeKind::ConsistentHash) {
            true => hash_source_of(&arguments)?,
            false => HashSource::default(),
        };
        let deduplication = deduplication_of(kind, delayed_kind, &arguments)?;
        let alternate = alternate_of(&arguments)?;
        Ok(ExchangeOptions {
            kind,
            delayed_kind,
            hash_on,
            deduplication,
            durable,
            auto_delete,
            internal,
            alternate,
            arguments,
        })
    }

    /// How it chooses among its bindings: as the kind that it was declared as, unless that only adds to another.
    pub fn routes_as(&self) -> ExchangeKind {
        match self.kind {
            ExchangeKind::Delayed => plain(self.delayed_kind),
            kind => plain(kind),
        }
    }
}

fn plain(kind: ExchangeKind) -> ExchangeKind {
    match kind {
        ExchangeKind::Deduplication => ExchangeKind::Fanout,
        kind => kind,
    }
}

fn deduplication_of(
    kind: ExchangeKind,
    delayed_kind: ExchangeKind,
    arguments: &FieldTable,
) -> Result<Option<DeduplicationOptions>, ExchangeOptionsError> {
    let read = match [kind, delayed_kind].contains(&ExchangeKind::Deduplication) {
        true => {
            DeduplicationOptions::from_arguments(&arguments.clone().with("x-message-deduplication", true))
        }
        false => DeduplicationOptions::from_arguments(arguments),
    };
    read.map_err(ExchangeOptionsError::Argument)
}

fn delayed_kind_of(arguments: &FieldTable) -> Result<ExchangeKind, ExchangeOptionsError> {
    let name = arguments.get("x-delayed-type").and_then(FieldValue::as_str);
    let kind = name.and_then(ExchangeKind::from_name);
    // Not itself: to wait twice for one header makes no sense.
    kind.filter(|&kind| kind != ExchangeKind::Delayed).ok_or(ExchangeOptionsError::DelayedKind)
}

/// The arguments of RabbitMQ's plugin, and LavinMQ's `x-hash-on`. Its `x-algorithm` (`ring` or `jump`) chooses
/// between ways to keep promises that ours keeps anyhow, so it is accepted and means nothing.
fn hash_source_of(arguments: &FieldTable) -> Result<HashSource, ExchangeOptionsError> {
    let text = |argument: &'static str| match arguments.get(argument) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(ExchangeOptionsError::ArgumentType { argument, type_name: value.type_name() }),
        },
    };
    let header = text("hash-header")?.or(text("x-hash-on")?);
    match (header, text("hash-property")?) {
        (None, None) => Ok(HashSource::RoutingKey),
        (Some(header), None) => Ok(HashSource::Header(header.to_owned())),
        (None, Some("correlation_id")) => Ok(HashSource::CorrelationId),
        (None, Some("message_id")) => Ok(HashSource::MessageId),
        (None, Some("timestamp")) => Ok(HashSource::Timestamp),
        (None, Some(other)) => Err(ExchangeOptionsError::HashProperty(other.to_owned())),
        (Some(_), Some(_)) => Err(ExchangeOptionsError::HashBoth),
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
        let arguments = FieldTable::new().with("x-delayed-type", "topic");
        for &kind in ExchangeKind::ALL {
            assert_eq!(read(kind.name(), arguments.clone()).unwrap().kind, kind);
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
    fn a_hash_has_one_source_under_rabbitmqs_and_lavinmqs_names() {
        let source = |arguments| read("x-consistent-hash", arguments).map(|options| options.hash_on);
        let table = FieldTable::new;
        assert_eq!(source(table()), Ok(HashSource::RoutingKey));
        for name in ["hash-header", "x-hash-on"] {
            assert_eq!(source(table().with(name, "user")), Ok(HashSource::Header("user".into())));
        }
        for (name, property) in [
            ("correlation_id", HashSource::CorrelationId),
            ("message_id", HashSource::MessageId),
            ("timestamp", HashSource::Timestamp),
        ] {
            assert_eq!(source(table().with("hash-property", name)), Ok(property));
        }
        assert_eq!(source(table().with("x-algorithm", "jump")), Ok(HashSource::RoutingKey));
        let error = |arguments| source(arguments).unwrap_err().text("e", "/");
        assert_eq!(error(table().with("hash-property", "priority")), "Unsupported property: priority");
        let both = table().with("hash-property", "message_id").with("hash-header", "user");
        assert_eq!(error(both), "hash-header and hash-property are mutually exclusive");
        let number = error(table().with("hash-header", 1));
        assert_eq!(number, "invalid type 'signedint' for arg 'hash-header' in exchange 'e' in vhost '/'");
        assert!(read("direct", table().with("hash-header", 1)).is_ok(), "none of its business");
    }

    #[test]
    fn a_delayed_exchange_names_another_kind_that_it_routes_as() {
        let kind = |arguments| read("x-delayed-message", arguments);
        let inner = |name: &str| FieldTable::new().with("x-delayed-type", name);
        assert_eq!(kind(inner("topic")).unwrap().routes_as(), ExchangeKind::Topic);
        let hash = kind(inner("x-consistent-hash").with("hash-header", "user")).unwrap();
        assert_eq!(hash.hash_on, HashSource::Header("user".into()));
        for arguments in [FieldTable::new(), inner("x-delayed-message"), inner("nonsense")] {
            let error = kind(arguments).unwrap_err();
            assert_eq!(error, ExchangeOptionsError::DelayedKind);
            assert_eq!(error.reply_code(), ReplyCode::PreconditionFailed);
        }
    }

    #[test]
    fn any_exchange_can_drop_duplicates_and_one_kind_always_does() {
        let on = FieldTable::new().with("x-message-deduplication", true).with("x-cache-size", 5);
        assert_eq!(read("direct", on).unwrap().deduplication.unwrap().size, 5);
        assert_eq!(read("direct", FieldTable::new()).unwrap().deduplication, None);
        let kind = read("x-message-deduplication", FieldTable::new().with("x-cache-size", 7)).unwrap();
        assert_eq!(kind.routes_as(), ExchangeKind::Fanout);
        assert_eq!(kind.deduplication.unwrap().size, 7);
        let error = read("x-message-deduplication", FieldTable::new().with("x-cache-size", 0)).unwrap_err();
        let text = "invalid arg 'x-cache-size' for exchange 'e' in vhost '/': {value_zero,0}";
        assert_eq!((error.text("e", "/").as_str(), error.reply_code().number()), (text, 406));
    }

    #[test]
    fn unknown_arguments_are_kept() {
        let arguments = FieldTable::new().with("x-colour", "red");
        assert_eq!(read("fanout", arguments.clone()).unwrap().arguments, arguments);
    }
}
