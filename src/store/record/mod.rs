//! Records of the journal, as bytes. `FORMAT.md`, in the folder above, draws them.
//!
//! A record is a header of [`HEADER_LEN`] bytes, metadata (who was published where, settled, returned) and entries
//! (the messages, verbatim). It is made in two steps: [`RecordWriter`] encodes it when it is appended, and [`seal`] adds
//! what is known only when it is written: checksums, and up to where the segment is safe by then.
//!
//! Invariants: reading is total — any bytes give a value or an error, in memory bounded by the length of the input and
//! [`PART_MESSAGES_MAX`]; a record counts only at the offset it was sealed for, in the segment it was sealed for.
//! Not here: files (`segment`), what records mean together (`recovery`).

mod reader;
pub(super) mod varint;
mod writer;

use thiserror::Error;

pub use reader::{MetaPart, MetaReader, MetaScratch, PublishedPart, RouteRow, Routes};
pub use writer::{EncodedRecord, PublishFields, RecordTooLong, RecordWriter};

/// Bytes of a record in front of its metadata.
pub const HEADER_LEN: usize = 32;
/// Version of the records that are written.
pub const RECORD_VERSION: u8 = 1;
/// Most bytes of a record: offsets are 32-bit, and a record lies in one segment.
pub const RECORD_LEN_MAX: u64 = 1 << 31;
/// Most messages in one publish part: twice what a batch may have. Bounds what reading a part costs.
pub const PART_MESSAGES_MAX: usize = 1 << 17;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Things that happened together.
    Unit,
    /// Room that was promised to a record which was settled before it was written. Its bytes mean nothing.
    Skip,
    /// Complete settled sets of older segments, and what is known of returned messages in them: the parts of a unit.
    Snapshot,
    /// The index of a sealed segment: its last record.
    Index,
}

impl RecordKind {
    pub(super) const fn number(self) -> u8 {
        match self {
            RecordKind::Unit => 1,
            RecordKind::Skip => 2,
            RecordKind::Snapshot => 3,
            RecordKind::Index => 4,
        }
    }

    pub(super) const fn from_number(number: u8) -> Result<Self, RecordError> {
        match number {
            1 => Ok(RecordKind::Unit),
            2 => Ok(RecordKind::Skip),
            3 => Ok(RecordKind::Snapshot),
            4 => Ok(RecordKind::Index),
            // For a log that several machines keep: see FORMAT.md.
            16 => Err(RecordError::Reserved("term")),
            17 => Err(RecordError::Reserved("vote")),
            18 => Err(RecordError::Reserved("truncation")),
            19 => Err(RecordError::Reserved("snapshot reference")),
            other => Err(RecordError::Kind(other)),
        }
    }
}

/// A segment's secret: records are sealed with it, so bytes that a peer sends can never pass for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(u64);

impl Nonce {
    /// A nonce from random bits. Its upper half is never zero: zeros must not look like a record.
    pub const fn new(random: u64) -> Self {
        if random >> 32 == 0 { Nonce(random | 0x5249_414c << 32) } else { Nonce(random) }
    }

    /// Its bits.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// What every record of the segment begins with.
    pub const fn mark(self) -> [u8; 4] {
        ((self.0 >> 32) as u32).to_be_bytes()
    }

    /// A checksum that only who knows the nonce can make.
    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0 as u32, bytes)
    }

    fn header_checksum(self, offset: u32, header: &[u8]) -> u32 {
        crc32c::crc32c_append(self.checksum(&offset.to_be_bytes()), header)
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// There are fewer than it says.
    #[error("it ends early")]
    Short,
    /// They don't begin like one.
    #[error("no record begins there")]
    Mark,
    /// The header is not what was written.
    #[error("the checksum of its header is wrong")]
    HeaderChecksum,
    /// The metadata are not what was written.
    #[error("the checksum of its metadata is wrong")]
    MetaChecksum,
    /// The entries are not what was written.
    #[error("the checksum of its messages is wrong")]
    EntriesChecksum,
    /// A version that this program does not know.
    #[error("it has version {0}, which only a newer program can read")]
    Version(u8),
    /// A kind that this program does not know.
    #[error("it is of kind {0}, which only a newer program can read")]
    Kind(u8),
    /// A kind that no version writes yet.
    #[error("it is a {0} record, which only a newer program can read")]
    Reserved(&'static str),
    /// The metadata make no sense, though their checksum is right.
    #[error("its metadata are wrong: {0}")]
    Meta(#[from] MetaError),
}

impl RecordError {
    /// Whether the bytes are whole and it is the program that is too old.
    pub const fn is_newer(self) -> bool {
        matches!(self, RecordError::Version(_) | RecordError::Kind(_) | RecordError::Reserved(_))
    }
}

/// Why metadata make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// A value goes on behind the end.
    #[error("they end early")]
    Short,
    /// A number is larger than it may be.
    #[error("a number is too large")]
    Number,
    /// A part of a kind that is not known.
    #[error("there is a part of the unknown kind {0}")]
    Part(u8),
    /// Counts that do not agree.
    #[error("counts disagree: {0}")]
    Count(&'static str),
    /// A name that is none.
    #[error("a name is too long or no text")]
    Name,
}

/// The first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What it is.
    pub kind: RecordKind,
    /// The shard that it belongs to. 0 on one machine.
    pub shard: u16,
    /// Bytes of metadata.
    pub meta_len: u32,
    /// Bytes of entries.
    pub entries_len: u32,
    /// Up to where this segment (and every older one) was known to be safe when the record was written; 0: perhaps an
    /// older one was not yet.
    pub safe: u32,
    meta_checksum: u32,
    entries_checksum: u32,
}

impl RecordHeader {
    /// Reads the header of the record at `offset`.
    ///
    /// # Errors
    /// No record of this segment begins there, or only a newer program can read it.
    pub fn read(bytes: &[u8], nonce: Nonce, offset: u32) -> Result<RecordHeader, RecordError> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(RecordError::Short)?;
        if bytes[..4] != nonce.mark() {
            return Err(RecordError::Mark);
        }
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if number(28) != nonce.header_checksum(offset, &bytes[..28]) {
            return Err(RecordError::HeaderChecksum);
        }
        if bytes[4] != RECORD_VERSION {
            return Err(RecordError::Version(bytes[4]));
        }
        Ok(RecordHeader {
            kind: RecordKind::from_number(bytes[5])?,
            shard: u16::from_be_bytes([bytes[6], bytes[7]]),
            meta_len: number(8),
            entries_len: number(12),
            safe: number(16),
            meta_checksum: number(20),
            entries_checksum: number(24),
        })
    }

    /// The bytes of a header that only lacks what [`seal`] adds.
    pub(super) fn unsealed(
        kind: RecordKind,
        shard: u16,
        meta_len: u32,
        entries_len: u32,
    ) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        head[4] = RECORD_VERSION;
        head[5] = kind.number();
        head[6..8].copy_from_slice(&shard.to_be_bytes());
        head[8..12].copy_from_slice(&meta_len.to_be_bytes());
        head[12..16].copy_from_slice(&entries_len.to_be_bytes());
        head
    }

    /// Bytes of the whole record.
    pub const fn len(&self) -> u64 {
        HEADER_LEN as u64 + self.meta_len as u64 + self.entries_len as u64
    }

    /// Whether it has no bytes: never, it has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Checks the metadata.
    ///
    /// # Errors
    /// They are not what was written.
    pub fn check_meta(&self, nonce: Nonce, meta: &[u8]) -> Result<(), RecordError> {
        match meta.len() == self.meta_len as usize && nonce.checksum(meta) == self.meta_checksum {
            true => Ok(()),
            false => Err(RecordError::MetaChecksum),
        }
    }

    /// Checks all the entries.
    ///
    /// # Errors
    /// They are not what was written.
    pub fn check_entries(&self, nonce: Nonce, entries: &[u8]) -> Result<(), RecordError> {
        match entries.len() == self.entries_len as usize {
            true => self.check_entries_checksum(nonce.checksum(entries)),
            false => Err(RecordError::EntriesChecksum),
        }
    }

    pub(super) fn check_entries_checksum(&self, checksum: u32) -> Result<(), RecordError> {
        // Room that was skipped was never written.
        match self.kind == RecordKind::Skip || checksum == self.entries_checksum {
            true => Ok(()),
            false => Err(RecordError::EntriesChecksum),
        }
    }
}

/// Finishes a record that is about to be written at `offset`: `head` is its header and metadata as they were encoded,
/// `entries` the rest of it in as many pieces as there are. `safe` is told in [`RecordHeader::safe`].
pub fn seal<'a>(
    head: &mut [u8],
    nonce: Nonce,
    offset: u32,
    safe: u32,
    entries: impl IntoIterator<Item = &'a [u8]>,
) {
    let (header, meta) = head.split_first_chunk_mut::<HEADER_LEN>().expect("a record has a header");
    let mut entries_checksum = nonce.0 as u32;
    for piece in entries {
        entries_checksum = crc32c::crc32c_append(entries_checksum, piece);
    }
    header[..4].copy_from_slice(&nonce.mark());
    header[16..20].copy_from_slice(&safe.to_be_bytes());
    header[20..24].copy_from_slice(&nonce.checksum(meta).to_be_bytes());
    header[24..28].copy_from_slice(&entries_checksum.to_be_bytes());
    let checksum = nonce.header_checksum(offset, &header[..28]);
    header[28..].copy_from_slice(&checksum.to_be_bytes());
}

/// A whole record that says: skip `len` bytes from my first one on. `len` is at least [`HEADER_LEN`]; the rest of it need
/// not be written.
pub fn skip(len: u32, nonce: Nonce, offset: u32, safe: u32) -> [u8; HEADER_LEN] {
    let rest = len.checked_sub(HEADER_LEN as u32).expect("a record that is skipped had a header");
    let mut head = RecordHeader::unsealed(RecordKind::Skip, 0, 0, rest);
    seal(&mut head, nonce, offset, safe, []);
    head
}

#[cfg(test)]
mod tests;
