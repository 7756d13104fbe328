//! Looking at messages, and taking single ones out: for operators.
//!
//! To look changes nothing: no count, no order, no time to live, nothing is loaded. What is not in memory is told as the
//! run it is in, and the caller reads it where it is stored. Whoever goes through a long queue does so in steps, each from
//! the place at which the one before ended; what comes or goes meanwhile is seen or not, and nothing is seen twice.
//!
//! Invariants: places are in the order of delivery: ready by priority, then LSN; delayed by time, then LSN. A message that is
//! taken out has left the queue as by a purge: the journal is told, and nobody else.
//! Not here: messages that wait to become dead letters, who may look (`broker`).

use crate::model::{ConsumerId, ConsumerTag, Lsn, Message, Timestamp};

use super::Queue;
use super::consumer::Role;
use super::effects::Effects;
use super::entry::{Entry, Held};
use super::paged::PagedRun;

/// Where a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrowsePlace {
    /// Among those that may be delivered.
    Ready {
        /// Its priority in this queue.
        priority: u8,
        /// Its identity.
        lsn: Lsn,
    },
    /// Among those that came back and are not to be delivered yet.
    Delayed {
        /// Until then.
        until: Timestamp,
        /// Its identity.
        lsn: Lsn,
    },
}

impl BrowsePlace {
    /// The identity of the message.
    pub fn lsn(self) -> Lsn {
        match self {
            BrowsePlace::Ready { lsn, .. } | BrowsePlace::Delayed { lsn, .. } => lsn,
        }
    }

    /// Sorts places as messages are listed.
    fn key(self) -> (bool, u64, Lsn) {
        match self {
            BrowsePlace::Ready { priority, lsn } => (false, u64::from(u8::MAX - priority), lsn),
            BrowsePlace::Delayed { until, lsn } => (true, until.as_micros(), lsn),
        }
    }
}

impl PartialOrd for BrowsePlace {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BrowsePlace {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A message that waits, as it is looked at.
#[derive(Clone, Debug)]
pub struct BrowsedMessage {
    /// Where it waits.
    pub place: BrowsePlace,
    /// The message.
    pub message: Message,
    /// When it came to the queue.
    pub enqueued: Timestamp,
    /// When it expires; [`Timestamp::NEVER`] if it does not.
    pub expires: Timestamp,
    /// How often it was delivered and came back.
    pub returns: u32,
    /// How often that was a failed delivery.
    pub failures: u32,
}

/// What a look finds in one place.
#[derive(Clone, Debug)]
pub enum Browsed {
    /// A message in memory.
    Message(BrowsedMessage),
    /// Messages that are stored elsewhere: [`PagedRun::browsed`] makes messages of them, given their bytes. The first ones
    /// may stand before the place that was asked for.
    Run {
        /// The run.
        run: PagedRun,
        /// Until when they are delayed, if they are.
        until: Option<Timestamp>,
    },
}

/// A message that was delivered and is not settled.
#[derive(Clone, Debug)]
pub struct UnackedMessage {
    /// Who holds it.
    pub consumer: ConsumerId,
    /// The consumer's name on its channel; empty for a `get`.
    pub consumer_tag: ConsumerTag,
    /// Whether it was taken by a `get`, not by a consumer.
    pub is_get: bool,
    /// Whether its consumer was cancelled and may only settle.
    pub is_cancelled: bool,
    /// The consumer's own number for it: what a settlement names.
    pub tag: u64,
    /// Its identity.
    pub lsn: Lsn,
    /// The message.
    pub message: Message,
    /// Since when it is held, to a tenth of a second.
    pub given: Timestamp,
    /// When it came to the queue.
    pub enqueued: Timestamp,
    /// How often it was delivered before and came back.
    pub returns: u32,
    /// How often that was a failed delivery.
    pub failures: u32,
}

impl PagedRun {
    /// Its messages, or the first ones, given their bytes.
    pub fn browsed(
        self,
        messages: Vec<Message>,
        until: Option<Timestamp>,
    ) -> impl Iterator<Item = BrowsedMessage> {
        self.entries(messages).map(move |entry| {
            let place = match until {
                Some(until) => BrowsePlace::Delayed { until, lsn: entry.lsn },
                None => BrowsePlace::Ready { priority: entry.held.priority, lsn: entry.lsn },
            };
            browsed(place, &entry.held)
        })
    }

    /// Whether it has this message.
    pub(super) fn has(&self, lsn: Lsn) -> bool {
        (self.first..self.end()).contains(&lsn)
    }
}

/// Something in a lane, or among the delayed.
#[derive(Debug)]
pub(super) enum Seen<'a> {
    Message(Lsn, &'a Held),
    Run(PagedRun),
}

impl Seen<'_> {
    pub(super) fn first(&self) -> Lsn {
        match self {
            Seen::Message(lsn, _) => *lsn,
            Seen::Run(run) => run.first,
        }
    }

    fn expires(&self) -> Timestamp {
        match self {
            Seen::Message(_, held) => held.expires,
            Seen::Run(run) => run.expires,
        }
    }

    fn count(&self) -> usize {
        match self {
            Seen::Message(..) => 1,
            Seen::Run(run) => run.count as usize,
        }
    }

    fn browsed(self, priority: u8, until: Option<Timestamp>) -> Browsed {
        match self {
            Seen::Run(run) => Browsed::Run { run, until },
            Seen::Message(lsn, held) => Browsed::Message(browsed(
                match until {
                    Some(until) => BrowsePlace::Delayed { until, lsn },
                    None => BrowsePlace::Ready { priority, lsn },
                },
                held,
            )),
        }
    }
}

fn browsed(place: BrowsePlace, held: &Held) -> BrowsedMessage {
    let Held { message, expires, enqueued, returns, failures, .. } = held;
    BrowsedMessage {
        place,
        message: message.clone(),
        enqueued: *enqueued,
        expires: *expires,
        returns: *returns,
        failures: *failures,
    }
}

impl Queue {
    /// Messages that wait behind a place, from the first if there is none, in order: those in memory, and runs of those that
    /// are not. Ends when there are `limit` messages or more. Those past their deadline are passed over.
    pub fn browse(&self, after: Option<BrowsePlace>, limit: usize, now: Timestamp) -> Vec<Browsed> {
        let mut found = Vec::new();
        let mut left = limit;
        let mut look = |seen: Seen<'_>, priority: u8, until: Option<Timestamp>| {
            if seen.expires() > now {
                left = left.saturating_sub(seen.count());
                found.push(seen.browsed(priority, until));
            }
            left > 0
        };
        let (ready_after, delayed_after) = match after {
            None => (None, None),
            Some(BrowsePlace::Ready { priority, lsn }) => (Some((priority, lsn)), None),
            Some(BrowsePlace::Delayed { until, lsn }) => (Some((0, Lsn(u64::MAX))), Some((until, lsn))),
        };
        let mut ready = self.ready.seen_after(ready_after);
        if !ready.all(|(priority, seen)| look(seen, priority, None)) {
            return found;
        }
        let mut delayed = self.delayed.seen_after(delayed_after);
        // What is due by now is ready with the next operation. Until then it is where it was.
        delayed.all(|(until, seen)| look(seen, 0, Some(until)));
        found
    }

    /// One message that waits, by its identity.
    pub fn browse_one(&self, lsn: Lsn, now: Timestamp) -> Option<Browsed> {
        let place = self.places_of(&[lsn])[0]?;
        let found = match place {
            BrowsePlace::Ready { priority, .. } => {
                self.ready.seen_at(priority, lsn).map(|seen| (seen, priority, None))
            }
            BrowsePlace::Delayed { until, .. } => {
                self.delayed.seen_at(until, lsn).map(|seen| (seen, 0, Some(until)))
            }
        };
        let (seen, priority, until) = found.filter(|(seen, ..)| seen.expires() > now)?;
        Some(seen.browsed(priority, until))
    }

    /// Where messages wait, by their identities; none for those that do not. Looks at all that is delayed, once.
    pub fn places_of(&self, lsns: &[Lsn]) -> Vec<Option<BrowsePlace>> {
        let mut places: Vec<_> = lsns.iter().map(|lsn| self.ready.place_of(*lsn)).collect();
        if self.delayed.len() > 0 && places.iter().any(Option::is_none) {
            let wanted: ahash::AHashMap<Lsn, usize> = lsns.iter().copied().zip(0..).collect();
            self.delayed.each_place(|until, lsn| {
                if let Some(at) = wanted.get(&lsn) {
                    places[*at].get_or_insert(BrowsePlace::Delayed { until, lsn });
                }
            });
        }
        places
    }

    /// What has to be loaded before [`Queue::take_out`] finds this message. First it does what is due.
    pub fn page_wanted_for_taking(
        &mut self,
        place: BrowsePlace,
        now: Timestamp,
        out: &mut Effects,
    ) -> Option<PagedRun> {
        self.pass_time(now, out);
        let lsn = place.lsn();
        let delayed = match place {
            BrowsePlace::Delayed { until, .. } => self.delayed.seen_at(until, lsn),
            BrowsePlace::Ready { .. } => None,
        };
        let seen = match delayed {
            Some(seen) => seen,
            // It may have become ready just now.
            None => match self.ready.place_of(lsn)? {
                BrowsePlace::Ready { priority, .. } => self.ready.seen_at(priority, lsn)?,
                BrowsePlace::Delayed { .. } => return None,
            },
        };
        match seen {
            Seen::Run(run) => Some(run),
            Seen::Message(..) => None,
        }
    }

    /// Takes a message out of the queue, for good. None: it does not wait there, or not any more; or it is not in memory
    /// ([`Queue::page_wanted_for_taking`]). [`Queue::dispatch`] should follow.
    pub fn take_out(&mut self, place: BrowsePlace, now: Timestamp, out: &mut Effects) -> Option<Message> {
        self.pass_time(now, out);
        let entry = self.remove(place)?;
        self.totals.taken += 1;
        self.note_settled(&entry, out);
        Some(entry.held.message)
    }

    fn remove(&mut self, place: BrowsePlace) -> Option<Entry> {
        let lsn = place.lsn();
        if let BrowsePlace::Delayed { until, .. } = place
            && let Some(entry) = self.delayed.remove(until, lsn)
        {
            return Some(entry);
        }
        match self.ready.place_of(lsn)? {
            BrowsePlace::Ready { priority, .. } => self.ready.remove(priority, lsn),
            BrowsePlace::Delayed { .. } => None,
        }
    }

    /// Takes delayed messages of a run into memory. Answers how many.
    pub(super) fn page_in_delayed(&mut self, run: &PagedRun, messages: Vec<Message>) -> usize {
        let Some((until, run)) = self.delayed.take_run(run) else { return 0 };
        let taken = messages.len();
        if let Some(rest) = run.without(&messages) {
            self.delayed.insert_run(until, rest);
        }
        run.entries(messages).for_each(|entry| self.delayed.insert(until, entry));
        taken
    }

    /// Messages that are delivered and not settled, behind a consumer's tag, in order of consumers, then tags; at most
    /// `limit` of those that `wanted` agrees with.
    pub fn unacked(
        &self,
        after: Option<(ConsumerId, u64)>,
        limit: usize,
        now: Timestamp,
        wanted: impl Fn(&UnackedMessage) -> bool,
    ) -> Vec<UnackedMessage> {
        let from = after.map_or(ConsumerId(0), |(consumer, _)| consumer);
        let unacked = self.consumers.in_order(from).flat_map(|consumer| {
            let first = match after {
                Some((id, tag)) if id == consumer.id => tag.saturating_add(1),
                _ => 0,
            };
            consumer.unacked.iter_from(first).map(move |(tag, entry)| UnackedMessage {
                consumer: consumer.id,
                consumer_tag: consumer.tag.clone(),
                is_get: consumer.role == Role::Getter,
                is_cancelled: consumer.role == Role::Cancelled,
                tag,
                lsn: entry.lsn,
                message: entry.held.message.clone(),
                given: entry.held.given(now),
                enqueued: entry.held.enqueued,
                returns: entry.held.returns,
                failures: entry.held.failures,
            })
        });
        unacked.filter(wanted).take(limit).collect()
    }

    /// Who holds a message that is delivered and not settled. Looks at all of them.
    pub fn holder_of(&self, lsn: Lsn) -> Option<ConsumerId> {
        let holds = |consumer: &&super::Consumer| consumer.unacked.iter().any(|entry| entry.lsn == lsn);
        self.consumers.iter().find(holds).map(|consumer| consumer.id)
    }
}
