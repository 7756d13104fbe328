//! Looking into queues: what waits there, and who holds what. For operators.
//!
//! A look takes a queue's lock for a moment and changes nothing; what is on disk is read without the lock, for its place
//! is known. So a look may miss what goes meanwhile, and never holds anybody up. Reading waits for the disk: not on a
//! thread that serves connections.
//! Not here: the order (`queue`), who may look, filters and pages of an API (`admin`).

use std::sync::Arc;

use ahash::AHashMap;
use tracing::debug;

use super::outbox::{LocalConsumer, Outbox};
use super::{Broker, ConnectionInfo, QueueCell};
use crate::model::{ConsumerId, Lsn, Message, Timestamp};
use crate::queue::{BrowsePlace, Browsed, BrowsedMessage, PagedRun, UnackedMessage};

/// Bytes of messages after which a page ends, but for one message: a page is held in memory.
const PAGE_BYTES: usize = 4 << 20;

/// Messages, or runs of them, that are asked for under the queue's lock at once.
const STEP: usize = 256;

/// Messages that wait, in the order in which they would be delivered.
#[derive(Clone, Debug, Default)]
pub struct BrowsePage {
    /// The messages.
    pub messages: Vec<BrowsedMessage>,
    /// Where to go on. None: there is nothing more.
    pub next: Option<BrowsePlace>,
    /// Messages that are passed over because they cannot be read now.
    pub unreadable: u64,
}

/// Messages that are delivered and not settled.
#[derive(Clone, Debug, Default)]
pub struct UnackedPage {
    /// The messages, each with its consumer's connection and channel; none for those of a `get`.
    pub messages: Vec<(UnackedMessage, Option<HeldBy>)>,
    /// Where to go on. None: there is nothing more.
    pub next: Option<(ConsumerId, u64)>,
}

/// Whose a consumer is.
#[derive(Clone, Debug)]
pub struct HeldBy {
    /// The connection; none if it has just gone.
    pub connection: Option<Arc<ConnectionInfo>>,
    /// Its channel, and the consumer's number there.
    pub local: LocalConsumer,
}

/// Where a message is that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It is delivered to this consumer, and not settled.
    Consumer(ConsumerId),
    /// The queue does not have it.
    Nobody,
}

impl Broker {
    /// A place behind every message that is in a queue now: what comes later has a higher one.
    pub fn horizon(&self) -> Lsn {
        self.log().reserve(1)
    }
}

impl QueueCell {
    /// Messages behind a place, from the first if there is none: at most `limit`, and fewer if they are long.
    pub fn browse(&self, after: Option<BrowsePlace>, limit: usize) -> BrowsePage {
        let now = self.core().clock.now();
        let mut page = BrowsePage::default();
        let (mut after, mut bytes) = (after, 0);
        loop {
            let step = STEP.min(limit.saturating_sub(page.messages.len())).max(1);
            let found = match self.look(|queue| queue.browse(after, step, now)) {
                Some(found) if !found.is_empty() => found,
                _ => return page,
            };
            for found in found {
                let mut add = |message: BrowsedMessage| {
                    // Of a run, the first ones may have been seen before.
                    if Some(message.place) <= after {
                        return true;
                    }
                    after = Some(message.place);
                    bytes += message.message.len();
                    page.messages.push(message);
                    page.messages.len() < limit && bytes < PAGE_BYTES
                };
                let more = match found {
                    Browsed::Message(message) => add(message),
                    Browsed::Run { run, until } => {
                        let read = self.each_of_run(run, until, &mut add);
                        if let Err(end) = read {
                            page.unreadable += u64::from(run.count);
                            after = Some(end);
                        }
                        read.unwrap_or(true)
                    }
                };
                if !more {
                    page.next = after;
                    return page;
                }
            }
        }
    }

    /// One message that waits.
    ///
    /// # Errors
    /// It does not wait: where it is instead. Of what cannot be read, nobody knows.
    pub fn browse_one(&self, lsn: Lsn) -> Result<BrowsedMessage, Holder> {
        let now = self.core().clock.now();
        let found = self.look(|queue| queue.browse_one(lsn, now)).flatten();
        let mut the_one = None;
        match found {
            Some(Browsed::Message(message)) => return Ok(message),
            Some(Browsed::Run { run, until }) => {
                let mut is_it = |message: BrowsedMessage| {
                    let more = message.place.lsn() != lsn;
                    if !more {
                        the_one = Some(message);
                    }
                    more
                };
                let _ = self.each_of_run(run, until, &mut is_it);
            }
            None => {}
        }
        the_one.ok_or_else(|| self.holder_of(lsn))
    }

    /// Where a message is that does not wait.
    pub fn holder_of(&self, lsn: Lsn) -> Holder {
        match self.look(|queue| queue.holder_of(lsn)).flatten() {
            Some(consumer) => Holder::Consumer(consumer),
            None => Holder::Nobody,
        }
    }

    /// Messages that are delivered and not settled, behind a consumer's tag; of one consumer if it is named by its tag on
    /// its channel.
    pub fn unacked(&self, after: Option<(ConsumerId, u64)>, limit: usize, of: Option<&str>) -> UnackedPage {
        let (now, limit) = (self.core().clock.now(), limit.max(1));
        let hosted = self.hosted.lock();
        if hosted.closed {
            return UnackedPage::default();
        }
        let wanted = |message: &UnackedMessage| of.is_none_or(|tag| message.consumer_tag.as_str() == tag);
        let mut messages = hosted.queue.unacked(after, limit + 1, now, wanted);
        let more = messages.len() > limit;
        messages.truncate(limit);
        let next = messages.last().filter(|_| more).map(|last| (last.consumer, last.tag));
        let port = |id: ConsumerId| {
            let cancelled = hosted.cancelled.iter().find(|(cancelled, _)| *cancelled == id);
            let port = hosted.ports.get(&id).or_else(|| cancelled.map(|(_, port)| port));
            port.map(|port| (port.outbox.clone(), port.consumer))
        };
        let ports: Vec<_> = messages.iter().map(|message| port(message.consumer)).collect();
        drop(hosted);
        let of_outbox: AHashMap<*const Outbox, Arc<ConnectionInfo>> = match messages.is_empty() {
            true => AHashMap::new(),
            false => {
                let all = self.core().connections.all().into_iter();
                all.map(|info| (Arc::as_ptr(&info.outbox), info)).collect()
            }
        };
        let whose = |(outbox, local): (Arc<Outbox>, LocalConsumer)| HeldBy {
            connection: of_outbox.get(&Arc::as_ptr(&outbox)).cloned(),
            local,
        };
        let messages = messages.into_iter().zip(ports.into_iter().map(|port| port.map(whose)));
        UnackedPage { messages: messages.collect(), next }
    }

    /// Gives the messages of a run, in order, as long as they are wanted. True: they all were.
    ///
    /// # Errors
    /// They cannot be read: they are gone, or the disk fails. The place of the last of them.
    fn each_of_run(
        &self,
        run: PagedRun,
        until: Option<Timestamp>,
        wanted: &mut dyn FnMut(BrowsedMessage) -> bool,
    ) -> Result<bool, BrowsePlace> {
        let lsn = Lsn(run.first.0 + u64::from(run.count) - 1);
        let end = match until {
            Some(until) => BrowsePlace::Delayed { until, lsn },
            None => BrowsePlace::Ready { priority: run.priority, lsn },
        };
        let mut rest = Some(run);
        while let Some(run) = rest {
            let messages: Vec<Message> = match self.read(run.location, run.from, run.len) {
                Ok(messages) if !messages.is_empty() => messages,
                Ok(_) => return Err(end),
                Err(error) => {
                    debug!(queue = %self.name(), %error, "messages are passed over by a look");
                    return Err(end);
                }
            };
            rest = run.without(&messages);
            if !run.browsed(messages, until).all(&mut *wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
