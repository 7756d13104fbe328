//! Damage: what is wrong, and where.

use std::fmt;

use crate::model::{Lsn, SegmentId};
use crate::store::record::RecordError;
use crate::store::segment::{SegmentError, file_name};

/// Most places of damage that are listed; what follows is counted in the last.
pub(in crate::store) const DAMAGE_MAX: usize = 1000;

/// Something that was safe and is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: SegmentId,
    /// Where in its file.
    pub offset: u32,
    /// How many bytes are not trusted: a record, or all up to the next one that is whole.
    pub len: u64,
    /// What is wrong.
    pub kind: DamageKind,
    /// The first and the last of the messages that are published there, if that is known.
    pub messages: Option<(Lsn, Lsn)>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// One copy of a segment's header; the other is whole.
    SpareHeader,
    /// The header of a segment.
    Header(SegmentError),
    /// The header belongs to another segment.
    OtherSegment(SegmentId),
    /// A record.
    Record(RecordError),
    /// The index of a segment. Its records are read instead.
    Index,
    /// Records are missing at the end of a segment.
    Missing,
    /// An earlier start went on without these bytes.
    LeftOut,
    /// The index says something else than the record.
    IndexDiffers,
    /// An entry of a record is none, or is longer or shorter than the metadata say.
    Entry,
    /// More places than are listed.
    More,
}

impl Damage {
    pub(in crate::store) fn new(segment: SegmentId, offset: u32, len: u64, kind: DamageKind) -> Self {
        Damage { segment, offset, len, kind, messages: None }
    }

    pub(in crate::store) fn push(list: &mut Vec<Damage>, damage: Damage) {
        match list.len() {
            0..DAMAGE_MAX => list.push(damage),
            DAMAGE_MAX => list.push(Damage { kind: DamageKind::More, messages: None, ..damage }),
            _ => {}
        }
    }

    /// Whether messages may be lost by it (or such as were settled come back).
    pub fn is_loss(&self) -> bool {
        !matches!(
            self.kind,
            DamageKind::SpareHeader | DamageKind::Index | DamageKind::LeftOut | DamageKind::IndexDiffers
        )
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { segment, offset, len, kind, messages } = self;
        let file = file_name(*segment);
        match kind {
            DamageKind::SpareHeader => {
                write!(f, "{file}: one copy of its header is damaged, the other is used")
            }
            DamageKind::Header(error) => write!(f, "{file}: {error}"),
            DamageKind::OtherSegment(other) => write!(f, "{file}: its header is that of segment {other}"),
            DamageKind::Index => {
                write!(f, "{file}: its index at {offset} is damaged, its records are read instead")
            }
            DamageKind::Missing => write!(f, "{file}: {len} bytes of records are missing from {offset} on"),
            DamageKind::LeftOut => {
                write!(f, "{file}: {len} bytes at {offset} were damaged at an earlier start and left out")
            }
            DamageKind::Record(error) => {
                write!(f, "{file}: the record at {offset} ({len} bytes) is damaged: {error}")
            }
            DamageKind::IndexDiffers => {
                write!(f, "{file}: the record at {offset} ({len} bytes) is not what the index says")
            }
            DamageKind::Entry => write!(
                f,
                "{file}: the record at {offset} ({len} bytes) is damaged: a message in it makes no sense"
            ),
            DamageKind::More => write!(
                f,
                "{file}: more than {DAMAGE_MAX} places are damaged; from {offset} on they are not listed"
            ),
        }?;
        match messages {
            Some((first, last)) if first == last => write!(f, " (message {first})"),
            Some((first, last)) => write!(f, " (messages {first} to {last})"),
            None => Ok(()),
        }
    }
}
