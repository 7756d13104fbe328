//! The AMQP 0-9-1 codec as its users see it: what was written is read back
//! however it arrives, and what is wrong is named with the code that RabbitMQ's clients expect.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, Properties, RawProperties, ShortStr, TABLE_DEPTH_MAX, WireError};

fn text(text: &str) -> ShortStr {
    ShortStr::new(text).unwrap()
}

/// The payload of a method frame from its parts.
fn payload(id: MethodId, fields: &[u8]) -> Vec<u8> {
    [&id.class.to_be_bytes()[..], &id.method.to_be_bytes(), fields].concat()
}

fn framed(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.put_u16(channel);
    out.put_u32(payload.len() as u32);
    out.put_slice(payload);
    out.put_u8(206);
    out
}

fn encoded(method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    method.encode(1, &mut out);
    out
}

/// All frames of a stream that comes in these parts, each as kind, channel and payload.
fn frames_of(parts: &[&[u8]]) -> Vec<(FrameKind, u16, Vec<u8>)> {
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for part in parts {
        buf.extend_from_slice(part);
        while let Some((frame, len)) = split_frame(&buf, 0).expect("the stream is good") {
            frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
            bytes::Buf::advance(&mut buf, len);
        }
    }
    assert!(buf.is_empty(), "{} bytes are left over", buf.len());
    frames
}

fn short_text() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<char>(), 0..8).prop_map(|chars| {
        let text: String = chars.into_iter().collect();
        [&[text.len() as u8], text.as_bytes()].concat()
    })
}

fn long_bytes(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn field_table() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|n| [&b"I"[..], &n.to_be_bytes()].concat()),
        any::<i64>().prop_map(|n| [&b"l"[..], &n.to_be_bytes()].concat()),
        any::<bool>().prop_map(|b| vec![b't', b.into()]),
        vec(any::<u8>(), 0..16).prop_map(|bytes| [&b"S"[..], &long_bytes(&bytes)].concat()),
        Just(vec![b'V']),
        Just(b"F\0\0\0\x03\x01kV".to_vec()),
        Just(b"A\0\0\0\x02VV".to_vec()),
    ];
    vec((short_text(), value), 0..4).prop_map(|fields| {
        let entries: Vec<u8> = fields.into_iter().flat_map(|(name, value)| [name, value].concat()).collect();
        long_bytes(&entries)
    })
}

/// One field, or one more bit of a run.
#[derive(Clone, Debug)]
enum Field {
    Bit(bool),
    Bytes(Vec<u8>),
}

fn field(spec: FieldSpec) -> BoxedStrategy<Field> {
    let reserved = spec.name.is_empty();
    let bytes = match spec.kind {
        FieldType::Bit => return any::<bool>().prop_map(move |bit| Field::Bit(bit && !reserved)).boxed(),
        _ if reserved => {
            let empty = match spec.kind {
                FieldType::Short => 2,
                FieldType::Shortstr => 1,
                _ => 4,
            };
            return Just(Field::Bytes(vec![0; empty])).boxed();
        }
        FieldType::Octet => vec(any::<u8>(), 1).boxed(),
        FieldType::Short => vec(any::<u8>(), 2).boxed(),
        FieldType::Long => vec(any::<u8>(), 4).boxed(),
        FieldType::Longlong => vec(any::<u8>(), 8).boxed(),
        FieldType::Shortstr => short_text().boxed(),
        FieldType::Longstr => vec(any::<u8>(), 0..16).prop_map(|bytes| long_bytes(&bytes)).boxed(),
        FieldType::Table => field_table().boxed(),
    };
    bytes.prop_map(Field::Bytes).boxed()
}

/// The payload of any method with any fields, written by another hand than the codec's.
fn any_method() -> impl Strategy<Value = (MethodId, Vec<u8>)> {
    proptest::sample::select(MethodId::ALL).prop_flat_map(|id| {
        let fields: Vec<_> = id.fields().unwrap().iter().map(|&spec| field(spec)).collect();
        fields.prop_map(move |fields| {
            let (mut out, mut bits) = (Vec::new(), 0);
            for field in fields {
                match field {
                    Field::Bytes(bytes) => {
                        out.extend(bytes);
                        bits = 0;
                    }
                    Field::Bit(bit) => {
                        if bits % 8 == 0 {
                            out.push(0);
                        }
                        *out.last_mut().unwrap() |= u8::from(bit) << (bits % 8);
                        bits += 1;
                    }
                }
            }
            (id, payload(id, &out))
        })
    })
}

/// Bytes as RabbitMQ's Java and Python clients write them.
#[test]
fn well_known_methods_have_the_bytes_that_clients_send() {
    let declare = QueueDeclare {
        queue: text("q"),
        durable: true,
        no_wait: true,
        arguments: FieldTable::new().with("x", 5),
        ..QueueDeclare::default()
    };
    let bytes = b"\x01\0\x01\0\0\0\x14\0\x32\0\x0a\0\0\x01q\x12\0\0\0\x07\x01xI\0\0\0\x05\xce";
    assert_eq!(encoded(&declare.clone().into())[..], bytes[..]);
    assert_eq!(Method::decode(&bytes[7..bytes.len() - 1]), Ok(declare.into()));

    let publish =
        BasicPublish { exchange: text(""), routing_key: text("q"), mandatory: true, immediate: false };
    let bytes = b"\x01\0\x01\0\0\0\x0a\0\x3c\0\x28\0\0\0\x01q\x01\xce";
    assert_eq!(encoded(&publish.into())[..], bytes[..]);

    let tune = ConnectionTune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 };
    let bytes = b"\x01\0\x01\0\0\0\x0c\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c\xce";
    assert_eq!(encoded(&tune.into())[..], bytes[..]);
}

#[test]
fn reserved_fields_and_unused_bits_are_read_and_ignored() {
    let fields = b"\x12\x34\x01q\xe5\0\0\0\0";
    let Ok(Method::QueueDeclare(declare)) = Method::decode(&payload(MethodId::QUEUE_DECLARE, fields)) else {
        panic!("the method is good")
    };
    assert_eq!(
        (&*declare.queue, declare.passive, declare.durable, declare.exclusive),
        ("q", true, false, true)
    );
    let open = Method::decode(&payload(MethodId::CONNECTION_OPEN, b"\x01/\x03any\x01"));
    assert_eq!(open, Ok(ConnectionOpen { virtual_host: text("/") }.into()));
}

#[test]
fn unknown_methods_are_503_and_carry_their_ids() {
    for (class, method) in [(60, 200), (99, 1), (0, 0), (40, 41)] {
        let id = MethodId { class, method };
        let error = Method::decode(&payload(id, &[])).unwrap_err();
        assert_eq!(error, MethodError::Unknown(id));
        assert_eq!((error.reply_code(), error.id()), (ReplyCode::CommandInvalid, Some(id)));
        assert_eq!(error.to_string(), format!("unknown method: class {class}, method {method}"));
    }
}

#[test]
fn a_frame_without_method_ids_is_501() {
    for len in 0..4 {
        let error = Method::decode(&[0; 3][..len.min(3)]).unwrap_err();
        assert_eq!((error, error.reply_code(), error.id()), (MethodError::NoId, ReplyCode::FrameError, None));
    }
}

#[test]
fn fields_that_cannot_be_read_are_502_and_name_method_and_field() {
    for (id, fields, says) in [
        (MethodId::QUEUE_DECLARE, &b"\0\0\x05ab"[..], "queue.declare: queue is cut short"),
        (MethodId::QUEUE_DECLARE, b"\0\0\x01\xff", "queue.declare: queue is not valid UTF-8"),
        (MethodId::QUEUE_DECLARE, b"\0\0\0\0\0\0\0\x03\x01kZ", "unknown field value type 0x5a"),
        (MethodId::BASIC_RECOVER, b"\x01\0\0", "basic.recover: 2 unexpected bytes after the last field"),
        (MethodId::BASIC_ACK, b"\0\0\0\0\0\0\0\x01", "basic.ack: multiple is cut short"),
        (MethodId::CONNECTION_SECURE_OK, b"\xff\xff\xff\xff", "response is cut short"),
    ] {
        let error = Method::decode(&payload(id, fields)).unwrap_err();
        assert_eq!((error.reply_code(), error.id()), (ReplyCode::SyntaxError, Some(id)));
        assert!(error.to_string().contains(says), "{error} does not say {says}");
    }
}

#[test]
fn a_table_at_the_limit_passes_and_one_past_it_is_named() {
    let declare = |len: usize| {
        // One entry: a name of one byte (2), the type (1), a length (4), and text.
        let mut fields = b"\0\0\0\0".to_vec();
        fields.put_u32(len as u32);
        fields.put_slice(b"\x01kS");
        fields.put_u32(len as u32 - 7);
        fields.put_bytes(b'x', len - 7);
        Method::decode(&payload(MethodId::QUEUE_DECLARE, &fields))
    };
    assert!(declare(TABLE_BYTES_MAX).is_ok());
    let error = WireError::TooLong { what: "arguments", len: TABLE_BYTES_MAX + 1, max: TABLE_BYTES_MAX };
    assert_eq!(
        declare(TABLE_BYTES_MAX + 1),
        Err(MethodError::Fields { id: MethodId::QUEUE_DECLARE, error }),
        "the limit comes before the bytes"
    );
}

#[test]
fn tables_of_absurd_depth_are_refused() {
    let declare = |depth: usize| {
        let table =
            (1..depth).fold(long_bytes(&[]), |inner, _| long_bytes(&[b"\x01kF", &inner[..]].concat()));
        Method::decode(&payload(MethodId::QUEUE_DECLARE, &[b"\0\0\0\0", &table[..]].concat()))
    };
    assert!(declare(TABLE_DEPTH_MAX).is_ok());
    let error = WireError::TooDeep { max: TABLE_DEPTH_MAX };
    for depth in [TABLE_DEPTH_MAX + 1, 1000] {
        let id = MethodId::QUEUE_DECLARE;
        assert_eq!(declare(depth), Err(MethodError::Fields { id, error }), "{depth} levels");
    }
}

#[test]
fn a_frame_up_to_the_slack_passes_and_one_past_it_is_refused_by_its_header() {
    let max = FRAME_MIN_SIZE;
    // A client that takes the limit for the payload's is 8 bytes too long, and RabbitMQ lets it.
    let longest = framed(3, 7, &vec![0; max as usize]);
    assert_eq!(split_frame(&longest, max).unwrap().unwrap().1, longest.len());
    let too_long = framed(3, 7, &vec![0; max as usize + 1]);
    let error = FrameError::TooLong { kind: 3, channel: 7, len: max + 1, max };
    for end in 0..7 {
        assert_eq!(split_frame(&too_long[..end], max), Ok(None));
    }
    for end in [7, 8, too_long.len()] {
        assert_eq!(split_frame(&too_long[..end], max), Err(error), "with {end} bytes");
    }
    assert_eq!(error.reply_code(), ReplyCode::FrameError);
    assert!(error.to_string().contains("type 3 on channel 7 announces 4097 bytes"), "{error}");
}

#[test]
fn without_a_limit_any_length_is_waited_for() {
    assert_eq!(split_frame(b"\x03\0\x01\xff\xff\xff\xffabc", 0), Ok(None));
    let error = split_frame(b"\x03\0\x01\xff\xff\xff\xff", u32::MAX - 9).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { len: u32::MAX, .. }), "nothing wraps: {error}");
}

#[test]
fn spoiled_streams_are_501() {
    for (bytes, error) in [
        (&b"\x01\0\x05\0\0\0\x01xy"[..], FrameError::BadEnd { kind: 1, channel: 5, end: b'y' }),
        (b"\x04\0\x05\0\0\0\0", FrameError::UnknownKind { kind: 4, channel: 5 }),
        (b"GET / HTTP/1.1", FrameError::UnknownKind { kind: b'G', channel: 0x4554 }),
        (b"\x08\0\0\0\0\0\x01", FrameError::HeartbeatPayload { channel: 0, len: 1 }),
    ] {
        assert_eq!(split_frame(bytes, 4096), Err(error));
        assert_eq!(error.reply_code().number(), 501);
        assert!(error.to_string().contains("on channel"), "{error} says where");
    }
}

#[test]
fn frame_kinds_have_their_octets() {
    for octet in 0..=255 {
        let kind = FrameKind::from_octet(octet);
        assert_eq!(kind.is_some(), [1, 2, 3, 8].contains(&octet));
        assert!(kind.is_none_or(|kind| kind.octet() == octet));
    }
}

#[test]
fn a_heartbeat_is_an_empty_frame_of_the_connection() {
    let mut out = BytesMut::new();
    put_heartbeat(&mut out);
    assert_eq!(out[..], b"\x08\0\0\0\0\0\0\xce"[..]);
}

#[test]
fn a_borrowed_form_refuses_any_other_method() {
    for &id in MethodId::ALL {
        let payload = payload(id, b"\0\0\0\0\0");
        assert_eq!(BasicPublishRef::decode(&payload).is_ok(), id == MethodId::BASIC_PUBLISH, "{}", id.name());
    }
    assert_eq!(BasicPublishRef::decode(&[0, 60]), Err(MethodError::NoId));
    let deliver = payload(MethodId::BASIC_DELIVER, b"\x01t\0\0\0\0\0\0\0\x09\x01\x01x\x01k");
    assert_eq!(
        BasicDeliverRef::decode(&deliver),
        Ok(BasicDeliverRef {
            consumer_tag: "t",
            delivery_tag: 9,
            redelivered: true,
            exchange: "x",
            routing_key: "k"
        })
    );
    let publish = payload(MethodId::BASIC_PUBLISH, &deliver[4..]);
    assert!(BasicDeliverRef::decode(&publish).is_err());
}

#[test]
fn the_same_properties_fit_both_protocols() {
    assert_eq!(PROPERTIES_BYTES_MAX, rialto_protocol::native::PROPERTIES_BYTES_MAX);
}

#[test]
fn properties_at_the_limit_pass_and_one_past_it_are_named() {
    let header = |len: usize| {
        // Flags (2), the length of the headers (4), and one entry of them as above.
        let mut out = b"\0\x3c\0\0\0\0\0\0\0\0\0\0\x20\0".to_vec();
        out.put_u32(len as u32 - 6);
        out.put_slice(b"\x01kS");
        out.put_u32(len as u32 - 13);
        out.put_bytes(b'x', len - 13);
        out
    };
    assert!(ContentHeader::decode(&header(PROPERTIES_BYTES_MAX)).is_ok());
    let (len, max) = (PROPERTIES_BYTES_MAX + 1, PROPERTIES_BYTES_MAX);
    let error = WireError::TooLong { what: "properties", len, max };
    assert_eq!(ContentHeader::decode(&header(len)), Err(error));
}

#[test]
fn every_cut_of_a_content_header_is_refused() {
    let properties = Properties { priority: Some(1), message_id: Some(text("m")), ..Properties::default() };
    let mut out = BytesMut::new();
    put_content_header(1, 5, &properties.encoded(), &mut out);
    let payload = &out[7..out.len() - 1];
    for end in 0..payload.len() {
        assert!(ContentHeader::decode(&payload[..end]).is_err(), "cut at {end}");
    }
    let header = ContentHeader::decode(payload).unwrap();
    assert_eq!((header.class, header.weight, header.body_size), (60, 0, 5));
    assert_eq!(header.properties.decode(), properties);
    assert!(ContentHeader::decode(&[payload, &[0]].concat()).is_err(), "nothing may follow");
}

#[test]
fn no_properties_are_written_as_empty_flags() {
    let mut out = BytesMut::new();
    put_content_header(2, 9, &[], &mut out);
    assert_eq!(out[..], b"\x02\0\x02\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\x09\0\0\xce"[..]);
    let header = ContentHeader::decode(&out[7..21]).unwrap();
    assert_eq!((header.properties, header.property_bytes), (RawProperties::EMPTY, &[0, 0][..]));
}

#[test]
fn a_body_is_cut_at_the_frame_limit() {
    for (len, lens) in [
        (0, &[][..]),
        (1, &[1]),
        (4087, &[4087]),
        (4088, &[4088]),
        (4089, &[4088, 1]),
        (3 * 4088, &[4088, 4088, 4088]),
    ] {
        let body: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let mut out = BytesMut::new();
        put_body(3, &body, 4096, &mut out);
        let frames = frames_of(&[&out]);
        assert_eq!(frames.iter().map(|(_, _, part)| part.len()).collect::<Vec<_>>(), lens, "{len} bytes");
        assert!(frames.iter().all(|(kind, channel, _)| (*kind, *channel) == (FrameKind::Body, 3)));
        assert_eq!(frames.concat_payloads(), body);
    }
    let mut out = BytesMut::new();
    put_body(3, &[7; 300_000], 0, &mut out);
    assert_eq!(frames_of(&[&out]).len(), 1, "no limit, one frame");
}

#[test]
fn a_body_can_be_sent_beside_the_buffer() {
    let (mut copied, mut beside) = (BytesMut::new(), BytesMut::new());
    put_body(3, b"body", 4096, &mut copied);
    put_body_frame_head(3, 4, &mut beside);
    beside.put_slice(b"body");
    beside.put_u8(FRAME_END);
    assert_eq!(beside, copied);
    assert_eq!((body_part_max(4096), body_part_max(0)), (4088, u32::MAX as usize));
}

trait Payloads {
    fn concat_payloads(&self) -> Vec<u8>;
}

impl Payloads for Vec<(FrameKind, u16, Vec<u8>)> {
    fn concat_payloads(&self) -> Vec<u8> {
        self.iter().flat_map(|(_, _, payload)| payload.clone()).collect()
    }
}

fn properties() -> impl Strategy<Value = Bytes> {
    (proptest::option::of(any::<u8>()), proptest::option::of(0..3_u8), any::<bool>()).prop_map(
        |(priority, delivery_mode, named)| {
            let message_id = named.then(|| text("m-1"));
            Properties { priority, delivery_mode, message_id, ..Properties::default() }.encoded()
        },
    )
}

proptest! {
    #[test]
    fn every_method_is_written_as_it_was_read((id, payload) in any_method(), channel: u16) {
        let method = Method::decode(&payload).unwrap();
        prop_assert_eq!(method.id(), id);
        prop_assert_eq!(method.has_content(), id.has_content());
        let mut out = BytesMut::new();
        method.encode(channel, &mut out);
        prop_assert_eq!(&out[..], &framed(1, channel, &payload)[..]);
        let (frame, len) = split_frame(&out, 0).unwrap().unwrap();
        prop_assert_eq!((frame.kind, frame.channel, len), (FrameKind::Method, channel, out.len()));
        prop_assert_eq!(Method::decode(frame.payload).unwrap(), method);
    }

    #[test]
    fn every_cut_of_a_method_is_refused_with_its_id((id, payload) in any_method()) {
        for end in 4..payload.len() {
            let error = Method::decode(&payload[..end]).unwrap_err();
            prop_assert_eq!((error.id(), error.reply_code().number()), (Some(id), 502), "cut at {}", end);
        }
        let error = Method::decode(&[&payload[..], &[0]].concat()).unwrap_err();
        prop_assert_eq!((error.id(), error.reply_code().number()), (Some(id), 502));
    }

    #[test]
    fn borrowed_forms_read_what_the_owned_ones_read(
        exchange in short_text(), key in short_text(), tag in short_text(), number: u64, bits in 0..4_u8,
    ) {
        let fields = [&[0, 0], &exchange[..], &key, &[bits]].concat();
        let payload_ = payload(MethodId::BASIC_PUBLISH, &fields);
        let Ok(Method::BasicPublish(owned)) = Method::decode(&payload_) else { panic!("it is good") };
        let read = BasicPublishRef::decode(&payload_).unwrap();
        prop_assert_eq!((read.exchange, read.routing_key), (&*owned.exchange, &*owned.routing_key));
        prop_assert_eq!((read.mandatory, read.immediate), (owned.mandatory, owned.immediate));

        let fields = [&tag[..], &number.to_be_bytes(), &[bits & 1], &exchange, &key].concat();
        let payload_ = payload(MethodId::BASIC_DELIVER, &fields);
        let Ok(Method::BasicDeliver(owned)) = Method::decode(&payload_) else { panic!("it is good") };
        let read = BasicDeliverRef::decode(&payload_).unwrap();
        prop_assert_eq!((read.consumer_tag, read.delivery_tag), (&*owned.consumer_tag, number));
        prop_assert_eq!((read.exchange, read.routing_key), (&*owned.exchange, &*owned.routing_key));
        prop_assert_eq!(read.redelivered, owned.redelivered);
    }

    #[test]
    fn however_a_stream_is_split_the_same_frames_come_out(
        methods in vec((any_method(), any::<u16>()), 1..4), body in vec(any::<u8>(), 0..64), frame_max in 9..40_u32,
    ) {
        let mut stream = BytesMut::new();
        let mut expected = Vec::new();
        for ((_, payload), channel) in methods {
            stream.extend_from_slice(&framed(1, channel, &payload));
            expected.push((FrameKind::Method, channel, payload));
            put_heartbeat(&mut stream);
            expected.push((FrameKind::Heartbeat, 0, vec![]));
            put_body(channel, &body, frame_max, &mut stream);
            let parts = body.chunks(frame_max as usize - 8);
            expected.extend(parts.map(|part| (FrameKind::Body, channel, part.to_vec())));
        }
        for split in 0..=stream.len() {
            let (front, back) = stream.split_at(split);
            prop_assert_eq!(&frames_of(&[front, back]), &expected, "split at {}", split);
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(&frames_of(&bytes), &expected, "byte by byte");
    }

    #[test]
    fn a_delivery_has_the_bytes_of_its_method_header_and_body(
        channel: u16, delivery_tag: u64, redelivered: bool, properties in properties(),
        body in vec(any::<u8>(), 0..64), names in vec("[a-zé]{0,9}", 3),
    ) {
        let [consumer_tag, exchange, routing_key] = &names[..] else { unreachable!("three were asked for") };
        let mut expected = BytesMut::new();
        let method = BasicDeliver {
            consumer_tag: text(consumer_tag),
            delivery_tag,
            redelivered,
            exchange: text(exchange),
            routing_key: text(routing_key),
        };
        Method::from(method).encode(channel, &mut expected);
        put_content_header(channel, body.len() as u64, &properties, &mut expected);
        put_body(channel, &body, 20, &mut expected);

        let writer = DeliverWriter::new(channel, consumer_tag);
        let mut out = BytesMut::new();
        writer.put_head(delivery_tag, redelivered, exchange, routing_key, body.len(), &properties, &mut out);
        put_body(channel, &body, 20, &mut out);
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn messages_in_frames_of_any_size_are_assembled_as_they_were_published(
        messages in vec((properties(), vec(any::<u8>(), 0..64)), 1..4), frame_max in 9..80_u32,
    ) {
        let publish = BasicPublish { routing_key: text("k"), ..BasicPublish::default() };
        let mut stream = BytesMut::new();
        for (properties, body) in &messages {
            Method::from(publish.clone()).encode(1, &mut stream);
            put_content_header(1, body.len() as u64, properties, &mut stream);
            put_body(1, body, frame_max, &mut stream);
        }
        let mut assembler = ContentAssembler::default();
        let mut assembled = Vec::new();
        let mut keep = |message: Option<Assembled<'_>>| {
            let Some(message) = message else { return };
            assert_eq!(Method::decode(message.method), Ok(publish.clone().into()));
            assembled.push((Properties::decode(message.properties).unwrap(), message.body.to_vec()));
        };
        for (kind, _, payload) in frames_of(&[&stream]) {
            match kind {
                FrameKind::Method => assembler.begin(&payload),
                FrameKind::Header => {
                    let header = ContentHeader::decode(&payload).unwrap();
                    keep(assembler.header(&header).unwrap());
                }
                _ => keep(assembler.body(&payload).unwrap()),
            }
        }
        prop_assert!(assembler.is_idle());
        let expected: Vec<_> = messages
            .iter()
            .map(|(properties, body)| (Properties::decode(properties).unwrap(), body.clone()))
            .collect();
        prop_assert_eq!(assembled, expected);
    }
}
