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
