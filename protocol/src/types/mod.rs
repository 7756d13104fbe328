//! The value types that both protocols share: short strings, field values and tables, properties.
//!
//! Invariants: decoding is bounded by the input and by [`TABLE_DEPTH_MAX`]; a decoded value encodes to the
//! bytes it came from. Not here: frames (`native`, `amqp`).

mod error;
mod field;
mod properties;
mod raw_table;
mod short_str;

pub use error::{WireError, WireResult};
pub use field::{FieldTable, FieldValue, TABLE_DEPTH_MAX, check_table};
pub use properties::{Properties, RawProperties};
pub use raw_table::{RawField, RawTable};
pub use short_str::{ShortStr, TooLong};

pub(crate) use error::{Parsed, finish, labelled};
pub(crate) use field::{parse_table, put_long_bytes};
pub(crate) use short_str::{parse_short_str, put_short_str};
