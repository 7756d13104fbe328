//! What has passed through channels, by protocol: those that are open, and those that were.
//!
//! Invariants: counting a message costs nothing here, since the figures that each channel keeps anyway are read when
//! somebody asks; a channel counts once, as an open one or as one that was, so no sum ever falls. Not here: what
//! publishers do ([`super::Publishing`]), what happens in queues.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use crate::access::Protocol;
use crate::broker::{ChannelInfo, ChannelMessages};

/// What the channels of one protocol have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelTotals {
    /// Channels that are open.
    pub channels: u64,
    /// Of these, those that have published.
    pub publishers: u64,
    /// Their consumers.
    pub consumers: u64,
    /// Messages delivered to consumers that acknowledge.
    pub delivered_manual_ack: u64,
    /// Messages delivered to consumers that need not.
    pub delivered_auto_ack: u64,
    /// Messages fetched, to be acknowledged.
    pub got_manual_ack: u64,
    /// Messages fetched, not to be acknowledged.
    pub got_auto_ack: u64,
    /// Fetches that found nothing.
    pub get_empty: u64,
    /// Of all that were delivered or fetched, those that had been delivered before.
    pub redelivered: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
}

impl ChannelTotals {
    /// All that were delivered or fetched.
    pub fn delivered_or_got(&self) -> u64 {
        self.delivered_manual_ack + self.delivered_auto_ack + self.got_manual_ack + self.got_auto_ack
    }

    fn add(&mut self, messages: &ChannelMessages) {
        self.delivered_manual_ack += messages.delivered_manual_ack.get();
        self.delivered_auto_ack += messages.delivered_auto_ack.get();
        self.got_manual_ack += messages.got_manual_ack.get();
        self.got_auto_ack += messages.got_auto_ack.get();
        self.get_empty += messages.get_empty.get();
        self.redelivered += messages.redelivered.get();
        self.acked += messages.acked.get();
    }
}

#[derive(Debug, Default)]
struct OfProtocol {
    open: Slab<Arc<ChannelInfo>>,
    /// Of channels that were.
    closed: ChannelTotals,
}

type All = Arc<Mutex<[OfProtocol; Protocol::ALL.len()]>>;

/// See the module.
#[derive(Debug, Default)]
pub struct ChannelCounts(All);

impl ChannelCounts {
    /// What the channels of a protocol have seen. Looks at each that is open.
    pub fn read(&self, protocol: Protocol) -> ChannelTotals {
        let all = self.0.lock();
        let OfProtocol { open, closed } = &all[protocol as usize];
        let mut totals = *closed;
        totals.channels = open.len() as u64;
        for (_, channel) in open {
            totals.publishers += u64::from(channel.messages.published.get() > 0);
            totals.consumers += channel.consumers.get();
            totals.add(&channel.messages);
        }
        totals
    }

    /// Counts what has passed to somebody who has no channel.
    pub fn count(&self, protocol: Protocol, messages: &ChannelMessages) {
        self.0.lock()[protocol as usize].closed.add(messages);
    }

    /// Counts a channel as open until what is given back is dropped.
    pub(in crate::broker) fn open(&self, protocol: Protocol, channel: Arc<ChannelInfo>) -> OpenChannel {
        let slot = self.0.lock()[protocol as usize].open.insert(channel.clone());
        OpenChannel { channel, protocol, slot, all: self.0.clone() }
    }
}

/// A channel that counts as open. When it is dropped, what it has counted is kept.
#[derive(Debug)]
pub(in crate::broker) struct OpenChannel {
    channel: Arc<ChannelInfo>,
    protocol: Protocol,
    slot: usize,
    all: All,
}

impl OpenChannel {
    pub(in crate::broker) fn info(&self) -> &Arc<ChannelInfo> {
        &self.channel
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        let OfProtocol { open, closed } = &mut all[self.protocol as usize];
        open.remove(self.slot);
        closed.add(&self.channel.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChannelId, Timestamp};

    #[test]
    fn what_a_channel_has_counted_stays_when_it_is_closed_and_is_its_protocols_own() {
        let counts = ChannelCounts::default();
        let open = |number| {
            let channel = Arc::new(ChannelInfo::new(ChannelId(number), Timestamp::from_micros(0)));
            counts.open(Protocol::Amqp, channel)
        };
        let (one, other) = (open(1), open(2));
        one.info().messages.published.add(1);
        one.info().messages.delivered(false, 3, 1);
        one.info().messages.acked.add(2);
        other.info().messages.got(true, Some(false));
        other.info().consumers.set(4);
        let both = counts.read(Protocol::Amqp);
        assert_eq!((both.channels, both.publishers, both.consumers), (2, 1, 4));
        assert_eq!((both.delivered_or_got(), both.redelivered, both.acked), (4, 1, 2));
        drop(one);
        drop(other);
        assert_eq!(
            counts.read(Protocol::Amqp),
            ChannelTotals { channels: 0, publishers: 0, consumers: 0, ..both }
        );
        assert_eq!(counts.read(Protocol::Native), ChannelTotals::default());
        let fetched = ChannelMessages::default();
        fetched.got(false, None);
        counts.count(Protocol::Http, &fetched);
        assert_eq!(counts.read(Protocol::Http), ChannelTotals { get_empty: 1, ..ChannelTotals::default() });
    }
}
