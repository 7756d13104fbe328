//! Runs of messages that are not in memory, in LSN order: few of them as they are, many in a few bytes each.
//!
//! One message a record (many publishers that each send one) makes a run for each, and there may be tens of millions of
//! them: neighbours stand in chunks, and all chunks but those that were changed last are packed, each run as its
//! difference to the ones before it.
//!
//! Invariants: runs never overlap; a chunk's key is at or before where its first run begins, and behind where those of
//! the chunk before it do; none is empty; at most [`LOOSE_MAX`] are not packed. Not here: which runs are one (`paged`), which is next (`lane`).

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Lsn, PackedRows};

use super::paged::{COLUMNS, PagedRun, RUN_OVERHEAD};

/// Runs of a chunk at most: what a look for one of them has to read.
const CHUNK_MAX: usize = 128;
/// Chunks that are not packed: where the queue is read, where it grows, and where messages come back.
const LOOSE_MAX: usize = 4;
/// Bytes of memory that a packed chunk costs besides its runs: its place in an ordered map, and an allocation.
const CHUNK_OVERHEAD: u64 = 96;

/// The runs of a lane.
#[derive(Debug, Default)]
pub(super) struct RunList {
    /// By a place before which none of its runs begins, and at or behind which none of the chunk before does.
    chunks: BTreeMap<Lsn, Chunk>,
    /// Keys of those that are not packed; the one that was used last is the last.
    loose: Vec<Lsn>,
    len: usize,
    memory: u64,
}

#[derive(Debug)]
enum Chunk {
    Loose(VecDeque<PagedRun>),
    Packed(Packed),
}

#[derive(Debug)]
struct Packed {
    rows: PackedRows<COLUMNS>,
    first: Lsn,
    /// Behind the last message.
    end: Lsn,
}

/// What became of a run that was inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    /// The run behind it, which is a part of it now.
    pub(super) absorbed: Option<PagedRun>,
    /// It is a part of the one before it.
    pub(super) is_absorbed: bool,
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Loose(runs) => runs.len(),
            Chunk::Packed(packed) => packed.rows.len(),
        }
    }

    fn first(&self) -> Option<Lsn> {
        match self {
            Chunk::Loose(runs) => runs.front().map(|run| run.first),
            Chunk::Packed(packed) => Some(packed.first),
        }
    }

    fn end(&self) -> Option<Lsn> {
        match self {
            Chunk::Loose(runs) => runs.back().map(PagedRun::end),
            Chunk::Packed(packed) => Some(packed.end),
        }
    }

    fn memory(&self) -> u64 {
        match self {
            Chunk::Loose(runs) => runs.len() as u64 * RUN_OVERHEAD,
            Chunk::Packed(packed) => packed.rows.bytes() as u64 + CHUNK_OVERHEAD,
        }
    }

    fn iter(&self) -> impl Iterator<Item = PagedRun> {
        let (loose, packed) = match self {
            Chunk::Loose(runs) => (Some(runs), None),
            Chunk::Packed(packed) => (None, Some(packed)),
        };
        let packed = packed.into_iter().flat_map(|packed| packed.rows.iter().map(PagedRun::from_row));
        loose.into_iter().flatten().copied().chain(packed)
    }

    /// The one that begins at this place.
    fn find(&self, place: Lsn) -> Option<PagedRun> {
        match self {
            Chunk::Loose(runs) => runs.get(runs.binary_search_by_key(&place, |run| run.first).ok()?).copied(),
            Chunk::Packed(packed) if packed.first > place || packed.end <= place => None,
            Chunk::Packed(_) => self.iter().find(|run| run.first >= place).filter(|run| run.first == place),
        }
    }

    /// The last one that begins before this place.
    fn last_before(&self, place: Lsn) -> Option<PagedRun> {
        match self {
            Chunk::Loose(runs) => {
                let number = runs.partition_point(|run| run.first < place);
                runs.get(number.checked_sub(1)?).copied()
            }
            Chunk::Packed(_) => self.iter().take_while(|run| run.first < place).last(),
        }
    }

    fn pack(&mut self) {
        if let Chunk::Loose(runs) = self
            && let (Some(first), Some(last)) = (runs.front(), runs.back())
        {
            let (first, end) = (first.first, last.end());
            let rows = PackedRows::pack(runs.iter().copied().map(PagedRun::to_row));
            *self = Chunk::Packed(Packed { rows, first, end });
        }
    }

    fn loosen(&mut self) -> &mut VecDeque<PagedRun> {
        if matches!(self, Chunk::Packed(_)) {
            let runs = self.iter().collect();
            *self = Chunk::Loose(runs);
        }
        match self {
            Chunk::Loose(runs) => runs,
            Chunk::Packed(_) => unreachable!("it was made loose just now"),
        }
    }
}

impl RunList {
    /// How many runs there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that they cost: [`RUN_OVERHEAD`] each, less where they are many.
    pub(super) fn memory(&self) -> u64 {
        self.memory
    }

    /// The place of the first message.
    pub(super) fn first_place(&self) -> Option<Lsn> {
        self.chunks.first_key_value()?.1.first()
    }

    pub(super) fn first(&self) -> Option<PagedRun> {
        self.chunks.first_key_value()?.1.iter().next()
    }

    /// The run that begins with this message.
    pub(super) fn get(&self, first: Lsn) -> Option<PagedRun> {
        self.chunks.range(..=first).next_back()?.1.find(first)
    }

    /// The last run that begins before this place.
    pub(super) fn last_before(&self, place: Lsn) -> Option<PagedRun> {
        // Of the chunk that has the place all runs may be behind it.
        self.chunks.range(..place).rev().take(2).find_map(|(_, chunk)| chunk.last_before(place))
    }

    /// Those that begin here or behind, in order.
    pub(super) fn iter_from(&self, place: Lsn) -> impl Iterator<Item = PagedRun> {
        let chunk = self.chunks.range(..=place).next_back().map_or(place, |(key, _)| *key);
        self.chunks
            .range(chunk..)
            .flat_map(|(_, chunk)| chunk.iter())
            .skip_while(move |run| run.first < place)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = PagedRun> {
        self.chunks.values().flat_map(Chunk::iter)
    }

    /// Puts a run in its place, as part of its neighbours if they go together.
    pub(super) fn insert(&mut self, mut run: PagedRun) -> Inserted {
        let absorbed = self.get(run.end()).filter(|next| run.append(next));
        if let Some(next) = absorbed {
            self.remove(next.first);
        }
        if let Some(mut before) = self.last_before(run.first)
            && before.append(&run)
        {
            self.change(before.first, |runs| {
                if let Ok(number) = runs.binary_search_by_key(&before.first, |run| run.first) {
                    runs[number] = before;
                }
            });
            return Inserted { absorbed, is_absorbed: true };
        }
        self.put(run);
        Inserted { absorbed, is_absorbed: false }
    }

    /// Takes the run that begins with this message.
    pub(super) fn remove(&mut self, first: Lsn) -> Option<PagedRun> {
        self.get(first)?;
        self.change(first, |runs| {
            let number = runs.binary_search_by_key(&first, |run| run.first).ok()?;
            runs.remove(number)
        })?
    }

    /// Changes when they expire. Looks at every one.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut PagedRun)) {
        self.memory = 0;
        for chunk in self.chunks.values_mut() {
            let was_packed = matches!(chunk, Chunk::Packed(_));
            chunk.loosen().iter_mut().for_each(&mut change);
            if was_packed {
                chunk.pack();
            }
            self.memory += chunk.memory();
        }
    }

    fn put(&mut self, run: PagedRun) {
        let Some((&key, chunk)) = self.chunks.range(..=run.first).next_back() else {
            // Before all others.
            match self.chunks.first_entry() {
                Some(first) if matches!(first.get(), Chunk::Loose(runs) if runs.len() < CHUNK_MAX) => {
                    let (key, chunk) = first.remove_entry();
                    self.chunks.insert(run.first, chunk);
                    self.loose.iter_mut().filter(|loose| **loose == key).for_each(|loose| *loose = run.first);
                    self.change(run.first, |runs| runs.push_front(run));
                }
                _ => self.begin(run.first, VecDeque::from([run])),
            }
            return;
        };
        let room = match chunk {
            Chunk::Loose(_) => CHUNK_MAX,
            // Not worth unpacking for one more.
            Chunk::Packed(_) => CHUNK_MAX / 2,
        };
        if chunk.len() >= room && chunk.end().is_some_and(|end| end <= run.first) {
            return self.begin(run.first, VecDeque::from([run]));
        }
        let behind = self.change(key, |runs| {
            let number = runs.partition_point(|other| other.first < run.first);
            runs.insert(number, run);
            (runs.len() > CHUNK_MAX).then(|| runs.split_off(CHUNK_MAX / 2))
        });
        if let Some(behind) = behind.flatten()
            && let Some(first) = behind.front()
        {
            self.begin(first.first, behind);
        }
    }

    /// Changes the runs of the chunk that this place belongs to.
    fn change<R>(&mut self, place: Lsn, change: impl FnOnce(&mut VecDeque<PagedRun>) -> R) -> Option<R> {
        let (&key, chunk) = self.chunks.range_mut(..=place).next_back()?;
        let (len, memory) = (chunk.len(), chunk.memory());
        let changed = change(chunk.loosen());
        self.len = self.len + chunk.len() - len;
        self.memory = self.memory + chunk.memory() - memory;
        if chunk.len() == 0 {
            self.chunks.remove(&key);
            self.loose.retain(|loose| *loose != key);
        } else {
            self.loosened(key);
        }
        Some(changed)
    }

    /// Adds a chunk.
    fn begin(&mut self, key: Lsn, runs: VecDeque<PagedRun>) {
        let chunk = Chunk::Loose(runs);
        self.len += chunk.len();
        self.memory += chunk.memory();
        self.chunks.insert(key, chunk);
        self.loosened(key);
    }

    /// A chunk is used, and not packed. Packs the one whose last use is longest ago, if they are too many.
    fn loosened(&mut self, key: Lsn) {
        if self.loose.last() == Some(&key) {
            return;
        }
        self.loose.retain(|loose| *loose != key);
        self.loose.push(key);
        if self.loose.len() > LOOSE_MAX {
            let oldest = self.loose.remove(0);
            if let Some(chunk) = self.chunks.get_mut(&oldest) {
                self.memory -= chunk.memory();
                chunk.pack();
                self.memory += chunk.memory();
            }
        }
    }

    /// Asserts what the module promises.
    pub(super) fn check_invariants(&self) {
        let (mut end, mut begun) = (Lsn(0), None);
        for (key, chunk) in &self.chunks {
            assert!(chunk.len() > 0 && chunk.len() <= CHUNK_MAX, "{} runs in a chunk", chunk.len());
            assert!(
                begun < Some(*key) && chunk.first().is_some_and(|first| *key <= first),
                "{key} is no key"
            );
            let is_loose = matches!(chunk, Chunk::Loose(_));
            assert_eq!(self.loose.contains(key), is_loose, "chunk {key}");
            for run in chunk.iter() {
                assert!(run.count > 0 && run.first >= end, "runs overlap: {run:?}");
                (begun, end) = (Some(run.first), run.end());
            }
            assert_eq!(chunk.end(), Some(end));
        }
        assert!(self.loose.len() <= LOOSE_MAX);
        assert_eq!(self.len, self.chunks.values().map(Chunk::len).sum::<usize>());
        assert_eq!(self.memory, self.chunks.values().map(Chunk::memory).sum::<u64>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Location, SegmentId, Timestamp};

    /// A run of a record of its own.
    fn run(first: u64, count: u32) -> PagedRun {
        PagedRun {
            first: Lsn(first),
            location: Location { segment: SegmentId(3), offset: 128 + first as u32 * 222 },
            count,
            from: 0,
            len: count * 139,
            returns: 0,
            failures: 0,
            priority: 0,
            body_bytes: u64::from(count) * 128,
            enqueued: Timestamp::from_micros(1_767_225_600_000_000 + first * 3 / 2),
            expires: Timestamp::NEVER,
        }
    }

    #[test]
    fn a_message_on_its_own_costs_a_few_bytes_once_there_are_many() {
        let mut list = RunList::default();
        assert_eq!(list.memory(), 0);
        list.insert(run(0, 1));
        assert_eq!(list.memory(), RUN_OVERHEAD);
        for first in 1..100_000 {
            assert_eq!(list.insert(run(first, 1)), Inserted { absorbed: None, is_absorbed: false });
        }
        list.check_invariants();
        assert_eq!(list.len(), 100_000);
        assert!(list.memory() < 500_000, "{} bytes", list.memory());
        assert_eq!(list.get(Lsn(777)), Some(run(777, 1)));
        assert_eq!(list.get(Lsn(100_000)), None);
        assert_eq!(list.last_before(Lsn(50_000)), Some(run(49_999, 1)));
        assert!(list.iter().eq((0..100_000).map(|first| run(first, 1))));
        assert!(list.iter_from(Lsn(70_001)).eq((70_001..100_000).map(|first| run(first, 1))));
    }

    #[test]
    fn what_is_taken_from_the_front_gives_its_memory_back() {
        let mut list = RunList::default();
        (0..10_000).for_each(|first| _ = list.insert(run(first, 1)));
        for first in 0..10_000 {
            assert_eq!(list.first_place(), Some(Lsn(first)));
            assert_eq!(list.first(), Some(run(first, 1)));
            assert_eq!(list.remove(Lsn(first)), Some(run(first, 1)));
        }
        list.check_invariants();
        assert!(list.is_empty() && list.memory() == 0 && list.first().is_none());
    }

    #[test]
    fn runs_of_a_record_become_one_whichever_comes_last() {
        let part = |at: u64| PagedRun { first: Lsn(at), from: at as u32 * 139, ..run(0, 1) };
        let mut list = RunList::default();
        list.insert(part(1));
        assert_eq!(list.insert(part(2)), Inserted { absorbed: None, is_absorbed: true });
        let behind = PagedRun { count: 2, len: 278, body_bytes: 256, ..part(1) };
        assert_eq!(list.insert(part(0)), Inserted { absorbed: Some(behind), is_absorbed: false });
        assert_eq!(list.insert(part(4)), Inserted { absorbed: None, is_absorbed: false });
        assert_eq!(list.insert(part(3)), Inserted { absorbed: Some(part(4)), is_absorbed: true });
        list.check_invariants();
        assert_eq!((list.len(), list.first().unwrap().count), (1, 5));
    }

    /// Messages of records of fifty, each with its place in its record.
    fn messages(runs: impl Iterator<Item = PagedRun>) -> impl Iterator<Item = (u64, u32, u32)> {
        let each = |run: PagedRun| {
            (0..run.count)
                .map(move |at| (run.first.0 + u64::from(at), run.location.offset, run.from + at * 139))
        };
        runs.flat_map(each)
    }

    #[test]
    fn it_holds_what_was_put_in_however_that_is_cut_up() {
        for seed in 0..8 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut list, mut model) = (RunList::default(), BTreeMap::new());
            for step in 0..4000 {
                let place = random.u64(0..5000);
                match random.u8(0..10) {
                    0..=5 => {
                        let count = random.u64(1..=3).min(50 - place % 50);
                        if model.range(place..place + count).next().is_some() {
                            continue;
                        }
                        let from = (place % 50) as u32 * 139;
                        let whole = PagedRun { from, ..run(place, count as u32) };
                        let location = Location { offset: (place / 50) as u32, ..whole.location };
                        let enqueued = Timestamp::from_micros(place / 50);
                        let part = PagedRun { location, enqueued, ..whole };
                        assert!(list.last_before(part.end()).is_none_or(|before| before.end() <= part.first));
                        list.insert(part);
                        model.extend(messages([part].into_iter()).map(|it| (it.0, (it.1, it.2))));
                    }
                    6..=7 => {
                        let Some(before) = list.last_before(Lsn(place)) else { continue };
                        assert_eq!(list.get(before.first), Some(before), "seed {seed}, step {step}");
                        assert_eq!(list.remove(before.first), Some(before), "seed {seed}, step {step}");
                        let all: Vec<_> = messages([before].into_iter()).collect();
                        assert!(
                            all.iter().all(|(lsn, ..)| model.remove(lsn).is_some()),
                            "seed {seed}, step {step}"
                        );
                    }
                    8 => {
                        let first = list.first_place();
                        assert_eq!(
                            first,
                            model.first_key_value().map(|(lsn, _)| Lsn(*lsn)),
                            "seed {seed}, step {step}"
                        );
                        assert_eq!(list.first().map(|run| run.first), first);
                    }
                    _ if step % 100 == 0 => {
                        list.for_each_mut(|run| run.expires = run.enqueued.plus_millis(step));
                        list.for_each_mut(|run| run.expires = Timestamp::NEVER);
                    }
                    _ => {
                        let Some((last, _)) = model.range(..place).next_back() else { continue };
                        let run = list.last_before(Lsn(place));
                        let has = |run: PagedRun| (run.first..run.end()).contains(&Lsn(*last));
                        assert!(run.is_some_and(has), "seed {seed}, step {step}");
                    }
                }
            }
            list.check_invariants();
            let held: Vec<_> = list.iter().collect();
            assert!(
                held.is_sorted_by(|one, next| !{ *one }.append(next)),
                "seed {seed}: neighbours are one run"
            );
            assert!(
                messages(held.into_iter()).eq(model.into_iter().map(|(lsn, it)| (lsn, it.0, it.1))),
                "seed {seed}"
            );
        }
    }
}
