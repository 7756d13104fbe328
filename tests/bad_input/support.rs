//! A peer that says whatever a test wants over a real socket, and a broker that must survive it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto::broker::{Broker, Limits};
use rialto::server::{Embedded, ServerOptions};
use rialto::session::SessionOptions;
use rialto_protocol::native::*;
use rialto_protocol::types::{FieldTable, ShortStr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test waits so long unless something hangs.
const HANG: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            // Not to spin while the broker's threads work towards it.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub(crate) fn short(text: impl AsRef<str>) -> ShortStr {
    ShortStr::new(text).expect("tests use short names")
}

/// A broker under attack.
pub(crate) struct Victim {
    pub(crate) server: Embedded,
}

impl Victim {
    pub(crate) async fn start() -> Victim {
        Self::with(|_| {}, |_| {}).await
    }

    pub(crate) async fn with(
        session: impl FnOnce(&mut SessionOptions),
        limits: impl FnOnce(&mut Limits),
    ) -> Victim {
        let (mut options, mut limited) = (SessionOptions::default(), Limits::default());
        session(&mut options);
        limits(&mut limited);
        let broker = Broker::in_memory().limits(limited).build();
        let options = ServerOptions { session: Arc::new(options), ..ServerOptions::default() };
        Victim { server: Embedded::start_with(broker, options).await.expect("a free port") }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.server.broker()
    }

    pub(crate) fn queues(&self) -> usize {
        self.broker().vhost("/").expect("the vhost is there").queues().len()
    }

    /// Another connection is served as if nothing had happened.
    pub(crate) async fn serves_others(&self) {
        let mut other = Peer::on_channel(self.address()).await;
        let name = other.declare_exclusive().await;
        other.publish(1, &name, b"still there?").await;
        assert_eq!(other.next_outcomes().await, [(1, 1, Outcome::Confirmed)]);
        let got = other.request(Request::Get { queue: short(&name), auto_ack: true }).await;
        assert!(matches!(got, Ok(Response::Got { .. })), "{got:?}");
        other.close().await;
    }

    /// Others are served, and when the peers are gone nothing of them is left.
    pub(crate) async fn survives(&self) {
        self.serves_others().await;
        self.forgets().await;
    }

    /// When the peers are gone, no connection, queue, timer or message is left.
    pub(crate) async fn forgets(&self) {
        until("all connections end", || self.broker().connections().is_empty()).await;
        until("their queues go", || self.queues() == 0).await;
        until("their memory is free", || self.broker().memory_bytes() == 0).await;
        assert_eq!(self.broker().timers_len(), 0);
    }
}

/// A client without manners.
pub(crate) struct Peer {
    stream: TcpStream,
    input: BytesMut,
    pub(crate) frame_max: u32,
    correlation: u32,
}

impl Peer {
    /// Connected, nothing said.
    pub(crate) async fn connect(address: SocketAddr) -> Peer {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("the broker accepts");
        stream.set_nodelay(true).expect("a socket option");
        Peer { stream, input: BytesMut::new(), frame_max: u32::MAX, correlation: 100 }
    }

    /// With the preface sent.
    pub(crate) async fn greeted(address: SocketAddr) -> Peer {
        let mut peer = Self::connect(address).await;
        peer.send_bytes(&PREFACE).await;
        peer
    }

    /// Logged in as `guest`.
    pub(crate) async fn logged_in(address: SocketAddr) -> Peer {
        let mut peer = Self::greeted(address).await;
        peer.send(0, Command::Login(login())).await;
        peer.welcome().await;
        peer
    }

    /// Logged in, channel 1 open.
    pub(crate) async fn on_channel(address: SocketAddr) -> Peer {
        let mut peer = Self::logged_in(address).await;
        peer.open_channel(1).await;
        peer
    }

    pub(crate) async fn welcome(&mut self) -> Welcome {
        match self.next().await {
            Some(Frame { channel: 0, command: Command::Welcome(welcome) }) => {
                self.frame_max = welcome.frame_max;
                welcome
            }
            other => panic!("no Welcome but {other:?}"),
        }
    }

    pub(crate) async fn open_channel(&mut self, channel: u16) {
        self.send(channel, Command::OpenChannel { correlation: 7 }).await;
        let done = Command::Response { correlation: 7, response: Response::Done };
        assert_eq!(self.next().await, Some(Frame { channel, command: done }));
    }

    /// Sends bytes. That the broker may have hung up by now is not this method's business.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = soon("the broker reads", self.stream.write_all(bytes)).await;
    }

    pub(crate) async fn send(&mut self, channel: u16, command: Command) {
        self.send_bytes(&encoded(channel, &command)).await;
    }

    /// The bare socket.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Ends the sending direction.
    pub(crate) async fn hang_up(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Bytes until the broker ends the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = self.input.split().to_vec();
        soon("the broker hangs up", async {
            // A reset is an end too.
            while let Ok(1..) = self.stream.read_buf(&mut self.input).await {}
        })
        .await;
        rest.extend_from_slice(&self.input.split());
        rest
    }

    /// The next frame; none if the broker has hung up. Frames over the limit fail the test.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(raw) =
                decode_frame(&mut self.input, self.frame_max).expect("the broker sends good frames")
            {
                let channel = raw.channel;
                let command = raw.command().expect("the broker sends good frames").expect("known frames");
                if let Command::Blocked(_) | Command::Unblocked | Command::PublishCredit(_) = command {
                    continue;
                }
                return Some(Frame { channel, command });
            }
            match soon("the broker says something", self.stream.read_buf(&mut self.input)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The broker closes the connection for this reason, takes our answer and hangs up.
    pub(crate) async fn closed(&mut self) -> Closing {
        loop {
            match self.next().await {
                Some(Frame { channel: 0, command: Command::Close(closing) }) => {
                    self.send(0, Command::CloseOk).await;
                    assert_eq!(self.next().await, None, "nothing follows CloseOk");
                    return closing;
                }
                // Answers to what came before.
                Some(_) => {}
                None => panic!("the broker hung up without a word"),
            }
        }
    }

    /// The broker closes the connection with this code, naming this kind and correlation. Gives the text.
    pub(crate) async fn closed_with(&mut self, code: u16, kind: u8, correlation: u32) -> String {
        let closing = self.closed().await;
        let said = (closing.code, closing.kind, closing.correlation);
        assert_eq!(said, (code, kind, correlation), "{}", closing.text);
        closing.text.to_string()
    }

    /// The broker closes the channel with this code, naming this kind; the connection goes on. Gives the text.
    pub(crate) async fn channel_closed_with(&mut self, channel: u16, code: u16, kind: Kind) -> String {
        match self.next().await {
            Some(Frame { channel: on, command: Command::ChannelClosed(closing) }) => {
                assert_eq!(
                    (on, closing.code, closing.kind),
                    (channel, code, kind.octet()),
                    "{}",
                    closing.text
                );
                closing.text.to_string()
            }
            other => panic!("no ChannelClosed but {other:?}"),
        }
    }

    /// Asks on channel 1, and gives the answer or the code and text of the failure.
    pub(crate) async fn request(&mut self, request: Request) -> Result<Response, (u16, String)> {
        self.correlation += 1;
        let asked = self.correlation;
        self.send(1, Command::Request { correlation: asked, request }).await;
        loop {
            match self.next().await.expect("an answer").command {
                Command::Response { correlation, response } if correlation == asked => return Ok(response),
                Command::Failure { correlation, code, text } if correlation == asked => {
                    return Err((code, text.to_string()));
                }
                Command::Deliver(_) => {}
                other => panic!("no answer but {other:?}"),
            }
        }
    }

    pub(crate) async fn declare(
        &mut self,
        name: &str,
        arguments: FieldTable,
    ) -> Result<String, (u16, String)> {
        let declared = self.request(declare(name, arguments)).await?;
        let Response::QueueDeclared { name, .. } = declared else { panic!("{declared:?}") };
        Ok(name.to_string())
    }

    pub(crate) async fn declare_exclusive(&mut self) -> String {
        self.declare("", FieldTable::new()).await.expect("a queue can be declared")
    }

    pub(crate) async fn publish(&mut self, sequence: u64, key: &str, body: &[u8]) {
        self.send_bytes(&publish(sequence, key, &[body])).await;
    }

    pub(crate) async fn next_outcomes(&mut self) -> Vec<(u64, u64, Outcome)> {
        match self.next().await.map(|frame| frame.command) {
            Some(Command::Outcomes(ranges)) => {
                ranges.into_iter().map(|range| (range.first, range.last, range.outcome)).collect()
            }
            other => panic!("no outcomes but {other:?}"),
        }
    }

    /// Ends in order.
    pub(crate) async fn close(mut self) {
        let closing = Closing { code: 200, text: short(""), kind: 0, correlation: 0 };
        self.send(0, Command::Close(closing)).await;
        while let Some(frame) = self.next().await {
            if frame.command == Command::CloseOk {
                return;
            }
        }
        panic!("Close was not answered");
    }
}

/// A good login.
pub(crate) fn login() -> Login {
    Login {
        mechanism: short("PLAIN"),
        response: Bytes::from_static(b"\0guest\0guest"),
        vhost: short("/"),
        frame_max: 0,
        heartbeat_ms: 0,
        properties: FieldTable::new(),
    }
}

/// An exclusive queue.
pub(crate) fn declare(name: &str, arguments: FieldTable) -> Request {
    let (passive, durable, exclusive, auto_delete) = (false, false, true, false);
    Request::DeclareQueue { name: short(name), passive, durable, exclusive, auto_delete, arguments }
}

/// A consumer with this number, without limits.
pub(crate) fn consume(queue: &str, consumer: u32) -> Consume {
    Consume {
        queue: short(queue),
        consumer,
        tag: short(""),
        auto_ack: false,
        exclusive: false,
        prefetch: 0,
        credit: None,
        arguments: FieldTable::new(),
    }
}

pub(crate) fn encoded(channel: u16, command: &Command) -> BytesMut {
    let mut out = BytesMut::new();
    command.encode(channel, &mut out);
    out
}

/// A frame on channel 1 with messages for a queue, outcomes wanted.
pub(crate) fn publish(first: u64, queue: &str, bodies: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut frame = PublishWriter::begin(1, first, true, &mut out);
    frame.run(RouteRef::Inline { exchange: "", routing_key: queue }, false, &mut out);
    bodies.iter().for_each(|body| frame.entry(&[], body, &mut out));
    frame.finish(&mut out);
    out
}

/// Any frame at all.
pub(crate) fn frame(kind: u8, flags: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut out = ((4 + body.len()) as u32).to_be_bytes().to_vec();
    out.extend([kind, flags]);
    out.extend(channel.to_be_bytes());
    out.extend(body);
    out
}
