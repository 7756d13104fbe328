//! A multiset of small numbers that costs nothing for one member and stays fast for a million.
//!
//! Invariants: `ids` are distinct; `counts[i]` is how often `ids[i]` was added; `places` is empty while there are
//! few, and complete otherwise. Order follows insertions and removals only, never a hash.

use ahash::HashMap;

/// Up to here a scan beats a hash table.
const SCAN_MAX: usize = 16;

/// Targets, or bindings, each with how often it was added.
#[derive(Debug, Default)]
pub(super) enum IdSet {
    #[default]
    None,
    One(u32),
    Many(Box<Many>),
}

#[derive(Debug, Default)]
pub(super) struct Many {
    ids: Vec<u32>,
    counts: Vec<u32>,
    places: HashMap<u32, u32>,
}

impl IdSet {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            IdSet::None => &[],
            IdSet::One(id) => std::slice::from_ref(id),
            IdSet::Many(many) => &many.ids,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, IdSet::None)
    }

    pub(super) fn add(&mut self, id: u32) {
        match self {
            IdSet::None => *self = IdSet::One(id),
            IdSet::One(first) => {
                let mut many = Box::new(Many::default());
                many.add(*first);
                many.add(id);
                *self = IdSet::Many(many);
            }
            IdSet::Many(many) => many.add(id),
        }
    }

    /// Takes one addition back. False: there was none.
    pub(super) fn remove(&mut self, id: u32) -> bool {
        match self {
            IdSet::None => false,
            IdSet::One(only) => {
                let is_it = *only == id;
                if is_it {
                    *self = IdSet::None;
                }
                is_it
            }
            IdSet::Many(many) => {
                let was_there = many.remove(id);
                if let ([only], [1]) = (&*many.ids, &*many.counts) {
                    *self = IdSet::One(*only);
                }
                was_there
            }
        }
    }
}

impl Many {
    fn place(&self, id: u32) -> Option<usize> {
        if self.places.is_empty() {
            self.ids.iter().position(|&member| member == id)
        } else {
            self.places.get(&id).map(|&place| place as usize)
        }
    }

    fn add(&mut self, id: u32) {
        if let Some(place) = self.place(id) {
            self.counts[place] += 1;
            return;
        }
        self.ids.push(id);
        self.counts.push(1);
        if !self.places.is_empty() {
            self.places.insert(id, self.ids.len() as u32 - 1);
        } else if self.ids.len() > SCAN_MAX {
            self.places = self.ids.iter().enumerate().map(|(place, &id)| (id, place as u32)).collect();
        }
    }

    fn remove(&mut self, id: u32) -> bool {
        let Some(place) = self.place(id) else { return false };
        self.counts[place] -= 1;
        if self.counts[place] == 0 {
            self.drop_place(place, id);
        }
        true
    }

    fn drop_place(&mut self, place: usize, id: u32) {
        self.ids.swap_remove(place);
        self.counts.swap_remove(place);
        if self.places.is_empty() {
            return;
        }
        self.places.remove(&id);
        if let Some(&moved) = self.ids.get(place) {
            self.places.insert(moved, place as u32);
        }
        if self.ids.len() <= SCAN_MAX / 2 {
            self.places = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_set_holds_what_a_counting_map_holds(steps in prop::collection::vec((any::<bool>(), 0_u32..40), 0..400)) {
            let mut set = IdSet::default();
            let mut model = BTreeMap::<u32, u32>::new();
            for (add, id) in steps {
                if add {
                    set.add(id);
                    *model.entry(id).or_default() += 1;
                } else {
                    prop_assert_eq!(set.remove(id), model.contains_key(&id));
                    if let Some(count) = model.get_mut(&id) {
                        *count -= 1;
                    }
                    model.retain(|_, count| *count > 0);
                }
                let mut members = set.as_slice().to_vec();
                members.sort_unstable();
                prop_assert_eq!(members, model.keys().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
        }
    }
}
