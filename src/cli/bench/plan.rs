//! What is sent and how it is measured: checked options, the same for every contender.

use std::ops::Range;
use std::time::Duration;

use rialto_protocol::types::FieldTable;

use super::error::{BenchError, BenchResult};
use super::topic::Topic;

/// Bytes that a publisher hands to the socket at a time, unless told how many messages.
const BLOCK_BYTES: usize = 64 << 10;

/// Bytes of a body that carry the time it was due.
pub(super) const STAMP_LEN: usize = 8;

/// Messages of a queue that nobody reads.
const UNREAD_MAX: i64 = 1000;

/// What every round of every contender does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Publishing connections.
    pub(super) publishers: u32,
    /// Consuming connections.
    pub(super) consumers: u32,
    /// Queues. With `fanout` each gets every message, otherwise messages are spread over them.
    pub(super) queues: u32,
    /// Every queue gets a copy of each message.
    pub(super) fanout: bool,
    /// Messages come to the queues through a topic exchange with so many bindings.
    pub(super) topic: Option<Topic>,
    /// Bytes of a body.
    pub(super) size: usize,
    /// Unconfirmed messages a publisher may have; none: publish without confirms.
    pub(super) confirms: Option<u32>,
    /// How messages are settled.
    pub(super) acks: Acks,
    /// Durable queues and persistent messages.
    pub(super) persistent: bool,
    /// Messages a second over all publishers; none: as many as go.
    pub(super) rate: Option<u64>,
    /// Bodies carry the time they were due, and consumers take the difference.
    pub(super) stamps: bool,
    /// No core of the machine sleeps meanwhile, if the system allows it.
    pub(super) keeps_cores_awake: bool,
    /// Messages that a publisher sends at a time, at most.
    pub(super) batch: u32,
    /// Time before measuring begins.
    pub(super) warm_up: Duration,
    /// Time that is measured.
    pub(super) duration: Duration,
    /// A round in which nothing moves for so long has lost messages.
    pub(super) patience: Duration,
    /// Rounds; the medians count.
    pub(super) rounds: u32,
}

/// How consumers settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acks {
    /// Settled as they are sent.
    Auto,
    /// Acknowledged, at least `every` at a time.
    Manual {
        /// Most unacknowledged messages of a consumer; 0: no limit.
        prefetch: u32,
        /// Acknowledge once so many have come.
        every: u32,
    },
}

impl Acks {
    /// How often to acknowledge unless told.
    const EVERY: u32 = 100;

    /// Checks that a consumer does not wait for acknowledgements that it holds back.
    pub(super) fn manual(prefetch: u32, every: Option<u32>) -> BenchResult<Acks> {
        let every = match (every, prefetch) {
            (Some(every), _) => every,
            (None, 0) => Self::EVERY,
            (None, prefetch) => Self::EVERY.min(prefetch.div_ceil(4)),
        };
        if prefetch > 0 && every > prefetch {
            let text =
                format!("acknowledging every {every} messages never happens with a prefetch of {prefetch}");
            return Err(BenchError::Options(text));
        }
        Ok(Acks::Manual { prefetch, every })
    }
}

impl Plan {
    /// Copies that a routed message becomes.
    pub(super) fn copies(&self) -> u64 {
        if self.fanout { self.queues.into() } else { 1 }
    }

    /// Of the exchange that messages go through, if they need one of their own.
    pub(super) fn exchange_kind(&self) -> Option<&'static str> {
        match (self.fanout, self.topic) {
            (true, _) => Some("fanout"),
            (false, Some(_)) => Some("topic"),
            (false, None) => None,
        }
    }

    /// What queues are declared with. Those that nobody reads are kept short where they are not what is measured: then a
    /// broker publishes for as long as it likes.
    pub(super) fn queue_arguments(&self) -> FieldTable {
        match (self.topic, self.consumers) {
            (Some(_), 0) => FieldTable::new().with("x-max-length", UNREAD_MAX),
            _ => FieldTable::new(),
        }
    }

    /// The queues that a consuming connection reads: all of them have one, and all connections have a queue.
    pub(super) fn queues_of(&self, consumer: u32) -> impl Iterator<Item = u32> + use<> {
        let (queues, consumers) = (self.queues, self.consumers);
        let first = consumer % queues;
        (first..queues).step_by(consumers.max(1) as usize).take(match consumers >= queues {
            true => 1,
            false => usize::MAX,
        })
    }

    /// The queues that a publishing connection sends to, in turn: one, if that makes no queue get more than another.
    /// As with applications: thousands of connections do not each send to thousands of queues.
    pub(super) fn sent_to(&self, publisher: u32) -> Range<u32> {
        let own = publisher % self.queues;
        match self.publishers % self.queues {
            _ if self.fanout => 0..1,
            0 => own..own + 1,
            _ => 0..self.queues,
        }
    }

    /// How many messages to send at a time: as told, or what fills a block, but never more than a part of the
    /// window, so that publishing goes on while confirms are on their way.
    pub(super) fn batch(told: Option<u32>, size: usize, confirms: Option<u32>) -> u32 {
        let fitting = (BLOCK_BYTES / (size + 9)).clamp(1, 16_384) as u32;
        let batch = told.unwrap_or(fitting);
        match (told, confirms) {
            (None, Some(window)) => batch.min(window.div_ceil(4)),
            (Some(_), Some(window)) => batch.min(window),
            (_, None) => batch,
        }
        .max(1)
    }
}

#[cfg(test)]
impl Plan {
    /// One of each, and over soon.
    pub(super) fn short() -> Plan {
        Plan {
            publishers: 1,
            consumers: 1,
            queues: 1,
            fanout: false,
            topic: None,
            size: 128,
            confirms: None,
            acks: Acks::Auto,
            persistent: false,
            rate: None,
            stamps: false,
            keeps_cores_awake: false,
            batch: 10,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(50),
            patience: Duration::from_millis(50),
            rounds: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_read_and_every_connection_reads_one() {
        for (queues, consumers) in [(1, 1), (1, 4), (4, 1), (4, 4), (5, 2), (3, 7), (100, 8)] {
            let plan = Plan { queues, consumers, ..Plan::short() };
            let mut read = vec![0; queues as usize];
            for consumer in 0..consumers {
                let mut any = false;
                for queue in plan.queues_of(consumer) {
                    read[queue as usize] += 1;
                    any = true;
                }
                assert!(any, "{queues} queues, {consumers} consumers: {consumer} has nothing to do");
            }
            assert!(read.iter().all(|&n| n >= 1), "{queues} queues, {consumers} consumers: {read:?}");
            if consumers <= queues {
                assert!(read.iter().all(|&n| n == 1), "{queues} queues, {consumers} consumers: {read:?}");
            }
        }
    }

    #[test]
    fn every_queue_is_sent_to_as_much_as_any_other_and_by_few_publishers() {
        for (publishers, queues) in [(1, 1), (4, 1), (1, 4), (4, 4), (8, 4), (3, 2), (2, 3)] {
            let plan = Plan { queues, publishers, ..Plan::short() };
            let mut sent = vec![0.0; queues as usize];
            for publisher in 0..publishers {
                let queues = plan.sent_to(publisher);
                queues.clone().for_each(|queue| sent[queue as usize] += 1.0 / queues.len() as f64);
            }
            assert!(sent.iter().all(|share| *share == sent[0]), "{publishers} to {queues}: {sent:?}");
        }
        let plan = Plan { queues: 4, publishers: 8, ..Plan::short() };
        assert_eq!((plan.sent_to(1), plan.sent_to(7)), (1..2, 3..4));
    }

    #[test]
    fn a_batch_fills_a_block_but_leaves_the_window_room() {
        assert_eq!(Plan::batch(None, 128, None), 478);
        assert_eq!(Plan::batch(None, 128, Some(1000)), 250);
        assert_eq!(Plan::batch(None, 1 << 20, Some(1000)), 1);
        assert_eq!(Plan::batch(Some(5), 128, Some(1)), 1);
        assert_eq!(Plan::batch(Some(5), 128, None), 5);
    }

    #[test]
    fn acknowledgements_that_would_never_be_sent_are_refused() {
        assert!(Acks::manual(10, Some(11)).is_err());
        assert_eq!(Acks::manual(10, None).unwrap(), Acks::Manual { prefetch: 10, every: 3 });
        assert_eq!(Acks::manual(0, Some(11)).unwrap(), Acks::Manual { prefetch: 0, every: 11 });
    }
}
