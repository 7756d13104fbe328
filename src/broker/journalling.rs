//! What the journal is told: which messages entered which queues, which left, which came back.
//!
//! A publish is appended before any queue has the message, so that whatever happens to it there is about a message
//! that the journal knows. What becomes of messages during a turn is noted and appended when the turn ends, as one
//! record; what must not be torn apart (a dead letter's move, a transaction) is one record of its own.
//!
//! Invariant: only durable queues that outlive their connection are spoken of, and only messages that have a location.
//! Not here: the journal (`store`), when an answer may leave (`session`).

use std::sync::Arc;

use super::{Broker, Commit, QueueCell};
use crate::model::{Message, MessageBatch, Publication, QueueId, Returned, StoredRun, Timestamp};
use crate::queue::Effects;
use crate::store::{Log, LogError, Part, Position, PublishPart, StoredMessage, StoredTarget};

/// What has happened to messages of durable queues during a turn. Reused for its memory.
#[derive(Debug, Default)]
pub(super) struct JournalNotes {
    settled: Vec<StoredRun>,
    /// Whose they are: each with the number of runs.
    settled_of: Vec<(QueueId, usize)>,
    returned: Vec<Returned>,
    returned_of: Vec<(QueueId, usize)>,
}

impl JournalNotes {
    /// Notes what a queue says.
    pub(super) fn take(&mut self, queue: QueueId, effects: &mut Effects) {
        if !effects.settled.is_empty() {
            note(&mut self.settled_of, queue, effects.settled.len());
            self.settled.append(&mut effects.settled);
        }
        if !effects.returned.is_empty() {
            note(&mut self.returned_of, queue, effects.returned.len());
            self.returned.append(&mut effects.returned);
        }
    }

    /// Notes that a message has left a queue for good.
    pub(super) fn settled(&mut self, queue: QueueId, run: StoredRun) {
        note(&mut self.settled_of, queue, 1);
        self.settled.push(run);
    }

    /// Appends the notes, and says what whoever is to rely on them waits for.
    pub(super) fn append(&mut self, log: &dyn Log) -> Commit {
        if self.is_empty() {
            return Commit::NONE;
        }
        let parts: Vec<_> = self.parts().collect();
        let appended = log.append(&parts);
        drop(parts);
        self.clear();
        match appended {
            Ok(journal) => Commit { journal, ..Commit::NONE },
            Err(error) => {
                // What was settled comes back after a restart: delivered twice, not lost.
                tracing::debug!(%error, "settlements are not recorded");
                Commit::NEVER
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.settled_of.is_empty() && self.returned_of.is_empty()
    }

    /// The notes, as the journal wants them.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let settled = slices(&self.settled, &self.settled_of);
        let returned = slices(&self.returned, &self.returned_of);
        let settled = settled.map(|(queue, runs)| Part::Settle { queue, runs });
        settled.chain(returned.map(|(queue, returned)| Part::Return { queue, returned }))
    }

    pub(super) fn clear(&mut self) {
        self.settled.clear();
        self.settled_of.clear();
        self.returned.clear();
        self.returned_of.clear();
    }
}

fn note(of: &mut Vec<(QueueId, usize)>, queue: QueueId, count: usize) {
    match of.last_mut() {
        Some((last, noted)) if *last == queue => *noted += count,
        _ => of.push((queue, count)),
    }
}

fn slices<'a, T>(all: &'a [T], of: &'a [(QueueId, usize)]) -> impl Iterator<Item = (QueueId, &'a [T])> {
    let mut rest = all;
    of.iter().map(move |&(queue, count)| {
        let (these, others) = rest.split_at(count);
        rest = others;
        (queue, these)
    })
}

/// The messages of a batch that the journal gets, and the queues they enter. Reused for its memory.
#[derive(Debug, Default)]
pub(super) struct StoredBatch {
    batch: Option<Arc<MessageBatch>>,
    messages: Vec<StoredMessage>,
    targets: Vec<StoredTarget>,
    /// The version of the catalog that has all the queues.
    kept_at: u64,
}

impl StoredBatch {
    /// Adds a message.
    pub(super) fn push(&mut self, publication: &Publication) {
        let message = &publication.message;
        if self.batch.is_none() {
            self.batch = Some(message.batch().clone());
        }
        self.messages.push(StoredMessage {
            lsn: publication.lsn,
            entry_len: message.len() as u32,
            body_len: message.body_len() as u32,
            route: message.route_number(),
            priority: publication.priority,
            ttl_ms: publication.ttl_ms,
            delay_ms: publication.delay_ms,
        });
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> u32 {
        self.messages.len() as u32
    }

    /// The messages from `first` on enter these queues, as far as those are in the journal.
    pub(super) fn enter(&mut self, queues: &[Arc<QueueCell>], first: u32) {
        let count = self.len() - first;
        if count == 0 {
            return;
        }
        for queue in queues.iter().filter(|queue| queue.is_journalled()) {
            self.kept_at = self.kept_at.max(queue.kept_at());
            // Another route to the same queues: their last ranges are at most as many places back.
            let before = self.targets.iter_mut().rev().take(queues.len()).find(|t| t.queue == queue.id());
            match before {
                Some(target) if target.first + target.count == first => target.count += count,
                _ => self.targets.push(StoredTarget { queue: queue.id(), first, count }),
            }
        }
    }

    /// What the journal gets. None: nothing of this is for it.
    pub(super) fn part(&self, at: Timestamp) -> Option<Part<'_>> {
        let batch = self.batch.as_ref().filter(|_| !self.targets.is_empty())?;
        let (messages, targets) = (&self.messages, &self.targets);
        Some(Part::Publish(PublishPart { batch, at, messages, targets }))
    }

    /// The version of the catalog without which the messages would be nobody's.
    pub(super) fn kept_at(&self) -> u64 {
        self.kept_at
    }

    pub(super) fn clear(&mut self) {
        self.batch = None;
        self.messages.clear();
        self.targets.clear();
        self.kept_at = 0;
    }
}

impl Broker {
    /// Whether messages of durable queues outlive the broker.
    pub fn is_durable(&self) -> bool {
        self.log().is_durable()
    }

    /// Appends parts as one record. What it says is safe once that is committed, and the version of the catalog that has
    /// all the queues.
    pub(super) fn append(&self, parts: &[Part<'_>], kept_at: u64) -> Result<Commit, LogError> {
        let journal = self.log().append(parts)?;
        Ok(Commit { journal, catalog: kept_at })
    }

    /// Appends what was noted. Nobody is told when it is safe.
    pub(super) fn append_notes(&self, notes: &mut JournalNotes) {
        notes.append(self.log());
    }

    /// Appends that a message of the broker's own making enters queues, and in the same record that the one it
    /// came from has left its queue. Does nothing if none of that concerns the journal.
    pub(super) fn append_move(
        &self,
        left: Option<(QueueId, StoredRun)>,
        queues: &[Arc<QueueCell>],
        publication: &Publication,
        at: Timestamp,
    ) -> Result<Option<Position>, LogError> {
        if !self.is_durable() {
            return Ok(None);
        }
        let mut entering = StoredBatch::default();
        if publication.message.is_persistent() {
            entering.push(publication);
            entering.enter(queues, 0);
        }
        let run;
        let mut parts = Vec::new();
        if let Some((queue, left)) = left {
            run = [left];
            parts.push(Part::Settle { queue, runs: &run });
        }
        parts.extend(entering.part(at));
        match parts.is_empty() {
            true => Ok(None),
            false => self.log().append(&parts).map(Some),
        }
    }
}

/// How the journal knows a message of this queue. None: it does not.
pub(super) fn stored_run(queue: &QueueCell, message: &Message, lsn: crate::model::Lsn) -> Option<StoredRun> {
    let location = message.location()?;
    if !queue.is_journalled() || location.segment.is_overflow() {
        return None;
    }
    Some(StoredRun { first: lsn, count: 1, location })
}
