//! A broker made of a script: a listener, and for each connection a peer whose frames a test reads and writes.
//!
//! It knows no rules. What a test does not answer stays unanswered, so tests show exactly what the client
//! says and what it does with what it hears.

use std::time::Duration;

use bytes::BytesMut;
use rialto_client::{Client, ClientBuilder, FieldTable, Reconnect, ShortStr};
use rialto_protocol::native::{
    Closing, Command, DeliverWriter, EntryFlags, Frame, Login, NativeCodec, Outcome, OutcomeRange, PREFACE,
    Publish, PublishRun, Request, Response, Route, Welcome, put_entry_head,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Decoder;

/// Longer than anything a test waits for; only a failing test ever meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn name(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}

/// Ends a test that waits for something that does not come.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("what the test waits for comes")
}

pub(crate) struct FakeBroker {
    listener: TcpListener,
    pub(crate) welcome: Welcome,
}

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let welcome = Welcome {
            frame_max: 1024 * 1024,
            channel_max: 8,
            route_max: 16,
            heartbeat_ms: 0,
            publish_window: 1024 * 1024,
            message_size_max: 512 * 1024,
            properties: FieldTable::new(),
        };
        FakeBroker { listener, welcome }
    }

    pub(crate) fn url(&self) -> String {
        format!("rialto://ann:secret@{}/shop", self.listener.local_addr().unwrap())
    }

    /// A client that tries again quickly.
    pub(crate) fn client(&self) -> ClientBuilder {
        let reconnect =
            Reconnect::default().first_delay(Duration::from_millis(1)).max_delay(Duration::from_millis(5));
        ClientBuilder::new(&self.url()).unwrap().reconnect(reconnect)
    }

    /// The next connection, before its login.
    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let mut peer = Peer {
            stream,
            buf: BytesMut::new(),
            codec: NativeCodec::new(),
            routes: Default::default(),
            route_max: 0,
            auto: true,
        };
        let mut preface = [0; 8];
        soon(peer.stream.read_exact(&mut preface)).await.unwrap();
        assert_eq!(preface, PREFACE);
        peer
    }

    /// The next connection, logged in.
    pub(crate) async fn serve(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.login().await;
        peer.welcome(&self.welcome).await;
        peer
    }

    /// A connected client and its peer.
    pub(crate) async fn connected(&self) -> (Client, Peer) {
        self.connected_with(self.client()).await
    }

    pub(crate) async fn connected_with(&self, builder: ClientBuilder) -> (Client, Peer) {
        let (client, peer) = tokio::join!(builder.connect(), self.serve());
        (client.unwrap(), peer)
    }
}

/// One message of a publish, as a test looks at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Published {
    pub(crate) sequence: u64,
    pub(crate) channel: u16,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) mandatory: bool,
    pub(crate) outcomes: bool,
    pub(crate) properties: rialto_client::Properties,
    pub(crate) body: String,
}

pub(crate) struct Peer {
    stream: TcpStream,
    buf: BytesMut,
    codec: NativeCodec,
    routes: std::collections::HashMap<(u16, u32), (String, String)>,
    route_max: u32,
    /// Channels are opened without a test having to say so.
    pub(crate) auto: bool,
}

impl Peer {
    pub(crate) async fn login(&mut self) -> Login {
        match self.raw().await.command {
            Command::Login(login) => login,
            other => panic!("{other:?} instead of a login"),
        }
    }

    pub(crate) async fn welcome(&mut self, welcome: &Welcome) {
        self.say(0, Command::Welcome(welcome.clone())).await;
        self.codec.set_frame_max(welcome.frame_max);
        self.route_max = welcome.route_max;
    }

    pub(crate) async fn say(&mut self, channel: u16, command: Command) {
        let mut out = BytesMut::new();
        command.encode(channel, &mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, whatever it is.
    pub(crate) async fn raw(&mut self) -> Frame {
        soon(self.try_raw()).await.expect("the client is still there")
    }

    /// The next frame; `None` when the client hung up.
    pub(crate) async fn try_raw(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buf).unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.buf).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame that is not about channels, routes or heartbeats.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let frame = self.raw().await;
            match frame.command {
                Command::OpenChannel { correlation } if self.auto => {
                    self.say(frame.channel, Command::Response { correlation, response: Response::Done })
                        .await;
                }
                Command::DefineRoute { route, exchange, routing_key } => {
                    let names = (exchange.to_string(), routing_key.to_string());
                    self.routes.insert((frame.channel, route), names);
                    let (routes, most) = (self.routes.len(), self.route_max as usize);
                    assert!(route <= self.route_max && routes <= most, "route {route} is one too many");
                }
                Command::Heartbeat => {}
                _ => return frame,
            }
        }
    }

    /// The next request with its channel and correlation.
    pub(crate) async fn request(&mut self) -> (u16, u32, Request) {
        let frame = self.next().await;
        match frame.command {
            Command::Request { correlation, request } => (frame.channel, correlation, request),
            other => panic!("{other:?} instead of a request"),
        }
    }

    pub(crate) async fn respond(&mut self, channel: u16, correlation: u32, response: Response) {
        self.say(channel, Command::Response { correlation, response }).await;
    }

    /// Reads a request and says that it is done, in the way that fits.
    pub(crate) async fn grant(&mut self) -> Request {
        let (channel, correlation, request) = self.request().await;
        let response = match &request {
            Request::DeclareQueue { name: queue, .. } => {
                let name = if queue.is_empty() { name("made") } else { queue.clone() };
                Response::QueueDeclared { name, messages: 0, consumers: 0 }
            }
            Request::Consume(_) => Response::Consuming { tag: name("tag") },
            Request::DeleteQueue { .. } | Request::PurgeQueue { .. } => Response::Count(0),
            _ => Response::Done,
        };
        self.respond(channel, correlation, response).await;
        request
    }

    /// The messages of the next publish frame, and the frame's cost.
    pub(crate) async fn published_frame(&mut self) -> (Vec<Published>, usize) {
        let frame = self.next().await;
        let mut encoded = BytesMut::new();
        frame.encode(&mut encoded);
        match frame.command {
            Command::Publish(publish) => (self.messages(frame.channel, &publish), encoded.len()),
            other => panic!("{other:?} instead of a publish"),
        }
    }

    /// The next `count` messages, over as many frames as they come in.
    pub(crate) async fn published(&mut self, count: usize) -> Vec<Published> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.published_frame().await.0);
        }
        assert_eq!(all.len(), count, "more was published than expected");
        all
    }

    fn messages(&self, channel: u16, publish: &Publish) -> Vec<Published> {
        let runs: Vec<PublishRun> = publish.runs().collect::<Result<_, _>>().unwrap();
        let mut all = Vec::new();
        for run in &runs {
            let (exchange, routing_key) = match &run.route {
                Route::Defined(number) => self.routes[&(channel, *number)].clone(),
                Route::Inline { exchange, routing_key } => (exchange.to_string(), routing_key.to_string()),
            };
            for entry in run.walk() {
                let (entry, properties) = entry.unwrap();
                all.push(Published {
                    sequence: publish.first + all.len() as u64,
                    channel,
                    exchange: exchange.clone(),
                    routing_key: routing_key.clone(),
                    mandatory: run.mandatory,
                    outcomes: publish.outcomes,
                    properties: properties.decode(),
                    body: String::from_utf8(entry.body.to_vec()).unwrap(),
                });
            }
        }
        all
    }

    pub(crate) async fn outcome(&mut self, channel: u16, first: u64, last: u64, outcome: Outcome) {
        self.say(channel, Command::Outcomes(vec![OutcomeRange { first, last, outcome }])).await;
    }

    pub(crate) async fn confirm(&mut self, messages: &[Published]) {
        let (first, last) = (&messages[0], &messages[messages.len() - 1]);
        self.outcome(first.channel, first.sequence, last.sequence, Outcome::Confirmed).await;
    }

    /// Delivers bodies to a consumer, as one run.
    pub(crate) async fn deliver(&mut self, consumer: u32, first_tag: u64, bodies: &[&str]) {
        let mut out = BytesMut::new();
        let mut frame = DeliverWriter::begin(2, consumer, first_tag, &mut out);
        frame.run("x", "k", &mut out);
        for body in bodies {
            frame.entry(&[], body.as_bytes(), &mut out);
        }
        frame.finish(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }

    /// Reads a consumer's start; returns its number and what it asked for.
    pub(crate) async fn consumer(&mut self) -> rialto_protocol::native::Consume {
        match self.grant().await {
            Request::Consume(consume) => consume,
            other => panic!("{other:?} instead of a consumer"),
        }
    }

    /// Answers the client's orderly close.
    pub(crate) async fn expect_close(&mut self) -> Closing {
        match self.next().await.command {
            Command::Close(closing) => {
                self.say(0, Command::CloseOk).await;
                closing
            }
            other => panic!("{other:?} instead of a close"),
        }
    }
}

/// One entry with flags, as bytes.
pub(crate) fn entry(flags: EntryFlags, delivery_count: u32, body: &str) -> BytesMut {
    let mut out = BytesMut::new();
    put_entry_head(flags, delivery_count, 0, body.len(), &mut out);
    out.extend_from_slice(body.as_bytes());
    out
}
