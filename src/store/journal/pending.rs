//! What has been appended and is not yet handed to the writer: places are given here, and settlements wait together.
//!
//! Invariants: places grow in the order of appends, so a position says what lies before it; settlements and returns
//! that publish nothing have no record of their own but share one, the *ledger*, at the end of each batch; a record
//! whose every pair is settled while it waits is elided, and those settlements are not recorded.
//! Not here: files, what is alive (`space`). Encoding happens before, outside of the lock around this.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::space::Copied;
use crate::model::{Location, Lsn, MessageBatch, QueueId, Returned, SegmentId, StoredRun};
use crate::store::record::{RecordKind, RecordTooLong, RecordWriter};
use crate::store::segment::RECORDS_START;
use crate::store::{Part, Position, PublishPart};

/// Entries of a record.
#[derive(Debug)]
pub(super) enum Entries {
    /// As they were published. The batch, not its bytes: it is charged to the broker's memory until it is written.
    Batch(Arc<MessageBatch>),
    /// As they were read.
    Bytes(Bytes),
}

impl Entries {
    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Entries::Batch(batch) => batch.bytes(),
            Entries::Bytes(bytes) => bytes,
        }
    }
}

/// The bytes of a record, before they are sealed.
#[derive(Debug)]
pub(super) struct RecordBytes {
    /// Header and metadata.
    pub(super) head: BytesMut,
    /// What follows, in order.
    pub(super) entries: Vec<Entries>,
    /// Bytes of all of them.
    pub(super) entries_len: u32,
}

impl RecordBytes {
    /// Bytes of the whole record.
    pub(super) fn len(&self) -> u32 {
        self.head.len() as u32 + self.entries_len
    }
}

/// What a record says of messages that stand in other ones, and which segment it names for each: the one that has them,
/// unless they were copied to another one in the meantime.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) settled: Vec<(QueueId, StoredRun, SegmentId)>,
    pub(super) returned: Vec<(QueueId, Returned, SegmentId)>,
}

/// Why there is a record.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Somebody appended it.
    Appended,
    /// It is the ledger of its batch.
    Ledger,
    /// Survivors of an old record are in it.
    Copy(Copied),
    /// It says again what is known of these segments.
    Snapshot(Vec<SegmentId>),
}

/// A record that waits.
#[derive(Debug)]
pub(super) struct Unit {
    /// Where it will stand.
    pub(super) location: Location,
    pub(super) record: Arc<RecordBytes>,
    pub(super) purpose: Purpose,
    /// Its pairs.
    pub(super) pairs: Vec<(QueueId, RangeInclusive<u64>)>,
    pub(super) outcomes: Outcomes,
    /// Nobody needs it any more: only its length is written.
    pub(super) is_elided: bool,
    pair_count: u64,
    /// Pairs of it that were settled while it waited.
    settled: Vec<(QueueId, StoredRun)>,
    settled_count: u64,
}

impl Unit {
    /// A record that publishes; its place is not known yet.
    ///
    /// # Errors
    /// It would be too long.
    pub(super) fn encode(
        parts: &[Part<'_>],
        newest: impl Fn(Location) -> Location,
    ) -> Result<Unit, RecordTooLong> {
        let mut head = BytesMut::with_capacity(256);
        let mut record = RecordWriter::new(RecordKind::Unit, 0, &mut head);
        let mut entries = Vec::new();
        let mut outcomes = Outcomes::default();
        let mut pairs = Vec::new();
        for part in parts {
            match part {
                Part::Publish(part) => {
                    record.publish_part(part);
                    entries.push(Entries::Batch(part.batch.clone()));
                    put_pairs(part, &mut pairs);
                }
                Part::Settle { queue, runs } => {
                    record.settle(*queue, named(runs.iter(), &newest));
                    let settled = runs.iter().map(|run| (*queue, *run, newest(run.location).segment));
                    outcomes.settled.extend(settled);
                }
                Part::Return { queue, returned } => {
                    let moved = |one: &Returned| Returned { location: newest(one.location), ..*one };
                    let moved: Vec<_> = returned.iter().map(moved).collect();
                    record.returned(*queue, &moved);
                    let named = returned.iter().zip(&moved);
                    outcomes
                        .returned
                        .extend(named.map(|(one, moved)| (*queue, *one, moved.location.segment)));
                }
            }
        }
        let entries_len = record.finish()?.entries_len;
        debug_assert_eq!(
            entries.iter().map(|batch| batch.bytes().len()).sum::<usize>(),
            entries_len as usize,
            "a batch that is appended holds the entries of its messages and nothing else"
        );
        let record = RecordBytes { head, entries, entries_len };
        Ok(Unit::new(record, Purpose::Appended, pairs, outcomes))
    }

    /// Any record; its place is not known yet.
    pub(super) fn new(
        record: RecordBytes,
        purpose: Purpose,
        pairs: Vec<(QueueId, RangeInclusive<u64>)>,
        outcomes: Outcomes,
    ) -> Unit {
        let pair_count = pairs.iter().map(|(_, lsns)| lsns.end() - lsns.start() + 1).sum();
        Unit {
            location: Location::default(),
            record: Arc::new(record),
            purpose,
            pairs,
            outcomes,
            is_elided: false,
            pair_count,
            settled: Vec::new(),
            settled_count: 0,
        }
    }

    /// The position behind it.
    pub(super) fn end(&self) -> Position {
        end_of(self.location, self.record.len())
    }

    /// Whether all of its pairs were settled while it waited. Counts alone will not do: were one told twice, another
    /// would be lost.
    fn is_superfluous(&mut self) -> bool {
        if !matches!(self.purpose, Purpose::Appended) || self.settled_count < self.pair_count {
            return false;
        }
        self.settled.sort_unstable_by_key(|(queue, run)| (*queue, run.first));
        let covers = |queue: QueueId, lsns: &RangeInclusive<u64>| {
            let mut next = *lsns.start();
            let start = self
                .settled
                .partition_point(|(q, run)| (*q, run.first.0 + u64::from(run.count)) <= (queue, next));
            for (_, run) in self.settled[start..].iter().take_while(|(q, _)| *q == queue) {
                if run.first.0 > next {
                    break;
                }
                next = next.max(run.first.0 + u64::from(run.count));
            }
            next > *lsns.end()
        };
        self.pairs.iter().all(|(queue, lsns)| covers(*queue, lsns))
    }
}

fn put_pairs(part: &PublishPart<'_>, pairs: &mut Vec<(QueueId, RangeInclusive<u64>)>) {
    for target in part.targets {
        let start = target.first as usize;
        let messages = part.messages.get(start..start + target.count as usize).unwrap_or_default();
        for run in messages.chunk_by(|one, next| one.lsn.0 + 1 == next.lsn.0) {
            pairs.push((target.queue, run[0].lsn.0..=run[run.len() - 1].lsn.0));
        }
    }
}

/// Runs, with the record that has them now.
fn named<'a>(
    runs: impl Iterator<Item = &'a StoredRun>,
    newest: &impl Fn(Location) -> Location,
) -> impl Iterator<Item = StoredRun> {
    runs.map(|run| StoredRun { location: newest(run.location), ..*run })
}

fn end_of(location: Location, len: u32) -> Position {
    Position(location.as_u64() + u64::from(len))
}

/// Settlements and returns that wait for the end of the batch.
#[derive(Debug, Default)]
struct Ledger {
    settled: BTreeMap<QueueId, Vec<StoredRun>>,
    returned: BTreeMap<(QueueId, Lsn), Returned>,
    /// The highest position that was promised for it.
    promised: Option<Position>,
}

impl Ledger {
    fn settle(&mut self, queue: QueueId, run: &StoredRun) {
        if !self.returned.is_empty() {
            let lsns = (queue, run.first)..(queue, Lsn(run.first.0 + u64::from(run.count)));
            while let Some((key, _)) = self.returned.range(lsns.clone()).next() {
                let key = *key;
                self.returned.remove(&key);
            }
        }
        StoredRun::push(self.settled.entry(queue).or_default(), *run);
    }

    fn give_back(&mut self, queue: QueueId, returned: &Returned) {
        let known = self.returned.entry((queue, returned.lsn)).or_insert(*returned);
        if known.returns <= returned.returns {
            *known = *returned;
        }
    }
}

/// Records that are written together.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the order of their places.
    pub(super) units: Vec<Unit>,
    /// The place behind the last of them.
    pub(super) end: Position,
    /// The highest position that was promised for anything in it: it may lie just behind the end, if a ledger turned
    /// out to be superfluous.
    pub(super) promised: Position,
    /// Places of what was elided, in order.
    pub(super) elided: Vec<Location>,
}

impl Batch {
    /// The record at a place.
    pub(super) fn find(&self, location: Location) -> Option<&Unit> {
        let number = self.units.binary_search_by_key(&location, |unit| unit.location).ok()?;
        Some(&self.units[number])
    }
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Pending {
    segment_size: u32,
    /// The next record stands here.
    tail: Location,
    /// The next record begins a segment.
    wants_segment: bool,
    units: Vec<Unit>,
    ledger: Ledger,
    /// The highest position that was promised for anything that was taken.
    promised: Position,
    /// Batches that the writer has, until they are written. Oldest first.
    pub(super) in_flight: VecDeque<Arc<Batch>>,
}

impl Pending {
    /// An empty buffer: the next record begins this segment.
    pub(super) fn new(segment: SegmentId, segment_size: u32) -> Self {
        Pending {
            segment_size,
            tail: Location { segment, offset: RECORDS_START },
            wants_segment: false,
            units: Vec::new(),
            ledger: Ledger::default(),
            promised: Position(0),
            in_flight: VecDeque::new(),
        }
    }

    /// Where the next record stands.
    pub(super) fn tail(&self) -> Location {
        self.tail
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.ledger.promised.is_none()
    }

    /// The next record begins a segment.
    pub(super) fn rotate(&mut self) {
        self.wants_segment = self.tail.offset > RECORDS_START;
    }

    /// Gives a record its place. What it says of others is told to those that wait.
    pub(super) fn push(&mut self, mut unit: Unit) -> Location {
        let len = unit.record.len();
        let is_full = u64::from(self.tail.offset) + u64::from(len) > u64::from(self.segment_size);
        if self.tail.offset > RECORDS_START && (is_full || self.wants_segment) {
            // 2^31 segments of 64 MiB are 128 PiB: ids do not run out.
            self.tail = Location { segment: SegmentId(self.tail.segment.0 + 1), offset: RECORDS_START };
        }
        self.wants_segment = false;
        unit.location = self.tail;
        self.tail.offset += len;
        for (queue, run, _) in &unit.outcomes.settled {
            settle_waiting(&mut self.units, *queue, run);
        }
        let location = unit.location;
        self.units.push(unit);
        location
    }

    /// Adds to the ledger and says which position covers it.
    pub(super) fn note(&mut self, parts: &[Part<'_>]) -> Position {
        let says = |part: &Part<'_>| match part {
            Part::Publish(_) => false,
            Part::Settle { runs, .. } => !runs.is_empty(),
            Part::Return { returned, .. } => !returned.is_empty(),
        };
        if !parts.iter().any(says) {
            return Position(self.tail.as_u64());
        }
        for part in parts {
            match part {
                Part::Publish(_) => {}
                Part::Settle { queue, runs } => {
                    for run in *runs {
                        settle_waiting(&mut self.units, *queue, run);
                        self.ledger.settle(*queue, run);
                    }
                }
                Part::Return { queue, returned } => {
                    for one in *returned {
                        self.ledger.give_back(*queue, one);
                    }
                }
            }
        }
        // Everything before the tail could be safe before this is; the first byte behind it cannot. Unless the ledger
        // before was superfluous: then that byte has been promised already, but the next one has not, for without a
        // record in this batch this ledger will not be superfluous, too.
        let promised = Position((self.tail.as_u64() + 1).max(self.promised.0 + 1));
        self.ledger.promised = Some(promised);
        promised
    }

    /// Takes everything that waits, for the writer.
    ///
    /// # Errors
    /// The ledger does not fit into a record.
    pub(super) fn take(
        &mut self,
        newest: impl Fn(Location) -> Location,
    ) -> Result<Option<Arc<Batch>>, RecordTooLong> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut ledger = std::mem::take(&mut self.ledger);
        let mut elided = Vec::new();
        for unit in &mut self.units {
            if unit.is_superfluous() {
                unit.is_elided = true;
                elided.push(unit.location);
                let outcomes = std::mem::take(&mut unit.outcomes);
                for (queue, run, _) in &outcomes.settled {
                    ledger.settle(*queue, run);
                }
                for (queue, returned, _) in &outcomes.returned {
                    ledger.give_back(*queue, returned);
                }
            }
        }
        let mut outcomes = Outcomes::default();
        let is_kept = |location: &Location| elided.binary_search(location).is_err();
        let mut head = BytesMut::new();
        let mut record = RecordWriter::new(RecordKind::Unit, 0, &mut head);
        for (queue, mut runs) in ledger.settled {
            runs.retain(|run| is_kept(&run.location));
            if !runs.is_empty() {
                record.settle(queue, named(runs.iter(), &newest));
                let settled = runs.into_iter().map(|run| (queue, run, newest(run.location).segment));
                outcomes.settled.extend(settled);
            }
        }
        let kept = ledger.returned.into_iter().filter(|(_, returned)| is_kept(&returned.location));
        let kept: Vec<_> = kept.map(|((queue, _), returned)| (queue, returned)).collect();
        for of_queue in kept.chunk_by(|one, next| one.0 == next.0) {
            let moved = |one: &Returned| Returned { location: newest(one.location), ..*one };
            let moved: Vec<_> = of_queue.iter().map(|(_, returned)| moved(returned)).collect();
            record.returned(of_queue[0].0, &moved);
            let named = of_queue.iter().zip(&moved);
            outcomes
                .returned
                .extend(named.map(|((queue, one), moved)| (*queue, *one, moved.location.segment)));
        }
        record.finish()?;
        if !outcomes.settled.is_empty() || !outcomes.returned.is_empty() {
            let record = RecordBytes { head, entries: Vec::new(), entries_len: 0 };
            self.push(Unit::new(record, Purpose::Ledger, Vec::new(), outcomes));
        }
        let units = std::mem::take(&mut self.units);
        let end = units.last().map_or(Position(self.tail.as_u64()), Unit::end);
        let promised = ledger.promised.map_or(end, |promised| promised.max(end));
        self.promised = promised;
        let batch = Arc::new(Batch { units, end, promised, elided });
        self.in_flight.push_back(batch.clone());
        Ok(Some(batch))
    }

    /// The bytes of a record that is not written yet.
    pub(super) fn find(&self, location: Location) -> Option<Arc<RecordBytes>> {
        if let Some(unit) = self.in_flight.iter().find_map(|batch| batch.find(location)) {
            return Some(unit.record.clone());
        }
        let number = self.units.binary_search_by_key(&location, |unit| unit.location).ok()?;
        Some(self.units[number].record.clone())
    }
}

/// Tells a record that still waits that pairs of it are settled.
fn settle_waiting(units: &mut [Unit], queue: QueueId, run: &StoredRun) {
    if units.first().is_none_or(|first| run.location < first.location) {
        return;
    }
    let Ok(number) = units.binary_search_by_key(&run.location, |unit| unit.location) else { return };
    let unit = &mut units[number];
    unit.settled_count += u64::from(run.count);
    match unit.settled.last_mut() {
        Some((last, settled))
            if *last == queue && settled.first.0 + u64::from(settled.count) == run.first.0 =>
        {
            settled.count = settled.count.saturating_add(run.count);
        }
        _ => unit.settled.push((queue, *run)),
    }
}
