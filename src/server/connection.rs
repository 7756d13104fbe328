//! A connection's task: reads, lets the session act, writes. One task, so nothing of a connection is shared.
//!
//! Each turn writes what the session has, then waits for whatever comes first: room to write, something to read,
//! something in the outbox, the time, the end. A peer that does not read is not read from once its answers
//! pile up; its deliveries wait in the queues.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::Shared;
use super::greeting::{Greeted, PATIENCE, Protocol, greet, hang_up};
use super::read_buffer::ReadBuffer;
use super::tls_stream::tls_error;
use super::transport::Transport;
use super::turns::{after_woken, go_on, stand_in_line};
use crate::access::Step;
use crate::broker::{Link, Outbox};
use crate::log::connection_span;
use crate::model::Timestamp;
use crate::session::amqp::AmqpSession;
use crate::session::native::NativeSession;
use crate::session::{OUTPUT_HIGH, Session};
use crate::tls::explain;

/// Slices of one vectored write: two for each large message.
const SLICES: usize = 256;

/// Writes before a connection looks at what else there is.
const WRITES_PER_TURN: usize = 16;

/// The longest read whose publisher hears of it after its consumers do. Where more comes at a time it matters more that the
/// publisher sends the next: a window of 1,000 messages of 16 bytes goes 8 % slower if its confirms wait.
const SMALL_READ: usize = 4096;

/// Serves a connection until it ends. `only_tls`: it came where nothing else is spoken.
pub(super) async fn serve(socket: TcpStream, peer: SocketAddr, only_tls: bool, shared: &Shared) {
    // Answers are batched here; the kernel must not hold them back again.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    tracing::debug!(%peer, "connection accepted");
    let mut input = ReadBuffer::new(shared.options.read_chunk);
    let handshake = shared.options.session.handshake_timeout;
    let accepted_at = shared.now();
    let greeted = tokio::select! {
        greeted = timeout(handshake, greet(socket, peer, only_tls, &mut input, &shared.options)) => greeted,
        () = shared.stop.cancelled() => return,
    };
    let Greeted { stream, protocol, tls } = match greeted {
        Ok(Ok(Some(greeted))) => greeted,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return tell_early_end(peer, &error),
        Err(_) => return tracing::info!(%peer, "connection closed: it said nothing in the handshake timeout"),
    };
    if let Some(tls) = &tls {
        tracing::debug!(%peer, ?tls, "connection encrypted");
    }
    let local = match stream.socket().local_addr() {
        Ok(local) => local,
        Err(error) => return tell_early_end(peer, &error),
    };
    let (outbox, link) = (Arc::new(Outbox::new()), Arc::new(Link::new(peer, local, tls)));
    let (broker, options) = (shared.broker.clone(), shared.options.session.clone());
    let session: Box<dyn Session> = match protocol {
        Protocol::Amqp => {
            Box::new(AmqpSession::new(broker, options, link.clone(), outbox.clone(), accepted_at))
        }
        Protocol::Native => {
            Box::new(NativeSession::new(broker, options, link.clone(), outbox.clone(), accepted_at))
        }
    };
    // What came with the first bytes.
    link.traffic.received(input.bytes.len());
    let spoken = if matches!(protocol, Protocol::Amqp) { "amqp" } else { "rialto" };
    let span = connection_span(peer, spoken);
    let driver = Driver { stream, input, session, link, outbox, verifying: None, shared, span };
    if let Err(error) = driver.run().await {
        tracing::debug!(%peer, %error, "connection lost");
    }
    tracing::debug!(%peer, "connection ended");
}

/// Why a connection has ended before it began. What a certificate is refused for is worth a line that is seen.
fn tell_early_end(peer: SocketAddr, error: &io::Error) {
    match tls_error(error) {
        Some(error) => tracing::info!(%peer, "TLS handshake failed: {}", explain(error)),
        None => tracing::debug!(%peer, %error, "connection ended before it began"),
    }
}

struct Driver<'a> {
    stream: Transport,
    input: ReadBuffer,
    session: Box<dyn Session>,
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    /// What becomes of a login that is being checked on another thread. That wakes the outbox when it is done.
    verifying: Option<oneshot::Receiver<Step>>,
    shared: &'a Shared,
    /// Tells a collector of traces, if there is one, of this connection.
    span: tracing::Span,
}

/// What a connection waits for besides its outbox and the time.
#[derive(Clone, Copy, Debug)]
struct Waits {
    /// Something to read.
    input: bool,
    /// Room to write.
    room: bool,
    /// The end of the server.
    stop: bool,
}

/// What a connection was woken for: all of it, so that nothing waits behind something that never ends. Room to write is
/// made use of in any case.
#[derive(Debug, Default)]
struct Awoken {
    /// So many bytes were read; 0: the peer has ended.
    read: Option<usize>,
    outbox: bool,
    time: bool,
    stop: bool,
}

/// How far writing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Nothing is left.
    All,
    /// There is more when the socket has room.
    Blocked,
    /// There is more, and the socket has room, but it is the others' turn.
    TurnOver,
}

impl Driver<'_> {
    async fn run(mut self) -> io::Result<()> {
        // What came with the preface.
        self.carry_out(self.shared.now());
        let result = self.turns().await;
        self.session.handle_disconnect(self.shared.now());
        result
    }

    async fn turns(&mut self) -> io::Result<()> {
        // To wait for this anew each time would be two locks that all connections share.
        let mut stop = pin!(self.shared.parting.cancelled());
        poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx).is_ready())).await;
        let mut stopping = false;
        let mut timer = pin!(sleep_until(Instant::now()));
        // What the timer is set for.
        let mut rings_at = Timestamp::NEVER;
        let mut now = self.shared.now();
        let mut reads_on = false;
        let mut others_first = false;
        loop {
            if std::mem::take(&mut others_first) && !self.session.poll_output(now).is_empty() {
                // Messages before their confirms: who waits for a message waits for one write less.
                after_woken().await;
                now = self.shared.now();
            }
            let written = self.write(now)?;
            go_on();
            if self.session.is_finished() {
                return self.part(written).await;
            }
            if std::mem::take(&mut reads_on) || written == Written::TurnOver {
                // Who publishes without end must not keep the thread from those that it publishes to: they were woken
                // and stand behind it, and while they wait their queues outgrow the caches. Nor must who drains a long
                // queue, to a peer that reads as fast as it writes, keep it from anybody.
                stand_in_line().await;
                now = self.shared.now();
            }
            if self.session.has_stalled_input() {
                self.carry_out(now);
                // Answers without end must not keep the thread from everybody else.
                tokio::task::yield_now().await;
                now = self.shared.now();
                continue;
            }
            let deadline = self.session.next_deadline();
            // Deadlines mostly move away; the timer is set again only for one that comes earlier.
            if let Some(deadline) = deadline.filter(|deadline| *deadline < rings_at) {
                rings_at = deadline;
                timer.as_mut().reset(Instant::now() + deadline.since(now));
            }
            let waits =
                Waits { input: self.session.wants_input(), room: written != Written::All, stop: !stopping };
            let mut timer = deadline.is_some().then_some(timer.as_mut());
            let (outbox, shared) = (&*self.outbox, self.shared);
            let awoken = match waits {
                // A socket with nothing to write is always writable: to wait for that would be to spin, and a thread
                // that spins polls no socket for anybody else, such as the consumer that this publisher waits for.
                Waits { input: false, room: false, .. } => tokio::select! {
                    failed = self.stream.socket().ready(Interest::ERROR) => {
                        failed?;
                        return Err(self.stream.socket().take_error()?.unwrap_or(io::ErrorKind::ConnectionReset.into()));
                    }
                    awoken = poll_fn(|cx| poll_others(outbox, shared, waits, timer.as_mut(), cx)) => awoken,
                },
                _ => poll_fn(|cx| self.poll_awoken(waits, timer.as_mut(), cx)).await?,
            };
            now = self.shared.now();
            match awoken.read {
                Some(0) => return Ok(()),
                Some(read) => {
                    self.link.traffic.received(read);
                    reads_on = self.input.is_chunk(read) || self.stream.has_more();
                    self.carry_out(now);
                    others_first = read <= SMALL_READ && self.session.has_woken_others();
                }
                None => {}
            }
            if awoken.outbox {
                self.hear_verified(now);
                self.session.handle_outbox(now);
            }
            if awoken.time {
                rings_at = Timestamp::NEVER;
                self.session.handle_time(now);
            }
            if awoken.stop {
                stopping = true;
                self.session.handle_shutdown("the broker is shutting down", now);
            }
        }
    }

    /// Looks at everything that is waited for, and reads.
    fn poll_awoken(
        &mut self,
        waits: Waits,
        timer: Option<&mut Pin<&mut Sleep>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Awoken>> {
        let mut awoken = Awoken::default();
        if waits.input
            && let Poll::Ready(read) = self.input.poll_read(&mut self.stream, cx)
        {
            awoken.read = Some(read?);
        }
        let writable = waits.room && self.stream.socket().poll_write_ready(cx)?.is_ready();
        match poll_others(&self.outbox, self.shared, waits, timer, cx) {
            Poll::Ready(others) => Poll::Ready(Ok(Awoken { read: awoken.read, ..others })),
            Poll::Pending if writable || awoken.read.is_some() => Poll::Ready(Ok(awoken)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Lets the session act on what was read.
    fn carry_out(&mut self, now: Timestamp) {
        // So that the session can say who has logged in.
        self.span.in_scope(|| self.session.handle_input(&mut self.input.bytes, now));
        self.input.settle();
        self.begin_work();
    }

    /// Has the work of a login done, if there is any, by a thread that may wait.
    fn begin_work(&mut self) {
        let Some(work) = self.session.take_work() else { return };
        let (done, verifying) = oneshot::channel();
        self.verifying = Some(verifying);
        let outbox = self.outbox.clone();
        tokio::task::spawn_blocking(move || {
            // A connection that has ended meanwhile does not want to know.
            let _ = done.send(work.run());
            outbox.wake();
        });
    }

    /// Tells the session what has become of that work, if it is done.
    fn hear_verified(&mut self, now: Timestamp) {
        if let Some(verifying) = &mut self.verifying
            && let Ok(step) = verifying.try_recv()
        {
            self.verifying = None;
            self.span.in_scope(|| self.session.handle_verified(step, now));
            self.begin_work();
        }
    }

    /// Writes until nothing is left, the socket is full, or it has been this connection's turn for long enough: a
    /// peer that reads as fast as its backlog is written would keep the thread, and its own acks, waiting.
    fn write(&mut self, now: Timestamp) -> io::Result<Written> {
        for _ in 0..WRITES_PER_TURN {
            let out = self.session.poll_output(now);
            if out.is_empty() {
                let blocked = self.stream.try_flush()?;
                return Ok(if blocked { Written::Blocked } else { Written::All });
            }
            // Less than a session makes at a time is all that it has.
            let is_all = out.len() < OUTPUT_HIGH;
            let written = match out.whole() {
                Some(bytes) => self.stream.try_write(bytes),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = out.chunks(&mut slices);
                    self.stream.try_write_vectored(&slices[..count])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    out.advance(written);
                    self.link.traffic.sent(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Written::Blocked),
                Err(error) => return Err(error),
            }
            if is_all && out.is_empty() {
                return Ok(if self.stream.has_unsent() { Written::Blocked } else { Written::All });
            }
        }
        Ok(Written::TurnOver)
    }

    /// Says the last words, and waits a moment for the peer to hear them: closing a socket with unread
    /// input makes the system throw away what the peer has not read yet.
    async fn part(&mut self, mut written: Written) -> io::Result<()> {
        let parting = async {
            while written != Written::All {
                self.stream.socket().writable().await?;
                written = self.write(self.shared.now())?;
            }
            hang_up(&mut self.stream, &mut self.input).await
        };
        timeout(PATIENCE, parting).await.unwrap_or(Ok(()))
    }
}

/// Looks at what is waited for besides the socket.
fn poll_others(
    outbox: &Outbox,
    shared: &Shared,
    waits: Waits,
    timer: Option<&mut Pin<&mut Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Awoken> {
    let outbox = outbox.poll_woken(cx).is_ready();
    let time = timer.is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
    let stop = waits.stop && shared.is_parting();
    match outbox || time || stop {
        true => Poll::Ready(Awoken { read: None, outbox, time, stop }),
        false => Poll::Pending,
    }
}
