//! Encodes the header and metadata of a record. Runs for every publish batch: appends to one buffer, allocates nothing,
//! and writes runs of equal values once.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

use super::{HEADER_LEN, PART_MESSAGES_MAX, RECORD_LEN_MAX, RecordHeader, RecordKind, varint};
use crate::model::{QueueId, Returned, SegmentId, StoredRun, Timestamp};
use crate::store::{PublishPart, StoredMessage, StoredTarget};

/// Tags of parts.
pub(super) const PUBLISH: u8 = 1;
pub(super) const SETTLE: u8 = 2;
pub(super) const RETURN: u8 = 3;

/// Bits of a fact.
pub(super) const HAS_PRIORITY: u8 = 0x01;
pub(super) const HAS_TTL: u8 = 0x02;
pub(super) const HAS_DELAY: u8 = 0x04;
pub(super) const REPEATED: u8 = 0x80;

/// Bits of a returned message.
pub(super) const HAS_UNTIL: u8 = 0x01;
pub(super) const OTHER_SEGMENT: u8 = 0x02;

/// Most messages that one settled run says: what reading it may cost.
pub(super) const SETTLED_RUN_MAX: u32 = 1 << 20;

/// How long an encoded record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Bytes of header and metadata: what was appended to the buffer.
    pub head_len: u32,
    /// Bytes of entries, which follow.
    pub entries_len: u32,
}

impl EncodedRecord {
    /// Bytes of the whole record.
    pub const fn len(&self) -> u32 {
        self.head_len + self.entries_len
    }

    /// Whether it has no bytes: never, it has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// A record would be longer than [`RECORD_LEN_MAX`], or a part of it would have more than [`PART_MESSAGES_MAX`] messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a record of the journal would have {0} bytes; {RECORD_LEN_MAX} are possible, and {PART_MESSAGES_MAX} messages"
)]
pub struct RecordTooLong(pub u64);

/// What a publish part says.
#[derive(Clone, Debug)]
pub struct PublishFields<'a, R> {
    /// When the messages were published.
    pub at: Timestamp,
    /// Who published them and the number of the first one there, if that is known.
    pub producer: Option<(u64, u64)>,
    /// Exchange and routing key, in the order in which messages count them.
    pub routes: R,
    /// The messages. Neither LSNs nor route numbers ever go down.
    pub messages: &'a [StoredMessage],
    /// Which of them entered which queue.
    pub targets: &'a [StoredTarget],
}

/// A record in the making, at the end of a buffer.
#[derive(Debug)]
pub struct RecordWriter<'a> {
    out: &'a mut BytesMut,
    start: usize,
    kind: RecordKind,
    shard: u16,
    entries_len: u64,
    too_many: bool,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record behind what the buffer holds.
    pub fn new(kind: RecordKind, shard: u16, out: &'a mut BytesMut) -> Self {
        let start = out.len();
        out.put_bytes(0, HEADER_LEN);
        RecordWriter { out, start, kind, shard, entries_len: 0, too_many: false }
    }

    /// Adds published messages as the broker appends them. The bytes of their batch must follow the record's head.
    pub fn publish_part(&mut self, part: &PublishPart<'_>) -> u32 {
        let routes = part.batch.routes().iter();
        self.publish(PublishFields {
            at: part.at,
            producer: None,
            routes: routes.map(|route| (route.exchange.as_str(), route.routing_key.as_str())),
            messages: part.messages,
            targets: part.targets,
        })
    }

    /// Adds published messages. Their entries must follow the record's head in the order of the publish parts. Returns
    /// where they begin among the record's entries.
    pub fn publish<'r>(
        &mut self,
        fields: PublishFields<'_, impl ExactSizeIterator<Item = (&'r str, &'r str)>>,
    ) -> u32 {
        let PublishFields { at, producer, routes, messages, targets } = fields;
        let base = self.entries_len;
        self.entries_len += messages.iter().map(|message| u64::from(message.entry_len)).sum::<u64>();
        self.too_many |= messages.len() > PART_MESSAGES_MAX;
        let out = &mut *self.out;
        out.put_u8(PUBLISH);
        out.put_u8(u8::from(producer.is_some()));
        out.put_u64(at.as_micros());
        if let Some((id, sequence)) = producer {
            varint::put(out, id);
            varint::put(out, sequence);
        }
        varint::put(out, messages.len() as u64);
        put_lsns(out, messages);
        put_column(out, messages, |message| message.entry_len - message.body_len);
        put_column(out, messages, |message| message.body_len);
        put_facts(out, messages);
        put_routes(out, routes, messages);
        put_targets(out, targets);
        // A record that is too long is refused at its end; until then the number only has to be some number.
        base as u32
    }

    /// Adds settled messages of a queue. Each run names the segment that holds the messages; the rest of its location
    /// is not written.
    pub fn settle(&mut self, queue: QueueId, runs: impl IntoIterator<Item = StoredRun>) {
        let out = &mut *self.out;
        out.put_u8(SETTLE);
        varint::put(out, queue.0);
        let mut last = (SegmentId::default(), 0);
        let mut put = |run: StoredRun| {
            let segment = run.location.segment;
            let is_other = segment != last.0;
            varint::put(out, u64::from(run.count) << 1 | u64::from(is_other));
            if is_other {
                varint::put(out, segment.0.into());
            }
            varint::put_step(out, last.1, run.first.0);
            last = (segment, run.first.0.wrapping_add(run.count.into()));
        };
        let mut held: Option<StoredRun> = None;
        for mut run in runs {
            if let Some(held) = &mut held
                && held.location.segment == run.location.segment
                && held.first.0.checked_add(held.count.into()) == Some(run.first.0)
                && held.count.saturating_add(run.count) <= SETTLED_RUN_MAX
            {
                held.count += run.count;
                continue;
            }
            while run.count > SETTLED_RUN_MAX {
                let piece = StoredRun { count: SETTLED_RUN_MAX, ..run };
                held.replace(piece).into_iter().for_each(&mut put);
                run.first.0 += u64::from(SETTLED_RUN_MAX);
                run.count -= SETTLED_RUN_MAX;
            }
            if run.count > 0 {
                held.replace(run).into_iter().for_each(&mut put);
            }
        }
        held.into_iter().for_each(&mut put);
        out.put_u8(0);
    }

    /// Adds messages that came back to a queue. Each names the segment that holds it; the rest of its location is not
    /// written.
    pub fn returned<'r>(
        &mut self,
        queue: QueueId,
        returned: impl IntoIterator<Item = &'r Returned, IntoIter: ExactSizeIterator>,
    ) {
        let out = &mut *self.out;
        let returned = returned.into_iter();
        out.put_u8(RETURN);
        varint::put(out, queue.0);
        varint::put(out, returned.len() as u64);
        let mut last = (SegmentId::default(), 0);
        for one in returned {
            let segment = one.location.segment;
            let is_other = segment != last.0;
            let until = one.until.map_or(0, |_| HAS_UNTIL);
            out.put_u8(until | if is_other { OTHER_SEGMENT } else { 0 });
            if is_other {
                varint::put(out, segment.0.into());
            }
            varint::put_step(out, last.1, one.lsn.0);
            varint::put(out, one.delivery_count.into());
            varint::put(out, one.returns.into());
            if let Some(until) = one.until {
                out.put_u64(until.as_micros());
            }
            last = (segment, one.lsn.0);
        }
    }

    /// Ends the record.
    ///
    /// # Errors
    /// It is too long; the buffer holds again what it held before.
    pub fn finish(self) -> Result<EncodedRecord, RecordTooLong> {
        let head_len = self.out.len() - self.start;
        let len = head_len as u64 + self.entries_len;
        if len > RECORD_LEN_MAX || self.too_many {
            self.out.truncate(self.start);
            return Err(RecordTooLong(len));
        }
        let (meta_len, entries_len) = ((head_len - HEADER_LEN) as u32, self.entries_len as u32);
        let header = RecordHeader::unsealed(self.kind, self.shard, meta_len, entries_len);
        self.out[self.start..][..HEADER_LEN].copy_from_slice(&header);
        Ok(EncodedRecord { head_len: head_len as u32, entries_len })
    }
}

fn put_lsns(out: &mut BytesMut, messages: &[StoredMessage]) {
    let mut end = 0u64;
    let mut rest = messages;
    while let Some(first) = rest.first() {
        let lsn = first.lsn.0;
        debug_assert!(lsn >= end, "LSNs grow from message to message");
        let count = rest.iter().zip(lsn..).take_while(|(message, lsn)| message.lsn.0 == *lsn).count();
        varint::put(out, lsn.wrapping_sub(end));
        varint::put(out, count as u64);
        end = lsn.wrapping_add(count as u64);
        rest = &rest[count.max(1)..];
    }
}

fn put_column(out: &mut BytesMut, messages: &[StoredMessage], value: impl Fn(&StoredMessage) -> u32) {
    for run in messages.chunk_by(|one, next| value(one) == value(next)) {
        let is_repeated = run.len() > 1;
        varint::put(out, u64::from(value(&run[0])) << 1 | u64::from(is_repeated));
        if is_repeated {
            varint::put(out, run.len() as u64);
        }
    }
}

fn put_facts(out: &mut BytesMut, messages: &[StoredMessage]) {
    let facts = |message: &StoredMessage| (message.priority, message.ttl_ms, message.delay_ms);
    for run in messages.chunk_by(|one, next| facts(one) == facts(next)) {
        let (priority, ttl_ms, delay_ms) = facts(&run[0]);
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        out.put_u8(
            bit(priority.is_some(), HAS_PRIORITY)
                | bit(ttl_ms.is_some(), HAS_TTL)
                | bit(delay_ms.is_some(), HAS_DELAY)
                | bit(run.len() > 1, REPEATED),
        );
        if run.len() > 1 {
            varint::put(out, run.len() as u64);
        }
        if let Some(priority) = priority {
            out.put_u8(priority.0);
        }
        if let Some(ttl_ms) = ttl_ms {
            varint::put(out, ttl_ms);
        }
        if let Some(delay_ms) = delay_ms {
            varint::put(out, delay_ms);
        }
    }
}

/// Each route and how many messages have it: their numbers never go down, so that is enough.
fn put_routes<'r>(
    out: &mut BytesMut,
    routes: impl ExactSizeIterator<Item = (&'r str, &'r str)>,
    messages: &[StoredMessage],
) {
    varint::put(out, routes.len() as u64);
    let mut last_exchange = None;
    let mut rest = messages;
    for (number, (exchange, key)) in routes.enumerate() {
        match last_exchange == Some(exchange) {
            true => out.put_u8(0),
            false => {
                varint::put(out, exchange.len() as u64 + 1);
                out.put_slice(exchange.as_bytes());
            }
        }
        last_exchange = Some(exchange);
        varint::put(out, key.len() as u64);
        out.put_slice(key.as_bytes());
        let count = rest.iter().take_while(|message| usize::from(message.route) == number).count();
        varint::put(out, count as u64);
        rest = &rest[count..];
    }
    debug_assert!(rest.is_empty(), "route numbers grow from message to message, and each has its route");
}

fn put_targets(out: &mut BytesMut, targets: &[StoredTarget]) {
    varint::put(out, targets.len() as u64);
    let (mut last_queue, mut end) = (0, 0u64);
    for target in targets {
        varint::put_step(out, last_queue, target.queue.0);
        varint::put_step(out, end, target.first.into());
        varint::put(out, target.count.into());
        last_queue = target.queue.0;
        end = u64::from(target.first) + u64::from(target.count);
    }
}
