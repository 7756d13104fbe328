use bytes::{Bytes, BytesMut};

use super::*;
use crate::model::{
    BatchBuilder, ExchangeName, Location, Lsn, MemoryGauge, Message, MessageRoute, Priority, QueueId,
    Returned, RoutingKey, SegmentId, StoredRun, Timestamp,
};
use crate::store::{Part, PublishPart, StoredMessage, StoredTarget};

/// The head of a unit with these parts.
fn encode_unit(shard: u16, parts: &[Part<'_>], out: &mut BytesMut) -> Result<EncodedRecord, RecordTooLong> {
    let mut record = RecordWriter::new(RecordKind::Unit, shard, out);
    for part in parts {
        match part {
            Part::Publish(part) => {
                record.publish_part(part);
            }
            Part::Settle { queue, runs } => record.settle(*queue, runs.iter().copied()),
            Part::Return { queue, returned } => record.returned(*queue, *returned),
        }
    }
    record.finish()
}

const NONCE: Nonce = Nonce::new(0xfeed_beef_0123_4567);

fn route(exchange: &str, key: &str) -> MessageRoute {
    let exchange = ExchangeName::new(exchange).unwrap();
    MessageRoute { exchange, routing_key: RoutingKey::new(key).unwrap() }
}

/// Messages with these keys and body lengths, and what the journal must know of them: LSNs from 100 on.
fn batch(contents: &[(&str, usize)]) -> (Vec<Message>, Vec<StoredMessage>) {
    let gauge = MemoryGauge::new();
    let mut builder = BatchBuilder::default();
    for (key, len) in contents {
        builder.push_content(&route("orders", key), &[], &vec![7; *len], true);
    }
    let messages: Vec<_> = builder.finish(&gauge).collect();
    let stored = messages.iter().zip(100..).map(|(message, lsn)| StoredMessage {
        lsn: Lsn(lsn),
        entry_len: message.len() as u32,
        body_len: message.body_len() as u32,
        route: message.route_number(),
        priority: None,
        ttl_ms: None,
        delay_ms: None,
    });
    let stored = stored.collect();
    (messages, stored)
}

fn publish<'a>(
    messages: &'a [Message],
    stored: &'a [StoredMessage],
    targets: &'a [StoredTarget],
) -> PublishPart<'a> {
    let at = Timestamp::from_millis(1_767_225_600_123);
    PublishPart { batch: messages[0].batch(), at, messages: stored, targets }
}

fn target(queue: u64, first: u32, count: u32) -> StoredTarget {
    StoredTarget { queue: QueueId(queue), first, count }
}

fn run(segment: u32, first: u64, count: u32) -> StoredRun {
    StoredRun { first: Lsn(first), count, location: Location { segment: SegmentId(segment), offset: 0 } }
}

/// The record of some parts, without its entries.
fn encoded(parts: &[Part<'_>]) -> (BytesMut, EncodedRecord) {
    let mut out = BytesMut::new();
    let record = encode_unit(0, parts, &mut out).unwrap();
    assert_eq!(out.len(), record.head_len as usize);
    (out, record)
}

/// What a part reads back as, in words that can be compared.
#[derive(Debug, PartialEq)]
enum Read {
    Publish(u32, Vec<StoredMessage>, Vec<StoredTarget>, Vec<(String, String, u32)>),
    Settle(u64, Vec<StoredRun>),
    Return(u64, Vec<Returned>),
}

fn read(meta: &[u8], entries_len: u32) -> Result<Vec<Read>, MetaError> {
    let mut scratch = MetaScratch::default();
    let mut reader = MetaReader::new(meta, entries_len);
    let mut parts = Vec::new();
    while let Some(part) = reader.next(&mut scratch)? {
        parts.push(match part {
            MetaPart::Publish(part) => Read::Publish(
                part.base,
                part.messages.to_vec(),
                part.targets.to_vec(),
                part.routes
                    .map(|row| (row.exchange.to_owned(), row.routing_key.to_owned(), row.count))
                    .collect(),
            ),
            MetaPart::Settle { queue, runs } => Read::Settle(queue.0, runs.to_vec()),
            MetaPart::Return { queue, returned } => Read::Return(queue.0, returned.to_vec()),
        });
    }
    Ok(parts)
}

fn row(exchange: &str, key: &str, count: u32) -> (String, String, u32) {
    (exchange.to_owned(), key.to_owned(), count)
}

#[test]
fn published_messages_read_back_with_every_fact() {
    let (messages, mut stored) = batch(&[("a", 10), ("a", 10), ("b", 0), ("c", 70_000), ("c", 1)]);
    stored[1].priority = Some(Priority(9));
    stored[2].ttl_ms = Some(0);
    stored[3] =
        StoredMessage { priority: Some(Priority(0)), ttl_ms: Some(u64::MAX), delay_ms: Some(5), ..stored[3] };
    stored[4].lsn = Lsn(1 << 50);
    let targets = [target(7, 0, 5), target(3, 1, 2), target(9, 4, 1), target(u64::MAX, 0, 1)];
    let part = publish(&messages, &stored, &targets);
    let (out, record) = encoded(&[Part::Publish(part)]);
    assert_eq!(record.entries_len as usize, messages[0].batch().bytes().len());
    let routes = vec![row("orders", "a", 2), row("orders", "b", 1), row("orders", "c", 2)];
    assert_eq!(
        read(&out[HEADER_LEN..], record.entries_len),
        Ok(vec![Read::Publish(0, stored, targets.to_vec(), routes)])
    );
}

#[test]
fn a_dead_letter_move_is_one_record() {
    let (messages, stored) = batch(&[("dead", 3)]);
    let targets = [target(2, 0, 1)];
    let runs = [run(4, 17, 1)];
    let parts = [
        Part::Publish(publish(&messages, &stored, &targets)),
        Part::Settle { queue: QueueId(1), runs: &runs },
    ];
    let (out, record) = encoded(&parts);
    let published = Read::Publish(0, stored.clone(), targets.to_vec(), vec![row("orders", "dead", 1)]);
    let settled = Read::Settle(1, runs.to_vec());
    assert_eq!(read(&out[HEADER_LEN..], record.entries_len), Ok(vec![published, settled]));
}

#[test]
fn entries_of_a_second_publish_begin_where_those_of_the_first_end() {
    let (one, stored_one) = batch(&[("a", 3), ("a", 4)]);
    let (two, stored_two) = batch(&[("b", 5)]);
    let targets = [target(1, 0, 1)];
    let parts = [
        Part::Publish(publish(&one, &stored_one, &targets)),
        Part::Publish(publish(&two, &stored_two, &targets)),
    ];
    let (out, record) = encoded(&parts);
    let bases: Vec<_> = read(&out[HEADER_LEN..], record.entries_len)
        .unwrap()
        .into_iter()
        .map(|part| if let Read::Publish(base, ..) = part { base } else { panic!("{part:?}") })
        .collect();
    assert_eq!(bases, [0, one[0].batch().bytes().len() as u32]);
}

#[test]
fn settled_runs_that_go_on_in_their_segment_are_one() {
    let runs = [run(1, 10, 5), run(1, 15, 1), run(2, 16, 1), run(2, 18, 2), run(2, 3, 1)];
    let (out, _) = encoded(&[Part::Settle { queue: QueueId(300), runs: &runs }]);
    let merged = vec![run(1, 10, 6), run(2, 16, 1), run(2, 18, 2), run(2, 3, 1)];
    assert_eq!(read(&out[HEADER_LEN..], 0), Ok(vec![Read::Settle(300, merged)]));
}

#[test]
fn a_settled_run_of_millions_is_cut_into_pieces() {
    let max = writer::SETTLED_RUN_MAX;
    let runs = [run(1, 5, 2 * max + 1)];
    let (out, _) = encoded(&[Part::Settle { queue: QueueId(1), runs: &runs }]);
    let pieces = vec![run(1, 5, max), run(1, 5 + u64::from(max), max), run(1, 5 + 2 * u64::from(max), 1)];
    assert_eq!(read(&out[HEADER_LEN..], 0), Ok(vec![Read::Settle(1, pieces)]));
}

#[test]
fn returned_messages_read_back_with_counts_and_times() {
    let returned = |segment: u32, lsn: u64, until: Option<u64>| Returned {
        lsn: Lsn(lsn),
        location: Location { segment: SegmentId(segment), offset: 0 },
        delivery_count: 3,
        returns: u32::MAX,
        until: until.map(Timestamp::from_micros),
    };
    let list = [returned(4, 90, None), returned(4, 12, Some(u64::MAX)), returned(5, 13, Some(0))];
    let (out, _) = encoded(&[Part::Return { queue: QueueId(8), returned: &list }]);
    assert_eq!(read(&out[HEADER_LEN..], 0), Ok(vec![Read::Return(8, list.to_vec())]));
}

#[test]
fn a_thousand_plain_messages_cost_few_bytes_and_each_length_of_its_own_few_more() {
    let plain: Vec<_> = (0..1000).map(|_| ("key", 128)).collect();
    let (messages, stored) = batch(&plain);
    let targets = [target(1, 0, 1000)];
    let (out, _) = encoded(&[Part::Publish(publish(&messages, &stored, &targets))]);
    assert!(out.len() < 100, "{} bytes", out.len());
    let mixed: Vec<_> = (0..1000).map(|number| ("key", number * 7 % 1013)).collect();
    let (messages, stored) = batch(&mixed);
    let (out, _) = encoded(&[Part::Publish(publish(&messages, &stored, &targets))]);
    assert!(out.len() < 100 + 2 * 1000, "{} bytes", out.len());
}

#[test]
fn encoding_into_a_buffer_with_room_allocates_nothing() {
    let contents: Vec<_> = (0..100).map(|number| ("key", number % 3)).collect();
    let (messages, stored) = batch(&contents);
    let targets = [target(1, 0, 100), target(2, 3, 50)];
    let runs = [run(1, 3, 4), run(1, 9, 1)];
    let parts = [
        Part::Publish(publish(&messages, &stored, &targets)),
        Part::Settle { queue: QueueId(1), runs: &runs },
    ];
    let mut out = BytesMut::with_capacity(4096);
    let counted = allocation_counter::measure(|| {
        encode_unit(0, &parts, &mut out).unwrap();
    });
    assert_eq!(counted.count_total, 0);
}

/// A sealed record with its entries.
fn sealed(offset: u32, safe: u32) -> (Vec<u8>, usize) {
    let (messages, stored) = batch(&[("a", 10), ("b", 20)]);
    let targets = [target(1, 0, 2)];
    let (mut out, record) = encoded(&[Part::Publish(publish(&messages, &stored, &targets))]);
    let entries: Bytes = messages[0].batch().bytes().clone();
    // In pieces, as several batches would come.
    seal(&mut out, NONCE, offset, safe, [&entries[..5], &entries[5..]]);
    (([&out[..], &entries[..]]).concat(), record.head_len as usize)
}

fn check(bytes: &[u8], nonce: Nonce, offset: u32) -> Result<RecordHeader, RecordError> {
    let header = RecordHeader::read(bytes, nonce, offset)?;
    let meta = bytes.get(HEADER_LEN..HEADER_LEN + header.meta_len as usize).ok_or(RecordError::Short)?;
    header.check_meta(nonce, meta)?;
    header.check_entries(nonce, &bytes[HEADER_LEN + meta.len()..])?;
    Ok(header)
}

#[test]
fn a_sealed_record_is_valid_in_its_segment_at_its_offset_and_nowhere_else() {
    let (bytes, head_len) = sealed(4096, 1024);
    let header = check(&bytes, NONCE, 4096).unwrap();
    assert_eq!((header.kind, header.shard, header.safe), (RecordKind::Unit, 0, 1024));
    assert_eq!(header.len(), bytes.len() as u64);
    assert_eq!(header.meta_len as usize, head_len - HEADER_LEN);
    assert_eq!(check(&bytes, NONCE, 4097), Err(RecordError::HeaderChecksum));
    assert_eq!(check(&bytes, Nonce::new(NONCE.as_u64() ^ 1), 4096), Err(RecordError::HeaderChecksum));
    assert_eq!(check(&bytes, Nonce::new(NONCE.as_u64() ^ 1 << 40), 4096), Err(RecordError::Mark));
}

#[test]
fn every_flipped_bit_is_found_and_its_place_named() {
    let (bytes, head_len) = sealed(128, 128);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let wanted = match bit / 8 {
            0..4 => RecordError::Mark,
            4..HEADER_LEN => RecordError::HeaderChecksum,
            byte if byte < head_len => RecordError::MetaChecksum,
            _ => RecordError::EntriesChecksum,
        };
        assert_eq!(check(&flipped, NONCE, 128), Err(wanted), "bit {bit}");
    }
}

#[test]
fn zeros_are_no_record_whatever_the_nonce() {
    for nonce in [Nonce::new(0), Nonce::new(5), NONCE] {
        assert_eq!(RecordHeader::read(&[0; HEADER_LEN], nonce, 128), Err(RecordError::Mark));
    }
    assert_eq!(RecordHeader::read(&[0; HEADER_LEN - 1], NONCE, 128), Err(RecordError::Short));
}

#[test]
fn records_of_newer_programs_are_told_from_damage() {
    let (bytes, head_len) = sealed(128, 128);
    for (at, value, wanted) in [
        (4, 9, RecordError::Version(9)),
        (5, 99, RecordError::Kind(99)),
        (5, 17, RecordError::Reserved("vote")),
    ] {
        let mut newer = bytes.clone();
        newer[at] = value;
        let (head, entries) = newer.split_at_mut(head_len);
        seal(head, NONCE, 128, 128, [&*entries]);
        assert_eq!(check(&newer, NONCE, 128), Err(wanted));
        assert!(wanted.is_newer());
    }
    assert!(!RecordError::Mark.is_newer());
}

#[test]
fn a_skipped_record_keeps_its_room_and_its_bytes_do_not_matter() {
    let mut bytes = skip(100, NONCE, 640, 128).to_vec();
    bytes.resize(100, 0xaa);
    let header = check(&bytes, NONCE, 640).unwrap();
    assert_eq!((header.kind, header.len()), (RecordKind::Skip, 100));
    assert_eq!(skip(HEADER_LEN as u32, NONCE, 640, 0).len(), HEADER_LEN);
}

#[test]
fn a_record_that_is_too_long_leaves_the_buffer_as_it_was() {
    let (messages, mut stored) = batch(&[("a", 1)]);
    stored[0] = StoredMessage { entry_len: u32::MAX, body_len: 1, ..stored[0] };
    let targets = [target(1, 0, 1)];
    let mut out = BytesMut::from(&b"before"[..]);
    let parts = [Part::Publish(publish(&messages, &stored, &targets))];
    assert!(encode_unit(0, &parts, &mut out).is_err());
    assert_eq!(&out[..], b"before");
    let many = vec![StoredMessage { entry_len: 10, body_len: 1, ..stored[0] }; PART_MESSAGES_MAX + 1];
    let many: Vec<_> =
        many.into_iter().zip(1..).map(|(one, lsn)| StoredMessage { lsn: Lsn(lsn), ..one }).collect();
    let parts = [Part::Publish(publish(&messages, &many, &targets))];
    assert!(encode_unit(0, &parts, &mut out).is_err());
}

#[test]
fn metadata_cut_or_changed_anywhere_are_refused_or_read_but_never_more() {
    let (messages, mut stored) = batch(&[("a", 10), ("a", 10), ("b", 3)]);
    stored[2].priority = Some(Priority(4));
    let targets = [target(1, 0, 3), target(2, 1, 1)];
    let runs = [run(1, 3, 4), run(2, 9, 1)];
    let returned = [Returned {
        lsn: Lsn(3),
        location: Location::default(),
        delivery_count: 1,
        returns: 2,
        until: Some(Timestamp::from_micros(9)),
    }];
    let parts = [
        Part::Publish(publish(&messages, &stored, &targets)),
        Part::Settle { queue: QueueId(1), runs: &runs },
        Part::Return { queue: QueueId(1), returned: &returned },
    ];
    let (out, record) = encoded(&parts);
    let meta = &out[HEADER_LEN..];
    assert_eq!(read(meta, record.entries_len).map(|parts| parts.len()), Ok(3));
    for len in 0..meta.len() {
        let whole_parts = read(&meta[..len], record.entries_len).map(|parts| parts.len());
        assert!(
            whole_parts.is_err() || whole_parts == Ok(1) || whole_parts == Ok(2),
            "{len}: {whole_parts:?}"
        );
    }
    for byte in 0..meta.len() {
        for value in 0..=255 {
            let mut changed = meta.to_vec();
            changed[byte] = value;
            let _ = read(&changed, record.entries_len);
        }
    }
}
