//! One blocking connection to a broker: login, requests, publish credit, heartbeats.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rialto_client::Address;
use rialto_protocol::native::{Command, Kind, Login, Outcome, PREFACE, RawFrame, Request, Response, Welcome};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::{BenchError, BenchResult, Doing};
use super::super::stream::Stream;
use super::walker::{Arrived, Walker};

/// The one channel that the generator uses on a connection.
pub(in super::super) const CHANNEL: u16 = 1;

/// How long an answer to a request may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    walker: Walker,
    /// Bytes of publish frames that may be sent.
    credit: i64,
    frame_max: u32,
    heartbeat: Option<Duration>,
    sent_at: Instant,
    correlation: u32,
}

/// What concerns the traffic.
#[derive(Debug)]
pub(super) enum Event {
    /// Messages have come for a consumer.
    Delivered { consumer: u32, count: u32 },
    /// A message carries this time.
    Stamp(u64),
    /// So many messages were confirmed, and so many were not taken.
    Answered { confirmed: u64, rejected: u64 },
    /// Whatever `request` waits for.
    Response(Response),
    /// The broker has closed the connection because it was asked to.
    Closed,
}

impl Connection {
    /// Logs in and opens the channel.
    pub(super) fn open(address: &Address, name: &str) -> BenchResult<Connection> {
        let stream = Stream::connect(address)?;
        stream.socket().set_read_timeout(Some(ANSWER_TIMEOUT)).doing(timeout_failed)?;
        let mut connection = Connection {
            stream,
            walker: Walker::new(false),
            credit: 0,
            frame_max: 0,
            heartbeat: None,
            sent_at: Instant::now(),
            correlation: 1,
        };
        let mut hello = BytesMut::from(&PREFACE[..]);
        Command::Login(login(address, name)).encode(0, &mut hello);
        Command::OpenChannel { correlation: 1 }.encode(CHANNEL, &mut hello);
        connection.write(&hello)?;
        match connection.await_event()? {
            Event::Response(Response::Done) => {}
            other => return Err(BenchError::Protocol(format!("{other:?} in answer to OpenChannel"))),
        }
        Ok(connection)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Whether something has come that the socket does not tell of any more.
    pub(super) fn has_more(&mut self) -> bool {
        self.stream.has_more()
    }

    /// Most bytes of a frame after its length field.
    pub(super) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Whether a publish may be sent now.
    pub(super) fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// From now on bodies carry times.
    pub(super) fn expect_stamps(&mut self) {
        self.walker.set_stamps(true);
    }

    /// Asks for something and waits for it. Only while nothing is consumed or published.
    pub(super) fn request(&mut self, request: Request) -> BenchResult<Response> {
        self.correlation += 1;
        let what = format!("{request:?}");
        self.send(&Command::Request { correlation: self.correlation, request })?;
        match self.await_event()? {
            Event::Response(response) => Ok(response),
            other => Err(BenchError::Protocol(format!("{other:?} in answer to {what}"))),
        }
    }

    /// Asks for many things and waits for all. Only while nothing is consumed or published.
    pub(super) fn request_all(&mut self, requests: impl Iterator<Item = Request>) -> BenchResult<()> {
        let (mut out, mut waiting) = (BytesMut::new(), 0);
        for request in requests {
            self.correlation += 1;
            waiting += 1;
            Command::Request { correlation: self.correlation, request }.encode(CHANNEL, &mut out);
        }
        self.write(&out)?;
        while waiting > 0 {
            match self.await_event()? {
                Event::Response(_) => waiting -= 1,
                other => return Err(BenchError::Protocol(format!("{other:?}, where an answer was due"))),
            }
        }
        Ok(())
    }

    /// Sends a command of the channel.
    pub(super) fn send(&mut self, command: &Command) -> BenchResult<()> {
        let mut out = BytesMut::new();
        command.encode(if command.kind().needs_channel() { CHANNEL } else { 0 }, &mut out);
        self.write(&out)
    }

    /// Sends an encoded publish. There must be credit.
    pub(super) fn publish(&mut self, frame: &[u8]) -> BenchResult<()> {
        debug_assert!(self.has_credit(), "the publisher waits for credit");
        self.credit -= frame.len() as i64;
        self.write(frame)
    }

    /// Sends encoded frames other than publishes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> BenchResult<()> {
        if self.heartbeat.is_some() {
            self.sent_at = Instant::now();
        }
        self.stream.write_all(bytes).doing(|| "cannot write to the broker".to_owned())
    }

    /// Reads once, and keeps the connection alive. False: the connection has ended.
    pub(super) fn read(&mut self) -> BenchResult<bool> {
        loop {
            if let Some(interval) = self.heartbeat
                && self.sent_at.elapsed() * 2 > interval
            {
                self.send(&Command::Heartbeat)?;
            }
            match self.stream.read(self.walker.room()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.walker.filled(count);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.frame_max == 0 {
                        return Err(BenchError::Protocol("nothing, where an answer was due".to_owned()));
                    }
                }
                // The round ends consumers by shutting their sockets down.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error).doing(|| "cannot read from the broker".to_owned()),
            }
        }
    }

    /// The next thing in what was read.
    pub(super) fn next(&mut self) -> BenchResult<Option<Event>> {
        while let Some(arrived) = self.walker.next()? {
            let (kind, flags, channel, body) = match arrived {
                Arrived::Run { consumer, count } => return Ok(Some(Event::Delivered { consumer, count })),
                Arrived::Stamp(at) => return Ok(Some(Event::Stamp(at))),
                Arrived::Frame { kind, flags, channel, body } => (kind, flags, channel, body),
            };
            if kind == Kind::PublishCredit.octet()
                && let Some(bytes) = body.first_chunk()
            {
                self.credit += i64::from(u32::from_be_bytes(*bytes));
                continue;
            }
            let frame = RawFrame { kind, flags, channel, body: Bytes::copy_from_slice(body) };
            let command = frame.command().map_err(|error| BenchError::Protocol(error.to_string()))?;
            if let Some(command) = command
                && let Some(event) = self.react(command)?
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn react(&mut self, command: Command) -> BenchResult<Option<Event>> {
        match command {
            Command::Welcome(welcome) => self.welcomed(&welcome)?,
            Command::Outcomes(ranges) => {
                let (mut confirmed, mut rejected) = (0, 0);
                for range in ranges {
                    let count = range.last - range.first + 1;
                    match range.outcome {
                        Outcome::Confirmed => confirmed += count,
                        _ => rejected += count,
                    }
                }
                return Ok(Some(Event::Answered { confirmed, rejected }));
            }
            Command::Response { response, .. } => return Ok(Some(Event::Response(response))),
            Command::Failure { text, .. } => return Err(BenchError::Refused(text.to_string())),
            Command::Close(closing) | Command::ChannelClosed(closing) => {
                return Err(BenchError::Refused(closing.text.to_string()));
            }
            Command::ConsumerCancelled { reason, .. } => return Err(BenchError::Refused(reason.to_string())),
            Command::CloseOk => return Ok(Some(Event::Closed)),
            Command::Heartbeat | Command::Blocked(_) | Command::Unblocked | Command::Returned(_) => {}
            other => return Err(BenchError::Protocol(format!("{:?}", other.kind()))),
        }
        Ok(None)
    }

    fn welcomed(&mut self, welcome: &Welcome) -> BenchResult<()> {
        self.credit = welcome.publish_window.into();
        self.frame_max = welcome.frame_max;
        if welcome.heartbeat_ms > 0 {
            let interval = Duration::from_millis(welcome.heartbeat_ms.into());
            self.heartbeat = Some(interval);
            self.stream.socket().set_read_timeout(Some(interval / 2)).doing(timeout_failed)?;
        } else {
            self.stream.socket().set_read_timeout(None).doing(timeout_failed)?;
        }
        Ok(())
    }

    /// Reads until something concerns the traffic.
    pub(super) fn await_event(&mut self) -> BenchResult<Event> {
        loop {
            if let Some(event) = self.next()? {
                return Ok(event);
            }
            if !self.read()? {
                return Err(BenchError::Ended);
            }
        }
    }
}

/// Who connects.
pub(in super::super) fn login(address: &Address, name: &str) -> Login {
    Login {
        mechanism: ShortStr::truncated("PLAIN"),
        response: Bytes::from(format!("\0{}\0{}", address.user, address.password)),
        vhost: ShortStr::truncated(&address.vhost),
        frame_max: 0,
        heartbeat_ms: 0,
        properties: FieldTable::new()
            .with("product", "rialto bench")
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("connection_name", name),
    }
}

fn timeout_failed() -> String {
    "cannot set a timeout".to_owned()
}
