//! An AMQP session with the client at its other end.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto::broker::{Broker, Link, Outbox};
use rialto::model::Timestamp;
use rialto::session::amqp::AmqpSession;
use rialto::session::{AmqpOptions, Session, SessionOptions};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, ShortStr};

use super::ear::{Ear, Stage};
use super::speech::{self, Unsaid};
use crate::script::Script;

/// Output that may wait: answers that nobody reads, what one read and one turn add, and all windows.
const OUTPUT_MAX: usize = 6 << 20;

/// What a session keeps of its input: a frame that is not whole.
const INPUT_MAX: usize = 140 << 10;

/// Said and not heard, from which on a client waits.
const UNHEARD_MAX: usize = 256 << 10;

pub(super) struct Client {
    pub(super) session: AmqpSession,
    /// Said by the client, not yet read by the broker.
    socket: BytesMut,
    input: BytesMut,
    /// Said by the broker: not yet a whole frame.
    output: BytesMut,
    ear: Ear,
    unsaid: [Unsaid; 4],
}

impl Client {
    /// Accepted, and nothing said.
    pub(super) fn accepted(broker: &Broker, now: Timestamp) -> Client {
        let amqp = AmqpOptions {
            frame_max: 8192,
            consumer_timeout: Some(Duration::from_secs(60)),
            uncommitted_max: 100_000,
            ..AmqpOptions::default()
        };
        let options = SessionOptions {
            channel_max: 3,
            consumers_max: 4,
            connection_consumers_max: 8,
            message_size_max: 20_000,
            publish_window: 4096,
            amqp,
            ..SessionOptions::default()
        };
        let outbox = Arc::new(Outbox::new());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let link = Arc::new(Link::new(address(2), address(5672), None));
        Client {
            session: AmqpSession::new(broker.clone(), Arc::new(options), link, outbox, now),
            socket: BytesMut::new(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            ear: Ear::new(8192),
            unsaid: Default::default(),
        }
    }

    /// Logged in, one channel open.
    pub(super) fn connect(broker: &Broker, kind: u8, now: Timestamp) -> Client {
        let mut client = Self::accepted(broker, now);
        client.ear.wants_notices = kind & 1 == 0;
        client.ear.frame_max = if kind & 2 == 0 { 4096 } else { 8192 };
        let notices = client.ear.wants_notices;
        let capabilities =
            FieldTable::new().with("consumer_cancel_notify", notices).with("connection.blocked", notices);
        let product = if kind & 4 == 0 { "pika" } else { "py-amqp" };
        let start_ok = ConnectionStartOk {
            client_properties: FieldTable::new().with("capabilities", capabilities).with("product", product),
            mechanism: ShortStr::truncated("PLAIN"),
            response: Bytes::from_static(b"\0guest\0guest"),
            locale: ShortStr::truncated("en_US"),
        };
        let heartbeat = if kind & 8 == 0 { 0 } else { 10 };
        let tune_ok = ConnectionTuneOk { channel_max: 3, frame_max: client.ear.frame_max, heartbeat };
        let open = ConnectionOpen { virtual_host: ShortStr::truncated("/") };
        let mut said = BytesMut::new();
        Method::ConnectionStartOk(start_ok).encode(0, &mut said);
        Method::ConnectionTuneOk(tune_ok).encode(0, &mut said);
        Method::ConnectionOpen(open).encode(0, &mut said);
        Method::ChannelOpen(Default::default()).encode(1, &mut said);
        client.says_bytes(&said);
        client.hear(usize::MAX, now);
        client.write(usize::MAX, now);
        assert_eq!(client.ear.stage, Stage::Open);
        client
    }

    /// Whatever these are, they are said.
    pub(super) fn says_bytes(&mut self, bytes: &[u8]) {
        self.ear.says(bytes);
        self.socket.extend_from_slice(bytes);
    }

    /// Bytes of unknown meaning will be said: bodies among them can be anything.
    pub(super) fn babbles(&mut self) {
        self.ear.knows_bodies = false;
    }

    pub(super) fn knows_bodies(&self) -> bool {
        self.ear.knows_bodies
    }

    pub(super) fn say(&mut self, script: &mut Script<'_>) {
        if self.socket.len() > UNHEARD_MAX {
            return;
        }
        let mut said = BytesMut::new();
        speech::say(script, &mut self.ear, &mut self.unsaid, &mut said);
        self.says_bytes(&said);
    }

    /// The session reads up to `some` bytes, unless it does not want to.
    pub(super) fn hear(&mut self, some: usize, now: Timestamp) {
        if !self.session.wants_input() {
            return;
        }
        self.input.unsplit(self.socket.split_to(some.min(self.socket.len())));
        self.session.handle_input(&mut self.input, now);
        if self.session.wants_input() && !self.session.has_stalled_input() {
            assert!(self.input.len() <= INPUT_MAX, "{} bytes of input are kept", self.input.len());
        }
    }

    /// The session writes up to `some` bytes, and the client reads them.
    pub(super) fn write(&mut self, mut some: usize, now: Timestamp) {
        loop {
            let out = self.session.poll_output(now);
            let waiting = out.len();
            assert!(waiting <= OUTPUT_MAX, "{waiting} bytes wait");
            if waiting == 0 || some == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 8];
            let count = out.chunks(&mut slices);
            let mut written = 0;
            for slice in &slices[..count] {
                let take = slice.len().min(some);
                self.output.extend_from_slice(&slice[..take]);
                written += take;
                some -= take;
            }
            out.advance(written);
            self.ear.hears(&mut self.output);
            if self.session.has_stalled_input() {
                self.session.handle_input(&mut self.input, now);
            }
        }
        assert!(some == 0 || self.output.is_empty(), "half a frame at the end of the output");
    }

    /// Whether the server has said that it is over.
    pub(super) fn is_closed(&self) -> bool {
        self.session.is_finished() || matches!(self.ear.stage, Stage::Closing | Stage::Closed)
    }
}
