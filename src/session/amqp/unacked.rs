//! Which delivery tag of a channel is which message: a channel counts over all its consumers, a queue counts for
//! each consumer.
//!
//! Invariants: neighbouring tags of one consumer are one run, so memory follows the number of gaps, not of messages;
//! a tag is taken once. Not here: the messages, which their queues hold.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    /// By the last tag of each run: the oldest run gets shorter at its front, where its key does not change.
    runs: BTreeMap<u64, Run>,
    /// How many deliveries they are.
    len: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    /// The consumer's number on the channel.
    consumer: u32,
    /// The consumer's own tag for `first`.
    own: u64,
}

/// Neighbouring deliveries of one consumer that were taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The consumer's number on the channel.
    pub(super) consumer: u32,
    /// The channel's tags, first and last.
    pub(super) tags: (u64, u64),
    /// The consumer's own tags, first and last.
    pub(super) own: (u64, u64),
}

impl Run {
    fn taken(&self, from: u64, to: u64) -> Taken {
        let own = |tag: u64| self.own + (tag - self.first);
        Taken { consumer: self.consumer, tags: (from, to), own: (own(from), own(to)) }
    }
}

impl Unacked {
    /// Most runs that are remembered. Only messages that their queues have taken back (a consumer timeout, a deleted
    /// queue) while the client never settles anything can be so many; the oldest are then unknown.
    const RUNS_MAX: usize = 1_000_000;

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many deliveries there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Remembers deliveries from `first` to `last`, the newest of the channel; `own` is the consumer's tag of the
    /// first.
    pub(super) fn delivered(&mut self, consumer: u32, (first, last): (u64, u64), own: u64) {
        let mut run = Run { first, consumer, own };
        if let Some(newest) = self.runs.last_entry() {
            let (end, before) = (*newest.key(), *newest.get());
            if end + 1 == first && before.consumer == consumer && before.own + (first - before.first) == own {
                newest.remove();
                run = before;
            }
        }
        self.runs.insert(last, run);
        self.len += last + 1 - first;
        if self.runs.len() > Self::RUNS_MAX
            && let Some((last, run)) = self.runs.pop_first()
        {
            self.len -= last + 1 - run.first;
        }
    }

    /// Takes one delivery. None: there is no such tag, or no more.
    pub(super) fn take_one(&mut self, tag: u64) -> Option<Taken> {
        let (&last, run) = self.runs.range_mut(tag..).next()?;
        if run.first > tag {
            return None;
        }
        let whole = *run;
        if tag == last {
            self.runs.remove(&last);
        } else {
            run.own += tag + 1 - run.first;
            run.first = tag + 1;
        }
        if whole.first < tag {
            self.runs.insert(tag - 1, whole);
        }
        self.len -= 1;
        Some(whole.taken(tag, tag))
    }

    /// Takes every delivery up to `tag`, oldest first. Nothing, if there is no such tag.
    pub(super) fn take_up_to(&mut self, tag: u64) -> Vec<Taken> {
        if self.runs.range(tag..).next().is_none_or(|(_, run)| run.first > tag) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while let Some(mut oldest) = self.runs.first_entry() {
            let (last, run) = (*oldest.key(), *oldest.get());
            if run.first > tag {
                break;
            }
            if last <= tag {
                oldest.remove();
            } else {
                *oldest.get_mut() = Run { first: tag + 1, own: run.own + (tag + 1 - run.first), ..run };
            }
            let end = last.min(tag);
            self.len -= end + 1 - run.first;
            taken.push(run.taken(run.first, end));
        }
        taken
    }

    /// Takes every delivery, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<Taken> {
        self.len = 0;
        std::mem::take(&mut self.runs).into_iter().map(|(last, run)| run.taken(run.first, last)).collect()
    }

    /// Puts back what was taken: a transaction was rolled back.
    pub(super) fn put_back(&mut self, taken: Taken) {
        let Taken { consumer, tags: (first, last), own: (own, _) } = taken;
        self.runs.insert(last, Run { first, consumer, own });
        self.len += last + 1 - first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(consumer: u32, tags: (u64, u64), own: (u64, u64)) -> Taken {
        Taken { consumer, tags, own }
    }

    /// Consumer 1 got tags 1 to 4, consumer 2 tags 5 and 6, consumer 1 tag 7.
    fn unacked() -> Unacked {
        let mut unacked = Unacked::default();
        unacked.delivered(1, (1, 2), 1);
        unacked.delivered(1, (3, 4), 3);
        unacked.delivered(2, (5, 6), 1);
        unacked.delivered(1, (7, 7), 5);
        unacked
    }

    #[test]
    fn neighbours_are_one_run_and_are_taken_together() {
        assert_eq!(unacked().runs.len(), 3);
        let all = [taken(1, (1, 4), (1, 4)), taken(2, (5, 6), (1, 2)), taken(1, (7, 7), (5, 5))];
        assert_eq!(unacked().take_all(), all);
        assert_eq!(unacked().take_up_to(7), all);
        assert_eq!(unacked().take_up_to(5), [all[0], taken(2, (5, 5), (1, 1))]);
    }

    #[test]
    fn a_tag_is_taken_once_and_its_neighbours_stay() {
        let mut unacked = unacked();
        assert_eq!(unacked.take_one(3), Some(taken(1, (3, 3), (3, 3))));
        assert_eq!(unacked.take_one(3), None);
        assert_eq!(unacked.take_up_to(3), [], "an unknown tag takes nothing");
        assert_eq!(unacked.take_one(8), None);
        assert_eq!(unacked.take_one(4), Some(taken(1, (4, 4), (4, 4))));
        assert_eq!(unacked.take_up_to(6), [taken(1, (1, 2), (1, 2)), taken(2, (5, 6), (1, 2))]);
    }

    #[test]
    fn a_run_between_others_is_not_joined_across_a_gap() {
        let mut unacked = unacked();
        unacked.take_one(7);
        unacked.delivered(1, (8, 8), 6);
        assert_eq!(unacked.take_one(8), Some(taken(1, (8, 8), (6, 6))));
        assert_eq!(unacked.take_one(7), None);
    }

    #[test]
    fn what_was_rolled_back_can_be_taken_again() {
        let mut unacked = unacked();
        let one = unacked.take_one(2).unwrap();
        let more = unacked.take_up_to(5);
        unacked.put_back(one);
        more.into_iter().for_each(|taken| unacked.put_back(taken));
        let own: Vec<_> = unacked.take_all().iter().map(|taken| (taken.consumer, taken.own)).collect();
        assert_eq!(own, [(1, (1, 1)), (1, (2, 2)), (1, (3, 4)), (2, (1, 1)), (2, (2, 2)), (1, (5, 5))]);
    }
}
