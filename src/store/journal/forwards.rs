//! Where records went whose survivors were copied: queues go on asking for the old place.
//!
//! Invariant: a record is remembered as long as a pair that was copied from it lives. Chains are followed, not
//! shortened: a record that was copied twice is two steps. Not here: what lives.

use ahash::AHashMap;

use crate::model::{Location, SegmentId};

/// Entries that lay back to back in the old record, and do in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Their first byte among the entries of the old record.
    pub(super) from: u32,
    /// Their bytes.
    pub(super) len: u32,
    /// Their first byte among the entries of the new record.
    pub(super) to: u32,
}

#[derive(Debug)]
struct Forward {
    to: Location,
    pieces: Box<[Piece]>,
    live: u64,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    records: AHashMap<Location, Forward>,
}

impl Forwards {
    /// A record's survivors went elsewhere, `live` pairs of them.
    pub(super) fn insert(&mut self, from: Location, to: Location, pieces: Vec<Piece>, live: u64) {
        self.records.insert(from, Forward { to, pieces: pieces.into(), live });
    }

    /// The record that has what is left of this one.
    pub(super) fn newest(&self, mut location: Location) -> Location {
        while let Some(forward) = self.records.get(&location) {
            location = forward.to;
        }
        location
    }

    /// Pairs that were asked for by this place are gone.
    pub(super) fn release(&mut self, mut location: Location, pairs: u64) {
        while let Some(forward) = self.records.get_mut(&location) {
            let to = forward.to;
            forward.live = forward.live.saturating_sub(pairs);
            if forward.live == 0 {
                self.records.remove(&location);
            }
            location = to;
        }
    }

    /// The record that has these bytes of a record's entries, and where among its own.
    pub(super) fn resolve(&self, mut location: Location, mut from: u32, len: u32) -> (Location, u32) {
        while let Some(forward) = self.records.get(&location) {
            let number = forward.pieces.partition_point(|piece| piece.from <= from);
            let Some(piece) = number.checked_sub(1).and_then(|number| forward.pieces.get(number)) else {
                break;
            };
            if u64::from(from) + u64::from(len) > u64::from(piece.from) + u64::from(piece.len) {
                break;
            }
            from = from - piece.from + piece.to;
            location = forward.to;
        }
        (location, from)
    }

    /// A segment is gone: nobody can be sent there.
    pub(super) fn forget_segment(&mut self, id: SegmentId) {
        self.records.retain(|_, forward| forward.to.segment != id);
    }

    /// How many records are remembered.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}
