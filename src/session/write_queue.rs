//! What waits to be written to a socket: small things copied together, large ones as slices of their own.
//!
//! Invariants: bytes leave in the order they came, and none that is held before what it waits for is safe. A frame may
//! be begun in [`WriteQueue::buffer`] and large pieces of it put in with [`WriteQueue::insert`]; nothing is sent before
//! [`WriteQueue::seal`], nor is anything held inside of a frame. Who has nothing to write keeps no buffer: sessions of a
//! thread use one after the other, so that those that idle cost nothing and the others meet warm memory.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::OUTPUT_HIGH;
use crate::broker::Commit;

thread_local! {
    /// A buffer that nobody uses. Empty of bytes, and without memory before the first has been used.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// See the module.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// What may be written.
    free: Stretch,
    /// What comes after it, each with what it waits for.
    held: VecDeque<(Commit, Stretch)>,
}

/// Frames, the first of which may have been written in part.
#[derive(Debug, Default)]
struct Stretch {
    /// Sealed, in order, in front of the buffer.
    parts: VecDeque<Bytes>,
    parts_len: usize,
    buffer: BytesMut,
    /// Where large pieces belong in the buffer.
    inserts: Vec<(usize, Bytes)>,
    inserts_len: usize,
}

impl WriteQueue {
    /// Capacity that an empty buffer may have to be kept for who comes next: what a session that is busy fills, and what
    /// comes on top of it.
    const KEEP: usize = 2 * OUTPUT_HIGH;

    /// Held stretches from which on the last one waits for more and takes in what would be another: a small answer
    /// must not cost many times what it is long.
    const STRETCHES_MAX: usize = 64;

    /// Where small things are appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.last().buffer()
    }

    /// Where frames are appended that wait for nothing, in front of everything that is held.
    pub fn free_buffer(&mut self) -> &mut BytesMut {
        self.free.buffer()
    }

    /// Puts a large piece behind what is in the buffer now, without copying it.
    pub fn insert(&mut self, bytes: Bytes) {
        self.last().insert(bytes);
    }

    /// What comes from here on waits until this is safe.
    pub fn hold(&mut self, until: Commit) {
        let is_full = self.held.len() >= Self::STRETCHES_MAX;
        match self.held.back_mut() {
            Some((last, _)) if is_full || *last == until => *last = last.join(until),
            _ => self.held.push_back((until, Stretch::default())),
        }
    }

    /// Frees what is held, in order, as far as what it waits for is safe.
    pub fn release(&mut self, is_committed: impl Fn(&Commit) -> bool) {
        while let Some((_, stretch)) = self.held.pop_front_if(|(until, _)| is_committed(until)) {
            self.free.append(stretch);
        }
    }

    /// Forgets what is held: it is never said.
    pub fn forget_held(&mut self) {
        self.held.clear();
    }

    /// What the first of what is held waits for.
    pub fn held_until(&self) -> Option<Commit> {
        self.held.front().map(|(until, _)| *until)
    }

    /// Whether anything is held.
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Ends a stretch of frames: what was inserted gets its place.
    pub fn seal(&mut self) {
        self.free.seal();
    }

    /// Bytes that wait, those that are held included.
    pub fn total_len(&self) -> usize {
        self.len() + self.held.iter().map(|(_, stretch)| stretch.len()).sum::<usize>()
    }

    /// Bytes that may be written now.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether nothing may be written now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `slices` with what comes next and says how many were filled.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        debug_assert!(self.free.inserts.is_empty(), "sealed before it is written");
        let mut count = 0;
        let waiting = self.free.parts.iter().map(|part| &part[..]).chain([&self.free.buffer[..]]);
        for (slice, part) in slices.iter_mut().zip(waiting.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Forgets bytes that were written.
    pub fn advance(&mut self, written: usize) {
        self.free.advance(written);
    }

    fn last(&mut self) -> &mut Stretch {
        match self.held.back_mut() {
            Some((_, last)) => last,
            None => &mut self.free,
        }
    }
}

impl Stretch {
    fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() == 0 {
            self.buffer = SPARE.take();
        }
        &mut self.buffer
    }

    fn insert(&mut self, bytes: Bytes) {
        self.inserts_len += bytes.len();
        self.inserts.push((self.buffer.len(), bytes));
    }

    fn seal(&mut self) {
        if self.inserts.is_empty() {
            return;
        }
        let mut cut = 0;
        for (at, bytes) in std::mem::take(&mut self.inserts) {
            let small = self.buffer.split_to(at - cut).freeze();
            cut = at;
            self.push_part(small);
            self.push_part(bytes);
        }
        self.inserts_len = 0;
    }

    fn push_part(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts_len += part.len();
            self.parts.push_back(part);
        }
    }

    fn append(&mut self, mut next: Stretch) {
        next.seal();
        if !next.parts.is_empty() {
            self.seal();
            let small = self.buffer.split().freeze();
            self.push_part(small);
            next.parts.drain(..).for_each(|part| self.push_part(part));
        }
        self.buffer().extend_from_slice(&next.buffer);
    }

    fn len(&self) -> usize {
        self.parts_len + self.buffer.len() + self.inserts_len
    }

    fn advance(&mut self, mut written: usize) {
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
        if written < self.buffer.len() {
            return self.buffer.advance(written);
        }
        debug_assert_eq!(written, self.buffer.len(), "no more than there was");
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if (1..=WriteQueue::KEEP).contains(&buffer.capacity()) {
            SPARE.set(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::journal;

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
    #[test]
    fn what_is_held_comes_in_order_as_what_it_waits_for_is_safe_and_urgent_things_come_before_it() {
        let mut queue = WriteQueue::default();
        queue.buffer().extend_from_slice(b"free ");
        queue.hold(journal(5));
        queue.buffer().extend_from_slice(b"five ");
        queue.insert(Bytes::from_static(b"LARGE "));
        queue.hold(journal(5));
        queue.buffer().extend_from_slice(b"too ");
        queue.hold(journal(7));
        queue.buffer().extend_from_slice(b"seven ");
        assert_eq!((queue.len(), queue.total_len(), queue.held_until()), (5, 26, Some(journal(5))));
        assert_eq!(read(&mut queue, 3), b"free ");
        let up_to = |safe| move |commit: &Commit| commit.journal <= journal(safe).journal;
        queue.release(up_to(4));
        assert!(queue.is_empty() && queue.is_held());
        queue.free_buffer().extend_from_slice(b"heartbeat ");
        queue.release(up_to(6));
        queue.seal();
        assert_eq!(read(&mut queue, 3), b"heartbeat five LARGE too ");
        queue.release(up_to(7));
        assert!(!queue.is_held());
        queue.buffer().extend_from_slice(b"free");
        assert_eq!(read(&mut queue, 3), b"seven free");
    }

    #[test]
    fn who_has_written_everything_keeps_no_buffer_and_the_next_uses_it() {
        let (mut one, mut other) = (WriteQueue::default(), WriteQueue::default());
        one.buffer().extend_from_slice(&[1; 1000]);
        assert_eq!(read(&mut one, 300).len(), 1000);
        assert_eq!(one.free.buffer.capacity(), 0);
        other.buffer().extend_from_slice(&[2; 10]);
        one.buffer().extend_from_slice(&[3; 10]);
        assert_eq!(read(&mut one, 10), [3; 10]);
        assert_eq!(read(&mut other, 10), [2; 10]);
        other.buffer().extend_from_slice(&[4; WriteQueue::KEEP + 1]);
        read(&mut other, WriteQueue::KEEP * 2);
        assert!(SPARE.take().capacity() <= WriteQueue::KEEP);
    }

    #[test]
    fn what_is_held_is_never_said_once_it_is_forgotten() {
        let mut queue = WriteQueue::default();
        queue.buffer().extend_from_slice(b"kept ");
        queue.hold(journal(1));
        queue.buffer().extend_from_slice(b"forgotten ");
        queue.forget_held();
        queue.buffer().extend_from_slice(b"closed");
        assert_eq!(read(&mut queue, 100), b"kept closed");
    }

    #[test]
    fn very_many_small_answers_are_held_together() {
        let mut queue = WriteQueue::default();
        for number in 1..=1000 {
            queue.hold(journal(number));
            queue.buffer().extend_from_slice(b"x");
        }
        assert_eq!((queue.held.len(), queue.total_len()), (WriteQueue::STRETCHES_MAX, 1000));
        queue.release(|commit| commit.journal < journal(1000).journal);
        assert_eq!(queue.len(), WriteQueue::STRETCHES_MAX - 1);
        queue.release(|_| true);
        assert_eq!((queue.len(), queue.is_held()), (1000, false));
    }
}
