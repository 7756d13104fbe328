//! An AMQP 0-9-1 connection as a state machine, in RabbitMQ's dialect: same operations, same replies, same codes.
//!
//! ```text
//! Handshake --connection.open--> Open --connection.close (either side)--> Leaving --answers are safe, time--+
//!     |                           |                                                                       |
//!     |                           |                 Finished <--close-ok was theirs to say: Closing <-------+
//!     +--refused, time, peer gone-+-- peer gone --> Finished <--close-ok was ours to say -------------------+
//! ```
//!
//! Leaving is passed through at once unless something that was answered waits for the disk.
//!
//! Rooms: `greeting` and `handshake`, `channel` and `unacked` (state of a channel), `topology` (exchanges and queues), `publishing`
//! (frame by frame) and `whole_publishes` (the ordinary case), `transactions`, `consuming`, `settling`, `delivering` (outbox to bytes), `closing` (all ways to end), `fault`.
//! Invariants: everything one read brought is carried out before the next; publishes and settlements of a read are
//! collected and carried out together, before any other method. Not here: the protocol header (`server`), the rules
//! of exchanges and queues (`broker`).

mod channel;
mod closing;
mod confirms;
mod consuming;
mod delivering;
mod fault;
mod greeting;
mod handshake;
mod publishing;
mod settling;
#[cfg(test)]
mod tests;
mod topology;
mod transactions;
mod unacked;
mod whole_publishes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::{Buf, BytesMut};
use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    ChannelOpenOk, ConnectionBlocked, ContentError, ContentHeader, Frame, FrameKind, Method, MethodId,
    put_heartbeat, split_frame,
};
use rialto_protocol::types::ShortStr;

use super::held_answers::HeldAnswers;
use super::route_cache::RouteCache;
use super::settles::PendingSettles;
use super::speaker::Speaker;
use super::turn_box::TurnBox;
use super::{Session, SessionOptions, WriteQueue};
use crate::broker::{Broker, ConnectionGuard, Hold, Outbox, Outgoing, PublishBatch, Vhost};
use crate::model::{ChannelId, ConnectionId, QueueId, Timestamp};
use crate::queue::RejectReason;
use crate::routing::Routed;
use channel::{Channel, ChannelSlot, Consumer, Mode};
use closing::LastWords;
use confirms::{Confirm, Tracked};
use fault::{Fault, Refusal};
pub use greeting::Greeting;
use handshake::{Capabilities, Step, Tuned};

/// See the module.
#[derive(Debug)]
pub struct AmqpSession {
    broker: Broker,
    options: Arc<SessionOptions>,
    peer: SocketAddr,
    outbox: Arc<Outbox>,
    out: WriteQueue,
    turn: TurnBox,
    state: State,
    /// The time of the last call.
    now: Timestamp,
    last_heard: Timestamp,
    last_said: Timestamp,
    /// Confirms that wait for the disk.
    held: HeldAnswers<Confirm>,
    /// What is sent next; swapped with the outbox's when it is empty.
    sending: Outgoing,
    /// Whole frames may be left in the input: the output had become too long to carry them out.
    stalled: bool,
    /// Somebody wants the connection closed. Done between frames, when no handler relies on its being open.
    close_wanted: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Nobody has logged in and chosen a vhost.
    Handshake {
        until: Timestamp,
        step: Step,
    },
    Open(Box<Open>),
    /// The connection is over, but answers in the output wait for the disk, and the last words come behind them.
    Leaving {
        until: Timestamp,
        frame_max: u32,
        last_words: LastWords,
    },
    /// We have said `connection.close` and wait for `close-ok`; or say nothing, and wait for the time.
    Closing {
        until: Timestamp,
        /// The limit that held before: a stranger whose login was refused may not send longer frames now.
        frame_max: u32,
        /// Nothing is answered: who guesses passwords is slowed down.
        silent: bool,
    },
    /// Nothing more is said or heard once the output is written.
    Finished,
}

/// A connection that is open.
#[derive(Debug)]
struct Open {
    id: ConnectionId,
    vhost: Arc<Vhost>,
    guard: ConnectionGuard,
    client: Capabilities,
    tuned: Tuned,
    channels: AHashMap<ChannelId, ChannelSlot>,
    /// Open consumers on all channels: they share the outbox.
    consumers: usize,
    /// Bytes of messages that no queue has yet: see [`super::AmqpOptions::uncommitted_max`].
    uncommitted: u64,
    /// Queues that hold this connection's publishes back.
    held_by: AHashMap<QueueId, Hold>,
    /// Bytes that may still be published while it is held back.
    held_allowance: u32,
    told_blocked: bool,
    batch: PublishBatch,
    tracked: Vec<Tracked>,
    rejected: Vec<(u32, RejectReason)>,
    settles: PendingSettles,
    routes: RouteCache,
    scratch: Routed,
    /// What stands in front of the body that was delivered last: made again only when it changes.
    head: BytesMut,
}

impl Open {
    fn new(
        id: ConnectionId,
        vhost: Arc<Vhost>,
        guard: ConnectionGuard,
        client: Capabilities,
        tuned: Tuned,
        routes: RouteCache,
    ) -> Self {
        Open {
            id,
            vhost,
            guard,
            client,
            tuned,
            channels: AHashMap::new(),
            consumers: 0,
            uncommitted: 0,
            held_by: AHashMap::new(),
            held_allowance: 0,
            told_blocked: false,
            batch: PublishBatch::default(),
            tracked: Vec::new(),
            rejected: Vec::new(),
            settles: PendingSettles::default(),
            routes,
            scratch: Routed::default(),
            head: BytesMut::new(),
        }
    }

    fn channel_mut(&mut self, number: ChannelId) -> Option<&mut Channel> {
        match self.channels.get_mut(&number) {
            Some(ChannelSlot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    /// Tells the list of connections how many channels are open; one that was closed by an error is not.
    fn count_channels(&self) {
        let open = self.channels.values().filter(|slot| matches!(slot, ChannelSlot::Open(_)));
        self.guard.set_channels(open.count());
    }

    /// Whether what ends its being held back may still come from this client: acknowledgements of messages of the
    /// queues that hold it (of any queue, if `all` memory is short), or a commit.
    fn may_relieve(&self, all: bool) -> bool {
        let relieves = |channel: &Channel| {
            let held = |consumer: &Consumer| self.held_by.contains_key(&consumer.queue.id());
            let unacked = !channel.unacked.is_empty() && (all || channel.consumers.values().any(held));
            unacked
                || matches!(&channel.mode, Mode::Transaction(transaction) if transaction.bytes > 0 || !transaction.settles.is_empty())
        };
        self.channels.values().any(|slot| matches!(slot, ChannelSlot::Open(channel) if relieves(channel)))
    }
}

impl AmqpSession {
    /// A connection that was accepted at `now` and whose protocol header has been read since: the time for both is
    /// one. Its deliveries arrive in `outbox`.
    pub fn new(
        broker: Broker,
        options: Arc<SessionOptions>,
        peer: SocketAddr,
        outbox: Arc<Outbox>,
        now: Timestamp,
    ) -> Self {
        let until = now.plus(options.handshake_timeout);
        let mut session = AmqpSession {
            broker,
            options,
            peer,
            outbox,
            out: WriteQueue::default(),
            turn: TurnBox::default(),
            state: State::Handshake { until, step: Step::StartOk },
            now,
            last_heard: now,
            last_said: now,
            held: HeldAnswers::default(),
            sending: Outgoing::default(),
            stalled: false,
            close_wanted: None,
        };
        session.send_start();
        session
    }
}

impl Session for AmqpSession {
    fn handle_input(&mut self, input: &mut BytesMut, now: Timestamp) {
        if !std::mem::take(&mut self.stalled) {
            self.last_heard = now;
        }
        self.begin(now);
        self.hear_urgent();
        let mut done = 0;
        loop {
            self.close_if_wanted();
            if self.has_too_many_answers() && !self.is_finished() {
                self.stalled = true;
                break;
            }
            let Some(frame_max) = self.frame_max() else {
                done = input.len();
                break;
            };
            let taken = self.take_publishes(&input[done..]);
            if taken > 0 {
                done += taken;
                continue;
            }
            match split_frame(&input[done..], frame_max) {
                Ok(Some((frame, len))) => {
                    done += len;
                    self.handle_frame(&frame, len);
                }
                Ok(None) => break,
                Err(error) => {
                    self.close(&error.into());
                    done = input.len();
                    break;
                }
            }
        }
        input.advance(done);
        self.flush();
        self.turn.0.finish(&self.broker);
    }

    fn handle_outbox(&mut self, now: Timestamp) {
        self.begin(now);
        self.hear_urgent();
        self.take_outbox();
        self.close_if_wanted();
        self.turn.0.finish(&self.broker);
    }

    fn handle_time(&mut self, now: Timestamp) {
        self.begin(now);
        match &self.state {
            State::Handshake { until, .. } if *until <= now => {
                tracing::info!(peer = %self.peer, "connection closed: no login within the handshake timeout");
                self.finish();
            }
            State::Leaving { until, .. } if *until <= now => {
                self.out.forget_held();
                self.say_last_words();
            }
            State::Closing { until, .. } if *until <= now => self.finish(),
            State::Open(open) => {
                let heartbeat = open.tuned.heartbeat;
                if !open.held_by.is_empty() || (self.waits_for_disk() && self.has_too_many_answers()) {
                    // Its heartbeats may wait in the socket, which may not be read.
                    self.last_heard = now;
                }
                if let Some(interval) = heartbeat {
                    if now.since(self.last_heard) >= interval * 2 {
                        tracing::info!(peer = %self.peer, "no heartbeat for two intervals: the peer is gone");
                        self.release();
                        self.finish();
                    } else if now.since(self.last_said) >= interval / 2 {
                        self.last_said = now;
                        put_heartbeat(self.out.free_buffer());
                    }
                }
            }
            _ => {}
        }
        self.turn.0.finish(&self.broker);
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Handshake { until, .. } | State::Leaving { until, .. } | State::Closing { until, .. } => {
                Some(*until)
            }
            State::Open(open) => {
                let interval = open.tuned.heartbeat?;
                Some(self.last_said.plus(interval / 2).min(self.last_heard.plus(interval * 2)))
            }
            State::Finished => None,
        }
    }

    fn handle_shutdown(&mut self, reason: &str, now: Timestamp) {
        self.begin(now);
        match self.state {
            State::Handshake { .. } => self.finish(),
            State::Open(_) => self.close(&Fault::new(ReplyCode::ConnectionForced, reason, MethodId::NONE)),
            State::Leaving { .. } | State::Closing { .. } | State::Finished => {}
        }
        self.turn.0.finish(&self.broker);
    }

    fn handle_disconnect(&mut self, now: Timestamp) {
        self.begin(now);
        self.release();
        self.finish();
        self.turn.0.finish(&self.broker);
    }

    fn poll_output(&mut self, now: Timestamp) -> &mut WriteQueue {
        if self.waits_for_disk() {
            self.begin(now);
            self.say_committed();
            self.turn.0.finish(&self.broker);
        }
        if matches!(self.state, State::Open(_)) {
            self.begin(now);
            self.hear_urgent();
            self.fill_output();
            self.close_if_wanted();
            self.turn.0.finish(&self.broker);
        }
        self.out.seal();
        if !self.out.is_empty() {
            self.last_said = now;
        }
        &mut self.out
    }

    fn wants_input(&self) -> bool {
        if self.has_too_many_answers() {
            return false;
        }
        match &self.state {
            // AMQP has no publish credit: not to read is the only way to hold a publisher back. But acknowledgements
            // come the same way, and they are what makes room.
            State::Open(open) if !open.held_by.is_empty() => {
                let exhausted = self.broker.memory_exhausted();
                open.may_relieve(exhausted) || (open.held_allowance > 0 && !exhausted)
            }
            State::Leaving { .. } | State::Finished => false,
            _ => true,
        }
    }

    fn has_stalled_input(&self) -> bool {
        self.stalled && self.wants_input()
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }
}

impl AmqpSession {
    /// Connections live by the time that drivers tell; messages live by the broker's clock.
    fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.turn.0.begin(self.broker.now());
    }

    /// The longest frame that the peer may send now. None: it is not heard any more.
    fn frame_max(&self) -> Option<u32> {
        match &self.state {
            State::Handshake { .. } => Some(self.options.login_frame_max),
            State::Open(open) => Some(open.tuned.frame_max),
            State::Leaving { frame_max, .. } | State::Closing { frame_max, .. } => Some(*frame_max),
            State::Finished => None,
        }
    }

    fn handle_frame(&mut self, frame: &Frame<'_>, wire_len: usize) {
        let number = ChannelId(frame.channel);
        let outcome = match &mut self.state {
            State::Open(_) if number.0 == 0 => self.handle_connection_frame(frame),
            State::Open(_) => self.handle_channel_frame(number, frame, wire_len),
            State::Handshake { .. } => self.handle_early_frame(frame),
            State::Leaving { last_words, .. } => {
                if is_close(frame) {
                    *last_words = LastWords::CloseOk;
                }
                Ok(())
            }
            State::Closing { silent, .. } => {
                let silent = *silent;
                match MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method && number.0 == 0)
                {
                    Some(MethodId::CONNECTION_CLOSE_OK) if !silent => self.finish(),
                    Some(MethodId::CONNECTION_CLOSE) if !silent => {
                        self.say_now(Method::ConnectionCloseOk(Default::default()));
                        self.finish();
                    }
                    _ => {}
                }
                Ok(())
            }
            State::Finished => Ok(()),
        };
        self.conclude(number, outcome);
    }

    /// Closes what a fault ends, and does what a frame has left to do.
    fn conclude(&mut self, number: ChannelId, outcome: Result<(), Fault>) {
        match outcome {
            Ok(()) => {}
            Err(fault) if fault.ends_connection() || number.0 == 0 => self.close(&fault),
            Err(fault) => self.close_channel_with(number, &fault),
        }
        // A queue that has ended must be out of the routes that the next frame's messages take.
        self.turn.0.follow_up(&self.broker);
    }

    fn handle_early_frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        match frame.kind {
            FrameKind::Heartbeat if frame.channel == 0 => Ok(()),
            FrameKind::Method if frame.channel == 0 => self.handle_handshake(Method::decode(frame.payload)?),
            _ => Err(unexpected_frame("expected a method frame on channel 0 before connection.open")),
        }
    }

    fn handle_connection_frame(&mut self, frame: &Frame<'_>) -> Result<(), Fault> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(()),
            FrameKind::Method => {}
            FrameKind::Header | FrameKind::Body => {
                return Err(unexpected_frame("expected method frame, got non method frame instead"));
            }
        }
        self.flush();
        let method = Method::decode(frame.payload)?;
        match method {
            Method::ConnectionClose(_) => {
                self.leave(LastWords::CloseOk);
                Ok(())
            }
            Method::ConnectionUpdateSecret(_) => {
                // Passwords do not expire: there is nothing to renew, and nothing wrong with it.
                self.say(0, Method::ConnectionUpdateSecretOk(Default::default()));
                Ok(())
            }
            // Answers to nothing: late, not wrong.
            Method::ConnectionCloseOk(_) => Ok(()),
            other => {
                let text = "unexpected method in connection state running";
                Err(Fault::new(ReplyCode::ChannelError, text, other.id()))
            }
        }
    }

    fn handle_channel_frame(
        &mut self,
        number: ChannelId,
        frame: &Frame<'_>,
        wire_len: usize,
    ) -> Result<(), Fault> {
        if frame.kind == FrameKind::Heartbeat {
            return Err(unexpected_frame(format!("heartbeat on channel {number}; they belong on channel 0")));
        }
        let open = self.open();
        let id = MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method);
        let channel = match open.channels.get_mut(&number) {
            Some(ChannelSlot::Open(channel)) => channel,
            Some(ChannelSlot::Closing) => {
                if id == Some(MethodId::CHANNEL_CLOSE_OK) {
                    open.channels.remove(&number);
                } else if id == Some(MethodId::CHANNEL_CLOSE) {
                    // Both sides close at the same time.
                    self.say(number.0, Method::ChannelCloseOk(Default::default()));
                }
                return Ok(());
            }
            None if id == Some(MethodId::CHANNEL_OPEN) => {
                Method::decode(frame.payload)?;
                return self.open_channel(number);
            }
            None => {
                let id = id.unwrap_or(MethodId::NONE);
                return Err(Fault::new(ReplyCode::ChannelError, "expected 'channel.open'", id));
            }
        };
        let publishing = MethodId::BASIC_PUBLISH;
        match frame.kind {
            FrameKind::Method => {
                if let Some(error) = channel.arriving.interrupted() {
                    return Err(Refusal::from(error).at(publishing));
                }
                match id {
                    Some(MethodId::BASIC_PUBLISH) => self.begin_publish(number, frame.payload, wire_len),
                    _ => self.handle_method(number, Method::decode(frame.payload)?),
                }
            }
            FrameKind::Header => {
                let Some(publishing) = channel.arriving.method() else {
                    return Err(Refusal::from(ContentError::ExpectedMethod).at(MethodId::NONE));
                };
                let header = ContentHeader::decode(frame.payload)
                    .map_err(|error| Fault::new(ReplyCode::SyntaxError, error.to_string(), publishing))?;
                self.handle_content_header(number, &header, wire_len)
            }
            FrameKind::Body if channel.arriving.is_idle() => {
                Err(Refusal::from(ContentError::ExpectedMethod).at(MethodId::NONE))
            }
            FrameKind::Body => self.handle_content_body(number, frame.payload, wire_len),
            FrameKind::Heartbeat => Ok(()),
        }
    }

    fn open_channel(&mut self, number: ChannelId) -> Result<(), Fault> {
        self.flush();
        let open = self.open();
        // Those whose close the client has not answered count too: their numbers are remembered.
        let (max, count) = (usize::from(open.tuned.channel_max), open.channels.len());
        if max != 0 && count >= max {
            let text =
                format!("number of channels opened ({count}) has reached the negotiated channel_max ({max})");
            return Err(Fault::new(ReplyCode::NotAllowed, text, MethodId::CHANNEL_OPEN));
        }
        open.channels.insert(number, ChannelSlot::Open(Box::default()));
        open.count_channels();
        self.say(number.0, Method::ChannelOpenOk(ChannelOpenOk::default()));
        Ok(())
    }

    fn handle_method(&mut self, number: ChannelId, method: Method) -> Result<(), Fault> {
        let id = method.id();
        self.carry_out(number, method).map_err(|refusal| refusal.at(id))
    }

    fn carry_out(&mut self, number: ChannelId, method: Method) -> Result<(), Refusal> {
        // Publishes and settlements are collected; anything else first sees them carried out.
        match method {
            Method::BasicAck(ack) => return self.ack(number, &ack),
            Method::BasicNack(nack) => return self.nack(number, &nack),
            Method::BasicReject(reject) => return self.reject(number, &reject),
            _ => self.flush(),
        }
        // What was collected may have closed the channel.
        if self.open().channel_mut(number).is_none() {
            return Ok(());
        }
        match method {
            Method::ChannelOpen(_) => {
                Err(Refusal::new(ReplyCode::ChannelError, "second 'channel.open' seen"))
            }
            Method::ChannelClose(_) => {
                self.release_channel(number);
                let open = self.open();
                open.channels.remove(&number);
                open.count_channels();
                self.say(number.0, Method::ChannelCloseOk(Default::default()));
                Ok(())
            }
            Method::ChannelFlow(flow) => self.flow(number, &flow),
            // Answers to what we have said, or to nothing: there is nothing to do.
            Method::ChannelCloseOk(_) | Method::ChannelFlowOk(_) | Method::BasicCancelOk(_) => Ok(()),
            Method::AccessRequest(_) => self.grant_access(number),
            Method::ExchangeDeclare(declare) => self.declare_exchange(number, declare),
            Method::ExchangeDelete(delete) => self.delete_exchange(number, delete),
            Method::ExchangeBind(bind) => self.bind_exchange(number, bind),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(number, unbind),
            Method::QueueDeclare(declare) => self.declare_queue(number, declare),
            Method::QueueBind(bind) => self.bind_queue(number, bind),
            Method::QueueUnbind(unbind) => self.unbind_queue(number, unbind),
            Method::QueuePurge(purge) => self.purge_queue(number, &purge),
            Method::QueueDelete(delete) => self.delete_queue(number, &delete),
            Method::BasicQos(qos) => self.qos(number, &qos),
            Method::BasicConsume(consume) => self.consume(number, consume),
            Method::BasicCancel(cancel) => self.cancel(number, &cancel),
            Method::BasicGet(get) => self.get(number, &get),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true),
            Method::BasicRecoverAsync(recover) => self.recover(number, recover.requeue, false),
            Method::ConfirmSelect(select) => self.select_confirms(number, select.no_wait),
            Method::TxSelect(_) => self.select_transactions(number),
            Method::TxCommit(_) => self.commit(number),
            Method::TxRollback(_) => self.roll_back(number),
            other => {
                let name = other.id().name();
                let text = format!("method {name} is not for clients to send on a channel");
                Err(Refusal::new(ReplyCode::CommandInvalid, text))
            }
        }
    }

    fn flow(&mut self, number: ChannelId, flow: &rialto_protocol::amqp::ChannelFlow) -> Result<(), Refusal> {
        if !flow.active {
            return Err(Refusal::new(ReplyCode::NotImplemented, "active=false"));
        }
        self.say(number.0, Method::ChannelFlowOk(rialto_protocol::amqp::ChannelFlowOk { active: true }));
        Ok(())
    }

    fn grant_access(&mut self, number: ChannelId) -> Result<(), Refusal> {
        self.say(number.0, Method::AccessRequestOk(rialto_protocol::amqp::AccessRequestOk { ticket: 1 }));
        Ok(())
    }

    /// Carries out what was collected: publishes first, then settlements, so that an answer is in its queue
    /// before the question is settled.
    fn flush(&mut self) {
        self.flush_publishes();
        self.flush_settles();
        self.turn.0.follow_up(&self.broker);
        self.tell_blocked();
    }

    /// Tells a client that wants to know whether it is held back by a queue, or the broker, that is full. Who is only
    /// paced goes on in a moment, and nobody need read of it.
    fn tell_blocked(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        if open.held_by.is_empty() && !open.told_blocked {
            return;
        }
        let reason = self.broker.hold_text(open.held_by.values().copied());
        if reason.is_some() == open.told_blocked {
            return;
        }
        open.told_blocked = reason.is_some();
        if open.client.connection_blocked {
            self.say_now(match reason {
                Some(reason) => {
                    Method::ConnectionBlocked(ConnectionBlocked { reason: ShortStr::truncated(reason) })
                }
                None => Method::ConnectionUnblocked(Default::default()),
            });
        }
    }

    fn close_if_wanted(&mut self) {
        if let Some(reason) = self.close_wanted.take() {
            self.close(&Fault::new(ReplyCode::ConnectionForced, reason, MethodId::NONE));
        }
    }

    /// Says it; if something that was done before it must be safe first, it is held until then, and with it whatever
    /// comes behind.
    fn say(&mut self, channel: u16, method: Method) {
        self.hold_output();
        method.encode(channel, self.out.buffer());
    }

    /// Says something about the connection that waits for nothing but what is held already.
    fn say_now(&mut self, method: Method) {
        method.encode(0, self.out.buffer());
    }

    /// [`AmqpSession::say`] unless the client wants no answer.
    fn answer(&mut self, number: ChannelId, no_wait: bool, method: Method) {
        if !no_wait {
            self.say(number.0, method);
        }
    }

    /// [`AmqpSession::answer`] to a change of the topology, which must be safe first.
    fn answer_kept(&mut self, number: ChannelId, no_wait: bool, method: Method) {
        self.turn.0.require(self.broker.catalog_commit());
        self.answer(number, no_wait, method);
    }

    /// The open connection.
    fn open(&mut self) -> &mut Open {
        match &mut self.state {
            State::Open(open) => open,
            _ => unreachable!("called from handlers of an open connection only"),
        }
    }
}

fn is_close(frame: &Frame<'_>) -> bool {
    let method =
        MethodId::of(frame.payload).filter(|_| frame.kind == FrameKind::Method && frame.channel == 0);
    method == Some(MethodId::CONNECTION_CLOSE)
}

fn unexpected_frame(text: impl Into<String>) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, text, MethodId::NONE)
}

/// How long a peer may take to answer `connection.close`.
const CLOSE_TIMEOUT: Duration = SessionOptions::CLOSE_TIMEOUT;

impl Drop for AmqpSession {
    /// A task that ends without saying so (a defect, an abort) must not keep messages.
    fn drop(&mut self) {
        if matches!(self.state, State::Open(_)) {
            // A turn that was broken off still has others to wake.
            self.turn.0.finish(&self.broker);
            self.handle_disconnect(self.now);
        }
    }
}
