//! Methods: class and method ids, fields, and the whole table of them.
//!
//! Rooms: `table` (THE table), `define` (what the table's lines become), `fields` (reading and writing one field
//! of each type), `borrowed` (the methods that come per message, without allocating).
//! Invariant: a method, its ids or its fields are written down in `table` and nowhere else.

mod borrowed;
mod define;
mod fields;
mod table;

pub use borrowed::{BasicDeliverRef, BasicPublishRef, UncheckedPublish};
pub use fields::FieldType;
pub use table::*;

/// Class and method numbers of a method. The constants of known ones come from the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId {
    /// The class: 10 connection, 20 channel, 30 access, 40 exchange, 50 queue, 60 basic, 85 confirm, 90 tx.
    pub class: u16,
    /// The method in its class.
    pub method: u16,
}

impl MethodId {
    /// No method: what a close carries whose reason is no method's.
    pub const NONE: MethodId = MethodId { class: 0, method: 0 };

    /// The id in front of the payload of a method frame; `None` if that is shorter than an id.
    #[inline]
    pub fn of(payload: &[u8]) -> Option<MethodId> {
        let [c1, c0, m1, m0] = *payload.first_chunk()?;
        Some(MethodId { class: u16::from_be_bytes([c1, c0]), method: u16::from_be_bytes([m1, m0]) })
    }
}

/// One field of a method as the specification lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Its name in the struct; empty for a reserved field, which the struct does not have.
    pub name: &'static str,
    /// Its type on the wire.
    pub kind: FieldType,
}
