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

    /// A segment is gone: nobody can be sent there. Who is sent through it to another one still can.
    pub(super) fn forget_segment(&mut self, id: SegmentId) {
        let ends = |to: &Location| to.segment == id && !self.records.contains_key(to);
        let mut gone: Vec<_> =
            self.records.iter().filter(|(_, forward)| ends(&forward.to)).map(|(from, _)| *from).collect();
        while !gone.is_empty() {
            gone.iter().for_each(|from| _ = self.records.remove(from));
            let before = self.records.iter().filter(|(_, forward)| gone.contains(&forward.to));
            gone = before.map(|(from, _)| *from).collect();
        }
    }

    /// How many records are remembered.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(segment: u32) -> Location {
        Location { segment: SegmentId(segment), offset: 128 }
    }

    #[test]
    fn who_is_sent_through_a_segment_that_is_gone_still_arrives() {
        let mut forwards = Forwards::default();
        let piece = |from, to| vec![Piece { from, len: 10, to }];
        forwards.insert(place(1), place(2), piece(20, 0), 2);
        forwards.insert(place(2), place(3), piece(0, 5), 2);
        forwards.forget_segment(SegmentId(1));
        forwards.forget_segment(SegmentId(2));
        assert_eq!(forwards.newest(place(1)), place(3));
        assert_eq!(forwards.resolve(place(1), 22, 8), (place(3), 7));
        assert_eq!(forwards.resolve(place(1), 22, 9), (place(1), 22), "that was not copied as a whole");
        forwards.release(place(1), 1);
        assert_eq!(forwards.len(), 2);
        forwards.release(place(1), 1);
        assert_eq!(forwards.len(), 0, "nothing that was copied lives");
    }

    #[test]
    fn where_a_chain_ends_nobody_is_sent_when_it_is_gone() {
        let mut forwards = Forwards::default();
        for segment in 1..4 {
            forwards.insert(place(segment), place(segment + 1), Vec::new(), 9);
        }
        forwards.forget_segment(SegmentId(4));
        assert_eq!(forwards.len(), 0);
    }
}
