//! Recovery: what a folder of segments says is in the queues. `FORMAT.md` has the rules.
//!
//! Reads only; [`Recovered::mend`] writes, and must have run before anything is appended. First every segment is opened, from
//! the newest to the oldest (`open`, `scan`): what is sealed by its index, the others record by record, which finds the torn tail and
//! damage. Then all metadata are folded twice (`fold`): who is settled, then who is left.
//!
//! Invariants: any bytes give an answer, never a panic, in memory bounded by the size of one segment's metadata, the sets of
//! settled messages and [`RESTORED_RUN_MEMORY`] for each run that is left; the same folder gives the same answer.
//! Not here: which queues there are (the caller says), where their messages wait then.

mod damage;
mod fold;
mod mend;
mod open;
mod restored;
mod scan;
pub mod testing;
#[cfg(test)]
mod tests;

use std::io;

use ahash::AHashMap;
use roaring::RoaringTreemap;
use thiserror::Error;

pub use damage::{Damage, DamageKind};
pub use restored::{RESTORED_RUN_MEMORY, RestoredQueue, RestoredRuns};

pub(super) use open::{OpenSegment, Opened, open};
pub(super) use scan::Window;

use super::disk::Disk;
use super::record::RecordError;
use super::segment::file_name;
use crate::model::{Lsn, QueueId, Returned, SegmentId};

/// What recovery does about damage: see `FORMAT.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It fails, and names all of it.
    #[default]
    Refuse,
    /// It goes on without what is lost, and reports it.
    Skip,
}

/// What the caller decides.
pub struct RecoveryOptions<'a> {
    /// What to do about damage.
    pub on_damage: OnDamage,
    /// Whether a queue exists. Messages of all others are dead. Asked once for each queue that the journal names.
    pub exists: &'a dyn Fn(QueueId) -> bool,
}

/// How far recovery has come. Every segment is looked at three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Looks done.
    pub done: u64,
    /// Looks to do.
    pub of: u64,
    /// Messages found so far that are left in a queue.
    pub messages: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// The first LSN that no message ever had.
    pub next_lsn: Lsn,
    /// The first number that no segment ever had.
    pub next_segment: SegmentId,
    /// The newest segment and where its records end: what the next segment's header says of it.
    pub newest: Option<(SegmentId, u32)>,
    /// All segments, by number. Those that will be removed are not among them.
    pub segments: Vec<RecoveredSegment>,
    /// What is left in the queues.
    pub queues: AHashMap<QueueId, RestoredQueue>,
    /// Damage that was found.
    pub damage: Vec<Damage>,
    /// The torn tail.
    pub cut: Option<Cut>,
    mending: mend::Mending,
}

/// A tail that was never confirmed and is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: SegmentId,
    /// Where it is cut.
    pub offset: u32,
    /// Bytes behind that, zeros not counted at the end.
    pub bytes: u64,
    /// Newer segments that are removed.
    pub removed: Vec<SegmentId>,
}

/// What the journal must know of a segment to account for its space.
#[derive(Clone, Debug)]
pub struct RecoveredSegment {
    /// Its number.
    pub id: SegmentId,
    /// Its header.
    pub header: super::segment::SegmentHeader,
    /// Where its records end.
    pub end: u32,
    /// Bytes of its file, before it is mended.
    pub file_len: u64,
    /// Records in it.
    pub records: u64,
    /// Messages published in it, counted once for each queue that exists.
    pub total: u64,
    /// Those of them that are left here.
    pub live: u64,
    /// Bytes of the entries of those that are left here, counted once for each queue.
    pub live_bytes: u64,
    /// The messages published in it, by queue. Queues that do not exist are not among them.
    pub queues: AHashMap<QueueId, RecoveredPairs>,
    /// Of the messages left here: those that came back, and how often.
    pub returned: Vec<(QueueId, Returned)>,
    /// Older or newer segments that it has settlements or returns about, of queues that exist. They may be gone. In order.
    pub about: Vec<SegmentId>,
    /// Messages in it also stand in a newer one: the last process was about to copy what was left here and delete it. Must be
    /// emptied and deleted before any other segment is, since what settles the copy may be said to be about the other.
    pub is_half_copied: bool,
}

/// Messages of one queue that were published in one segment, by LSN. Those that are alive in a newer segment are in neither set.
#[derive(Clone, Debug, Default)]
pub struct RecoveredPairs {
    /// Those that are left here.
    pub live: RoaringTreemap,
    /// Those that are settled, wherever that is said.
    pub settled: RoaringTreemap,
    /// Those that stand in a newer segment as well.
    pub copied: RoaringTreemap,
}

/// Why the journal cannot be recovered.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The disk fails.
    #[error("cannot read the journal: {}: {error}", .file.as_deref().unwrap_or("the data folder"))]
    Disk {
        /// The file; none: the folder.
        file: Option<String>,
        /// What the disk says.
        error: io::Error,
    },
    /// Something that was safe is not whole.
    #[error(
        "the journal is damaged: {}{}; restore a backup, or set store.on_damage = \"skip\" to start without what is lost",
        .0[0], more(.0.len() - 1)
    )]
    Damaged(Vec<Damage>),
    /// A newer program wrote it.
    #[error("{} at {offset}: {what}; start the version of Rialto that wrote it", file_name(*.segment))]
    Newer {
        /// The segment.
        segment: SegmentId,
        /// Where in it.
        offset: u32,
        /// What this program does not know.
        what: String,
    },
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more)") }
}

impl RecoveryError {
    pub(super) fn disk(file: Option<String>) -> impl FnOnce(io::Error) -> RecoveryError {
        move |error| RecoveryError::Disk { file, error }
    }

    pub(super) fn newer(segment: SegmentId, offset: u32, what: impl ToString) -> RecoveryError {
        RecoveryError::Newer { segment, offset, what: what.to_string() }
    }

    /// An error of a read that the disk answered.
    pub(super) fn is_newer(segment: SegmentId, offset: u32, error: RecordError) -> Option<RecoveryError> {
        error.is_newer().then(|| RecoveryError::newer(segment, offset, error))
    }
}

/// Reads a journal.
///
/// # Errors
/// See [`RecoveryError`]; nothing was changed.
pub fn recover(
    disk: &dyn Disk,
    options: &RecoveryOptions<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, RecoveryError> {
    let mut opened = open(disk, progress)?;
    let folded = fold::fold(disk, &mut opened, options, progress)?;
    let Opened { segments, damage, cut, removed, set_aside, highest } = opened;
    let is_lost = damage.iter().any(Damage::is_loss);
    if is_lost && options.on_damage == OnDamage::Refuse {
        // What is lost first: the one that is named must be a reason.
        let (mut lost, other): (Vec<_>, Vec<_>) = damage.into_iter().partition(Damage::is_loss);
        lost.extend(other);
        return Err(RecoveryError::Damaged(lost));
    }
    let newest = segments.last().map(|segment| (segment.id, segment.end));
    let next_segment = SegmentId(highest.0.saturating_add(1));
    Ok(Recovered {
        next_lsn: folded.next_lsn,
        next_segment,
        newest,
        segments: folded.segments,
        queues: folded.queues,
        damage,
        cut,
        mending: mend::Mending::new(segments, removed, set_aside),
    })
}
