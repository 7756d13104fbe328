//! Who is connected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dashmap::DashMap;

use super::counters::Event;
use super::{Broker, Outbox};
use crate::model::{ConnectionId, Timestamp, VhostName};

/// A connection that has logged in.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Its identity.
    pub id: ConnectionId,
    /// The client's own name for it; empty if it gave none.
    pub name: String,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Who logged in.
    pub user: String,
    /// The vhost it works in.
    pub vhost: VhostName,
    /// `rialto 1.0` or `AMQP 0-9-1`.
    pub protocol: &'static str,
    /// The client's product and version.
    pub client: String,
    /// When it logged in.
    pub connected_at: Timestamp,
    /// Open channels.
    pub channels: AtomicU32,
    /// Where it hears of things.
    pub outbox: Arc<Outbox>,
}

#[derive(Debug, Default)]
pub(super) struct Connections(DashMap<ConnectionId, Arc<ConnectionInfo>, ahash::RandomState>);

impl Connections {
    pub(super) fn all(&self) -> Vec<Arc<ConnectionInfo>> {
        self.0.iter().map(|entry| entry.value().clone()).collect()
    }
}

/// Keeps a connection listed for as long as it lives.
#[derive(Debug)]
pub struct ConnectionGuard {
    info: Arc<ConnectionInfo>,
    broker: Broker,
}

impl ConnectionGuard {
    /// The connection.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Sets how many channels it has open.
    pub fn set_channels(&self, count: usize) {
        let before = self.info.channels.swap(count as u32, Ordering::Relaxed);
        let (counters, now) = (self.broker.counters(), count as u32);
        counters.count(Event::ChannelsOpened, now.saturating_sub(before).into());
        counters.count(Event::ChannelsClosed, before.saturating_sub(now).into());
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.set_channels(0);
        self.broker.counters().count(Event::ConnectionClosed, 1);
        self.broker.0.core.connections.0.remove(&self.info.id);
    }
}

impl Broker {
    /// A number for a new connection.
    pub fn new_connection_id(&self) -> ConnectionId {
        self.next_connection_id()
    }

    /// Lists a connection until the guard is dropped.
    pub fn register(&self, info: ConnectionInfo) -> ConnectionGuard {
        let info = Arc::new(info);
        self.counters().count(Event::ConnectionOpened, 1);
        self.0.core.connections.0.insert(info.id, info.clone());
        ConnectionGuard { info, broker: self.clone() }
    }

    /// Every connection that has logged in.
    pub fn connections(&self) -> Vec<Arc<ConnectionInfo>> {
        self.0.core.connections.all()
    }
}
