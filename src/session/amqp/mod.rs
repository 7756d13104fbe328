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
//! Rooms: `greeting` and `handshake`, `open` (state of a connection), `channel` and `unacked` (state of a channel), `dispatch` (from frames
//! to what carries them out), `topology` (exchanges and queues), `publishing` (frame by frame) and `whole_publishes` (the ordinary case),
//! `transactions`, `consuming`, `settling`, `delivering` (outbox to bytes), `closing` (all ways to end), `fault`.
//! Invariants: everything one read brought is carried out before the next; publishes and settlements of a read are
//! collected and carried out together, before any other method. Not here: the protocol header (`server`), the rules
//! of exchanges and queues (`broker`).

mod channel;
mod closing;
mod confirms;
mod consuming;
mod delivering;
mod dispatch;
mod fault;
mod greeting;
mod handshake;
mod open;
mod publishing;
mod settling;
#[cfg(test)]
mod tests;
mod topology;
mod transactions;
mod unacked;
mod whole_publishes;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{ConnectionBlocked, Method, MethodId, put_heartbeat, split_frame};
use rialto_protocol::types::ShortStr;

use super::held_answers::HeldAnswers;
use super::speaker::Speaker;
use super::turn_box::TurnBox;
use super::{Session, SessionOptions, WriteQueue};
use crate::access::{Step as LoginStep, Verification};
use crate::broker::{Broker, Hold, Link, Outbox, Outgoing};
use crate::model::{ChannelId, Timestamp};
use channel::ChannelSlot;
use closing::LastWords;
use confirms::Confirm;
use fault::Fault;
pub use greeting::Greeting;
use handshake::Step;
use open::Open;

/// See the module.
#[derive(Debug)]
pub struct AmqpSession {
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
    /// Confirms that wait for the disk.
    held: HeldAnswers<Confirm>,
    /// What is sent next; swapped with the outbox's when it is empty.
    sending: Outgoing,
    /// The last read had others woken.
    woke_others: bool,
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

impl AmqpSession {
    /// A connection that was accepted at `now` and whose protocol header has been read since: the time for both is
    /// one. Its deliveries arrive in `outbox`.
    pub fn new(
        broker: Broker,
        options: Arc<SessionOptions>,
        link: Arc<Link>,
        outbox: Arc<Outbox>,
        now: Timestamp,
    ) -> Self {
        let until = now.plus(options.handshake_timeout);
        let mut session = AmqpSession {
            broker,
            options,
            link,
            outbox,
            out: WriteQueue::default(),
            turn: TurnBox::default(),
            state: State::Handshake { until, step: Step::StartOk },
            now,
            last_heard: now,
            last_said: now,
            held: HeldAnswers::default(),
            sending: Outgoing::default(),
            woke_others: false,
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
            if matches!(&self.state, State::Handshake { step, .. } if step.is_deaf()) {
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
            State::Handshake { until, step } if *until <= now => {
                if let Step::Refused(fault) = std::mem::replace(step, Step::StartOk) {
                    self.close(&fault);
                } else {
                    tracing::info!(
                        peer = %self.link.peer(), "connection closed: no login within the handshake timeout"
                    );
                    self.finish();
                }
            }
            State::Leaving { until, .. } if *until <= now => {
                self.out.forget_held();
                self.say_last_words();
            }
            State::Closing { until, .. } if *until <= now => self.finish(),
            State::Open(open) => {
                let (heartbeat, is_held) = (open.tuned.heartbeat, !open.held_by.is_empty());
                if is_held || self.may_be_alive_unheard() {
                    self.last_heard = now;
                }
                if let Some(interval) = heartbeat {
                    if now.since(self.last_heard) >= interval * 2 {
                        tracing::info!(peer = %self.link.peer(), "no heartbeat for two intervals: the peer is gone");
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

    fn has_woken_others(&self) -> bool {
        self.woke_others
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
            State::Handshake { step, .. } => !step.is_deaf(),
            State::Leaving { .. } | State::Finished => false,
            _ => true,
        }
    }

    fn has_stalled_input(&self) -> bool {
        self.stalled && self.wants_input()
    }

    fn take_work(&mut self) -> Option<Verification> {
        self.login_work()
    }

    fn handle_verified(&mut self, next: LoginStep, now: Timestamp) {
        self.begin(now);
        let outcome = self.login_verified(next);
        self.conclude(ChannelId(0), outcome);
        self.turn.0.finish(&self.broker);
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

    /// Carries out what was collected: publishes first, then settlements, so that an answer is in its queue
    /// before the question is settled. Of what was collected, only acknowledgements may have come before a publish.
    fn flush(&mut self) {
        self.flush_publishes();
        self.flush_settles();
        self.turn.0.follow_up(&self.broker);
        self.tell_blocked();
    }

    /// To be called before something is published: see [`PendingSettles::go_first`].
    fn settle_first(&mut self) {
        if matches!(&self.state, State::Open(open) if open.settles.go_first()) {
            self.flush();
        }
    }

    /// Tells a client that wants to know whether it is held back by a queue, or the broker, that is full. Who is only
    /// paced goes on in a moment, and nobody need read of it.
    fn tell_blocked(&mut self) {
        let State::Open(open) = &mut self.state else { return };
        if open.held_by.is_empty() && !open.told_blocked {
            return;
        }
        let is_blocked = open.held_by.values().any(|hold| *hold > Hold::Paced);
        if is_blocked == open.told_blocked {
            return;
        }
        open.told_blocked = is_blocked;
        let reason = self.broker.hold_text(open.held_by.iter().map(|(queue, hold)| (*queue, *hold)));
        open.guard.set_blocked(open.told_blocked);
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

    /// Tells others what has changed on a channel, if it is open.
    fn tell_figures(&mut self, number: ChannelId) {
        if let State::Open(open) = &mut self.state
            && let Some(channel) = open.channel_mut(number)
        {
            channel.tell_figures();
        }
    }

    /// The open connection.
    fn open(&mut self) -> &mut Open {
        match &mut self.state {
            State::Open(open) => open,
            _ => unreachable!("called from handlers of an open connection only"),
        }
    }
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
