//! Where the HTTP API of a broker is, and who calls: `http://user:password@host:port`.

use std::fmt;

use percent::decode;

use crate::config::Secret;

/// The port of the API unless the address names another.
const DEFAULT_PORT: u16 = 15672;

/// An address, checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ApiAddress {
    /// Without credentials and without a path: `http://host:port`.
    pub(super) origin: String,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
}

impl fmt::Debug for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiAddress").field(&self.origin).field(&self.user).finish()
    }
}

impl ApiAddress {
    /// Reads an address; what is left out is that of a broker on this machine.
    ///
    /// # Errors
    /// What is wrong, without the text itself, which may have a password in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it does not begin with http:// or https://")?;
        if !matches!(scheme, "http" | "https") {
            return Err("it does not begin with http:// or https://".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path.trim_end_matches('/'), "" | "api") {
            return Err("it has a path; the API is always at /api".to_owned());
        }
        // The last `@` ends the credentials: a password may carry one that nobody encoded.
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (host, None),
        };
        let is_bracketed = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || (name.contains(':') && !is_bracketed) {
            return Err("the host is missing, or is an IPv6 address without [brackets]".to_owned());
        }
        if name.chars().any(|c| c.is_control() || c.is_whitespace() || "?#\\".contains(c)) {
            return Err("the host has characters that no host has".to_owned());
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("the port is not a port")?,
            None => DEFAULT_PORT,
        };
        let (user, password) = match credentials {
            None => ("guest".to_owned(), Some(Secret::new("guest"))),
            Some(credentials) => match credentials.split_once(':') {
                Some((user, password)) => (decode(user)?, Some(Secret::new(decode(password)?))),
                None => (decode(credentials)?, None),
            },
        };
        Ok(ApiAddress { origin: format!("{scheme}://{name}:{port}"), user, password })
    }

    /// That of the broker which the other commands talk to, on the API's usual port. None if they speak TLS: its password must
    /// not cross the network in clear text because somebody left out an address.
    pub(super) fn beside(broker: &rialto_client::Address) -> Option<Self> {
        if broker.is_tls {
            return None;
        }
        let host = match broker.host.contains(':') {
            true => format!("[{}]", broker.host),
            false => broker.host.clone(),
        };
        Some(ApiAddress {
            origin: format!("http://{host}:{DEFAULT_PORT}"),
            user: broker.user.clone(),
            password: Some(Secret::new(&broker.password)),
        })
    }
}

/// That of a broker on this machine, as it is when nobody has changed anything.
impl Default for ApiAddress {
    fn default() -> Self {
        ApiAddress {
            origin: format!("http://127.0.0.1:{DEFAULT_PORT}"),
            user: "guest".to_owned(),
            password: Some(Secret::new("guest")),
        }
    }
}

/// Percent-encoding (RFC 3986, section 2.1).
pub(super) mod percent {
    /// One segment of a path, or a value of a query.
    pub(in crate::cli::admin) fn encode(text: &str) -> String {
        // On its own, such a segment would mean a folder.
        let is_dots = matches!(text, "." | "..");
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'.' if is_dots => out.push_str("%2E"),
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    }

    /// The text that was encoded.
    pub(super) fn decode(text: &str) -> Result<String, String> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            let hex = |at: usize| after.get(at).and_then(|digit| (*digit as char).to_digit(16));
            match (byte, hex(0), hex(1)) {
                (b'%', Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    rest = &after[2..];
                }
                _ => {
                    out.push(*byte);
                    rest = after;
                }
            }
        }
        String::from_utf8(out).map_err(|_| "user or password is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_that_of_a_broker_on_this_machine() {
        let address = ApiAddress::parse("http://localhost").unwrap();
        assert_eq!(address.origin, "http://localhost:15672");
        assert_eq!((address.user.as_str(), address.password.unwrap().reveal()), ("guest", "guest"));
        assert_eq!(ApiAddress::parse("https://[::1]:15671/api/").unwrap().origin, "https://[::1]:15671");
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let address = ApiAddress::parse("http://ann:p%40ss%2F@broker:1").unwrap();
        assert_eq!((address.user.as_str(), address.password.as_ref().unwrap().reveal()), ("ann", "p@ss/"));
        assert!(!format!("{address:?}").contains("p@ss"));
        assert!(ApiAddress::parse("http://ann@broker").unwrap().password.is_none());
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        for (text, problem) in [
            ("localhost:15672", "http://"),
            ("rialto://localhost", "http://"),
            ("http://", "host is missing"),
            ("http://::1", "brackets"),
            ("http://host:0", "port"),
            ("http://host:port", "port"),
            ("http://host/other", "/api"),
        ] {
            let told = ApiAddress::parse(text).unwrap_err();
            assert!(told.contains(problem), "{text}: {told}");
        }
    }

    #[test]
    fn names_are_one_segment_whatever_they_hold() {
        assert_eq!(percent::encode("/"), "%2F");
        assert_eq!(percent::encode(".."), "%2E%2E");
        assert_eq!(percent::encode("a.b c?é"), "a.b%20c%3F%C3%A9");
        assert_eq!(percent::decode("a%2fb%zz%").unwrap(), "a/b%zz%");
    }
}
