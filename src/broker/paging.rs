//! Messages of a queue that are on disk only: how they get there, and how they come back.
//!
//! A queue keeps the bytes of so many waiting messages in memory (`memory.queue_bodies`); of what comes behind them it
//! keeps the places. Called under the queue's lock, after every operation. Reading is a copy out of the system's cache
//! nearly always: what comes next was asked for ahead.
//! Not here: which messages go and which are wanted (`queue`), the files (`store`).

use std::sync::atomic::Ordering;

use tracing::{error, warn};

use super::QueueCell;
use crate::model::{Location, Message, MessageBatch, Timestamp};
use crate::queue::{BrowsePlace, DeadLetter, Effects, MESSAGE_OVERHEAD, PagedRun, Queue};
use crate::store::LogError;

/// Bytes that are read at once, unless one message is longer.
const READ: u32 = 512 << 10;

/// Bytes of runs of one record that are read together.
const TOGETHER: u32 = 64 << 10;

/// Bytes of transient messages that are written to an overflow file at once.
const SPILL: u64 = 1 << 20;

/// What a queue may always keep, however short memory is.
const KEEP_LEAST: u64 = 256 << 10;

/// Bytes of dead letters from which on a queue loads nothing more at once. All of a long queue can die in one moment,
/// and may be larger than memory: the rest goes when these have been routed.
const DEAD_MAX: u64 = 4 << 20;

/// Dead letters of any queues in a turn from which on nothing more is loaded in it.
const DEAD_IN_TURN_MAX: usize = 16_384;

/// How long nothing is read when it was not possible: there were too many open files, for instance.
const RETRY_MS: u64 = 1000;

impl QueueCell {
    /// Loads what the queue cannot go on without, and gives it to its consumers. Says when to go on, if that is not all
    /// yet. `dead`: how many letters wait in this turn already.
    pub(super) fn load(
        &self,
        queue: &mut Queue,
        now: Timestamp,
        effects: &mut Effects,
        dead: usize,
    ) -> Option<Timestamp> {
        let first = queue.page_wanted()?;
        let until = self.unreadable_until();
        if until > now {
            return Some(until);
        }
        let cost = |letters: &[DeadLetter]| -> u64 {
            letters.iter().map(|letter| letter.message.len() as u64 + MESSAGE_OVERHEAD).sum()
        };
        let mut dead_bytes = cost(&effects.dead);
        let mut next = Some(first);
        while let Some(run) = next {
            if dead_bytes >= DEAD_MAX || dead + effects.dead.len() >= DEAD_IN_TURN_MAX {
                return Some(now);
            }
            let before = effects.dead.len();
            if !self.load_run(queue, &run, now, effects) {
                return Some(self.unreadable_until());
            }
            queue.dispatch(now, effects);
            dead_bytes += cost(&effects.dead[before..]);
            next = queue.page_wanted();
        }
        None
    }

    /// Loads the next message of the queue, whoever wants it.
    pub(super) fn load_front(&self, queue: &mut Queue, now: Timestamp, effects: &mut Effects) {
        while let Some(run) = queue.page_wanted_for_get(now, effects) {
            if self.unreadable_until() > now || !self.load_run(queue, &run, now, effects) {
                return;
            }
        }
    }

    /// Loads a message that is about to be taken out.
    pub(super) fn load_for_taking(
        &self,
        queue: &mut Queue,
        place: BrowsePlace,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        while let Some(run) = queue.page_wanted_for_taking(place, now, effects) {
            if self.unreadable_until() > now || !self.load_run(queue, &run, now, effects) {
                return;
            }
        }
    }

    fn unreadable_until(&self) -> Timestamp {
        Timestamp::from_micros(self.unreadable_until.load(Ordering::Relaxed))
    }

    /// False: it cannot be read now, and stays where it is.
    fn load_run(&self, queue: &mut Queue, run: &PagedRun, now: Timestamp, effects: &mut Effects) -> bool {
        let behind = queue.page_behind(run, TOGETHER.saturating_sub(run.len));
        let len = behind.iter().map(|next| next.len).fold(run.len, u32::saturating_add);
        let mut read = self.read(run.location, run.from, len);
        if read.is_err() && len > run.len {
            // Whatever is wrong behind it, it may be whole.
            read = self.read(run.location, run.from, run.len);
        }
        let loaded = read.map(|messages| {
            let mut messages = messages.into_iter();
            let mut next = |run: &PagedRun, effects: &mut Effects| {
                let messages = messages.by_ref().take(run.count as usize).collect();
                queue.page_in(run, messages, effects)
            };
            let taken = next(run, effects);
            behind.iter().for_each(|run| _ = next(run, effects));
            taken
        });
        match loaded {
            Ok(taken) if taken > 0 => {}
            Ok(_) => {
                let lost = queue.page_lost(run, effects);
                if lost > 0 {
                    error!(queue = %self.name(), lost, "messages cannot be read back: their record has no entries");
                }
            }
            Err(LogError::Disk(error)) => {
                self.unreadable_until.store(now.plus_millis(RETRY_MS).as_micros(), Ordering::Relaxed);
                warn!(queue = %self.name(), error, "messages cannot be read back now; it is tried again");
                return false;
            }
            Err(error) => {
                let lost = queue.page_lost(run, effects);
                error!(queue = %self.name(), lost, %error, "messages cannot be read back; `rialto data check` tells more");
            }
        }
        true
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
        let bodies = core.limits.queue_bodies;
        let keep = match (core.pressure.is_tight(), queue.consumer_count()) {
            (true, _) => bodies / 16,
            // What it keeps is for consumers that must not wait for the disk. Who comes first is served from this.
            (false, 0) => bodies / 4,
            (false, _) => bodies,
        };
        let keep = keep.max(KEEP_LEAST);
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
