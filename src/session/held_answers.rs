//! Answers to publishers that wait until what they promise is safe: confirms, outcomes, `tx.commit-ok`.
//!
//! Invariants: they are told in the order in which they were given, over all channels of the connection, so that
//! cumulative confirms stay true; nothing is told on a channel that has been closed since. What need not wait, and has
//! nothing to wait behind, never comes here: see [`HeldAnswers::may_pass`].
//!
//! Bound: a publisher decides how much it leaves unconfirmed, and AMQP sets no limit to that. Neighbours that wait for
//! the same are one range; from [`HeldAnswers::FEW`] answers on they are one even if they do not, and the first waits
//! for the last. So a publisher on one channel costs nothing however far behind the disk is. Who mixes channels or
//! refused messages can still make many: from [`HeldAnswers::RANGES_MAX`] ranges on the connection is not read from,
//! its acknowledgements included, until the disk has come further.
//!
//! Answers to declares and the like are not here: they hold the whole output back, see
//! [`super::WriteQueue::hold`]. Who wakes the connection for those is: see [`HeldAnswers::await_commits`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::WriteQueue;
use crate::broker::{Broker, ChannelInfo, Commit, Outbox};
use crate::model::ChannelId;

/// What a protocol tells a publisher.
pub(super) trait Answer: Sized {
    /// How many ranges it tells of.
    fn ranges(&self) -> usize;

    /// How many messages it tells of.
    fn messages(&self) -> u64;

    /// How many messages it confirms.
    fn confirmed(&self) -> u64;

    /// Takes the answer that comes next on its channel into this one; gives it back if the two cannot be one.
    fn absorb(&mut self, next: Self) -> Option<Self>;

    /// Writes it.
    fn encode(self, channel: ChannelId, out: &mut BytesMut);
}

/// See the module.
#[derive(Debug)]
pub(super) struct HeldAnswers<A> {
    held: VecDeque<Held<A>>,
    ranges: usize,
    /// What the connection will be woken for: the first answer here, and the first thing that is held in its output.
    answers_alarm: Alarm,
    output_alarm: Alarm,
    /// Messages whose confirms were told and not counted yet, neighbours on a channel together.
    told: Vec<(ChannelId, u64)>,
}

#[derive(Debug)]
struct Held<A> {
    commit: Commit,
    channel: Arc<ChannelInfo>,
    answer: A,
}

impl<A> Default for HeldAnswers<A> {
    fn default() -> Self {
        let (held, ranges, told) = Default::default();
        let (answers_alarm, output_alarm) = Default::default();
        HeldAnswers { held, ranges, answers_alarm, output_alarm, told }
    }
}

impl<A: Answer> HeldAnswers<A> {
    /// Answers that may be held before neighbours wait for each other. A disk that goes on leaves fewer.
    const FEW: usize = 4096;

    /// Ranges that may be held before the connection is not read from any more.
    pub(super) const RANGES_MAX: usize = 65_536;

    /// Whether answers that promise this may be told at once.
    pub(super) fn may_pass(&self, commit: &Commit, broker: &Broker) -> bool {
        self.held.is_empty() && broker.is_committed(commit)
    }

    /// Holds an answer until its commit, and all that is held before it.
    pub(super) fn push(&mut self, commit: Commit, channel: &Arc<ChannelInfo>, answer: A) {
        self.ranges += answer.ranges();
        channel.unconfirmed.add(answer.messages());
        let many = self.held.len() >= Self::FEW;
        let rest = match self.held.back_mut() {
            Some(last) if last.channel.number == channel.number && (many || last.commit == commit) => {
                let before = last.answer.ranges() + answer.ranges();
                let rest = last.answer.absorb(answer);
                let after = last.answer.ranges() + rest.as_ref().map_or(0, A::ranges);
                self.ranges = self.ranges + after - before;
                if rest.is_none() {
                    last.commit = last.commit.join(commit);
                }
                rest
            }
            _ => Some(answer),
        };
        if let Some(answer) = rest {
            self.held.push_back(Held { commit, channel: channel.clone(), answer });
        }
    }

    /// Takes the first answer if it may be told.
    pub(super) fn pop_committed(&mut self, broker: &Broker) -> Option<(ChannelId, A)> {
        let held = self.held.pop_front_if(|held| broker.is_committed(&held.commit))?;
        Some(self.popped(held))
    }

    /// Takes the first answer and what it waits for.
    pub(super) fn pop(&mut self) -> Option<(Commit, ChannelId, A)> {
        let held = self.held.pop_front()?;
        let commit = held.commit;
        let (channel, answer) = self.popped(held);
        Some((commit, channel, answer))
    }

    fn popped(&mut self, held: Held<A>) -> (ChannelId, A) {
        self.ranges -= held.answer.ranges();
        held.channel.unconfirmed.sub(held.answer.messages());
        (held.channel.number, held.answer)
    }

    /// Drops the answers of a channel that was closed.
    pub(super) fn forget_channel(&mut self, channel: ChannelId) {
        self.held.retain(|held| held.channel.number != channel);
        self.ranges = self.held.iter().map(|held| held.answer.ranges()).sum();
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether so many are held that nothing more may be published.
    pub(super) fn is_full(&self) -> bool {
        self.ranges >= Self::RANGES_MAX
    }

    /// Frees what is held in the output, and tells the answers that may be told.
    pub(super) fn release(&mut self, out: &mut WriteQueue, broker: &Broker) {
        out.release(|commit| broker.is_committed(commit));
        let mut told = Told::new(out.buffer());
        while let Some((channel, answer)) = self.pop_committed(broker) {
            self.note_told(channel, &answer);
            told.put(channel, answer);
        }
    }

    /// An answer is told now: what it confirms is to be counted.
    pub(super) fn note_told(&mut self, channel: ChannelId, answer: &A) {
        match (answer.confirmed(), self.told.last_mut()) {
            (0, _) => {}
            (confirmed, Some((last, count))) if *last == channel => *count += confirmed,
            (confirmed, _) => self.told.push((channel, confirmed)),
        }
    }

    /// Takes how many messages of which channels were confirmed since this was asked last.
    pub(super) fn take_told(&mut self) -> impl Iterator<Item = (ChannelId, u64)> + '_ {
        self.told.drain(..)
    }

    /// Moves every answer to the output, where it is held as long: the connection ends, and nothing comes behind but
    /// its last words.
    pub(super) fn move_to(&mut self, out: &mut WriteQueue, broker: &Broker) {
        while let Some((commit, channel, answer)) = self.pop() {
            if !broker.is_committed(&commit) {
                out.hold(commit);
            }
            self.note_told(channel, &answer);
            answer.encode(channel, out.buffer());
        }
    }

    /// Sees to it that the outbox is woken when there is something to release.
    pub(super) fn await_commits(&mut self, out: &WriteQueue, broker: &Broker, outbox: &Arc<Outbox>) {
        self.answers_alarm.set(self.held.front().map(|held| held.commit), broker, outbox);
        self.output_alarm.set(out.held_until(), broker, outbox);
    }
}

/// Writes answers, neighbours on a channel together.
#[derive(Debug)]
pub(super) struct Told<'a, A: Answer> {
    last: Option<(ChannelId, A)>,
    out: &'a mut BytesMut,
}

impl<'a, A: Answer> Told<'a, A> {
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        Told { last: None, out }
    }

    /// Tells the next one.
    pub(super) fn put(&mut self, channel: ChannelId, answer: A) {
        let next = match &mut self.last {
            Some((of, last)) if *of == channel => last.absorb(answer),
            _ => Some(answer),
        };
        if let Some(answer) = next
            && let Some((of, before)) = self.last.replace((channel, answer))
        {
            before.encode(of, self.out);
        }
    }
}

impl<A: Answer> Drop for Told<'_, A> {
    fn drop(&mut self) {
        if let Some((channel, last)) = self.last.take() {
            last.encode(channel, self.out);
        }
    }
}

/// One wake-up that has been asked for.
///
/// A next one is asked for only when it has come, so that a connection never is in the broker's list more than twice.
/// What waits next waits for more than that, so nothing is late.
#[derive(Debug, Default)]
struct Alarm {
    awaited: Commit,
}

impl Alarm {
    fn set(&mut self, first: Option<Commit>, broker: &Broker, outbox: &Arc<Outbox>) {
        if let Some(first) = first
            && broker.is_committed(&self.awaited)
        {
            self.awaited = first;
            broker.wake_when_committed(first, outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::session::testing::{held_log, journal, was_woken};

    /// Numbers from one to another.
    #[derive(Debug, PartialEq)]
    struct Numbers(u64, u64);

    impl Answer for Numbers {
        fn ranges(&self) -> usize {
            1
        }

        fn messages(&self) -> u64 {
            self.1 + 1 - self.0
        }

        fn confirmed(&self) -> u64 {
            self.1 - self.0 + 1
        }

        fn absorb(&mut self, next: Numbers) -> Option<Numbers> {
            match next {
                Numbers(first, last) if first == self.1 + 1 => {
                    self.1 = last;
                    None
                }
                next => Some(next),
            }
        }

        fn encode(self, channel: ChannelId, out: &mut BytesMut) {
            out.extend_from_slice(format!("{channel}:{}-{} ", self.0, self.1).as_bytes());
        }
    }

    fn channels() -> [Arc<ChannelInfo>; 2] {
        [1, 2].map(|number| Arc::new(ChannelInfo::new(ChannelId(number), Timestamp::default())))
    }

    fn said(out: &mut WriteQueue) -> String {
        let mut slices = [std::io::IoSlice::new(&[])];
        let count = out.chunks(&mut slices);
        let said = slices[..count].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect();
        out.advance(out.len());
        said
    }

    #[test]
    fn what_waits_for_nothing_passes_only_if_nothing_is_before_it() {
        let [one, _] = channels();
        let (log, broker) = held_log();
        let mut held = HeldAnswers::default();
        assert!(held.may_pass(&Commit::NONE, &broker) && !held.may_pass(&journal(1), &broker));
        log.commit(1);
        assert!(held.may_pass(&journal(1), &broker));
        held.push(journal(2), &one, Numbers(1, 1));
        assert!(!held.may_pass(&Commit::NONE, &broker) && !held.may_pass(&journal(1), &broker));
    }

    #[test]
    fn neighbours_are_one_range_while_held_if_they_wait_for_the_same_and_when_told_in_any_case() {
        let [one, two] = channels();
        let (log, broker) = held_log();
        let (mut held, mut out) = (HeldAnswers::default(), WriteQueue::default());
        held.push(journal(1), &one, Numbers(1, 1));
        held.push(journal(1), &one, Numbers(2, 5));
        assert_eq!(held.ranges, 1);
        held.push(journal(2), &one, Numbers(6, 6));
        held.push(journal(2), &two, Numbers(7, 7));
        held.push(journal(2), &two, Numbers(9, 9));
        held.push(journal(3), &two, Numbers(10, 10));
        assert_eq!(held.ranges, 5);
        log.commit(2);
        held.release(&mut out, &broker);
        assert_eq!(said(&mut out), "1:1-6 2:7-7 2:9-9 ");
        assert_eq!((held.ranges, held.is_empty()), (1, false));
        assert_eq!((one.unconfirmed.get(), two.unconfirmed.get()), (0, 1));
    }

    #[test]
    fn very_many_neighbours_wait_for_each_other_and_are_not_many() {
        let [one, _] = channels();
        let (log, broker) = held_log();
        let (mut held, mut out) = (HeldAnswers::default(), WriteQueue::default());
        for number in 1..=10_000 {
            held.push(journal(number), &one, Numbers(number, number));
        }
        assert_eq!(
            (held.held.len(), held.ranges),
            (HeldAnswers::<Numbers>::FEW, HeldAnswers::<Numbers>::FEW)
        );
        log.commit(9_999);
        held.release(&mut out, &broker);
        assert_eq!(said(&mut out), "1:1-4095 ");
        log.commit(10_000);
        held.release(&mut out, &broker);
        assert_eq!(said(&mut out), "1:4096-10000 ");
    }

    #[test]
    fn a_channels_answers_are_forgotten_with_it_and_others_keep_their_order() {
        let [one, two] = channels();
        let (log, broker) = held_log();
        let (mut held, mut out) = (HeldAnswers::default(), WriteQueue::default());
        for (number, channel) in [(1, &one), (2, &two), (3, &one), (4, &two)] {
            held.push(journal(number), channel, Numbers(number, number));
        }
        held.forget_channel(one.number);
        assert_eq!(held.ranges, 2);
        log.commit(4);
        held.release(&mut out, &broker);
        assert_eq!(said(&mut out), "2:2-2 2:4-4 ");
    }

    #[test]
    fn what_was_moved_to_the_output_is_held_there() {
        let [one, _] = channels();
        let (log, broker) = held_log();
        let (mut held, mut out) = (HeldAnswers::default(), WriteQueue::default());
        held.push(journal(1), &one, Numbers(1, 1));
        held.push(journal(2), &one, Numbers(2, 2));
        log.commit(1);
        held.move_to(&mut out, &broker);
        out.buffer().extend_from_slice(b"bye");
        assert_eq!((held.is_empty(), said(&mut out)), (true, "1:1-1 ".to_owned()));
        log.commit(2);
        held.release(&mut out, &broker);
        assert_eq!(said(&mut out), "1:2-2 bye");
    }

    #[test]
    fn the_outbox_is_woken_for_the_first_that_waits_and_then_for_the_next() {
        let [one, _] = channels();
        let (log, broker) = held_log();
        let (mut held, mut out) = (HeldAnswers::default(), WriteQueue::default());
        let outbox = Arc::new(Outbox::new());
        held.push(journal(1), &one, Numbers(1, 1));
        held.push(journal(5), &one, Numbers(2, 2));
        for _ in 0..3 {
            held.await_commits(&out, &broker, &outbox);
        }
        log.commit(1);
        assert!(was_woken(&outbox));
        log.commit(2);
        assert!(!was_woken(&outbox), "once");
        held.release(&mut out, &broker);
        held.await_commits(&out, &broker, &outbox);
        // The output does not wait for the answers.
        out.hold(journal(3));
        held.await_commits(&out, &broker, &outbox);
        log.commit(3);
        assert!(was_woken(&outbox));
        held.release(&mut out, &broker);
        held.await_commits(&out, &broker, &outbox);
        log.commit(5);
        assert!(was_woken(&outbox));
    }
}
