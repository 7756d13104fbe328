//! Which bytes of the journal anybody still needs: pairs of (queue, message) that live, counted by segment.
//!
//! Invariants, on which "nothing settled comes back" stands. What a settlement or a return says of a segment is
//! *noted* in another one, which may not go before its notes are said again behind it (a snapshot) or the segment that
//! they speak of is gone for good. A segment whose survivors were copied goes before the one that has the copies, or a
//! crash could find the old ones again when the new ones, settled since, are forgotten. A pair is counted once, however
//! often it is settled: counts come from sets, never from what callers say.
//! Not here: files, positions of the writer, how records look. A plain value, so that it can be tested as one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use roaring::RoaringTreemap;

use super::forwards::{Forwards, Piece};
use super::lsn_set::LsnSet;
use crate::model::{Location, Lsn, QueueId, Returned, SegmentId, StoredRun};
use crate::store::Position;
use crate::store::recovery::{Recovered, RecoveredSegment};
use ahash::{AHashMap, AHashSet};

/// Where a settlement or a return is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    /// The segment of its record.
    pub(super) segment: SegmentId,
    /// Once this is synced, its record is.
    pub(super) until: Position,
    /// Whether messages enter queues in the same record: then they would be lost with what they came from.
    pub(super) moves: bool,
}

/// Pairs of one queue in one segment. Those that were copied elsewhere are in neither set.
#[derive(Debug, Default)]
struct Pairs {
    live: LsnSet,
    settled: LsnSet,
    returned: BTreeMap<u64, Returned>,
}

/// How far a file has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It is being written.
    Open,
    /// It has its index, and nothing is added to it.
    Sealed,
    /// Removed, but after a crash it could be there again.
    Removed,
}

#[derive(Debug)]
struct Segment {
    bytes: u64,
    life: Life,
    total: u64,
    live: u64,
    queues: AHashMap<QueueId, Pairs>,
    /// Segments in which there are settlements or returns of pairs of this one.
    noted_in: BTreeSet<SegmentId>,
    /// Segments whose survivors were copied to this one.
    copies_of: BTreeSet<SegmentId>,
    /// What makes this one superfluous must be synced first: everything, and what must not be lost even when the disk
    /// is full and room can only come from here.
    until: Position,
    until_strictly: Position,
    /// Bytes appended to the journal when it was first seen to be mostly dead.
    mostly_dead_at: Option<u64>,
    /// Cannot be read; what lives in it stays where it is.
    is_damaged: bool,
    /// The last process was copying it: it goes before any other, the lowest first.
    is_half_copied: bool,
}

impl Segment {
    fn new(life: Life) -> Self {
        Segment {
            bytes: 0,
            life,
            total: 0,
            live: 0,
            queues: AHashMap::new(),
            noted_in: BTreeSet::new(),
            copies_of: BTreeSet::new(),
            until: Position(0),
            until_strictly: Position(0),
            mostly_dead_at: None,
            is_damaged: false,
            is_half_copied: false,
        }
    }

    /// Bytes that are still needed, if all pairs are of one size.
    fn live_bytes(&self) -> u64 {
        if self.total == 0 {
            return 0;
        }
        (u128::from(self.bytes) * u128::from(self.live) / u128::from(self.total)) as u64
    }

    fn note(&mut self, id: SegmentId, note: Note) {
        if note.segment != id {
            self.noted_in.insert(note.segment);
        }
        self.until = self.until.max(note.until);
        if note.moves {
            self.until_strictly = self.until_strictly.max(note.until);
        }
    }
}

/// What a segment knows of its own pairs: said again when a segment with notes about it goes.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Everything settled.
    pub(super) settled: Vec<(QueueId, LsnSet)>,
    /// Everything that came back and is not settled.
    pub(super) returned: Vec<(QueueId, Vec<Returned>)>,
}

/// Survivors of a record, written again elsewhere.
#[derive(Debug)]
pub(super) struct Copied {
    /// The record that had them.
    pub(super) from: Location,
    /// Where their entries went.
    pub(super) pieces: Vec<Piece>,
    /// The pairs: those that lived when they were copied.
    pub(super) pairs: Vec<(QueueId, RangeInclusive<u64>)>,
}

/// What is known of messages, to be said again.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    pub(super) settled: Vec<(QueueId, StoredRun)>,
    pub(super) returned: Vec<(QueueId, Returned)>,
}

/// Sums over all segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) live_bytes: u64,
    pub(super) live_pairs: u64,
}

/// When survivors are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompactionRule {
    /// Bytes of a segment.
    pub(super) segment_size: u64,
    /// Share of the journal that may be garbage, between 0 and 1.
    pub(super) garbage_ratio: f64,
}

/// Share of a segment's pairs below which copying what is left is cheap whatever the rest of the journal is like.
const MOSTLY_DEAD: f64 = 0.1;

/// Segments of garbage that are no reason to copy anything: a small journal is not worth the writes.
const GARBAGE_SEGMENTS_MIN: u64 = 2;

/// The accounts.
#[derive(Debug, Default)]
pub(super) struct Space {
    segments: BTreeMap<SegmentId, Segment>,
    queues: AHashSet<QueueId>,
    forwards: Forwards,
    /// Bytes ever appended, to tell how long ago something was.
    appended: u64,
}

impl Space {
    /// The accounts of what recovery found.
    pub(super) fn recovered(recovered: &Recovered) -> Self {
        let mut space = Space::default();
        for found in &recovered.segments {
            let mut segment = Segment::new(Life::Sealed);
            segment.bytes = found.file_len;
            segment.total = found.total;
            segment.is_half_copied = found.is_half_copied;
            segment.live = found.live;
            for (queue, found) in &found.queues {
                space.queues.insert(*queue);
                let live = LsnSet::from_bitmap(&found.live);
                let settled = LsnSet::from_bitmap(&found.settled);
                segment.queues.insert(*queue, Pairs { live, settled, returned: BTreeMap::new() });
            }
            space.segments.insert(found.id, segment);
        }
        let is_whole: BTreeSet<_> =
            recovered.segments.iter().filter(|found| !found.is_half_copied).map(|found| found.id).collect();
        for found in &recovered.segments {
            for about in &found.about {
                // What is gone, or was being copied, is said of messages that may stand in any newer segment by now.
                let may_have_moved = !is_whole.contains(about);
                for (id, segment) in &mut space.segments {
                    if *id != found.id && (id == about || may_have_moved && id > about) {
                        segment.noted_in.insert(found.id);
                    }
                }
            }
            let Some(segment) = space.segments.get_mut(&found.id) else { continue };
            for (queue, returned) in &found.returned {
                segment.give_back(*queue, returned);
            }
        }
        recovered
            .segments
            .iter()
            .filter(|found| found.is_half_copied)
            .for_each(|old| space.copied_before(old));
        space
    }

    /// The last process has copied messages of this segment: those that have the copies may not go before it, even if it
    /// can never be emptied because it is damaged.
    fn copied_before(&mut self, old: &RecoveredSegment) {
        for (_, segment) in self.segments.iter_mut().filter(|(id, _)| **id > old.id) {
            let has_copies = old.queues.iter().any(|(queue, pairs)| {
                let own = segment.queues.get(queue);
                own.is_some_and(|own| {
                    has_some(&own.live, &pairs.copied) || has_some(&own.settled, &pairs.copied)
                })
            });
            if has_copies {
                segment.copies_of.insert(old.id);
            }
        }
    }

    /// A segment begins.
    pub(super) fn open(&mut self, id: SegmentId) {
        self.segments.entry(id).or_insert_with(|| Segment::new(Life::Open));
    }

    /// The segment that is being written has grown by this much.
    pub(super) fn grow(&mut self, id: SegmentId, bytes: u64) {
        self.appended += bytes;
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.bytes += bytes;
        }
    }

    /// A segment is complete, and this long.
    pub(super) fn seal(&mut self, id: SegmentId, bytes: u64) {
        let segment = self.segments.entry(id).or_insert_with(|| Segment::new(Life::Sealed));
        segment.bytes = bytes;
        segment.life = Life::Sealed;
        for pairs in segment.queues.values_mut() {
            pairs.live.optimize();
            pairs.settled.optimize();
        }
    }

    /// A queue whose pairs count.
    pub(super) fn add_queue(&mut self, queue: QueueId) {
        self.queues.insert(queue);
    }

    /// A queue is gone, and every pair of it. `runs` are those that lived.
    pub(super) fn remove_queue(&mut self, queue: QueueId, runs: &[StoredRun]) {
        self.queues.remove(&queue);
        for segment in self.segments.values_mut() {
            if let Some(mut pairs) = segment.queues.remove(&queue) {
                segment.live -= pairs.live.remove(0..=u64::MAX);
            }
        }
        for run in runs {
            self.forwards.release(run.location, u64::from(run.count));
        }
    }

    /// Messages that entered a queue stand in a segment.
    pub(super) fn publish(&mut self, id: SegmentId, queue: QueueId, lsns: RangeInclusive<u64>) {
        let count = lsns.end() - lsns.start() + 1;
        let Some(segment) = self.segments.get_mut(&id) else { return };
        segment.total += count;
        if self.queues.contains(&queue) {
            segment.live += count;
            segment.queues.entry(queue).or_default().live.insert(lsns);
        }
    }

    /// Messages left a queue; the record that says so names segment `named`. Gives the place where they are if that is
    /// in another one, which must be said, too.
    pub(super) fn settle(
        &mut self,
        note: Note,
        queue: QueueId,
        run: &StoredRun,
        named: SegmentId,
    ) -> Option<Location> {
        if run.count == 0 || !self.queues.contains(&queue) {
            return None;
        }
        let location = self.forwards.newest(run.location);
        let segment = self.segments.get_mut(&location.segment)?;
        segment.note(location.segment, note);
        let lsns = run.first.0..=run.first.0 + u64::from(run.count) - 1;
        let newly = segment.settle(queue, lsns);
        if location != run.location {
            self.forwards.release(run.location, newly);
        }
        (location.segment != named).then_some(location)
    }

    /// A message came back to its queue. As [`Space::settle`].
    pub(super) fn give_back(
        &mut self,
        note: Note,
        queue: QueueId,
        returned: &Returned,
        named: SegmentId,
    ) -> Option<Location> {
        if !self.queues.contains(&queue) {
            return None;
        }
        let location = self.forwards.newest(returned.location);
        let segment = self.segments.get_mut(&location.segment)?;
        segment.note(location.segment, note);
        segment.give_back(queue, &Returned { location, ..*returned });
        (location.segment != named).then_some(location)
    }

    /// What makes these segments superfluous is said again in a record that is safe with `until`.
    pub(super) fn repeated(&mut self, ids: impl Iterator<Item = SegmentId>, until: Position) {
        for id in ids {
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.until = segment.until.max(until);
                segment.until_strictly = segment.until_strictly.max(until);
            }
        }
    }

    /// Survivors of a record have been written again, in the record at `to`, and are counted there from now on. Until
    /// `until` is synced the old ones are needed. Gives what is known of them elsewhere, where it names the old place:
    /// it must be said again, with the new one.
    pub(super) fn copy(&mut self, copied: &Copied, to: Location, until: Position) -> Repeat {
        let mut repeat = Repeat::default();
        let old_id = copied.from.segment;
        let Some(mut old) = self.segments.remove(&old_id) else { return repeat };
        if let Some(new) = self.segments.get_mut(&to.segment) {
            let mut forwarded = 0;
            for (queue, lsns) in copied.pairs.iter().filter(|(queue, _)| self.queues.contains(queue)) {
                let Some(from) = old.queues.get_mut(queue) else { continue };
                let into = new.queues.entry(*queue).or_default();
                new.total += lsns.end() - lsns.start() + 1;
                // Settled while the copy was being made: the copy is dead, too.
                for (first, last) in from.settled.within(lsns.clone()) {
                    into.settled.insert(first..=last);
                    let count = (last - first + 1) as u32;
                    repeat.settled.push((*queue, StoredRun { first: Lsn(first), count, location: to }));
                }
                for (first, last) in from.live.within(lsns.clone()) {
                    into.live.insert(first..=last);
                    new.live += last - first + 1;
                    forwarded += last - first + 1;
                }
                old.live -= from.live.remove(lsns.clone());
                while let Some((lsn, _)) = from.returned.range(lsns.clone()).next() {
                    let lsn = *lsn;
                    let returned = from.returned.remove(&lsn).expect("it was there");
                    let returned = Returned { location: to, ..returned };
                    into.returned.insert(lsn, returned);
                    repeat.returned.push((*queue, returned));
                }
            }
            new.copies_of.insert(old_id);
            old.until = old.until.max(until);
            old.until_strictly = old.until_strictly.max(until);
            if forwarded > 0 {
                self.forwards.insert(copied.from, to, copied.pieces.clone(), forwarded);
            }
        }
        self.segments.insert(old_id, old);
        repeat
    }

    /// The record that has what is left of this one.
    pub(super) fn newest(&self, location: Location) -> Location {
        self.forwards.newest(location)
    }

    /// Where bytes of a record's entries are now, if they were copied, and the record that has them.
    pub(super) fn forwarded(&self, location: Location, from: u32, len: u32) -> (Location, u32) {
        self.forwards.resolve(location, from, len)
    }

    /// Whether a message that stands in a segment lives in a queue.
    pub(super) fn is_alive(&self, id: SegmentId, queue: QueueId, lsn: Lsn) -> bool {
        let Some(pairs) = self.segments.get(&id).and_then(|segment| segment.queues.get(&queue)) else {
            return false;
        };
        pairs.live.contains(lsn.0)
    }

    /// Sealed segments that nobody needs and nothing depends on: they may be removed now. If the disk is full, those
    /// whose settlements are not synced are among them; what moved elsewhere is waited for even then.
    pub(super) fn deletable(&self, synced: Position, is_full: bool) -> Vec<SegmentId> {
        let dead = self.dead(synced, is_full);
        dead.filter(|id| self.depending(*id).next().is_none()).collect()
    }

    /// Of the first segment that is dead but has notes about others: those of which a snapshot must be written before it
    /// can go. If that costs less than it frees.
    pub(super) fn blocked(&self, synced: Position) -> Option<Vec<SegmentId>> {
        self.dead(synced, false).find_map(|segment| {
            let snapshots: Vec<_> = self.depending(segment).collect();
            let cost: u64 = snapshots.iter().map(|id| self.snapshot_bytes(*id)).sum();
            let Segment { bytes, is_half_copied, .. } = *self.segments.get(&segment)?;
            // All others wait for one that was half copied, whatever it costs.
            (!snapshots.is_empty() && (cost <= bytes / 2 || is_half_copied)).then_some(snapshots)
        })
    }

    fn dead(&self, synced: Position, is_full: bool) -> impl Iterator<Item = SegmentId> {
        let half_copied = self.half_copied();
        let may_go = move |id: SegmentId| half_copied.is_none_or(|first| first == id);
        let dead = self.segments.iter().filter(move |(id, segment)| {
            let until = if is_full { segment.until_strictly } else { segment.until };
            segment.life == Life::Sealed
                && segment.live == 0
                && may_go(**id)
                && until <= synced
                && !segment.copies_of.iter().any(|id| self.segments.contains_key(id))
        });
        dead.map(|(id, _)| *id)
    }

    fn half_copied(&self) -> Option<SegmentId> {
        self.segments
            .iter()
            .find(|(_, segment)| segment.is_half_copied && !segment.is_damaged)
            .map(|(id, _)| *id)
    }

    /// Segments that are there, or could be after a crash, and have notes in this one.
    fn depending(&self, id: SegmentId) -> impl Iterator<Item = SegmentId> {
        self.segments.iter().filter(move |(_, other)| other.noted_in.contains(&id)).map(|(id, _)| *id)
    }

    fn snapshot_bytes(&self, id: SegmentId) -> u64 {
        let Some(segment) = self.segments.get(&id) else { return 0 };
        let of_queue = |pairs: &Pairs| {
            pairs.settled.written_len() + (pairs.returned.len() * size_of::<Returned>()) as u64 + 16
        };
        segment.queues.values().map(of_queue).sum()
    }

    /// Everything that is noted about a segment, wherever.
    pub(super) fn snapshot(&self, id: SegmentId) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let Some(segment) = self.segments.get(&id) else { return snapshot };
        for (queue, pairs) in &segment.queues {
            if !pairs.settled.is_empty() {
                snapshot.settled.push((*queue, pairs.settled.clone()));
            }
            if !pairs.returned.is_empty() {
                snapshot.returned.push((*queue, pairs.returned.values().copied().collect()));
            }
        }
        // The same journal is written the same way each time.
        snapshot.settled.sort_unstable_by_key(|(queue, _)| *queue);
        snapshot.returned.sort_unstable_by_key(|(queue, _)| *queue);
        snapshot
    }

    /// A record in segment `noted` has a snapshot of a segment.
    pub(super) fn snapshot_noted(&mut self, id: SegmentId, noted: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id).filter(|_| id != noted) {
            segment.noted_in.insert(noted);
        }
    }

    /// A snapshot of a segment is synced: notes before segment `from`, the one that was being accounted when it was
    /// taken, are not needed any more.
    pub(super) fn snapshot_synced(&mut self, id: SegmentId, from: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.noted_in.retain(|noted| *noted >= from);
        }
    }

    /// The segment of the newest record that is accounted.
    pub(super) fn newest_segment(&self) -> SegmentId {
        self.segments.last_key_value().map_or(SegmentId::default(), |(id, _)| *id)
    }

    /// A file has been removed; until [`Space::forget_removed`] it may come back with a crash.
    pub(super) fn removed(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.life = Life::Removed;
        }
    }

    /// What was removed is gone for good.
    pub(super) fn forget_removed(&mut self) {
        let forwards = &mut self.forwards;
        self.segments.retain(|id, segment| {
            let is_gone = segment.life == Life::Removed;
            if is_gone {
                forwards.forget_segment(*id);
            }
            !is_gone
        });
    }

    /// A segment cannot be read: it is not compacted.
    pub(super) fn damaged(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.is_damaged = true;
        }
    }

    /// The segment whose survivors should be copied now, if there is one: of those that have been mostly dead for a
    /// while the oldest, else, if the journal holds too much garbage, the one with the most.
    pub(super) fn compaction(&mut self, rule: CompactionRule) -> Option<SegmentId> {
        let half_copied = self.half_copied().filter(|id| self.segments[id].live > 0);
        if half_copied.is_some() {
            return half_copied;
        }
        let appended = self.appended;
        for segment in self.segments.values_mut() {
            let is_mostly_dead = (segment.live as f64) < segment.total as f64 * MOSTLY_DEAD;
            if !is_mostly_dead {
                segment.mostly_dead_at = None;
            } else if segment.mostly_dead_at.is_none() && segment.life == Life::Sealed {
                segment.mostly_dead_at = Some(appended);
            }
        }
        let able = || {
            let able =
                |segment: &Segment| segment.life == Life::Sealed && segment.live > 0 && !segment.is_damaged;
            self.segments.iter().filter(move |(_, segment)| able(segment))
        };
        // Not at once: what is consumed in order is soon dead as a whole, and copying its rest would be for nothing.
        let patience = rule.segment_size / 4;
        let waited = |at: Option<u64>| at.is_some_and(|at| appended - at >= patience);
        if let Some((id, _)) = able().find(|(_, segment)| waited(segment.mostly_dead_at)) {
            return Some(*id);
        }
        let totals = self.totals();
        let garbage = totals.bytes - totals.live_bytes;
        if garbage <= rule.segment_size * GARBAGE_SEGMENTS_MIN
            || (garbage as f64) <= totals.bytes as f64 * rule.garbage_ratio
        {
            return None;
        }
        let garbage = |segment: &Segment| segment.bytes - segment.live_bytes();
        let worst = able().max_by_key(|(_, segment)| garbage(segment))?;
        (garbage(worst.1) as f64 >= worst.1.bytes as f64 * rule.garbage_ratio).then_some(*worst.0)
    }

    /// Sums.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for segment in self.segments.values().filter(|segment| segment.life != Life::Removed) {
            totals.segments += 1;
            totals.bytes += segment.bytes;
            totals.live_bytes += segment.live_bytes();
            totals.live_pairs += segment.live;
        }
        totals
    }

    /// Records that were copied and are still asked for by their old places.
    pub(super) fn forwards(&self) -> usize {
        self.forwards.len()
    }
}

/// Whether some of these are in the set. Most segments are far from them, which is told at once.
fn has_some(set: &LsnSet, of: &RoaringTreemap) -> bool {
    let (Some(first), Some(last)) = (of.min(), of.max()) else { return false };
    set.within(first..=last).iter().any(|(from, to)| of.range_cardinality(*from..=*to) > 0)
}

impl Segment {
    /// Settles pairs and says how many lived.
    fn settle(&mut self, queue: QueueId, lsns: RangeInclusive<u64>) -> u64 {
        let Some(pairs) = self.queues.get_mut(&queue) else { return 0 };
        if !pairs.returned.is_empty() {
            while let Some((lsn, _)) = pairs.returned.range(lsns.clone()).next() {
                let lsn = *lsn;
                pairs.returned.remove(&lsn);
            }
        }
        let mut newly = 0;
        for (first, last) in pairs.live.within(lsns.clone()) {
            pairs.settled.insert(first..=last);
            newly += last - first + 1;
        }
        if newly > 0 {
            pairs.live.remove(lsns);
            self.live -= newly;
        }
        newly
    }

    fn give_back(&mut self, queue: QueueId, returned: &Returned) {
        let Some(pairs) = self.queues.get_mut(&queue) else { return };
        if !pairs.live.contains(returned.lsn.0) {
            return;
        }
        let known = pairs.returned.entry(returned.lsn.0).or_insert(*returned);
        if known.returns <= returned.returns {
            *known = *returned;
        }
    }
}
