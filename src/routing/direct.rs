//! Direct exchanges: the routing key equals the binding's key.

use ahash::HashMap;

use super::id_set::IdSet;
use crate::model::RoutingKey;

#[derive(Debug, Default)]
pub(super) struct DirectIndex(HashMap<RoutingKey, IdSet>);

impl DirectIndex {
    pub(super) fn insert(&mut self, key: &RoutingKey, target: u32) {
        self.0.entry(key.clone()).or_default().add(target);
    }

    pub(super) fn remove(&mut self, key: &RoutingKey, target: u32) {
        if let Some(targets) = self.0.get_mut(key) {
            targets.remove(target);
            if targets.is_empty() {
                self.0.remove(key);
            }
        }
    }

    pub(super) fn route(&self, key: &str, found: &mut Vec<u32>) {
        if let Some(targets) = self.0.get(key) {
            found.extend_from_slice(targets.as_slice());
        }
    }
}
