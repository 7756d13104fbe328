//! Fanout exchanges: every binding, whatever its key.

use super::id_set::IdSet;

#[derive(Debug, Default)]
pub(super) struct FanoutIndex(IdSet);

impl FanoutIndex {
    pub(super) fn insert(&mut self, target: u32) {
        self.0.add(target);
    }

    pub(super) fn remove(&mut self, target: u32) {
        self.0.remove(target);
    }

    pub(super) fn route(&self, found: &mut Vec<u32>) {
        found.extend_from_slice(self.0.as_slice());
    }
}
