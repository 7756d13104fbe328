//! Who may do what: users, logins, permissions. Both protocols and the HTTP API ask here, and nowhere else.
//!
//! A login is a [`Login`] that takes responses and gives [`Step`]s, until there is a [`Principal`]. It enters a vhost
//! with a [`VhostPass`], which is asked before each [`Operation`]; the rules are in `operation`.
//!
//! Invariants: no IO, no clock; randomness may be had. Whatever changes makes [`Access::generation`] grow, and passes
//! follow. No password and no hash is ever shown. Not here: what is kept of all this (`broker::identity`), who asks
//! (`session`, `admin`).

mod denied;
mod gate;
mod login;
mod mechanism;
mod operation;
mod options;
mod origin;
mod pass;
mod password;
mod permission;
mod scram;
mod tables;
mod tags;
#[cfg(test)]
mod tests;
mod throttle;
mod user;

use core::net::IpAddr;
use core::time::Duration;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

pub use denied::Denied;
pub use login::{Login, LoginError, Refusal, Step, Verification};
pub use operation::{Operation, Resource};
pub use options::AccessOptions;
pub use origin::{Origin, Protocol};
pub use pass::{Principal, VhostPass};
pub use password::{ARGON2ID, Credentials, HashCost, HashError, PASSWORD_LEN_MAX, RabbitHashing};
pub use permission::{Permission, Right, TopicPermission};
pub use scram::ScramKeys;
pub use tags::{TAG_LEN_MAX, TAGS_MAX, Tags};
pub use throttle::ThrottleLimits;
pub use user::{USER_NAME_LEN_MAX, User, UserLimits, UserSource};

use crate::model::{Timestamp, VhostName};
use gate::Gate;
use login::Attempt;
use mechanism::Mechanism;
use tables::Tables;
use throttle::Throttle;

/// Logins of one user from one address that failed, the ones after the last that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLogins {
    /// The user's name, as it was given.
    pub user: String,
    /// Where they came from.
    pub address: IpAddr,
    /// How many.
    pub count: u32,
    /// When the last was.
    pub last: Timestamp,
}

/// The user that a new broker has.
pub const GUEST: &str = "guest";

/// All of it. One broker has one.
pub struct Access {
    options: AccessOptions,
    tables: RwLock<Tables>,
    generation: AtomicU64,
    throttle: Mutex<Throttle>,
    gate: Gate,
    /// Of this process alone: what is remembered of passwords is worth nothing without it.
    secret: [u8; 32],
    /// What a password of nobody's is compared with.
    nobody: OnceLock<Credentials>,
    attempts: [Attempts; Protocol::ALL.len()],
}

/// Logins of a protocol.
#[derive(Debug, Default)]
struct Attempts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Access {
    /// Nobody may do anything yet.
    pub fn new(options: AccessOptions) -> Arc<Self> {
        Arc::new(Access {
            gate: Gate::new(options.hashes_at_once, options.pending_logins_max),
            options,
            tables: RwLock::default(),
            generation: AtomicU64::new(1),
            throttle: Mutex::default(),
            secret: password::random(),
            nobody: OnceLock::new(),
            attempts: Default::default(),
        })
    }

    /// How it was set.
    pub fn options(&self) -> &AccessOptions {
        &self.options
    }

    /// Grows with each change of users and permissions.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The SASL mechanisms for a peer, by name: EXTERNAL only if it has shown a certificate.
    pub fn mechanisms(&self, origin: &Origin) -> Vec<&'static str> {
        let is_for = |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain | Mechanism::AmqPlain => true,
            Mechanism::Scram => self.options.cost.scram_rounds > 0,
            Mechanism::External => origin.certificate_name.is_some(),
        };
        Mechanism::ALL
            .iter()
            .filter(|mechanism| is_for(mechanism))
            .map(|mechanism| mechanism.name())
            .collect()
    }

    /// Begins a login by a SASL mechanism.
    ///
    /// # Errors
    /// There is no such mechanism for this peer.
    pub fn begin(
        self: &Arc<Self>,
        mechanism: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Login, LoginError> {
        let known = self.mechanisms(origin);
        match Mechanism::from_name(mechanism) {
            Some(found) if known.contains(&mechanism) => {
                Ok(Login::new(self.clone(), found, origin.clone(), now))
            }
            _ => {
                self.count(origin, false);
                let mechanism = mechanism.chars().filter(|sign| !sign.is_control()).take(64).collect();
                Err(LoginError::UnknownMechanism { mechanism, known: known.join(" ") })
            }
        }
    }

    /// Logs in with name and password, as HTTP has them.
    pub fn check_password(
        self: &Arc<Self>,
        user: &str,
        password: &str,
        origin: &Origin,
        now: Timestamp,
    ) -> Step {
        let (access, origin) = (self.clone(), origin.clone());
        Attempt { access, origin, now, mechanism: Mechanism::Plain }.check_password(user, password)
    }

    /// Hashes a new password. Slow on purpose: not on a thread that serves others.
    ///
    /// # Errors
    /// It is too long.
    pub fn hash_password(&self, password: &str) -> Result<Credentials, HashError> {
        let mut place = self.gate.enter();
        if let Some(place) = &mut place {
            place.wait_for_turn();
        }
        Credentials::new(password, &self.options.cost)
    }

    /// Every user, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.tables.read().users.values().cloned().collect()
    }

    /// How many users there are.
    pub fn users_len(&self) -> usize {
        self.tables.read().users.len()
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.tables.read().users.get(name).cloned()
    }

    /// Every permission that was set, by user and vhost, those of the file's users among them.
    pub fn permissions(&self) -> Vec<Arc<Permission>> {
        let tables = self.tables.read();
        let mut all = tables.permissions.clone();
        all.extend(tables.of_file.iter().map(|(key, permission)| (key.clone(), permission.clone())));
        all.into_values().collect()
    }

    /// What holds for a user in a vhost. A user of the file may have rights everywhere that no list names.
    pub fn permission(&self, user: &str, vhost: &VhostName) -> Option<Arc<Permission>> {
        self.tables.read().permission(user, vhost)
    }

    /// Whether the file says what a user may do in a vhost, so that nobody else can.
    pub fn has_file_permission(&self, user: &str, vhost: &VhostName) -> bool {
        self.tables.read().of_file.contains_key(&(user.to_owned(), vhost.clone()))
    }

    /// Every topic permission, by user, vhost and exchange.
    pub fn topic_permissions(&self) -> Vec<Arc<TopicPermission>> {
        self.tables.read().topics.values().cloned().collect()
    }

    /// How many logins of a protocol there were: those that succeeded, and those that did not.
    pub fn attempts(&self, protocol: Protocol) -> (u64, u64) {
        let attempts = &self.attempts[protocol as usize];
        (attempts.succeeded.load(Ordering::Relaxed), attempts.failed.load(Ordering::Relaxed))
    }

    /// Failed logins that are remembered, to slow down the next: of which user, from where, how many, and when the last. At
    /// most [`ThrottleLimits::entries_max`], the oldest first.
    pub fn failures(&self) -> Vec<FailedLogins> {
        let throttle = self.throttle.lock();
        let told = throttle.failures().map(|(user, address, count, last)| FailedLogins {
            user: user.to_owned(),
            address,
            count,
            last,
        });
        told.collect()
    }

    /// Forgets failed logins: nobody is slowed down for one.
    pub fn forget_failures(&self) {
        *self.throttle.lock() = Throttle::default();
    }

    /// Forgets how many logins there were.
    pub fn reset_attempts(&self) {
        for attempts in &self.attempts {
            attempts.succeeded.store(0, Ordering::Relaxed);
            attempts.failed.store(0, Ordering::Relaxed);
        }
    }

    /// Sets a user; one of this name is replaced. Kept by nobody: see [`crate::broker::Broker::put_user`].
    pub fn put_user(&self, user: User) {
        self.change(|tables| tables.users.insert(user.name.clone(), Arc::new(user)));
    }

    /// Sets a user of the file. `permissions` none: everything, everywhere.
    pub fn put_file_user(&self, user: User, permissions: Option<Vec<Permission>>) {
        self.change(|tables| {
            match permissions {
                None => _ = tables.everywhere.insert(user.name.clone()),
                Some(permissions) => tables.of_file.extend(permissions.into_iter().map(|permission| {
                    ((permission.user.clone(), permission.vhost.clone()), Arc::new(permission))
                })),
            }
            tables.users.insert(user.name.clone(), Arc::new(user.of_file()))
        });
    }

    /// Sets the user of a new broker: `guest`, password `guest`, who may do everything in these vhosts.
    pub fn put_guest<'v>(&self, vhosts: impl IntoIterator<Item = &'v VhostName>) {
        // A password that everybody knows needs no strong hash.
        let credentials = Credentials::new_rabbitmq(GUEST, RabbitHashing::Sha256);
        self.put_user(User::new(GUEST, credentials, Tags::administrator()));
        for vhost in vhosts {
            self.put_permission(Permission::full(GUEST, vhost.clone()));
        }
    }

    /// Takes a user out, with all permissions.
    pub fn remove_user(&self, name: &str) -> Option<Arc<User>> {
        self.change(|tables| tables.remove_user(name))
    }

    /// Sets a permission. False: there is no such user.
    pub fn put_permission(&self, permission: Permission) -> bool {
        self.change(|tables| {
            let is_there = tables.users.contains_key(&permission.user);
            if is_there {
                let key = (permission.user.clone(), permission.vhost.clone());
                tables.permissions.insert(key, Arc::new(permission));
            }
            is_there
        })
    }

    /// Takes a permission away. False: there was none.
    pub fn remove_permission(&self, user: &str, vhost: &VhostName) -> bool {
        self.change(|tables| tables.permissions.remove(&(user.to_owned(), vhost.clone())).is_some())
    }

    /// Sets a topic permission. False: there is no such user.
    pub fn put_topic_permission(&self, topic: TopicPermission) -> bool {
        self.change(|tables| {
            let is_there = tables.users.contains_key(&topic.user);
            if is_there {
                let key = (topic.user.clone(), topic.vhost.clone(), topic.exchange.to_string());
                tables.topics.insert(key, Arc::new(topic));
            }
            is_there
        })
    }

    /// Takes away a user's topic permissions in a vhost: that for one exchange, or all. Gives those that there were.
    pub fn remove_topic_permissions(
        &self,
        user: &str,
        vhost: &VhostName,
        exchange: Option<&str>,
    ) -> Vec<Arc<TopicPermission>> {
        self.change(|tables| {
            let mut removed = tables.topics(user, vhost);
            removed.retain(|topic| exchange.is_none_or(|exchange| *topic.exchange == *exchange));
            for topic in &removed {
                tables.topics.remove(&(user.to_owned(), vhost.clone(), topic.exchange.to_string()));
            }
            removed
        })
    }

    /// A vhost is gone, with what anybody might do there.
    pub fn remove_vhost(&self, name: &VhostName) {
        self.change(|tables| tables.remove_vhost(name));
    }

    fn change<R>(&self, change: impl FnOnce(&mut Tables) -> R) -> R {
        let mut tables = self.tables.write();
        let result = change(&mut tables);
        // Before the lock is released: who sees the old generation has seen the old tables.
        self.generation.fetch_add(1, Ordering::AcqRel);
        result
    }

    fn rights(&self, user: &str, vhost: &VhostName) -> (Option<Arc<Permission>>, Vec<Arc<TopicPermission>>) {
        let tables = self.tables.read();
        (tables.permission(user, vhost), tables.topics(user, vhost))
    }

    fn count(&self, origin: &Origin, succeeded: bool) {
        let attempts = &self.attempts[origin.protocol as usize];
        let counter = if succeeded { &attempts.succeeded } else { &attempts.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn may_come(&self, user: &User, origin: &Origin) -> bool {
        user.name != GUEST || origin.is_loopback() || !self.options.guest_loopback_only
    }

    fn wait(&self, user: &str, origin: &Origin, now: Timestamp) -> Option<Duration> {
        self.throttle.lock().wait(short(user), address(origin), now)
    }

    fn failed(&self, user: &str, origin: &Origin, now: Timestamp) -> Option<Duration> {
        self.throttle.lock().failed(short(user), address(origin), now, &self.options.throttle)
    }

    fn succeeded(&self, user: &User, origin: &Origin) {
        self.count(origin, true);
        self.throttle.lock().succeeded(&user.name, address(origin));
    }

    fn password_mac(&self, user: &User, password: &str) -> [u8; 32] {
        password::mac(&self.secret, &[user.name.as_bytes(), &[0], password.as_bytes()])
    }

    /// Whether this is the password that was found right before.
    fn remembers(&self, user: &User, password: &str) -> bool {
        let remembered = user.remembered.get();
        remembered.is_some_and(|remembered| password::same(remembered, &self.password_mac(user, password)))
    }

    fn remember(&self, user: &User, password: &str) {
        let _ = user.remembered.set(self.password_mac(user, password));
    }

    /// Whether this is how the user logs in still: neither deleted, nor made again, nor with another password.
    fn is_current(&self, user: &User) -> bool {
        self.user(&user.name).is_some_and(|now| now.credentials == user.credentials)
    }

    /// Takes as long as to check a new password.
    fn check_for_nobody(&self, password: &str) {
        let nobody = self.nobody.get_or_init(|| {
            let cost = HashCost { scram_rounds: 0, ..self.options.cost };
            Credentials::new("nobody's", &cost).unwrap_or_else(|_| Credentials::none())
        });
        nobody.check(password);
    }

    fn keys_of_nobody(&self, user: &str) -> ScramKeys {
        ScramKeys::of_nobody(&self.secret, user, self.options.cost.scram_rounds)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

/// What of a name is remembered: who tries may send a very long one.
fn short(user: &str) -> &str {
    &user[..user.floor_char_boundary(USER_NAME_LEN_MAX)]
}

fn address(origin: &Origin) -> IpAddr {
    origin.address.ip().to_canonical()
}
