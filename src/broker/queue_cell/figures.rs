//! A queue's figures, to be read without its lock: lists and metrics of a hundred thousand queues hold up none of them.
//!
//! Written once per batch, under the queue's lock, and only where they have changed; what has changed is added to the
//! vhost's counts at the same time. A reader that meets a writer tries again, a few times: then it takes figures of two
//! neighbouring batches rather than wait.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Hosted, QueueCell};
use crate::broker::counters::InQueues;
use crate::broker::purpose::Purpose;
use crate::model::Timestamp;
use crate::queue::{QueueStats, Totals};

/// Besides those that add up over queues: bytes of ready, delayed and unacked messages, of the bodies of the latter two,
/// and when the first one came.
const OWN: usize = 6;
const IN_QUEUES: usize = OWN;
const TOTALS: usize = IN_QUEUES + InQueues::LEN;
const LEN: usize = TOTALS + Totals::LEN;

/// How often a reader tries again.
const TRIES: usize = 16;

#[derive(Debug)]
pub(super) struct Figures {
    /// Odd while they are written.
    version: AtomicU64,
    row: [AtomicU64; LEN],
}

impl Default for Figures {
    fn default() -> Self {
        Figures { version: AtomicU64::new(0), row: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Figures {
    /// Only ever called under the queue's lock. Answers by how much each figure has grown.
    fn write(&self, row: [u64; LEN]) -> [u64; LEN] {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let mut grown = [0; LEN];
        for ((place, new), grown) in self.row.iter().zip(row).zip(&mut grown) {
            let old = place.load(Ordering::Relaxed);
            if old != new {
                place.store(new, Ordering::Relaxed);
                *grown = new.wrapping_sub(old);
            }
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
        grown
    }

    fn read(&self) -> [u64; LEN] {
        let read = || std::array::from_fn(|place| self.row[place].load(Ordering::Relaxed));
        for _ in 0..TRIES {
            let before = self.version.load(Ordering::Acquire);
            let row = read();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return row;
            }
            std::hint::spin_loop();
        }
        read()
    }
}

impl QueueCell {
    /// Its figures as of the last batch, without waiting for anybody. See [`QueueCell::stats`] for those of this moment.
    pub fn figures(&self) -> QueueStats {
        let row = self.figures.read();
        let [ready_bytes, delayed_bytes, delayed_body_bytes, unacked_bytes, unacked_body_bytes, head, ..] =
            row;
        let totals = Totals::from_array(std::array::from_fn(|place| row[TOTALS + place]));
        let in_queue = InQueues::from_array(std::array::from_fn(|place| row[IN_QUEUES + place]));
        let InQueues { ready, delayed, unacked, paged, memory: _, ready_body_bytes, consumers } = in_queue;
        let head_enqueued = (head > 0).then(|| Timestamp::from_micros(head));
        QueueStats {
            ready,
            delayed,
            unacked,
            paged,
            ready_bytes,
            ready_body_bytes,
            delayed_bytes,
            delayed_body_bytes,
            unacked_bytes,
            unacked_body_bytes,
            consumers,
            head_enqueued,
            totals,
        }
    }

    /// Publishes what the queue's figures are now.
    pub(super) fn publish_figures(&self, hosted: &Hosted) {
        let QueueStats {
            ready,
            delayed,
            unacked,
            paged,
            ready_bytes,
            ready_body_bytes,
            delayed_bytes,
            delayed_body_bytes,
            unacked_bytes,
            unacked_body_bytes,
            consumers,
            head_enqueued,
            totals,
        } = hosted.queue.stats();
        let memory = hosted.memory;
        let in_queue = InQueues { ready, delayed, unacked, paged, memory, ready_body_bytes, consumers };
        let mut row = [0; LEN];
        let head = head_enqueued.map_or(0, Timestamp::as_micros);
        let own = [ready_bytes, delayed_bytes, delayed_body_bytes, unacked_bytes, unacked_body_bytes, head];
        row[..OWN].copy_from_slice(&own);
        row[IN_QUEUES..TOTALS].copy_from_slice(&in_queue.to_array());
        row[TOTALS..].copy_from_slice(&totals.to_array());
        let grown = self.figures.write(row);
        // What waits in a delayed exchange has not been delivered, nor does it die there: it is nobody's queue.
        if self.purpose != Purpose::Delays {
            self.counts.add_in_queues(std::array::from_fn(|place| grown[IN_QUEUES + place]));
            self.counts.add_totals(std::array::from_fn(|place| grown[TOTALS + place]));
        }
    }
}
