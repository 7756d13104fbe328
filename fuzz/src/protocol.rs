//! Targets for the wire formats: nothing panics, both readers agree, what was read is written back.

use bytes::{Bytes, BytesMut};
use rialto_protocol::native::{
    Command, Deliver, DeliverWriter, FRAME_HEADER_LEN, FrameError, LOGIN_FRAME_MAX, Publish, PublishWriter,
    RawFrame, decode_frame,
};
use rialto_protocol::types::{FieldTable, Properties, RawProperties, check_table};

/// Up to this length a stream is split at each of its bytes.
const SPLIT_EVERYWHERE_MAX: usize = 128;

/// How many frames of one input are looked at: tiny frames would make comparing splits slow.
const FRAMES_MAX: usize = 256;

/// A stream of frames: however it is split, the same frames come out, and the same error.
pub fn native_frames(data: &[u8]) {
    let whole = frames_of(&[data]);
    let splits: Vec<usize> = match data.len() {
        len @ 0..=SPLIT_EVERYWHERE_MAX => (0..len).collect(),
        // The input itself chooses where it is split, so that the fuzzer can steer.
        len => data.iter().take(4).map(|&byte| usize::from(byte) * len / 256).collect(),
    };
    for split in splits {
        let (front, back) = data.split_at(split);
        assert_eq!(frames_of(&[front, back]), whole, "split at {split}");
    }
    if data.len() <= SPLIT_EVERYWHERE_MAX {
        let bytes: Vec<_> = data.chunks(1).collect();
        assert_eq!(frames_of(&bytes), whole, "byte by byte");
    }
    for frame in whole.0 {
        let place = frame.place();
        match frame.command() {
            Ok(Some(command)) => walk(&command),
            Ok(None) => assert!(place.kind & 0x80 != 0, "only optional frames are skipped"),
            Err(error) => check_error(&error),
        }
    }
    if let Some(error) = whole.1 {
        check_error(&error);
    }
}

/// One frame (kind, flags, channel and body from the input): what is read is written back to the same bytes.
pub fn native_roundtrip(data: &[u8]) {
    let [kind, flags, channel, body @ ..] = data else { return };
    let body = Bytes::copy_from_slice(body);
    let raw = RawFrame { kind: *kind, flags: *flags, channel: (*channel).into(), body: body.clone() };
    let Ok(Some(command)) = raw.command() else { return };
    let mut out = BytesMut::new();
    command.encode((*channel).into(), &mut out);
    let frame = decode_frame(&mut out, u32::MAX).expect("our own frame is good").expect("and whole");
    assert!(out.is_empty(), "one frame was written");
    assert_eq!((frame.kind, frame.flags, frame.channel), (*kind, *flags, (*channel).into()));
    assert_same_but_for_booleans(&body, &frame.body);
    let again = frame.command().expect("our own frame can be read").expect("and is known");
    // Floats that are not a number are equal to nothing, so values are compared by what they show.
    assert_eq!(format!("{command:?}"), format!("{again:?}"));
    walk(&command);
}

/// Tables and properties: the reader that builds and the one that only checks agree, and nothing changes on
/// the way back.
pub fn field_tables(data: &[u8]) {
    let decoded = FieldTable::decode(data);
    assert_eq!(decoded.as_ref().err(), check_table(data).as_ref().err(), "decode and check disagree");
    if let Ok(table) = decoded {
        let encoded = table.encoded();
        assert_same_but_for_booleans(data, &encoded);
        let again = FieldTable::decode(&encoded).expect("our own table is good");
        assert_eq!(format!("{table:?}"), format!("{again:?}"));
        let _ = table.to_string();
    }
    properties(data);
}

fn properties(data: &[u8]) {
    let decoded = Properties::decode(data);
    let checked = RawProperties::check(data);
    assert_eq!(decoded.is_ok(), checked.is_ok(), "{decoded:?} and {checked:?}");
    let (Ok(properties), Ok(raw)) = (decoded, checked) else { return };
    assert_eq!(format!("{:?}", raw.decode()), format!("{properties:?}"));
    assert_eq!(raw, RawProperties::trusted(data));
    assert_eq!(raw.delivery_mode(), properties.delivery_mode);
    assert_eq!(raw.priority(), properties.priority);
    assert_eq!(raw.expiration(), properties.expiration.as_deref());
    assert_eq!(raw.reply_to(), properties.reply_to.as_deref());
    assert_eq!(raw.correlation_id(), properties.correlation_id.as_deref());
    assert_eq!(raw.message_id(), properties.message_id.as_deref());
    assert_eq!(raw.user_id(), properties.user_id.as_deref());
    assert_eq!(raw.headers().is_some(), properties.headers.is_some());
    let again = Properties::decode(&properties.encoded()).expect("our own properties are good");
    assert_eq!(format!("{again:?}"), format!("{properties:?}"));
}

/// The frames of a stream that arrives in these parts, and the error that ends it.
fn frames_of(parts: &[&[u8]]) -> (Vec<RawFrame>, Option<FrameError>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    for part in parts {
        buf.extend_from_slice(part);
        while frames.len() < FRAMES_MAX {
            match decode_frame(&mut buf, LOGIN_FRAME_MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// An error can be told to the peer, whatever made it.
fn check_error(error: &FrameError) {
    let mut out = BytesMut::new();
    Command::Close(error.closing()).encode(0, &mut out);
    let close = decode_frame(&mut out, LOGIN_FRAME_MAX).expect("a Close is good").expect("and whole");
    assert_eq!(close.command(), Ok(Some(Command::Close(error.closing()))));
}

/// Walks what a command keeps encoded; whole runs are written back to the same bytes.
fn walk(command: &Command) {
    match command {
        Command::Publish(publish) => walk_publish(publish),
        Command::Deliver(deliver) => walk_deliver(deliver),
        _ => {}
    }
}

fn walk_publish(publish: &Publish) {
    let Ok(runs) = publish.runs_ref(1).collect::<Result<Vec<_>, _>>() else { return };
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, publish.first, publish.outcomes, &mut out);
    for run in &runs {
        let walked = run.walk().collect::<Result<Vec<_>, _>>();
        frame.run(run.route, run.mandatory, &mut out);
        match walked {
            Ok(entries) => {
                assert_eq!(entries.len(), run.count as usize);
                entries.iter().for_each(|(entry, _)| frame.entry(entry.properties, entry.body, &mut out));
            }
            Err(_) => frame.entries(run.count, run.entries, &mut out),
        }
    }
    frame.finish(&mut out);
    assert_eq!(out[FRAME_HEADER_LEN + 8..], publish.runs);
}

fn walk_deliver(deliver: &Deliver) {
    let Ok(runs) = deliver.runs_ref(1).collect::<Result<Vec<_>, _>>() else { return };
    let mut out = BytesMut::new();
    let mut frame = DeliverWriter::begin(1, deliver.consumer, deliver.first_tag, &mut out);
    for run in &runs {
        let walked = run.walk().collect::<Result<Vec<_>, _>>();
        if let Ok(entries) = &walked {
            assert_eq!(entries.len(), run.count as usize);
            assert_eq!(entries.iter().map(|entry| entry.len).sum::<usize>(), run.entries.len());
        }
        frame.run(run.exchange, run.routing_key, &mut out);
        frame.entries(run.count, run.entries, &mut out);
    }
    frame.finish(&mut out);
    assert_eq!(out[FRAME_HEADER_LEN + 12..], deliver.runs);
}

/// A boolean field is read from any octet and written as 0 or 1; nothing else may change.
fn assert_same_but_for_booleans(read: &[u8], written: &[u8]) {
    let same = |(&read, &written): (&u8, &u8)| read == written || (written == 1 && read > 1);
    assert!(
        read.len() == written.len() && read.iter().zip(written).all(same),
        "read {read:02x?}\nwritten {written:02x?}"
    );
}
