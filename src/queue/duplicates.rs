//! Messages that came before: `x-message-deduplication`.
//!
//! Invariants: only queues with the option look into headers; a duplicate is accepted and not kept; the key of a
//! message that is refused is not remembered, so its publisher can try again. A message that died here and comes
//! back from its dead-letter exchange is the same message, not a duplicate: retries over a waiting queue go on. So is one
//! that an operator moves here: it is somewhere once, and would be nowhere if it were left out.
//! Not here: the keys seen lately (`model`).

use rialto_protocol::types::{FieldTable, FieldValue};

use crate::model::{Deduplication, Message, Publication, Timestamp};

use super::death::X_DEATH;
use super::effects::{Admission, Effects, Verdict};
use super::{Queue, QueueOptions};

/// An empty window for a queue that looks for duplicates.
pub(super) fn window(options: &QueueOptions) -> Option<Box<Deduplication>> {
    let options = options.deduplication.as_ref()?;
    Some(Box::new(Deduplication::new(options.size, options.ttl_ms)))
}

impl Queue {
    /// Takes a message, refuses it, or finds that it came before.
    pub(super) fn admit_once(
        &mut self,
        publication: Publication,
        admission: Admission,
        now: Timestamp,
        out: &mut Effects,
    ) -> Verdict {
        let headers = publication.message.properties().headers().unwrap_or_default();
        let key = self.options.deduplication.as_ref().and_then(|options| options.key_of(&headers));
        let (Some(key), Some(window)) = (key, &self.seen) else {
            self.pass_time(now, out);
            return self.take(publication, admission, now, out);
        };
        let may_be_duplicate = admission == Admission::Published && !has_died_in(&headers, &self.name);
        if may_be_duplicate && window.contains(&key.key, now) {
            self.totals.duplicates += 1;
            self.note_not_taken(&publication, out);
            return Verdict::Duplicate;
        }
        self.pass_time(now, out);
        let verdict = self.take(publication, admission, now, out);
        if verdict == Verdict::Accepted
            && let Some(window) = &mut self.seen
        {
            window.insert(&key.key, key.ttl_ms, now);
        }
        verdict
    }
}

impl Queue {
    /// Remembers the key of a message that came at this time, before a restart, if the queue looks for duplicates. Only
    /// keys of messages that are still there can be remembered so.
    pub fn restore_key(&mut self, message: &Message, at: Timestamp) {
        let (Some(options), Some(window)) = (&self.options.deduplication, &mut self.seen) else { return };
        let headers = message.properties().headers().unwrap_or_default();
        if let Some(key) = options.key_of(&headers) {
            window.insert(&key.key, key.ttl_ms, at);
        }
    }
}

/// Whether the message says that it died in this queue. If a publisher lies, its duplicate is delivered.
fn has_died_in(headers: &FieldTable, queue: &str) -> bool {
    let Some(FieldValue::Array(deaths)) = headers.get(X_DEATH) else { return false };
    deaths.iter().any(|death| match death {
        FieldValue::Table(death) => death.get("queue").and_then(FieldValue::as_str) == Some(queue),
        _ => false,
    })
}
