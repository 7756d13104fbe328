//! Messages, and the batches that hold their bytes.
//!
//! A message is a small handle: a share of its batch and a place in it. The batch holds the entries of
//! many messages back to back, in the native protocol's layout whichever protocol they came by, so a run of
//! neighbours goes to a consumer (and later to the journal) as one slice.
//!
//! Invariants: an entry in a batch is whole and its properties are checked; a batch's bytes are its own
//! (no small slice pins a large read buffer) and are charged to the broker's gauge until the last message
//! is gone. Not here: where messages go (`routing`), how they wait (`queue`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use rialto_protocol::native::{ENTRY_HEADER_LEN, Entry, EntryFlags, put_entry_head};
use rialto_protocol::types::{RawProperties, WireError};

use super::{BatchSlice, ExchangeName, Location, Lsn, MemoryCharge, MemoryGauge, Priority, RoutingKey};

/// The exchange and routing key a message was published with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRoute {
    /// The routing key. First, as it tells most of them apart: they are compared in this order.
    pub routing_key: RoutingKey,
    /// The exchange.
    pub exchange: ExchangeName,
}

/// The bytes of messages that arrived together. Shared by its messages, dropped with the last of them.
#[derive(Debug)]
pub struct MessageBatch {
    bytes: Bytes,
    routes: Vec<MessageRoute>,
    /// Where the journal keeps these bytes, from the moment that they are appended to it: the record, and which of the
    /// bytes of its entries are the first here.
    stored: OnceLock<(Location, u32)>,
    _charge: MemoryCharge,
}

impl MessageBatch {
    /// Its entries, back to back.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The routes of its messages: [`Message::route_number`] counts them.
    pub fn routes(&self) -> &[MessageRoute] {
        &self.routes
    }

    /// Where the journal keeps it, if it does.
    pub fn location(&self) -> Option<Location> {
        self.stored.get().map(|(location, _)| *location)
    }

    /// The journal keeps it from now on, in this record, whose entries before byte `base` are of other batches. Called
    /// once, before any queue has its messages.
    pub fn set_location(&self, location: Location, base: u32) {
        self.stored.set((location, base)).expect("a batch is appended to the journal once");
    }

    /// Messages read back from the journal: `bytes` are whole entries of the record at `location`, from byte `base` of
    /// its entries on, and `routes` say, in order, up to which byte of the record's entries each holds.
    ///
    /// # Errors
    /// The bytes are no entries; nothing that was written is ever read back so.
    pub fn read_back(
        location: Location,
        base: u32,
        bytes: Bytes,
        routes: Vec<(u32, MessageRoute)>,
        gauge: &MemoryGauge,
    ) -> Result<Vec<Message>, WireError> {
        let keys: usize = routes.iter().map(|(_, route)| route_memory(route)).sum();
        let charge = gauge.charge((bytes.len() + keys) as u64);
        let mut places = Vec::new();
        let (mut offset, mut route) = (0usize, 0usize);
        while offset < bytes.len() {
            let len = Entry::read(&bytes[offset..])?.len;
            while routes.get(route).is_some_and(|(end, _)| *end as usize <= base as usize + offset) {
                route += 1;
            }
            if route >= routes.len() {
                return Err(WireError::Truncated { what: "routes of a record" });
            }
            places.push(Place {
                offset: offset as u32,
                len: len as u32,
                route: route as u16,
                persistent: !location.segment.is_overflow(),
            });
            offset += len;
        }
        let routes = routes.into_iter().map(|(_, route)| route).collect();
        let stored = OnceLock::from((location, base));
        let batch = Arc::new(MessageBatch { bytes, routes, stored, _charge: charge });
        Ok(places.into_iter().map(|place| Message::new_in(&batch, place)).collect())
    }
}

/// One message: immutable, cheap to clone.
#[derive(Clone)]
pub struct Message {
    batch: Arc<MessageBatch>,
    offset: u32,
    len: u32,
    route: u16,
    persistent: bool,
}

impl Message {
    /// A message on its own, in a batch of one.
    pub fn new(route: MessageRoute, properties: &[u8], body: &[u8], gauge: &MemoryGauge) -> Message {
        let mut builder = BatchBuilder::default();
        let persistent = RawProperties::trusted(properties).is_persistent();
        builder.push_content(&route, properties, body, persistent);
        let mut messages = builder.finish(gauge);
        messages.next().expect("a batch of one has one message")
    }

    fn new_in(batch: &Arc<MessageBatch>, place: Place) -> Message {
        let Place { offset, len, route, persistent } = place;
        Message { batch: batch.clone(), offset, len, route, persistent }
    }

    /// The batch that holds its bytes.
    pub fn batch(&self) -> &Arc<MessageBatch> {
        &self.batch
    }

    /// The record in which the journal keeps it, if it does.
    pub fn location(&self) -> Option<Location> {
        self.batch.location()
    }

    /// Where its entry begins among the entries of its batch, or of its record: see [`Message::location`].
    pub fn entry_offset(&self) -> u32 {
        self.batch.stored.get().map_or(0, |(_, base)| *base) + self.offset
    }

    /// The number of its route among its batch's: grows from message to message.
    pub fn route_number(&self) -> u16 {
        self.route
    }

    /// The exchange and routing key it was published with.
    pub fn route(&self) -> &MessageRoute {
        &self.batch.routes[usize::from(self.route)]
    }

    /// The exchange it was published to.
    pub fn exchange(&self) -> &ExchangeName {
        &self.route().exchange
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &RoutingKey {
        &self.route().routing_key
    }

    /// Its entry: flags, lengths, properties and body as `protocol::native::Entry` reads them.
    pub fn entry(&self) -> &[u8] {
        &self.batch.bytes[self.offset as usize..][..self.len as usize]
    }

    /// Its encoded properties, checked; empty for none.
    pub fn properties_bytes(&self) -> &[u8] {
        let entry = self.entry();
        &entry[ENTRY_HEADER_LEN..][..properties_len(entry)]
    }

    /// Its properties.
    pub fn properties(&self) -> RawProperties<'_> {
        RawProperties::trusted(self.properties_bytes())
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        let entry = self.entry();
        &entry[ENTRY_HEADER_LEN + properties_len(entry)..]
    }

    /// [`Message::body`], for sending without a copy.
    pub fn body_slice(&self) -> BatchSlice {
        let start = ENTRY_HEADER_LEN + properties_len(self.entry());
        BatchSlice::new(&self.batch, self.offset as usize + start..(self.offset + self.len) as usize)
    }

    /// Length of its body in bytes: what `x-max-length-bytes` counts.
    pub fn body_len(&self) -> usize {
        self.len as usize - ENTRY_HEADER_LEN - properties_len(self.entry())
    }

    /// Length of its entry in bytes: what credit and memory limits count.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the entry is empty: never, it has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the publisher asked for it to survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Whether `other` is of the same batch, and there of the same run of messages with one exchange and key.
    pub fn has_route_of(&self, other: &Message) -> bool {
        Arc::ptr_eq(&self.batch, &other.batch) && self.route == other.route
    }

    /// Whether `other` has the same exchange and key by [`Message::has_route_of`], and all that differs in their entries are
    /// the bytes of their bodies.
    pub fn differs_in_body_from(&self, other: &Message) -> bool {
        let (one, other_entry) = (self.entry(), other.entry());
        self.has_route_of(other)
            && one.len() == other_entry.len()
            && other_entry.starts_with(&one[..ENTRY_HEADER_LEN + properties_len(one)])
    }

    /// Whether `next` stands right behind this message in the same batch, with the same exchange and key:
    /// then both can be sent as one slice.
    pub fn is_followed_by(&self, next: &Message) -> bool {
        self.has_route_of(next) && self.offset + self.len == next.offset
    }

    /// The entries from this message to `last`, which must follow it in an unbroken chain of
    /// [`Message::is_followed_by`].
    pub fn entries_to(&self, last: &Message) -> &[u8] {
        &self.batch.bytes[self.offset as usize..(last.offset + last.len) as usize]
    }

    /// [`Message::entries_to`], for sending without a copy.
    pub fn entries_slice_to(&self, last: &Message) -> BatchSlice {
        BatchSlice::new(&self.batch, self.offset as usize..(last.offset + last.len) as usize)
    }
}

/// Bytes that a route costs its batch. Exchanges are few and shared.
fn route_memory(route: &MessageRoute) -> usize {
    size_of::<MessageRoute>() + route.routing_key.len()
}

fn properties_len(entry: &[u8]) -> usize {
    u32::from_be_bytes([entry[1], entry[2], entry[3], entry[4]]) as usize
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", self.exchange())
            .field("routing_key", self.routing_key())
            .field("body_len", &self.body_len())
            .finish()
    }
}

/// A message on its way into queues, with what queues need to know of it.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The message.
    pub message: Message,
    /// Its identity and its place.
    pub lsn: Lsn,
    /// Its priority, if it has one: queues cap it at their own maximum, and have their own default.
    pub priority: Option<Priority>,
    /// Its own time to live in milliseconds, from its `expiration` property.
    pub ttl_ms: Option<u64>,
    /// How long it waits in a delayed exchange's queue.
    pub delay_ms: Option<u64>,
}

/// Collects the messages of one read into one batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    bytes: BytesMut,
    routes: Vec<MessageRoute>,
    /// How many the batch before had: this one most likely has as many.
    routes_before: usize,
    places: Vec<Place>,
    /// What stands in front of the bodies of messages that are alike. Kept for its memory, if that is little.
    head: BytesMut,
    /// The batch that it has become.
    sealed: Option<Arc<MessageBatch>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u32,
    len: u32,
    route: u16,
    persistent: bool,
}

impl BatchBuilder {
    /// Bytes after which a batch should be finished: places are 32-bit, and one batch is one allocation.
    pub const BYTES_MAX: usize = 64 << 20;
    /// Messages after which a batch should be finished, so that route numbers fit.
    pub const MESSAGES_MAX: usize = u16::MAX as usize;
    /// Room that is kept for what stands in front of bodies: properties can be long.
    const HEAD_KEPT_MAX: usize = 1024;

    /// Bytes collected so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is collected.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the batch should be finished before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= Self::BYTES_MAX || self.places.len() >= Self::MESSAGES_MAX
    }

    /// Adds a message from checked properties and a body. The properties may be those that AMQP writes for none (no
    /// flag set) or no bytes at all, as the native protocol writes them: they are stored as they are.
    pub fn push_content(&mut self, route: &MessageRoute, properties: &[u8], body: &[u8], persistent: bool) {
        let offset = self.bytes.len() as u32;
        self.bytes.reserve(ENTRY_HEADER_LEN + properties.len() + body.len());
        put_entry_head(EntryFlags::NONE, 0, properties.len(), body.len(), &mut self.bytes);
        self.bytes.put_slice(properties);
        self.bytes.put_slice(body);
        self.place(route, offset, persistent);
    }

    /// Adds a message from a checked entry.
    pub fn push_entry(&mut self, route: &MessageRoute, entry: &[u8], persistent: bool) {
        let offset = self.bytes.len() as u32;
        self.bytes.put_slice(entry);
        self.place(route, offset, persistent);
    }

    /// Adds so many messages that have the length of the one that was added last, and its route.
    pub fn push_alike(&mut self, entries: &[u8], count: u32) {
        let Some(last) = self.places.last().copied() else { return };
        debug_assert_eq!(entries.len(), (last.len * count) as usize);
        let offset = self.bytes.len() as u32;
        self.bytes.put_slice(entries);
        self.places.extend((0..count).map(|number| Place { offset: offset + number * last.len, ..last }));
    }

    /// Adds messages with these bodies that have the length of the one that was added last, its route and its properties,
    /// until it is full. Says how many.
    pub fn push_bodies<'a>(&mut self, properties: &[u8], bodies: impl Iterator<Item = &'a [u8]>) -> u32 {
        let Some(last) = self.places.last().copied() else { return 0 };
        let (len, before) = (last.len as usize, self.places.len());
        let mut bodies = bodies.take(Self::MESSAGES_MAX.saturating_sub(before)).peekable();
        if bodies.peek().is_none() {
            return 0;
        }
        let body_len = len - ENTRY_HEADER_LEN - properties.len();
        self.head.clear();
        put_entry_head(EntryFlags::NONE, 0, properties.len(), body_len, &mut self.head);
        self.head.put_slice(properties);
        for body in bodies {
            debug_assert_eq!(body.len(), body_len);
            let offset = self.bytes.len() as u32;
            self.bytes.reserve(len);
            self.bytes.put_slice(&self.head);
            self.bytes.put_slice(body);
            self.places.push(Place { offset, ..last });
            if self.bytes.len() >= Self::BYTES_MAX {
                break;
            }
        }
        if self.head.capacity() > Self::HEAD_KEPT_MAX {
            self.head = BytesMut::new();
        }
        (self.places.len() - before) as u32
    }

    fn place(&mut self, route: &MessageRoute, offset: u32, persistent: bool) {
        debug_assert!(self.sealed.is_none(), "a sealed batch takes no more");
        if self.routes.last() != Some(route) {
            if self.routes.is_empty() {
                self.routes.reserve_exact(self.routes_before);
            }
            self.routes.push(route.clone());
        }
        let len = self.bytes.len() as u32 - offset;
        self.places.push(Place { offset, len, route: (self.routes.len() - 1) as u16, persistent });
    }

    /// Makes room for messages that are about to be added.
    pub fn reserve(&mut self, messages: usize, bytes: usize) {
        self.places.reserve(messages);
        self.bytes.reserve(bytes);
    }

    /// How many messages were added.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Ends the batch and gives its messages in order. The builder is empty again, and keeps its room for places.
    pub fn finish(&mut self, gauge: &MemoryGauge) -> impl ExactSizeIterator<Item = Message> + '_ {
        self.seal(gauge);
        let batch = self.sealed.take();
        let of_batch = move |place| Message::new_in(batch.as_ref().expect("a place is in a batch"), place);
        self.places.drain(..).map(of_batch)
    }

    /// Ends the batch. Until the builder is cleared, it has the messages by their numbers, and takes no more.
    pub fn seal(&mut self, gauge: &MemoryGauge) {
        if self.is_empty() {
            return;
        }
        // Taken, not split: what is left of the buffer would tie this batch's memory to the next one's.
        let bytes = std::mem::take(&mut self.bytes);
        let routes = std::mem::take(&mut self.routes);
        self.routes_before = routes.len();
        // What the batch holds, not what it uses: room that grew by doubling is held too, and so are the keys, which
        // can be longer than the messages.
        let keys: usize = routes.iter().map(route_memory).sum();
        let charge = gauge.charge((bytes.capacity() + keys) as u64);
        let bytes = bytes.freeze();
        let stored = OnceLock::new();
        self.sealed = Some(Arc::new(MessageBatch { bytes, routes, stored, _charge: charge }));
    }

    /// A message of the sealed batch: 0 was added first.
    ///
    /// # Panics
    /// It is not sealed, or there are not so many.
    #[inline]
    pub fn message(&self, number: u32) -> Message {
        let batch = self.sealed.as_ref().expect("messages are there once their batch is sealed");
        Message::new_in(batch, self.places[number as usize])
    }

    /// Forgets a sealed batch, and keeps its room for places.
    pub fn clear(&mut self) {
        self.sealed = None;
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::types::Properties;

    fn route(key: &str) -> MessageRoute {
        let exchange = ExchangeName::new("orders").unwrap();
        MessageRoute { exchange, routing_key: RoutingKey::new(key).unwrap() }
    }

    #[test]
    fn a_message_gives_back_what_was_put_in() {
        let gauge = MemoryGauge::new();
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() }.encoded();
        let message = Message::new(route("a.b"), &properties, b"hello", &gauge);
        assert_eq!(message.body(), b"hello");
        assert_eq!(&*message.body_slice(), b"hello");
        assert_eq!(message.body_len(), 5);
        assert_eq!(&**message.routing_key(), "a.b");
        assert!(message.is_persistent());
        assert_eq!(message.properties().delivery_mode(), Some(2));
    }

    #[test]
    fn neighbours_with_one_route_are_one_slice() {
        let gauge = MemoryGauge::new();
        let mut builder = BatchBuilder::default();
        for (key, body) in [("a", "1"), ("a", "2"), ("b", "3")] {
            builder.push_content(&route(key), &[], body.as_bytes(), false);
        }
        let messages: Vec<_> = builder.finish(&gauge).collect();
        assert!(messages[0].is_followed_by(&messages[1]));
        assert!(!messages[1].is_followed_by(&messages[2]), "another routing key");
        assert!(!messages[0].is_followed_by(&messages[2]), "not next to it");
        let both = messages[0].entries_to(&messages[1]);
        assert_eq!(both, [messages[0].entry(), messages[1].entry()].concat());
    }

    #[test]
    fn memory_is_charged_until_the_last_message_goes() {
        let gauge = MemoryGauge::new();
        let mut builder = BatchBuilder::default();
        builder.push_content(&route("a"), &[], &[0; 1000], false);
        builder.push_content(&route("a"), &[], b"x", false);
        let held = builder.bytes.capacity() as u64;
        assert!(held >= 2 * ENTRY_HEADER_LEN as u64 + 1001);
        let key = route_memory(&route("a")) as u64;
        let mut messages: Vec<_> = builder.finish(&gauge).collect();
        assert_eq!(gauge.bytes(), held + key);
        let small = messages.pop().unwrap();
        drop(messages);
        assert!(gauge.bytes() > 1000, "the small one keeps the batch");
        drop(small);
        assert_eq!(gauge.bytes(), 0);
    }

    #[test]
    fn long_keys_are_charged_with_their_messages() {
        let gauge = MemoryGauge::new();
        let mut builder = BatchBuilder::default();
        for number in 0..100 {
            builder.push_content(&route(&format!("{number:0>255}")), &[], b"", false);
        }
        let messages: Vec<_> = builder.finish(&gauge).collect();
        assert!(gauge.bytes() >= 100 * (255 + ENTRY_HEADER_LEN as u64));
        drop(messages);
        assert_eq!(gauge.bytes(), 0);
    }
}
