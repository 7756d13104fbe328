//! Who has logged in, and what they may do in a vhost.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Access;
use super::denied::Denied;
use super::operation::{Need, Operation};
use super::permission::{Permission, TopicPermission};
use super::tags::Tags;
use super::user::User;
use crate::model::VhostName;

/// Who has logged in.
#[derive(Clone)]
pub struct Principal {
    access: Arc<Access>,
    user: Arc<User>,
}

impl Principal {
    pub(super) fn new(access: Arc<Access>, user: Arc<User>) -> Self {
        Principal { access, user }
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.user.name
    }

    /// The user's tags, as they were at the login.
    pub fn tags(&self) -> &Tags {
        &self.user.tags
    }

    /// The user, as it was at the login. For what holds now, ask [`Access::user`].
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Whether the user is still who has logged in: neither deleted, nor made again, nor with another password.
    pub fn is_current(&self) -> bool {
        self.access.is_current(&self.user)
    }

    /// Enters a vhost. Whether there is such a vhost, the broker knows.
    ///
    /// # Errors
    /// The user has no permission there at all.
    pub fn enter(&self, vhost: &str) -> Result<VhostPass, Denied> {
        let denied = || Denied::Vhost { vhost: vhost.to_owned(), user: self.name().to_owned() };
        let name = VhostName::new(vhost).map_err(|_| denied())?;
        let known = Known::find(&self.access, self.name(), &name);
        if known.permission.is_none() {
            return Err(denied());
        }
        let user = self.user.clone();
        Ok(VhostPass { access: self.access.clone(), user, vhost: name, known: Mutex::new(known) })
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.user.name).finish()
    }
}

/// What a user may do in a vhost, as it is now: a pass follows every change.
pub struct VhostPass {
    access: Arc<Access>,
    user: Arc<User>,
    vhost: VhostName,
    known: Mutex<Known>,
}

/// What was found last.
struct Known {
    generation: u64,
    permission: Option<Arc<Permission>>,
    topics: Vec<Arc<TopicPermission>>,
}

impl Known {
    fn find(access: &Access, user: &str, vhost: &VhostName) -> Self {
        // Before what it is for: a change in between is found next time.
        let generation = access.generation();
        let (permission, topics) = access.rights(user, vhost);
        Known { generation, permission, topics }
    }

    fn refusal(&self, need: Need<'_>, pass: &VhostPass) -> Option<Denied> {
        let is_allowed = match need {
            Need::Right(right, resource) => {
                let permission = self.permission.as_ref();
                permission.is_some_and(|permission| permission.pattern(right).matches(resource.name()))
            }
            Need::Topic { right, exchange, routing_key } => {
                let mut topics = self.topics.iter().filter(|topic| *topic.exchange == *exchange);
                topics.all(|topic| topic.allows(right, routing_key))
            }
        };
        (!is_allowed).then(|| match need {
            Need::Right(_, resource) => Denied::resource(resource, &pass.vhost, &pass.user.name),
            Need::Topic { exchange, routing_key, .. } => Denied::Topic {
                routing_key: routing_key.to_owned(),
                exchange: exchange.to_owned(),
                vhost: pass.vhost.clone(),
                user: pass.user.name.clone(),
            },
        })
    }
}

impl VhostPass {
    /// Whose pass it is.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// For which vhost.
    pub fn vhost(&self) -> &VhostName {
        &self.vhost
    }

    /// Grows with each change of users and permissions: what was allowed before must be asked for again.
    pub fn generation(&self) -> u64 {
        self.access.generation()
    }

    /// Asks whether an operation is allowed. Costs a few pattern matches, so remember the answer for a route that is
    /// published to again, for as long as [`VhostPass::generation`] stays.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, operation: &Operation<'_>) -> Result<(), Denied> {
        let mut known = self.known.lock();
        if known.generation != self.access.generation() {
            *known = Known::find(&self.access, &self.user.name, &self.vhost);
        }
        let needs = operation.needs();
        let mut refusals = needs.into_iter().flatten().filter_map(|need| known.refusal(need, self));
        refusals.next().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for VhostPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VhostPass").field("user", &self.user.name).field("vhost", &self.vhost).finish()
    }
}
