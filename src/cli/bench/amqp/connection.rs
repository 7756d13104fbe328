//! One blocking connection with one channel: login, requests, what concerns the traffic.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rialto_client::Address;
use rialto_protocol::amqp::{
    ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTune, ConnectionTuneOk, Method, MethodId,
    PROTOCOL_HEADER,
};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::{BenchError, BenchResult, Doing};
use super::super::stream::Stream;
use super::walker::{Arrived, FRAME_MAX, Walker};

/// The one channel that the generator uses on a connection.
pub(in super::super) const CHANNEL: u16 = 1;

/// How long an answer to a request may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what keeps a broker busy may take: a thousand bindings, or the end of them all.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    walker: Walker,
    frame_max: u32,
}

/// What concerns the traffic.
#[derive(Debug)]
pub(super) enum Event {
    /// Messages have come; the tag of the last.
    Delivered { count: u64, last: u64 },
    /// A message carries this time.
    Stamp(u64),
    /// The broker has taken a published message, or all up to it; or it has not.
    Answered { tag: u64, multiple: bool, taken: bool },
    /// Whatever `request` waits for.
    Method(Method),
}

impl Connection {
    /// Logs in and opens the channel.
    pub(super) fn open(address: &Address, name: &str) -> BenchResult<Connection> {
        let stream = Stream::connect(address)?;
        let mut connection = Connection { stream, walker: Walker::new(), frame_max: FRAME_MAX };
        connection.wait_at_most(Some(ANSWER_TIMEOUT))?;
        connection.write(&PROTOCOL_HEADER)?;
        connection.answer(MethodId::CONNECTION_START).map_err(|error| match error {
            BenchError::Protocol(what) => BenchError::Protocol(format!("{what} (does it speak AMQP 0-9-1?)")),
            error => error,
        })?;
        connection.send(0, start_ok(address, name))?;
        let Method::ConnectionTune(offer) = connection.answer(MethodId::CONNECTION_TUNE)? else {
            unreachable!("an answer is the method that was asked for")
        };
        connection.send(0, connection.tuned(&offer))?;
        connection.frame_max = frame_max(&offer);
        let open = ConnectionOpen { virtual_host: ShortStr::truncated(&address.vhost) };
        connection.send(0, open)?;
        connection.answer(MethodId::CONNECTION_OPEN_OK)?;
        connection.request(ChannelOpen {}, MethodId::CHANNEL_OPEN_OK)?;
        Ok(connection)
    }

    fn tuned(&self, offer: &ConnectionTune) -> ConnectionTuneOk {
        // A heartbeat would cost both sides something and tell nothing: the round watches progress.
        ConnectionTuneOk { channel_max: offer.channel_max, frame_max: frame_max(offer), heartbeat: 0 }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Whether something has come that the socket does not tell of any more.
    pub(super) fn has_more(&mut self) -> bool {
        self.stream.has_more()
    }

    /// Longest frame in bytes, as negotiated.
    pub(super) fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// From now on bodies carry times.
    pub(super) fn expect_stamps(&mut self) {
        self.walker.expect_stamps();
    }

    /// Requests are over: from now on silence means that there is nothing to say.
    pub(super) fn begin_traffic(&mut self) -> BenchResult<()> {
        self.wait_at_most(None)
    }

    /// From here on answers may take their time.
    pub(super) fn be_patient(&mut self) -> BenchResult<()> {
        self.wait_at_most(Some(PATIENCE))
    }

    fn wait_at_most(&self, patience: Option<Duration>) -> BenchResult<()> {
        self.stream.socket().set_read_timeout(patience).doing(waiting_failed)
    }

    /// Asks for something on the channel and waits for its answer.
    pub(super) fn request(&mut self, method: impl Into<Method>, answer: MethodId) -> BenchResult<Method> {
        self.send(CHANNEL, method)?;
        self.answer(answer)
    }

    fn answer(&mut self, wanted: MethodId) -> BenchResult<Method> {
        match self.await_event()? {
            Event::Method(method) if method.id() == wanted => Ok(method),
            other => Err(BenchError::Protocol(format!("{other:?}, where {} was due", wanted.name()))),
        }
    }

    /// Sends a method.
    pub(super) fn send(&mut self, channel: u16, method: impl Into<Method>) -> BenchResult<()> {
        let mut out = BytesMut::new();
        method.into().encode(channel, &mut out);
        self.write(&out)
    }

    /// Sends encoded frames.
    pub(super) fn write(&mut self, bytes: &[u8]) -> BenchResult<()> {
        self.stream.write_all(bytes).doing(|| "cannot write to the broker".to_owned())
    }

    /// Reads once. False: the connection has ended.
    pub(super) fn read(&mut self) -> BenchResult<bool> {
        loop {
            match self.stream.read(self.walker.room()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.walker.filled(count);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(BenchError::Protocol("nothing, where an answer was due".to_owned()));
                }
                // The round ends consumers by shutting their sockets down.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error).doing(|| "cannot read from the broker".to_owned()),
            }
        }
    }

    /// Reads what has come, without waiting. False: nothing has.
    pub(super) fn read_at_once(&mut self) -> BenchResult<bool> {
        self.stream.socket().set_nonblocking(true).doing(waiting_failed)?;
        let read = self.stream.read(self.walker.room());
        self.stream.socket().set_nonblocking(false).doing(waiting_failed)?;
        match read {
            Ok(0) => Err(BenchError::Ended),
            Ok(count) => {
                self.walker.filled(count);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).doing(|| "cannot read from the broker".to_owned()),
        }
    }

    /// The next thing in what was read.
    pub(super) fn next(&mut self) -> BenchResult<Option<Event>> {
        let Some(arrived) = self.walker.next()? else { return Ok(None) };
        let method = match arrived {
            Arrived::Deliveries { count, last } => return Ok(Some(Event::Delivered { count, last })),
            Arrived::Stamp(at) => return Ok(Some(Event::Stamp(at))),
            Arrived::Method(payload) => {
                Method::decode(payload).map_err(|error| BenchError::Protocol(error.to_string()))?
            }
        };
        Ok(Some(match method {
            Method::BasicAck(ack) => {
                Event::Answered { tag: ack.delivery_tag, multiple: ack.multiple, taken: true }
            }
            Method::BasicNack(nack) => {
                Event::Answered { tag: nack.delivery_tag, multiple: nack.multiple, taken: false }
            }
            Method::ConnectionClose(close) => return Err(refused(close.reply_code, &close.reply_text)),
            Method::ChannelClose(close) => return Err(refused(close.reply_code, &close.reply_text)),
            Method::BasicCancel(cancel) => {
                let text = format!("the consumer {} is cancelled", cancel.consumer_tag.as_str());
                return Err(BenchError::Refused(text));
            }
            other => Event::Method(other),
        }))
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

/// The longest frame that both sides take; an offer of 0 is no limit.
fn frame_max(offer: &ConnectionTune) -> u32 {
    match offer.frame_max {
        0 => FRAME_MAX,
        offered => offered.min(FRAME_MAX),
    }
}

/// Who connects, and what it can be told.
pub(in super::super) fn start_ok(address: &Address, name: &str) -> ConnectionStartOk {
    // So that a wrong password is told, not only shown by an end of the connection.
    let capabilities = FieldTable::new()
        .with("authentication_failure_close", true)
        .with("basic.nack", true)
        .with("consumer_cancel_notify", true)
        .with("publisher_confirms", true);
    ConnectionStartOk {
        client_properties: FieldTable::new()
            .with("product", "rialto bench")
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("connection_name", name)
            .with("capabilities", capabilities),
        mechanism: ShortStr::truncated("PLAIN"),
        response: Bytes::from(format!("\0{}\0{}", address.user, address.password)),
        locale: ShortStr::truncated("en_US"),
    }
}

fn refused(code: u16, text: &ShortStr) -> BenchError {
    BenchError::Refused(format!("{code} {}", text.as_str()))
}

fn waiting_failed() -> String {
    "cannot change how the socket waits".to_owned()
}
