//! What waits to be written to a socket: small things copied together, large ones as slices of their own.
//!
//! Invariants: bytes leave in the order they came, and none that is held before what it waits for is safe. A frame may
//! be begun in [`WriteQueue::buffer`] and large pieces of it put in with [`WriteQueue::insert`], but nothing is held
//! inside of a frame. Who has nothing to write keeps no buffer: sessions of a thread use one after the other, so that
//! those that idle cost nothing and the others meet warm memory.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BytesMut};

use super::{OUTPUT_HIGH, SLICE_LEAST};
use crate::broker::Commit;
use crate::model::BatchSlice;

thread_local! {
    /// What nobody uses. Empty, and without memory before the first has been used.
    static SPARE: Cell<Spare> = Cell::default();
}

/// Memory of a session that has written everything.
#[derive(Default)]
struct Spare {
    buffer: BytesMut,
    pieces: VecDeque<(usize, BatchSlice)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct WriteQueue {
    /// What may be written.
    free: Stretch,
    /// What comes after it, each with what it waits for.
    held: VecDeque<(Commit, Stretch)>,
    /// Something was written since this was asked last.
    has_advanced: bool,
}

/// Frames, the first of which may have been written in part.
#[derive(Debug, Default)]
struct Stretch {
    /// Small things, back to back.
    buffer: BytesMut,
    /// Large pieces in order, each behind so many bytes of the buffer that come after the piece before it.
    pieces: VecDeque<(usize, BatchSlice)>,
    /// Bytes of the buffer that come before the last piece.
    placed: usize,
    pieces_len: usize,
}

impl WriteQueue {
    /// Capacity that an empty buffer may have to be kept for who comes next: what a session that is busy fills, and what
    /// comes on top of it.
    const KEEP: usize = 2 * OUTPUT_HIGH;

    /// The same of large pieces.
    const KEEP_PIECES: usize = Self::KEEP / SLICE_LEAST;

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
    pub fn insert(&mut self, piece: BatchSlice) {
        self.last().insert(piece);
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

    /// Everything that may be written now, if it lies in one piece.
    pub fn whole(&self) -> Option<&[u8]> {
        self.free.pieces.is_empty().then_some(&self.free.buffer[..])
    }

    /// Fills `slices` with what comes next and says how many were filled.
    pub fn chunks<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Stretch { buffer, pieces, .. } = &self.free;
        let mut rest = &buffer[..];
        let mut parts = pieces.iter().flat_map(|(before, piece)| {
            let (small, behind) = rest.split_at(*before);
            rest = behind;
            [small, &piece[..]]
        });
        let mut count = 0;
        let mut put = |part: &'a [u8]| {
            if !part.is_empty() {
                slices[count] = IoSlice::new(part);
                count += 1;
            }
            count < slices.len()
        };
        if parts.all(&mut put) {
            drop(parts);
            put(rest);
        }
        count
    }

    /// Forgets bytes that were written.
    pub fn advance(&mut self, written: usize) {
        self.has_advanced |= written > 0;
        self.free.advance(written);
    }

    /// Whether anything was written since this was asked last: then the peer reads.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.has_advanced)
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
            let Spare { buffer, pieces } = SPARE.take();
            self.buffer = buffer;
            if self.pieces.capacity() == 0 {
                self.pieces = pieces;
            }
        }
        &mut self.buffer
    }

    fn insert(&mut self, piece: BatchSlice) {
        if !piece.is_empty() {
            self.pieces_len += piece.len();
            self.pieces.push_back((self.buffer.len() - self.placed, piece));
            self.placed = self.buffer.len();
        }
    }

    fn append(&mut self, next: Stretch) {
        let start = self.buffer().len();
        self.buffer.extend_from_slice(&next.buffer);
        let mut between = start - self.placed;
        for (before, piece) in next.pieces {
            self.pieces.push_back((between + before, piece));
            between = 0;
            self.placed = start + next.placed;
        }
        self.pieces_len += next.pieces_len;
    }

    fn len(&self) -> usize {
        self.buffer.len() + self.pieces_len
    }

    fn advance(&mut self, mut written: usize) {
        let mut small = 0;
        while let Some((before, piece)) = self.pieces.front_mut() {
            let step = written.min(*before);
            *before -= step;
            small += step;
            written -= step;
            if written < piece.len() {
                // Nothing of it, if what comes before it is not all written.
                piece.advance(written);
                self.pieces_len -= written;
                written = 0;
                break;
            }
            written -= piece.len();
            self.pieces_len -= piece.len();
            self.pieces.pop_front();
        }
        self.placed -= small;
        self.advance_buffer(small + written);
    }

    fn advance_buffer(&mut self, written: usize) {
        if written < self.buffer.len() || !self.pieces.is_empty() {
            return self.buffer.advance(written);
        }
        debug_assert_eq!(written, self.buffer.len(), "no more than there was");
        let Stretch { mut buffer, pieces, .. } = std::mem::take(self);
        buffer.clear();
        if (1..=WriteQueue::KEEP).contains(&buffer.capacity()) && pieces.capacity() <= WriteQueue::KEEP_PIECES
        {
            SPARE.set(Spare { buffer, pieces });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::testing::{journal, large};

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
            queue.insert(large(b"LARGE"));
            queue.buffer().extend_from_slice(b"c");
            queue.insert(large(b"X"));
            queue.insert(large(b"Y"));
            queue.buffer().extend_from_slice(b"de");
            assert_eq!(queue.len(), 12);
            assert_eq!(read(&mut queue, step), b"abLARGEcXYde", "in steps of {step}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Small(u8),
        Large(u8),
        Hold,
        Release,
        Write(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..20_u8).prop_map(Step::Small),
            4 => (0..20_u8).prop_map(Step::Large),
            1 => Just(Step::Hold),
            1 => Just(Step::Release),
            3 => (0..40_usize).prop_map(Step::Write),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came_however_they_are_written(steps in steps()) {
            let (mut queue, mut holds) = (WriteQueue::default(), 0);
            let (mut came, mut left) = (Vec::<u8>::new(), Vec::<u8>::new());
            for step in steps {
                // No byte is like its neighbours.
                let mut bytes = |count: u8| -> Vec<u8> {
                    let new: Vec<u8> = (0..usize::from(count)).map(|at| (came.len() + at) as u8).collect();
                    came.extend(&new);
                    new
                };
                match step {
                    Step::Small(count) => queue.buffer().extend_from_slice(&bytes(count)),
                    Step::Large(count) => {
                        queue.buffer();
                        queue.insert(large(&bytes(count)));
                    }
                    Step::Hold => {
                        holds += 1;
                        queue.hold(journal(holds));
                    }
                    Step::Release => queue.release(|_| true),
                    Step::Write(count) => {
                        let mut slices = [IoSlice::new(&[]); 3];
                        let filled = queue.chunks(&mut slices);
                        let next: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                        prop_assert!(queue.whole().is_none_or(|whole| whole == next));
                        let count = count.min(next.len());
                        left.extend(&next[..count]);
                        queue.advance(count);
                    }
                }
                prop_assert_eq!(queue.total_len() + left.len(), came.len());
            }
            queue.release(|_| true);
            left.extend(read(&mut queue, 7));
            prop_assert_eq!(left, came);
        }
    }

    #[test]
    fn what_is_held_comes_in_order_as_what_it_waits_for_is_safe_and_urgent_things_come_before_it() {
        let mut queue = WriteQueue::default();
        queue.buffer().extend_from_slice(b"free ");
        queue.hold(journal(5));
        queue.buffer().extend_from_slice(b"five ");
        queue.insert(large(b"LARGE "));
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
        assert!(SPARE.take().buffer.capacity() <= WriteQueue::KEEP);
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
