//! Reads entries of a record back: from memory while it waits, else from its segment.
//!
//! Invariants: what is given was checked (the header and the metadata always; the entries if all of them are asked for,
//! else their checksum cannot be); a record that moved is found where it went, and answered as if it had not moved.
//! Not here: which file is open (`files`), where records went (`forwards`).

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::files::{OpenFile, is_damage};
use super::pending::{Entries, RecordBytes};
use crate::model::{ExchangeName, Location, MessageRoute, RoutingKey, Timestamp};
use crate::store::record::{
    HEADER_LEN, MetaPart, MetaReader, MetaScratch, RecordError, RecordHeader, RecordKind,
};
use crate::store::{LogError, RecordSlice};

/// Bytes that are read at first besides the entries that are wanted: most metadata are shorter.
const META_GUESS: usize = 1024;
/// Most bytes that are read at first: not to read much that the record does not have.
const FIRST_READ_MAX: usize = 64 << 10;

/// Reads entries of a record that waits in memory.
pub(super) fn from_memory(
    location: Location,
    record: &RecordBytes,
    from: u32,
    len: u32,
) -> Result<RecordSlice, LogError> {
    let damaged = |error: RecordError| LogError::Damaged { location, what: error.to_string() };
    let (at, routes) = meta(&record.head[HEADER_LEN..], record.entries_len, from, len).map_err(damaged)?;
    let mut start = from as usize;
    let mut left = len as usize;
    let mut pieces: Vec<Bytes> = Vec::new();
    for bytes in record.entries.iter().map(Entries::bytes) {
        if start < bytes.len() && left > 0 {
            let end = bytes.len().min(start + left);
            pieces.push(bytes.slice(start..end));
            left -= end - start;
            start = 0;
        } else {
            start -= bytes.len().min(start);
        }
    }
    if left > 0 {
        return Err(LogError::NotStored(location));
    }
    let entries = match pieces.len() {
        1 => pieces.remove(0),
        _ => Bytes::from(pieces.concat()),
    };
    Ok(RecordSlice { entries, at, routes })
}

/// Reads entries of a record from its file.
pub(super) fn from_file(
    location: Location,
    open: &Arc<OpenFile>,
    from: u32,
    len: u32,
) -> Result<RecordSlice, LogError> {
    let damaged = |error: RecordError| LogError::Damaged { location, what: error.to_string() };
    let failed = |error: io::Error| failed(location, &error);
    let (nonce, start) = (open.nonce, u64::from(location.offset));
    let guess = (HEADER_LEN + META_GUESS).saturating_add(from as usize).saturating_add(len as usize);
    let mut first = BytesMut::zeroed(guess.min(FIRST_READ_MAX));
    let read = open.file.read_at(&mut first, start).map_err(failed)?;
    first.truncate(read);
    if first.is_empty() {
        return Err(LogError::NotStored(location));
    }
    let header = RecordHeader::read(&first, nonce, location.offset).map_err(damaged)?;
    if header.kind != RecordKind::Unit || u64::from(from) + u64::from(len) > u64::from(header.entries_len) {
        return Err(LogError::NotStored(location));
    }
    let meta_end = HEADER_LEN + header.meta_len as usize;
    let (meta_bytes, entries_start);
    if first.len() >= meta_end {
        let mut rest = first.split_off(HEADER_LEN);
        meta_bytes = rest.split_to(header.meta_len as usize);
        entries_start = rest;
    } else {
        let mut bytes = BytesMut::zeroed(header.meta_len as usize);
        open.file.read_exact_at(&mut bytes, start + HEADER_LEN as u64).map_err(failed)?;
        meta_bytes = bytes;
        entries_start = BytesMut::new();
    }
    header.check_meta(nonce, &meta_bytes).map_err(damaged)?;
    let (at, routes) = meta(&meta_bytes, header.entries_len, from, len).map_err(damaged)?;
    let (begin, end) = (from as usize, from as usize + len as usize);
    let entries = match entries_start.get(begin..end) {
        // Its own bytes: the rest of what was read is not kept.
        Some(entries) => Bytes::copy_from_slice(entries),
        None => {
            let mut bytes = BytesMut::zeroed(len as usize);
            let offset = start + meta_end as u64 + u64::from(from);
            open.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
            bytes.freeze()
        }
    };
    if from == 0 && len == header.entries_len {
        header.check_entries(nonce, &entries).map_err(damaged)?;
    }
    open.read_to(start + meta_end as u64 + end as u64);
    Ok(RecordSlice { entries, at, routes })
}

/// What it means that a segment cannot be opened or read.
pub(super) fn failed(location: Location, error: &io::Error) -> LogError {
    match is_damage(error) {
        true if error.kind() == io::ErrorKind::NotFound => LogError::NotStored(location),
        true => LogError::Damaged { location, what: error.to_string() },
        false => LogError::Disk(error.to_string()),
    }
}

/// What metadata say of these bytes of the entries: when they were published, and their routes. They may go on over
/// several parts of the record: what a transaction publishes is in batches, and neighbours may be asked for together.
fn meta(
    meta: &[u8],
    entries_len: u32,
    from: u32,
    len: u32,
) -> Result<(Timestamp, Vec<(u32, MessageRoute)>), RecordError> {
    let mut reader = MetaReader::new(meta, entries_len);
    let mut scratch = MetaScratch::default();
    let last = from.saturating_add(len.saturating_sub(1));
    let (mut at, mut routes) = (None, Vec::new());
    while let Some(part) = reader.next(&mut scratch)? {
        let MetaPart::Publish(part) = part else { continue };
        let part_len: u32 = part.messages.iter().map(|message| message.entry_len).sum();
        if part.base + part_len <= from {
            continue;
        }
        at.get_or_insert(part.at);
        let mut end = part.base;
        let mut messages = part.messages.iter();
        for row in part.routes {
            end += messages.by_ref().take(row.count as usize).map(|message| message.entry_len).sum::<u32>();
            if end > from {
                let name = |_| RecordError::Meta(crate::store::record::MetaError::Name);
                let exchange = ExchangeName::new(row.exchange).map_err(name)?;
                let routing_key = RoutingKey::new(row.routing_key).map_err(name)?;
                routes.push((end, MessageRoute { exchange, routing_key }));
            }
            if end > last {
                return Ok((at.unwrap_or_default(), routes));
            }
        }
    }
    Ok((at.unwrap_or_default(), routes))
}
