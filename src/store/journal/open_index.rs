//! The index of the segment that is being written, in as little memory as its sameness allows.
//!
//! A segment that is full of records of one message each has hundreds of thousands of entries, which differ in a time and
//! a few numbers: some fifty bytes each in the file, and about ten here.
//!
//! Invariant: what is finished is byte for byte what an [`IndexBuilder`] would have made of the same calls.

use bytes::{Bytes, BytesMut};

use crate::store::record::{Nonce, RecordKind, varint};
use crate::store::segment::IndexBuilder;

/// Equal bytes that do not end a stretch of different ones: to say that another begins takes two.
const GAP: usize = 2;

/// Collects the index of a segment.
#[derive(Debug, Default)]
pub(super) struct OpenIndex {
    /// For each entry its length, and where that is the length of the one before it, how it differs from that: bytes to
    /// keep and bytes to change, in turn, until there are no more to change. Otherwise all of it.
    packed: BytesMut,
    /// The entry that was added last.
    last: Vec<u8>,
    /// Room to make one.
    entry: IndexBuilder,
    /// Bytes of all entries.
    len: usize,
    records: u32,
}

impl OpenIndex {
    /// An index of nothing yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// As [`IndexBuilder::push`].
    pub(super) fn push(&mut self, kind: RecordKind, shard: u16, meta: &[u8], entries_len: u32) {
        self.entry.push(kind, shard, meta, entries_len);
        self.pack();
    }

    /// As [`IndexBuilder::push_skip`].
    pub(super) fn push_skip(&mut self, len: u32) {
        self.entry.push_skip(len);
        self.pack();
    }

    fn pack(&mut self) {
        let OpenIndex { packed, last, entry, len, records } = self;
        let bytes = entry.bytes();
        varint::put(packed, bytes.len() as u64);
        if bytes.len() == last.len() {
            let mut at = 0;
            while let Some(same) = (at..bytes.len()).position(|place| bytes[place] != last[place]) {
                let from = at + same;
                // The place behind the last one that differs before a gap.
                let differs = (from..bytes.len()).filter(|place| bytes[*place] != last[*place]);
                let to = differs.map_while({
                    let mut end = from;
                    move |place| {
                        (place <= end + GAP).then(|| {
                            end = place + 1;
                            end
                        })
                    }
                });
                let to = to.last().expect("the first of them differs");
                varint::put(packed, (to - from) as u64);
                varint::put(packed, same as u64);
                packed.extend_from_slice(&bytes[from..to]);
                at = to;
            }
            varint::put(packed, 0);
        } else {
            packed.extend_from_slice(bytes);
        }
        *len += bytes.len();
        *records += 1;
        last.clear();
        last.extend_from_slice(bytes);
        entry.clear();
    }

    /// As [`IndexBuilder::finish`].
    pub(super) fn finish(self, nonce: Nonce, offset: u32) -> Bytes {
        const WHOLE: &str = "it was packed by this very value";
        let mut packed = varint::Cursor(&self.packed);
        let mut bytes = BytesMut::with_capacity(self.len);
        let mut last = 0;
        while !packed.0.is_empty() {
            let len = packed.number().expect(WHOLE) as usize;
            let begin = bytes.len();
            if len == begin - last {
                bytes.extend_from_within(last..begin);
                let mut at = begin;
                loop {
                    let changed = packed.number().expect(WHOLE) as usize;
                    if changed == 0 {
                        break;
                    }
                    at += packed.number().expect(WHOLE) as usize;
                    bytes[at..at + changed].copy_from_slice(packed.take(changed).expect(WHOLE));
                    at += changed;
                }
            } else {
                bytes.extend_from_slice(packed.take(len).expect(WHOLE));
            }
            last = begin;
        }
        IndexBuilder::of(bytes, self.records).finish(nonce, offset)
    }

    /// Bytes of memory that the entries take.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.packed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_finished_as_if_it_had_never_been_packed() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut open, mut plain) = (OpenIndex::new(), IndexBuilder::new());
            let mut meta: Vec<u8> = (0..60).map(|_| random.u8(..)).collect();
            for _ in 0..random.usize(0..200) {
                match random.u8(0..10) {
                    0 => meta = (0..random.usize(0..300)).map(|_| random.u8(..)).collect(),
                    1 => {
                        let len = random.u32(32..5000);
                        open.push_skip(len);
                        plain.push_skip(len);
                        continue;
                    }
                    changes => (0..changes).for_each(|_| {
                        if let Some(byte) = random.choice(meta.iter_mut()) {
                            *byte = byte.wrapping_add(1);
                        }
                    }),
                }
                let entries_len = random.u32(0..300);
                open.push(RecordKind::Unit, 0, &meta, entries_len);
                plain.push(RecordKind::Unit, 0, &meta, entries_len);
            }
            let nonce = Nonce::new(seed);
            assert_eq!(open.finish(nonce, 4096), plain.finish(nonce, 4096), "seed {seed}");
        }
    }

    #[test]
    fn records_that_are_much_alike_cost_about_ten_bytes_each() {
        let mut open = OpenIndex::new();
        let mut meta = [7; 48];
        for number in 0..10_000u64 {
            meta[2..10].copy_from_slice(&(1_767_225_600_000_000 + number * 70).to_be_bytes());
            meta[12..16].copy_from_slice(&(number as u32).to_le_bytes());
            open.push(RecordKind::Unit, 0, &meta, 139);
        }
        assert!(open.memory() < 10_000 * 13, "{} bytes", open.memory());
    }
}
