//! Messages that come: in batches, as from one read.

use rialto_protocol::types::{FieldTable, FieldValue, Properties};

use crate::model::{BatchBuilder, Lsn, Message, Priority, Publication};
use crate::queue::{Admission, Verdict};

use super::super::choices::Choices;
use super::super::naive::NaiveMessage;
use super::{KEY, NAME, Pair, same};

/// On which way messages come: mostly from publishers.
const WAYS: [Admission; 5] =
    [Admission::Published, Admission::Published, Admission::Published, Admission::Moved, Admission::Returned];

impl Pair {
    /// Publishes what came with one read, or what an operator moves: a batch that the journal has, or does not have.
    pub(super) fn publish(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        let admission = choices.one_of(&WAYS);
        let persistent = choices.one_in(2);
        let alike = choices.one_in(2).then(|| facts(choices));
        let mut builder = BatchBuilder::default();
        let mut twins = Vec::new();
        for _ in 0..self.burst {
            let (priority, ttl_ms) = alike.unwrap_or_else(|| facts(choices));
            twins.push(self.message(persistent, priority, ttl_ms, &mut builder, choices));
        }
        let messages: Vec<_> = builder.finish(&self.gauge).collect();
        if persistent {
            self.stored.append(messages[0].batch());
        }
        let together = choices.one_in(2) && self.machine.stats().paged == 0;
        let (mut publications, mut verdicts) = (Vec::new(), Vec::new());
        for (mut naive, message) in twins.into_iter().zip(messages) {
            let (lsn, ttl_ms) = (naive.lsn, naive.own_ttl_ms);
            let priority = naive.own_priority.map(Priority);
            naive.len = message.len() as u64;
            if self.machine.options().durable {
                self.stored.keep(lsn, &message, priority, ttl_ms, self.now);
            }
            if self.machine.stats().paged > 0 {
                // What is ready goes first to who has room, which may have to be loaded.
                self.drive(choices)?;
            }
            let publication = Publication { message, lsn: Lsn(lsn), priority, ttl_ms, delay_ms: None };
            if together {
                publications.push((verdicts.len() as u32, publication));
                verdicts.push(self.naive.admit(naive, admission, self.now.as_micros()));
                continue;
            }
            let verdict = self.machine.admit(publication, admission, self.now, &mut self.out);
            let naive = self.naive.admit(naive, admission, self.now.as_micros());
            same(&format!("publish, {admission:?}"), verdict, naive)?;
            self.load(choices, false)?;
        }
        if together {
            let mut rejected = Vec::new();
            let publications = publications.into_iter();
            self.machine.admit_all(publications, admission, self.now, &mut self.out, &mut rejected);
            let refused = (0..).zip(verdicts).filter_map(|(place, verdict)| match verdict {
                Verdict::Rejected(reason) => Some((place, reason)),
                Verdict::Accepted | Verdict::Duplicate => None,
            });
            same(&format!("publish together, {admission:?}"), rejected, refused.collect())?;
            self.load(choices, false)?;
        }
        Ok(())
    }

    /// Adds a message to a batch.
    fn message(
        &mut self,
        persistent: bool,
        priority: Option<u8>,
        ttl_ms: Option<u64>,
        builder: &mut BatchBuilder,
        choices: &mut impl Choices,
    ) -> NaiveMessage {
        let lsn = if !self.late.is_empty() && choices.one_in(8) {
            self.late.swap_remove(choices.below(self.late.len() as u64) as usize)
        } else {
            if self.late.len() < 10 && choices.one_in(8) {
                self.late.push(self.next_lsn);
                self.next_lsn += 1;
            }
            self.next_lsn += 1;
            self.next_lsn - 1
        };
        let body = body(lsn, choices.below(40) as usize);
        let (mut key, mut key_ttl_ms, mut died_here) = (None, None, false);
        if self.machine.options().deduplication.is_some() {
            key = choices.one_of(&[None, Some(1), Some(2), Some(3), Some(4), Some(5)]);
            key_ttl_ms = choices.one_of(&[None, None, None, Some(5)]);
            died_here = choices.one_in(8);
        }
        let headers = key.map(|key: u64| {
            let headers = FieldTable::new().with(KEY, key as i64);
            let headers = match key_ttl_ms {
                Some(ttl) => headers.with("x-cache-ttl", ttl as i64),
                None => headers,
            };
            let death = FieldTable::new().with("queue", if died_here { NAME } else { "other" });
            headers.with("x-death", FieldValue::Array(vec![FieldValue::Table(death)]))
        });
        let delivery_mode = persistent.then_some(2);
        let properties = Properties { delivery_mode, headers, ..Properties::default() };
        builder.push_content(&self.route, &properties.encoded(), &body, persistent);
        NaiveMessage {
            lsn,
            place: lsn,
            key,
            key_ttl_ms,
            died_here,
            own_priority: priority,
            own_ttl_ms: ttl_ms,
            body_len: body.len() as u64,
            persistent,
            enqueued: self.now.as_micros(),
            ..NaiveMessage::default()
        }
    }
}

/// The priority of a message, and its time to live.
fn facts(choices: &mut impl Choices) -> (Option<u8>, Option<u64>) {
    let ttl_ms = choices.one_of(&[None, None, None, None, Some(0), Some(5), Some(20), Some(50), Some(500)]);
    (choices.one_of(&[None, Some(0), Some(1), Some(2), Some(3), Some(9), Some(255)]), ttl_ms)
}

/// The body of the message with this LSN.
fn body(lsn: u64, len: usize) -> Vec<u8> {
    lsn.to_be_bytes().into_iter().rev().cycle().take(len).collect()
}

/// Whether the machine still has the bytes of the message that it says it is.
pub(super) fn check_body(lsn: Lsn, message: &Message) -> Result<(), String> {
    match message.body() == body(lsn.0, message.body_len()) {
        true => Ok(()),
        false => Err(format!("LSN {lsn}: another message's body")),
    }
}
