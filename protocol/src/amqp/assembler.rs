//! Method, content header and bodies of one channel, back together.
//!
//! ```text
//! idle --begin--> awaits header --header--> awaits body --body, complete--> idle
//! ```
//!
//! Invariants: a message is complete exactly when the announced bytes have come; a body that comes in one frame
//! is lent, not copied; memory grows with what has arrived, never with what was announced. After an error the
//! state is as before the frame. Not here: limits of a body's size (the caller's, who sees the header first).

use super::content::ContentHeader;
use super::error::ContentError;
use super::limits::ASSEMBLY_KEPT_MAX;
use super::method::MethodId;

/// What a channel has received of a method with content.
#[derive(Debug, Default)]
pub struct ContentAssembler {
    state: State,
    method: Vec<u8>,
    properties: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No content is due.
    #[default]
    Idle,
    AwaitsHeader(MethodId),
    AwaitsBody {
        method: MethodId,
        announced: u64,
    },
}

/// A method with its content, complete. It can be read until the assembler is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assembled<'a> {
    /// The payload of the method frame.
    pub method: &'a [u8],
    /// Flags and fields, checked.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl ContentAssembler {
    /// Whether no content is due, so that a method may come.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// What is wrong if a method frame comes now; `None` when it may.
    pub fn interrupted(&self) -> Option<ContentError> {
        match self.state {
            State::Idle => None,
            State::AwaitsHeader(method) => Some(ContentError::ExpectedHeader { class: method.class }),
            State::AwaitsBody { .. } => Some(ContentError::ExpectedBody),
        }
    }

    /// The method whose content is due: the offender when content goes wrong.
    pub fn method(&self) -> Option<MethodId> {
        match self.state {
            State::Idle => None,
            State::AwaitsHeader(method) | State::AwaitsBody { method, .. } => Some(method),
        }
    }

    /// A method with content has come; its payload is kept until the content is complete.
    ///
    /// To be called only when idle: content that was due is forgotten.
    pub fn begin(&mut self, method_payload: &[u8]) {
        debug_assert!(self.is_idle(), "the caller asks `interrupted` before");
        let class_only = MethodId { class: MethodId::BASIC_PUBLISH.class, method: 0 };
        self.trim();
        self.body.clear();
        refill(&mut self.method, method_payload);
        self.state = State::AwaitsHeader(MethodId::of(method_payload).unwrap_or(class_only));
    }

    /// A header frame has come. `Some`: the message is complete, as it has no body.
    pub fn header(&mut self, header: &ContentHeader<'_>) -> Result<Option<Assembled<'_>>, ContentError> {
        let method = match self.state {
            State::Idle => return Err(ContentError::ExpectedMethod),
            State::AwaitsBody { .. } => return Err(ContentError::ExpectedBody),
            State::AwaitsHeader(method) => method,
        };
        if header.weight != 0 {
            return Err(ContentError::ExpectedHeader { class: method.class });
        }
        if header.class != method.class {
            return Err(ContentError::WrongClass { expected: method.class, got: header.class });
        }
        refill(&mut self.properties, header.property_bytes);
        if header.body_size == 0 {
            self.state = State::Idle;
            return Ok(Some(Assembled { method: &self.method, properties: &self.properties, body: &[] }));
        }
        self.state = State::AwaitsBody { method, announced: header.body_size };
        Ok(None)
    }

    /// A body frame has come. `Some`: the message is complete.
    pub fn body<'a>(&'a mut self, payload: &'a [u8]) -> Result<Option<Assembled<'a>>, ContentError> {
        let announced = match self.state {
            State::Idle => return Err(ContentError::ExpectedMethod),
            State::AwaitsHeader(method) => return Err(ContentError::ExpectedHeader { class: method.class }),
            State::AwaitsBody { announced, .. } => announced,
        };
        let received = self.body.len() as u64 + payload.len() as u64;
        if received > announced {
            return Err(ContentError::BodyTooLong { announced, received });
        }
        let in_one = self.body.is_empty();
        if received < announced {
            self.body.extend_from_slice(payload);
            return Ok(None);
        }
        self.state = State::Idle;
        if !in_one {
            self.body.extend_from_slice(payload);
        }
        let body = if in_one { payload } else { &self.body };
        Ok(Some(Assembled { method: &self.method, properties: &self.properties, body }))
    }

    /// Bytes of a body that is not complete.
    pub fn held_bytes(&self) -> usize {
        if self.is_idle() { 0 } else { self.body.len() }
    }

    /// Bytes of properties and body of a message that is not complete: what a limit should count.
    pub fn incomplete_bytes(&self) -> usize {
        match self.state {
            State::Idle | State::AwaitsHeader(_) => 0,
            State::AwaitsBody { .. } => self.properties.len() + self.body.len(),
        }
    }

    /// The body size, from the header on until the body is complete.
    pub fn announced(&self) -> Option<u64> {
        match self.state {
            State::AwaitsBody { announced, .. } => Some(announced),
            State::Idle | State::AwaitsHeader(_) => None,
        }
    }

    /// Forgets content that is due: the channel was closed by an error, and the rest is passed over by the caller.
    pub fn reset(&mut self) {
        self.state = State::Idle;
        self.trim();
    }

    /// Gives back room beyond [`ASSEMBLY_KEPT_MAX`] when idle. The next message does so too; call it when there
    /// may be none for long.
    pub fn trim(&mut self) {
        if self.is_idle() {
            for buffer in [&mut self.method, &mut self.properties, &mut self.body] {
                if buffer.capacity() > ASSEMBLY_KEPT_MAX {
                    *buffer = Vec::new();
                }
            }
        }
    }
}

fn refill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RawProperties;

    const PUBLISH: &[u8] = &[0, 60, 0, 40, 0, 0, 0, 1, b'q', 0];
    const NEEDS_METHOD: &str = "expected method frame, got non method frame instead";
    const NEEDS_HEADER: &str = "expected content header for class 60, got non content header frame instead";
    const NEEDS_BODY: &str = "expected content body, got non content body frame instead";

    fn header(body_size: u64) -> ContentHeader<'static> {
        let property_bytes = &[0, 0];
        let properties = RawProperties::trusted(property_bytes);
        ContentHeader { class: 60, weight: 0, body_size, properties, property_bytes }
    }

    fn begun() -> ContentAssembler {
        let mut assembler = ContentAssembler::default();
        assembler.begin(PUBLISH);
        assembler
    }

    fn with_header(body_size: u64) -> ContentAssembler {
        let mut assembler = begun();
        assert_eq!(assembler.header(&header(body_size)), Ok(None));
        assembler
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ContentError>, says: &str) {
        let error = result.expect_err("the frame is out of place");
        assert_eq!(error.to_string(), says);
        assert_eq!(error.reply_code().number(), 505);
    }

    #[test]
    fn an_empty_body_is_complete_with_its_header() {
        let mut assembler = begun();
        let whole = Assembled { method: PUBLISH, properties: &[0, 0], body: &[] };
        assert_eq!(assembler.header(&header(0)), Ok(Some(whole)));
        assert!(assembler.is_idle());
        refused(assembler.body(b""), NEEDS_METHOD);
    }

    #[test]
    fn a_body_in_one_frame_is_lent() {
        let mut assembler = with_header(4);
        let payload = b"body";
        let whole = assembler.body(payload).unwrap().unwrap();
        assert_eq!(whole.body.as_ptr(), payload.as_ptr());
        assert_eq!((whole.method, whole.properties), (PUBLISH, &[0, 0][..]));
        assert_eq!(assembler.body.capacity(), 0, "nothing was copied");
    }

    #[test]
    fn a_body_in_many_frames_is_complete_with_its_last_byte() {
        let mut assembler = with_header(6);
        for (part, held) in [(&b""[..], 0), (b"ab", 2), (b"", 2), (b"cde", 5)] {
            assert_eq!(assembler.body(part), Ok(None));
            assert_eq!((assembler.held_bytes(), assembler.announced()), (held, Some(6)));
        }
        assert_eq!(assembler.body(b"f").unwrap().unwrap().body, b"abcdef");
        assert!(assembler.is_idle());
        assert_eq!((assembler.held_bytes(), assembler.announced()), (0, None));
    }

    #[test]
    fn frames_out_of_place_are_505_in_rabbitmqs_words_and_name_their_method() {
        let mut idle = ContentAssembler::default();
        refused(idle.header(&header(1)), NEEDS_METHOD);
        refused(idle.body(b"x"), NEEDS_METHOD);
        assert_eq!((idle.interrupted(), idle.method()), (None, None));

        let mut begun = begun();
        refused(begun.body(b"x"), NEEDS_HEADER);
        refused(begun.interrupted().map_or(Ok(()), Err), NEEDS_HEADER);
        refused(begun.header(&ContentHeader { weight: 1, ..header(1) }), NEEDS_HEADER);
        refused(
            begun.header(&ContentHeader { class: 50, ..header(1) }),
            "expected content header for class 60, got one for class 50 instead",
        );
        assert_eq!(begun.method(), Some(MethodId::BASIC_PUBLISH));

        let mut awaits_body = with_header(3);
        refused(awaits_body.header(&header(3)), NEEDS_BODY);
        refused(awaits_body.interrupted().map_or(Ok(()), Err), NEEDS_BODY);
        assert_eq!(awaits_body.method(), Some(MethodId::BASIC_PUBLISH));
    }

    #[test]
    fn more_body_than_announced_is_refused_in_any_frame() {
        let too_much = "expected content body of 3 bytes, got 4 bytes instead";
        refused(with_header(3).body(b"abcd"), too_much);
        let mut assembler = with_header(3);
        assert_eq!(assembler.body(b"ab"), Ok(None));
        refused(assembler.body(b"cd"), too_much);
        assert_eq!(assembler.held_bytes(), 2, "an error changes nothing");
    }

    #[test]
    fn an_announced_size_costs_nothing() {
        let mut assembler = with_header(u64::MAX);
        assert_eq!(assembler.body(b"ab"), Ok(None));
        assert!(assembler.body.capacity() < 1024, "{}", assembler.body.capacity());
    }

    #[test]
    fn after_a_reset_the_next_message_starts_anew() {
        let mut assembler = with_header(5);
        assert_eq!(assembler.body(b"ab"), Ok(None));
        assembler.reset();
        assert!(assembler.is_idle());
        assert_eq!(assembler.held_bytes(), 0);
        assembler.begin(PUBLISH);
        assert_eq!(assembler.header(&header(4)), Ok(None));
        assert_eq!(assembler.body(b"cd"), Ok(None));
        assert_eq!(assembler.body(b"ef").unwrap().unwrap().body, b"cdef");
    }

    #[test]
    fn room_at_the_limit_is_kept_and_more_is_given_back() {
        for (len, kept) in [(ASSEMBLY_KEPT_MAX, true), (ASSEMBLY_KEPT_MAX + 1, false)] {
            let mut assembler = with_header(len as u64 + 1);
            assembler.body.reserve_exact(len);
            assert_eq!(assembler.body(&vec![0; len]), Ok(None));
            assembler.trim();
            assert_eq!(assembler.held_bytes(), len, "what is due stays");
            assembler.reset();
            assert_eq!(assembler.body.capacity() != 0, kept, "{len} bytes");
        }
    }
}
