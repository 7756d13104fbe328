//! Delivery tags as inclusive ranges: how many acks become one.
//!
//! Invariant: what was added is covered, and nothing else. Tags added in order cost nothing but a comparison.

/// A set of tags that grows mostly at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TagRanges(Vec<(u64, u64)>);

impl TagRanges {
    /// Adds the tags from `first` up to `last`.
    pub(crate) fn add_range(&mut self, first: u64, last: u64) {
        match self.0.last_mut() {
            Some(range) if range.1 + 1 == first => range.1 = last,
            Some(range) if last + 1 == range.0 => range.0 = first,
            _ => self.0.push((first, last)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order, with neighbours merged; the set is empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<(u64, u64)> {
        let mut ranges = std::mem::take(&mut self.0);
        ranges.sort_unstable();
        ranges.dedup_by(|next, range| {
            let touching = next.0 <= range.1.saturating_add(1);
            if touching {
                range.1 = range.1.max(next.1);
            }
            touching
        });
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(tags: &[u64]) -> Vec<(u64, u64)> {
        let mut ranges = TagRanges::default();
        tags.iter().for_each(|&tag| ranges.add_range(tag, tag));
        ranges.take()
    }

    #[test]
    fn tags_in_order_are_one_range() {
        assert_eq!(ranges(&[1, 2, 3, 4]), [(1, 4)]);
        assert_eq!(ranges(&[4, 3, 2, 1]), [(1, 4)]);
    }

    #[test]
    fn tags_in_any_order_are_merged() {
        assert_eq!(ranges(&[5, 1, 3, 2, 9, 4]), [(1, 5), (9, 9)]);
    }

    #[test]
    fn taking_leaves_nothing() {
        let mut ranges = TagRanges::default();
        ranges.add_range(1, 1);
        ranges.take();
        assert!(ranges.is_empty());
    }
}
