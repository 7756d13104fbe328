//! The ways to log in, by SASL's names, and what a response of each says.
//!
//! Not here: whether it is right (`login`), the steps of SCRAM (`scram`).

use rialto_protocol::types::{FieldTable, FieldValue};

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// RFC 4616: name and password.
    Plain,
    /// Name and password in an AMQP table.
    AmqPlain,
    /// The client's certificate.
    External,
    /// RFC 7677.
    Scram,
}

impl Mechanism {
    pub(super) const ALL: [Mechanism; 4] =
        [Mechanism::Plain, Mechanism::AmqPlain, Mechanism::Scram, Mechanism::External];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::AmqPlain => "AMQPLAIN",
            Mechanism::External => "EXTERNAL",
            Mechanism::Scram => "SCRAM-SHA-256",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// What a response is expected to be, for whoever sends another.
    pub(super) const fn expects(self) -> &'static str {
        match self {
            Mechanism::Plain => "NUL user NUL password",
            Mechanism::AmqPlain => "a table with the strings LOGIN and PASSWORD",
            Mechanism::External => "nothing, or the name that the certificate has",
            Mechanism::Scram => "the messages of RFC 5802, without channel binding",
        }
    }
}

/// Name and password of a PLAIN response. Whom the client wants to act for (the part before the first NUL) is not
/// asked, as in RabbitMQ.
pub(super) fn read_plain(response: &[u8]) -> Option<(&str, &str)> {
    let mut parts = response.split(|&byte| byte == 0).map(std::str::from_utf8);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(_)), Some(Ok(user)), Some(Ok(password)), None) => Some((user, password)),
        _ => None,
    }
}

/// Name and password of an AMQPLAIN response: a table without its length.
pub(super) fn read_amqplain(response: &[u8]) -> Option<(String, String)> {
    let length = u32::try_from(response.len()).ok()?;
    let table = FieldTable::decode(&[&length.to_be_bytes(), response].concat()).ok()?;
    let text = |name| table.get(name).and_then(FieldValue::as_str).map(str::to_owned);
    Some((text("LOGIN")?, text("PASSWORD")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_or_refused() {
        assert_eq!(read_plain(b"\0u\0p"), Some(("u", "p")));
        assert_eq!(read_plain(b"other\0u\0p"), Some(("u", "p")));
        for malformed in [&b""[..], b"guest", b"\0guest", b"\0a\0b\0c", b"\0\xff\0x"] {
            assert_eq!(read_plain(malformed), None);
        }
        let table = FieldTable::new().with("LOGIN", "u").with("PASSWORD", "p");
        assert_eq!(read_amqplain(&table.encoded()[4..]), Some(("u".into(), "p".into())));
        assert_eq!(read_amqplain(&table.encoded()), None);
        assert_eq!(read_amqplain(b""), None);
    }
}
