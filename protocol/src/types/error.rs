//! What can be wrong with encoded fields, and the glue between that and `nom`.

use nom::error::{ErrorKind, ParseError};
use nom::{Err, IResult};
use thiserror::Error;

/// Why bytes could not be read as the fields they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("{what} is cut short")]
    Truncated {
        /// The field that was being read.
        what: &'static str,
    },
    /// Bytes are left over behind the last field.
    #[error("{count} unexpected bytes after {what}")]
    TrailingBytes {
        /// What ended before the bytes did.
        what: &'static str,
        /// How many bytes are left.
        count: usize,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    BadUtf8 {
        /// The field that was being read.
        what: &'static str,
    },
    /// A field value type that neither AMQP 0-9-1 nor RabbitMQ knows.
    #[error("unknown field value type {tag:#04x}")]
    UnknownFieldType {
        /// The type octet.
        tag: u8,
    },
    /// Tables or arrays nested too deep.
    #[error("tables and arrays are nested deeper than {max} levels")]
    TooDeep {
        /// The limit, [`super::TABLE_DEPTH_MAX`].
        max: usize,
    },
    /// A number outside of what the field allows.
    #[error("{what} has the invalid value {value}")]
    BadValue {
        /// The field that was being read.
        what: &'static str,
        /// What stood there.
        value: u64,
    },
    /// Something longer, or with more items, than its named limit.
    #[error("{what} is {len} long, and at most {max} is allowed")]
    TooLong {
        /// The field that was being read.
        what: &'static str,
        /// What it announces: bytes, or items where `what` says so.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A value that the specification keeps for a later version.
    #[error("{what} is reserved and not supported by this version")]
    Reserved {
        /// Its name in the specification.
        what: &'static str,
    },
}

/// The result of reading fields.
pub type WireResult<T> = Result<T, WireError>;

/// What the crate's `nom` parsers return.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, WireError>;

impl ParseError<&[u8]> for WireError {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        WireError::Truncated { what: "field" }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Names the field in a "cut short" error that a bare `nom` parser made.
pub(crate) fn labelled<'a, T>(
    what: &'static str,
    mut parser: impl FnMut(&'a [u8]) -> Parsed<'a, T>,
) -> impl FnMut(&'a [u8]) -> Parsed<'a, T> {
    move |input| {
        parser(input).map_err(|error| {
            error.map(|error| match error {
                WireError::Truncated { what: "field" } => WireError::Truncated { what },
                other => other,
            })
        })
    }
}

/// Ends a parse: everything must have been read.
pub(crate) fn finish<T>(what: &'static str, parsed: Parsed<'_, T>) -> WireResult<T> {
    match parsed {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(WireError::TrailingBytes { what, count: rest.len() }),
        Err(Err::Incomplete(_)) => Err(WireError::Truncated { what }),
        Err(Err::Error(error) | Err::Failure(error)) => Err(error),
    }
}
