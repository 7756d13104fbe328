//! A logged-in connection: methods and contents instead of frames.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rialto_protocol::amqp::*;
use rialto_protocol::types::{FieldTable, Properties};

use super::methods::short;
use super::wire::{PATIENCE, Wire};

/// How to log in.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mechanism: &'static str,
    pub(crate) response: Bytes,
    pub(crate) vhost: String,
    pub(crate) properties: FieldTable,
    /// What to ask for in tune-ok; none: what the broker offers, without heartbeats.
    pub(crate) tune: Option<ConnectionTuneOk>,
}

impl Default for Options {
    fn default() -> Self {
        let capabilities = FieldTable::new()
            .with("publisher_confirms", true)
            .with("exchange_exchange_bindings", true)
            .with("basic.nack", true)
            .with("consumer_cancel_notify", true)
            .with("connection.blocked", true)
            .with("authentication_failure_close", true);
        Options {
            mechanism: "PLAIN",
            response: Bytes::from_static(b"\0guest\0guest"),
            vhost: "/".to_owned(),
            properties: FieldTable::new().with("capabilities", capabilities),
            tune: None,
        }
    }
}

/// The content behind a method: its properties as they came, and its body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Content {
    /// Flags and fields.
    pub(crate) properties: Bytes,
    pub(crate) body: Vec<u8>,
}

impl Content {
    pub(crate) fn decoded(&self) -> Properties {
        Properties::decode(&self.properties).expect("the broker sends good properties")
    }
}

/// One thing that the broker has said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) channel: u16,
    pub(crate) method: Method,
    pub(crate) content: Option<Content>,
}

/// What waiting has brought.
#[derive(Debug)]
pub(crate) enum Next {
    Event(Event),
    /// The broker has ended the connection.
    End,
    /// Nothing came in time.
    Nothing,
}

/// How the broker has closed a channel, or (channel 0) the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) channel: u16,
    pub(crate) code: u16,
    pub(crate) class: u16,
    pub(crate) method: u16,
    pub(crate) text: String,
}

impl Closed {
    /// The close that an event is.
    pub(crate) fn of(event: &Event) -> Option<Closed> {
        let (code, text, class, method) = match &event.method {
            Method::ConnectionClose(close) => {
                (close.reply_code, &close.reply_text, close.class_id, close.method_id)
            }
            Method::ChannelClose(close) => {
                (close.reply_code, &close.reply_text, close.class_id, close.method_id)
            }
            _ => return None,
        };
        Some(Closed { channel: event.channel, code, class, method, text: text.to_string() })
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.channel == 0 { "connection" } else { "channel" };
        write!(f, "{scope} closed {} {:?} ({},{})", self.code, self.text, self.class, self.method)
    }
}

/// A content whose frames are coming in.
struct Partial {
    method: Method,
    announced: Option<u64>,
    content: Content,
}

/// A connection after its handshake. Dropping it is a connection that dies without a word.
pub(crate) struct Client {
    pub(crate) wire: Wire,
    /// What was agreed: the longest frame to send.
    pub(crate) frame_max: u32,
    /// What the broker has offered.
    pub(crate) offer: ConnectionTune,
    /// What the broker has said of itself.
    pub(crate) server: FieldTable,
    partial: HashMap<u16, Partial>,
    inbox: VecDeque<Event>,
    outbox: BytesMut,
    ended: bool,
}

impl Client {
    /// Connects and logs in as guest.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Self::log_in(address, &Options::default()).expect("the guest is let in")
    }

    /// [`Client::connect`], and opens channel 1.
    pub(crate) fn on_channel(address: SocketAddr) -> Client {
        let mut client = Self::connect(address);
        client.open_channel(1);
        client
    }

    /// Connects and logs in. The refusal is none if the socket was closed without a word.
    pub(crate) fn log_in(address: SocketAddr, options: &Options) -> Result<Client, Option<Closed>> {
        let mut client = Self::greet(address);
        client.start_ok(options);
        let Method::ConnectionTune(offer) = client.handshake()? else { panic!("no tune") };
        client.offer = offer.clone();
        let tune = options.tune.clone().unwrap_or(ConnectionTuneOk {
            channel_max: offer.channel_max,
            frame_max: offer.frame_max,
            heartbeat: 0,
        });
        client.frame_max = tune.frame_max;
        client.send(0, Method::ConnectionTuneOk(tune));
        client.send(0, Method::ConnectionOpen(ConnectionOpen { virtual_host: short(&options.vhost) }));
        match client.handshake()? {
            Method::ConnectionOpenOk(_) => Ok(client),
            other => panic!("expected open-ok, and got {other:?}"),
        }
    }

    /// Sends the protocol header and takes `connection.start`.
    pub(crate) fn greet(address: SocketAddr) -> Client {
        let mut wire = Wire::connect(address);
        wire.send(&PROTOCOL_HEADER);
        let offer = ConnectionTune { channel_max: 0, frame_max: 4096, heartbeat: 0 };
        let mut client = Client {
            wire,
            frame_max: 4096,
            offer,
            server: FieldTable::new(),
            partial: HashMap::new(),
            inbox: VecDeque::new(),
            outbox: BytesMut::new(),
            ended: false,
        };
        match client.handshake() {
            Ok(Method::ConnectionStart(start)) => client.server = start.server_properties,
            other => panic!("expected start, and got {other:?}"),
        }
        client
    }

    /// Sends start-ok.
    pub(crate) fn start_ok(&mut self, options: &Options) {
        let start_ok = ConnectionStartOk {
            client_properties: options.properties.clone(),
            mechanism: short(options.mechanism),
            response: options.response.clone(),
            locale: short("en_US"),
        };
        self.send(0, Method::ConnectionStartOk(start_ok));
    }

    /// The next method of the handshake.
    pub(crate) fn handshake(&mut self) -> Result<Method, Option<Closed>> {
        match self.receive() {
            Some(event) => match Closed::of(&event) {
                Some(closed) => Err(Some(closed)),
                None => Ok(event.method),
            },
            None => Err(None),
        }
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, channel: u16) {
        let opened = self.call(channel, Method::ChannelOpen(ChannelOpen {}));
        assert!(matches!(opened, Ok(Method::ChannelOpenOk(_))), "{opened:?}");
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: Method) {
        self.put(channel, &method);
        self.flush();
    }

    /// Sends a method with its content.
    pub(crate) fn send_content(
        &mut self,
        channel: u16,
        method: Method,
        properties: &Properties,
        body: &[u8],
    ) {
        self.put_content(channel, &method, properties, body);
        self.flush();
    }

    /// Keeps a method for [`Client::flush`].
    pub(crate) fn put(&mut self, channel: u16, method: &Method) {
        method.encode(channel, &mut self.outbox);
    }

    /// Keeps a method with its content for [`Client::flush`].
    pub(crate) fn put_content(
        &mut self,
        channel: u16,
        method: &Method,
        properties: &Properties,
        body: &[u8],
    ) {
        method.encode(channel, &mut self.outbox);
        put_content_header(channel, body.len() as u64, &properties.encoded(), &mut self.outbox);
        put_body(channel, body, self.frame_max, &mut self.outbox);
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) {
        let out = self.outbox.split();
        self.wire.send(&out);
    }

    /// The next event; none when the broker has ended the connection.
    pub(crate) fn receive(&mut self) -> Option<Event> {
        match self.next_within(PATIENCE) {
            Next::Event(event) => Some(event),
            Next::End => None,
            Next::Nothing => panic!("the broker says nothing"),
        }
    }

    /// The next event, if it comes in time. Closes are answered, heartbeats passed over.
    pub(crate) fn next_within(&mut self, patience: Duration) -> Next {
        match self.inbox.pop_front() {
            Some(event) => Next::Event(event),
            None => self.next_from_wire(Instant::now() + patience),
        }
    }

    fn next_from_wire(&mut self, deadline: Instant) -> Next {
        loop {
            let frame = match self.wire.next_frame(deadline) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.ended = true;
                    return Next::End;
                }
                Err(()) => return Next::Nothing,
            };
            if let Some(event) = self.take_frame(frame.kind, frame.channel, &frame.payload) {
                match event.method {
                    Method::ConnectionClose(_) => {
                        self.send(0, Method::ConnectionCloseOk(ConnectionCloseOk {}))
                    }
                    Method::ChannelClose(_) => {
                        self.send(event.channel, Method::ChannelCloseOk(ChannelCloseOk {}));
                    }
                    _ => {}
                }
                return Next::Event(event);
            }
        }
    }

    fn take_frame(&mut self, kind: FrameKind, channel: u16, payload: &[u8]) -> Option<Event> {
        let done = match kind {
            FrameKind::Heartbeat => {
                assert_eq!((channel, payload.len()), (0, 0), "a heartbeat is empty and on channel 0");
                return None;
            }
            FrameKind::Method => {
                let method = Method::decode(payload).expect("the broker sends good methods");
                assert!(!self.partial.contains_key(&channel), "{method:?} amid a content");
                if !method.has_content() {
                    return Some(Event { channel, method, content: None });
                }
                self.partial
                    .insert(channel, Partial { method, announced: None, content: Content::default() });
                return None;
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(payload).expect("the broker sends good headers");
                let partial = self.partial.get_mut(&channel).expect("a method before its header");
                assert_eq!((header.class, partial.announced), (60, None), "a header where it belongs");
                partial.announced = Some(header.body_size);
                partial.content.properties = Bytes::copy_from_slice(header.property_bytes);
                header.body_size == 0
            }
            FrameKind::Body => {
                let partial = self.partial.get_mut(&channel).expect("a method before its body");
                partial.content.body.extend_from_slice(payload);
                let (announced, len) =
                    (partial.announced.expect("a header before the body"), partial.content.body.len());
                assert!(len as u64 <= announced, "{len} bytes of {announced}");
                len as u64 == announced
            }
        };
        if !done {
            return None;
        }
        let Partial { method, content, .. } = self.partial.remove(&channel).expect("it was there just now");
        Some(Event { channel, method, content: Some(content) })
    }

    /// The next event that `pick` takes; others stay in the inbox, in order.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        for index in 0..self.inbox.len() {
            if let Some(picked) = pick(&self.inbox[index]) {
                self.inbox.remove(index);
                return picked;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_from_wire(deadline) {
                Next::Event(event) => match pick(&event) {
                    Some(picked) => return picked,
                    None => self.inbox.push_back(event),
                },
                Next::End => panic!("the connection ended before {what}; inbox: {:?}", self.inbox),
                Next::Nothing => panic!("never came: {what}; inbox: {:?}", self.inbox),
            }
        }
    }

    /// Sends a method and waits for its answer, or for the close that it causes.
    pub(crate) fn call(&mut self, channel: u16, method: Method) -> Result<Method, Closed> {
        self.send(channel, method);
        self.answer(channel)
    }

    /// The next answer on a channel, or the close that comes instead.
    pub(crate) fn answer(&mut self, channel: u16) -> Result<Method, Closed> {
        self.answer_content(channel).map(|event| event.method)
    }

    /// [`Client::answer`] with its content.
    pub(crate) fn answer_content(&mut self, channel: u16) -> Result<Event, Closed> {
        self.wait_for("an answer", |event| match Closed::of(event) {
            Some(closed) if closed.channel == channel || closed.channel == 0 => Some(Err(closed)),
            Some(_) => None,
            None if event.channel == channel && !is_unasked(&event.method) => Some(Ok(event.clone())),
            None => None,
        })
    }

    /// The first answer on a channel that `is_it` takes, others passed over; or the close that comes instead.
    pub(crate) fn answer_to(
        &mut self,
        channel: u16,
        is_it: impl Fn(&Method) -> bool,
    ) -> Result<Method, Closed> {
        loop {
            let answer = self.answer(channel)?;
            if is_it(&answer) {
                return Ok(answer);
            }
        }
    }

    /// Waits until everything said before on this channel was carried out. Deliveries that it has caused may
    /// leave behind the answer of their turn, so there are two questions.
    pub(crate) fn sync(&mut self, channel: u16) -> Result<(), Closed> {
        for _ in 0..2 {
            let answer = self.call(channel, super::methods::access_request())?;
            assert!(matches!(answer, Method::AccessRequestOk(_)), "{answer:?}");
        }
        Ok(())
    }

    /// The broker closes this channel (0: the connection, and then hangs up).
    pub(crate) fn closed(&mut self, channel: u16) -> Closed {
        let closed = self.wait_for("a close", |event| {
            Closed::of(event).filter(|closed| closed.channel == channel || closed.channel == 0)
        });
        if closed.channel == 0 {
            let late = self.receive_late();
            assert_eq!(late, None, "nothing follows connection.close");
        }
        closed
    }

    fn receive_late(&mut self) -> Option<Event> {
        // What came before the close and was not asked for is not late.
        self.inbox.clear();
        self.receive()
    }

    /// Waits for deliveries, whichever consumer of the channel they are for.
    pub(crate) fn deliveries(&mut self, channel: u16, count: usize) -> Vec<(BasicDeliver, Content)> {
        (0..count)
            .map(|_| {
                self.wait_for("a delivery", |event| match (&event.method, &event.content) {
                    (Method::BasicDeliver(deliver), Some(content)) if event.channel == channel => {
                        Some((deliver.clone(), content.clone()))
                    }
                    _ => None,
                })
            })
            .collect()
    }

    /// What has come and nobody has asked for yet.
    pub(crate) fn inbox(&mut self) -> Vec<Event> {
        self.inbox.drain(..).collect()
    }

    /// Whether the broker has hung up.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends in order.
    pub(crate) fn close(mut self) {
        let close = ConnectionClose { reply_code: 200, reply_text: short("bye"), class_id: 0, method_id: 0 };
        self.send(0, Method::ConnectionClose(close));
        self.wait_for("close-ok", |event| matches!(event.method, Method::ConnectionCloseOk(_)).then_some(()));
    }
}

/// Whether the broker says this of itself, not as an answer.
pub(crate) fn is_unasked(method: &Method) -> bool {
    matches!(
        method,
        Method::BasicDeliver(_)
            | Method::BasicReturn(_)
            | Method::BasicAck(_)
            | Method::BasicNack(_)
            | Method::BasicCancel(_)
            | Method::ChannelClose(_)
            | Method::ConnectionClose(_)
            | Method::ConnectionBlocked(_)
            | Method::ConnectionUnblocked(_)
    )
}
