//! The first eight bytes of a connection ("protocol-header" of AMQP 0-9-1, section 4.2.2).
//!
//! Not here: telling AMQP from other protocols on the same port, and answering (the broker's `server`).

/// What a client sends first, and what a server answers with to any other header before it closes.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The header of AMQP 0-9, which some clients send and then speak 0-9-1; RabbitMQ takes it as such.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\0\x09";

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCheck {
    /// They fit as far as they go, but there are fewer than eight.
    NeedMore,
    /// AMQP 0-9-1, by its own header or by the one of 0-9. Eight bytes are used.
    Accepted,
    /// Something else, or another version.
    Refused,
}

/// Judges the first bytes of a connection, as soon as one of them cannot be right.
///
/// ```
/// use rialto_protocol::amqp::{HeaderCheck, PROTOCOL_HEADER, check_protocol_header};
/// assert_eq!(check_protocol_header(&PROTOCOL_HEADER), HeaderCheck::Accepted);
/// assert_eq!(check_protocol_header(b"AMQ"), HeaderCheck::NeedMore);
/// assert_eq!(check_protocol_header(b"GET /"), HeaderCheck::Refused);
/// ```
pub fn check_protocol_header(bytes: &[u8]) -> HeaderCheck {
    let given = &bytes[..bytes.len().min(PROTOCOL_HEADER.len())];
    let fits = [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9].iter().any(|header| header.starts_with(given));
    match fits {
        false => HeaderCheck::Refused,
        true if given.len() < PROTOCOL_HEADER.len() => HeaderCheck::NeedMore,
        true => HeaderCheck::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_accepted_whatever_follows() {
        for header in [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9] {
            for end in 0..8 {
                assert_eq!(check_protocol_header(&header[..end]), HeaderCheck::NeedMore, "{end} bytes");
            }
            assert_eq!(check_protocol_header(&header), HeaderCheck::Accepted);
            assert_eq!(check_protocol_header(&[&header[..], b"more"].concat()), HeaderCheck::Accepted);
        }
    }

    #[test]
    fn anything_else_is_refused_at_the_first_byte_that_cannot_fit() {
        for (bytes, at) in [
            (&b"GET / HTTP/1.1"[..], 0),
            (b"\x16\x03\x01\x02\x00", 0),
            (b"AMQP\x03\x01\0\0", 4),
            (b"AMQP\0\x01\0\0", 5),
            (b"AMQP\0\0\x09\0", 7),
            (b"AMQP\x01\x01\x08\0", 6),
            (b"AMQP\x01\x01\x09\x01", 6),
        ] {
            assert_eq!(check_protocol_header(&bytes[..at]), HeaderCheck::NeedMore, "{bytes:?}");
            assert_eq!(check_protocol_header(&bytes[..=at]), HeaderCheck::Refused, "{bytes:?}");
            assert_eq!(check_protocol_header(bytes), HeaderCheck::Refused, "{bytes:?}");
        }
    }
}
