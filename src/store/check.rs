//! Checks a data folder byte by byte, and counts what is in it. Reads only.
//!
//! Recovery trusts an index and what a checksum vouches for; a check reads every message, too.
//! Not here: the catalog, what the command line prints.

use rialto_protocol::native::ENTRY_HEADER_LEN;

use super::disk::Disk;
use super::record::{HEADER_LEN, MetaPart, MetaReader, MetaScratch, RecordError, RecordHeader};
use super::recovery::{
    Cut, Damage, DamageKind, OpenSegment, Progress, Recovered, RecoveryError, Window, open,
};
use super::segment::{IndexEntry, IndexedKind, file_name};
use crate::model::{Lsn, QueueId, SegmentId, Timestamp};

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Segments that could be read.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Messages published in them, settled or not, each counted once for each record it is in.
    pub messages: u64,
    /// All that is wrong, by segment and offset.
    pub damage: Vec<Damage>,
    /// A torn tail, as a crash leaves it: the next start cuts it. No damage.
    pub cut: Option<Cut>,
}

/// Checks the journal in a folder.
///
/// # Errors
/// The disk fails, or a newer program wrote it. Damage is no error: see [`Checked::damage`].
pub fn check(disk: &dyn Disk, progress: &mut dyn FnMut(Progress)) -> Result<Checked, RecoveryError> {
    let mut opened = open(disk, &mut |_| {})?;
    let mut checked = Checked { damage: std::mem::take(&mut opened.damage), ..Checked::default() };
    let of = opened.segments.iter().map(|segment| segment.file_len).sum();
    let mut buffer = Vec::new();
    for segment in &mut opened.segments {
        progress(Progress { done: checked.bytes, of, messages: checked.messages });
        if segment.index(disk, &mut buffer)?.is_none() {
            segment.rebuild(disk, &mut checked.damage)?;
        }
        check_segment(disk, segment, &mut buffer, &mut checked)?;
        checked.segments += 1;
        checked.bytes += segment.file_len;
    }
    progress(Progress { done: of, of, messages: checked.messages });
    checked.damage.sort_by_key(|damage| (damage.segment, damage.offset));
    checked.cut = opened.cut;
    Ok(checked)
}

fn check_segment(
    disk: &dyn Disk,
    segment: &OpenSegment,
    buffer: &mut Vec<u8>,
    checked: &mut Checked,
) -> Result<(), RecoveryError> {
    let id = segment.id;
    let mut window = Window::new(segment.open(disk)?, segment.file_len);
    let mut scratch = MetaScratch::default();
    let Some(mut index) = segment.index(disk, buffer)? else { return Ok(()) };
    loop {
        let offset = index.offset().min(u32::MAX.into()) as u32;
        let entry = match index.next_entry() {
            Ok(None) => return Ok(()),
            Ok(Some(entry)) => entry,
            Err(error) => {
                let len = u64::from(segment.end.saturating_sub(offset));
                Damage::push(&mut checked.damage, Damage::new(id, offset, len, DamageKind::Record(error)));
                return Ok(());
            }
        };
        let len = index.offset() - u64::from(offset);
        let found = match entry.kind {
            // What was found now is told already.
            IndexedKind::Damaged if segment.is_sealed() => Err(DamageKind::LeftOut),
            IndexedKind::Damaged => Ok(()),
            IndexedKind::Skip | IndexedKind::Parts(_) => {
                checked.records += 1;
                let found = check_record(segment, &entry, &mut window, &mut scratch);
                found.map_err(RecoveryError::disk(Some(file_name(id))))?
            }
        };
        let (messages, count) = messages_of(&entry, &mut scratch);
        checked.messages += count;
        if let Err(kind) = found {
            Damage::push(&mut checked.damage, Damage { messages, ..Damage::new(id, offset, len, kind) });
        }
    }
}

/// The first and last message that a record publishes, and how many there are; as far as it can be read.
fn messages_of(entry: &IndexEntry<'_>, scratch: &mut MetaScratch) -> (Option<(Lsn, Lsn)>, u64) {
    let mut reader = MetaReader::new(entry.meta, entry.entries_len);
    let (mut span, mut count): (Option<(Lsn, Lsn)>, u64) = (None, 0);
    while let Ok(Some(part)) = reader.next(scratch) {
        let MetaPart::Publish(part) = part else { continue };
        count += part.messages.len() as u64;
        if let [first, ..] = part.messages
            && let [.., last] = part.messages
        {
            let (low, high) = span.unwrap_or((first.lsn, last.lsn));
            span = Some((low.min(first.lsn), high.max(last.lsn)));
        }
    }
    (span, count)
}

fn check_record(
    segment: &OpenSegment,
    entry: &IndexEntry<'_>,
    window: &mut Window,
    scratch: &mut MetaScratch,
) -> std::io::Result<Result<(), DamageKind>> {
    let nonce = segment.header.nonce;
    let at = u64::from(entry.offset);
    let header = match RecordHeader::read(window.get(at, HEADER_LEN)?, nonce, entry.offset) {
        Ok(header) => header,
        Err(error) => return Ok(Err(DamageKind::Record(error))),
    };
    let meta = window.get(at + HEADER_LEN as u64, header.meta_len as usize)?;
    if let Err(error) = header.check_meta(nonce, meta) {
        return Ok(Err(DamageKind::Record(error)));
    }
    let is_same_kind = match entry.kind {
        IndexedKind::Parts(kind) => kind == header.kind,
        IndexedKind::Skip => header.kind == super::record::RecordKind::Skip,
        IndexedKind::Damaged => false,
    };
    if !is_same_kind || meta != entry.meta || header.entries_len != entry.entries_len {
        return Ok(Err(DamageKind::IndexDiffers));
    }
    if entry.kind == IndexedKind::Skip {
        return Ok(Ok(()));
    }
    let entries = at + HEADER_LEN as u64 + u64::from(header.meta_len);
    let checksum = window.checksum(nonce, entries, header.entries_len.into())?;
    if let Err(error) = header.check_entries_checksum(checksum) {
        return Ok(Err(DamageKind::Record(error)));
    }
    check_parts(entry, entries, window, scratch)
}

/// Whether the parts make sense, and every message is an entry as long as they say.
fn check_parts(
    entry: &IndexEntry<'_>,
    entries: u64,
    window: &mut Window,
    scratch: &mut MetaScratch,
) -> std::io::Result<Result<(), DamageKind>> {
    let mut reader = MetaReader::new(entry.meta, entry.entries_len);
    loop {
        let part = match reader.next(scratch) {
            Ok(None) => return Ok(Ok(())),
            Ok(Some(part)) => part,
            Err(error) => return Ok(Err(DamageKind::Record(RecordError::Meta(error)))),
        };
        let MetaPart::Publish(part) = part else { continue };
        let mut at = entries + u64::from(part.base);
        for message in part.messages {
            let head: Option<&[u8; ENTRY_HEADER_LEN]> = window.get(at, ENTRY_HEADER_LEN)?.first_chunk();
            let Some([flags, p0, p1, p2, p3, b0, b1, b2, b3]) = head.copied() else {
                return Ok(Err(DamageKind::Entry));
            };
            let properties_len = u64::from(u32::from_be_bytes([p0, p1, p2, p3]));
            let body_len = u32::from_be_bytes([b0, b1, b2, b3]);
            let len = ENTRY_HEADER_LEN as u64 + properties_len + u64::from(body_len);
            // What is stored was published, and a published entry has no flags.
            if flags != 0 || len != u64::from(message.entry_len) || body_len != message.body_len {
                return Ok(Err(DamageKind::Entry));
            }
            at += len;
        }
    }
}

/// What is in a data folder, in numbers.
#[derive(Clone, Debug, Default)]
pub struct DataStats {
    /// The segments, by number.
    pub segments: Vec<SegmentStats>,
    /// The queues that hold messages, by id.
    pub queues: Vec<QueueStats>,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes that are not of messages that are left: what deleting and copying could give back at most.
    pub reclaimable_bytes: u64,
    /// The next LSN.
    pub next_lsn: Lsn,
}

/// A segment, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStats {
    /// Its number.
    pub id: SegmentId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Bytes of its file.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Messages, counted once for each queue.
    pub total: u64,
    /// Those that are left.
    pub live: u64,
    /// Bytes of those.
    pub live_bytes: u64,
}

/// A queue, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct QueueStats {
    /// The queue.
    pub id: QueueId,
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Runs: a queue needs some memory for each.
    pub runs: u64,
}

impl DataStats {
    /// Of what recovery found.
    pub fn of(recovered: &Recovered) -> DataStats {
        let segments: Vec<_> = recovered
            .segments
            .iter()
            .map(|segment| SegmentStats {
                id: segment.id,
                created_at: segment.header.created_at,
                bytes: segment.file_len,
                records: segment.records,
                total: segment.total,
                live: segment.live,
                live_bytes: segment.live_bytes,
            })
            .collect();
        let mut queues: Vec<_> = recovered
            .queues
            .iter()
            .map(|(id, queue)| QueueStats {
                id: *id,
                messages: queue.messages(),
                body_bytes: queue.body_bytes(),
                runs: queue.runs() as u64,
            })
            .collect();
        queues.sort_unstable_by_key(|queue| queue.id);
        DataStats {
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            // A message of many queues is stored once.
            reclaimable_bytes: segments
                .iter()
                .map(|segment| segment.bytes.saturating_sub(segment.live_bytes))
                .sum(),
            segments,
            queues,
            next_lsn: recovered.next_lsn,
        }
    }
}
