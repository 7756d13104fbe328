//! Reads the metadata of a record, part by part, into buffers that are used again: recovery reads millions.

use rialto_protocol::native::ENTRY_HEADER_LEN;

use super::varint::Cursor;
use super::writer::{
    HAS_DELAY, HAS_PRIORITY, HAS_TTL, HAS_UNTIL, OTHER_SEGMENT, PUBLISH, REPEATED, RETURN, SETTLE,
    SETTLED_RUN_MAX,
};
use super::{MetaError, PART_MESSAGES_MAX};
use crate::model::{Location, Lsn, Priority, QueueId, Returned, SegmentId, StoredRun, Timestamp};
use crate::store::{StoredMessage, StoredTarget};

/// Room for one part's lists.
#[derive(Debug, Default)]
pub struct MetaScratch {
    messages: Vec<StoredMessage>,
    targets: Vec<StoredTarget>,
    runs: Vec<StoredRun>,
    returned: Vec<Returned>,
}

/// One part of a record.
#[derive(Clone, Copy, Debug)]
pub enum MetaPart<'a, 's> {
    /// Messages entered queues.
    Publish(PublishedPart<'a, 's>),
    /// Messages left a queue for good. Of a location only the segment is known.
    Settle {
        /// The queue.
        queue: QueueId,
        /// The messages.
        runs: &'s [StoredRun],
    },
    /// Messages came back to their queue. Of a location only the segment is known.
    Return {
        /// The queue.
        queue: QueueId,
        /// The messages.
        returned: &'s [Returned],
    },
}

/// Messages and the queues they entered.
#[derive(Clone, Copy, Debug)]
pub struct PublishedPart<'a, 's> {
    /// When they were published.
    pub at: Timestamp,
    /// Who published them, and the number of the first one there.
    pub producer: Option<(u64, u64)>,
    /// Where their entries begin among the record's.
    pub base: u32,
    /// The messages, in order. Their entries stand back to back.
    pub messages: &'s [StoredMessage],
    /// Which of them entered which queue. All of them are there.
    pub targets: &'s [StoredTarget],
    /// The routes that the messages count.
    pub routes: Routes<'a>,
}

/// Routes of a publish part: an iterator that allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    rows: Cursor<'a>,
    left: u64,
    exchange: &'a str,
}

/// A route, and how many messages in a row have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow<'a> {
    /// The exchange's name. At most 255 bytes.
    pub exchange: &'a str,
    /// The routing key. At most 255 bytes.
    pub routing_key: &'a str,
    /// How many messages.
    pub count: u32,
}

impl<'a> Routes<'a> {
    fn row(&mut self) -> Result<RouteRow<'a>, MetaError> {
        let name = |bytes: &'a [u8]| match bytes.len() <= 255 {
            true => std::str::from_utf8(bytes).map_err(|_| MetaError::Name),
            false => Err(MetaError::Name),
        };
        if let Some(len) = self.rows.number_u32()?.checked_sub(1) {
            self.exchange = name(self.rows.take(len as usize)?)?;
        }
        let len = self.rows.number_u32()?;
        let routing_key = name(self.rows.take(len as usize)?)?;
        let count = self.rows.number_u32()?;
        Ok(RouteRow { exchange: self.exchange, routing_key, count })
    }
}

impl<'a> Iterator for Routes<'a> {
    type Item = RouteRow<'a>;

    fn next(&mut self) -> Option<RouteRow<'a>> {
        self.left = self.left.checked_sub(1)?;
        // They were read once when the part was.
        self.row().ok()
    }
}

/// Reads parts, one at a time.
#[derive(Debug)]
pub struct MetaReader<'a> {
    input: Cursor<'a>,
    base: u32,
    entries_left: u32,
}

impl<'a> MetaReader<'a> {
    /// A reader of a record's metadata. `entries_len` is what its header says.
    pub fn new(meta: &'a [u8], entries_len: u32) -> Self {
        MetaReader { input: Cursor(meta), base: 0, entries_left: entries_len }
    }

    /// The next part, if there is one.
    ///
    /// # Errors
    /// The metadata make no sense; nothing more can be read.
    pub fn next<'s>(&mut self, scratch: &'s mut MetaScratch) -> Result<Option<MetaPart<'a, 's>>, MetaError> {
        if self.input.0.is_empty() {
            return match self.entries_left {
                0 => Ok(None),
                _ => Err(MetaError::Count("bytes of messages")),
            };
        }
        match self.input.byte()? {
            PUBLISH => self.publish(scratch).map(|part| Some(MetaPart::Publish(part))),
            SETTLE => {
                let queue = QueueId(self.input.number()?);
                self.settled(&mut scratch.runs)?;
                Ok(Some(MetaPart::Settle { queue, runs: &scratch.runs }))
            }
            RETURN => {
                let queue = QueueId(self.input.number()?);
                self.returned(&mut scratch.returned)?;
                Ok(Some(MetaPart::Return { queue, returned: &scratch.returned }))
            }
            other => Err(MetaError::Part(other)),
        }
    }

    fn publish<'s>(&mut self, scratch: &'s mut MetaScratch) -> Result<PublishedPart<'a, 's>, MetaError> {
        let MetaScratch { messages, targets, .. } = scratch;
        let input = &mut self.input;
        let has_producer = match input.byte()? {
            flags @ 0..=1 => flags == 1,
            other => return Err(MetaError::Part(other)),
        };
        let at = Timestamp::from_micros(input.u64()?);
        let producer = if has_producer { Some((input.number()?, input.number()?)) } else { None };
        let count = input.number_u32()? as usize;
        // Each has an entry: so few bytes cannot ask for much memory.
        if count > PART_MESSAGES_MAX || count * ENTRY_HEADER_LEN > self.entries_left as usize {
            return Err(MetaError::Count("messages"));
        }
        read_lsns(input, messages, count)?;
        read_column(input, messages, |message, head| {
            message.entry_len = head;
            head as usize >= ENTRY_HEADER_LEN
        })?;
        let mut entries_len = 0u64;
        read_column(input, messages, |message, body_len| {
            message.body_len = body_len;
            let entry_len = message.entry_len.checked_add(body_len);
            message.entry_len = entry_len.unwrap_or_default();
            entries_len += u64::from(message.entry_len);
            entry_len.is_some()
        })?;
        read_facts(input, messages)?;
        let routes = read_routes(input, messages)?;
        read_targets(input, targets, count as u64)?;
        let entries_len = u32::try_from(entries_len).map_err(|_| MetaError::Number)?;
        let left = self.entries_left.checked_sub(entries_len).ok_or(MetaError::Count("bytes of messages"))?;
        let base = self.base;
        self.entries_left = left;
        self.base += entries_len;
        Ok(PublishedPart { at, producer, base, messages, targets, routes })
    }

    fn settled(&mut self, runs: &mut Vec<StoredRun>) -> Result<(), MetaError> {
        runs.clear();
        let input = &mut self.input;
        let (mut segment, mut end) = (SegmentId::default(), 0u64);
        loop {
            let coded = input.number()?;
            if coded == 0 {
                return Ok(());
            }
            if coded & 1 == 1 {
                segment = SegmentId(input.number_u32()?);
            }
            let count = u32::try_from(coded >> 1).map_err(|_| MetaError::Number)?;
            if count == 0 || count > SETTLED_RUN_MAX {
                return Err(MetaError::Count("settled messages"));
            }
            let first = input.step(end)?;
            end = first.checked_add(count.into()).ok_or(MetaError::Number)?;
            runs.push(StoredRun { first: Lsn(first), count, location: Location { segment, offset: 0 } });
        }
    }

    fn returned(&mut self, returned: &mut Vec<Returned>) -> Result<(), MetaError> {
        returned.clear();
        let input = &mut self.input;
        let (mut segment, mut lsn) = (SegmentId::default(), 0);
        for _ in 0..input.number()? {
            let flags = input.byte()?;
            if flags & !(HAS_UNTIL | OTHER_SEGMENT) != 0 {
                return Err(MetaError::Part(flags));
            }
            if flags & OTHER_SEGMENT != 0 {
                segment = SegmentId(input.number_u32()?);
            }
            lsn = input.step(lsn)?;
            let delivery_count = input.number_u32()?;
            let returns = input.number_u32()?;
            let until = match flags & HAS_UNTIL != 0 {
                true => Some(Timestamp::from_micros(input.u64()?)),
                false => None,
            };
            let location = Location { segment, offset: 0 };
            returned.push(Returned { lsn: Lsn(lsn), location, delivery_count, returns, until });
        }
        Ok(())
    }
}

fn read_lsns(
    input: &mut Cursor<'_>,
    messages: &mut Vec<StoredMessage>,
    count: usize,
) -> Result<(), MetaError> {
    messages.clear();
    let mut end = 0u64;
    while messages.len() < count {
        let first = end.checked_add(input.number()?).ok_or(MetaError::Number)?;
        let run = input.number_u32()?;
        if run == 0 || run as usize > count - messages.len() {
            return Err(MetaError::Count("LSNs"));
        }
        end = first.checked_add(run.into()).ok_or(MetaError::Number)?;
        messages.extend((first..end).map(|lsn| StoredMessage {
            lsn: Lsn(lsn),
            entry_len: 0,
            body_len: 0,
            route: 0,
            priority: None,
            ttl_ms: None,
            delay_ms: None,
        }));
    }
    Ok(())
}

fn read_column(
    input: &mut Cursor<'_>,
    messages: &mut [StoredMessage],
    mut set: impl FnMut(&mut StoredMessage, u32) -> bool,
) -> Result<(), MetaError> {
    let mut rest = messages;
    while !rest.is_empty() {
        let coded = input.number()?;
        let value = u32::try_from(coded >> 1).map_err(|_| MetaError::Number)?;
        let run = if coded & 1 == 1 { input.number_u32()? as usize } else { 1 };
        let (these, others) = rest.split_at_mut_checked(run).ok_or(MetaError::Count("lengths"))?;
        if run == 0 || !these.iter_mut().all(|message| set(message, value)) {
            return Err(MetaError::Count("lengths"));
        }
        rest = others;
    }
    Ok(())
}

fn read_facts(input: &mut Cursor<'_>, messages: &mut [StoredMessage]) -> Result<(), MetaError> {
    let mut rest = messages;
    while !rest.is_empty() {
        let flags = input.byte()?;
        if flags & !(HAS_PRIORITY | HAS_TTL | HAS_DELAY | REPEATED) != 0 {
            return Err(MetaError::Part(flags));
        }
        let run = if flags & REPEATED != 0 { input.number_u32()? as usize } else { 1 };
        let priority = if flags & HAS_PRIORITY != 0 { Some(Priority(input.byte()?)) } else { None };
        let ttl_ms = if flags & HAS_TTL != 0 { Some(input.number()?) } else { None };
        let delay_ms = if flags & HAS_DELAY != 0 { Some(input.number()?) } else { None };
        let (these, others) = rest.split_at_mut_checked(run).ok_or(MetaError::Count("facts"))?;
        if run == 0 {
            return Err(MetaError::Count("facts"));
        }
        if flags & !REPEATED != 0 {
            for message in these {
                (message.priority, message.ttl_ms, message.delay_ms) = (priority, ttl_ms, delay_ms);
            }
        }
        rest = others;
    }
    Ok(())
}

fn read_routes<'a>(input: &mut Cursor<'a>, messages: &mut [StoredMessage]) -> Result<Routes<'a>, MetaError> {
    let left = input.number()?;
    let routes = Routes { rows: *input, left, exchange: "" };
    let mut walk = routes;
    let mut rest = messages;
    for number in 0..left {
        let route = u16::try_from(number).map_err(|_| MetaError::Count("routes"))?;
        let row = walk.row()?;
        let (these, others) =
            rest.split_at_mut_checked(row.count as usize).ok_or(MetaError::Count("routes"))?;
        if route > 0 {
            these.iter_mut().for_each(|message| message.route = route);
        }
        rest = others;
    }
    if !rest.is_empty() {
        return Err(MetaError::Count("routes"));
    }
    *input = walk.rows;
    Ok(routes)
}

fn read_targets(
    input: &mut Cursor<'_>,
    targets: &mut Vec<StoredTarget>,
    messages: u64,
) -> Result<(), MetaError> {
    targets.clear();
    let (mut queue, mut end) = (0, 0u64);
    for _ in 0..input.number()? {
        queue = input.step(queue)?;
        let first = input.step(end)?;
        let count = input.number_u32()?;
        end = first.checked_add(count.into()).ok_or(MetaError::Number)?;
        if count == 0 || end > messages {
            return Err(MetaError::Count("targets"));
        }
        targets.push(StoredTarget { queue: QueueId(queue), first: first as u32, count });
    }
    Ok(())
}
