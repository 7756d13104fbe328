//! Generated commands: every kind, with values of every shape that fits.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

fn text() -> impl Strategy<Value = ShortStr> {
    vec(any::<char>(), 0..12).prop_map(|chars| ShortStr::truncated(chars.into_iter().collect::<String>()))
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<i64>().prop_map(FieldValue::I64Upper),
        // Numbers only: what is not a number is not equal to itself either.
        prop::num::f32::NORMAL.prop_map(FieldValue::F32),
        prop::num::f64::NORMAL.prop_map(FieldValue::F64),
        any::<(u8, u32)>().prop_map(|(scale, digits)| FieldValue::Decimal(scale, digits)),
        bytes(16).prop_map(FieldValue::LongStr),
        bytes(16).prop_map(FieldValue::Bytes),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(FieldValue::Array),
            vec((text(), inner), 0..4).prop_map(|fields| FieldValue::Table(fields.into_iter().collect())),
        ]
    })
}

fn table() -> impl Strategy<Value = FieldTable> {
    vec((text(), value()), 0..4).prop_map(|fields| fields.into_iter().collect())
}

fn properties() -> impl Strategy<Value = Properties> {
    let texts = vec(option::of(text()), 9);
    (texts, option::of(table()), option::of(any::<u8>()), option::of(any::<u8>()), option::of(any::<u64>()))
        .prop_map(|(mut texts, headers, delivery_mode, priority, timestamp)| {
            let mut next = || texts.pop().flatten();
            Properties {
                content_type: next(),
                content_encoding: next(),
                headers,
                delivery_mode,
                priority,
                correlation_id: next(),
                reply_to: next(),
                expiration: next(),
                message_id: next(),
                timestamp,
                kind: next(),
                user_id: next(),
                app_id: next(),
                cluster_id: next(),
            }
        })
}

fn entry() -> impl Strategy<Value = (Bytes, Bytes)> {
    (properties().prop_map(|properties| properties.encoded()), bytes(32))
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![
        (1..=u32::MAX).prop_map(Route::Defined),
        (text(), text()).prop_map(|(exchange, routing_key)| Route::Inline { exchange, routing_key }),
    ]
}

fn encoded_entries(entries: &[(Bytes, Bytes)]) -> Bytes {
    let mut out = BytesMut::new();
    entries.iter().for_each(|(properties, body)| put_entry(properties, body, &mut out));
    out.freeze()
}

/// A run as a publisher writes it.
pub(crate) fn publish_run() -> impl Strategy<Value = PublishRun> {
    (route(), any::<bool>(), vec(entry(), 1..4)).prop_map(|(route, mandatory, entries)| PublishRun {
        route,
        mandatory,
        count: entries.len() as u32,
        entries: encoded_entries(&entries),
    })
}

fn delivered_run(max: usize) -> impl Strategy<Value = DeliveredRun> {
    (text(), text(), vec(entry(), 1..=max)).prop_map(|(exchange, routing_key, entries)| DeliveredRun {
        exchange,
        routing_key,
        count: entries.len() as u32,
        entries: encoded_entries(&entries),
    })
}

/// Encodes a publish through the writer and takes it apart again, for its runs.
pub(crate) fn publish_of(first: u64, outcomes: bool, runs: &[PublishRun]) -> Publish {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, first, outcomes, &mut out);
    for run in runs {
        frame.run((&run.route).into(), run.mandatory, &mut out);
        frame.entries(run.count, &run.entries, &mut out);
    }
    frame.finish(&mut out);
    Publish { first, outcomes, runs: out.freeze().slice(FRAME_HEADER_LEN + 8..) }
}

fn deliver_of(consumer: u32, first_tag: u64, runs: &[DeliveredRun]) -> Deliver {
    let mut out = BytesMut::new();
    let mut frame = DeliverWriter::begin(1, consumer, first_tag, &mut out);
    for run in runs {
        frame.run(&run.exchange, &run.routing_key, &mut out);
        frame.entries(run.count, &run.entries, &mut out);
    }
    frame.finish(&mut out);
    Deliver { consumer, first_tag, runs: out.freeze().slice(FRAME_HEADER_LEN + 12..) }
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    any::<(u64, u64)>().prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn closing() -> impl Strategy<Value = Closing> {
    (any::<u16>(), text(), any::<u8>(), any::<u32>()).prop_map(|(code, text, kind, correlation)| Closing {
        code,
        text,
        kind,
        correlation,
    })
}

fn binding() -> impl Strategy<Value = Binding> {
    (text(), text(), text(), table()).prop_map(|(source, destination, routing_key, arguments)| Binding {
        source,
        destination,
        routing_key,
        arguments,
    })
}

fn list_of() -> impl Strategy<Value = ListOf> {
    prop_oneof![
        Just(ListOf::Queues),
        Just(ListOf::Exchanges),
        Just(ListOf::Bindings),
        Just(ListOf::Connections),
        Just(ListOf::Consumers),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (text(), text(), any::<[bool; 4]>(), table()).prop_map(|(name, kind, bits, arguments)| {
            let [passive, durable, auto_delete, internal] = bits;
            Request::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments }
        }),
        (text(), any::<bool>()).prop_map(|(name, if_unused)| Request::DeleteExchange { name, if_unused }),
        binding().prop_map(Request::BindExchange),
        binding().prop_map(Request::UnbindExchange),
        (text(), any::<[bool; 4]>(), table()).prop_map(|(name, bits, arguments)| {
            let [passive, durable, exclusive, auto_delete] = bits;
            Request::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments }
        }),
        (text(), any::<[bool; 2]>()).prop_map(|(name, [if_unused, if_empty])| Request::DeleteQueue {
            name,
            if_unused,
            if_empty
        }),
        binding().prop_map(Request::BindQueue),
        binding().prop_map(Request::UnbindQueue),
        text().prop_map(|name| Request::PurgeQueue { name }),
        (
            text(),
            any::<u32>(),
            text(),
            any::<[bool; 2]>(),
            any::<u32>(),
            any::<Option<(u32, u32)>>(),
            table()
        )
            .prop_map(
                |(queue, consumer, tag, [auto_ack, exclusive], prefetch, credit, arguments)| {
                    Request::Consume(Consume {
                        queue,
                        consumer,
                        tag,
                        auto_ack,
                        exclusive,
                        prefetch,
                        credit,
                        arguments,
                    })
                }
            ),
        any::<u32>().prop_map(|consumer| Request::Cancel { consumer }),
        (text(), any::<bool>()).prop_map(|(queue, auto_ack)| Request::Get { queue, auto_ack }),
        any::<u32>().prop_map(|messages| Request::SetPrefetch { messages }),
        text().prop_map(|name| Request::QueueInfo { name }),
        text().prop_map(|name| Request::ExchangeInfo { name }),
        (list_of(), bytes(40), any::<u32>()).prop_map(|(what, after, limit)| Request::List {
            what,
            after,
            limit
        }),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        Just(Response::Done),
        any::<u64>().prop_map(Response::Count),
        (text(), any::<u64>(), any::<u32>())
            .prop_map(|(name, messages, consumers)| Response::QueueDeclared { name, messages, consumers }),
        text().prop_map(|tag| Response::Consuming { tag }),
        (any::<u64>(), any::<u64>(), delivered_run(1)).prop_map(|(tag, remaining, run)| Response::Got {
            tag,
            remaining,
            run
        }),
        Just(Response::Empty),
        table().prop_map(Response::Info),
        (vec(table(), 0..4), bytes(40)).prop_map(|(rows, next)| Response::Page { rows, next }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Confirmed),
        Just(Outcome::Unroutable),
        (any::<u16>(), text()).prop_map(|(code, reason)| Outcome::Rejected { code, reason }),
        Just(Outcome::Duplicate),
    ]
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        Just(Settlement::Ack),
        Just(Settlement::Requeue),
        text().prop_map(|reason| Settlement::Reject { reason }),
    ]
}

fn of_the_connection() -> impl Strategy<Value = Command> {
    prop_oneof![
        (text(), bytes(40), text(), any::<u32>(), any::<u32>(), table()).prop_map(
            |(mechanism, response, vhost, frame_max, heartbeat_ms, properties)| {
                Command::Login(Login { mechanism, response, vhost, frame_max, heartbeat_ms, properties })
            }
        ),
        bytes(40).prop_map(Command::Challenge),
        bytes(40).prop_map(|bytes| Command::ChallengeResponse(bytes.into())),
        (any::<(u32, u16, u32, u32, u32, u32)>(), table()).prop_map(|(numbers, properties)| {
            let (frame_max, channel_max, route_max, heartbeat_ms, publish_window, message_size_max) = numbers;
            Command::Welcome(Welcome {
                frame_max,
                channel_max,
                route_max,
                heartbeat_ms,
                publish_window,
                message_size_max,
                properties,
            })
        }),
        closing().prop_map(Command::Close),
        Just(Command::CloseOk),
        Just(Command::Heartbeat),
        any::<u32>().prop_map(Command::PublishCredit),
        text().prop_map(Command::Blocked),
        Just(Command::Unblocked),
    ]
}

fn of_a_channel() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => any::<u32>().prop_map(|correlation| Command::OpenChannel { correlation }),
        1 => any::<u32>().prop_map(|correlation| Command::CloseChannel { correlation }),
        1 => closing().prop_map(Command::ChannelClosed),
        6 => (any::<u32>(), request())
            .prop_map(|(correlation, request)| Command::Request { correlation, request }),
        4 => (any::<u32>(), response())
            .prop_map(|(correlation, response)| Command::Response { correlation, response }),
        1 => (any::<u32>(), any::<u16>(), text())
            .prop_map(|(correlation, code, text)| Command::Failure { correlation, code, text }),
        1 => (1..=u32::MAX, text(), text()).prop_map(|(route, exchange, routing_key)| Command::DefineRoute {
            route,
            exchange,
            routing_key
        }),
        2 => (any::<u64>(), any::<bool>(), vec(publish_run(), 0..4))
            .prop_map(|(first, outcomes, runs)| Command::Publish(publish_of(first, outcomes, &runs))),
        1 => vec((range(), outcome()), 0..4).prop_map(|ranges| {
            let ranges = ranges.into_iter();
            Command::Outcomes(
                ranges.map(|((first, last), outcome)| OutcomeRange { first, last, outcome }).collect(),
            )
        }),
        1 => (any::<u64>(), any::<u16>(), text(), delivered_run(1)).prop_map(|(sequence, code, text, run)| {
            Command::Returned(Returned { sequence, code, text, run })
        }),
        1 => any::<(u32, u32, u32)>().prop_map(|(consumer, messages, bytes)| Command::Credit {
            consumer,
            messages,
            bytes
        }),
        2 => (any::<u32>(), any::<u64>(), vec(delivered_run(3), 0..4))
            .prop_map(|(consumer, first_tag, runs)| Command::Deliver(deliver_of(consumer, first_tag, &runs))),
        1 => (any::<u32>(), settlement(), vec(range(), 0..4)).prop_map(|(consumer, settlement, ranges)| {
            Command::Settle(Settle { consumer, settlement, ranges })
        }),
        1 => (any::<u32>(), text()).prop_map(|(consumer, reason)| Command::ConsumerCancelled { consumer, reason }),
    ]
}

/// Any frame that may stand on the wire.
pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        1 => of_the_connection().prop_map(|command| Frame { channel: 0, command }),
        3 => (1..=u16::MAX, of_a_channel()).prop_map(|(channel, command)| Frame { channel, command }),
    ]
}
