//! What AMQP does per message allocates nothing: reading a publish, putting it together, writing a delivery.

use allocation_counter::measure;
use bytes::BytesMut;
use rialto_protocol::amqp::*;
use rialto_protocol::types::{Properties, ShortStr};

fn published(body: &[u8], frame_max: u32) -> BytesMut {
    let mut stream = BytesMut::new();
    let publish =
        BasicPublish { routing_key: ShortStr::truncated("some.routing.key"), ..BasicPublish::default() };
    let properties =
        Properties { delivery_mode: Some(2), priority: Some(3), ..Properties::default() }.encoded();
    Method::from(publish).encode(1, &mut stream);
    put_content_header(1, body.len() as u64, &properties, &mut stream);
    put_body(1, body, frame_max, &mut stream);
    stream
}

/// Reads a stream as a session does; gives the bytes of the bodies.
fn read(mut stream: &[u8], assembler: &mut ContentAssembler) -> usize {
    let mut bytes = 0;
    while let Some((frame, len)) = split_frame(stream, 4096).expect("the stream is good") {
        let whole = match frame.kind {
            FrameKind::Method => {
                assembler.begin(frame.payload);
                None
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("the header is good");
                assembler.header(&header).expect("a header is due")
            }
            _ => assembler.body(frame.payload).expect("a body is due"),
        };
        if let Some(whole) = whole {
            let publish = BasicPublishRef::decode(whole.method).expect("it is a publish");
            assert_eq!(publish.routing_key, "some.routing.key");
            bytes += whole.body.len();
        }
        stream = &stream[len..];
    }
    bytes
}

#[test]
fn reading_a_publish_allocates_nothing_once_the_assembler_is_warm() {
    for (body, frame_max) in [(vec![7; 1000], 4096), (vec![7; 10_000], 4096), (vec![], 4096)] {
        let stream = published(&body, frame_max);
        let mut assembler = ContentAssembler::default();
        read(&stream, &mut assembler);
        let mut bytes = 0;
        let allocations = measure(|| bytes = read(&stream, &mut assembler));
        assert_eq!((bytes, allocations.count_total), (body.len(), 0));
    }
}

#[test]
fn reading_an_ack_allocates_nothing() {
    let mut stream = BytesMut::new();
    Method::from(BasicAck { delivery_tag: 7, multiple: true }).encode(1, &mut stream);
    let allocations = measure(|| {
        let (frame, _) = split_frame(&stream, 4096).expect("it is good").expect("it is whole");
        assert!(Method::decode(frame.payload).is_ok());
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn writing_a_delivery_allocates_nothing_but_room() {
    let writer = DeliverWriter::new(1, "consumer");
    let mut out = BytesMut::with_capacity(8192);
    let body = [7; 1000];
    let allocations = measure(|| {
        for tag in 1..=5 {
            writer.put_head(tag, false, "exchange", "some.routing.key", body.len(), &[], &mut out);
            put_body(1, &body, 4096, &mut out);
        }
    });
    assert_eq!(allocations.count_total, 0);
}
