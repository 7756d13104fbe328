//! A queue after a restart: what the journal knows of it.
//!
//! Invariants: nothing is loaded for being restored; a message has its old place, priority, deadline and counts, and one
//! that had to wait before it may be delivered again waits on. What was unacknowledged is ready.
//! Not here: which messages are still the queue's (the journal).

use crate::model::RestoredRun;

use super::Queue;
use super::entry::{effective_priority, expires};
use super::paged::PagedRun;

impl Queue {
    /// Adds messages that the queue held when the broker stopped, in any order, before anything else happens to it.
    /// False: it takes none of them, because the journal says the same of some of them twice. For the queue of a delayed
    /// exchange, `ttl_ms` is to be the delay. What is due by now goes with the next [`Queue::tick`], and what is too much
    /// with the next [`Queue::set_options`] or publish.
    pub fn restore(&mut self, run: RestoredRun) -> bool {
        let RestoredRun { first, count, location, from, len, body_bytes, at, .. } = run;
        if count == 0 {
            return true;
        }
        let (returns, failures) = run.returned.map_or((0, 0), |last| (last.returns, last.delivery_count));
        let restored = PagedRun {
            first,
            location,
            count,
            from,
            len,
            returns,
            failures,
            priority: effective_priority(run.priority, &self.options),
            body_bytes,
            enqueued: at,
            expires: expires(at, run.ttl_ms, &self.options),
        };
        match run.returned.and_then(|last| last.until) {
            Some(until) if self.delayed.is_free_for(until, &restored) => {
                self.delayed.insert_run(until, restored);
                true
            }
            None if self.ready.is_free_for(&restored) => {
                self.ready.insert_run(restored);
                true
            }
            _ => false,
        }
    }
}
