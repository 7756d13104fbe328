//! Folds the metadata of all records, twice: who is settled and who came back; then who was published and is left.

use ahash::AHashMap;
use roaring::RoaringTreemap;

use super::damage::{Damage, DamageKind};
use super::open::{OpenSegment, Opened};
use super::restored::{CompactRun, Facts, FactsTable, RestoredQueue};
use super::{Progress, RecoveredPairs, RecoveredSegment, RecoveryError, RecoveryOptions};
use crate::model::{Location, Lsn, QueueId, Returned, SegmentId, StoredRun};
use crate::store::StoredMessage;
use crate::store::disk::Disk;
use crate::store::record::{MetaPart, MetaReader, MetaScratch, PublishedPart, RecordError};
use crate::store::segment::{IndexEntry, IndexedKind};

/// What all records say together.
pub(super) struct Folded {
    pub(super) next_lsn: Lsn,
    pub(super) segments: Vec<RecoveredSegment>,
    pub(super) queues: AHashMap<QueueId, RestoredQueue>,
}

pub(super) fn fold(
    disk: &dyn Disk,
    opened: &mut Opened,
    options: &RecoveryOptions<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Folded, RecoveryError> {
    let count = opened.segments.len() as u64;
    let mut fold = Fold {
        exists: options.exists,
        queues: AHashMap::new(),
        facts: FactsTable::new(),
        next_lsn: 1,
        scratch: MetaScratch::default(),
        offsets: Vec::new(),
        messages: 0,
    };
    let mut buffer = Vec::new();
    let mut segments = Vec::with_capacity(opened.segments.len());
    for (number, segment) in opened.segments.iter_mut().enumerate() {
        progress(Progress { done: count + number as u64, of: 3 * count, messages: 0 });
        let mut recovered = RecoveredSegment {
            id: segment.id,
            header: segment.header,
            end: segment.end,
            file_len: segment.file_len,
            records: 0,
            total: 0,
            live: 0,
            live_bytes: 0,
            queues: AHashMap::new(),
            returned: Vec::new(),
            about: Vec::new(),
            is_half_copied: false,
        };
        fold.next_lsn = fold.next_lsn.max(segment.header.next_lsn.0);
        let mut show = |entry: &IndexEntry<'_>| fold.settlements(entry, &mut recovered);
        if !walk(disk, segment, &mut buffer, Some(&mut opened.damage), &mut show)? {
            segment.rebuild(disk, &mut opened.damage)?;
            walk(disk, segment, &mut buffer, Some(&mut opened.damage), &mut show)?;
        }
        recovered.about.sort_unstable();
        recovered.about.dedup();
        segments.push(recovered);
    }
    // From the newest on: of a message that stands twice the newest counts.
    let newest_first = opened.segments.iter().zip(&mut segments).rev();
    for (number, (segment, recovered)) in newest_first.enumerate() {
        let messages = fold.messages;
        progress(Progress { done: 2 * count + number as u64, of: 3 * count, messages });
        walk(disk, segment, &mut buffer, None, &mut |entry| fold.publishes(entry, recovered))?;
        for (id, queue) in &mut fold.queues {
            if let Some(queue) = queue {
                queue.end_segment(*id, recovered);
            }
        }
    }
    progress(Progress { done: 3 * count, of: 3 * count, messages: fold.messages });
    opened.damage.sort_by_key(|damage| (damage.segment, damage.offset));
    let facts = fold.facts.into_rows();
    let queues = fold.queues.into_iter().filter_map(|(id, queue)| {
        let FoldedQueue { returned, mut restored, .. } = queue?;
        restored.returned = returned;
        restored.facts = facts.clone();
        (restored.messages() > 0).then_some((id, restored))
    });
    Ok(Folded { next_lsn: Lsn(fold.next_lsn), queues: queues.collect(), segments })
}

/// Shows every record of a segment, and says whether there is an index to find them. What makes no sense is damage.
fn walk(
    disk: &dyn Disk,
    segment: &OpenSegment,
    buffer: &mut Vec<u8>,
    mut damage: Option<&mut Vec<Damage>>,
    show: &mut dyn FnMut(&IndexEntry<'_>) -> Result<(), RecordError>,
) -> Result<bool, RecoveryError> {
    let id = segment.id;
    let mut tell = |offset: u32, len: u64, kind: DamageKind| {
        if let Some(damage) = &mut damage {
            Damage::push(damage, Damage::new(id, offset, len, kind));
        }
    };
    let is_sealed = segment.is_sealed();
    let Some(mut index) = segment.index(disk, buffer)? else { return Ok(false) };
    loop {
        let offset = index.offset().min(u32::MAX.into()) as u32;
        let shown = match index.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) if entry.kind == IndexedKind::Damaged => {
                // What this start has found it has told.
                if is_sealed {
                    tell(offset, entry.entries_len.into(), DamageKind::LeftOut);
                }
                Ok(())
            }
            Ok(Some(entry)) => show(&entry),
            // Behind this nothing can be read.
            Err(error) => {
                if let Some(error) = RecoveryError::is_newer(id, offset, error) {
                    return Err(error);
                }
                let len = u64::from(segment.end.saturating_sub(offset));
                tell(offset, len, DamageKind::Record(error));
                break;
            }
        };
        if let Err(error) = shown {
            if let Some(error) = RecoveryError::is_newer(id, offset, error) {
                return Err(error);
            }
            tell(offset, index.offset() - u64::from(offset), DamageKind::Record(error));
        }
    }
    Ok(true)
}

struct Fold<'a> {
    exists: &'a dyn Fn(QueueId) -> bool,
    /// None: does not exist.
    queues: AHashMap<QueueId, Option<FoldedQueue>>,
    facts: FactsTable,
    next_lsn: u64,
    scratch: MetaScratch,
    /// Of the part that is looked at: where each entry begins, and where the last ends.
    offsets: Vec<u32>,
    messages: u64,
}

#[derive(Default)]
struct FoldedQueue {
    settled: RoaringTreemap,
    returned: AHashMap<u64, Returned>,
    /// Seen in the segments so far, in the second pass.
    seen: RoaringTreemap,
    /// Of the segment that is looked at.
    chunk: Vec<CompactRun>,
    here: RecoveredPairs,
    restored: RestoredQueue,
}

impl FoldedQueue {
    fn end_segment(&mut self, id: QueueId, segment: &mut RecoveredSegment) {
        self.restored.add(std::mem::take(&mut self.chunk));
        let mut here = std::mem::take(&mut self.here);
        if !(here.live.is_empty() && here.settled.is_empty() && here.copied.is_empty()) {
            here.live.optimize();
            here.settled.optimize();
            segment.queues.insert(id, here);
        }
    }
}

impl Fold<'_> {
    fn settlements(
        &mut self,
        entry: &IndexEntry<'_>,
        segment: &mut RecoveredSegment,
    ) -> Result<(), RecordError> {
        segment.records += 1;
        let mut reader = MetaReader::new(entry.meta, meta_entries(entry));
        while let Some(part) = reader.next(&mut self.scratch)? {
            match part {
                MetaPart::Publish(part) => {
                    if let Some(last) = part.messages.last() {
                        self.next_lsn = self.next_lsn.max(last.lsn.0.saturating_add(1));
                    }
                }
                MetaPart::Settle { queue, runs } => {
                    for StoredRun { first, count, .. } in runs {
                        self.next_lsn = self.next_lsn.max(first.0.saturating_add(u64::from(*count)));
                    }
                    let Some(queue) = known(&mut self.queues, self.exists, queue) else { continue };
                    for StoredRun { first, count, location } in runs {
                        about(segment, location.segment);
                        insert(&mut queue.settled, first.0, (*count).into());
                    }
                }
                MetaPart::Return { queue, returned } => {
                    let lsns = returned.iter().map(|returned| returned.lsn.0.saturating_add(1));
                    self.next_lsn = lsns.fold(self.next_lsn, u64::max);
                    let Some(queue) = known(&mut self.queues, self.exists, queue) else { continue };
                    for one in returned {
                        about(segment, one.location.segment);
                        let latest = queue.returned.entry(one.lsn.0).or_insert(*one);
                        if one.returns > latest.returns {
                            *latest = *one;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn publishes(
        &mut self,
        entry: &IndexEntry<'_>,
        segment: &mut RecoveredSegment,
    ) -> Result<(), RecordError> {
        let mut reader = MetaReader::new(entry.meta, meta_entries(entry));
        let location = Location { segment: segment.id, offset: entry.offset };
        let Fold { exists, queues, facts, scratch, offsets, messages, .. } = self;
        while let Some(part) = reader.next(scratch)? {
            let MetaPart::Publish(part) = part else { continue };
            offsets.clear();
            offsets.push(part.base);
            let mut end = part.base;
            offsets.extend(part.messages.iter().map(|message| {
                // The reader has added them up.
                end += message.entry_len;
                end
            }));
            for target in part.targets {
                let Some(queue) = known(queues, *exists, target.queue) else { continue };
                let live = segment.live;
                let mut here = Here { queue, id: target.queue, segment, facts, part, offsets, location };
                let all = target.first as usize..(target.first + target.count) as usize;
                here.target(all);
                *messages += segment.live - live;
            }
        }
        Ok(())
    }
}

/// Skipped room has bytes, but no metadata that would count them.
fn meta_entries(entry: &IndexEntry<'_>) -> u32 {
    if entry.kind == IndexedKind::Skip { 0 } else { entry.entries_len }
}

fn known<'q>(
    queues: &'q mut AHashMap<QueueId, Option<FoldedQueue>>,
    exists: &dyn Fn(QueueId) -> bool,
    id: QueueId,
) -> Option<&'q mut FoldedQueue> {
    queues.entry(id).or_insert_with(|| exists(id).then(FoldedQueue::default)).as_mut()
}

fn about(segment: &mut RecoveredSegment, other: SegmentId) {
    // Settlements come in the order of what they settle: mostly of the same segment as the one before.
    if other != segment.id && segment.about.last() != Some(&other) {
        segment.about.push(other);
        if segment.about.len() >= 4096 {
            segment.about.sort_unstable();
            segment.about.dedup();
        }
    }
}

/// Adds LSNs to a set. The reader has made sure that there are so many.
fn insert(set: &mut RoaringTreemap, first: u64, count: u64) {
    match count {
        1 => _ = set.insert(first),
        _ => _ = set.insert_range(first..first + count),
    }
}

/// Where messages of one part and one queue are taken over.
struct Here<'a> {
    queue: &'a mut FoldedQueue,
    id: QueueId,
    segment: &'a mut RecoveredSegment,
    facts: &'a mut FactsTable,
    part: PublishedPart<'a, 'a>,
    offsets: &'a [u32],
    location: Location,
}

impl Here<'_> {
    /// Messages that entered the queue, by their numbers in the part.
    fn target(&mut self, all: std::ops::Range<usize>) {
        let messages = self.part.messages;
        self.segment.total += all.len() as u64;
        let mut from = all.start;
        while from < all.end {
            let lsn = messages[from].lsn.0;
            let run = messages[from..all.end].iter().zip(lsn..);
            let count = run.take_while(|(message, lsn)| message.lsn.0 == *lsn).count();
            self.neighbours(from..from + count);
            from += count;
        }
    }

    /// Messages with consecutive LSNs.
    fn neighbours(&mut self, all: std::ops::Range<usize>) {
        let (first, count) = (self.lsn(all.start), all.len() as u64);
        let lsns = first..first + count;
        let seen = match count {
            1 => u64::from(self.queue.seen.contains(first)),
            _ => self.queue.seen.range_cardinality(lsns.clone()),
        };
        let settled = match count {
            _ if self.queue.settled.is_empty() => 0,
            1 => u64::from(self.queue.settled.contains(first)),
            _ => self.queue.settled.range_cardinality(lsns.clone()),
        };
        if seen == 0 {
            insert(&mut self.queue.seen, first, count);
        } else {
            self.copied(all.clone());
        }
        match (seen, settled) {
            (0, 0) => self.left(all),
            (_, settled) if settled == count => self.settled(first, count),
            _ => {
                for number in all {
                    let lsn = self.lsn(number);
                    let is_settled = self.queue.settled.contains(lsn);
                    let is_older = seen > 0 && !self.queue.seen.insert(lsn);
                    match (is_settled, is_older) {
                        (true, _) => self.settled(lsn, 1),
                        (false, true) => {}
                        (false, false) => self.left(number..number + 1),
                    }
                }
            }
        }
    }

    /// Some of these stand in a newer segment as well.
    fn copied(&mut self, all: std::ops::Range<usize>) {
        self.segment.is_half_copied = true;
        let FoldedQueue { here, seen, .. } = &mut *self.queue;
        let lsns = self.part.messages[all].iter().map(|message| message.lsn.0);
        here.copied.extend(lsns.filter(|lsn| seen.contains(*lsn)));
    }

    fn lsn(&self, number: usize) -> u64 {
        self.part.messages[number].lsn.0
    }

    fn settled(&mut self, first: u64, count: u64) {
        insert(&mut self.queue.here.settled, first, count);
    }

    /// Messages with consecutive LSNs that are left, into runs.
    fn left(&mut self, all: std::ops::Range<usize>) {
        let messages = self.part.messages;
        self.segment.live += all.len() as u64;
        let first = self.lsn(all.start);
        insert(&mut self.queue.here.live, first, all.len() as u64);
        self.segment.live_bytes += u64::from(self.offsets[all.end] - self.offsets[all.start]);
        let mut from = all.start;
        while from < all.end {
            let facts = facts_of(&messages[from]);
            let first = messages[from].lsn.0;
            let returned =
                if self.queue.returned.is_empty() { None } else { self.queue.returned.get(&first) };
            let to = match returned {
                Some(returned) => {
                    let returned = Returned { location: self.location, ..*returned };
                    self.segment.returned.push((self.id, returned));
                    from + 1
                }
                None => {
                    let rest = &messages[from + 1..all.end];
                    let is_same = |message: &&StoredMessage| {
                        facts_of(message) == facts
                            && (self.queue.returned.is_empty()
                                || !self.queue.returned.contains_key(&message.lsn.0))
                    };
                    from + 1 + rest.iter().take_while(is_same).count()
                }
            };
            self.push(from..to, facts);
            from = to;
        }
    }

    fn push(&mut self, all: std::ops::Range<usize>, facts: Facts) {
        let (from, to) = (self.offsets[all.start], self.offsets[all.end]);
        let bodies: u32 = self.part.messages[all.clone()].iter().map(|message| message.body_len).sum();
        let run = CompactRun {
            first: self.lsn(all.start),
            location: self.location,
            at: self.part.at,
            from,
            len: to - from,
            count: all.len() as u32,
            body_bytes: bodies,
            facts: self.facts.number(facts),
        };
        // What dead letters and priorities cut into targets may still be neighbours.
        let is_alone = |run: &CompactRun| run.count == 1 && self.queue.returned.contains_key(&run.first);
        if let Some(last) = self.queue.chunk.last()
            && last.location == run.location
            && last.first + u64::from(last.count) == run.first
            && last.from + last.len == run.from
            && last.facts == run.facts
            && last.at == run.at
            && (self.queue.returned.is_empty() || !is_alone(last) && !is_alone(&run))
        {
            let last = self.queue.chunk.last_mut().expect("it was there a moment ago");
            last.count += run.count;
            last.len += run.len;
            last.body_bytes += run.body_bytes;
            return;
        }
        self.queue.chunk.push(run);
    }
}

fn facts_of(message: &StoredMessage) -> Facts {
    Facts { priority: message.priority, ttl_ms: message.ttl_ms, delay_ms: message.delay_ms }
}
