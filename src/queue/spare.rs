//! Giving memory back after a burst.

use std::collections::VecDeque;

/// Capacity, in elements, that is always kept: small queues never allocate again.
const KEEP: usize = 1024;

/// Shrinks a buffer that is at most an eighth full. The next shrink needs half of what is left to go first,
/// so it costs O(1) per element removed.
pub(super) fn give_back_spare<T>(buffer: &mut VecDeque<T>) {
    if buffer.capacity() > KEEP && buffer.len() < buffer.capacity() / 8 {
        buffer.shrink_to((buffer.len() * 2).max(KEEP));
    }
}
