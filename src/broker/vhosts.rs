//! Vhosts as they come and go, and what an operator has noted of them.
//!
//! Invariant: a vhost that was deleted takes nothing durable any more, whoever still holds it: else the catalog would
//! have it again. Not here: what is in a vhost (`vhost`).

use std::sync::Arc;

use rialto_protocol::ReplyCode;

use super::identity::check_name;
use super::{Broker, BrokerError, Commit, Turn, Vhost};
use crate::model::{VHOST_TAGS_MAX, VHOST_TEXT_LEN_MAX, VhostLimits, VhostName, VhostOptions};
use crate::store::{CatalogContents, Change, VhostRow};

/// Longest name of a vhost, in bytes.
pub const VHOST_NAME_LEN_MAX: usize = 255;

impl Vhost {
    /// What an operator has noted of it.
    pub fn options(&self) -> Arc<VhostOptions> {
        self.notes.read().0.clone()
    }

    /// How much may be in it.
    pub fn limits(&self) -> VhostLimits {
        self.notes.read().1
    }

    fn row(&self) -> VhostRow {
        let metadata = self.options().to_metadata(&self.limits());
        VhostRow { name: self.name().clone(), metadata }
    }
}

impl Broker {
    /// Makes a vhost, or gives one that is there other options. Nobody may enter a new one until somebody is permitted
    /// to.
    ///
    /// # Errors
    /// The name cannot be one, there are too many, or nothing durable can be changed.
    pub fn add_vhost(&self, name: &str, options: VhostOptions) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        check_name("vhost", name, VHOST_NAME_LEN_MAX)?;
        let too_long =
            options.tags.iter().chain([&options.description]).any(|text| text.len() > VHOST_TEXT_LEN_MAX);
        if too_long || options.tags.len() > VHOST_TAGS_MAX {
            let text = format!(
                "the description of vhost '{name}' and each of its tags may have {VHOST_TEXT_LEN_MAX} bytes, and there \
                 may be {VHOST_TAGS_MAX} tags"
            );
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        let max = self.limits().vhosts_max;
        if self.vhost(name).is_none() && self.0.vhosts.len() >= max {
            let text = format!("cannot add vhost '{name}': limit of {max} (topology.vhosts_max) is reached");
            return Err(BrokerError::refused(ReplyCode::PreconditionFailed, text));
        }
        self.0.core.check_catalog()?;
        let vhost = self.vhost_or_new(VhostName::new(name).expect("checked: it is at most 255 bytes"));
        vhost.notes.write().0 = Arc::new(options);
        Ok(self.kept(Change::PutVhost(vhost.row())))
    }

    /// Protects a vhost from being deleted, or lifts the protection.
    ///
    /// # Errors
    /// There is no such vhost, or nothing durable can be changed.
    pub fn protect_vhost(&self, name: &str, is_protected: bool) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        self.existing(name)?;
        self.0.core.check_catalog()?;
        let vhost = self.vhost(name).expect("vhosts go under the same lock");
        let options = VhostOptions { protected_from_deletion: is_protected, ..(*vhost.options()).clone() };
        vhost.notes.write().0 = Arc::new(options);
        Ok(self.kept(Change::PutVhost(vhost.row())))
    }

    /// Sets how much may be in a vhost. What is there stays.
    ///
    /// # Errors
    /// There is no such vhost, or nothing durable can be changed.
    pub fn set_vhost_limits(&self, name: &str, limits: VhostLimits) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        self.existing(name)?;
        self.0.core.check_catalog()?;
        let vhost = self.vhost(name).expect("vhosts go under the same lock");
        vhost.notes.write().1 = limits;
        Ok(self.kept(Change::PutVhost(vhost.row())))
    }

    /// Deletes a vhost with its exchanges, queues, messages, policies, parameters and permissions, and closes its
    /// connections. One that the file names is there again, and empty, after the next start.
    ///
    /// # Errors
    /// There is none, it is protected, or nothing durable can be changed.
    pub fn delete_vhost(&self, name: &str, turn: &mut Turn) -> Result<Commit, BrokerError> {
        let changes = self.0.core.identity.lock();
        let name = self.existing(name)?;
        if self.vhost(&name).is_some_and(|vhost| vhost.options().protected_from_deletion) {
            return Err(BrokerError::VhostProtected { vhost: name });
        }
        self.0.core.check_catalog()?;
        let Some((_, vhost)) = self.0.vhosts.remove(&name) else {
            unreachable!("vhosts go under the same lock")
        };
        vhost.end();
        self.access().remove_vhost(&name);
        self.forget_parameters_of(&name);
        // Before anybody can make one of that name, which would lose its rows: from here on this one has none to lose
        // (see `Vhost::keep`).
        let commit = self.kept(Change::DeleteVhost { name: name.clone() });
        drop(changes);
        let reason = format!("vhost '{name}' is deleted");
        self.close_connections(&reason, |connection| connection.vhost == name);
        turn.begin(self.now());
        for queue in vhost.queues() {
            if queue.close_if(turn, |_| Ok::<_, BrokerError>(())).is_some() {
                vhost.forget_queue(&queue);
            }
            turn.finish(self);
        }
        Ok(commit)
    }

    /// Makes the vhosts that the catalog has.
    pub(super) fn restore_vhosts(&self, contents: &CatalogContents) {
        for row in &contents.vhosts {
            let (options, limits) = VhostOptions::from_metadata(&row.metadata);
            *self.vhost_or_new(row.name.clone()).notes.write() = (Arc::new(options), limits);
        }
    }
}
