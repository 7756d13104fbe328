//! A host and a port to accept connections on.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

use super::units;

/// A host (name, IPv4 or IPv6 address) and a port. Shown as `host:port`, an IPv6 address in brackets, which is
/// what `TcpListener::bind` takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

/// A text that is not a [`ListenAddress`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not an address to listen on ({problem}); write host:port, like \"127.0.0.1:5672\" or \"[::]:5672\""
)]
pub struct ListenAddressError {
    text: String,
    problem: &'static str,
}

impl ListenAddress {
    /// A host (an IPv6 address without brackets) and a port; port 0 lets the system choose one.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 lets the system choose one.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let error = |problem| ListenAddressError { text: text.to_owned(), problem };
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(|| error("there is no port"))?;
        let host = match host.strip_prefix('[') {
            Some(inside) => inside.strip_suffix(']').ok_or_else(|| error("a bracket is not closed"))?,
            None if host.contains(':') => return Err(error("an IPv6 address needs brackets")),
            None => host,
        };
        if host.is_empty() {
            return Err(error("there is no host"));
        }
        if host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']')) {
            return Err(error("the host has characters that no host has"));
        }
        let port = port.parse().map_err(|_| error("the port is not a number from 0 to 65535"))?;
        Ok(Self::new(host, port))
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        units::text(from, "an address like \"127.0.0.1:5672\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_back_as_it_is_shown() {
        for text in ["127.0.0.1:5672", "[::1]:5672", "localhost:0", "broker.example:65535"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, problem) in [
            ("127.0.0.1", "no port"),
            (":5672", "no host"),
            ("::1:5672", "brackets"),
            ("[::1:5672", "not closed"),
            ("localhost:70000", "65535"),
            ("rialto://localhost:5672", "brackets"),
            ("", "no port"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
