//! A set of LSNs: a few ranges where that will do, compressed bitmaps where it will not.
//!
//! Most sets of a segment are one range (a queue that is consumed in order), and there can be very many of them, one
//! for every queue: a list of ranges costs tens of bytes then, a bitmap a thousand.

use std::ops::RangeInclusive;

use roaring::RoaringTreemap;

/// Ranges beyond which a set becomes a bitmap: searching and shifting this many is still cheaper than a bitmap.
const RANGES_MAX: usize = 24;

/// LSNs.
#[derive(Clone, Debug)]
pub(super) enum LsnSet {
    /// In order, with gaps between them.
    Ranges(Vec<(u64, u64)>),
    /// More than that.
    Bitmap(Box<RoaringTreemap>),
}

impl Default for LsnSet {
    fn default() -> Self {
        LsnSet::Ranges(Vec::new())
    }
}

impl LsnSet {
    /// The same set as a bitmap's.
    pub(super) fn from_bitmap(bitmap: &RoaringTreemap) -> LsnSet {
        let mut set = LsnSet::default();
        let mut lsns = bitmap.iter();
        let mut held: Option<(u64, u64)> = None;
        loop {
            let lsn = lsns.next();
            match (&mut held, lsn) {
                (Some(range), Some(lsn)) if range.1 + 1 == lsn => range.1 = lsn,
                _ => {
                    if let Some((first, last)) = held.take() {
                        set.insert(first..=last);
                        if matches!(set, LsnSet::Bitmap(_)) {
                            return LsnSet::Bitmap(Box::new(bitmap.clone()));
                        }
                    }
                    let Some(lsn) = lsn else { return set };
                    held = Some((lsn, lsn));
                }
            }
        }
    }

    /// Adds a range.
    pub(super) fn insert(&mut self, lsns: RangeInclusive<u64>) {
        let ranges = match self {
            LsnSet::Bitmap(bitmap) => {
                bitmap.insert_range(lsns);
                return;
            }
            LsnSet::Ranges(ranges) => ranges,
        };
        let (mut first, mut last) = lsns.into_inner();
        // All that touch or overlap it become part of it.
        let start = ranges.partition_point(|range| range.1.saturating_add(1) < first);
        let end = ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        if start < end {
            first = first.min(ranges[start].0);
            last = last.max(ranges[end - 1].1);
            ranges[start] = (first, last);
            ranges.drain(start + 1..end);
        } else {
            ranges.insert(start, (first, last));
        }
        self.limit();
    }

    /// Takes a range out and says how many of it were there.
    pub(super) fn remove(&mut self, lsns: RangeInclusive<u64>) -> u64 {
        let ranges = match self {
            LsnSet::Bitmap(bitmap) => {
                let removed = bitmap.remove_range(lsns);
                if bitmap.is_empty() {
                    *self = LsnSet::default();
                }
                return removed;
            }
            LsnSet::Ranges(ranges) => ranges,
        };
        let (first, last) = lsns.into_inner();
        let start = ranges.partition_point(|range| range.1 < first);
        let end = ranges.partition_point(|range| range.0 <= last);
        if start >= end {
            return 0;
        }
        let count = |range: &(u64, u64)| range.1.min(last) - range.0.max(first) + 1;
        let removed = ranges[start..end].iter().map(count).sum();
        let before = (ranges[start].0 < first).then(|| (ranges[start].0, first - 1));
        let after = (ranges[end - 1].1 > last).then(|| (last + 1, ranges[end - 1].1));
        ranges.splice(start..end, before.into_iter().chain(after));
        self.limit();
        removed
    }

    fn limit(&mut self) {
        if let LsnSet::Ranges(ranges) = self
            && ranges.len() > RANGES_MAX
        {
            let mut bitmap = RoaringTreemap::new();
            for (first, last) in ranges.drain(..) {
                bitmap.insert_range(first..=last);
            }
            *self = LsnSet::Bitmap(Box::new(bitmap));
        }
    }

    /// Whether it has this one.
    pub(super) fn contains(&self, lsn: u64) -> bool {
        match self {
            LsnSet::Bitmap(bitmap) => bitmap.contains(lsn),
            LsnSet::Ranges(ranges) => {
                let number = ranges.partition_point(|range| range.1 < lsn);
                ranges.get(number).is_some_and(|range| range.0 <= lsn)
            }
        }
    }

    /// Those of a range that it has, as ranges in order.
    pub(super) fn within(&self, lsns: RangeInclusive<u64>) -> Vec<(u64, u64)> {
        let (first, last) = lsns.into_inner();
        let mut found: Vec<(u64, u64)> = Vec::new();
        match self {
            LsnSet::Ranges(ranges) => {
                let start = ranges.partition_point(|range| range.1 < first);
                let cut = ranges[start..].iter().take_while(|range| range.0 <= last);
                found.extend(cut.map(|range| (range.0.max(first), range.1.min(last))));
            }
            LsnSet::Bitmap(bitmap) => {
                let mut lsns = bitmap.iter();
                lsns.advance_to(first);
                for lsn in lsns.take_while(|lsn| *lsn <= last) {
                    match found.last_mut() {
                        Some(range) if range.1 + 1 == lsn => range.1 = lsn,
                        _ => found.push((lsn, lsn)),
                    }
                }
            }
        }
        found
    }

    /// All of it, as ranges in order.
    pub(super) fn ranges(&self) -> Vec<(u64, u64)> {
        self.within(0..=u64::MAX)
    }

    /// How many it has.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        match self {
            LsnSet::Ranges(ranges) => ranges.iter().map(|range| range.1 - range.0 + 1).sum(),
            LsnSet::Bitmap(bitmap) => bitmap.len(),
        }
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            LsnSet::Ranges(ranges) => ranges.is_empty(),
            LsnSet::Bitmap(bitmap) => bitmap.is_empty(),
        }
    }

    /// Bytes that it takes to write it down, about.
    pub(super) fn written_len(&self) -> u64 {
        match self {
            LsnSet::Ranges(ranges) => ranges.len() as u64 * 8,
            LsnSet::Bitmap(bitmap) => bitmap.serialized_size() as u64,
        }
    }

    /// Nothing much will be added any more: holds it in as little memory as it can.
    pub(super) fn optimize(&mut self) {
        match self {
            LsnSet::Ranges(ranges) => ranges.shrink_to_fit(),
            LsnSet::Bitmap(bitmap) => {
                bitmap.optimize();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sets_are_what_they_should_be_however_they_are_held() {
        for seed in 0..30 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut set, mut model) = (LsnSet::default(), BTreeSet::new());
            for _ in 0..200 {
                let first = random.u64(0..200);
                let last = first + random.u64(0..12);
                if random.bool() {
                    set.insert(first..=last);
                    model.extend(first..=last);
                } else {
                    let removed = (first..=last).filter(|lsn| model.remove(lsn)).count() as u64;
                    assert_eq!(set.remove(first..=last), removed, "seed {seed}");
                }
                assert_eq!(set.len(), model.len() as u64, "seed {seed}");
                let from = random.u64(0..200);
                let within: Vec<u64> =
                    set.within(from..=from + 40).into_iter().flat_map(|(a, b)| a..=b).collect();
                assert_eq!(within, model.range(from..=from + 40).copied().collect::<Vec<_>>(), "seed {seed}");
                assert_eq!(set.contains(from), model.contains(&from), "seed {seed}");
            }
        }
    }

    #[test]
    fn neighbours_are_one_range() {
        let mut set = LsnSet::default();
        for lsn in [1, 3, 2, 5, 4] {
            set.insert(lsn..=lsn);
        }
        assert!(matches!(&set, LsnSet::Ranges(ranges) if *ranges == [(1, 5)]));
    }
}
