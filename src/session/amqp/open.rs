//! A connection that is open: its channels, and what a read collects over all of them.

use std::sync::Arc;

use ahash::AHashMap;
use bytes::BytesMut;

use super::channel::{Channel, ChannelSlot, Consumer, Mode};
use super::confirms::Tracked;
use super::handshake::{Capabilities, Tuned};
use crate::access::{Protocol, VhostPass};
use crate::broker::{ConnectionGuard, Hold, PublishBatch, Vhost};
use crate::model::{ChannelId, ConnectionId, QueueId};
use crate::queue::RejectReason;
use crate::routing::Routed;
use crate::session::route_cache::RouteCache;
use crate::session::settles::PendingSettles;

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: ConnectionId,
    pub(super) vhost: Arc<Vhost>,
    /// What its user may do there.
    pub(super) pass: VhostPass,
    pub(super) guard: ConnectionGuard,
    pub(super) client: Capabilities,
    pub(super) tuned: Tuned,
    pub(super) channels: AHashMap<ChannelId, ChannelSlot>,
    /// Open consumers on all channels: they share the outbox.
    pub(super) consumers: usize,
    /// Bytes of messages that no queue has yet: see [`crate::session::AmqpOptions::uncommitted_max`].
    pub(super) uncommitted: u64,
    /// Queues that hold this connection's publishes back.
    pub(super) held_by: AHashMap<QueueId, Hold>,
    /// Bytes that may still be published while it is held back.
    pub(super) held_allowance: u32,
    pub(super) told_blocked: bool,
    pub(super) batch: PublishBatch,
    pub(super) tracked: Vec<Tracked>,
    pub(super) rejected: Vec<(u32, RejectReason)>,
    pub(super) settles: PendingSettles,
    pub(super) routes: RouteCache,
    pub(super) scratch: Routed,
    /// What stands in front of the body that was delivered last: made again only when it changes.
    pub(super) head: BytesMut,
}

impl Open {
    pub(super) fn new(
        id: ConnectionId,
        (vhost, pass): (Arc<Vhost>, VhostPass),
        guard: ConnectionGuard,
        client: Capabilities,
        tuned: Tuned,
        routes: RouteCache,
    ) -> Self {
        Open {
            id,
            vhost,
            pass,
            guard,
            client,
            tuned,
            channels: AHashMap::new(),
            consumers: 0,
            uncommitted: 0,
            held_by: AHashMap::new(),
            held_allowance: 0,
            told_blocked: false,
            batch: PublishBatch::of(Protocol::Amqp),
            tracked: Vec::new(),
            rejected: Vec::new(),
            settles: PendingSettles::default(),
            routes,
            scratch: Routed::default(),
            head: BytesMut::new(),
        }
    }

    pub(super) fn channel_mut(&mut self, number: ChannelId) -> Option<&mut Channel> {
        match self.channels.get_mut(&number) {
            Some(ChannelSlot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    /// Whether what ends its being held back may still come from this client: acknowledgements of messages of the
    /// queues that hold it (of any queue, if `all` memory is short), or a commit.
    pub(super) fn may_relieve(&self, all: bool) -> bool {
        let relieves = |channel: &Channel| {
            let held = |consumer: &Consumer| self.held_by.contains_key(&consumer.queue.id());
            let unacked = !channel.unacked.is_empty() && (all || channel.consumers.values().any(held));
            unacked
                || matches!(&channel.mode, Mode::Transaction(transaction) if transaction.bytes > 0 || !transaction.settles.is_empty())
        };
        self.channels.values().any(|slot| matches!(slot, ChannelSlot::Open(channel) if relieves(channel)))
    }
}
