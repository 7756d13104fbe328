//! Which segments a backup takes, and how much of each.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::files::at;
use crate::model::{Location, SegmentId};
use crate::store::segment::{RECORDS_START, SegmentHeader, TRAILER_LEN, Trailer, file_name, segment_of};

/// A segment that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Bytes that count. None: all of it, for it is sealed.
    pub(super) end: Option<u64>,
}

/// The segments of a folder up to a place in the journal. Deletions must be held.
pub(super) fn committed(data: &Path, end: Location) -> io::Result<Vec<Segment>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(data).map_err(|error| at(data, error))? {
        let name = entry.map_err(|error| at(data, error))?.file_name();
        ids.extend(name.to_str().and_then(segment_of).filter(|id| *id <= end.segment));
    }
    ids.sort_unstable();
    let looks = ids.iter().map(|&id| look(data, id)).collect::<io::Result<Vec<_>>>()?;
    let segments = ids.iter().zip(&looks).enumerate().map(|(number, (&id, looked))| {
        // The next one says where the records of this one end: what is behind may be half an index.
        let next = looks.get(number + 1).and_then(|next| next.header.as_ref()).map(|header| header.previous);
        let end = match (id == end.segment, looked.is_sealed) {
            (true, _) => Some(end.offset.into()),
            (false, true) => None,
            (false, false) => Some(match next {
                Some((previous, end)) if previous == id => end.into(),
                _ => u64::MAX,
            }),
        };
        Segment { name: file_name(id), end }
    });
    Ok(segments.collect())
}

struct Look {
    /// None: it is damaged. It is taken as it is, for whoever restores it to decide about.
    header: Option<SegmentHeader>,
    is_sealed: bool,
}

fn look(data: &Path, id: SegmentId) -> io::Result<Look> {
    let path = data.join(file_name(id));
    let looked = || -> io::Result<Look> {
        let file = File::open(&path)?;
        let len = file.metadata()?.len();
        let mut first = [0; RECORDS_START as usize];
        let mut last = [0; TRAILER_LEN];
        if len < (first.len() + last.len()) as u64 {
            return Ok(Look { header: None, is_sealed: false });
        }
        file.read_exact_at(&mut first, 0)?;
        file.read_exact_at(&mut last, len - TRAILER_LEN as u64)?;
        let header = SegmentHeader::read(&first).ok();
        let is_sealed = header.is_some_and(|header| Trailer::read(&last, header.nonce).is_some());
        Ok(Look { header, is_sealed })
    };
    looked().map_err(|error| at(&path, error))
}
