//! One history: a journal at work, the model beside it, and when what was told to be committed.

use std::rc::Rc;
use std::sync::{Arc, Weak};

use fastrand::Rng;
use parking_lot::Mutex;

use super::model::{Event, Model, PairState, Published};
use super::{PlantedBug, Tally};
use crate::model::{
    BatchBuilder, ExchangeName, Location, Lsn, ManualClock, MemoryGauge, Message, MessageBatch, MessageRoute,
    Priority, QueueId, RoutingKey, Timestamp,
};
use crate::store::journal::{DeletionHold, Journal, JournalOptions, Maintained, Pumped, SyncMode};
use crate::store::recovery::{OnDamage, Recovered, RecoveryOptions, recover};
use crate::store::{Log, Part, Position, PublishPart, SimDisk, StoredMessage, StoredTarget};

/// Small, so that there are many.
const SEGMENT_SIZE: u32 = 4 << 10;

/// See the module.
pub(super) struct History {
    pub(super) disk: SimDisk,
    pub(super) journal: Arc<Journal>,
    pub(super) model: Model,
    /// After how many operations of the disk how much was committed.
    committed: Arc<Mutex<Vec<(usize, Position)>>>,
    hold: Option<DeletionHold>,
}

/// A batch that is to be published.
struct Draft {
    messages: Vec<Message>,
    stored: Vec<StoredMessage>,
    targets: Vec<StoredTarget>,
    bodies: Vec<(Rc<[u8]>, Rc<str>)>,
}

/// Recovers and mends a disk on which these queues exist.
pub(super) fn recovered(disk: &SimDisk, exists: &dyn Fn(QueueId) -> bool) -> Result<Recovered, String> {
    let options = RecoveryOptions { on_damage: OnDamage::Refuse, exists };
    let mut recovered = recover(disk, &options, &mut |_| {}).map_err(|error| error.to_string())?;
    recovered.mend(disk).map_err(|error| format!("cannot mend: {error}"))?;
    Ok(recovered)
}

/// A journal on a disk that was recovered.
pub(super) fn journal(
    disk: &SimDisk,
    sync: SyncMode,
    seed: u64,
    found: &Recovered,
) -> Result<Journal, String> {
    let options = JournalOptions {
        segment_size: SEGMENT_SIZE,
        sync,
        free_space_min: 0,
        // Few messages are in a segment here: that much is copied only where little garbage is allowed.
        garbage_ratio: if seed.is_multiple_of(4) { 0.5 } else { 0.1 },
        nonce_seed: Some(seed),
    };
    let clock = Arc::new(ManualClock::new());
    Journal::start(Arc::new(disk.clone()), clock, options, found).map_err(|error| error.to_string())
}

impl History {
    /// Starts where a model is, on the disk that goes with it.
    pub(super) fn start(disk: SimDisk, model: Model, rng: &mut Rng, bug: PlantedBug) -> Result<Self, String> {
        let exists = |queue: QueueId| matches!(model.queues.get(&queue), Some(None));
        let found = recovered(&disk, &exists)?;
        let sync = match bug {
            PlantedBug::None => SyncMode::Always,
            PlantedBug::CommitBeforeSync => SyncMode::Never,
        };
        let journal = Arc::new(journal(&disk, sync, rng.u64(..), &found)?);
        model.open_queues().into_iter().for_each(|queue| journal.add_queue(queue));
        let committed = Arc::new(Mutex::new(vec![(0, Position(0))]));
        let (log, weak, of) = (committed.clone(), Arc::downgrade(&journal), disk.clone());
        journal.on_progress(Box::new(move || {
            if let Some(journal) = Weak::upgrade(&weak) {
                log.lock().push((of.operations(), journal.committed()));
            }
        }));
        Ok(History { disk, journal, model, committed, hold: None })
    }

    /// What was committed when the disk had done so much.
    pub(super) fn committed_at(&self, operation: usize) -> Position {
        let committed = self.committed.lock();
        let number = committed.partition_point(|(at, _)| *at <= operation);
        number.checked_sub(1).map_or(Position(0), |number| committed[number].1)
    }

    /// Does something.
    pub(super) fn step(&mut self, rng: &mut Rng) -> Result<(), String> {
        match rng.u32(0..100) {
            0..22 => self.append(rng, 1, 0, 0),
            22..44 => self.append(rng, 0, 1, 0),
            44..50 => self.append(rng, 0, 2, 0),
            50..55 => self.append(rng, 0, 0, 1),
            // A dead letter moves.
            55..62 => self.append(rng, 1, 1, 0),
            // A transaction.
            62..67 => {
                let (publishes, settles, returns) = (rng.usize(1..4), rng.usize(0..3), rng.usize(0..2));
                self.append(rng, publishes, settles, returns)
            }
            67..85 => self.pump(),
            85..92 => {
                for _ in 0..rng.u32(1..8) {
                    self.journal.maintain();
                    if rng.bool() {
                        self.pump()?;
                    }
                }
                Ok(())
            }
            92..94 => {
                self.journal.rotate();
                Ok(())
            }
            94..96 => {
                self.hold = if self.hold.is_some() { None } else { Some(self.journal.hold_deletions()) };
                Ok(())
            }
            96..98 => self.read(rng),
            _ => {
                if rng.u32(0..4) == 0 {
                    self.replace_queue(rng);
                }
                Ok(())
            }
        }
    }

    /// Lets the journal come to rest, and perhaps drains it: then hardly anything may be left on the disk.
    pub(super) fn finish(&mut self, tally: &mut Tally, drains: bool) -> Result<(), String> {
        self.pump()?;
        if drains {
            self.hold = None;
            for queue in self.model.open_queues() {
                let lsns: Vec<_> = self.model.alive(queue).map(|(lsn, _)| lsn).collect();
                let event = self.model.events.len();
                let runs = self.model.settle(queue, &lsns, event);
                self.log(&[Part::Settle { queue, runs: &runs }])?;
            }
            self.journal.rotate();
            self.append_new(Some(self.model.open_queues()[0]))?;
            for _ in 0..200 {
                self.pump()?;
                if self.journal.maintain() == Maintained::Idle {
                    break;
                }
            }
            let stats = self.journal.stats();
            if stats.segments > 2 {
                return Err(format!("{} segments are left though everything is settled", stats.segments));
            }
        }
        let stats = self.journal.stats();
        tally.appends += self.model.events.len() as u64;
        tally.removed_segments += stats.removed_segments;
        tally.copied_bytes += stats.copied_bytes;
        tally.elided_records += stats.elided_records;
        Ok(())
    }

    fn pump(&mut self) -> Result<(), String> {
        while self.journal.pump() == Pumped::Wrote {}
        if let Some(text) = self.journal.stopped() {
            return Err(format!("the journal stopped: {text}"));
        }
        let (counted, alive) = (self.journal.stats().live_pairs, self.model.alive_count());
        match counted == alive {
            true => Ok(()),
            false => Err(format!("the journal counts {counted} pairs that live, and there are {alive}")),
        }
    }

    fn log(&mut self, parts: &[Part<'_>]) -> Result<(), String> {
        let position = self.journal.append(parts).map_err(|error| error.to_string())?;
        self.model.events.push(position);
        Ok(())
    }

    /// Appends one record with so many parts of each kind, of queues by chance.
    fn append(
        &mut self,
        rng: &mut Rng,
        publishes: usize,
        settles: usize,
        returns: usize,
    ) -> Result<(), String> {
        let event = self.model.events.len();
        let queues = self.model.open_queues();
        let mut settled = Vec::new();
        for _ in 0..settles {
            let queue = queues[rng.usize(0..queues.len())];
            let lsns = self.choose(rng, queue);
            settled.push((queue, self.model.settle(queue, &lsns, event)));
        }
        let mut returned = Vec::new();
        for _ in 0..returns {
            let queue = queues[rng.usize(0..queues.len())];
            let lsns = self.choose(rng, queue);
            returned.push((queue, self.model.give_back(queue, &lsns, event)));
        }
        let drafts: Vec<_> = (0..publishes).map(|_| self.draft(rng, &queues)).collect();
        self.append_parts(drafts, &settled, &returned, event)
    }

    fn append_new(&mut self, queue: Option<QueueId>) -> Result<(), String> {
        let mut rng = Rng::with_seed(1);
        let queues: Vec<_> = queue.into_iter().collect();
        let draft = self.draft(&mut rng, &queues);
        self.append_parts(vec![draft], &[], &[], self.model.events.len())
    }

    fn append_parts(
        &mut self,
        drafts: Vec<Draft>,
        settled: &[(QueueId, Vec<crate::model::StoredRun>)],
        returned: &[(QueueId, Vec<crate::model::Returned>)],
        event: Event,
    ) -> Result<(), String> {
        let mut parts: Vec<_> = drafts
            .iter()
            .map(|draft| {
                let Draft { messages, stored, targets, .. } = draft;
                let at = Timestamp::from_millis(5);
                Part::Publish(PublishPart { batch: messages[0].batch(), at, messages: stored, targets })
            })
            .collect();
        parts.extend(settled.iter().map(|(queue, runs)| Part::Settle { queue: *queue, runs }));
        parts.extend(returned.iter().map(|(queue, returned)| Part::Return { queue: *queue, returned }));
        self.log(&parts)?;
        for draft in &drafts {
            for target in &draft.targets {
                for number in target.first as usize..(target.first + target.count) as usize {
                    let (message, stored) = (&draft.messages[number], &draft.stored[number]);
                    let (body, key) = draft.bodies[number].clone();
                    let message = Published {
                        body,
                        key,
                        priority: stored.priority,
                        location: message.location().expect("it was appended"),
                        from: message.entry_offset(),
                        len: message.len() as u32,
                    };
                    let pair = PairState {
                        message,
                        published_by: Some(event),
                        settled_by: None,
                        returns: 0,
                        returned_by: Vec::new(),
                    };
                    self.model.pairs.insert((target.queue, stored.lsn), pair);
                }
            }
        }
        Ok(())
    }

    /// Messages of a queue: from its front, as most consumers, or here and there.
    fn choose(&self, rng: &mut Rng, queue: QueueId) -> Vec<Lsn> {
        let alive: Vec<_> = self.model.alive(queue).map(|(lsn, _)| lsn).collect();
        match rng.u32(0..4) {
            0 => alive.into_iter().filter(|_| rng.u32(0..4) == 0).collect(),
            1 => alive.into_iter().rev().take(rng.usize(0..4)).rev().collect(),
            2 => alive.into_iter().take(rng.usize(0..6)).collect(),
            _ => alive.into_iter().skip(1).take(rng.usize(0..30)).collect(),
        }
    }

    fn draft(&self, rng: &mut Rng, queues: &[QueueId]) -> Draft {
        let count = rng.u32(1..5);
        let mut builder = BatchBuilder::default();
        let mut bodies = Vec::new();
        for _ in 0..count {
            let len = match rng.u32(0..40) {
                0 => rng.usize(4000..9000),
                1..8 => rng.usize(300..2500),
                _ => rng.usize(0..60),
            };
            let body: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
            let key = format!("key {}", rng.u32(0..3));
            let routing_key = RoutingKey::new(&key).expect("it is short");
            let exchange = ExchangeName::new("simulation").expect("it is short");
            builder.push_content(&MessageRoute { exchange, routing_key }, &[], &body, true);
            bodies.push((body.into(), key.into()));
        }
        let messages: Vec<_> = builder.finish(&MemoryGauge::new()).collect();
        let first = self.journal.reserve(count.into());
        let stored = messages.iter().enumerate().map(|(number, message)| StoredMessage {
            lsn: Lsn(first.0 + number as u64),
            entry_len: message.len() as u32,
            body_len: message.body_len() as u32,
            route: message.route_number(),
            priority: rng.bool().then(|| Priority(rng.u8(0..3))),
            ttl_ms: None,
            delay_ms: None,
        });
        let stored: Vec<_> = stored.collect();
        let mut targets = Vec::new();
        for queue in queues {
            if rng.bool() {
                let from = rng.u32(0..count);
                targets.push(StoredTarget { queue: *queue, first: from, count: rng.u32(1..=count - from) });
            }
        }
        if targets.is_empty() {
            targets.push(StoredTarget { queue: queues[0], first: 0, count });
        }
        Draft { messages, stored, targets, bodies }
    }

    /// Reads a message back by the place it had first.
    fn read(&self, rng: &mut Rng) -> Result<(), String> {
        let queues = self.model.open_queues();
        let queue = queues[rng.usize(0..queues.len())];
        let alive: Vec<_> = self.model.alive(queue).collect();
        match alive.get(rng.usize(0..alive.len().max(1))) {
            Some((lsn, pair)) => compare(&self.journal, queue, *lsn, &pair.message),
            None => Ok(()),
        }
    }

    /// A queue is deleted, and another one declared.
    fn replace_queue(&mut self, rng: &mut Rng) {
        let queues = self.model.open_queues();
        let queue = queues[rng.usize(0..queues.len())];
        let mut runs = Vec::new();
        for (lsn, pair) in self.model.alive(queue) {
            let run = crate::model::StoredRun { first: lsn, count: 1, location: pair.message.location };
            crate::model::StoredRun::push(&mut runs, run);
        }
        self.model.queues.insert(queue, Some(self.disk.operations()));
        self.journal.remove_queue(queue, &runs);
        let queue = QueueId(self.model.next_queue);
        self.model.next_queue += 1;
        self.model.queues.insert(queue, None);
        self.journal.add_queue(queue);
    }
}

/// Reads a message and compares it with what was published.
pub(super) fn compare(
    journal: &Journal,
    queue: QueueId,
    lsn: Lsn,
    message: &Published,
) -> Result<(), String> {
    let Location { segment, offset } = message.location;
    let what = format!("message {lsn} of queue {queue}, first in segment {segment} at {offset}");
    let slice = journal
        .read(message.location, message.from, message.len)
        .map_err(|error| format!("{what}: {error}"))?;
    let gauge = MemoryGauge::new();
    let read = MessageBatch::read_back(message.location, message.from, slice.entries, slice.routes, &gauge)
        .map_err(|error| format!("{what}: {error}"))?;
    match &read[..] {
        [read] if *read.body() == *message.body && **read.routing_key() == *message.key => Ok(()),
        _ => Err(format!("{what}: it is another one that is read")),
    }
}
