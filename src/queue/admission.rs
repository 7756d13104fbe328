//! Messages that come: to a consumer at once, into the queue, or back with a refusal.
//!
//! Invariants: who came first goes first; the time that has passed is made up for before a message is taken, or what is
//! ready by now would go behind it. Not here: which limits refuse (`overflow`), what a duplicate is (`duplicates`).

use crate::model::{OverflowRule, Publication, Timestamp};

use super::Queue;
use super::effects::{Admission, DeathReason, Effects, RejectReason, Verdict};
use super::entry::Entry;

impl Queue {
    /// Takes a message, or refuses it. With nothing ready and a consumer with room it goes there at once;
    /// else it waits for [`Queue::dispatch`]. The LSN must not be in the queue already. The journal, if it is to have the
    /// message, has been told before: of what the queue does not take it hears in [`Effects::settled`]. A message that
    /// was read back from an overflow file must come as a new one, with bytes of its own.
    pub fn publish(&mut self, publication: Publication, now: Timestamp, out: &mut Effects) -> Verdict {
        self.admit(publication, Admission::Published, now, out)
    }

    /// Takes a message as [`Queue::publish`] does, but for what its way here exempts it from.
    pub fn admit(
        &mut self,
        publication: Publication,
        admission: Admission,
        now: Timestamp,
        out: &mut Effects,
    ) -> Verdict {
        match self.seen {
            None => {
                self.pass_time(now, out);
                self.take(publication, admission, now, out)
            }
            Some(_) => self.admit_once(publication, admission, now, out),
        }
    }

    /// Takes messages that came together as [`Queue::admit`] does one, and gives the places of those that it does not
    /// take, with the reason.
    pub fn admit_all(
        &mut self,
        publications: impl Iterator<Item = (u32, Publication)>,
        admission: Admission,
        now: Timestamp,
        out: &mut Effects,
        rejected: &mut Vec<(u32, RejectReason)>,
    ) {
        let looks_for_duplicates = self.seen.is_some();
        if !looks_for_duplicates {
            // For all of them: none that comes can be due at once.
            self.pass_time(now, out);
        }
        for (place, publication) in publications {
            let verdict = match looks_for_duplicates {
                true => self.admit_once(publication, admission, now, out),
                false => self.take(publication, admission, now, out),
            };
            match verdict {
                Verdict::Accepted | Verdict::Duplicate => {}
                Verdict::Rejected(reason) => rejected.push((place, reason)),
            }
        }
    }

    /// Takes a message that is no duplicate, or refuses it. To be called after
    /// [`Queue::pass_time`]: what time has made ready goes first.
    pub(super) fn take(
        &mut self,
        publication: Publication,
        admission: Admission,
        now: Timestamp,
        out: &mut Effects,
    ) -> Verdict {
        if !self.ready.is_empty() && self.consumers.has_room() {
            // Those that came first go first, also when the caller has not dispatched since there is room.
            self.dispatch(now, out);
        }
        // As in RabbitMQ, a queue that refuses what exceeds its limits looks at those before it looks for a consumer:
        // what is longer than the queue may be is refused even if somebody waits for it.
        if self.ready.is_empty()
            && !self.refuses(&publication.message, admission)
            && let Some(slot) = self.consumers.next()
        {
            self.totals.published += 1;
            let entry = Entry::new(publication, &self.options, now);
            self.give(slot, entry, now, out);
            return Verdict::Accepted;
        }
        self.enqueue(publication, admission, now, out)
    }

    /// Takes a message that has to wait.
    fn enqueue(
        &mut self,
        publication: Publication,
        admission: Admission,
        now: Timestamp,
        out: &mut Effects,
    ) -> Verdict {
        let refused = self.refuses(&publication.message, admission);
        let entry = Entry::new(publication, &self.options, now);
        if refused {
            self.totals.refused += 1;
            match self.options.overflow {
                // Whoever moves it still has it: as a dead letter there would be two of it.
                OverflowRule::RejectPublishDeadLetter if admission == Admission::Published => {
                    self.bury(entry, DeathReason::MaxLength, None, out);
                }
                // The journal was told that it came, before the queue was asked.
                _ => self.note_settled(&entry, out),
            }
            return Verdict::Rejected(RejectReason::MaxLength);
        }
        self.totals.published += 1;
        if entry.held.expires <= now {
            // A time to live of 0 is "now or never". It takes nobody's place.
            self.bury(entry, DeathReason::Expired, None, out);
        } else {
            self.ready.insert(entry);
            self.drop_overflow(out);
        }
        Verdict::Accepted
    }
}
