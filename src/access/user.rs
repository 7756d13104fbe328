//! A user.

use std::sync::OnceLock;

use super::password::Credentials;
use super::scram::ScramKeys;
use super::tags::Tags;

/// Longest name of a user, in bytes.
pub const USER_NAME_LEN_MAX: usize = 255;

/// How much a user may have open at once. None: as much as anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections.
    pub max_connections: Option<u32>,
    /// Channels, of all connections together.
    pub max_channels: Option<u32>,
}

/// Where a user was set, and so where it can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserSource {
    /// At run time; kept in the catalog.
    Catalog,
    /// In `broker.toml`.
    File,
}

/// A user, as it was last set. A change makes a new one.
#[derive(Debug)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// How the user proves who they are.
    pub credentials: Credentials,
    /// What they may do besides using vhosts.
    pub tags: Tags,
    /// How much they may have open.
    pub limits: UserLimits,
    /// Where they were set.
    pub source: UserSource,
    /// A fast, keyed hash of the password that was last found right, so that the slow one is computed once. It goes
    /// with the user: who is set anew is checked anew.
    pub(super) remembered: OnceLock<[u8; 32]>,
    /// What SCRAM needs of a password that stands in the file, once somebody has asked for it.
    pub(super) derived_keys: OnceLock<ScramKeys>,
}

impl Clone for User {
    /// The same user, to be changed: nothing of the password is remembered.
    fn clone(&self) -> Self {
        User {
            name: self.name.clone(),
            credentials: self.credentials.clone(),
            tags: self.tags.clone(),
            limits: self.limits,
            source: self.source,
            remembered: OnceLock::new(),
            derived_keys: OnceLock::new(),
        }
    }
}

impl User {
    /// A user.
    pub fn new(name: &str, credentials: Credentials, tags: Tags) -> Self {
        User {
            name: name.to_owned(),
            credentials,
            tags,
            limits: UserLimits::default(),
            source: UserSource::Catalog,
            remembered: OnceLock::new(),
            derived_keys: OnceLock::new(),
        }
    }

    /// The same, with other credentials: whatever was remembered of the old ones is gone.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        User { credentials, ..self.clone() }
    }

    /// The same, with other tags.
    #[must_use]
    pub fn with_tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// The same, with limits.
    #[must_use]
    pub fn with_limits(mut self, limits: UserLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, of the file.
    #[must_use]
    pub fn of_file(mut self) -> Self {
        self.source = UserSource::File;
        self
    }

    pub(super) fn scram_keys(&self) -> Option<&ScramKeys> {
        self.credentials.scram().or_else(|| self.derived_keys.get())
    }
}
