//! Writes the seeds of the protocol targets: `cargo run --example protocol_seeds`.
//!
//! Kept as code so that the seeds can be made again when the format grows.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}

fn every_type() -> FieldTable {
    FieldTable::new()
        .with("t", true)
        .with("b", FieldValue::I8(-1))
        .with("B", FieldValue::U8(255))
        .with("s", FieldValue::I16(-2))
        .with("u", FieldValue::U16(65535))
        .with("I", -3)
        .with("i", FieldValue::U32(7))
        .with("l", -4_i64)
        .with("L", FieldValue::I64Upper(5))
        .with("f", FieldValue::F32(1.5))
        .with("d", FieldValue::F64(-2.5))
        .with("D", FieldValue::Decimal(2, 314))
        .with("S", "text")
        .with("x", FieldValue::Bytes(Bytes::from_static(&[0, 255])))
        .with("A", FieldValue::Array(vec![FieldValue::Void, "in".into()]))
        .with("T", FieldValue::Timestamp(1_700_000_000))
        .with("F", FieldTable::new().with("inner", 1))
        .with("V", FieldValue::Void)
}

fn full_properties() -> Properties {
    Properties {
        content_type: Some(text("text/plain")),
        headers: Some(FieldTable::new().with("k", "v")),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some(text("c")),
        reply_to: Some(text("r")),
        expiration: Some(text("60000")),
        message_id: Some(text("m")),
        timestamp: Some(1),
        user_id: Some(text("guest")),
        ..Properties::default()
    }
}

fn binding() -> Binding {
    Binding {
        source: text("x"),
        destination: text("q"),
        routing_key: text("a.*.#"),
        arguments: FieldTable::new().with("x-match", "any"),
    }
}

fn requests() -> Vec<Request> {
    let (name, arguments) = (text("q"), FieldTable::new().with("x-max-priority", 5));
    vec![
        Request::DeclareExchange {
            name: text("x"),
            kind: text("topic"),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: arguments.clone(),
        },
        Request::DeleteExchange { name: text("x"), if_unused: true },
        Request::BindExchange(binding()),
        Request::UnbindExchange(binding()),
        Request::DeclareQueue {
            name: name.clone(),
            passive: true,
            durable: false,
            exclusive: true,
            auto_delete: true,
            arguments: arguments.clone(),
        },
        Request::DeleteQueue { name: name.clone(), if_unused: true, if_empty: true },
        Request::BindQueue(binding()),
        Request::UnbindQueue(binding()),
        Request::PurgeQueue { name: name.clone() },
        Request::Consume(Consume {
            queue: name.clone(),
            consumer: 1,
            tag: text("t"),
            auto_ack: false,
            exclusive: false,
            prefetch: 10,
            credit: Some((100, 1 << 20)),
            arguments,
        }),
        Request::Cancel { consumer: 1 },
        Request::Get { queue: name.clone(), auto_ack: false },
        Request::SetPrefetch { messages: 5 },
        Request::QueueInfo { name },
        Request::ExchangeInfo { name: text("x") },
        Request::List { what: ListOf::Bindings, after: Bytes::from_static(b"next"), limit: 100 },
    ]
}

fn single_run() -> DeliveredRun {
    let mut entries = BytesMut::new();
    put_entry(&full_properties().encoded(), b"body", &mut entries);
    DeliveredRun { exchange: text("x"), routing_key: text("k"), count: 1, entries: entries.freeze() }
}

fn responses() -> Vec<Response> {
    vec![
        Response::Done,
        Response::Count(3),
        Response::QueueDeclared { name: text("q"), messages: 3, consumers: 1 },
        Response::Consuming { tag: text("t") },
        Response::Got { tag: 1, remaining: 2, run: single_run() },
        Response::Empty,
        Response::Info(every_type()),
        Response::Page { rows: vec![FieldTable::new().with("name", "q")], next: Bytes::from_static(b"q") },
    ]
}

fn publish() -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, 1, true, &mut out);
    frame.run(RouteRef::Defined(1), false, &mut out);
    frame.entry(&full_properties().encoded(), b"one", &mut out);
    frame.entry(&[], b"two", &mut out);
    frame.run(RouteRef::Inline { exchange: "x", routing_key: "k" }, true, &mut out);
    frame.entry(&[], b"", &mut out);
    frame.finish(&mut out);
    out
}

fn deliver() -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = DeliverWriter::begin(1, 1, 1, &mut out);
    frame.run("x", "k", &mut out);
    frame.entry(&[], b"one", &mut out);
    let flags = EntryFlags::REDELIVERED.with(EntryFlags::DELIVERY_COUNT);
    frame.entry_head(flags, 2, &[], 3, &mut out);
    out.extend_from_slice(b"two");
    frame.finish(&mut out);
    out
}

fn frames() -> Vec<(String, BytesMut)> {
    let closing = Closing { code: 404, text: text("NOT_FOUND"), kind: 0x31, correlation: 9 };
    let rejected = Outcome::Rejected { code: 406, reason: text("full") };
    let outcomes = [Outcome::Confirmed, Outcome::Unroutable, rejected, Outcome::Duplicate];
    let settlements = [Settlement::Ack, Settlement::Requeue, Settlement::Reject { reason: text("bad") }];
    let mut commands = vec![
        Command::Login(Login {
            mechanism: text("PLAIN"),
            response: Bytes::from_static(b"\0guest\0guest"),
            vhost: text("/"),
            frame_max: 0,
            heartbeat_ms: 10_000,
            properties: FieldTable::new().with("product", "p"),
        }),
        Command::Challenge(Bytes::from_static(b"c")),
        Command::ChallengeResponse(Bytes::from_static(b"r").into()),
        Command::Welcome(Welcome {
            frame_max: FRAME_MAX_DEFAULT,
            channel_max: 100,
            route_max: 1000,
            heartbeat_ms: 10_000,
            publish_window: 1 << 20,
            message_size_max: 1 << 24,
            properties: FieldTable::new().with("product", "p"),
        }),
        Command::Close(closing.clone()),
        Command::CloseOk,
        Command::Heartbeat,
        Command::PublishCredit(1000),
        Command::Blocked(text("memory")),
        Command::Unblocked,
        Command::OpenChannel { correlation: 1 },
        Command::CloseChannel { correlation: 2 },
        Command::ChannelClosed(closing),
        Command::Failure { correlation: 3, code: 404, text: text("NOT_FOUND") },
        Command::DefineRoute { route: 1, exchange: text("x"), routing_key: text("k") },
        Command::Outcomes(
            outcomes.map(|outcome| OutcomeRange { first: 1, last: 2, outcome }).into_iter().collect(),
        ),
        Command::Returned(Returned { sequence: 1, code: 312, text: text("NO_ROUTE"), run: single_run() }),
        Command::Credit { consumer: 1, messages: 10, bytes: 1000 },
        Command::ConsumerCancelled { consumer: 1, reason: text("deleted") },
    ];
    commands.extend(
        settlements.map(|settlement| {
            Command::Settle(Settle { consumer: 1, settlement, ranges: vec![(1, 3), (5, 5)] })
        }),
    );
    commands.extend(requests().into_iter().map(|request| Command::Request { correlation: 7, request }));
    commands.extend(responses().into_iter().map(|response| Command::Response { correlation: 7, response }));
    let mut frames: Vec<_> = commands
        .into_iter()
        .enumerate()
        .map(|(at, command)| {
            let kind = command.kind();
            let name = match &command {
                Command::Request { request, .. } => request.operation().name(),
                _ => kind.name(),
            };
            let mut out = BytesMut::new();
            command.encode(kind.needs_channel().into(), &mut out);
            (format!("{at:02}_{name}"), out)
        })
        .collect();
    frames.push(("publish".to_owned(), publish()));
    frames.push(("deliver".to_owned(), deliver()));
    frames
}

fn keep(target: &str, name: &str, data: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be created");
    fs::write(folder.join(name), data).expect("a seed can be written");
}

fn main() {
    let mut stream = Vec::new();
    for (name, frame) in frames() {
        // `native_roundtrip` takes kind, flags and the low octet of the channel in front of the body.
        let short = [&[frame[4], frame[5], frame[7]], &frame[FRAME_HEADER_LEN..]].concat();
        keep("native_roundtrip", &name, &short);
        stream.extend_from_slice(&frame);
    }
    keep("native_frames", "every_kind", &stream);
    keep("native_frames", "publish_then_heartbeat", &[&publish()[..], &[0, 0, 0, 4, 7, 0, 0, 0]].concat());
    keep("native_frames", "deliver_cut_short", &deliver()[..30]);
    keep("native_frames", "skipped_then_heartbeat", &[0, 0, 0, 5, 0xff, 1, 0, 9, 3, 0, 0, 0, 4, 7, 0, 0, 0]);
    keep("native_frames", "reserved", &[0, 0, 0, 4, ReservedKind::ExtendDeadline.octet(), 0, 0, 1]);
    keep("native_frames", "too_long", &[0xff, 0xff, 0xff, 0xff, 0x31, 0, 0, 1]);
    keep("native_frames", "too_short", &[0, 0, 0, 3, 0x31]);
    keep("field_tables", "empty_table", &FieldTable::new().encoded());
    keep("field_tables", "every_type", &every_type().encoded());
    keep("field_tables", "properties", &full_properties().encoded());
    keep("field_tables", "properties_continued", &[0b0000_1000, 0b0000_0001, 0, 0, 9]);
    keep("field_tables", "boolean_of_two", &[0, 0, 0, 4, 1, b'k', b't', 2]);
}
