//! Users and permissions as they are changed at run time: checked, kept in the catalog, and let hold at once.
//!
//! Invariants: changes are made one after the other, so that the catalog hears of them in the order in which they hold.
//! What the file says can be changed in the file only. Each change says what it must wait for to be safe. Not here: what
//! users may do (`access`).

use rialto_protocol::ReplyCode;
use rialto_protocol::types::{FieldTable, FieldValue};

use super::{Broker, BrokerError, Commit};
use crate::access::{
    Credentials, Permission, ScramKeys, Tags, TopicPermission, USER_NAME_LEN_MAX, User, UserLimits,
    UserSource,
};
use crate::model::VhostName;
use crate::store::{CatalogContents, Change, PermissionRow, TopicPermissionRow, UserRow};

const SCRAM: &str = "scram";
const MAX_CONNECTIONS: &str = "max-connections";
const MAX_CHANNELS: &str = "max-channels";

fn not_found(text: String) -> BrokerError {
    BrokerError::refused(ReplyCode::NotFound, text)
}

fn precondition(text: String) -> BrokerError {
    BrokerError::refused(ReplyCode::PreconditionFailed, text)
}

/// Refuses a name that nobody could type or read: of a user, a vhost, a parameter.
pub(super) fn check_name(what: &str, name: &str, len_max: usize) -> Result<(), BrokerError> {
    let problem = if name.is_empty() {
        "must not be empty".to_owned()
    } else if name.len() > len_max {
        format!("has {} bytes; at most {len_max} are allowed", name.len())
    } else if name.chars().any(char::is_control) {
        "must not have control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(precondition(format!("the name of a {what} {problem}")))
}

impl Broker {
    /// Refuses to change a user of the file, and one that does not exist.
    fn check_user(&self, name: &str) -> Result<(), BrokerError> {
        match self.access().user(name) {
            None => Err(not_found(format!("no user '{name}'"))),
            Some(user) if user.source == UserSource::File => Err(Self::of_file(name)),
            Some(_) => Ok(()),
        }
    }

    fn of_file(name: &str) -> BrokerError {
        precondition(format!(
            "user '{name}' is set in the broker's settings file: change it there (auth.users), and start the broker \
             again"
        ))
    }

    fn permission_of_file(user: &str, vhost: &str) -> BrokerError {
        precondition(format!(
            "the permissions of user '{user}' in vhost '{vhost}' are set in the broker's settings file: change them \
             there (auth.users), and start the broker again"
        ))
    }

    pub(super) fn kept(&self, change: Change) -> Commit {
        Commit { catalog: self.0.core.keep(change), ..Commit::NONE }
    }

    /// Sets a user; one of this name is replaced and keeps its permissions. To keep a part of it, begin with a clone of
    /// what [`crate::access::Access::user`] gives.
    ///
    /// # Errors
    /// The name cannot be one, the file has a user of this name, there are too many, or nothing durable can be changed.
    pub fn put_user(&self, user: User) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        check_name("user", &user.name, USER_NAME_LEN_MAX)?;
        let access = self.access();
        match access.user(&user.name) {
            Some(known) if known.source == UserSource::File => return Err(Self::of_file(&user.name)),
            Some(_) => {}
            None => {
                let max = access.options().users_max;
                if access.users_len() >= max {
                    let name = &user.name;
                    return Err(precondition(format!(
                        "cannot add user '{name}': limit of {max} (auth.users_max) is reached"
                    )));
                }
            }
        }
        self.0.core.check_catalog()?;
        let commit = self.kept(Change::PutUser(user_row(&user)));
        access.put_user(user);
        Ok(commit)
    }

    /// Sets how much a user may have open. What is open stays so.
    ///
    /// # Errors
    /// As [`Broker::put_user`]; or there is no such user.
    pub fn set_user_limits(&self, name: &str, limits: UserLimits) -> Result<Commit, BrokerError> {
        let known = self.access().user(name).ok_or_else(|| not_found(format!("no user '{name}'")))?;
        self.put_user(User::clone(&known).with_limits(limits))
    }

    /// Deletes a user with all permissions, and closes its connections.
    ///
    /// # Errors
    /// There is none, it is the file's, or nothing durable can be changed.
    pub fn delete_user(&self, name: &str) -> Result<Commit, BrokerError> {
        let changes = self.0.core.identity.lock();
        self.check_user(name)?;
        self.0.core.check_catalog()?;
        let commit = self.kept(Change::DeleteUser { name: name.to_owned() });
        self.access().remove_user(name);
        drop(changes);
        // Whoever logs in from now on does not.
        let reason = format!("user '{name}' was deleted");
        self.close_connections(&reason, |connection| connection.user == name);
        Ok(commit)
    }

    /// Sets what a user may do in a vhost.
    ///
    /// # Errors
    /// There is no such user or vhost, the file says so already, or nothing durable can be changed.
    pub fn set_permission(&self, permission: Permission) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        let Permission { user, vhost, configure, write, read } = &permission;
        self.check_may_be_set(user, vhost)?;
        if self.access().has_file_permission(user, vhost) {
            return Err(Self::permission_of_file(user, vhost));
        }
        self.0.core.check_catalog()?;
        let commit = self.kept(Change::PutPermission(PermissionRow {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: configure.to_string(),
            write: write.to_string(),
            read: read.to_string(),
        }));
        self.access().put_permission(permission);
        Ok(commit)
    }

    /// Takes away what a user may do in a vhost: it may not enter any more.
    ///
    /// # Errors
    /// There was nothing, the file says so, or nothing durable can be changed.
    pub fn clear_permission(&self, user: &str, vhost: &str) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        let name = self.existing(vhost)?;
        if self.access().has_file_permission(user, &name) {
            return Err(Self::permission_of_file(user, &name));
        }
        self.0.core.check_catalog()?;
        if !self.access().remove_permission(user, &name) {
            return Err(not_found(format!("user '{user}' has no permission in vhost '{vhost}'")));
        }
        Ok(self.kept(Change::DeletePermission { user: user.to_owned(), vhost: name }))
    }

    /// Sets which routing keys a user may publish to a topic exchange with, and bind it with.
    ///
    /// # Errors
    /// There is no such user or vhost, or nothing durable can be changed.
    pub fn set_topic_permission(&self, topic: TopicPermission) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        self.check_may_be_set(&topic.user, &topic.vhost)?;
        self.0.core.check_catalog()?;
        let commit = self.kept(Change::PutTopicPermission(TopicPermissionRow {
            user: topic.user.clone(),
            vhost: topic.vhost.clone(),
            exchange: topic.exchange.clone(),
            write: topic.write.clone(),
            read: topic.read.clone(),
        }));
        self.access().put_topic_permission(topic);
        Ok(commit)
    }

    /// Takes away topic permissions of a user in a vhost: that for one exchange, or all.
    ///
    /// # Errors
    /// There is no such vhost, there was nothing, or nothing durable can be changed.
    pub fn clear_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<Commit, BrokerError> {
        let _one_after_the_other = self.0.core.identity.lock();
        let name = self.existing(vhost)?;
        self.0.core.check_catalog()?;
        let removed = self.access().remove_topic_permissions(user, &name, exchange);
        if removed.is_empty() {
            return Err(not_found(format!("user '{user}' has no topic permission in vhost '{vhost}'")));
        }
        let forget = |topic: &TopicPermission| Change::DeleteTopicPermission {
            user: topic.user.clone(),
            vhost: topic.vhost.clone(),
            exchange: topic.exchange.clone(),
        };
        let commits = removed.iter().map(|topic| self.kept(forget(topic)));
        Ok(commits.fold(Commit::NONE, Commit::join))
    }

    fn check_may_be_set(&self, user: &str, vhost: &VhostName) -> Result<(), BrokerError> {
        self.existing(vhost)?;
        match self.access().user(user) {
            Some(_) => Ok(()),
            None => Err(not_found(format!("no user '{user}'"))),
        }
    }

    pub(super) fn existing(&self, vhost: &str) -> Result<VhostName, BrokerError> {
        match self.vhost(vhost) {
            Some(vhost) => Ok(vhost.name().clone()),
            None => Err(not_found(format!("vhost '{vhost}' not found"))),
        }
    }

    /// Has the user of a new broker, if there is no other.
    pub(super) fn put_guest(&self) {
        if self.access().users_len() > 0 {
            return;
        }
        let vhosts = self.vhosts();
        self.access().put_guest(vhosts.iter().map(|vhost| vhost.name()));
        for user in self.access().users() {
            self.kept(Change::PutUser(user_row(&user)));
        }
        for permission in self.access().permissions() {
            self.kept(Change::PutPermission(PermissionRow {
                user: permission.user.clone(),
                vhost: permission.vhost.clone(),
                configure: permission.configure.to_string(),
                write: permission.write.to_string(),
                read: permission.read.to_string(),
            }));
        }
    }

    /// Takes users and permissions out of what the catalog has. What cannot be read is left out, so that nobody may do
    /// more than before, and told: a broker that refused to start would be no safer.
    pub(super) fn restore_identity(&self, contents: &mut CatalogContents) {
        let access = self.access();
        for row in std::mem::take(&mut contents.users) {
            if access.user(&row.name).is_some() {
                tracing::info!(user = row.name, "the settings file has a user of this name: that one counts");
                continue;
            }
            match user(&row) {
                Ok(user) => access.put_user(user),
                Err(problem) => tracing::error!(user = row.name, problem, "a user cannot be read"),
            }
        }
        for row in std::mem::take(&mut contents.permissions) {
            let PermissionRow { user, vhost, configure, write, read } = row;
            match Permission::new(&user, vhost, &configure, &write, &read) {
                Ok(permission) => _ = access.put_permission(permission),
                Err(error) => tracing::error!(user, %error, "a permission cannot be read"),
            }
        }
        for row in std::mem::take(&mut contents.topic_permissions) {
            let TopicPermissionRow { user, vhost, exchange, write, read } = row;
            match TopicPermission::new(&user, vhost.clone(), exchange.clone(), &write, &read) {
                Ok(topic) => _ = access.put_topic_permission(topic),
                // Without it, the keys would not be restricted.
                Err(error) => {
                    tracing::error!(user, %error, "a topic permission cannot be read: no key is allowed");
                    let none = TopicPermission::new(&user, vhost, exchange, "^$", "^$");
                    none.map(|none| access.put_topic_permission(none)).expect("`^$` is a pattern");
                }
            }
        }
    }
}

fn user_row(user: &User) -> UserRow {
    let mut details = FieldTable::new();
    if let Some(keys) = user.credentials.scram() {
        details = details.with(SCRAM, keys.to_row());
    }
    let UserLimits { max_connections, max_channels } = user.limits;
    for (name, limit) in [(MAX_CONNECTIONS, max_connections), (MAX_CHANNELS, max_channels)] {
        if let Some(limit) = limit {
            details = details.with(name, i64::from(limit));
        }
    }
    UserRow {
        name: user.name.clone(),
        password_hash: user.credentials.to_row(),
        tags: user.tags.to_string(),
        details,
    }
}

fn user(row: &UserRow) -> Result<User, String> {
    let credentials = Credentials::from_row(&row.password_hash).map_err(|error| error.to_string())?;
    let keys = row.details.get(SCRAM).and_then(FieldValue::as_str).and_then(ScramKeys::from_row);
    let number = |name| row.details.get(name).and_then(FieldValue::as_int);
    let limit = |name| number(name).and_then(|limit| u32::try_from(limit).ok());
    let limits = UserLimits { max_connections: limit(MAX_CONNECTIONS), max_channels: limit(MAX_CHANNELS) };
    let tags = Tags::from_list(&row.tags);
    Ok(User::new(&row.name, credentials.with_scram(keys), tags).with_limits(limits))
}
