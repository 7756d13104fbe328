//! The one table of reply codes: name, number, and how far each reaches.
//!
//! Both protocols use it (AMQP 0-9-1 section 1.2 "constants"; RabbitMQ's `rabbit_framing_amqp_0_9_1`).
//! Invariant: a number appears in this file and nowhere else.

use std::fmt;

/// How much of a connection an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nothing is closed: the code informs (success, returned messages).
    Message,
    /// The channel is closed, or over the native protocol the one request fails.
    Channel,
    /// The whole connection is closed.
    Connection,
}

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $scope:ident;)*) => {
        /// Why something was refused, returned or closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReplyCode {
            $($(#[$doc])* $variant,)*
        }

        impl ReplyCode {
            /// Every code, in numeric order.
            pub const ALL: &'static [ReplyCode] = &[$(ReplyCode::$variant,)*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self { $(ReplyCode::$variant => $number,)* }
            }

            /// The name that opens every reply text, as RabbitMQ writes it (`NOT_FOUND`).
            pub const fn name(self) -> &'static str {
                match self { $(ReplyCode::$variant => $name,)* }
            }

            /// What the code ends.
            pub const fn scope(self) -> Scope {
                match self { $(ReplyCode::$variant => Scope::$scope,)* }
            }

            /// The code with this number, if there is one.
            pub const fn from_number(number: u16) -> Option<ReplyCode> {
                match number { $($number => Some(ReplyCode::$variant),)* _ => None }
            }
        }
    };
}

reply_codes! {
    /// An orderly close.
    Success = 200, "REPLY_SUCCESS", Message;
    /// Reserved by AMQP for oversized content; RabbitMQ answers 406 instead.
    ContentTooLarge = 311, "CONTENT_TOO_LARGE", Channel;
    /// A mandatory message reached no queue and is returned.
    NoRoute = 312, "NO_ROUTE", Message;
    /// An immediate message found no consumer (not used: `immediate` is refused).
    NoConsumers = 313, "NO_CONSUMERS", Message;
    /// The broker or an operator closed the connection.
    ConnectionForced = 320, "CONNECTION_FORCED", Connection;
    /// Reserved: an unknown vhost is `NotAllowed` today.
    InvalidPath = 402, "INVALID_PATH", Connection;
    /// Bad credentials, a missing permission, a reserved name, a consumer that must be alone.
    AccessRefused = 403, "ACCESS_REFUSED", Channel;
    /// No such queue, exchange or vhost.
    NotFound = 404, "NOT_FOUND", Channel;
    /// An exclusive queue of another connection.
    ResourceLocked = 405, "RESOURCE_LOCKED", Channel;
    /// A condition named by the client does not hold, or an argument is invalid.
    PreconditionFailed = 406, "PRECONDITION_FAILED", Channel;
    /// The bytes cannot be cut into frames.
    FrameError = 501, "FRAME_ERROR", Connection;
    /// A frame's fields cannot be read.
    SyntaxError = 502, "SYNTAX_ERROR", Connection;
    /// A command that does not exist, or not in this state of the connection.
    CommandInvalid = 503, "COMMAND_INVALID", Connection;
    /// A channel that is not open, or is open already.
    ChannelError = 504, "CHANNEL_ERROR", Connection;
    /// A frame that cannot stand where it stands.
    UnexpectedFrame = 505, "UNEXPECTED_FRAME", Connection;
    /// The broker cannot give what was asked for now.
    ResourceError = 506, "RESOURCE_ERROR", Connection;
    /// Something that the rules of the connection forbid.
    NotAllowed = 530, "NOT_ALLOWED", Connection;
    /// A known feature that this broker does not have.
    NotImplemented = 540, "NOT_IMPLEMENTED", Connection;
    /// A defect of the broker.
    InternalError = 541, "INTERNAL_ERROR", Connection;
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_codes() {
        for &code in ReplyCode::ALL {
            assert_eq!(ReplyCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ReplyCode::from_number(0), None);
    }

    #[test]
    fn five_hundreds_end_the_connection() {
        for &code in ReplyCode::ALL {
            assert_eq!(code.number() >= 500, code.scope() == Scope::Connection && code.number() >= 500);
        }
    }
}
