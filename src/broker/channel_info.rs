//! What a connection's open channels are doing, for lists and statistics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::Figure;
use super::counters::OpenChannel;
use crate::model::{ChannelId, Timestamp};

/// An open channel. Its connection's task writes the figures, once per batch; anybody reads them.
#[derive(Debug)]
pub struct ChannelInfo {
    /// Its number on the connection.
    pub number: ChannelId,
    /// When it was opened.
    pub opened_at: Timestamp,
    mode: AtomicU8,
    /// Unacknowledged messages that each new consumer may have; 0 is no limit.
    pub prefetch: Figure,
    /// Unacknowledged messages that all consumers may have together; 0 is no limit.
    pub global_prefetch: Figure,
    /// Its consumers.
    pub consumers: Figure,
    /// Messages that its client has not acknowledged.
    pub unacked: Figure,
    /// Messages whose publisher has not been told what became of them.
    pub unconfirmed: Figure,
    /// Messages that wait for `tx.commit`.
    pub uncommitted: Figure,
    /// Acknowledgements that wait for `tx.commit`.
    pub acks_uncommitted: Figure,
    /// What has passed.
    pub messages: ChannelMessages,
}

/// Messages that have passed through a channel since it was opened.
#[derive(Debug, Default)]
pub struct ChannelMessages {
    /// Published by its client.
    pub published: Figure,
    /// Of these, confirmed.
    pub confirmed: Figure,
    /// Of these, returned since no queue wanted them.
    pub unroutable_returned: Figure,
    /// Of these, dropped since no queue wanted them.
    pub unroutable_dropped: Figure,
    /// Delivered to consumers that acknowledge.
    pub delivered_manual_ack: Figure,
    /// Delivered to consumers that need not.
    pub delivered_auto_ack: Figure,
    /// Fetched, to be acknowledged.
    pub got_manual_ack: Figure,
    /// Fetched, not to be acknowledged.
    pub got_auto_ack: Figure,
    /// Fetches that found nothing.
    pub get_empty: Figure,
    /// Of all that were delivered or fetched, those that had been delivered before.
    pub redelivered: Figure,
    /// Acknowledged.
    pub acked: Figure,
}

impl ChannelMessages {
    /// Counts deliveries to one consumer; of them, `again` had been delivered before.
    pub fn delivered(&self, auto_ack: bool, count: u64, again: u64) {
        match auto_ack {
            true => self.delivered_auto_ack.add(count),
            false => self.delivered_manual_ack.add(count),
        }
        if again > 0 {
            self.redelivered.add(again);
        }
    }

    /// Counts a fetch, and whether what it found had been delivered before.
    pub fn got(&self, auto_ack: bool, found: Option<bool>) {
        match (found, auto_ack) {
            (None, _) => self.get_empty.add(1),
            (Some(_), true) => self.got_auto_ack.add(1),
            (Some(_), false) => self.got_manual_ack.add(1),
        }
        if found == Some(true) {
            self.redelivered.add(1);
        }
    }

    /// Counts messages that no queue wanted.
    pub fn unroutable(&self, returned: bool, count: u64) {
        match returned {
            true => self.unroutable_returned.add(count),
            false => self.unroutable_dropped.add(count),
        }
    }
}

/// What becomes of what a channel's client publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelMode {
    /// It is not told.
    #[default]
    Plain,
    /// It is told of each message.
    Confirm,
    /// It commits several together.
    Transaction,
}

impl ChannelInfo {
    /// A channel that has just been opened, with nothing.
    pub(crate) fn new(number: ChannelId, opened_at: Timestamp) -> Self {
        ChannelInfo {
            number,
            opened_at,
            mode: AtomicU8::new(0),
            prefetch: Figure::default(),
            global_prefetch: Figure::default(),
            consumers: Figure::default(),
            unacked: Figure::default(),
            unconfirmed: Figure::default(),
            uncommitted: Figure::default(),
            acks_uncommitted: Figure::default(),
            messages: ChannelMessages::default(),
        }
    }

    /// Its mode.
    pub fn mode(&self) -> ChannelMode {
        match self.mode.load(Ordering::Relaxed) {
            1 => ChannelMode::Confirm,
            2 => ChannelMode::Transaction,
            _ => ChannelMode::Plain,
        }
    }

    /// Sets its mode.
    pub fn set_mode(&self, mode: ChannelMode) {
        let mode = match mode {
            ChannelMode::Plain => 0,
            ChannelMode::Confirm => 1,
            ChannelMode::Transaction => 2,
        };
        self.mode.store(mode, Ordering::Relaxed);
    }
}

/// A connection's open channels.
#[derive(Debug, Default)]
pub struct ChannelList(Mutex<BTreeMap<ChannelId, OpenChannel>>);

impl ChannelList {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, by number.
    pub fn all(&self) -> Vec<Arc<ChannelInfo>> {
        self.0.lock().values().map(|channel| channel.info().clone()).collect()
    }

    /// The channel with this number.
    pub fn get(&self, number: ChannelId) -> Option<Arc<ChannelInfo>> {
        self.0.lock().get(&number).map(|channel| channel.info().clone())
    }

    pub(super) fn insert(&self, channel: OpenChannel) {
        let before = self.0.lock().insert(channel.info().number, channel);
        // What ends a channel takes another lock: here and below it ends when this one is free.
        drop(before);
    }

    pub(super) fn remove(&self, number: ChannelId) -> bool {
        let removed = self.0.lock().remove(&number);
        removed.is_some()
    }

    /// Takes all from the list, and says how many they were.
    pub(super) fn clear(&self) -> usize {
        let removed = std::mem::take(&mut *self.0.lock());
        removed.len()
    }
}
