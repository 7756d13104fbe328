//! What a connection's open channels are doing, for lists and statistics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

use super::Figure;
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
pub struct ChannelList(Mutex<BTreeMap<ChannelId, Arc<ChannelInfo>>>);

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
        self.0.lock().values().cloned().collect()
    }

    /// The channel with this number.
    pub fn get(&self, number: ChannelId) -> Option<Arc<ChannelInfo>> {
        self.0.lock().get(&number).cloned()
    }

    pub(super) fn insert(&self, channel: Arc<ChannelInfo>) {
        self.0.lock().insert(channel.number, channel);
    }

    pub(super) fn remove(&self, number: ChannelId) -> bool {
        self.0.lock().remove(&number).is_some()
    }
}
