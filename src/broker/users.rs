//! Who may log in. Both protocols ask here.

use std::collections::HashMap;

use subtle::ConstantTimeEq;
use thiserror::Error;

/// Names and passwords, and RabbitMQ's rule that `guest` logs in from this machine only.
#[derive(Clone)]
pub struct Users {
    passwords: HashMap<String, String>,
    guest_loopback_only: bool,
}

/// Why a login is refused. The client is told only that it was refused, not which part was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoginError {
    /// A mechanism that the broker does not have.
    #[error("SASL mechanism '{0}' is not supported; use PLAIN")]
    UnknownMechanism(String),
    /// A response that is not what the mechanism prescribes.
    #[error("malformed SASL PLAIN response: expected NUL user NUL password")]
    Malformed,
    /// Wrong name or password, or a user who may not come from there.
    #[error("login was refused using authentication mechanism PLAIN: check user and password")]
    Refused {
        /// Who it was, for the log.
        user: String,
    },
}

impl Users {
    /// Users with their passwords.
    pub fn new(passwords: impl IntoIterator<Item = (String, String)>, guest_loopback_only: bool) -> Self {
        Users { passwords: passwords.into_iter().collect(), guest_loopback_only }
    }

    /// Checks a SASL login (RFC 4616 for PLAIN) and gives the user's name.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub fn login(&self, mechanism: &str, response: &[u8], from_loopback: bool) -> Result<String, LoginError> {
        if mechanism != "PLAIN" {
            return Err(LoginError::UnknownMechanism(mechanism.to_owned()));
        }
        let mut parts = response.split(|&byte| byte == 0).map(std::str::from_utf8);
        let (Some(Ok(_)), Some(Ok(user)), Some(Ok(password)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(LoginError::Malformed);
        };
        // An unknown user takes as long as a known one.
        let known = self.passwords.get(user);
        let expected = known.map_or(password, String::as_str);
        let right = bool::from(expected.as_bytes().ct_eq(password.as_bytes())) && known.is_some();
        let may_come = user != "guest" || from_loopback || !self.guest_loopback_only;
        match right && may_come {
            true => Ok(user.to_owned()),
            false => Err(LoginError::Refused { user: user.to_owned() }),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Users::new([("guest".to_owned(), "guest".to_owned())], true)
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("names", &self.passwords.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(response: &[u8], loopback: bool) -> Result<String, LoginError> {
        Users::default().login("PLAIN", response, loopback)
    }

    #[test]
    fn guest_logs_in_from_this_machine_only() {
        assert_eq!(check(b"\0guest\0guest", true), Ok("guest".into()));
        assert_eq!(check(b"\0guest\0guest", false), Err(LoginError::Refused { user: "guest".into() }));
    }

    #[test]
    fn wrong_and_malformed_logins_are_refused() {
        assert!(matches!(check(b"\0guest\0wrong", true), Err(LoginError::Refused { .. })));
        assert!(matches!(check(b"\0nobody\0guest", true), Err(LoginError::Refused { .. })));
        for malformed in [&b""[..], b"guest", b"\0guest", b"\0a\0b\0c", b"\0\xff\0x"] {
            assert_eq!(check(malformed, true), Err(LoginError::Malformed));
        }
        assert!(matches!(
            Users::default().login("EXTERNAL", b"", true),
            Err(LoginError::UnknownMechanism(_))
        ));
    }
}
