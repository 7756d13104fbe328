//! Segments: the journal's files, as bytes. `FORMAT.md` draws them.
//!
//! A segment begins with a header, twice; records follow without gaps; when it is full it is sealed with an index: the
//! metadata of all its records, so that recovery need not look at messages.
//!
//! Invariants: numbers of segments only grow; a segment is appended to by the process that made it and by no later one;
//! an index is written only when everything in front of it is safe, so a valid one proves that.
//! Not here: reading files (`recovery`), writing them (`journal`).

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::record::{HEADER_LEN, Nonce, RecordHeader, RecordKind, seal, varint};
use crate::model::{Lsn, SegmentId, Timestamp};

/// Where the first record of a segment begins: behind two copies of the header.
pub const RECORDS_START: u32 = 128;
/// Version of the segments that are written.
pub const SEGMENT_VERSION: u16 = 1;
/// Bytes at the very end of a sealed segment.
pub const TRAILER_LEN: usize = 16;

const MAGIC: [u8; 8] = *b"RIALTOJ\n";
const COPY_LEN: usize = RECORDS_START as usize / 2;

/// The name of a segment's file.
pub fn file_name(segment: SegmentId) -> String {
    format!("journal-{segment:010}.seg", segment = segment.0)
}

/// The segment whose file has this name; none if it is another file.
pub fn segment_of(name: &str) -> Option<SegmentId> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
    let is_ours = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let id = SegmentId(digits.parse().ok().filter(|_| is_ours)?);
    // One file a segment: no second spelling of its number.
    (file_name(id) == name).then_some(id)
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number.
    pub id: SegmentId,
    /// What its records are sealed with.
    pub nonce: Nonce,
    /// When it was made.
    pub created_at: Timestamp,
    /// No message had this LSN or a later one when it was made.
    pub next_lsn: Lsn,
    /// The segment that was written before it, and where the records of that one end; number 0: there was none.
    pub previous: (SegmentId, u32),
}

/// Why bytes are no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SegmentError {
    /// Neither copy is whole.
    #[error("both copies of its header are damaged")]
    Header,
    /// A format that this program does not know.
    #[error("it has format version {0}, which only a newer program can read")]
    Version(u16),
}

impl SegmentHeader {
    /// Its bytes, both copies: the first [`RECORDS_START`] of the file.
    pub fn encode(&self) -> [u8; RECORDS_START as usize] {
        let mut copy = [0; COPY_LEN];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..10].copy_from_slice(&SEGMENT_VERSION.to_be_bytes());
        copy[10..12].copy_from_slice(&(RECORDS_START as u16).to_be_bytes());
        copy[12..16].copy_from_slice(&self.id.0.to_be_bytes());
        copy[16..24].copy_from_slice(&self.nonce.as_u64().to_be_bytes());
        copy[24..32].copy_from_slice(&self.created_at.as_micros().to_be_bytes());
        copy[32..40].copy_from_slice(&self.next_lsn.0.to_be_bytes());
        copy[40..44].copy_from_slice(&self.previous.0.0.to_be_bytes());
        copy[44..48].copy_from_slice(&self.previous.1.to_be_bytes());
        let checksum = crc32c::crc32c(&copy[..COPY_LEN - 4]);
        copy[COPY_LEN - 4..].copy_from_slice(&checksum.to_be_bytes());
        let mut both = [0; RECORDS_START as usize];
        both[..COPY_LEN].copy_from_slice(&copy);
        both[COPY_LEN..].copy_from_slice(&copy);
        both
    }

    /// Reads the first bytes of a segment's file, from either copy.
    ///
    /// # Errors
    /// Neither copy is whole, or only a newer program can read it.
    pub fn read(bytes: &[u8]) -> Result<SegmentHeader, SegmentError> {
        let mut copies = bytes.chunks_exact(COPY_LEN).take(2);
        copies.find_map(SegmentHeader::read_copy).unwrap_or(Err(SegmentError::Header))
    }

    /// Whether both copies are whole: if not, the segment has lost its spare.
    pub fn has_both_copies(bytes: &[u8]) -> bool {
        bytes.len() >= RECORDS_START as usize
            && bytes.chunks_exact(COPY_LEN).take(2).all(|copy| SegmentHeader::read_copy(copy).is_some())
    }

    fn read_copy(copy: &[u8]) -> Option<Result<SegmentHeader, SegmentError>> {
        let copy: &[u8; COPY_LEN] = copy.try_into().ok()?;
        let u32_at = |at: usize| u32::from_be_bytes([copy[at], copy[at + 1], copy[at + 2], copy[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        if copy[..8] != MAGIC || crc32c::crc32c(&copy[..COPY_LEN - 4]) != u32_at(COPY_LEN - 4) {
            return None;
        }
        let version = u16::from_be_bytes([copy[8], copy[9]]);
        if version != SEGMENT_VERSION {
            return Some(Err(SegmentError::Version(version)));
        }
        Some(Ok(SegmentHeader {
            id: SegmentId(u32_at(12)),
            nonce: Nonce::new(u64_at(16)),
            created_at: Timestamp::from_micros(u64_at(24)),
            next_lsn: Lsn(u64_at(32)),
            previous: (SegmentId(u32_at(40)), u32_at(44)),
        }))
    }
}

/// What an index says of a stretch of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexedKind {
    /// A record with parts.
    Parts(RecordKind),
    /// Room that was skipped.
    Skip,
    /// Bytes that were damaged when the index was made, at a start that was told to go on without them.
    Damaged,
}

/// A stretch of a segment, as its index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry<'a> {
    /// Where it begins in the file.
    pub offset: u32,
    /// What it is.
    pub kind: IndexedKind,
    /// The shard that it belongs to.
    pub shard: u16,
    /// Its metadata, if it has any.
    pub meta: &'a [u8],
    /// Bytes of its entries.
    pub entries_len: u32,
}

/// How far an index has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexMark {
    len: usize,
    records: u32,
}

/// Collects the index of a segment while it is written.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    bytes: BytesMut,
    records: u32,
}

impl IndexBuilder {
    /// An index of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An index whose entries were put together elsewhere.
    pub(in crate::store) fn of(bytes: BytesMut, records: u32) -> Self {
        IndexBuilder { bytes, records }
    }

    /// Its entries.
    pub(in crate::store) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets all, and keeps the room.
    pub(in crate::store) fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// Bytes collected: what it costs in memory, and will cost on disk.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is an index of nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next record: the first one begins at [`RECORDS_START`], every other where the one before it ends.
    pub fn push(&mut self, kind: RecordKind, shard: u16, meta: &[u8], entries_len: u32) {
        self.bytes.put_u8(kind.number());
        varint::put(&mut self.bytes, shard.into());
        varint::put(&mut self.bytes, meta.len() as u64);
        varint::put(&mut self.bytes, entries_len.into());
        self.bytes.put_slice(meta);
        self.records += 1;
    }

    /// Room of this length that is skipped, its header included.
    pub fn push_skip(&mut self, len: u32) {
        self.push(RecordKind::Skip, 0, &[], len.saturating_sub(HEADER_LEN as u32));
    }

    /// Bytes that are damaged.
    pub fn push_damaged(&mut self, len: u32) {
        self.bytes.put_u8(DAMAGED);
        varint::put(&mut self.bytes, len.into());
    }

    /// Where it stands now, for [`IndexBuilder::truncate`].
    pub fn mark(&self) -> IndexMark {
        IndexMark { len: self.bytes.len(), records: self.records }
    }

    /// Forgets what was pushed since it stood there.
    pub fn truncate(&mut self, mark: IndexMark) {
        self.bytes.truncate(mark.len);
        self.records = mark.records;
    }

    /// Records pushed.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// The entries that it has, to be read as from a file.
    pub fn reader(&self) -> IndexReader<'_> {
        IndexReader::new(&self.bytes)
    }

    /// The last bytes of the segment: they belong at `offset`, right behind the last record, and the file ends with them.
    pub fn finish(self, nonce: Nonce, offset: u32) -> Bytes {
        let IndexBuilder { bytes, records } = self;
        let mut head = RecordHeader::unsealed(RecordKind::Index, 0, 0, bytes.len() as u32);
        seal(&mut head, nonce, offset, offset, [&bytes[..]]);
        let mut out = BytesMut::with_capacity(HEADER_LEN + bytes.len() + TRAILER_LEN);
        out.put_slice(&head);
        out.put_slice(&bytes);
        let trailer = Trailer { index_offset: offset, records };
        out.put_slice(&trailer.encode(nonce));
        out.freeze()
    }
}

const DAMAGED: u8 = 0;

/// The last bytes of a sealed segment: where its index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the index record begins: the end of the records.
    pub index_offset: u32,
    /// How many records there are, skipped ones included.
    pub records: u32,
}

impl Trailer {
    fn encode(self, nonce: Nonce) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[..4].copy_from_slice(&nonce.mark());
        bytes[4..8].copy_from_slice(&self.index_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.records.to_be_bytes());
        let checksum = nonce.checksum(&bytes[..12]);
        bytes[12..].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads the last [`TRAILER_LEN`] bytes of a file; none if it is not sealed.
    pub fn read(bytes: &[u8], nonce: Nonce) -> Option<Trailer> {
        let bytes: &[u8; TRAILER_LEN] = bytes.try_into().ok()?;
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let is_ours = bytes[..4] == nonce.mark() && number(12) == nonce.checksum(&bytes[..12]);
        is_ours.then(|| Trailer { index_offset: number(4), records: number(8) })
    }
}

/// Reads the entries of an index.
#[derive(Clone, Copy, Debug)]
pub struct IndexReader<'a> {
    input: varint::Cursor<'a>,
    offset: u64,
}

impl<'a> IndexReader<'a> {
    /// A reader of an index record's entries, which must have been checked.
    pub fn new(bytes: &'a [u8]) -> Self {
        IndexReader { input: varint::Cursor(bytes), offset: RECORDS_START.into() }
    }

    /// The next stretch, if there is one. After the last, [`IndexReader::offset`] must be where the index begins.
    ///
    /// # Errors
    /// The index makes no sense.
    pub fn next_entry(&mut self) -> Result<Option<IndexEntry<'a>>, super::record::RecordError> {
        if self.input.0.is_empty() {
            return Ok(None);
        }
        let offset = u32::try_from(self.offset).map_err(|_| super::record::MetaError::Number)?;
        let input = &mut self.input;
        let number = input.byte()?;
        let entry = if number == DAMAGED {
            let len = input.number_u32()?;
            self.offset += u64::from(len);
            IndexEntry { offset, kind: IndexedKind::Damaged, shard: 0, meta: &[], entries_len: len }
        } else {
            let kind = match RecordKind::from_number(number)? {
                RecordKind::Skip => IndexedKind::Skip,
                kind => IndexedKind::Parts(kind),
            };
            let shard = u16::try_from(input.number()?).map_err(|_| super::record::MetaError::Number)?;
            let meta_len = input.number_u32()?;
            let entries_len = input.number_u32()?;
            let meta = input.take(meta_len as usize)?;
            self.offset += HEADER_LEN as u64 + u64::from(meta_len) + u64::from(entries_len);
            IndexEntry { offset, kind, shard, meta, entries_len }
        };
        Ok(Some(entry))
    }

    /// Where the next stretch begins in the file.
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            id: SegmentId(7),
            nonce: Nonce::new(0x1234_5678_9abc_def0),
            created_at: Timestamp::from_millis(1_767_225_600_000),
            next_lsn: Lsn(1 << 40),
            previous: (SegmentId(6), 4096),
        }
    }

    #[test]
    fn names_say_the_number_in_one_way() {
        assert_eq!(file_name(SegmentId(12)), "journal-0000000012.seg");
        assert_eq!(segment_of("journal-0000000012.seg"), Some(SegmentId(12)));
        assert_eq!(segment_of(&file_name(SegmentId(u32::MAX))), Some(SegmentId(u32::MAX)));
        for other in
            ["journal-12.seg", "journal-00000000012.seg", "journal-+000000012.seg", "overflow-0000000012.seg"]
        {
            assert_eq!(segment_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_survives_the_loss_of_either_copy() {
        let whole = header().encode();
        assert_eq!(SegmentHeader::read(&whole), Ok(header()));
        assert!(SegmentHeader::has_both_copies(&whole));
        for place in 0..whole.len() {
            let mut bytes = whole;
            bytes[place] ^= 0x10;
            assert_eq!(SegmentHeader::read(&bytes), Ok(header()), "byte {place}");
            assert!(!SegmentHeader::has_both_copies(&bytes), "byte {place}");
        }
    }

    #[test]
    fn a_header_without_a_whole_copy_is_damaged_and_a_newer_one_is_named() {
        let whole = header().encode();
        let mut bytes = whole;
        bytes[3] ^= 1;
        bytes[67] ^= 1;
        assert_eq!(SegmentHeader::read(&bytes), Err(SegmentError::Header));
        assert_eq!(SegmentHeader::read(&whole[..63]), Err(SegmentError::Header));
        assert_eq!(SegmentHeader::read(&[]), Err(SegmentError::Header));
        let mut newer = whole;
        newer[9] = 2;
        let checksum = crc32c::crc32c(&newer[..60]);
        newer[60..64].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(SegmentHeader::read(&newer), Err(SegmentError::Version(2)));
    }

    #[test]
    fn an_index_gives_back_every_stretch_with_its_place() {
        let nonce = header().nonce;
        let mut index = IndexBuilder::new();
        index.push(RecordKind::Unit, 3, b"meta", 1000);
        index.push_skip(500);
        index.push_damaged(77);
        index.push(RecordKind::Snapshot, 0, b"", 0);
        let end = RECORDS_START + (32 + 4 + 1000) + 500 + 77 + 32;
        let bytes = index.finish(nonce, end);

        let trailer = Trailer::read(&bytes[bytes.len() - TRAILER_LEN..], nonce).unwrap();
        assert_eq!(trailer, Trailer { index_offset: end, records: 3 });
        let head = RecordHeader::read(&bytes, nonce, end).unwrap();
        assert_eq!((head.kind, head.safe), (RecordKind::Index, end));
        let entries = &bytes[HEADER_LEN..][..head.entries_len as usize];
        head.check_entries(nonce, entries).unwrap();
        let mut reader = IndexReader::new(entries);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            found.push((entry.offset, entry.kind, entry.shard, entry.meta, entry.entries_len));
        }
        assert_eq!(
            found,
            [
                (128, IndexedKind::Parts(RecordKind::Unit), 3, &b"meta"[..], 1000),
                (1164, IndexedKind::Skip, 0, b"", 468),
                (1664, IndexedKind::Damaged, 0, b"", 77),
                (1741, IndexedKind::Parts(RecordKind::Snapshot), 0, b"", 0),
            ]
        );
        assert_eq!(reader.offset(), u64::from(end));
    }

    #[test]
    fn a_trailer_of_another_segment_is_none() {
        let nonce = header().nonce;
        let bytes = IndexBuilder::new().finish(nonce, 128);
        let trailer = &bytes[bytes.len() - TRAILER_LEN..];
        assert!(Trailer::read(trailer, nonce).is_some());
        assert_eq!(Trailer::read(trailer, Nonce::new(1)), None);
        assert_eq!(Trailer::read(&trailer[1..], nonce), None);
    }
}
