//! Where a broker is and who is calling: `rialto://user:password@host:port/vhost`, or `rialtos://` for TLS.
//!
//! User, password and vhost are percent-decoded. What is left out has a default: user and password `guest`,
//! port 5672 (5671 with TLS), vhost `/`. An empty path and `/` both mean the vhost `/`; `/%2f` spells it out.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::error::Error;

/// The port of a broker unless the address names another.
pub const DEFAULT_PORT: u16 = 5672;

/// The port of a broker that speaks TLS only, unless the address names another.
pub const DEFAULT_TLS_PORT: u16 = 5671;

/// A broker's address with credentials and vhost.
///
/// ```
/// use rialto_client::Address;
/// let address: Address = "rialto://ann:p%40ss@broker.example:5673/shop".parse().unwrap();
/// assert_eq!((address.user.as_str(), address.password.as_str()), ("ann", "p@ss"));
/// assert_eq!((address.host.as_str(), address.port, address.vhost.as_str()), ("broker.example", 5673, "shop"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the connection is encrypted: `rialtos://`.
    pub is_tls: bool,
    /// Host name or IP address (IPv6 without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The vhost to work in.
    pub vhost: String,
    /// The user.
    pub user: String,
    /// The password. Never shown by `Debug` or `Display`.
    pub password: String,
}

impl Address {
    /// Host and port, as errors and logs name the broker.
    pub fn endpoint(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Default for Address {
    fn default() -> Self {
        Address {
            is_tls: false,
            host: "localhost".into(),
            port: DEFAULT_PORT,
            vhost: "/".into(),
            user: "guest".into(),
            password: "guest".into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rialtos" } else { "rialto" };
        write!(f, "{scheme}://{}@{}/{}", self.user, self.endpoint(), self.vhost.trim_start_matches('/'))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut address = Address::default();
        let rest = match text.split_once("://") {
            Some(("rialto", rest)) => rest,
            Some(("rialtos", rest)) => {
                address.is_tls = true;
                address.port = DEFAULT_TLS_PORT;
                rest
            }
            Some((scheme, _)) => {
                return Err(invalid(format!("the scheme is {scheme:?}, neither \"rialto\" nor \"rialtos\"")));
            }
            None => return Err(invalid("it has no scheme".into())),
        };
        if rest.contains(['?', '#']) {
            return Err(invalid("it has a query or a fragment, which mean nothing here".into()));
        }
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        if !vhost.is_empty() {
            address.vhost = decoded("vhost", vhost)?;
        }
        // The last `@` ends the credentials: a password may carry one that nobody encoded.
        let endpoint = match authority.rsplit_once('@') {
            Some((credentials, endpoint)) => {
                let (user, password) = match credentials.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (credentials, None),
                };
                address.user = decoded("user", user)?;
                if let Some(password) = password {
                    address.password = decoded("password", password)?;
                }
                endpoint
            }
            None => authority,
        };
        let (host, port) = split_endpoint(endpoint)?;
        if !host.is_empty() {
            address.host = host.into();
        }
        if let Some(port) = port {
            address.port = match port.parse() {
                Ok(0) | Err(_) => return Err(invalid(format!("{port:?} is not a port"))),
                Ok(port) => port,
            };
        }
        Ok(address)
    }
}

fn split_endpoint(endpoint: &str) -> Result<(&str, Option<&str>), Error> {
    if let Some(inner) = endpoint.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or_else(|| invalid("the [ is never closed".into()))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(invalid(format!("{after:?} follows the host"))),
        };
    }
    match endpoint.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(invalid("an IPv6 address needs [brackets]".into())),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((endpoint, None)),
    }
}

fn decoded(what: &str, text: &str) -> Result<String, Error> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if text.len() > 255 => Err(invalid(format!("the {what} is longer than 255 bytes"))),
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid(format!("the {what} is not UTF-8 after percent-decoding"))),
    }
}

fn invalid(problem: String) -> Error {
    Error::InvalidAddress { problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        assert_eq!(parsed("rialto://"), Address::default());
        assert_eq!(parsed("rialto://localhost/"), Address::default());
        assert_eq!(parsed("rialto://localhost/%2f"), Address::default());
        assert_eq!(parsed("rialto://ann@").password, "guest");
    }

    #[test]
    fn encryption_is_asked_for_by_the_scheme() {
        let address = parsed("rialtos://mq.example");
        assert_eq!((address.is_tls, address.port), (true, DEFAULT_TLS_PORT));
        assert_eq!(address.to_string(), "rialtos://guest@mq.example:5671/");
        assert_eq!(parsed("rialtos://mq.example:5672").port, 5672);
    }

    #[test]
    fn parts_are_percent_decoded() {
        let address = parsed("rialto://a%3Ab:c%2Fd@h:1/v%20h");
        assert_eq!((&*address.user, &*address.password, &*address.vhost), ("a:b", "c/d", "v h"));
    }

    #[test]
    fn ipv6_hosts_stand_in_brackets() {
        let address = parsed("rialto://[::1]:5673/");
        assert_eq!((&*address.host, address.port), ("::1", 5673));
        assert_eq!(address.endpoint(), "[::1]:5673");
        assert!("rialto://::1".parse::<Address>().is_err());
    }

    #[test]
    fn unusable_addresses_say_what_is_wrong() {
        for (text, problem) in [
            ("localhost", "no scheme"),
            ("amqp://localhost", "amqp"),
            ("rialto://h:0/", "port"),
            ("rialto://h:x/", "port"),
            ("rialto://h/v?x=1", "query"),
            ("rialto://%ff@h/", "UTF-8"),
            ("rialto://[::1/", "closed"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let address = parsed("rialto://ann:secret@h/");
        assert!(!format!("{address} {address:?}").contains("secret"));
    }
}
