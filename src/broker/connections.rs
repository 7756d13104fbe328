//! Who is connected: facts about each connection, how many each user and vhost has, and closing them from outside.
//!
//! Invariant: a connection is listed and counted from [`Broker::register`] until its guard is dropped, whatever ends it.
//! What users and vhosts may have is compared with the count in one step, so that many logins at once cannot pass it
//! together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use rialto_protocol::ReplyCode;
use rialto_protocol::types::FieldTable;
use thiserror::Error;

use super::counters::Event;
use super::{Broker, ChannelInfo, ChannelList, Link, Notice, Outbox};
use crate::access::{Principal, Protocol};
use crate::model::{ChannelId, ConnectionId, Timestamp, VhostName};

/// A connection that has logged in.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Its identity.
    pub id: ConnectionId,
    /// The client's own name for it; empty if it gave none.
    pub name: String,
    /// Its two ends, and what has passed.
    pub link: Arc<Link>,
    /// Who logged in.
    pub user: String,
    /// How: a SASL mechanism.
    pub mechanism: String,
    /// The vhost it works in.
    pub vhost: VhostName,
    /// What it speaks.
    pub protocol: Protocol,
    /// The client's product and version.
    pub client: String,
    /// What the client says of itself, encoded: that takes less memory. See [`ConnectionInfo::client_properties`].
    pub properties: Bytes,
    /// The longest frame that both sides have agreed on, in bytes; 0 is no limit.
    pub frame_max: u32,
    /// The highest number of a channel that both sides have agreed on; 0 is no limit.
    pub channel_max: u16,
    /// The interval of heartbeats that both sides have agreed on.
    pub heartbeat: Option<Duration>,
    /// When it logged in.
    pub connected_at: Timestamp,
    /// Its open channels.
    pub channels: ChannelList,
    /// Whether its publishes are held back, and for longer than a moment.
    pub is_blocked: AtomicBool,
    /// Where it hears of things.
    pub outbox: Arc<Outbox>,
}

impl ConnectionInfo {
    /// What the client says of itself.
    pub fn client_properties(&self) -> FieldTable {
        FieldTable::decode(&self.properties).unwrap_or_default()
    }

    /// Has it closed, with a reason that its client is told (code 320).
    pub fn close(&self, reason: &str) {
        if self.outbox.notify(Notice::Close { reason: reason.to_owned() }) {
            self.outbox.wake();
        }
    }
}

/// What a user and a vhost may have. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ConnectionLimits {
    /// Connections of the user.
    user_connections: Option<u32>,
    /// Connections to the vhost.
    vhost_connections: Option<u32>,
}

/// Why a connection or a channel is one too many, in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectionRefused {
    /// The user has as many connections as it may have.
    #[error("connection refused for user '{user}': user connection limit ({max}) is reached")]
    UserConnections {
        /// Who.
        user: String,
        /// The limit.
        max: u32,
    },
    /// The vhost has as many connections as it may have.
    #[error("access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is reached")]
    VhostConnections {
        /// Who.
        user: String,
        /// Where.
        vhost: VhostName,
        /// The limit.
        max: u32,
    },
    /// The user, its permission or the vhost was deleted while the client logged in.
    #[error("access to vhost '{vhost}' refused for user '{user}'")]
    Gone {
        /// Who.
        user: String,
        /// Where.
        vhost: VhostName,
    },
    /// The user has as many channels as it may have.
    #[error(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({max})"
    )]
    UserChannels {
        /// Who.
        user: String,
        /// The limit.
        max: u32,
    },
}

impl ConnectionRefused {
    /// The code that tells the client.
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::NotAllowed
    }
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    listed: DashMap<ConnectionId, Arc<ConnectionInfo>, ahash::RandomState>,
    counted: Mutex<Counted>,
}

/// How many there are. Who has none is not in here.
#[derive(Debug, Default)]
struct Counted {
    users: AHashMap<String, Arc<UserCount>>,
    vhosts: AHashMap<VhostName, u32>,
}

/// What one user has.
#[derive(Debug, Default)]
struct UserCount {
    /// Changed while [`Counted`] is locked.
    connections: AtomicU32,
    channels: AtomicU32,
}

impl Connections {
    pub(super) fn all(&self) -> Vec<Arc<ConnectionInfo>> {
        self.listed.iter().map(|entry| entry.value().clone()).collect()
    }

    fn count(
        &self,
        user: &str,
        vhost: &VhostName,
        limits: ConnectionLimits,
    ) -> Result<Arc<UserCount>, ConnectionRefused> {
        let mut counted = self.counted.lock();
        let of_user = counted.users.get(user).map_or(0, |count| count.connections.load(Ordering::Relaxed));
        let of_vhost = counted.vhosts.get(vhost).copied().unwrap_or(0);
        if let Some(max) = limits.vhost_connections.filter(|max| of_vhost >= *max) {
            let (user, vhost) = (user.to_owned(), vhost.clone());
            return Err(ConnectionRefused::VhostConnections { user, vhost, max });
        }
        if let Some(max) = limits.user_connections.filter(|max| of_user >= *max) {
            return Err(ConnectionRefused::UserConnections { user: user.to_owned(), max });
        }
        *counted.vhosts.entry(vhost.clone()).or_default() += 1;
        let count = match counted.users.get(user) {
            Some(count) => count.clone(),
            None => counted.users.entry(user.to_owned()).or_default().clone(),
        };
        count.connections.fetch_add(1, Ordering::Relaxed);
        Ok(count)
    }

    fn discount(&self, info: &ConnectionInfo) {
        let mut counted = self.counted.lock();
        if let Some(count) = counted.users.get(&info.user)
            && count.connections.fetch_sub(1, Ordering::Relaxed) == 1
        {
            counted.users.remove(&info.user);
        }
        if let Some(count) = counted.vhosts.get_mut(&info.vhost) {
            *count -= 1;
            if *count == 0 {
                counted.vhosts.remove(&info.vhost);
            }
        }
    }
}

/// Keeps a connection listed for as long as it lives.
#[derive(Debug)]
pub struct ConnectionGuard {
    info: Arc<ConnectionInfo>,
    of_user: Arc<UserCount>,
    broker: Broker,
}

impl ConnectionGuard {
    /// The connection.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Lists a channel that is being opened, `now` by the broker's clock.
    ///
    /// # Errors
    /// Its user has as many as it may have.
    pub fn open_channel(
        &self,
        number: ChannelId,
        now: Timestamp,
    ) -> Result<Arc<ChannelInfo>, ConnectionRefused> {
        let max = self.broker.user_channels_max(&self.info.user);
        let before = self.of_user.channels.fetch_add(1, Ordering::Relaxed);
        if let Some(max) = max.filter(|max| before >= *max) {
            self.of_user.channels.fetch_sub(1, Ordering::Relaxed);
            return Err(ConnectionRefused::UserChannels { user: self.info.user.clone(), max });
        }
        let channel = Arc::new(ChannelInfo::new(number, now));
        let counters = self.broker.counters();
        self.info.channels.insert(counters.channels.open(self.info.protocol, channel.clone()));
        counters.count(Event::ChannelsOpened, 1);
        Ok(channel)
    }

    /// Takes a channel from the list. One that is not there is fine.
    pub fn close_channel(&self, number: ChannelId) {
        if self.info.channels.remove(number) {
            self.of_user.channels.fetch_sub(1, Ordering::Relaxed);
            self.broker.counters().count(Event::ChannelsClosed, 1);
        }
    }

    /// Says whether its publishes are held back.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.info.is_blocked.store(is_blocked, Ordering::Relaxed);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let connections = &self.broker.0.core.connections;
        connections.listed.remove(&self.info.id);
        // Whoever still looks at the connection finds them gone.
        let channels = self.info.channels.clear() as u32;
        self.of_user.channels.fetch_sub(channels, Ordering::Relaxed);
        connections.discount(&self.info);
        self.broker.counters().count(Event::ChannelsClosed, channels.into());
        self.broker.counters().count(Event::ConnectionClosed, 1);
    }
}

impl Broker {
    /// A number for a new connection.
    pub fn new_connection_id(&self) -> ConnectionId {
        self.next_connection_id()
    }

    /// Lists a connection until the guard is dropped.
    ///
    /// # Errors
    /// Its user or its vhost has as many as it may have, or has gone since `principal` logged in.
    pub fn register(
        &self,
        info: ConnectionInfo,
        principal: &Principal,
    ) -> Result<ConnectionGuard, ConnectionRefused> {
        let connections = &self.0.core.connections;
        let limits = self.connection_limits(&info.user, &info.vhost);
        let of_user = connections.count(&info.user, &info.vhost, limits)?;
        let info = Arc::new(info);
        self.counters().count(Event::ConnectionOpened, 1);
        connections.listed.insert(info.id, info.clone());
        let guard = ConnectionGuard { info, of_user, broker: self.clone() };
        // Only now: whoever deletes the user or the vhost from here on finds the connection, and closes it.
        let info = &guard.info;
        if !principal.is_current()
            || principal.enter(&info.vhost).is_err()
            || self.vhost(&info.vhost).is_none()
        {
            let (user, vhost) = (info.user.clone(), info.vhost.clone());
            return Err(ConnectionRefused::Gone { user, vhost });
        }
        Ok(guard)
    }

    fn connection_limits(&self, user: &str, vhost: &VhostName) -> ConnectionLimits {
        ConnectionLimits {
            user_connections: self.access().user(user).and_then(|user| user.limits.max_connections),
            vhost_connections: self.vhost(vhost).and_then(|vhost| vhost.limits().max_connections),
        }
    }

    fn user_channels_max(&self, user: &str) -> Option<u32> {
        self.access().user(user)?.limits.max_channels
    }

    /// Every connection that has logged in.
    pub fn connections(&self) -> Vec<Arc<ConnectionInfo>> {
        self.0.core.connections.all()
    }

    /// How many connections have logged in.
    pub fn connection_count(&self) -> usize {
        self.0.core.connections.listed.len()
    }

    /// The connection with this number.
    pub fn connection(&self, id: ConnectionId) -> Option<Arc<ConnectionInfo>> {
        self.0.core.connections.listed.get(&id).map(|entry| entry.value().clone())
    }

    /// The connection with this name: see [`Link::name`]. Looks at all of them.
    pub fn connection_named(&self, name: &str) -> Option<Arc<ConnectionInfo>> {
        let named = |info: &ConnectionInfo| info.link.name() == name;
        let found = self.0.core.connections.listed.iter().find(|entry| named(entry.value()));
        found.map(|entry| entry.value().clone())
    }

    /// Has a connection closed, with a reason that its client is told (code 320). False if there is none.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let found = self.connection(id);
        if let Some(info) = &found {
            info.close(reason);
        }
        found.is_some()
    }

    /// Has those connections closed that `is_meant` picks, with a reason that their clients are told (code 320). Says how
    /// many they are.
    pub fn close_connections(&self, reason: &str, is_meant: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let all = self.connections();
        let meant = all.iter().filter(|info| is_meant(info));
        meant.inspect(|info| info.close(reason)).count()
    }
}
