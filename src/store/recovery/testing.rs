//! Segments made by hand, for tests, fuzz targets and fixtures: what a journal would have written, and what it never would.

use std::io::{self, IoSlice};

use bytes::{BufMut, BytesMut};
use rialto_protocol::native::{EntryFlags, put_entry_head};

use crate::model::{Location, Lsn, QueueId, Returned, SegmentId, StoredRun, Timestamp};
use crate::store::disk::Disk;
use crate::store::record::{
    EncodedRecord, HEADER_LEN, Nonce, PublishFields, RecordKind, RecordWriter, seal, skip,
};
use crate::store::segment::{IndexBuilder, RECORDS_START, SegmentHeader, file_name};
use crate::store::{StoredMessage, StoredTarget};

/// A segment in the making.
#[derive(Debug)]
pub struct SegmentMaker {
    /// Its header.
    pub header: SegmentHeader,
    /// Its bytes so far.
    pub bytes: Vec<u8>,
    /// What its next records say is safe.
    pub safe: u32,
    /// Where its records begin.
    pub records: Vec<u32>,
    index: IndexBuilder,
}

impl SegmentMaker {
    /// A segment without records. `previous` is the one in front of it, and its end.
    pub fn new(id: u32, previous: (u32, u32), next_lsn: u64) -> Self {
        let header = SegmentHeader {
            id: SegmentId(id),
            nonce: Nonce::new(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(u64::from(id) + 1)),
            created_at: AT,
            next_lsn: Lsn(next_lsn),
            previous: (SegmentId(previous.0), previous.1),
        };
        let bytes = header.encode().to_vec();
        SegmentMaker { header, bytes, safe: 0, records: Vec::new(), index: IndexBuilder::new() }
    }

    /// Where its records end.
    pub fn end(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// What the next segment's header says of it.
    pub fn as_previous(&self) -> (u32, u32) {
        (self.header.id.0, self.end())
    }

    /// From now on records say that everything so far is safe.
    pub fn commit(&mut self) {
        self.safe = self.end();
    }

    /// Adds a record: `parts` puts what it says and `entries` are its messages. Gives its offset.
    pub fn record(
        &mut self,
        kind: RecordKind,
        parts: impl FnOnce(&mut RecordWriter<'_>),
        entries: &[u8],
    ) -> u32 {
        let offset = self.end();
        let mut out = BytesMut::new();
        let mut record = RecordWriter::new(kind, 0, &mut out);
        parts(&mut record);
        let EncodedRecord { entries_len, .. } = record.finish().expect("records made by hand are short");
        self.index.push(kind, 0, &out[HEADER_LEN..], entries_len);
        seal(&mut out, self.header.nonce, offset, self.safe, [entries]);
        self.bytes.extend_from_slice(&out);
        self.bytes.extend_from_slice(entries);
        self.records.push(offset);
        offset
    }

    /// Adds a record of published messages: `messages` are changed from plain ones with bodies of these lengths and
    /// LSNs from `first` on.
    pub fn publish_with(
        &mut self,
        first: u64,
        bodies: &[usize],
        targets: &[StoredTarget],
        change: impl FnOnce(&mut [StoredMessage]),
    ) -> u32 {
        let (mut messages, entries) = plain_messages(first, bodies);
        change(&mut messages);
        let parts = |record: &mut RecordWriter<'_>| {
            record.publish(plain_fields(&messages, targets));
        };
        self.record(RecordKind::Unit, parts, &entries)
    }

    /// Adds a record of plain messages that enter some queues.
    pub fn publish(&mut self, first: u64, bodies: &[usize], queues: &[u64]) -> u32 {
        let target =
            |queue: &u64| StoredTarget { queue: QueueId(*queue), first: 0, count: bodies.len() as u32 };
        let targets: Vec<_> = queues.iter().map(target).collect();
        self.publish_with(first, bodies, &targets, |_| {})
    }

    /// Adds a record that settles messages: (segment, first LSN, count).
    pub fn settle(&mut self, queue: u64, runs: &[(u32, u64, u32)]) -> u32 {
        let runs = runs.iter().map(|(segment, first, count)| StoredRun {
            first: Lsn(*first),
            count: *count,
            location: Location { segment: SegmentId(*segment), offset: 0 },
        });
        self.record(RecordKind::Unit, |record| record.settle(QueueId(queue), runs), &[])
    }

    /// Adds a record that says that a message came back.
    pub fn returned(&mut self, queue: u64, returned: &[Returned]) -> u32 {
        self.record(RecordKind::Unit, |record| record.returned(QueueId(queue), returned), &[])
    }

    /// Adds room that is skipped, filled with rubbish.
    pub fn skip(&mut self, len: u32) -> u32 {
        let offset = self.end();
        self.bytes.extend_from_slice(&skip(len, self.header.nonce, offset, self.safe));
        self.bytes.resize((offset + len) as usize, 0xaa);
        self.index.push_skip(len);
        self.records.push(offset);
        offset
    }

    /// Ends it with its index.
    pub fn seal(&mut self) {
        let index = std::mem::take(&mut self.index).finish(self.header.nonce, self.end());
        self.bytes.extend_from_slice(&index);
    }

    /// Puts it into a folder, safely.
    ///
    /// # Errors
    /// The disk fails, or the file is there.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        write_file(disk, &file_name(self.header.id), &self.bytes)
    }
}

/// When everything that is made here was published.
pub const AT: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Plain messages with bodies of these lengths and LSNs from `first` on, and their entries.
pub fn plain_messages(first: u64, bodies: &[usize]) -> (Vec<StoredMessage>, BytesMut) {
    let mut entries = BytesMut::new();
    let mut messages = Vec::with_capacity(bodies.len());
    for (body_len, lsn) in bodies.iter().zip(first..) {
        let start = entries.len();
        put_entry_head(EntryFlags::NONE, 0, 0, *body_len, &mut entries);
        entries.put_bytes(lsn as u8, *body_len);
        messages.push(StoredMessage {
            lsn: Lsn(lsn),
            entry_len: (entries.len() - start) as u32,
            body_len: *body_len as u32,
            route: 0,
            priority: None,
            ttl_ms: None,
            delay_ms: None,
        });
    }
    (messages, entries)
}

/// A publish part of plain messages, all with the same route.
pub fn plain_fields<'a>(
    messages: &'a [StoredMessage],
    targets: &'a [StoredTarget],
) -> PublishFields<'a, std::array::IntoIter<(&'static str, &'static str), 1>> {
    PublishFields { at: AT, producer: None, routes: [("orders", "key")].into_iter(), messages, targets }
}

/// Puts a file into a folder, safely.
///
/// # Errors
/// The disk fails, or the file is there.
pub fn write_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(name)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    disk.sync_folder()
}

/// Where the first record of a segment begins.
pub const START: u32 = RECORDS_START;
