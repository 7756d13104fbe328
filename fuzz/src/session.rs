//! Two native sessions on one broker, without sockets: bytes after a login, and operations from a script.
//!
//! What must hold: no panic and no endless loop, output that is whole frames within the limit and does not grow
//! while nobody reads it, and, when both sessions are gone, a broker that keeps nothing of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto::broker::{Broker, Limits, Link, Outbox, Turn};
use rialto::model::{ConnectionId, ManualClock, Timestamp};
use rialto::session::Session;
use rialto::session::SessionOptions;
use rialto::session::native::NativeSession;
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, FieldValue, Properties, ShortStr};

use crate::script::Script;

/// Output that may wait: unread answers, one answer more, and what a turn gives.
const OUTPUT_MAX: usize = 16 << 20;

/// The first byte says how the rest is to be taken: as bytes from a client in pieces of some size, or as a script.
pub fn native_session(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let mut world = World::new();
    match how % 4 {
        0 => world.feed(data, 1 + usize::from(how / 4)),
        1 => world.feed(data, data.len().max(1)),
        _ => world.play(&mut Script(data)),
    }
    world.end();
}

struct World {
    broker: Broker,
    clock: Arc<ManualClock>,
    /// The time that sessions live by.
    now: Timestamp,
    peers: Vec<Peer>,
    turn: Turn,
}

/// A native session and its client.
pub(crate) struct Peer {
    pub(crate) session: NativeSession,
    input: BytesMut,
    /// Written and not yet looked at.
    output: BytesMut,
    sequences: [u64; 4],
    next_consumer: u32,
    credit: i64,
    /// The broker has closed the connection.
    pub(crate) closed: bool,
}

const QUEUES: [&str; 5] = ["a", "b", "c", "d", ""];
const EXCHANGES: [&str; 7] = ["", "amq.fanout", "amq.topic", "amq.headers", "e", "f", "amq.direct"];
const KEYS: [&str; 8] = ["a", "b", "c", "d", "a.b", "#", "*.b", ""];

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::new());
        let mut limits = Limits {
            memory_budget: 1 << 20,
            queue_budget: 20_000,
            outbox_bytes: 64 << 10,
            queues_max: 12,
            ..Limits::default()
        };
        limits.queue.deaths_max = 4;
        limits.queue.consumers_max = 8;
        limits.routing.bindings_max = 64;
        let broker = Broker::in_memory().clock(clock.clone()).limits(limits).build();
        let mut world =
            World { broker, clock, now: Timestamp::from_millis(1), peers: Vec::new(), turn: Turn::new() };
        for _ in 0..2 {
            let peer = Peer::connect(&world.broker, world.now);
            world.peers.push(peer);
        }
        world
    }

    fn feed(&mut self, data: &[u8], step: usize) {
        let mut whole = BytesMut::from(data);
        while !whole.is_empty() {
            let piece = whole.split_to(step.min(whole.len()));
            self.peers[0].input.extend_from_slice(&piece);
            self.peers[0].hear(self.now);
            self.settle();
        }
    }

    /// Everybody hears what there is and writes what they have, until all is quiet.
    fn settle(&mut self) {
        for _ in 0..3 {
            for peer in &mut self.peers {
                peer.session.handle_outbox(self.now);
                peer.write(usize::MAX, self.now);
            }
        }
    }

    fn play(&mut self, script: &mut Script<'_>) {
        while !script.0.is_empty() {
            let who = usize::from(script.below(2));
            match script.below(16) {
                0 => {
                    let by = Duration::from_millis(u64::from(script.byte()));
                    self.clock.advance(by);
                    self.now = self.now.plus(by);
                    self.broker.run_timers(&mut self.turn);
                }
                1 => {
                    self.broker.review_pressure(&mut self.turn);
                }
                2 => self.peers[who].session.handle_outbox(self.now),
                3 => {
                    let some = usize::from(script.byte()) * 64;
                    self.peers[who].write(some, self.now);
                }
                4 => self.peers[who].session.handle_time(self.now),
                5 => self.settle(),
                6 if script.byte() < 32 => {
                    self.peers[who].session.handle_disconnect(self.now);
                    self.peers[who] = Peer::connect(&self.broker, self.now);
                }
                _ => {
                    // A few commands in one read.
                    let peer = &mut self.peers[who];
                    for _ in 0..=script.below(4) {
                        peer.say(script);
                    }
                    peer.hear(self.now);
                }
            }
            for who in 0..2 {
                if self.peers[who].closed || self.peers[who].session.is_finished() {
                    self.peers[who].session.handle_disconnect(self.now);
                    self.peers[who] = Peer::connect(&self.broker, self.now);
                }
            }
        }
        self.settle();
    }

    /// Both are gone, and nothing of them is left.
    fn end(mut self) {
        for peer in &mut self.peers {
            peer.write(usize::MAX, self.now);
            peer.session.handle_disconnect(self.now);
            assert!(peer.session.is_finished());
        }
        self.peers.clear();
        assert!(self.broker.connections().is_empty(), "a connection is still listed");
        let vhost = self.broker.vhost("/").expect("the vhost is there");
        self.turn.begin(self.broker.now());
        for queue in vhost.queues() {
            let stats = queue.stats();
            assert_eq!(
                (stats.unacked, stats.consumers),
                (0, 0),
                "queue {} of nobody: {stats:?}",
                queue.name()
            );
            assert_eq!(queue.owner(), None, "queue {} outlives its owner", queue.name());
            vhost
                .delete_queue(queue.name(), false, false, ConnectionId(0), &mut self.turn)
                .expect("no one's queue");
        }
        self.turn.finish(&self.broker);
        assert_eq!(vhost.queues().len(), 0);
        assert_eq!(self.broker.memory_bytes(), 0, "messages that are in no queue");
        assert_eq!(self.broker.timers_len(), 0, "timers of queues that are gone");
    }
}

impl Peer {
    /// Logged in, with two channels.
    pub(crate) fn connect(broker: &Broker, now: Timestamp) -> Peer {
        let options = SessionOptions {
            channel_max: 3,
            route_max: 4,
            consumers_max: 6,
            publish_window: 4096,
            ..SessionOptions::default()
        };
        let outbox = Arc::new(Outbox::new());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let link = Arc::new(Link::new(address(1), address(5672), None));
        let session = NativeSession::new(broker.clone(), Arc::new(options), link, outbox, now);
        let mut peer = Peer {
            session,
            input: BytesMut::new(),
            output: BytesMut::new(),
            sequences: [1; 4],
            next_consumer: 0,
            credit: 4096,
            closed: false,
        };
        let login = Login {
            mechanism: ShortStr::truncated("PLAIN"),
            response: Bytes::from_static(b"\0guest\0guest"),
            vhost: ShortStr::truncated("/"),
            frame_max: 0,
            heartbeat_ms: 1000,
            properties: FieldTable::new(),
        };
        Command::Login(login).encode(0, &mut peer.input);
        for channel in 1..=2 {
            Command::OpenChannel { correlation: channel.into() }.encode(channel, &mut peer.input);
        }
        peer.hear(now);
        peer.write(usize::MAX, now);
        peer
    }

    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.session.handle_input(&mut self.input, now);
        // What the peer reads lets it go on; each time something is carried out or everything is.
        while self.session.has_stalled_input() {
            self.session.handle_input(&mut self.input, now);
        }
    }

    /// Lets the session write up to `some` bytes.
    pub(crate) fn write(&mut self, mut some: usize, now: Timestamp) {
        loop {
            let out = self.session.poll_output(now);
            let waiting = out.len();
            assert!(waiting <= OUTPUT_MAX, "{waiting} bytes wait");
            if waiting == 0 || some == 0 {
                break;
            }
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let count = out.chunks(&mut slices);
            let mut written = 0;
            for slice in &slices[..count] {
                let take = slice.len().min(some);
                self.output.extend_from_slice(&slice[..take]);
                written += take;
                some -= take;
            }
            out.advance(written);
            if self.session.has_stalled_input() {
                self.session.handle_input(&mut self.input, now);
            }
        }
        while let Some(raw) =
            decode_frame(&mut self.output, FRAME_MAX_DEFAULT).expect("frames within the limit")
        {
            let channel = raw.channel;
            match raw.command().expect("good frames").expect("known frames") {
                Command::Close(_) => self.closed = true,
                Command::PublishCredit(bytes) => self.credit += i64::from(bytes),
                Command::ChannelClosed(_) => self.sequences[usize::from(channel)] = 1,
                Command::Deliver(deliver) => {
                    deliver.runs_ref(channel).for_each(|run| {
                        assert!(run.expect("good runs").walk().all(|entry| entry.is_ok()));
                    });
                }
                _ => {}
            }
        }
    }

    /// Appends something to the input that a client may say, mostly.
    pub(crate) fn say(&mut self, script: &mut Script<'_>) {
        let channel = 1 + u16::from(script.below(8) == 7) + u16::from(script.flag());
        let command = match script.below(24) {
            0 => Command::OpenChannel { correlation: 1 },
            1 => Command::CloseChannel { correlation: 2 },
            2 => Command::DefineRoute {
                route: 1 + u32::from(script.below(5)),
                exchange: script.name(&EXCHANGES),
                routing_key: script.name(&KEYS),
            },
            3 => Command::Credit {
                consumer: u32::from(script.below(8)),
                messages: script.byte().into(),
                bytes: u32::from(script.byte()) * 16,
            },
            4..=6 => self.settlement(script),
            7..=11 => return self.publish(channel, script),
            12 if script.byte() < 8 => Command::Heartbeat,
            _ => Command::Request { correlation: 3, request: self.request(script) },
        };
        let channel = if matches!(command, Command::Heartbeat) { 0 } else { channel };
        if let Command::OpenChannel { .. } = command {
            self.sequences[usize::from(channel)] = 1;
        }
        command.encode(channel, &mut self.input);
    }

    fn settlement(&self, script: &mut Script<'_>) -> Command {
        let settlement = match script.below(3) {
            0 => Settlement::Ack,
            1 => Settlement::Requeue,
            _ => Settlement::Reject { reason: ShortStr::truncated("no") },
        };
        let ranges = (0..=script.below(3)).map(|_| {
            let first = u64::from(script.below(16)) + u64::from(script.byte() > 200) * 1000;
            (first, first + u64::from(script.below(8)))
        });
        let ranges = ranges.collect();
        Command::Settle(Settle { consumer: u32::from(script.below(8)), settlement, ranges })
    }

    fn publish(&mut self, channel: u16, script: &mut Script<'_>) {
        // Without credit only now and then: it ends the connection.
        if self.credit <= 0 && script.byte() != 1 {
            return;
        }
        let before = self.input.len();
        let sequence = &mut self.sequences[usize::from(channel)];
        let mut frame = PublishWriter::begin(channel, *sequence, script.flag(), &mut self.input);
        for _ in 0..=script.below(3) {
            let (exchange, routing_key) = (script.one_of(&EXCHANGES), script.one_of(&KEYS));
            let route = match script.below(6) {
                0 => RouteRef::Defined(1 + u32::from(script.below(4))),
                _ => RouteRef::Inline { exchange, routing_key },
            };
            frame.run(route, script.flag(), &mut self.input);
            for _ in 0..=script.below(4) {
                let expiration = match script.below(6) {
                    0 => Some(ShortStr::truncated(script.one_of(&["0", "1", "20", "-1", "x"]))),
                    _ => None,
                };
                let priority = script.flag().then(|| script.byte());
                let delivery_mode = Some(1 + script.below(2));
                let properties = Properties { expiration, priority, delivery_mode, ..Properties::default() };
                let len = usize::from(script.byte()) * if script.flag() { 40 } else { 1 };
                let body = vec![(len % 251) as u8; len];
                frame.entry(&properties.encoded(), &body, &mut self.input);
                *sequence += 1;
            }
        }
        frame.finish(&mut self.input);
        self.credit -= (self.input.len() - before) as i64;
    }

    fn request(&mut self, script: &mut Script<'_>) -> Request {
        let binding = |script: &mut Script<'_>, names: &[&str]| Binding {
            source: script.name(&EXCHANGES),
            destination: script.name(names),
            routing_key: script.name(&KEYS),
            arguments: FieldTable::new(),
        };
        match script.below(20) {
            0 => Request::DeclareExchange {
                name: ShortStr::truncated(script.one_of(&["e", "f"])),
                kind: ShortStr::truncated(script.one_of(&["direct", "fanout", "topic", "headers"])),
                passive: script.below(8) == 0,
                durable: false,
                auto_delete: script.flag(),
                internal: script.below(8) == 0,
                arguments: match script.below(3) {
                    0 => FieldTable::new().with("alternate-exchange", script.one_of(&EXCHANGES)),
                    _ => FieldTable::new(),
                },
            },
            1 => Request::DeleteExchange { name: script.name(&EXCHANGES), if_unused: script.flag() },
            2 => Request::BindExchange(binding(script, &EXCHANGES)),
            3 => Request::UnbindExchange(binding(script, &EXCHANGES)),
            4..=6 => Request::DeclareQueue {
                name: script.name(&QUEUES),
                passive: script.below(8) == 0,
                durable: script.flag(),
                exclusive: script.below(4) == 0,
                auto_delete: script.below(4) == 0,
                arguments: arguments(script),
            },
            7 => Request::DeleteQueue {
                name: script.name(&QUEUES),
                if_unused: script.flag(),
                if_empty: script.flag(),
            },
            8 | 9 => Request::BindQueue(binding(script, &QUEUES)),
            10 => Request::UnbindQueue(binding(script, &QUEUES)),
            11 => Request::PurgeQueue { name: script.name(&QUEUES) },
            12 | 13 => {
                self.next_consumer = (self.next_consumer + 1) % 8;
                Request::Consume(Consume {
                    queue: script.name(&QUEUES),
                    consumer: self.next_consumer,
                    tag: ShortStr::truncated(script.one_of(&["", "", "", "t"])),
                    auto_ack: script.flag(),
                    exclusive: script.below(8) == 0,
                    prefetch: u32::from(script.below(4)),
                    credit: script.flag().then(|| (u32::from(script.below(4)), u32::from(script.byte()))),
                    arguments: match script.below(3) {
                        0 => FieldTable::new().with("x-priority", i32::from(script.below(3))),
                        _ => FieldTable::new(),
                    },
                })
            }
            14 => Request::Cancel { consumer: u32::from(script.below(8)) },
            15 => Request::Get { queue: script.name(&QUEUES), auto_ack: script.flag() },
            16 => Request::SetPrefetch { messages: u32::from(script.below(4)) },
            17 => Request::QueueInfo { name: script.name(&QUEUES) },
            18 => Request::ExchangeInfo { name: script.name(&EXCHANGES) },
            _ => Request::List {
                what: [
                    ListOf::Queues,
                    ListOf::Exchanges,
                    ListOf::Bindings,
                    ListOf::Connections,
                    ListOf::Consumers,
                ][usize::from(script.below(5))],
                after: Bytes::from_static([&b""[..], b">", b">a", b"?"][usize::from(script.below(4))]),
                limit: script.byte().into(),
            },
        }
    }
}

fn arguments(script: &mut Script<'_>) -> FieldTable {
    let mut arguments = FieldTable::new();
    let bits = script.byte();
    let mut argue = |bit: u8, name: &str, value: FieldValue| {
        if bits & (1 << bit) != 0 {
            arguments.insert(ShortStr::truncated(name), value);
        }
    };
    argue(0, "x-message-ttl", i64::from([0, 1, 10, 100][usize::from(bits >> 3 & 3)]).into());
    argue(1, "x-max-length", i64::from(bits >> 4 & 3).into());
    argue(
        1,
        "x-overflow",
        ["drop-head", "reject-publish", "reject-publish-dlx"][usize::from(bits >> 6) % 3].into(),
    );
    argue(2, "x-dead-letter-exchange", EXCHANGES[usize::from(bits >> 5) % 5].into());
    if bits & 0b101 == 0b101 {
        argue(2, "x-dead-letter-routing-key", KEYS[usize::from(bits >> 4) % 4].into());
    }
    argue(3, "x-max-priority", 3.into());
    argue(4, "x-single-active-consumer", true.into());
    argue(5, "x-delivery-limit", 1.into());
    argue(6, "x-expires", 50.into());
    arguments
}
