//! A peer that says exactly the frames a test asks for: for what a good client never does, and for seeing frames
//! as they are.

use bytes::{Bytes, BytesMut};
use rialto::server::Embedded;
use rialto_protocol::native::{
    Closing, Command, Consume, Deliver, Login, OutcomeRange, PREFACE, PublishWriter, Request, Response,
    RouteRef, Settle, Settlement, Welcome, decode_frame,
};
use rialto_protocol::types::{FieldTable, ShortStr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// The channel that a peer works on.
pub(crate) const CHANNEL: u16 = 1;

/// A connection of frames. Dropping it is a connection that dies without a word.
pub(crate) struct Peer {
    stream: TcpStream,
    input: BytesMut,
    correlation: u32,
    sequence: u64,
    /// What the broker has offered.
    pub(crate) welcome: Welcome,
    /// What came while something else was awaited.
    pub(crate) inbox: Vec<Command>,
}

/// A delivered message: what a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) consumer: u32,
    pub(crate) tag: u64,
    pub(crate) body: String,
    pub(crate) redelivered: bool,
    pub(crate) delivery_count: u32,
}

impl Peer {
    /// Connects, logs in without heartbeats and opens [`CHANNEL`].
    pub(crate) async fn connect(broker: &Embedded) -> Peer {
        Self::log_in(broker, login(0)).await.expect("the guest is let in")
    }

    /// Logs in as the frame says.
    pub(crate) async fn log_in(broker: &Embedded, login: Login) -> Result<Peer, Closing> {
        let stream = TcpStream::connect(broker.address()).await.expect("the broker listens");
        let welcome = Welcome {
            frame_max: 1 << 24,
            channel_max: 1,
            route_max: 1,
            heartbeat_ms: 0,
            publish_window: 0,
            message_size_max: 0,
            properties: FieldTable::new(),
        };
        let (input, inbox) = (BytesMut::new(), Vec::new());
        let mut peer = Peer { stream, input, correlation: 0, sequence: 1, welcome, inbox };
        peer.send_bytes(&PREFACE).await;
        peer.send(0, Command::Login(login)).await;
        match peer.receive().await {
            Some(Command::Welcome(welcome)) => peer.welcome = welcome,
            Some(Command::Close(closing)) => return Err(closing),
            other => panic!("expected Welcome, and got {other:?}"),
        }
        peer.open_channel(CHANNEL).await;
        Ok(peer)
    }

    /// Opens a channel.
    pub(crate) async fn open_channel(&mut self, channel: u16) {
        self.correlation += 1;
        let correlation = self.correlation;
        self.send(channel, Command::OpenChannel { correlation }).await;
        self.answer(correlation).await.expect("the channel opens");
    }

    /// Sends one frame.
    pub(crate) async fn send(&mut self, channel: u16, command: Command) {
        let mut out = BytesMut::new();
        command.encode(channel, &mut out);
        self.send_bytes(&out).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon("room to write", self.stream.write_all(bytes)).await.expect("the broker listens");
    }

    /// The next command, heartbeats passed over; none when the broker has ended the connection.
    pub(crate) async fn receive(&mut self) -> Option<Command> {
        loop {
            if let Some(frame) = decode_frame(&mut self.input, 1 << 24).expect("a whole frame") {
                match frame.command().expect("a good frame") {
                    Some(Command::Heartbeat) | None => continue,
                    Some(command) => return Some(command),
                }
            }
            let read = soon("something to read", self.stream.read_buf(&mut self.input)).await;
            if !matches!(read, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next command that `pick` takes; others go to the inbox.
    pub(crate) async fn wait_for<T>(&mut self, what: &str, pick: impl Fn(&Command) -> Option<T>) -> T {
        if let Some(at) = self.inbox.iter().position(|command| pick(command).is_some()) {
            let command = self.inbox.remove(at);
            return pick(&command).expect("it was picked just now");
        }
        loop {
            let Some(command) = self.receive().await else { panic!("the connection ended before {what}") };
            match pick(&command) {
                Some(picked) => return picked,
                None => self.inbox.push(command),
            }
        }
    }

    /// Asks for something and waits for the answer.
    pub(crate) async fn request(&mut self, request: Request) -> Result<Response, (u16, String)> {
        self.request_on(CHANNEL, request).await
    }

    /// [`Peer::request`] on another channel.
    pub(crate) async fn request_on(
        &mut self,
        channel: u16,
        request: Request,
    ) -> Result<Response, (u16, String)> {
        self.correlation += 1;
        let correlation = self.correlation;
        self.send(channel, Command::Request { correlation, request }).await;
        self.answer(correlation).await
    }

    async fn answer(&mut self, wanted: u32) -> Result<Response, (u16, String)> {
        self.wait_for("an answer", |command| match command {
            Command::Response { correlation, response } if *correlation == wanted => {
                Some(Ok(response.clone()))
            }
            Command::Failure { correlation, code, text } if *correlation == wanted => {
                Some(Err((*code, text.to_string())))
            }
            _ => None,
        })
        .await
    }

    /// Waits until everything said before was carried out and its consequences have arrived: see
    /// [`super::settled`].
    pub(crate) async fn settled(&mut self) {
        self.settled_on(CHANNEL).await;
    }

    /// [`Peer::settled`], asking on another channel.
    pub(crate) async fn settled_on(&mut self, channel: u16) {
        for _ in 0..2 {
            let request = Request::ExchangeInfo { name: ShortStr::default() };
            self.request_on(channel, request).await.expect("the default exchange exists");
        }
    }

    /// Declares a plain queue.
    pub(crate) async fn declare_queue(&mut self, queue: &str) {
        let request = Request::DeclareQueue {
            name: name(queue),
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::new(),
        };
        self.request(request).await.expect("the queue is declared");
    }

    /// Starts a consumer.
    pub(crate) async fn consume(&mut self, consume: Consume) {
        self.consume_on(CHANNEL, consume).await;
    }

    /// [`Peer::consume`] on another channel.
    pub(crate) async fn consume_on(&mut self, channel: u16, consume: Consume) {
        self.request_on(channel, Request::Consume(consume)).await.expect("the consumer starts");
    }

    /// Publishes bodies in one frame and wants their outcomes. Returns the first sequence number.
    pub(crate) async fn publish(&mut self, exchange: &str, key: &str, bodies: &[&[u8]]) -> u64 {
        self.publish_run(exchange, key, false, bodies).await
    }

    /// [`Peer::publish`], mandatory if wanted.
    pub(crate) async fn publish_run(
        &mut self,
        exchange: &str,
        routing_key: &str,
        mandatory: bool,
        bodies: &[&[u8]],
    ) -> u64 {
        let first = self.sequence;
        self.sequence += bodies.len() as u64;
        let mut out = BytesMut::new();
        let mut frame = PublishWriter::begin(CHANNEL, first, true, &mut out);
        frame.run(RouteRef::Inline { exchange, routing_key }, mandatory, &mut out);
        for body in bodies {
            frame.entry(&[], body, &mut out);
        }
        frame.finish(&mut out);
        self.send_bytes(&out).await;
        first
    }

    /// The next outcomes.
    pub(crate) async fn outcomes(&mut self) -> Vec<OutcomeRange> {
        self.wait_for("outcomes", |command| match command {
            Command::Outcomes(ranges) => Some(ranges.clone()),
            _ => None,
        })
        .await
    }

    /// Publishes bodies to a queue and waits until all are confirmed.
    pub(crate) async fn fill(&mut self, queue: &str, bodies: &[&str]) {
        let bodies: Vec<_> = bodies.iter().map(|body| body.as_bytes()).collect();
        let first = self.publish("", queue, &bodies).await;
        let last = first + bodies.len() as u64 - 1;
        while self.outcomes().await.last().map(|range| range.last) != Some(last) {}
    }

    /// The next `count` deliveries, whoever they are for.
    pub(crate) async fn deliveries(&mut self, count: usize) -> Vec<Delivered> {
        let mut all = Vec::new();
        while all.len() < count {
            let frame = self.wait_for("deliveries", deliver).await;
            all.extend(delivered(&frame));
        }
        assert_eq!(all.len(), count, "more than expected: {all:?}");
        all
    }

    /// The deliveries that have arrived, once everything said before was carried out.
    pub(crate) async fn deliveries_so_far(&mut self) -> Vec<Delivered> {
        self.settled().await;
        self.inbox_deliveries()
    }

    /// At least one delivery, and those that came with it.
    pub(crate) async fn some_deliveries(&mut self) -> Vec<Delivered> {
        delivered(&self.wait_for("deliveries", deliver).await)
    }

    /// The deliveries in the inbox.
    pub(crate) fn inbox_deliveries(&mut self) -> Vec<Delivered> {
        let (frames, others) =
            self.inbox.drain(..).partition::<Vec<_>, _>(|command| deliver(command).is_some());
        self.inbox = others;
        frames.iter().filter_map(deliver).flat_map(|frame| delivered(&frame)).collect()
    }

    /// Settles a range of a consumer's deliveries.
    pub(crate) async fn settle(&mut self, consumer: u32, settlement: Settlement, first: u64, last: u64) {
        let settle = Settle { consumer, settlement, ranges: vec![(first, last)] };
        self.send(CHANNEL, Command::Settle(settle)).await;
    }

    /// Acknowledges a range of a consumer's deliveries.
    pub(crate) async fn ack(&mut self, consumer: u32, first: u64, last: u64) {
        self.settle(consumer, Settlement::Ack, first, last).await;
    }

    /// Waits for the end of the connection; the reason the broker gives.
    pub(crate) async fn closed(mut self) -> Closing {
        let closing = self
            .wait_for("Close", |command| match command {
                Command::Close(closing) => Some(closing.clone()),
                _ => None,
            })
            .await;
        self.send(0, Command::CloseOk).await;
        assert_eq!(self.receive().await, None);
        closing
    }

    /// Waits until the broker closes a channel; the reason it gives.
    pub(crate) async fn channel_closed(&mut self) -> Closing {
        self.wait_for("ChannelClosed", |command| match command {
            Command::ChannelClosed(closing) => Some(closing.clone()),
            _ => None,
        })
        .await
    }
}

/// A guest's login with a wish for heartbeats, in milliseconds.
pub(crate) fn login(heartbeat_ms: u32) -> Login {
    Login {
        mechanism: name("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        vhost: name("/"),
        frame_max: 0,
        heartbeat_ms,
        properties: FieldTable::new(),
    }
}

/// A consumer without credit limits.
pub(crate) fn consumer(number: u32, queue: &str, prefetch: u32) -> Consume {
    Consume {
        queue: name(queue),
        consumer: number,
        tag: ShortStr::default(),
        auto_ack: false,
        exclusive: false,
        prefetch,
        credit: None,
        arguments: FieldTable::new(),
    }
}

/// A name that is short enough.
pub(crate) fn name(text: &str) -> ShortStr {
    ShortStr::new(text).expect("a short name")
}

fn deliver(command: &Command) -> Option<Deliver> {
    match command {
        Command::Deliver(deliver) => Some(deliver.clone()),
        _ => None,
    }
}

fn delivered(frame: &Deliver) -> Vec<Delivered> {
    use rialto_protocol::native::EntryFlags;
    let mut tag = frame.first_tag;
    let mut all = Vec::new();
    for run in frame.runs() {
        for entry in run.expect("a good run").walk() {
            let entry = entry.expect("a good entry");
            all.push(Delivered {
                consumer: frame.consumer,
                tag,
                body: String::from_utf8_lossy(entry.body).into_owned(),
                redelivered: entry.flags.contains(EntryFlags::REDELIVERED),
                delivery_count: entry.delivery_count,
            });
            tag += 1;
        }
    }
    all
}
