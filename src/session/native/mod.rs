//! A native connection as a state machine. `protocol/SPEC.md` says what may be said when; this does it.
//!
//! ```text
//! Login --good Login--> Open --Close (either side)--> Leaving --answers are safe, time-----------------+
//!   |                     |                                                                            |
//!   |                     |                 Finished <--CloseOk, time-- Closing <--Close was ours------+
//!   +--bad login, time----+-- peer gone --> Finished <--Close was theirs-------------------------------+
//! ```
//!
//! Leaving is passed through at once unless something that was answered waits for the disk.
//!
//! Rooms: `login`, `channel` (state of a channel), `requests` (topology and lists), `publishing`, `consuming`,
//! `delivering` (outbox to bytes), `closing` (all ways to end).
//! Invariants: everything one read brought is carried out before the next; publishes and settlements of a read
//! are collected and carried out together, before any other command. Not here: the preface (`server`).

mod channel;
mod closing;
mod consuming;
mod delivering;
mod login;
mod outcomes;
mod publishing;
mod requests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::BytesMut;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Closing, Command, FrameError, Kind, Place, RawFrame, Sender, decode_frame};
use rialto_protocol::types::ShortStr;

use super::held_answers::HeldAnswers;
use super::route_cache::RouteCache;
use super::settles::PendingSettles;
use super::speaker::Speaker;
use super::turn_box::TurnBox;
use super::{Session, SessionOptions, WriteQueue};
use crate::access::{Step as LoginStep, Verification, VhostPass};
use crate::broker::{Broker, ConnectionGuard, Hold, Link, Outbox, Outgoing, PublishBatch, Vhost};
use crate::model::{ChannelId, ConnectionId, QueueId, Timestamp};
use crate::queue::RejectReason;
use crate::routing::Routed;
use channel::{Channel, ChannelSlot};
use closing::LastWords;
use login::Step;
use outcomes::{Outcomes, Tracked};

/// See the module.
#[derive(Debug)]
pub struct NativeSession {
    broker: Broker,
    options: Arc<SessionOptions>,
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    out: WriteQueue,
    turn: TurnBox,
    state: State,
    /// The time of the last call.
    now: Timestamp,
    last_heard: Timestamp,
    last_said: Timestamp,
    /// Outcomes that wait for the disk.
    held: HeldAnswers<Outcomes>,
    /// What is sent next; swapped with the outbox's when it is empty.
    sending: Outgoing,
    /// Bytes of the input behind the frame that is being carried out.
    behind: usize,
    /// The last read had others woken.
    woke_others: bool,
    /// Whole frames may be left in the input: the output had become too long to carry them out.
    stalled: bool,
    /// Somebody wants the connection closed. Done between frames, when no handler relies on its being open.
    close_wanted: Option<String>,
}

#[derive(Debug)]
enum State {
    /// Nobody has logged in.
    Login {
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
    /// We have said `Close` and wait for `CloseOk`.
    Closing {
        until: Timestamp,
        /// The limit that held before: a stranger whose login was refused may not send longer frames now.
        frame_max: u32,
    },
    /// Nothing more is said or heard once the output is written.
    Finished,
}

/// A connection that is logged in.
#[derive(Debug)]
struct Open {
    id: ConnectionId,
    vhost: Arc<Vhost>,
    /// What its user may do there.
    pass: VhostPass,
    guard: ConnectionGuard,
    heartbeat: Option<Duration>,
    frame_max: u32,
    channels: AHashMap<ChannelId, ChannelSlot>,
    /// Open consumers on all channels: they share the outbox.
    consumers: usize,
    /// Defined routes on all channels.
    defined_routes: usize,
    /// Bytes of publish frames that the client may still send.
    publish_credit: i64,
    /// Bytes of publish frames that are dealt with and not yet given back as credit.
    owed_credit: u32,
    /// Queues that hold this connection's publishes back.
    held_by: AHashMap<QueueId, Hold>,
    told_blocked: bool,
    batch: PublishBatch,
    tracked: Vec<Tracked>,
    rejected: Vec<(u32, RejectReason)>,
    settles: PendingSettles,
    routes: RouteCache,
    scratch: Routed,
}

/// What is wrong with a frame, and how far it reaches.
enum Fault {
    Connection(Closing),
    Channel(Closing),
}

impl NativeSession {
    /// A connection that was accepted at `now` and whose preface has been read since: the time for both is one.
    /// Its deliveries arrive in `outbox`.
    pub fn new(
        broker: Broker,
        options: Arc<SessionOptions>,
        link: Arc<Link>,
        outbox: Arc<Outbox>,
        now: Timestamp,
    ) -> Self {
        let until = now.plus(options.handshake_timeout);
        NativeSession {
            broker,
            options,
            link,
            outbox,
            out: WriteQueue::default(),
            turn: TurnBox::default(),
            state: State::Login { until, step: Step::First },
            now,
            last_heard: now,
            last_said: now,
            held: HeldAnswers::default(),
            sending: Outgoing::default(),
            behind: 0,
            woke_others: false,
            stalled: false,
            close_wanted: None,
        }
    }
}

impl Session for NativeSession {
    fn handle_input(&mut self, input: &mut BytesMut, now: Timestamp) {
        if !std::mem::take(&mut self.stalled) {
            self.last_heard = now;
        }
        self.begin(now);
        self.hear_urgent();
        loop {
            self.close_if_wanted();
            if self.has_too_many_answers() && !self.is_finished() {
                self.stalled = true;
                break;
            }
            if matches!(&self.state, State::Login { step, .. } if step.is_deaf()) {
                self.stalled = true;
                break;
            }
            let Some(frame_max) = self.frame_max() else {
                input.clear();
                break;
            };
            match decode_frame(input, frame_max) {
                Ok(Some(frame)) => {
                    self.behind = input.len();
                    self.handle_frame(frame);
                }
                Ok(None) => break,
                Err(error) => {
                    self.close(error.closing());
                    input.clear();
                    break;
                }
            }
        }
        self.flush();
        self.woke_others = self.turn.0.wakes_others(&self.outbox);
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
        match &mut self.state {
            State::Login { until, step } if *until <= now => match std::mem::replace(step, Step::First) {
                Step::Refused(closing) => self.close(*closing),
                _ => self.finish(),
            },
            State::Leaving { until, .. } if *until <= now => {
                self.out.forget_held();
                self.say_last_words();
            }
            State::Closing { until, .. } if *until <= now => self.finish(),
            State::Open(open) => {
                let interval = open.heartbeat;
                if self.may_be_alive_unheard() {
                    self.last_heard = now;
                }
                if let Some(interval) = interval {
                    if now.since(self.last_heard) >= interval * 2 {
                        tracing::info!(peer = %self.link.peer(), "no heartbeat for two intervals: the peer is gone");
                        self.release();
                        self.finish();
                    } else if now.since(self.last_said) >= interval {
                        self.last_said = now;
                        Command::Heartbeat.encode(0, self.out.free_buffer());
                    }
                }
            }
            _ => {}
        }
        self.turn.0.finish(&self.broker);
    }

    fn has_woken_others(&self) -> bool {
        self.woke_others
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Login { until, .. } | State::Leaving { until, .. } | State::Closing { until, .. } => {
                Some(*until)
            }
            State::Open(open) => {
                let interval = open.heartbeat?;
                Some(self.last_said.plus(interval).min(self.last_heard.plus(interval * 2)))
            }
            State::Finished => None,
        }
    }

    fn handle_shutdown(&mut self, reason: &str, now: Timestamp) {
        self.begin(now);
        match self.state {
            State::Login { .. } => self.finish(),
            State::Open(_) => {
                let text = format!("{} - {reason}", ReplyCode::ConnectionForced);
                self.close(closing(ReplyCode::ConnectionForced, text, 0, 0));
            }
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
        if !self.out.is_empty() {
            self.last_said = now;
        }
        &mut self.out
    }

    fn wants_input(&self) -> bool {
        let hears = match &self.state {
            State::Login { step, .. } => !step.is_deaf(),
            State::Leaving { .. } | State::Finished => false,
            State::Open(_) | State::Closing { .. } => true,
        };
        hears && !self.has_too_many_answers()
    }

    fn has_stalled_input(&self) -> bool {
        self.stalled && self.wants_input()
    }

    fn take_work(&mut self) -> Option<Verification> {
        self.login_work()
    }

    fn handle_verified(&mut self, next: LoginStep, now: Timestamp) {
        self.begin(now);
        if let Err(Fault::Connection(closing) | Fault::Channel(closing)) = self.login_verified(next) {
            self.close(closing);
        }
        self.turn.0.finish(&self.broker);
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }
}

impl NativeSession {
    /// Connections live by the time that drivers tell; messages live by the broker's clock, which a test may
    /// move by an hour without any peer being silent for so long.
    fn begin(&mut self, now: Timestamp) {
        self.now = now;
        self.turn.0.begin(self.broker.now());
    }

    /// The longest frame that the peer may send now. None: it is not heard any more.
    fn frame_max(&self) -> Option<u32> {
        match &self.state {
            State::Login { .. } => Some(self.options.login_frame_max),
            State::Open(open) => Some(open.frame_max),
            State::Leaving { frame_max, .. } | State::Closing { frame_max, .. } => Some(*frame_max),
            State::Finished => None,
        }
    }

    fn handle_frame(&mut self, frame: RawFrame) {
        let place = frame.place();
        let wire_len = frame.wire_len();
        let command = match frame.command() {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(error) => return self.close(error.closing()),
        };
        let fault = match &mut self.state {
            State::Open(_) => self.handle_command(place, wire_len, command),
            State::Login { .. } => self.handle_login(place, command),
            State::Leaving { last_words, .. } => {
                if let Command::Close(_) = command {
                    *last_words = LastWords::CloseOk;
                }
                Ok(())
            }
            State::Closing { .. } => {
                match command {
                    Command::CloseOk => self.finish(),
                    Command::Close(_) => {
                        Command::CloseOk.encode(0, self.out.buffer());
                        self.finish();
                    }
                    _ => {}
                }
                Ok(())
            }
            State::Finished => Ok(()),
        };
        match fault {
            Ok(()) => {}
            Err(Fault::Connection(closing)) => self.close(closing),
            Err(Fault::Channel(closing)) => self.close_channel_with(ChannelId(place.channel), closing),
        }
        // A queue that has ended must be out of the routes that the next frame's messages take.
        self.turn.0.follow_up(&self.broker);
    }

    fn handle_command(&mut self, place: Place, wire_len: usize, command: Command) -> Result<(), Fault> {
        let number = ChannelId(place.channel);
        // Publishes, settlements and routes are collected; anything else first sees them carried out.
        match command {
            Command::Publish(publish) => return self.handle_publish(place, wire_len, publish),
            Command::Settle(settle) => return self.handle_settle(place, settle),
            Command::DefineRoute { route, exchange, routing_key } => {
                return self.handle_define_route(place, route, exchange, routing_key);
            }
            Command::Heartbeat => return Ok(()),
            _ => self.flush(),
        }
        match command {
            Command::OpenChannel { correlation } => self.open_channel(place, correlation),
            Command::CloseChannel { correlation } => self.close_channel(place, correlation),
            Command::Request { correlation, request } => {
                if self.open_channel_mut(place)?.is_some() {
                    self.handle_request(number, correlation, request);
                }
                Ok(())
            }
            Command::Credit { consumer, messages, bytes } => {
                self.handle_credit(place, consumer, messages, bytes)
            }
            Command::Close(_) => {
                self.leave(LastWords::CloseOk);
                Ok(())
            }
            other => Err(unexpected(place, &other)),
        }
    }

    fn open_channel(&mut self, place: Place, correlation: u32) -> Result<(), Fault> {
        let number = ChannelId(place.channel);
        let channel_max = self.options.channel_max;
        let now = self.turn.0.now;
        let open = self.open();
        if number.0 > channel_max {
            let text = format!("channel number {number} is over the limit of {channel_max} from Welcome");
            return Err(connection_fault(ReplyCode::ChannelError, text, place));
        }
        if let Some(ChannelSlot::Open(_)) = open.channels.get(&number) {
            let text = format!("channel {number} is open already; use another number or close it first");
            return Err(connection_fault(ReplyCode::ChannelError, text, place));
        }
        let info = open
            .guard
            .open_channel(number, now)
            .map_err(|refused| connection_fault(refused.reply_code(), refused.to_string(), place))?;
        open.channels.insert(number, ChannelSlot::Open(Box::new(Channel::new(info))));
        self.respond(number, correlation, rialto_protocol::native::Response::Done);
        Ok(())
    }

    fn close_channel(&mut self, place: Place, correlation: u32) -> Result<(), Fault> {
        let number = ChannelId(place.channel);
        if self.open_channel_mut(place)?.is_none() {
            return Ok(());
        }
        self.release_channel(number);
        self.respond(number, correlation, rialto_protocol::native::Response::Done);
        Ok(())
    }

    /// The channel a frame is for. None: closed by an error, so the frame is passed over.
    fn open_channel_mut(&mut self, place: Place) -> Result<Option<&mut Channel>, Fault> {
        match self.open().channels.get_mut(&ChannelId(place.channel)) {
            Some(ChannelSlot::Open(channel)) => Ok(Some(channel)),
            Some(ChannelSlot::ClosedByServer) => Ok(None),
            None => {
                let text = format!("channel {} is not open; send OpenChannel first", place.channel);
                Err(connection_fault(ReplyCode::ChannelError, text, place))
            }
        }
    }

    /// Carries out what was collected: publishes first, then settlements, so that an answer is in its queue
    /// before the question is settled.
    fn flush(&mut self) {
        self.flush_publishes();
        self.flush_settles();
        self.turn.0.follow_up(&self.broker);
        self.grant_credit();
    }

    /// To be called before something is published: see [`PendingSettles::go_first`].
    fn settle_first(&mut self) {
        if matches!(&self.state, State::Open(open) if open.settles.go_first()) {
            self.flush();
        }
    }

    fn close_if_wanted(&mut self) {
        if let Some(reason) = self.close_wanted.take() {
            let text = format!("{} - {reason}", ReplyCode::ConnectionForced);
            self.close(closing(ReplyCode::ConnectionForced, text, 0, 0));
        }
    }

    /// Answers a request; if something that was done must be safe first, the answer is held until then, and with it
    /// whatever comes behind.
    fn respond(&mut self, channel: ChannelId, correlation: u32, response: rialto_protocol::native::Response) {
        self.hold_output();
        Command::Response { correlation, response }.encode(channel.0, self.out.buffer());
    }

    /// The open connection.
    fn open(&mut self) -> &mut Open {
        match &mut self.state {
            State::Open(open) => open,
            _ => unreachable!("called from handlers of an open connection only"),
        }
    }
}

fn closing(code: ReplyCode, text: impl AsRef<str>, kind: u8, correlation: u32) -> Closing {
    Closing { code: code.number(), text: ShortStr::truncated(text), kind, correlation }
}

fn fault_closing(code: ReplyCode, text: impl AsRef<str>, place: Place) -> Closing {
    closing(code, format!("{code} - {}", text.as_ref()), place.kind, place.correlation)
}

fn connection_fault(code: ReplyCode, text: impl AsRef<str>, place: Place) -> Fault {
    Fault::Connection(fault_closing(code, text, place))
}

fn channel_fault(code: ReplyCode, text: impl AsRef<str>, place: Place) -> Fault {
    Fault::Channel(fault_closing(code, text, place))
}

fn unexpected(place: Place, command: &Command) -> Fault {
    let kind = command.kind();
    let text = match kind.sender() {
        Sender::Server => format!("frame {} is for servers to send", kind.name()),
        _ => format!("frame {} cannot stand here", kind.name()),
    };
    connection_fault(ReplyCode::CommandInvalid, text, place)
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Fault::Connection(error.closing())
    }
}

/// The place of what no frame has led to.
const NOWHERE: Place = Place { kind: 0, channel: 0, correlation: 0 };

/// The place of a frame of this kind, for faults that are found after it was dealt with.
fn place_of(kind: Kind, channel: ChannelId) -> Place {
    Place { kind: kind.octet(), channel: channel.0, correlation: 0 }
}

impl Drop for NativeSession {
    /// A task that ends without saying so (a defect, an abort) must not keep messages.
    fn drop(&mut self) {
        if matches!(self.state, State::Open(_)) {
            // A turn that was broken off still has others to wake.
            self.turn.0.finish(&self.broker);
            self.handle_disconnect(self.now);
        }
    }
}
