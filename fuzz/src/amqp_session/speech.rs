//! What an AMQP client may say: methods with small pools of names, contents, and noise.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use super::ear::{Ear, LineState, is_auto_ack_tag};
use crate::script::Script;

const QUEUES: [&str; 10] =
    ["a", "b", "c", "d", "q1", "q2", "q3", "", "amq.rabbitmq.reply-to", "amq.delayed.later"];
const EXCHANGES: [&str; 12] = [
    "",
    "e",
    "f",
    "hash",
    "later",
    "once",
    "amq.direct",
    "amq.fanout",
    "amq.topic",
    "amq.headers",
    "amq.match",
    "none",
];
const KEYS: [&str; 10] = ["a", "b", "c", "d", "q1", "a.b", "#", "*.b", "1", ""];
/// Those that begin with `n` do not acknowledge.
const TAGS: [&str; 6] = ["c1", "c2", "c3", "n1", "n2", ""];
const NUMBERS: [i64; 12] = [0, 1, 2, 3, 5, 10, 50, 1000, 70_000, -1, i64::MIN, i64::MAX];

/// Each byte of a body of this length, so that a reader knows whether it got what was published.
pub(super) fn fill(len: usize) -> u8 {
    (len % 251) as u8
}

/// Frames that are still to be said on a channel: a message whose content comes later.
pub(super) type Unsaid = VecDeque<BytesMut>;

/// Appends something that a client may say, mostly.
pub(super) fn say(script: &mut Script<'_>, ear: &mut Ear, unsaid: &mut [Unsaid; 4], out: &mut BytesMut) {
    let number = 1 + u16::from(script.below(3));
    let rest = &mut unsaid[usize::from(number)];
    let line = ear.line(number);
    if !line.opens() && !script.seldom(if line.state == LineState::ClosedByServer { 48 } else { 4 }) {
        rest.clear();
        if line.state == LineState::ClosedByServer {
            Method::ChannelCloseOk(Default::default()).encode(number, out);
        }
        return Method::ChannelOpen(Default::default()).encode(number, out);
    }
    if !rest.is_empty() && !script.seldom(2) {
        let frames = if script.flag() { 1 } else { rest.len() };
        rest.drain(..frames.min(rest.len())).for_each(|frame| out.extend_from_slice(&frame));
        return;
    }
    match script.below(40) {
        0..=13 => publish(number, script, ear, rest, out),
        14 if script.seldom(48) => noise(number, script, ear, out),
        15 if script.seldom(64) => connection_method(script).encode(0, out),
        16 if script.seldom(24) => server_method(script).encode(number, out),
        17 if script.seldom(24) => {
            channel_method(script, ear, 1).encode([0, 4, 9, u16::MAX][usize::from(script.below(4))], out)
        }
        18 => put_heartbeat(out),
        _ => channel_method(script, ear, number).encode(number, out),
    }
}

/// What the others expect to be there: a queue and an exchange of each kind, bound crosswise.
pub(super) fn declare_all(out: &mut BytesMut) {
    // Zeros choose what is usual.
    let zeros = &mut Script(&[]);
    for at in 1..6 {
        exchange_declare(zeros, at, true).encode(1, out);
    }
    for (at, queue) in QUEUES[..7].iter().enumerate() {
        let queue = ShortStr::truncated(queue);
        queue_declare(zeros, queue.clone(), true).encode(1, out);
        for exchange in [&EXCHANGES[1 + at % 5], &EXCHANGES[6 + at % 4]] {
            let bind = QueueBind {
                queue: queue.clone(),
                exchange: ShortStr::truncated(exchange),
                // A weight, for the consistent hash.
                routing_key: ShortStr::truncated(if *exchange == "hash" { "1" } else { KEYS[at] }),
                no_wait: true,
                arguments: FieldTable::new(),
            };
            Method::QueueBind(bind).encode(1, out);
        }
    }
}

fn queue(script: &mut Script<'_>, ear: &Ear) -> ShortStr {
    match script.below(12) {
        0 => ear.names.get(usize::from(script.below(4))).cloned().unwrap_or(ShortStr::truncated("a")),
        _ => {
            let count = if script.seldom(32) { QUEUES.len() } else { 7 };
            script.name(&QUEUES[..count])
        }
    }
}

/// A tag to settle: one that is outstanding, mostly, and the messages up to it are not any more.
fn settled(script: &mut Script<'_>, ear: &mut Ear, number: u16) -> (u64, bool) {
    let outstanding = &mut ear.line(number).outstanding;
    let multiple = script.flag();
    if outstanding.is_empty() || script.seldom(6) {
        return (script.byte().into(), multiple);
    }
    if multiple && script.seldom(64) {
        outstanding.clear();
        return (0, true);
    }
    let at = usize::from(script.below(16)).min(outstanding.len() - 1);
    let tag = outstanding[at];
    if multiple {
        outstanding.drain(..=at);
    } else {
        outstanding.remove(at);
    }
    (tag, multiple)
}

fn channel_method(script: &mut Script<'_>, ear: &mut Ear, number: u16) -> Method {
    let no_wait = script.seldom(40);
    match script.below(34) {
        0 if script.seldom(16) => Method::ChannelOpen(Default::default()),
        1 if script.seldom(96) => {
            let reply_text = ShortStr::truncated("done");
            Method::ChannelClose(ChannelClose { reply_code: 200, reply_text, ..Default::default() })
        }
        2 => Method::ChannelFlow(ChannelFlow { active: !script.seldom(4) }),
        3 | 4 => {
            let at = usize::from(1 + script.below(5));
            exchange_declare(script, at, no_wait)
        }
        5 if script.seldom(48) => Method::ExchangeDelete(ExchangeDelete {
            exchange: script.name(&EXCHANGES[1..6]),
            if_unused: script.flag(),
            no_wait,
        }),
        6 => Method::ExchangeBind(ExchangeBind {
            destination: script.name(&EXCHANGES[1..]),
            source: script.name(&EXCHANGES[1..]),
            routing_key: script.name(&KEYS),
            no_wait,
            arguments: binding_arguments(script),
        }),
        7 => Method::ExchangeUnbind(ExchangeUnbind {
            destination: script.name(&EXCHANGES[1..]),
            source: script.name(&EXCHANGES[1..]),
            routing_key: script.name(&KEYS),
            no_wait,
            arguments: binding_arguments(script),
        }),
        8..=11 => {
            let queue = queue(script, ear);
            queue_declare(script, queue, no_wait)
        }
        12 | 13 => Method::QueueBind(QueueBind {
            queue: queue(script, ear),
            exchange: script.name(&EXCHANGES[1..]),
            routing_key: script.name(&KEYS),
            no_wait,
            arguments: binding_arguments(script),
        }),
        14 => Method::QueueUnbind(QueueUnbind {
            queue: queue(script, ear),
            exchange: script.name(&EXCHANGES[1..]),
            routing_key: script.name(&KEYS),
            arguments: binding_arguments(script),
        }),
        15 => Method::QueuePurge(QueuePurge { queue: queue(script, ear), no_wait }),
        16 if script.seldom(64) => Method::QueueDelete(QueueDelete {
            queue: queue(script, ear),
            if_unused: script.flag(),
            if_empty: script.flag(),
            no_wait,
        }),
        17 => Method::BasicQos(BasicQos {
            prefetch_size: u32::from(script.seldom(2)),
            prefetch_count: u16::from(script.below(5)),
            global: script.flag(),
        }),
        18..=20 => {
            let consumer_tag = script.name(&TAGS);
            let reply = script.seldom(32);
            let queue = if reply { ShortStr::truncated("amq.rabbitmq.reply-to") } else { queue(script, ear) };
            Method::BasicConsume(BasicConsume {
                queue,
                no_local: script.flag(),
                no_ack: is_auto_ack_tag(&consumer_tag) || reply,
                exclusive: script.seldom(24),
                // Without a tag nobody could say which consumer it is.
                no_wait: no_wait && !consumer_tag.is_empty(),
                consumer_tag,
                arguments: consumer_arguments(script),
            })
        }
        21 => Method::BasicCancel(BasicCancel { consumer_tag: script.name(&TAGS), no_wait }),
        22 | 23 => Method::BasicGet(BasicGet { queue: queue(script, ear), no_ack: script.flag() }),
        24..=27 if ear.line(number).outstanding.is_empty() && !script.seldom(8) => {
            let queue = queue(script, ear);
            queue_declare(script, queue, no_wait)
        }
        24 | 25 => {
            let (delivery_tag, multiple) = settled(script, ear, number);
            Method::BasicAck(BasicAck { delivery_tag, multiple })
        }
        26 => {
            let (delivery_tag, multiple) = settled(script, ear, number);
            Method::BasicNack(BasicNack { delivery_tag, multiple, requeue: script.flag() })
        }
        27 => {
            let (delivery_tag, _) = settled(script, ear, number);
            Method::BasicReject(BasicReject { delivery_tag, requeue: script.flag() })
        }
        28 => {
            ear.line(number).outstanding.clear();
            let requeue = !script.seldom(4);
            match script.flag() {
                true => Method::BasicRecover(BasicRecover { requeue }),
                false => Method::BasicRecoverAsync(BasicRecoverAsync { requeue }),
            }
        }
        // One channel for transactions, two for confirms.
        29 | 30 => match (number == 3) != script.seldom(8) {
            true => Method::TxSelect(Default::default()),
            false => Method::ConfirmSelect(ConfirmSelect { no_wait }),
        },
        31 | 32 if ear.line(number).is_transactional || script.seldom(8) => match script.seldom(96) {
            true => Method::TxRollback(Default::default()),
            false => Method::TxCommit(Default::default()),
        },
        33 => Method::AccessRequest(Default::default()),
        _ => Method::BasicGet(BasicGet { queue: queue(script, ear), no_ack: script.flag() }),
    }
}

fn exchange_declare(script: &mut Script<'_>, at: usize, no_wait: bool) -> Method {
    const KINDS: [&str; 6] =
        ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-delayed-message"];
    let exchange = ShortStr::truncated(EXCHANGES[at]);
    let mut arguments = FieldTable::new();
    let kind = match at {
        3 => {
            if script.seldom(8) {
                arguments = arguments.with("hash-header", "h");
            }
            KINDS[4]
        }
        4 => {
            let count = if script.seldom(32) { 6 } else { 5 };
            arguments = arguments.with("x-delayed-type", script.one_of(&KINDS[..count]));
            KINDS[5]
        }
        5 => {
            arguments = arguments
                .with("x-message-deduplication", true)
                .with("x-cache-size", 1 + i64::from(script.seldom(8)))
                .with("x-cache-ttl", 20);
            KINDS[0]
        }
        _ if script.seldom(8) => script.one_of(&KINDS),
        _ => KINDS[at],
    };
    if script.seldom(16) {
        arguments = arguments.with("alternate-exchange", script.one_of(&EXCHANGES));
    }
    Method::ExchangeDeclare(ExchangeDeclare {
        exchange,
        kind: ShortStr::truncated(kind),
        passive: script.seldom(24),
        durable: script.seldom(8),
        auto_delete: script.seldom(8),
        internal: script.seldom(4),
        no_wait,
        arguments,
    })
}

fn queue_declare(script: &mut Script<'_>, queue: ShortStr, no_wait: bool) -> Method {
    let mut arguments = FieldTable::new();
    // A name has its arguments, mostly, so that a second declare is not an error.
    let how = match script.seldom(16) || queue.len() > 2 {
        true => script.byte(),
        false => queue.bytes().last().unwrap_or(b'x'),
    };
    match how % 16 {
        // a to d
        1 => arguments = arguments.with("x-max-length", 3).with("x-overflow", "reject-publish"),
        2 => {
            arguments = arguments
                .with("x-dead-letter-exchange", EXCHANGES[usize::from(script.seldom(8))])
                .with("x-dead-letter-routing-key", "a")
                .with("x-message-ttl", 50);
        }
        3 if queue.len() < 2 => {
            arguments = arguments.with("x-max-priority", 3).with("x-max-length-bytes", 20_000)
        }
        // The digits of q1 to q3 are 1 to 3, too.
        8 => arguments = arguments.with("x-expires", 50),
        _ => {}
    }
    if queue.starts_with('q') {
        arguments = arguments.with("x-queue-type", "quorum");
        if &*queue == "q2" {
            let kind = ["all", "failed"][usize::from(script.seldom(4))];
            arguments = arguments
                .with("x-delayed-retry-type", kind)
                .with("x-delayed-retry-min", 30)
                .with("x-delayed-retry-max", 500);
        }
        if &*queue == "q3" {
            arguments = arguments.with("x-delivery-limit", 2).with("x-single-active-consumer", true);
        }
    } else if &*queue == "c" {
        arguments = arguments.with("x-message-deduplication", true).with("x-cache-size", 2);
    }
    while script.seldom(20) {
        const MORE: [&str; 14] = [
            "x-consumer-timeout",
            "x-message-ttl",
            "x-expires",
            "x-max-length",
            "x-delivery-limit",
            "x-max-priority",
            "x-single-active-consumer",
            "x-dead-letter-routing-key",
            "x-dead-letter-strategy",
            "x-overflow",
            "x-cache-size",
            "x-cache-ttl",
            "x-queue-type",
            "x-message-deduplication",
        ];
        let name = script.name(&MORE);
        let value = value(script);
        arguments.insert(name, value);
    }
    let quorum = queue.starts_with('q');
    Method::QueueDeclare(QueueDeclare {
        passive: script.seldom(16),
        durable: quorum != script.seldom(4),
        exclusive: script.seldom(if quorum { 2 } else { 16 }),
        auto_delete: script.seldom(if quorum { 2 } else { 16 }),
        queue,
        no_wait,
        arguments,
    })
}

fn value(script: &mut Script<'_>) -> FieldValue {
    const TEXTS: [&str; 8] =
        ["drop-head", "reject-publish-dlx", "at-least-once", "classic", "quorum", "stream", "", "a"];
    match script.below(8) {
        0 => script.one_of(&TEXTS).into(),
        1 => script.flag().into(),
        2 => FieldValue::Void,
        3 => FieldValue::F64(f64::from(script.byte()) / 3.0),
        4 => FieldValue::Array(vec![script.one_of(&KEYS).into(), script.one_of(&KEYS).into()]),
        5 => FieldValue::U8(script.byte()),
        _ => NUMBERS[usize::from(script.below(12))].into(),
    }
}

fn binding_arguments(script: &mut Script<'_>) -> FieldTable {
    let mut arguments = FieldTable::new();
    if script.seldom(64) {
        arguments =
            arguments.with("x-match", script.one_of(&["all", "any", "all-with-x", "any-with-x", "some"]));
        let value = value(script);
        arguments.insert(ShortStr::truncated("h"), value);
    }
    arguments
}

fn consumer_arguments(script: &mut Script<'_>) -> FieldTable {
    let mut arguments = FieldTable::new();
    if script.seldom(64) {
        arguments = arguments.with("x-priority", i64::from(script.below(4)) - 1);
    }
    if script.seldom(48) {
        let value = if script.seldom(16) { value(script) } else { i64::from(script.byte()).into() };
        arguments.insert(ShortStr::truncated("x-consumer-timeout"), value);
    }
    arguments
}

fn publish(number: u16, script: &mut Script<'_>, ear: &Ear, rest: &mut Unsaid, out: &mut BytesMut) {
    let count = if script.seldom(8) { EXCHANGES.len() } else { EXCHANGES.len() - 1 };
    let exchange = script.one_of(&EXCHANGES[..count]);
    let routing_key = match script.below(8) {
        0 => ear.names.get(usize::from(script.below(4))).cloned().unwrap_or(ShortStr::truncated("a")),
        _ => script.name(&KEYS),
    };
    let publish = BasicPublish {
        exchange: ShortStr::truncated(exchange),
        routing_key,
        mandatory: script.flag(),
        immediate: script.seldom(1),
    };
    let len = usize::from(script.byte()) * [1, 1, 1, 20, 90][usize::from(script.below(5))];
    let properties = if script.flag() { properties(script).encoded() } else { Bytes::new() };
    let mut frame = BytesMut::new();
    Method::BasicPublish(publish).encode(number, &mut frame);
    rest.push_back(frame);
    let mut frame = BytesMut::new();
    put_content_header(number, len as u64, &properties, &mut frame);
    rest.push_back(frame);
    let part = [body_part_max(4096), 1000, 100][usize::from(script.below(3))];
    let mut left = len;
    while left > 0 {
        let part = part.min(left);
        let mut frame = BytesMut::new();
        put_body_frame_head(number, part, &mut frame);
        frame.put_bytes(fill(len), part);
        frame.put_u8(FRAME_END);
        rest.push_back(frame);
        left -= part;
    }
    // Mostly at once; what is left is said later, and other channels speak in between.
    let now = if script.seldom(32) { usize::from(script.below(3)) } else { rest.len() };
    rest.drain(..now.min(rest.len())).for_each(|frame| out.extend_from_slice(&frame));
}

fn properties(script: &mut Script<'_>) -> Properties {
    let mut headers = FieldTable::new();
    let mut properties = Properties::default();
    for _ in 0..=script.below(3) {
        match script.below(14) {
            0 => properties.expiration = Some(script.name(&["0", "1", "20", "300", "20", "20", "-1", "x"])),
            1 => properties.priority = Some(script.byte()),
            2 => {
                let keys = (0..script.below(4)).map(|_| script.one_of(&KEYS).into()).collect();
                headers.insert(
                    ShortStr::truncated(["CC", "BCC"][usize::from(script.below(2))]),
                    FieldValue::Array(keys),
                );
            }
            3 if script.seldom(32) => headers.insert(ShortStr::truncated("CC"), value(script)),
            4 => headers.insert(ShortStr::truncated("x-delay"), i64::from(script.byte())),
            5 if script.seldom(64) => headers.insert(ShortStr::truncated("x-delay"), value(script)),
            6 if script.seldom(64) => {
                properties.reply_to = Some(script.name(&["amq.rabbitmq.reply-to", "a"]))
            }
            7 => headers.insert(ShortStr::truncated("x-deduplication-header"), script.one_of(&KEYS)),
            8 => headers.insert(ShortStr::truncated("h"), value(script)),
            9 => properties.delivery_mode = Some(script.byte()),
            10 => properties.user_id = Some(script.name(&["guest", "guest", "guest", "other"])),
            11 => {
                properties.correlation_id = Some(script.name(&KEYS));
                properties.message_id = Some(script.name(&KEYS));
                properties.timestamp = Some(u64::from(script.byte()));
            }
            12 => headers.insert(ShortStr::truncated("x-cache-ttl"), value(script)),
            _ => properties.content_type = Some(script.name(&KEYS)),
        };
    }
    if !headers.is_empty() {
        properties.headers = Some(headers);
    }
    properties
}

fn connection_method(script: &mut Script<'_>) -> Method {
    match script.below(8) {
        0 => Method::ConnectionClose(ConnectionClose { reply_code: 200, ..Default::default() }),
        1 => Method::ConnectionCloseOk(Default::default()),
        2 => Method::ConnectionStartOk(Default::default()),
        3 => Method::ConnectionOpen(Default::default()),
        _ => Method::ConnectionUpdateSecret(Default::default()),
    }
}

/// Methods that are the server's to say, or that answer nothing.
fn server_method(script: &mut Script<'_>) -> Method {
    match script.below(10) {
        0 => Method::BasicDeliver(Default::default()),
        1 => Method::BasicReturn(Default::default()),
        2 => Method::ChannelOpenOk(Default::default()),
        3 => Method::QueueDeclareOk(Default::default()),
        4 => Method::BasicGetEmpty(Default::default()),
        5 => Method::ConnectionTune(Default::default()),
        6 => Method::TxCommitOk(Default::default()),
        7 => Method::ChannelFlowOk(Default::default()),
        8 => Method::ChannelCloseOk(Default::default()),
        _ => Method::BasicCancelOk(Default::default()),
    }
}

/// Frames with anything in them, and bytes that are no frames.
fn noise(number: u16, script: &mut Script<'_>, ear: &mut Ear, out: &mut BytesMut) {
    ear.knows_bodies = false;
    let len = usize::from(script.below(24));
    let payload: Vec<u8> = match script.below(3) {
        // A method with any fields.
        0 => {
            let id = MethodId::ALL[usize::from(script.byte()) % MethodId::ALL.len()];
            let fields = (0..len).map(|_| script.byte());
            [id.class.to_be_bytes(), id.method.to_be_bytes()].concat().into_iter().chain(fields).collect()
        }
        _ => (0..len).map(|_| script.byte()).collect(),
    };
    let kind = [1, 1, 1, 2, 3, 3, 8, 4][usize::from(script.below(8))];
    if script.seldom(32) {
        return out.extend_from_slice(&payload);
    }
    out.put_u8(kind);
    out.put_u16(if script.seldom(48) { script.byte().into() } else { number });
    out.put_u32(payload.len() as u32);
    out.extend_from_slice(&payload);
    out.put_u8(if script.seldom(8) { script.byte() } else { FRAME_END });
}
