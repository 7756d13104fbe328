//! The native codec as its users see it: what was written is read back, however it arrives, and what is wrong
//! is named.

mod support;

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue, RawProperties, ShortStr};
use support::{frame, publish_of, publish_run};
use tokio_util::codec::{Decoder, Encoder};

const ANY: u32 = u32::MAX;

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out
}

fn decoded(bytes: &[u8]) -> Result<Frame, FrameError> {
    let mut buf = BytesMut::from(bytes);
    let raw = decode_frame(&mut buf, ANY)?.expect("the frame is whole");
    assert!(buf.is_empty(), "one frame was given");
    let channel = raw.channel;
    Ok(Frame { channel, command: raw.command()?.expect("the kind is known") })
}

/// A frame from its parts, with the right length.
fn raw(kind: u8, flags: u8, channel: u16, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(4 + body.len() as u32);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u16(channel);
    out.put_slice(body);
    out
}

fn error_of(bytes: &[u8]) -> FrameError {
    decoded(bytes).expect_err("the frame is wrong")
}

fn refused(bytes: &[u8], code: u16, says: &str) {
    let error = error_of(bytes);
    assert_eq!(error.reply_code().number(), code, "{error}");
    assert!(error.text().contains(says), "{:?} does not say {says:?}", error.text());
}

fn text(text: &str) -> ShortStr {
    ShortStr::new(text).unwrap()
}

fn request(request: Request) -> Frame {
    Frame { channel: 1, command: Command::Request { correlation: 77, request } }
}

/// Walks everything inside a command that is kept encoded.
fn walk(command: &Command) -> Result<(), String> {
    match command {
        Command::Publish(publish) => {
            for run in publish.runs() {
                for entry in run.map_err(|error| error.to_string())?.walk() {
                    entry.map_err(|error| error.to_string())?;
                }
            }
        }
        Command::Deliver(deliver) => {
            for run in deliver.runs() {
                for entry in run.map_err(|error| error.to_string())?.walk() {
                    RawProperties::check(entry.map_err(|error| error.to_string())?.properties)
                        .map_err(|error| error.to_string())?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_survives_a_round_trip(frame in frame()) {
        let bytes = encoded(&frame);
        let back = decoded(&bytes).unwrap();
        prop_assert_eq!(&back, &frame);
        prop_assert_eq!(encoded(&back), bytes);
        prop_assert_eq!(walk(&back.command), Ok(()));
    }

    #[test]
    fn every_shortened_body_is_an_error_or_another_whole_command(frame in frame()) {
        // Bodies that end in a list or in free bytes are whole at some cuts; then they encode to just those.
        let bytes = encoded(&frame);
        for end in FRAME_HEADER_LEN..bytes.len() {
            let cut = raw(bytes[4], bytes[5], frame.channel, &bytes[FRAME_HEADER_LEN..end]);
            match decoded(&cut) {
                Ok(shorter) => prop_assert_eq!(encoded(&shorter), cut),
                Err(error) => prop_assert_eq!(error.reply_code().number(), 502),
            }
        }
    }

    #[test]
    fn every_longer_body_is_refused_or_read_whole(frame in frame()) {
        let bytes = encoded(&frame);
        let mut body = bytes[FRAME_HEADER_LEN..].to_vec();
        body.push(0);
        let longer = raw(bytes[4], bytes[5], frame.channel, &body);
        if let Ok(read) = decoded(&longer) {
            prop_assert_eq!(encoded(&read), longer);
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(kind: u8, flags in 0..4_u8, channel in 0..2_u16, body: Vec<u8>) {
        let mut buf = raw(kind, flags, channel, &body);
        let raw = decode_frame(&mut buf, ANY).unwrap().unwrap();
        if let Ok(Some(command)) = raw.command() {
            let _ = walk(&command);
        }
    }

    #[test]
    fn runs_are_walked_as_they_were_written(runs in proptest::collection::vec(publish_run(), 0..4)) {
        let publish = publish_of(1, true, &runs);
        let back: Vec<_> = publish.runs().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(back, runs);
    }

    #[test]
    fn every_cut_through_runs_is_an_error_or_between_two_of_them(
        runs in proptest::collection::vec(publish_run(), 1..3),
    ) {
        let whole = publish_of(1, false, &runs);
        for end in 0..whole.runs.len() {
            let cut = Publish { runs: whole.runs.slice(..end), ..whole.clone() };
            let read: Vec<_> = cut.runs_ref(1).collect();
            let good = read.iter().filter(|run| run.is_ok()).count();
            prop_assert!(good < runs.len());
            let between = publish_of(1, false, &runs[..good]).runs.len() == end;
            prop_assert_eq!(read.len() == good, between, "cut at {}", end);
        }
    }
}

#[test]
fn the_generator_makes_every_kind_and_every_operation() {
    // Guards the round trip above: a new command without a generator would go untested.
    let mut runner = TestRunner::deterministic();
    let strategy = frame();
    let (mut kinds, mut operations) = (HashSet::new(), HashSet::new());
    for _ in 0..4000 {
        let frame = strategy.new_tree(&mut runner).unwrap().current();
        kinds.insert(frame.command.kind());
        if let Command::Request { request, .. } = &frame.command {
            operations.insert(request.operation());
        }
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "{kinds:?}");
    assert_eq!(operations.len(), Operation::ALL.len(), "{operations:?}");
}

#[test]
fn a_stream_split_at_every_byte_gives_the_same_frames() {
    let mut runner = TestRunner::deterministic();
    let frames: Vec<_> = (0..20).map(|_| frame().new_tree(&mut runner).unwrap().current()).collect();
    let mut stream = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut stream));
    let mut codec = NativeCodec::new();
    for split in 0..=stream.len() {
        let (mut buf, mut read) = (BytesMut::new(), Vec::new());
        for part in [&stream[..split], &stream[split..]] {
            buf.put_slice(part);
            while let Some(frame) = codec.decode(&mut buf).unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames, "split at {split}");
    }
    let (mut buf, mut read) = (BytesMut::new(), Vec::new());
    for byte in &stream {
        buf.put_u8(*byte);
        read.extend(codec.decode(&mut buf).unwrap());
    }
    assert_eq!(read, frames, "byte by byte");
}

#[test]
fn an_unfinished_frame_waits_and_is_an_error_at_the_end_of_the_stream() {
    let bytes = encoded(&request(Request::PurgeQueue { name: text("q") }));
    for end in 0..bytes.len() {
        let mut buf = BytesMut::from(&bytes[..end]);
        assert!(NativeCodec::new().decode(&mut buf).unwrap().is_none(), "cut at {end}");
        assert_eq!(NativeCodec::new().decode_eof(&mut buf).is_err(), end > 0, "cut at {end}");
    }
}

#[test]
fn unknown_optional_kinds_are_skipped_whatever_they_hold() {
    let mut buf = raw(0xff, 0xff, 9, &[1, 2, 3]);
    buf.unsplit(raw(0x80, 0, 0, &[]));
    buf.unsplit(raw(Kind::Heartbeat.octet(), 0, 0, &[]));
    let frame = NativeCodec::new().decode(&mut buf).unwrap();
    assert_eq!(frame, Some(Frame { channel: 0, command: Command::Heartbeat }));
}

#[test]
fn every_unknown_mandatory_kind_is_named() {
    for kind in 0..0x80_u8 {
        if Kind::from_octet(kind).is_none() && ReservedKind::from_octet(kind).is_none() {
            refused(&raw(kind, 0, 1, &[]), 503, &format!("{kind:#04x}"));
        }
    }
}

#[test]
fn everything_reserved_is_refused_by_name() {
    for kind in ReservedKind::ALL {
        refused(&raw(kind.octet(), 0, 1, &[]), 540, kind.name());
    }
    for operation in ReservedOperation::ALL {
        let bytes = raw(Kind::Request.octet(), 0, 1, &[0, 0, 0, 5, operation.octet()]);
        refused(&bytes, 540, operation.name());
        assert_eq!(error_of(&bytes).correlation(), 5);
    }
    let sequenced = raw(Kind::Publish.octet(), PUBLISH_PUBLISHER_SEQUENCE, 1, &[0; 8]);
    refused(&sequenced, 540, "publisher's sequence");
    let mut run = vec![0, 0, 0, 1, RUN_COMPRESSED];
    run.extend([0; 8]);
    let publish = Publish { first: 1, outcomes: false, runs: Bytes::from(run) };
    let error = publish.runs_ref(1).next().unwrap().unwrap_err();
    assert_eq!(error.reply_code().number(), 540);
    assert!(error.text().contains("compression"), "{error}");
}

#[test]
fn unknown_operations_are_named_with_their_correlation() {
    let bytes = raw(Kind::Request.octet(), 0, 1, &[0, 0, 0, 5, 0x7f]);
    refused(&bytes, 503, "0x7f");
    let closing = error_of(&bytes).closing();
    assert_eq!((closing.kind, closing.correlation), (Kind::Request.octet(), 5));
}

#[test]
fn unknown_flags_and_bits_are_refused() {
    refused(&raw(Kind::Heartbeat.octet(), 1, 0, &[]), 502, "flags 0x01");
    refused(&raw(Kind::Publish.octet(), 0x05, 1, &[0; 8]), 502, "flags 0x04");
    let mut bytes = encoded(&request(Request::Get { queue: text("q"), auto_ack: true }));
    bytes[FRAME_HEADER_LEN + 5] = 2;
    refused(&bytes, 502, "Get bits");
}

#[test]
fn frames_on_the_wrong_channel_are_refused() {
    refused(&raw(Kind::Heartbeat.octet(), 0, 1, &[]), 504, "channel 0");
    refused(&raw(Kind::CloseChannel.octet(), 0, 0, &[0; 4]), 504, "a channel, from 1");
}

#[test]
fn empty_frames_with_a_body_are_refused() {
    for kind in [Kind::CloseOk, Kind::Heartbeat, Kind::Unblocked] {
        refused(&raw(kind.octet(), 0, 0, &[0]), 502, "1 unexpected bytes");
    }
}

#[test]
fn route_zero_cannot_be_defined() {
    let command = Command::DefineRoute { route: 0, exchange: text("x"), routing_key: text("k") };
    refused(&encoded(&Frame { channel: 1, command }), 502, "route");
}

#[test]
fn ranges_that_run_backwards_are_refused() {
    let settle = Settle { consumer: 1, settlement: Settlement::Ack, ranges: vec![(2, 1)] };
    refused(&encoded(&Frame { channel: 1, command: Command::Settle(settle) }), 502, "range of tags");
    let outcomes = vec![OutcomeRange { first: 2, last: 1, outcome: Outcome::Confirmed }];
    refused(&encoded(&Frame { channel: 1, command: Command::Outcomes(outcomes) }), 502, "range of outcomes");
}

/// A table whose encoded fields have exactly `len` bytes.
fn table_of(len: usize) -> FieldTable {
    FieldTable::new().with("t", FieldValue::LongStr(Bytes::from(vec![b'x'; len - 7])))
}

#[test]
fn tables_have_a_limit_and_one_past_it_is_refused() {
    let declare = |len| {
        request(Request::DeclareQueue {
            name: text("q"),
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: table_of(len),
        })
    };
    assert!(decoded(&encoded(&declare(TABLE_BYTES_MAX))).is_ok());
    refused(&encoded(&declare(TABLE_BYTES_MAX + 1)), 502, "at most 65536");
    let info = |len| {
        let response = Response::Info(table_of(len));
        Frame { channel: 1, command: Command::Response { correlation: 1, response } }
    };
    assert!(decoded(&encoded(&info(FACTS_BYTES_MAX))).is_ok());
    refused(&encoded(&info(FACTS_BYTES_MAX + 1)), 502, "at most 1048576");
}

#[test]
fn pages_and_cursors_have_limits_and_one_past_them_is_refused() {
    let page = |rows: u32, next: usize| {
        let rows = (0..rows).map(|_| FieldTable::new()).collect();
        let response = Response::Page { rows, next: Bytes::from(vec![0; next]) };
        Frame { channel: 1, command: Command::Response { correlation: 1, response } }
    };
    assert!(decoded(&encoded(&page(PAGE_ROWS_MAX, CURSOR_BYTES_MAX))).is_ok());
    refused(&encoded(&page(PAGE_ROWS_MAX + 1, 0)), 502, "rows of a page");
    refused(&encoded(&page(0, CURSOR_BYTES_MAX + 1)), 502, "place in the list");
    let list = |after: usize| {
        request(Request::List { what: ListOf::Queues, after: Bytes::from(vec![0; after]), limit: ANY })
    };
    assert!(decoded(&encoded(&list(CURSOR_BYTES_MAX))).is_ok());
    refused(&encoded(&list(CURSOR_BYTES_MAX + 1)), 502, "correlation 77");
}

#[test]
fn the_codec_holds_both_ways_to_the_limit_it_was_given() {
    let of_len =
        |len: usize| Frame { channel: 0, command: Command::Challenge(Bytes::from(vec![0; len - 4])) };
    let mut codec = NativeCodec::new();
    let login_max = LOGIN_FRAME_MAX as usize;
    let mut buf = BytesMut::new();
    codec.encode(of_len(login_max), &mut buf).unwrap();
    let fits = buf.len();
    let error = codec.encode(of_len(login_max + 1), &mut buf).unwrap_err();
    assert!(error.to_string().contains("limit is 65536"), "{error}");
    assert_eq!(buf.len(), fits, "what was refused leaves no trace");
    assert!(codec.decode(&mut buf).unwrap().is_some());

    codec.set_frame_max(LOGIN_FRAME_MAX + 1);
    codec.encode(of_len(login_max + 1), &mut buf).unwrap();
    assert!(NativeCodec::new().decode(&mut buf.clone()).is_err());
    assert!(codec.decode(&mut buf).unwrap().is_some());
}

/// A publish of one run with the given count over the given entries.
fn publish_claiming(count: u32, entries: &[u8]) -> Publish {
    let mut runs = BytesMut::new();
    runs.put_u32(1);
    runs.put_u8(0);
    runs.put_u32(count);
    runs.put_u32(entries.len() as u32);
    runs.put_slice(entries);
    Publish { first: 1, outcomes: false, runs: runs.freeze() }
}

#[test]
fn a_count_that_does_not_match_the_entries_is_refused() {
    let mut entries = BytesMut::new();
    put_entry(&[], b"a long enough body", &mut entries);
    put_entry(&[], b"", &mut entries);
    let walk = |count| {
        let publish = publish_claiming(count, &entries);
        let run = publish.runs_ref(1).next().unwrap().unwrap();
        run.walk().collect::<Result<Vec<_>, _>>().map(|entries| entries.len())
    };
    assert_eq!(walk(2), Ok(2));
    assert!(walk(1).unwrap_err().to_string().contains("after the entries of a run"));
    assert!(walk(3).unwrap_err().to_string().contains("cut short"));
    for impossible in [0, 5, u32::MAX] {
        let publish = publish_claiming(impossible, &entries);
        let error = publish.runs_ref(4).next().unwrap().unwrap_err();
        assert_eq!(error.reply_code().number(), 502);
        assert!(error.text().contains("Publish (kind 0x31) on channel 4: run count"), "{error}");
    }
}

#[test]
fn walks_end_after_their_first_error() {
    let publish = publish_claiming(1, b"not an entry");
    let mut entries = publish.runs_ref(1).next().unwrap().unwrap().walk();
    assert!(entries.next().unwrap().is_err());
    assert!(entries.next().is_none());
    let cut = Publish { runs: publish.runs.slice(..publish.runs.len() - 1), ..publish };
    let mut runs = cut.runs_ref(1);
    assert!(runs.next().unwrap().is_err());
    assert!(runs.next().is_none());
}

#[test]
fn got_and_returned_carry_exactly_one_message() {
    let mut one = BytesMut::new();
    put_entry(&[], b"m", &mut one);
    let two = [&one[..], &one[..]].concat();
    let got = |count, entries: &[u8]| {
        let entries = Bytes::copy_from_slice(entries);
        let run = DeliveredRun { exchange: text(""), routing_key: text("q"), count, entries };
        let response = Response::Got { tag: 1, remaining: 0, run };
        encoded(&Frame { channel: 1, command: Command::Response { correlation: 1, response } })
    };
    assert!(decoded(&got(1, &one)).is_ok());
    refused(&got(2, &two), 502, "run count");
    refused(&got(1, &two), 502, "unexpected bytes");
}

#[test]
fn published_flags_are_refused_through_the_walk() {
    let mut entry = BytesMut::new();
    put_entry_head(EntryFlags::RESERVED_DELAY, 0, 0, 0, &mut entry);
    let publish = publish_claiming(1, &entry);
    let error = publish.runs_ref(1).next().unwrap().unwrap().walk().next().unwrap().unwrap_err();
    let error = FrameError::published_entry(1, error);
    assert_eq!(error.reply_code().number(), 540);
    assert!(error.text().contains("delayed publishing"), "{error}");
}

#[test]
fn every_error_text_fits_a_close() {
    let bytes = raw(Kind::Login.octet(), 0, 0, &[255]);
    let close = Frame { channel: 0, command: Command::Close(error_of(&bytes).closing()) };
    assert_eq!(decoded(&encoded(&close)), Ok(close));
}
