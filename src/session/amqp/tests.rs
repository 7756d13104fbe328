//! AMQP sessions without sockets: a hand-moved clock, several ends on one broker in one thread.

mod duplicates;
mod figures;
mod logins;
mod settling;
mod waiting;
mod whole_publishes;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use super::AmqpSession;
use crate::broker::{Broker, Limits, Outbox, Turn};
use crate::model::{ManualClock, Timestamp};
use crate::session::testing::link;
use crate::session::{Session, SessionOptions};

const START: Timestamp = Timestamp::from_millis(1000);

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}

/// A session and what its client would see.
struct End {
    session: AmqpSession,
    outbox: Arc<Outbox>,
    now: Timestamp,
    input: BytesMut,
}

/// What a client reads, contents put together.
#[derive(Debug, PartialEq)]
enum Heard {
    Method(u16, Method),
    Content(Method, Box<Properties>, Vec<u8>),
    Heartbeat,
}

impl End {
    fn new(broker: &Broker, options: SessionOptions) -> End {
        let outbox = Arc::new(Outbox::new());
        let link = link();
        let session = AmqpSession::new(broker.clone(), Arc::new(options), link, outbox.clone(), START);
        End { session, outbox, now: START, input: BytesMut::new() }
    }

    /// Logged in as a client with these properties, channel 1 open, the answers read.
    fn open_as(broker: &Broker, client_properties: FieldTable) -> End {
        Self::open_with(broker, client_properties, SessionOptions::default())
    }

    fn open_with(broker: &Broker, client_properties: FieldTable, options: SessionOptions) -> End {
        let mut end = End::new(broker, options);
        end.hear(&start_ok(client_properties, b"\0guest\0guest"));
        end.hear(&[tune_ok(10), open("/"), encoded(1, Method::ChannelOpen(Default::default()))].concat());
        assert_eq!(end.said().len(), 4, "start, tune, open-ok, channel.open-ok");
        end
    }

    fn open(broker: &Broker) -> End {
        let capabilities =
            FieldTable::new().with("consumer_cancel_notify", true).with("connection.blocked", true);
        Self::open_as(broker, FieldTable::new().with("capabilities", capabilities))
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.handle_input(&mut self.input, self.now);
    }

    fn asks(&mut self, method: Method) {
        self.hear(&encoded(1, method));
    }

    fn moves(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.session.handle_time(self.now);
    }

    fn said(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            self.session.handle_outbox(self.now);
            let out = self.session.poll_output(self.now);
            let mut slices = [IoSlice::new(&[]); 4];
            let count = out.chunks(&mut slices);
            if count == 0 {
                return heard(&all);
            }
            let before = all.len();
            slices[..count].iter().for_each(|slice| all.extend_from_slice(slice));
            let written = all.len() - before;
            out.advance(written);
        }
    }

    /// What it has said on channel 1, methods without content only.
    fn methods(&mut self) -> Vec<Method> {
        let only_methods = |heard| match heard {
            Heard::Method(_, method) => Some(method),
            _ => None,
        };
        self.said().into_iter().filter_map(only_methods).collect()
    }

    /// Tags and bodies of what was delivered.
    fn deliveries(&mut self) -> Vec<(u64, Vec<u8>)> {
        let delivery = |heard| match heard {
            Heard::Content(Method::BasicDeliver(deliver), _, body) => Some((deliver.delivery_tag, body)),
            _ => None,
        };
        self.said().into_iter().filter_map(delivery).collect()
    }
}

fn heard(bytes: &[u8]) -> Vec<Heard> {
    let (mut at, mut all) = (0, Vec::new());
    let mut assembler = ContentAssembler::default();
    let content = |assembled: Assembled<'_>| {
        let properties = Box::new(Properties::decode(assembled.properties).unwrap());
        Heard::Content(Method::decode(assembled.method).unwrap(), properties, assembled.body.to_vec())
    };
    while let Some((frame, len)) = split_frame(&bytes[at..], 0).unwrap() {
        at += len;
        match frame.kind {
            FrameKind::Heartbeat => all.push(Heard::Heartbeat),
            FrameKind::Method => {
                let method = Method::decode(frame.payload).unwrap();
                match method.has_content() {
                    true => assembler.begin(frame.payload),
                    false => all.push(Heard::Method(frame.channel, method)),
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).unwrap();
                all.extend(assembler.header(&header).unwrap().map(content));
            }
            FrameKind::Body => all.extend(assembler.body(frame.payload).unwrap().map(content)),
        }
    }
    assert_eq!(at, bytes.len(), "half a frame");
    all
}

fn encoded(channel: u16, method: Method) -> Vec<u8> {
    let mut out = BytesMut::new();
    method.encode(channel, &mut out);
    out.to_vec()
}

fn start_ok(client_properties: FieldTable, response: &'static [u8]) -> Vec<u8> {
    let start_ok = ConnectionStartOk {
        client_properties,
        mechanism: text("PLAIN"),
        response: Bytes::from_static(response),
        locale: text("en_US"),
    };
    encoded(0, Method::ConnectionStartOk(start_ok))
}

fn tune_ok(heartbeat: u16) -> Vec<u8> {
    let tune_ok = ConnectionTuneOk { channel_max: 2047, frame_max: 131_072, heartbeat };
    encoded(0, Method::ConnectionTuneOk(tune_ok))
}

fn open(vhost: &str) -> Vec<u8> {
    encoded(0, Method::ConnectionOpen(ConnectionOpen { virtual_host: text(vhost) }))
}

fn declare(queue: &str, arguments: FieldTable) -> Method {
    let queue = text(queue);
    Method::QueueDeclare(QueueDeclare { queue, no_wait: true, arguments, ..Default::default() })
}

fn consume(queue: &str) -> Method {
    let (queue, consumer_tag) = (text(queue), text("c"));
    Method::BasicConsume(BasicConsume { queue, consumer_tag, no_wait: true, ..Default::default() })
}

fn publish(queue: &str, properties: &Properties, body: &[u8]) -> Vec<u8> {
    let publish = BasicPublish { routing_key: text(queue), mandatory: true, ..Default::default() };
    let mut out = BytesMut::from(&encoded(1, Method::BasicPublish(publish))[..]);
    put_content_header(1, body.len() as u64, &properties.encoded(), &mut out);
    put_body(1, body, 4096, &mut out);
    out.to_vec()
}

fn plain(queue: &str, body: &[u8]) -> Vec<u8> {
    publish(queue, &Properties::default(), body)
}

fn ack(delivery_tag: u64, multiple: bool) -> Method {
    Method::BasicAck(BasicAck { delivery_tag, multiple })
}

fn closed(methods: &[Method]) -> (u16, &str) {
    match methods.last() {
        Some(Method::ChannelClose(close)) => (close.reply_code, &close.reply_text),
        Some(Method::ConnectionClose(close)) => (close.reply_code, &close.reply_text),
        other => panic!("not closed: {other:?}"),
    }
}

fn broker() -> Broker {
    Broker::in_memory().clock(Arc::new(ManualClock::new())).build()
}

#[test]
fn a_stream_cut_anywhere_says_the_same() {
    let mut stream = encoded(1, declare("q", FieldTable::new()));
    stream.extend(encoded(1, Method::ConfirmSelect(Default::default())));
    stream.extend(plain("q", &[7; 9000]));
    stream.extend(plain("q", b""));
    stream.extend(encoded(1, consume("q")));
    let whole = {
        let mut end = End::open(&broker());
        end.hear(&stream);
        end.said()
    };
    for cut in (1..stream.len()).step_by(97) {
        let mut end = End::open(&broker());
        end.hear(&stream[..cut]);
        end.hear(&stream[cut..]);
        let said = end.said();
        let acks = |said: &[Heard]| {
            let ack = |heard: &Heard| match heard {
                Heard::Method(1, Method::BasicAck(ack)) => Some(ack.delivery_tag),
                _ => None,
            };
            said.iter().filter_map(ack).max()
        };
        assert_eq!(acks(&said), Some(2), "cut at {cut}");
        let contents =
            |said: &[Heard]| said.iter().filter(|heard| matches!(heard, Heard::Content(..))).count();
        assert_eq!(contents(&said), contents(&whole), "cut at {cut}");
    }
}

#[test]
fn what_one_read_publishes_is_confirmed_at_once_and_refusals_one_by_one() {
    let mut end = End::open(&broker());
    let limited = FieldTable::new().with("x-max-length", 2).with("x-overflow", "reject-publish");
    end.hear(
        &[encoded(1, declare("q", limited)), encoded(1, Method::ConfirmSelect(Default::default()))].concat(),
    );
    end.said();
    end.hear(&[plain("q", b"1"), plain("q", b"2"), plain("q", b"3"), plain("q", b"4")].concat());
    let nack = |delivery_tag| Method::BasicNack(BasicNack { delivery_tag, ..Default::default() });
    assert_eq!(end.methods(), [ack(2, true), nack(3), nack(4)]);
}

#[test]
fn an_unroutable_message_is_returned_and_then_confirmed() {
    let mut end = End::open(&broker());
    end.asks(Method::ConfirmSelect(Default::default()));
    end.hear(&plain("nobody", b"x"));
    let said = end.said();
    assert!(matches!(&said[1], Heard::Content(Method::BasicReturn(back), _, _) if back.reply_code == 312));
    assert_eq!(said[2], Heard::Method(1, ack(1, false)));
}

#[test]
fn a_tag_is_settled_once_and_an_unknown_one_closes_the_channel_which_gives_everything_back() {
    let broker = broker();
    let mut end = End::open(&broker);
    end.hear(&[encoded(1, declare("q", FieldTable::new())), plain("q", b"1"), plain("q", b"2")].concat());
    end.asks(consume("q"));
    assert_eq!(end.deliveries(), [(1, b"1".to_vec()), (2, b"2".to_vec())]);
    end.asks(ack(1, false));
    assert!(end.said().is_empty());
    end.asks(ack(1, false));
    assert_eq!(closed(&end.methods()), (406, "PRECONDITION_FAILED - unknown delivery tag 1"));
    // Late, for a channel that is closing: passed over.
    end.asks(ack(2, false));
    assert!(end.said().is_empty());
    end.asks(Method::ChannelCloseOk(Default::default()));
    end.asks(Method::ChannelOpen(Default::default()));
    end.asks(consume("q"));
    assert_eq!(end.deliveries(), [(1, b"2".to_vec())]);
}

#[test]
fn a_transaction_is_published_and_settled_with_its_commit_and_forgotten_with_a_rollback() {
    let mut end = End::open(&broker());
    end.hear(&[encoded(1, declare("q", FieldTable::new())), plain("q", b"1")].concat());
    end.asks(Method::TxSelect(Default::default()));
    end.asks(consume("q"));
    assert_eq!(end.deliveries().len(), 1);
    end.hear(&[plain("q", b"2"), plain("nobody", b"3"), encoded(1, ack(1, false))].concat());
    assert!(end.said().is_empty(), "neither published, returned nor settled");
    end.asks(Method::TxRollback(Default::default()));
    assert_eq!(end.methods(), [Method::TxRollbackOk(Default::default())]);
    // The acknowledged message is unacknowledged again, so it can be acknowledged again.
    end.hear(&[plain("q", b"4"), plain("nobody", b"5"), encoded(1, ack(1, false))].concat());
    end.asks(Method::TxCommit(Default::default()));
    let said = end.said();
    assert!(matches!(&said[0], Heard::Content(Method::BasicReturn(_), _, body) if body == b"5"));
    assert_eq!(said[1], Heard::Method(1, Method::TxCommitOk(Default::default())));
    assert!(matches!(&said[2], Heard::Content(Method::BasicDeliver(_), _, body) if body == b"4"));
    assert_eq!(said.len(), 3);
}

#[test]
fn a_new_prefetch_is_for_new_consumers_but_for_py_amqp_also_for_those_there_are() {
    for (product, more) in [("pika", 0), ("py-amqp", 2)] {
        let mut end = End::open_as(&broker(), FieldTable::new().with("product", product));
        let qos = |prefetch_count| Method::BasicQos(BasicQos { prefetch_count, ..Default::default() });
        end.asks(declare("q", FieldTable::new()));
        end.hear(&(0..5).flat_map(|n| plain("q", &[n])).collect::<Vec<_>>());
        end.asks(qos(1));
        end.asks(consume("q"));
        assert_eq!(end.deliveries().len(), 1);
        end.asks(qos(3));
        assert_eq!(end.deliveries().len(), more, "{product}");
    }
}

#[test]
fn a_full_queue_blocks_its_publisher_which_is_told_so_and_read_from_again_when_there_is_room() {
    let limits = Limits { queue_budget: 1 << 20, ..Limits::default() };
    let broker = Broker::in_memory().clock(Arc::new(ManualClock::new())).limits(limits).build();
    let mut end = End::open(&broker);
    end.asks(declare("q", FieldTable::new()));
    for _ in 0..11 {
        assert!(end.session.wants_input());
        end.hear(&plain("q", &vec![0; 100 << 10]));
    }
    assert!(matches!(end.methods()[..], [Method::ConnectionBlocked(_)]));
    // Its allowance: what a client sends before it has read that it is blocked.
    for _ in 0..21 {
        end.hear(&plain("q", &vec![0; 100 << 10]));
    }
    assert!(!end.session.wants_input());
    end.moves(Duration::from_secs(60));
    assert!(!end.session.is_finished(), "nobody hears its heartbeats, so nobody misses them");
    let mut other = End::open(&broker);
    other.asks(Method::QueuePurge(QueuePurge { queue: text("q"), ..Default::default() }));
    let mut turn = Turn::new();
    broker.review_pressure(&mut turn);
    assert!(end.methods().contains(&Method::ConnectionUnblocked(Default::default())));
    assert!(end.session.wants_input());
}

#[test]
fn who_is_held_back_and_has_messages_to_acknowledge_is_still_read_from() {
    let limits = Limits { queue_budget: 1 << 20, ..Limits::default() };
    let broker = Broker::in_memory().clock(Arc::new(ManualClock::new())).limits(limits).build();
    let mut end = End::open(&broker);
    end.asks(Method::BasicQos(BasicQos { prefetch_count: 1, ..Default::default() }));
    end.asks(declare("q", FieldTable::new()));
    end.asks(consume("q"));
    for _ in 0..40 {
        end.hear(&plain("q", &vec![0; 100 << 10]));
        end.said();
    }
    assert!(end.session.wants_input(), "its acknowledgements come the same way");
}

#[test]
fn who_is_held_back_and_has_acknowledged_in_a_transaction_may_still_commit() {
    let limits = Limits { queue_budget: 1 << 20, ..Limits::default() };
    let broker = Broker::in_memory().clock(Arc::new(ManualClock::new())).limits(limits).build();
    let mut end = End::open(&broker);
    end.hear(&[encoded(1, declare("q", FieldTable::new())), plain("q", b"1")].concat());
    end.asks(consume("q"));
    assert_eq!(end.deliveries().len(), 1);
    end.asks(Method::TxSelect(Default::default()));
    end.asks(ack(1, false));
    let mut other = End::open(&broker);
    for _ in 0..20 {
        other.hear(&plain("q", &vec![0; 100 << 10]));
    }
    end.said();
    for _ in 0..40 {
        end.hear(&plain("q", &vec![0; 100 << 10]));
    }
    assert!(end.session.wants_input());
}

#[test]
fn a_lifted_hold_is_heard_though_deliveries_wait_for_a_client_that_does_not_read() {
    let limits = Limits { queue_budget: 1 << 20, ..Limits::default() };
    let broker = Broker::in_memory().clock(Arc::new(ManualClock::new())).limits(limits).build();
    let mut end = End::open(&broker);
    let no_ack = |queue: &str| {
        let consume = BasicConsume { queue: text(queue), no_ack: true, no_wait: true, ..Default::default() };
        Method::BasicConsume(consume)
    };
    end.hear(
        &[encoded(1, declare("a", FieldTable::new())), encoded(1, declare("b", FieldTable::new()))].concat(),
    );
    end.asks(no_ack("a"));
    let mut other = End::open(&broker);
    for _ in 0..9 {
        other.hear(&plain("a", &vec![0; 100 << 10]));
    }
    // It takes what there is, and its client reads nothing of it.
    end.session.handle_outbox(end.now);
    assert!(!end.session.poll_output(end.now).is_empty());
    for _ in 0..32 {
        end.hear(&plain("b", &vec![0; 100 << 10]));
    }
    assert!(!end.session.wants_input());
    other.asks(Method::QueuePurge(QueuePurge { queue: text("b"), no_wait: true }));
    end.session.handle_outbox(end.now);
    assert!(end.session.wants_input());
}

#[test]
fn a_commit_that_a_queue_refuses_acknowledges_nothing_and_says_so() {
    let mut end = End::open(&broker());
    let limited = FieldTable::new().with("x-max-length", 1).with("x-overflow", "reject-publish");
    end.hear(&[encoded(1, declare("full", limited)), plain("full", b"0")].concat());
    end.hear(&[encoded(1, declare("q", FieldTable::new())), plain("q", b"1")].concat());
    end.asks(consume("q"));
    assert_eq!(end.deliveries().len(), 1);
    end.asks(Method::TxSelect(Default::default()));
    end.hear(&[plain("full", b"2"), encoded(1, ack(1, false))].concat());
    end.said();
    end.asks(Method::TxCommit(Default::default()));
    assert_eq!(closed(&end.methods()), (406, "PRECONDITION_FAILED - partial tx completion"));
    let mut other = End::open(&end.session.broker.clone());
    other.asks(consume("q"));
    assert_eq!(other.deliveries(), [(1, b"1".to_vec())]);
}

#[test]
fn what_is_still_arriving_has_a_limit_over_all_channels() {
    let mut options = SessionOptions::default();
    options.amqp.uncommitted_max = 10_000;
    let mut end = End::open_with(&broker(), FieldTable::new(), options);
    end.asks(Method::TxSelect(Default::default()));
    end.said();
    end.asks(declare("q", FieldTable::new()));
    for _ in 0..20 {
        end.hear(&plain("q", &[0; 1000]));
    }
    let methods = end.methods();
    let (code, text) = closed(&methods);
    assert!(code == 506 && text.contains("amqp.uncommitted_max"), "{code} {text}");
}

#[test]
fn a_channel_is_not_opened_by_a_method_that_cannot_be_read() {
    let mut end = End::open(&broker());
    // `channel.open`, and a text of three bytes of which one is there.
    end.hear(&[1, 0, 7, 0, 0, 0, 6, 0, 20, 0, 10, 3, b'x', FRAME_END]);
    assert_eq!(closed(&end.methods()).0, 502);
}

#[test]
fn a_silent_peer_is_dropped_after_two_heartbeats_and_an_idle_one_is_told_that_we_live() {
    let mut end = End::open(&broker());
    end.moves(Duration::from_secs(5));
    assert_eq!(end.said(), [Heard::Heartbeat]);
    end.moves(Duration::from_secs(14));
    assert!(!end.session.is_finished());
    end.moves(Duration::from_secs(1));
    assert!(end.session.is_finished());
}

#[test]
fn a_session_that_is_dropped_gives_back_what_it_held() {
    let broker = broker();
    let mut end = End::open(&broker);
    end.hear(&[encoded(1, declare("q", FieldTable::new())), plain("q", b"1")].concat());
    end.asks(consume("q"));
    assert_eq!(end.deliveries().len(), 1);
    drop(end);
    let mut other = End::open(&broker);
    other.asks(consume("q"));
    assert_eq!(other.deliveries(), [(1, b"1".to_vec())]);
}
