//! A login, step by step: responses in, challenges out, until somebody is known or refused.
//!
//! Invariant: nothing here waits. What takes long is a [`Verification`], which its driver runs where it holds up nobody.

use core::time::Duration;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::Access;
use super::gate::Place;
use super::mechanism::{Mechanism, read_amqplain, read_plain};
use super::origin::Origin;
use super::pass::Principal;
use super::password::random;
use super::scram::{ClientFirst, Exchange, Proof, ScramKeys};
use super::user::User;
use crate::model::Timestamp;

/// Why a login is refused. Its text is for the client, who is told only that it was refused, not which part was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoginError {
    /// A mechanism that the broker does not have.
    #[error("SASL mechanism '{mechanism}' is not supported; use one of {known}")]
    UnknownMechanism {
        /// What the client asked for.
        mechanism: String,
        /// What there is, with spaces between.
        known: String,
    },
    /// A response that is not what the mechanism prescribes.
    #[error("malformed SASL {mechanism} response: expected {expected}")]
    Malformed {
        /// The mechanism.
        mechanism: &'static str,
        /// What it prescribes.
        expected: &'static str,
    },
    /// Wrong name or password, or a user who may not come from there.
    #[error("login was refused using authentication mechanism {mechanism}: check user and password")]
    Refused {
        /// The mechanism.
        mechanism: &'static str,
        /// Who it was, for the log.
        user: String,
        /// What was wrong, for the log.
        reason: Refusal,
    },
}

impl LoginError {
    /// What was wrong, in full: for the log, never for the client.
    pub fn reason(&self) -> String {
        match self {
            LoginError::Refused { user, reason, .. } => format!("user '{user}': {reason}"),
            other => other.to_string(),
        }
    }
}

/// What was wrong with a login: for the log, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// The password is another.
    #[error("the password is wrong")]
    WrongPassword,
    /// The user has no password, or none that this mechanism can use.
    #[error("the user has no password for this mechanism")]
    NoPassword,
    /// The user was deleted, or its password set anew, while the login went on.
    #[error("the user was deleted or its password changed meanwhile")]
    Changed,
    /// `guest` comes from elsewhere.
    #[error("this user can only connect via localhost")]
    NotLoopback,
    /// There were too many failures just before.
    #[error("too many failed logins of this user from this address; it was not checked")]
    Throttled,
    /// There are too many passwords to check already.
    #[error("too many logins at once (auth.pending_logins_max); it was not checked")]
    Busy,
    /// No certificate was shown.
    #[error("the client has no certificate")]
    NoCertificate,
}

/// What comes next in a login.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes, and give the answer to the login.
    Challenge(Login, Vec<u8>),
    /// Run this where it may take long; it gives the next step.
    Verify(Verification),
    /// This is who it is.
    Done(Principal),
    /// It is refused. Do not answer before this much time has passed.
    Refused(LoginError, Option<Duration>),
}

impl Step {
    /// Runs what takes long right here, until something else is next. For whoever may block.
    #[must_use]
    pub fn run_in_place(self) -> Step {
        let mut step = self;
        while let Step::Verify(verification) = step {
            step = verification.run();
        }
        step
    }
}

/// A login that waits for a response.
pub struct Login {
    attempt: Attempt,
    state: State,
}

/// Who tries what from where.
pub(super) struct Attempt {
    pub(super) access: Arc<Access>,
    pub(super) origin: Origin,
    pub(super) now: Timestamp,
    pub(super) mechanism: Mechanism,
}

enum State {
    First,
    Proof(Box<Exchange>, Option<Arc<User>>),
    /// The client has seen the server's proof.
    Seen(Arc<User>),
}

impl Login {
    pub(super) fn new(access: Arc<Access>, mechanism: Mechanism, origin: Origin, now: Timestamp) -> Self {
        Login { attempt: Attempt { access, origin, now, mechanism }, state: State::First }
    }

    /// Takes the client's response.
    #[must_use]
    pub fn respond(self, response: &[u8]) -> Step {
        let Login { attempt, state } = self;
        match (state, attempt.mechanism) {
            (State::First, Mechanism::Plain) => match read_plain(response) {
                Some((user, password)) => attempt.check_password(user, password),
                None => attempt.malformed(),
            },
            (State::First, Mechanism::AmqPlain) => match read_amqplain(response) {
                Some((user, password)) => attempt.check_password(&user, &password),
                None => attempt.malformed(),
            },
            (State::First, Mechanism::External) => attempt.check_certificate(),
            // The client did not say its first message with the mechanism's name.
            (State::First, Mechanism::Scram) if response.is_empty() => {
                Step::Challenge(Login { attempt, state: State::First }, Vec::new())
            }
            (State::First, Mechanism::Scram) => match ClientFirst::read(response) {
                Some(first) => attempt.begin_scram(first),
                None => attempt.malformed(),
            },
            (State::Proof(exchange, user), _) => match (exchange.finish(response), user) {
                (Proof::Malformed, _) => attempt.malformed(),
                (Proof::Right(proof), Some(user)) => {
                    Step::Challenge(Login { attempt, state: State::Seen(user) }, proof)
                }
                (_, None) => attempt.refuse(exchange.user(), Refusal::UnknownUser),
                (Proof::Wrong, Some(_)) => attempt.refuse(exchange.user(), Refusal::WrongPassword),
            },
            (State::Seen(user), _) => attempt.accept(user),
        }
    }
}

impl Attempt {
    fn malformed(&self) -> Step {
        self.access.count(&self.origin, false);
        let (mechanism, expected) = (self.mechanism.name(), self.mechanism.expects());
        Step::Refused(LoginError::Malformed { mechanism, expected }, None)
    }

    /// Refuses without counting it as a failure of the user's.
    fn refuse_unchecked(&self, user: &str, reason: Refusal, delay: Option<Duration>) -> Step {
        self.access.count(&self.origin, false);
        let mechanism = self.mechanism.name();
        Step::Refused(LoginError::Refused { mechanism, user: user.to_owned(), reason }, delay)
    }

    fn refuse(&self, user: &str, reason: Refusal) -> Step {
        let delay = self.access.failed(user, &self.origin, self.now);
        self.refuse_unchecked(user, reason, delay)
    }

    fn accept(self, user: Arc<User>) -> Step {
        // A hash takes long to check, and a client to answer: the user may be deleted by now, or another.
        if !self.access.is_current(&user) {
            return self.refuse(&user.name, Refusal::Changed);
        }
        if !self.access.may_come(&user, &self.origin) {
            return self.refuse(&user.name, Refusal::NotLoopback);
        }
        self.access.succeeded(&user, &self.origin);
        Step::Done(Principal::new(self.access, user))
    }

    pub(super) fn check_password(self, name: &str, password: &str) -> Step {
        if let Some(delay) = self.access.wait(name, &self.origin, self.now) {
            return self.refuse_unchecked(name, Refusal::Throttled, Some(delay));
        }
        let slow = |refusal| Slow::Wrong { name: name.to_owned(), refusal, password: password.to_owned() };
        match self.access.user(name) {
            Some(user) if self.access.remembers(&user, password) => self.accept(user),
            Some(user) if user.credentials.is_slow() => {
                self.verify(Slow::Hash { user, password: password.to_owned() })
            }
            Some(user) if user.credentials.check(password) => self.accept(user),
            // What is wrong takes as long whoever it names, and however that password is kept.
            Some(user) if user.credentials.has_password() => self.verify(slow(Refusal::WrongPassword)),
            Some(_) => self.verify(slow(Refusal::NoPassword)),
            None => self.verify(slow(Refusal::UnknownUser)),
        }
    }

    fn verify(self, slow: Slow) -> Step {
        match self.access.gate.enter() {
            Some(place) => Step::Verify(Verification { attempt: self, slow, place }),
            None => self.refuse_unchecked(slow.name(), Refusal::Busy, None),
        }
    }

    fn check_certificate(self) -> Step {
        let Some(name) = self.origin.certificate_name.clone() else {
            return self.refuse_unchecked("", Refusal::NoCertificate, None);
        };
        match self.access.user(&name) {
            Some(user) => self.accept(user),
            None => self.refuse(&name, Refusal::UnknownUser),
        }
    }

    fn begin_scram(self, first: ClientFirst) -> Step {
        if let Some(delay) = self.access.wait(&first.user, &self.origin, self.now) {
            return self.refuse_unchecked(&first.user, Refusal::Throttled, Some(delay));
        }
        let Some(user) = self.access.user(&first.user) else { return self.challenge(first, None) };
        match user.scram_keys() {
            Some(keys) => {
                let keys = keys.clone();
                self.challenge(first, Some((user, keys)))
            }
            None if user.credentials.plain_password().is_some() => self.verify(Slow::Keys { first, user }),
            // As if there were no such user: it is not told how a user's password is kept.
            None => self.challenge(first, None),
        }
    }

    fn challenge(self, first: ClientFirst, known: Option<(Arc<User>, ScramKeys)>) -> Step {
        let (user, keys) = known.unzip();
        let keys = keys.unwrap_or_else(|| self.access.keys_of_nobody(&first.user));
        let (exchange, message) = Exchange::begin(first, keys, &random());
        let state = State::Proof(Box::new(exchange), user);
        Step::Challenge(Login { attempt: self, state }, message)
    }
}

/// What takes long.
enum Slow {
    /// To compare a password with a hash that is meant to be slow.
    Hash { user: Arc<User>, password: String },
    /// To take as long, for a password that is wrong already.
    Wrong { name: String, refusal: Refusal, password: String },
    /// To make what SCRAM needs of a password that stands in the file.
    Keys { first: ClientFirst, user: Arc<User> },
}

impl Slow {
    fn name(&self) -> &str {
        match self {
            Slow::Wrong { name, .. } => name,
            Slow::Hash { user, .. } | Slow::Keys { user, .. } => &user.name,
        }
    }
}

/// Work of a login that takes tens of milliseconds and much memory. Run it on a thread that may block: it also waits
/// for its turn, so that a flood of logins takes neither all processors nor all memory.
pub struct Verification {
    attempt: Attempt,
    slow: Slow,
    place: Place,
}

impl Verification {
    /// Does the work, and gives the next step.
    #[must_use]
    pub fn run(self) -> Step {
        let Verification { attempt, slow, mut place } = self;
        place.wait_for_turn();
        match slow {
            Slow::Wrong { name, refusal, password } => {
                attempt.access.check_for_nobody(&password);
                attempt.refuse(&name, refusal)
            }
            Slow::Hash { user, password } => {
                if user.credentials.check(&password) {
                    attempt.access.remember(&user, &password);
                    attempt.accept(user)
                } else {
                    attempt.refuse(&user.name, Refusal::WrongPassword)
                }
            }
            Slow::Keys { first, user } => {
                let rounds = attempt.access.options.cost.scram_rounds;
                let password = user.credentials.plain_password().unwrap_or_default();
                let make = || ScramKeys::new(password, random(), rounds);
                let keys = user.derived_keys.get_or_init(make).clone();
                attempt.challenge(first, Some((user, keys)))
            }
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("mechanism", &self.attempt.mechanism.name()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification").field("user", &self.slow.name()).finish_non_exhaustive()
    }
}
