//! The types of exchanges, by their names on the wire.

use std::fmt;

/// What kind of exchange it was declared as.
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
    /// One binding, chosen by a hash: always the same for the same key, and in proportion to the bindings' weights.
    ConsistentHash,
    /// Messages wait for as long as their header `x-delay` says, then go as another kind would route them.
    Delayed,
    /// Every binding, but none for a message that was published before.
    Deduplication,
}

impl ExchangeKind {
    /// Every kind.
    pub const ALL: &'static [ExchangeKind] = &[
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
        ExchangeKind::ConsistentHash,
        ExchangeKind::Delayed,
        ExchangeKind::Deduplication,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::Delayed => "x-delayed-message",
            ExchangeKind::Deduplication => "x-message-deduplication",
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
