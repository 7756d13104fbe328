//! The first eight bytes of a connection: which protocol, in which version.
//!
//! ```text
//!  0   1   2   3   4   5   6       7
//!  +---+---+---+---+---+---+-------+-------+
//!  | R | I | A | L | T | O | major | minor |
//!  +---+---+---+---+---+---+-------+-------+
//! ```
//!
//! Invariant: the first byte already differs from AMQP's `A`, so one port can serve both protocols.

/// Version whose change makes old peers unable to talk to new ones.
pub const VERSION_MAJOR: u8 = 1;

/// Version that grows with every addition that an old peer would not understand.
pub const VERSION_MINOR: u8 = 0;

/// What a client of this version sends first, and what a server answers to a version that it does not speak.
pub const PREFACE: [u8; 8] = [b'R', b'I', b'A', b'L', b'T', b'O', VERSION_MAJOR, VERSION_MINOR];

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefaceCheck {
    /// Fewer than eight bytes, all good so far.
    NeedMore,
    /// The native protocol in a version that we speak. Frames follow the eight bytes.
    Accepted,
    /// The native protocol in another version. A server answers [`PREFACE`] and closes; a client that reads
    /// this was refused, and knows the version to use.
    OtherVersion {
        /// The peer's major version.
        major: u8,
        /// The peer's minor version.
        minor: u8,
    },
    /// Another protocol.
    NotNative,
}

/// Judges the first bytes of a connection as soon as they can be judged.
///
/// A version is accepted if its major number is ours and its minor number is not above ours.
///
/// ```
/// use rialto_protocol::native::{PREFACE, PrefaceCheck, check_preface};
/// assert_eq!(check_preface(&PREFACE), PrefaceCheck::Accepted);
/// assert_eq!(check_preface(b"RIAL"), PrefaceCheck::NeedMore);
/// assert_eq!(check_preface(b"AMQP\x00\x00\x09\x01"), PrefaceCheck::NotNative);
/// ```
pub fn check_preface(bytes: &[u8]) -> PrefaceCheck {
    let magic = &PREFACE[..6];
    let seen = bytes.len().min(magic.len());
    if bytes[..seen] != magic[..seen] {
        return PrefaceCheck::NotNative;
    }
    match bytes.get(6..8) {
        None => PrefaceCheck::NeedMore,
        Some(&[VERSION_MAJOR, 0..=VERSION_MINOR]) => PrefaceCheck::Accepted,
        Some(version) => PrefaceCheck::OtherVersion { major: version[0], minor: version[1] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_the_preface_waits_for_more() {
        for end in 0..PREFACE.len() {
            assert_eq!(check_preface(&PREFACE[..end]), PrefaceCheck::NeedMore, "cut at {end}");
        }
    }

    #[test]
    fn other_versions_are_named() {
        assert_eq!(check_preface(b"RIALTO\x02\x00"), PrefaceCheck::OtherVersion { major: 2, minor: 0 });
        assert_eq!(check_preface(b"RIALTO\x01\x01"), PrefaceCheck::OtherVersion { major: 1, minor: 1 });
        assert_eq!(check_preface(b"RIALTO\x00\x09"), PrefaceCheck::OtherVersion { major: 0, minor: 9 });
    }

    #[test]
    fn strangers_are_told_apart_at_their_first_wrong_byte() {
        assert_eq!(check_preface(b"A"), PrefaceCheck::NotNative);
        assert_eq!(check_preface(b"RIALTX"), PrefaceCheck::NotNative);
        assert_eq!(check_preface(b"GET / HTTP/1.1"), PrefaceCheck::NotNative);
    }
}
