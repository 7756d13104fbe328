//! Messages of a queue that are on disk only: how they get there, and how they come back.
//!
//! A queue keeps the bytes of so many waiting messages in memory (`memory.queue_bodies`); of what comes behind them it
//! keeps the places. Called under the queue's lock, after every operation. Reading is a copy out of the system's cache
//! nearly always: what comes next was asked for ahead.
//! Not here: which messages go and which are wanted (`queue`), the files (`store`).

use tracing::error;

use super::QueueCell;
use crate::model::{Location, Message, MessageBatch, Timestamp};
use crate::queue::{Effects, PagedRun, Queue};
use crate::store::LogError;

/// Bytes that are read at once, unless one message is longer.
const READ: u32 = 512 << 10;

/// Bytes of transient messages that are written to an overflow file at once.
const SPILL: u64 = 1 << 20;

/// What a queue may always keep, however short memory is.
const KEEP_LEAST: u64 = 256 << 10;

impl QueueCell {
    /// Loads what the queue cannot go on without, and gives it to its consumers.
    pub(super) fn load(&self, queue: &mut Queue, now: Timestamp, effects: &mut Effects) {
        while let Some(run) = queue.page_wanted() {
            self.load_run(queue, &run, effects);
            queue.dispatch(now, effects);
        }
    }

    /// Loads the next message of the queue, whoever wants it.
    pub(super) fn load_front(&self, queue: &mut Queue, now: Timestamp, effects: &mut Effects) {
        while let Some(run) = queue.page_wanted_for_get(now, effects) {
            self.load_run(queue, &run, effects);
        }
    }

    fn load_run(&self, queue: &mut Queue, run: &PagedRun, effects: &mut Effects) {
        let loaded =
            self.read(run.location, run.from, run.len).map(|messages| queue.page_in(run, messages, effects));
        match loaded {
            Ok(taken) if taken > 0 => {}
            Ok(_) => {
                let lost = queue.page_lost(run, effects);
                if lost > 0 {
                    error!(queue = %self.name(), lost, "messages cannot be read back: their record has no entries");
                }
            }
            Err(error) => {
                let lost = queue.page_lost(run, effects);
                error!(queue = %self.name(), lost, %error, "messages cannot be read back; `rialto data check` tells more");
            }
        }
    }

    /// The messages whose entries are there in a record, or the first ones if they are long together.
    pub(super) fn read(&self, location: Location, from: u32, len: u32) -> Result<Vec<Message>, LogError> {
        let core = self.core();
        let mut wanted = len.min(READ);
        loop {
            let slice = core.log.read(location, from, wanted)?;
            let whole = match wanted == len {
                true => slice.entries.len(),
                false => whole_entries(&slice.entries),
            };
            if whole == 0 && wanted < len {
                wanted = wanted.saturating_mul(4).min(len);
                continue;
            }
            let entries = slice.entries.slice(..whole);
            return MessageBatch::read_back(location, from, entries, slice.routes, &core.gauge)
                .map_err(|error| LogError::Damaged { location, what: error.to_string() });
        }
    }

    /// Lets messages go that need not be in memory, if the queue has more there than it may.
    pub(super) fn page_out(&self, queue: &mut Queue, effects: &mut Effects) {
        let core = self.core();
        let resident = queue.resident_bytes();
        if resident <= KEEP_LEAST || !core.log.is_durable() {
            return;
        }
        let keep = match core.pressure.is_tight() {
            true => KEEP_LEAST.max(core.limits.queue_bodies / 16),
            false => core.limits.queue_bodies.max(KEEP_LEAST),
        };
        if resident <= keep {
            return;
        }
        // Well below, so that it is not done for each message at the edge.
        let keep = keep / 4 * 3;
        let written = core.log.written();
        queue.page_out(keep, |location| location.as_u64() < written.0);
        while let Some(spill) = queue.spill_wanted(keep, SPILL) {
            match core.log.spill(spill.messages()) {
                Ok(location) => queue.spilled(spill, location, effects),
                // They stay where they are; publishers are held back.
                Err(error) => return tracing::debug!(queue = %self.name(), %error, "nothing is paged out"),
            }
            queue.page_out(keep, |location| location.as_u64() < written.0);
        }
    }
}

/// Bytes of the whole entries at the start.
fn whole_entries(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Ok(entry) = rialto_protocol::native::Entry::read(&bytes[whole..]) {
        whole += entry.len;
    }
    whole
}
