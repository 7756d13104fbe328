//! What waits to be written to a socket: small things copied together, large ones as slices of their own.
//!
//! Invariant: bytes leave in the order they came. A frame may be begun in [`WriteQueue::buffer`] and large
//! pieces of it put in with [`WriteQueue::insert`]; nothing is sent before [`WriteQueue::seal`].

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// See the module.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// Sealed, in order, in front of the buffer.
    parts: VecDeque<Bytes>,
    parts_len: usize,
    buffer: BytesMut,
    /// Where large pieces belong in the buffer.
    inserts: Vec<(usize, Bytes)>,
    inserts_len: usize,
}

impl WriteQueue {
    /// Capacity that an empty buffer may keep for the next time.
    const KEEP: usize = 256 << 10;

    /// Where small things are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Puts a large piece behind what is in the buffer now, without copying it.
    pub fn insert(&mut self, bytes: Bytes) {
        self.inserts_len += bytes.len();
        self.inserts.push((self.buffer.len(), bytes));
    }

    /// Ends a stretch of frames: what was inserted gets its place.
    pub fn seal(&mut self) {
        if self.inserts.is_empty() {
            return;
        }
        let mut cut = 0;
        for (at, bytes) in std::mem::take(&mut self.inserts) {
            let small = self.buffer.split_to(at - cut).freeze();
            cut = at;
            for part in [small, bytes] {
                if !part.is_empty() {
                    self.parts_len += part.len();
                    self.parts.push_back(part);
                }
            }
        }
        self.inserts_len = 0;
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.parts_len + self.buffer.len() + self.inserts_len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` with what comes next and says how many were filled.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        debug_assert!(self.inserts.is_empty(), "sealed before it is written");
        let mut count = 0;
        let waiting = self.parts.iter().map(|part| &part[..]).chain([&self.buffer[..]]);
        for (slice, part) in slices.iter_mut().zip(waiting.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Forgets bytes that were written.
    pub fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                self.parts_len -= written;
                return;
            }
            written -= part.len();
            self.parts_len -= part.len();
            self.parts.pop_front();
        }
        self.buffer.advance(written);
        if self.buffer.is_empty() && self.buffer.capacity() > Self::KEEP {
            self.buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(queue: &mut WriteQueue, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = queue.chunks(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            all.extend(&bytes);
            queue.advance(bytes.len());
        }
        all
    }

    #[test]
    fn large_pieces_keep_their_place_however_little_is_written() {
        for step in 1..12 {
            let mut queue = WriteQueue::default();
            queue.buffer().extend_from_slice(b"ab");
            queue.insert(Bytes::from_static(b"LARGE"));
            queue.buffer().extend_from_slice(b"c");
            queue.insert(Bytes::from_static(b"X"));
            queue.insert(Bytes::from_static(b"Y"));
            queue.seal();
            queue.buffer().extend_from_slice(b"de");
            assert_eq!(queue.len(), 12);
            assert_eq!(read(&mut queue, step), b"abLARGEcXYde", "in steps of {step}");
        }
    }
}
