//! Targets for AMQP 0-9-1: nothing panics, splits change nothing, what was read is written back.

use bytes::{Buf, BufMut, BytesMut};
use rialto_protocol::amqp::{
    ASSEMBLY_KEPT_MAX, BasicDeliverRef, BasicPublishRef, ContentAssembler, ContentHeader, FRAME_END,
    FRAME_MIN_SIZE, FRAME_OVERHEAD, FRAME_SLACK, FrameError, FrameKind, Method, MethodError, MethodId,
    put_body, put_content_header, split_frame,
};
use rialto_protocol::types::{Properties, RawProperties};

/// Up to this length a stream is split at each of its bytes.
const SPLIT_EVERYWHERE_MAX: usize = 128;

/// How many frames of one input are looked at: tiny frames would make comparing splits slow.
const FRAMES_MAX: usize = 256;

/// A frame that owns its payload.
type OwnedFrame = (FrameKind, u16, Vec<u8>);

/// A stream of frames: however it is split, the same frames come out, and the same error; content in them is
/// put together exactly as announced.
pub fn amqp_frames(data: &[u8]) {
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
    let mut written = Vec::new();
    for (kind, channel, payload) in &whole.0 {
        assert!(payload.len() <= (FRAME_MIN_SIZE + FRAME_SLACK) as usize - FRAME_OVERHEAD);
        written.put_u8(kind.octet());
        written.put_u16(*channel);
        written.put_u32(payload.len() as u32);
        written.put_slice(payload);
        written.put_u8(FRAME_END);
    }
    assert!(data.starts_with(&written), "frames are slices of the stream");
    if let Some(error) = whole.1 {
        assert_eq!(error.reply_code().number(), 501, "{error}");
    }
    assemble(&whole.0);
}

/// The payload of a method frame, and the same bytes as that of a header frame: what can be read is written
/// back, and reads as the same again.
pub fn amqp_methods(data: &[u8]) {
    method(data);
    content_header(data);
}

fn method(data: &[u8]) {
    let id = MethodId::of(data);
    assert_eq!(id.is_some(), data.len() >= 4);
    let method = match Method::decode(data) {
        Ok(method) => method,
        Err(error) => {
            assert!((501..=503).contains(&error.reply_code().number()), "{error}");
            assert_eq!(error.id(), id);
            let is_known = id.is_some_and(|id| id.fields().is_some());
            assert_eq!(matches!(error, MethodError::Fields { .. }), is_known);
            assert!(BasicPublishRef::decode(data).is_err() && BasicDeliverRef::decode(data).is_err());
            return;
        }
    };
    assert_eq!(Some(method.id()), id);
    // Compared as bytes: floats that are not numbers do not equal themselves.
    let written = encoded(&method);
    let payload = &written[FRAME_OVERHEAD - 1..written.len() - 1];
    assert_eq!(payload.len(), data.len() - reserved_bytes(data, &method));
    let again = Method::decode(payload).expect("what was written can be read");
    assert_eq!(encoded(&again), written);
    borrowed(data, &method);
}

/// Borrowed forms read what the owned one reads.
fn borrowed(data: &[u8], method: &Method) {
    let publish = BasicPublishRef::decode(data);
    let deliver = BasicDeliverRef::decode(data);
    match method {
        Method::BasicPublish(owned) => {
            let publish = publish.expect("the owned form could be read");
            assert_eq!((publish.exchange, publish.routing_key), (&*owned.exchange, &*owned.routing_key));
            assert_eq!((publish.mandatory, publish.immediate), (owned.mandatory, owned.immediate));
        }
        Method::BasicDeliver(owned) => {
            let deliver = deliver.expect("the owned form could be read");
            assert_eq!((deliver.exchange, deliver.routing_key), (&*owned.exchange, &*owned.routing_key));
            assert_eq!(
                (deliver.consumer_tag, deliver.delivery_tag),
                (&*owned.consumer_tag, owned.delivery_tag)
            );
            assert_eq!(deliver.redelivered, owned.redelivered);
        }
        _ => assert!(publish.is_err() && deliver.is_err()),
    }
}

/// Bytes of reserved texts, which are not written back.
fn reserved_bytes(data: &[u8], method: &Method) -> usize {
    match method {
        Method::ConnectionOpen(open) => usize::from(data[4 + 1 + open.virtual_host.len()]),
        Method::ConnectionOpenOk(_) | Method::ChannelOpen(_) | Method::BasicGetEmpty(_) => data[4].into(),
        Method::ChannelOpenOk(_) => data.len() - 8,
        _ => 0,
    }
}

fn content_header(data: &[u8]) {
    let Ok(header) = ContentHeader::decode(data) else { return };
    assert_eq!(RawProperties::check(header.property_bytes), Ok(header.properties));
    let mut out = BytesMut::new();
    put_content_header(1, header.body_size, header.property_bytes, &mut out);
    let payload = &out[FRAME_OVERHEAD - 1..out.len() - 1];
    assert_eq!(payload[4..], data[4..], "body size and properties are kept bit by bit");
    let again = ContentHeader::decode(payload).expect("what was written can be read");
    assert_eq!((again.class, again.weight, again.properties), (60, 0, header.properties));
    assert!(Properties::decode(header.property_bytes).is_ok(), "both readers agree");
}

fn encoded(method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    method.encode(1, &mut out);
    let (frame, len) = split_frame(&out, 0).expect("a written frame is good").expect("and whole");
    assert_eq!((frame.kind, frame.channel, len), (FrameKind::Method, 1, out.len()));
    out
}

/// The frames of a stream that comes in these parts, and the error that ended it.
fn frames_of(parts: &[&[u8]]) -> (Vec<OwnedFrame>, Option<FrameError>) {
    let mut buf = BytesMut::new();
    let mut frames = Vec::new();
    for part in parts {
        buf.extend_from_slice(part);
        while frames.len() < FRAMES_MAX {
            let used = match split_frame(&buf, FRAME_MIN_SIZE) {
                Ok(Some((frame, used))) => {
                    frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
                    used
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            };
            buf.advance(used);
        }
    }
    (frames, None)
}

/// Feeds all frames to one channel's assembler, whatever their channel, and compares with a plain model.
fn assemble(frames: &[OwnedFrame]) {
    let mut assembler = ContentAssembler::default();
    let mut due = None::<u64>;
    let mut body = Vec::new();
    for (kind, _, payload) in frames {
        let whole = match kind {
            FrameKind::Method => {
                assert_eq!(assembler.is_idle(), assembler.interrupted().is_none());
                if !MethodId::of(payload).is_some_and(MethodId::has_content) {
                    continue;
                }
                if assembler.interrupted().is_some() {
                    assembler.reset();
                }
                assembler.begin(payload);
                (due, body) = (None, Vec::new());
                None
            }
            FrameKind::Header => {
                let Ok(header) = ContentHeader::decode(payload) else { continue };
                let was_due = assembler.method().is_some() && due.is_none();
                match assembler.header(&header) {
                    Ok(whole) => {
                        assert!(was_due, "a header was due");
                        due = Some(header.body_size);
                        whole
                    }
                    Err(error) => {
                        assert_eq!(error.reply_code().number(), 505);
                        continue;
                    }
                }
            }
            FrameKind::Body => match assembler.body(payload) {
                Ok(whole) => {
                    body.extend_from_slice(payload);
                    whole
                }
                Err(error) => {
                    assert_eq!(error.reply_code().number(), 505);
                    continue;
                }
            },
            FrameKind::Heartbeat => continue,
        };
        if let Some(whole) = whole {
            assert_eq!(Some(whole.body.len() as u64), due, "complete means all that was announced");
            assert_eq!(whole.body, body);
            write_back(whole.body);
            assert!(assembler.is_idle());
            due = None;
        } else {
            assert_eq!(assembler.held_bytes(), body.len());
            assert_eq!(assembler.announced(), due);
        }
    }
    assembler.reset();
    assert!(assembler.held_bytes() == 0 && ASSEMBLY_KEPT_MAX > 0);
}

/// A body in frames of the smallest size is the same body.
fn write_back(body: &[u8]) {
    let mut out = BytesMut::new();
    put_body(1, body, FRAME_MIN_SIZE, &mut out);
    let (frames, error) = frames_of(&[&out]);
    assert_eq!(error, None);
    let joined: Vec<u8> = frames.into_iter().flat_map(|(_, _, payload)| payload).collect();
    assert_eq!(joined, body);
}
