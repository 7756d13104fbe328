//! Who there is, and what each may do: the lists behind [`Access`](super::Access).
//!
//! Invariants: a permission belongs to a user that exists; of the users of `broker.toml`, the file's permissions come
//! before those that were set at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::permission::{Permission, TopicPermission};
use super::user::{User, UserSource};
use crate::model::VhostName;

/// By user, vhost and exchange.
type TopicKey = (String, VhostName, String);

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) users: BTreeMap<String, Arc<User>>,
    /// By user, then vhost.
    pub(super) permissions: BTreeMap<(String, VhostName), Arc<Permission>>,
    pub(super) topics: BTreeMap<TopicKey, Arc<TopicPermission>>,
    /// Those of the file that say what they may do, and where.
    pub(super) of_file: BTreeMap<(String, VhostName), Arc<Permission>>,
    /// Those of the file that may do everything, everywhere.
    pub(super) everywhere: BTreeSet<String>,
}

impl Tables {
    pub(super) fn permission(&self, user: &str, vhost: &VhostName) -> Option<Arc<Permission>> {
        let key = (user.to_owned(), vhost.clone());
        let known = self.users.get(user)?;
        if known.source == UserSource::Catalog {
            return self.permissions.get(&key).cloned();
        }
        let set = self.of_file.get(&key).or_else(|| self.permissions.get(&key)).cloned();
        let everything = || Arc::new(Permission::full(user, vhost.clone()));
        set.or_else(|| self.everywhere.contains(user).then(everything))
    }

    pub(super) fn topics(&self, user: &str, vhost: &VhostName) -> Vec<Arc<TopicPermission>> {
        let first = (user.to_owned(), vhost.clone(), String::new());
        let from = self.topics.range(first..);
        let of_user = from.take_while(|((of, at, _), _)| of == user && at == vhost);
        of_user.map(|(_, topic)| topic.clone()).collect()
    }

    /// Everything of a user's.
    pub(super) fn remove_user(&mut self, name: &str) -> Option<Arc<User>> {
        let user = self.users.remove(name)?;
        self.permissions.retain(|(of, _), _| of != name);
        self.topics.retain(|(of, ..), _| of != name);
        Some(user)
    }

    /// What anybody may do in a vhost.
    pub(super) fn remove_vhost(&mut self, name: &VhostName) {
        self.permissions.retain(|(_, at), _| at != name);
        self.topics.retain(|(_, at, _), _| at != name);
    }
}
