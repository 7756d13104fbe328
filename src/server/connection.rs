//! A connection's task: reads, lets the session act, writes. One task, so nothing of a connection is shared.
//!
//! Each turn writes what the session has, then waits for whatever comes first: room to write, something to read,
//! something in the outbox, the time, the end. A peer that does not read is not read from once its answers
//! pile up; its deliveries wait in the queues.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rialto_protocol::amqp::{HeaderCheck, PROTOCOL_HEADER, check_protocol_header};
use rialto_protocol::native::{PREFACE, PrefaceCheck, check_preface};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shared;
use super::read_buffer::ReadBuffer;
use crate::broker::Outbox;
use crate::session::Session;
use crate::session::amqp::AmqpSession;
use crate::session::native::NativeSession;

/// How long a peer may take to hear the last words.
const PATIENCE: Duration = Duration::from_secs(2);

/// Slices of one vectored write.
const SLICES: usize = 64;

/// Writes before a connection looks at what else there is.
const WRITES_PER_TURN: usize = 16;

/// Serves a connection until it ends.
pub(super) async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: &Shared) {
    // Answers are batched here; the kernel must not hold them back again.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    tracing::debug!(%peer, "connection accepted");
    let mut input = ReadBuffer::new(shared.options.read_chunk);
    let handshake = shared.options.session.handshake_timeout;
    let accepted_at = shared.now();
    let greeted = tokio::select! {
        greeted = timeout(handshake, greet(&mut stream, peer, &mut input)) => greeted,
        () = shared.stop.cancelled() => return,
    };
    let greeting = match greeted {
        Ok(Ok(Greeting::Over)) => return,
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "connection ended before it began"),
        Err(_) => return tracing::info!(%peer, "connection closed: it said nothing in the handshake timeout"),
    };
    let outbox = Arc::new(Outbox::new());
    let (broker, options) = (shared.broker.clone(), shared.options.session.clone());
    let session: Box<dyn Session> = match greeting {
        Greeting::Amqp => Box::new(AmqpSession::new(broker, options, peer, outbox.clone(), accepted_at)),
        _ => Box::new(NativeSession::new(broker, options, peer, outbox.clone(), accepted_at)),
    };
    let driver = Driver { stream, input, session, outbox, shared };
    if let Err(error) = driver.run().await {
        tracing::debug!(%peer, %error, "connection lost");
    }
    tracing::debug!(%peer, "connection ended");
}

/// What the first bytes of a connection announce.
enum Greeting {
    /// The native protocol; its preface has been read.
    Native,
    /// AMQP 0-9-1; its protocol header has been read.
    Amqp,
    /// Something else, which has been answered; or the peer has ended.
    Over,
}

/// Reads the first bytes, which decide the protocol.
async fn greet(stream: &mut TcpStream, peer: SocketAddr, input: &mut ReadBuffer) -> io::Result<Greeting> {
    loop {
        stream.readable().await?;
        match input.read(stream) {
            Ok(0) => return Ok(Greeting::Over),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match (check_preface(&input.bytes), check_protocol_header(&input.bytes)) {
            (PrefaceCheck::Accepted, _) => {
                let _ = input.bytes.split_to(PREFACE.len());
                return Ok(Greeting::Native);
            }
            (_, HeaderCheck::Accepted) => {
                let _ = input.bytes.split_to(PROTOCOL_HEADER.len());
                return Ok(Greeting::Amqp);
            }
            (PrefaceCheck::NeedMore, _) | (_, HeaderCheck::NeedMore) => {}
            (PrefaceCheck::OtherVersion { .. } | PrefaceCheck::NotNative, HeaderCheck::Refused) => {
                let (what, answer) = refusal(&input.bytes);
                tracing::info!(%peer, "connection refused: its first bytes look like {what}");
                stream.write_all(answer).await?;
                hang_up(stream, input).await?;
                return Ok(Greeting::Over);
            }
        }
    }
}

/// What a peer seems to speak instead, and what to say to it: each protocol answers a version that it does not have
/// with the one it has, and AMQP 0-9-1 (section 4.2.2) answers everything else.
fn refusal(first: &[u8]) -> (&'static str, &'static [u8]) {
    const HTTP: [&[u8]; 5] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI"];
    if HTTP.iter().any(|method| first.starts_with(method)) {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
                 This port speaks AMQP 0-9-1 and the Rialto protocol, not HTTP.\n";
        return ("HTTP, which is not spoken here", answer);
    }
    if first.starts_with(&PREFACE[..6]) {
        return ("another version of the Rialto protocol", &PREFACE);
    }
    let what = match first {
        [0x16, 0x03, ..] => "TLS, which is not configured here; connect without it",
        [b'A', b'M', b'Q', b'P', ..] => "another version of AMQP; this broker speaks 0-9-1",
        _ => "no protocol that is spoken here",
    };
    (what, &PROTOCOL_HEADER)
}

struct Driver<'a> {
    stream: TcpStream,
    input: ReadBuffer,
    session: Box<dyn Session>,
    outbox: Arc<Outbox>,
    shared: &'a Shared,
}

impl Driver<'_> {
    async fn run(mut self) -> io::Result<()> {
        // What came with the preface.
        self.session.handle_input(&mut self.input.bytes, self.shared.now());
        let result = self.turns().await;
        self.session.handle_disconnect(self.shared.now());
        result
    }

    async fn turns(&mut self) -> io::Result<()> {
        let mut stopping = false;
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let blocked = self.write()?;
            if self.session.is_finished() {
                return self.part(blocked).await;
            }
            if self.session.has_stalled_input() {
                self.session.handle_input(&mut self.input.bytes, self.shared.now());
                // Answers without end must not keep the thread from everybody else.
                tokio::task::yield_now().await;
                continue;
            }
            let wait = self.session.next_deadline().map(|at| at.since(self.shared.now()));
            if let Some(wait) = wait {
                // Deadlines mostly move away; the timer is set again only for one that comes earlier.
                let at = Instant::now() + wait;
                if at < timer.deadline() || timer.is_elapsed() {
                    timer.as_mut().reset(at);
                }
            }
            let interest = match (self.session.wants_input(), blocked) {
                (true, false) => Interest::READABLE,
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (false, true) => Interest::WRITABLE,
                // A socket with nothing to write is always writable: to wait for that would be to spin, and a thread
                // that spins polls no socket for anybody else, such as the consumer that this publisher waits for.
                (false, false) => Interest::ERROR,
            };
            tokio::select! {
                ready = self.stream.ready(interest) => {
                    let ready = ready?;
                    if ready.is_error() {
                        return Err(self.stream.take_error()?.unwrap_or(io::ErrorKind::ConnectionReset.into()));
                    }
                    if (ready.is_readable() || ready.is_read_closed()) && self.session.wants_input() && !self.read()? {
                        return Ok(());
                    }
                }
                () = self.outbox.woken() => self.session.handle_outbox(self.shared.now()),
                () = &mut timer, if wait.is_some() => {
                    self.session.handle_time(self.shared.now());
                    self.input.release();
                }
                () = self.shared.stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.session.handle_shutdown("the broker is shutting down", self.shared.now());
                }
            }
        }
    }

    /// Reads once. False: the peer has ended.
    fn read(&mut self) -> io::Result<bool> {
        match self.input.read(&self.stream) {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.session.handle_input(&mut self.input.bytes, self.shared.now());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes until nothing is left, the socket is full, or it has been this connection's turn for long enough: a
    /// peer that reads as fast as its backlog is written would keep the thread, and its own acks, waiting. True: call
    /// it again when the socket is writable.
    fn write(&mut self) -> io::Result<bool> {
        for _ in 0..WRITES_PER_TURN {
            let out = self.session.poll_output(self.shared.now());
            if out.is_empty() {
                return Ok(false);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.chunks(&mut slices);
            match self.stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says the last words, and waits a moment for the peer to hear them: closing a socket with unread
    /// input makes the system throw away what the peer has not read yet.
    async fn part(&mut self, mut blocked: bool) -> io::Result<()> {
        let parting = async {
            while blocked {
                self.stream.writable().await?;
                blocked = self.write()?;
            }
            hang_up(&mut self.stream, &mut self.input).await
        };
        timeout(PATIENCE, parting).await.unwrap_or(Ok(()))
    }
}

/// Says that nothing more comes, and reads until the peer does the same or patience ends.
async fn hang_up(stream: &mut TcpStream, input: &mut ReadBuffer) -> io::Result<()> {
    stream.shutdown().await?;
    let reading = async {
        loop {
            stream.readable().await?;
            input.bytes.clear();
            match input.read(stream) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or(Ok(()))
}
