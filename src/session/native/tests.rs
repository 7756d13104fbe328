//! Sessions without sockets: a hand-moved clock, two ends on one broker in one thread, and bytes cut anywhere.

mod closing;
mod endings;
mod heartbeats;
mod logins;
mod waiting;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, Properties, ShortStr};

use super::NativeSession;
use crate::broker::{Broker, Limits, Notice, Outbox};
use crate::model::{ConnectionId, Timestamp};
use crate::session::testing::link;
use crate::session::{Session, SessionOptions};

const START: Timestamp = Timestamp::from_millis(1000);

fn text(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}

/// A session and what its client would see.
struct End {
    session: NativeSession,
    outbox: Arc<Outbox>,
    now: Timestamp,
    input: BytesMut,
}

impl End {
    fn new(broker: &Broker) -> End {
        let outbox = Arc::new(Outbox::new());
        let link = link();
        let options = Arc::new(SessionOptions::default());
        let session = NativeSession::new(broker.clone(), options, link, outbox.clone(), START);
        End { session, outbox, now: START, input: BytesMut::new() }
    }

    /// Logged in, channel 1 open, the answers read.
    fn open(broker: &Broker) -> End {
        let mut end = End::new(broker);
        end.hear(&[login(1000), open_channel()].concat());
        assert_eq!(end.said().len(), 2);
        end
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.session.handle_input(&mut self.input, self.now);
    }

    /// Asks on channel 1.
    fn ask(&mut self, request: Request) {
        self.hear(&asked(1, request));
    }

    fn moves(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.session.handle_time(self.now);
    }

    /// Up to `some` bytes of what it writes.
    fn written(&mut self, some: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < some {
            let out = self.session.poll_output(self.now);
            let mut slices = [IoSlice::new(&[]); 4];
            let count = out.chunks(&mut slices);
            if count == 0 {
                break;
            }
            let before = all.len();
            for slice in &slices[..count] {
                all.extend_from_slice(&slice[..slice.len().min(some - all.len())]);
            }
            let written = all.len() - before;
            out.advance(written);
        }
        all
    }

    fn said(&mut self) -> Vec<Command> {
        let written = self.written(usize::MAX);
        commands(&written)
    }
}

fn commands(bytes: &[u8]) -> Vec<Command> {
    let mut bytes = BytesMut::from(bytes);
    let mut commands = Vec::new();
    while let Some(frame) = decode_frame(&mut bytes, FRAME_MAX_DEFAULT).unwrap() {
        commands.push(frame.command().unwrap().unwrap());
    }
    assert!(bytes.is_empty(), "half a frame");
    commands
}

fn encoded(channel: u16, command: &Command) -> Vec<u8> {
    let mut out = BytesMut::new();
    command.encode(channel, &mut out);
    out.to_vec()
}

fn login(heartbeat_ms: u32) -> Vec<u8> {
    let login = Login {
        mechanism: text("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        vhost: text("/"),
        frame_max: 0,
        heartbeat_ms,
        properties: FieldTable::new(),
    };
    encoded(0, &Command::Login(login))
}

fn open_channel() -> Vec<u8> {
    encoded(1, &Command::OpenChannel { correlation: 1 })
}

fn asked(correlation: u32, request: Request) -> Vec<u8> {
    encoded(1, &Command::Request { correlation, request })
}

fn declare(name: &str) -> Request {
    Request::DeclareQueue {
        name: text(name),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::new(),
    }
}

fn consume(queue: &str, consumer: u32) -> Consume {
    Consume {
        queue: text(queue),
        consumer,
        tag: text(&format!("t{consumer}")),
        auto_ack: false,
        exclusive: false,
        prefetch: 0,
        credit: None,
        arguments: FieldTable::new(),
    }
}

fn publish(first: u64, queue: &str, bodies: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, first, true, &mut out);
    frame.run(RouteRef::Inline { exchange: "", routing_key: queue }, false, &mut out);
    bodies.iter().for_each(|body| frame.entry(&[], body, &mut out));
    frame.finish(&mut out);
    out.to_vec()
}

fn ack(consumer: u32, first: u64, last: u64) -> Vec<u8> {
    let settle = Settle { consumer, settlement: Settlement::Ack, ranges: vec![(first, last)] };
    encoded(1, &Command::Settle(settle))
}

fn close() -> Vec<u8> {
    encoded(0, &Command::Close(Closing { code: 200, text: text(""), kind: 0, correlation: 0 }))
}

/// Tags and bodies, in order.
fn delivered(commands: &[Command]) -> Vec<(u64, Vec<u8>)> {
    let mut messages = Vec::new();
    for command in commands {
        let Command::Deliver(deliver) = command else { continue };
        let mut tag = deliver.first_tag;
        for run in deliver.runs_ref(1) {
            for entry in run.unwrap().walk() {
                messages.push((tag, entry.unwrap().body.to_vec()));
                tag += 1;
            }
        }
    }
    messages
}

fn count_ready(broker: &Broker, queue: &str) -> u64 {
    broker.vhost("/").unwrap().queue(queue, ConnectionId(0)).unwrap().stats().ready
}

#[test]
fn input_cut_anywhere_gives_the_same_output() {
    let script = [
        login(0),
        open_channel(),
        asked(2, declare("q")),
        encoded(1, &Command::DefineRoute { route: 3, exchange: text(""), routing_key: text("q") }),
        publish(1, "q", &[b"one", b"two", b"three"]),
        asked(3, Request::Consume(consume("q", 1))),
        asked(4, Request::Cancel { consumer: 1 }),
        ack(1, 1, 2),
        asked(5, Request::PurgeQueue { name: text("q") }),
        asked(6, Request::Get { queue: text("nothing"), auto_ack: true }),
        publish(9, "q", &[b"wrong number"]),
        open_channel(),
        close(),
    ]
    .concat();
    let answers = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut end = End::new(&Broker::in_memory().build());
        pieces.for_each(|piece| end.hear(piece));
        assert!(end.session.is_finished());
        end.written(usize::MAX)
    };
    let whole = answers(&mut [&script[..]].into_iter());
    assert_eq!(delivered(&commands(&whole)).len(), 3);
    assert_eq!(commands(&whole).last(), Some(&Command::CloseOk));
    for cut in 0..script.len() {
        let (front, back) = script.split_at(cut);
        assert_eq!(answers(&mut [front, back].into_iter()), whole, "cut at {cut}");
    }
    assert_eq!(answers(&mut script.chunks(1)), whole);
}

#[test]
fn output_taken_in_any_pieces_is_the_same() {
    let all = |some: usize| {
        let broker = Broker::in_memory().build();
        let mut end = End::open(&broker);
        end.ask(declare("q"));
        end.hear(&publish(1, "q", &[&[1; 5000], &[2; 40_000], b"", &[3; 100]]));
        end.ask(Request::Consume(consume("q", 1)));
        let mut all = Vec::new();
        loop {
            let piece = end.written(some);
            if piece.is_empty() {
                return all;
            }
            all.extend(piece);
        }
    };
    let whole = all(usize::MAX);
    assert_eq!(delivered(&commands(&whole)).len(), 4);
    for some in [1, 7, 100, 4096, 20_000] {
        assert_eq!(all(some), whole, "in pieces of {some}");
    }
}

#[test]
fn a_message_crosses_from_one_end_to_the_other_and_back_when_the_other_goes() {
    let broker = Broker::in_memory().build();
    let (mut publisher, mut consumer) = (End::open(&broker), End::open(&broker));
    publisher.ask(declare("q"));
    consumer.ask(Request::Consume(consume("q", 1)));
    assert!(matches!(consumer.said()[..], [Command::Response { .. }]));
    publisher.hear(&publish(1, "q", &[b"hello"]));
    assert_eq!(delivered(&consumer.said()), [(1, b"hello".to_vec())]);
    assert_eq!(count_ready(&broker, "q"), 0);
    consumer.session.handle_disconnect(consumer.now);
    assert!(consumer.session.is_finished());
    assert_eq!((count_ready(&broker, "q"), broker.connections().len()), (1, 1));
    // A session that is dropped without a word gives back too.
    let mut other = End::open(&broker);
    other.ask(Request::Consume(consume("q", 1)));
    assert_eq!(count_ready(&broker, "q"), 0);
    drop(other);
    assert_eq!(count_ready(&broker, "q"), 1);
}

#[test]
fn messages_sent_before_a_cancel_come_before_its_answer_and_none_after() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    end.ask(Request::Consume(consume("q", 1)));
    end.said();
    end.hear(
        &[
            publish(1, "q", &[b"a", b"b"]),
            asked(7, Request::Cancel { consumer: 1 }),
            publish(3, "q", &[b"c"]),
        ]
        .concat(),
    );
    let said = end.said();
    let answer = |command: &Command| matches!(command, Command::Response { correlation: 7, .. });
    let at = said.iter().position(answer).expect("an answer");
    assert_eq!(delivered(&said[..at]).len(), 2);
    assert_eq!(delivered(&said[at..]), []);
    assert_eq!(count_ready(&broker, "q"), 1);
}

#[test]
fn a_consumer_that_reads_is_given_everything_however_small_its_window() {
    let limits = Limits { outbox_bytes: 40 << 10, consumer_window: 40 << 10, ..Limits::default() };
    let broker = Broker::in_memory().limits(limits).build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    let body = [7; 3000];
    for number in 0..50 {
        end.hear(&publish(number * 10 + 1, "q", &[&body[..]; 10]));
    }
    for number in 1..=3 {
        end.ask(Request::Consume(consume("q", number)));
    }
    let messages = delivered(&end.said());
    assert_eq!((messages.len(), count_ready(&broker, "q")), (500, 0));
}

#[test]
fn an_end_that_is_not_read_holds_its_window_and_no_more() {
    let limits = Limits { outbox_bytes: 40 << 10, consumer_window: 40 << 10, ..Limits::default() };
    let broker = Broker::in_memory().limits(limits).build();
    let (mut publisher, mut deaf) = (End::open(&broker), End::open(&broker));
    publisher.ask(declare("q"));
    deaf.ask(Request::Consume(consume("q", 1)));
    for number in 0..300u64 {
        publisher.hear(&publish(number + 1, "q", &[&[7; 3000]]));
        publisher.said();
        assert!(deaf.session.poll_output(deaf.now).len() < 640 << 10);
    }
    assert!(count_ready(&broker, "q") > 80);
}

#[test]
fn answers_that_are_not_read_stop_what_is_asked_and_go_on_when_they_are() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    for number in 0..20 {
        end.hear(&publish(number + 1, "q", &[&[7; 1 << 20]]));
    }
    end.said();
    let gets: Vec<u8> =
        (1..=20).flat_map(|n| asked(n, Request::Get { queue: text("q"), auto_ack: true })).collect();
    end.hear(&gets);
    assert!(count_ready(&broker, "q") >= 15, "most are not carried out yet");
    assert!(!end.session.wants_input() && !end.session.has_stalled_input());
    let mut answers = 0;
    for _ in 0..100 {
        answers += end.said().len();
        if !end.session.has_stalled_input() {
            break;
        }
        let (session, input) = (&mut end.session, &mut end.input);
        session.handle_input(input, end.now);
    }
    assert_eq!((answers, count_ready(&broker, "q")), (20, 0));
}

#[test]
fn one_settlement_of_what_was_got_from_several_queues_reaches_each_message() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    for (number, queue) in [(1, "a"), (11, "b")] {
        end.ask(declare(queue));
        end.hear(&publish(number, queue, &[&b"m"[..]; 10]));
    }
    for queue in ["a", "a", "b", "a", "b", "b", "a"] {
        end.ask(Request::Get { queue: text(queue), auto_ack: false });
    }
    end.hear(&ack(0, 2, 6));
    let unacked = |queue| broker.vhost("/").unwrap().queue(queue, ConnectionId(0)).unwrap().stats().unacked;
    assert_eq!((unacked("a"), unacked("b")), (2, 0));
    end.hear(&ack(0, 1, 7));
    assert_eq!((unacked("a"), count_ready(&broker, "a")), (0, 6));
}

#[test]
fn a_cancelled_notice_does_not_reach_a_consumer_of_the_reopened_channel() {
    let broker = Broker::in_memory().build();
    let (mut end, mut other) = (End::open(&broker), End::open(&broker));
    for queue in ["old", "new"] {
        end.ask(declare(queue));
    }
    end.ask(Request::Consume(consume("old", 1)));
    end.said();
    other.ask(Request::DeleteQueue { name: text("old"), if_unused: false, if_empty: false });
    let again = [
        encoded(1, &Command::CloseChannel { correlation: 8 }),
        open_channel(),
        asked(9, Request::Consume(consume("new", 1))),
    ];
    end.hear(&again.concat());
    let said = end.said();
    assert!(said.iter().all(|command| matches!(command, Command::Response { .. })), "{said:?}");
    other.hear(&publish(1, "new", &[b"x"]));
    assert_eq!(delivered(&end.said()).len(), 1);
}

#[test]
fn more_routes_in_one_read_than_a_batch_can_number_keep_each_message_its_own() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    let (kind, arguments) = (text("fanout"), FieldTable::new());
    let (passive, durable, auto_delete, internal) = (false, false, false, false);
    end.ask(Request::DeclareExchange {
        name: text("f"),
        kind,
        passive,
        durable,
        auto_delete,
        internal,
        arguments,
    });
    let (source, destination, routing_key) = (text("f"), text("q"), text(""));
    end.ask(Request::BindQueue(Binding { source, destination, routing_key, arguments: FieldTable::new() }));
    end.ask(Request::Consume(Consume { auto_ack: true, ..consume("q", 1) }));
    end.said();
    let mut frames = BytesMut::new();
    let mut next = 0;
    for count in [20_000, 65_536] {
        let mut frame = PublishWriter::begin(1, next + 1, false, &mut frames);
        for _ in 0..count {
            let key = next.to_string();
            frame.run(RouteRef::Inline { exchange: "f", routing_key: &key }, false, &mut frames);
            frame.entry(&[], key.as_bytes(), &mut frames);
            next += 1;
        }
        frame.finish(&mut frames);
    }
    end.hear(&frames);
    let mut seen = 0;
    for command in end.said() {
        let Command::Deliver(deliver) = command else { continue };
        for run in deliver.runs_ref(1) {
            let run = run.unwrap();
            for entry in run.walk() {
                assert_eq!(run.routing_key.as_bytes(), entry.unwrap().body);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, next);
}

#[test]
fn messages_that_differ_in_their_bodies_alone_are_as_good_as_any_others() {
    let broker = Broker::in_memory().build();
    let mut end = End::open(&broker);
    end.ask(declare("q"));
    end.ask(Request::Consume(Consume { auto_ack: true, ..consume("q", 1) }));
    end.said();
    let with = |priority| Properties { priority: Some(priority), ..Properties::default() }.encoded();
    // Alike, other properties, another length, and alike again, also as the last and beside an empty body.
    let messages = [
        (1, "a1"),
        (1, "a2"),
        (1, "a3"),
        (2, "b1"),
        (2, "b2"),
        (1, "c"),
        (1, ""),
        (1, ""),
        (1, "d1"),
        (1, "d2"),
    ]
    .map(|(priority, body)| (with(priority), body.as_bytes()));
    let mut frames = BytesMut::new();
    for first in [1, 11] {
        let mut frame = PublishWriter::begin(1, first, true, &mut frames);
        frame.run(RouteRef::Inline { exchange: "", routing_key: "q" }, false, &mut frames);
        messages.iter().for_each(|(properties, body)| frame.entry(properties, body, &mut frames));
        frame.finish(&mut frames);
    }
    end.hear(&frames);
    let (mut delivered, mut confirmed) = (Vec::new(), 0);
    for command in end.said() {
        match command {
            Command::Deliver(deliver) => {
                for run in deliver.runs_ref(1) {
                    let entries = run.unwrap().walk().map(Result::unwrap);
                    delivered.extend(entries.map(|entry| (entry.properties.to_vec(), entry.body.to_vec())));
                }
            }
            Command::Outcomes(outcomes) => {
                assert!(outcomes.iter().all(|range| range.outcome == Outcome::Confirmed));
                confirmed += outcomes.iter().map(|range| range.last - range.first + 1).sum::<u64>();
            }
            _ => {}
        }
    }
    let published: Vec<_> = messages.iter().chain(&messages).map(|(p, b)| (p.to_vec(), b.to_vec())).collect();
    assert_eq!((delivered, confirmed), (published, 20));
}

#[test]
fn who_publishes_to_others_has_woken_them_and_who_publishes_to_itself_nobody() {
    let broker = Broker::in_memory().build();
    let (mut publisher, mut consumer) = (End::open(&broker), End::open(&broker));
    consumer.ask(declare("q"));
    consumer.ask(Request::Consume(consume("q", 1)));
    publisher.hear(&publish(1, "q", &[b"one"]));
    assert!(publisher.session.has_woken_others());
    publisher.hear(&encoded(0, &Command::Heartbeat));
    assert!(!publisher.session.has_woken_others(), "the read before had");
    consumer.hear(&publish(1, "q", &[b"two"]));
    assert!(!consumer.session.has_woken_others());
}
