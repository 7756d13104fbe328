//! Logging in: who, into which vhost, under which limits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ahash::AHashMap;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Closing, Command, Login, MESSAGE_OVERHEAD, Place, Welcome};
use rialto_protocol::types::{FieldTable, FieldValue};

use super::{Fault, NativeSession, Open, State, connection_fault, fault_closing, unexpected};
use crate::access::{self, LoginError, Principal, Protocol, Verification};
use crate::broker::{BrokerError, ChannelList, ConnectionInfo, PublishBatch};
use crate::model::VhostName;
use crate::routing::Routed;
use crate::session::refused_login::tell_refused_login;
use crate::session::route_cache::RouteCache;
use crate::session::settles::PendingSettles;

/// How far a login has come: what must come next.
#[derive(Debug)]
pub(super) enum Step {
    /// `Login`.
    First,
    /// The answer to a challenge.
    Response(Box<(Stranger, access::Login)>),
    /// What takes long is to be done, or is being done, elsewhere. Nothing is heard meanwhile.
    Verifying(Box<(Stranger, Option<Verification>)>),
    /// The login is refused, which is told when it is time. Nothing is heard meanwhile.
    Refused(Box<Closing>),
}

impl Step {
    /// Whether nothing is heard until something else has happened.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self, Step::Verifying(_) | Step::Refused(_))
    }
}

/// Who is logging in, with what it wishes.
#[derive(Debug)]
pub(super) struct Stranger {
    place: Place,
    login: Login,
}

impl NativeSession {
    pub(super) fn handle_login(&mut self, place: Place, command: Command) -> Result<(), Fault> {
        let State::Login { step, .. } = &mut self.state else { return Ok(()) };
        match (std::mem::replace(step, Step::First), command) {
            (Step::First, Command::Login(login)) => self.begin_login(place, login),
            (Step::Response(challenged), Command::ChallengeResponse(response)) => {
                let (stranger, login) = *challenged;
                self.go_on_with_login(stranger, login.respond(&response.0))
            }
            (_, Command::Close(_)) => {
                Command::CloseOk.encode(0, self.out.buffer());
                self.finish();
                Ok(())
            }
            (_, other) => {
                let kind = other.kind();
                match kind.sender() {
                    rialto_protocol::native::Sender::Server => Err(unexpected(place, &other)),
                    _ => {
                        let text = format!("frame {} before login; send Login first", kind.name());
                        Err(connection_fault(ReplyCode::CommandInvalid, text, place))
                    }
                }
            }
        }
    }

    fn begin_login(&mut self, place: Place, mut login: Login) -> Result<(), Fault> {
        // Nothing keeps a password for longer than it takes to read it.
        let response = std::mem::take(&mut login.response);
        let origin = self.link.origin(Protocol::Native);
        let next = match self.broker.access().begin(&login.mechanism, &origin, self.turn.0.now) {
            Ok(begun) => begun.respond(&response),
            Err(error) => access::Step::Refused(error, None),
        };
        self.go_on_with_login(Stranger { place, login }, next)
    }

    fn go_on_with_login(&mut self, stranger: Stranger, next: access::Step) -> Result<(), Fault> {
        match next {
            access::Step::Challenge(login, challenge) => {
                Command::Challenge(challenge.into()).encode(0, self.out.buffer());
                self.proceed(Step::Response(Box::new((stranger, login))));
                Ok(())
            }
            access::Step::Verify(work) => {
                self.proceed(Step::Verifying(Box::new((stranger, Some(work)))));
                Ok(())
            }
            access::Step::Done(principal) => self.welcome(&principal, stranger),
            access::Step::Refused(error, delay) => self.refuse_login(stranger.place, &error, delay),
        }
    }

    fn refuse_login(
        &mut self,
        place: Place,
        error: &LoginError,
        delay: Option<Duration>,
    ) -> Result<(), Fault> {
        tell_refused_login(&self.link, error);
        let code = match error {
            LoginError::UnknownMechanism { .. } => ReplyCode::NotImplemented,
            LoginError::Malformed { .. } => ReplyCode::SyntaxError,
            LoginError::Refused { .. } => ReplyCode::AccessRefused,
        };
        let closing = fault_closing(code, error.to_string(), place);
        let Some(delay) = delay else { return Err(Fault::Connection(closing)) };
        self.state = State::Login { until: self.now.plus(delay), step: Step::Refused(Box::new(closing)) };
        Ok(())
    }

    fn proceed(&mut self, next: Step) {
        if let State::Login { step, .. } = &mut self.state {
            *step = next;
        }
    }

    /// What somebody is to do elsewhere before the login goes on.
    pub(super) fn login_work(&mut self) -> Option<Verification> {
        match &mut self.state {
            State::Login { step: Step::Verifying(verifying), .. } => verifying.1.take(),
            _ => None,
        }
    }

    /// That has been done.
    pub(super) fn login_verified(&mut self, next: access::Step) -> Result<(), Fault> {
        let State::Login { step, .. } = &mut self.state else { return Ok(()) };
        match std::mem::replace(step, Step::First) {
            Step::Verifying(verifying) => self.go_on_with_login(verifying.0, next),
            other => {
                *step = other;
                Ok(())
            }
        }
    }

    fn welcome(&mut self, principal: &Principal, stranger: Stranger) -> Result<(), Fault> {
        let Stranger { place, login } = stranger;
        let Some(vhost) = self.broker.vhost(&login.vhost) else {
            let error = BrokerError::NoVhost { vhost: VhostName::from(login.vhost) };
            return Err(connection_fault(error.reply_code(), error.to_string(), place));
        };
        // SPEC.md, section 5: a vhost that the user may not enter is refused as bad credentials are.
        let pass = principal
            .enter(&login.vhost)
            .map_err(|denied| connection_fault(ReplyCode::AccessRefused, denied.to_string(), place))?;
        let frame_max = self.negotiated_frame_max(place, login.frame_max)?;
        let heartbeat = self.negotiated_heartbeat(login.heartbeat_ms);
        let text =
            |name| login.properties.get(name).and_then(FieldValue::as_str).unwrap_or_default().to_owned();
        let id = self.broker.new_connection_id();
        let options = Arc::clone(&self.options);
        let info = ConnectionInfo {
            id,
            name: text("connection_name"),
            link: self.link.clone(),
            user: principal.name().to_owned(),
            mechanism: login.mechanism.to_string(),
            vhost: VhostName::from(login.vhost.clone()),
            protocol: Protocol::Native,
            client: format!("{} {}", text("product"), text("version")).trim().to_owned(),
            properties: login.properties.encoded(),
            frame_max,
            channel_max: options.channel_max,
            heartbeat,
            connected_at: self.turn.0.now,
            channels: ChannelList::default(),
            is_blocked: AtomicBool::new(false),
            outbox: self.outbox.clone(),
        };
        let registered = self.broker.register(info, principal);
        let guard = registered
            .map_err(|refused| connection_fault(refused.reply_code(), refused.to_string(), place))?;
        tracing::info!(peer = %self.link.peer(), connection = %id, user = %guard.info().user, vhost = %login.vhost, "logged in");
        tracing::Span::current()
            .record("user", guard.info().user.as_str())
            .record("vhost", login.vhost.as_str());
        let welcome = Welcome {
            frame_max,
            channel_max: options.channel_max,
            route_max: options.route_max,
            heartbeat_ms: heartbeat.map_or(0, |interval| interval.as_millis() as u32),
            publish_window: options.publish_window,
            message_size_max: options.message_size_max,
            properties: FieldTable::new()
                .with("product", "Rialto")
                .with("version", env!("CARGO_PKG_VERSION"))
                .with("platform", "Rust"),
        };
        Command::Welcome(welcome).encode(0, self.out.buffer());
        self.state = State::Open(Box::new(Open {
            id,
            vhost,
            pass,
            guard,
            heartbeat,
            frame_max,
            channels: AHashMap::new(),
            consumers: 0,
            defined_routes: 0,
            publish_credit: options.publish_window.into(),
            owed_credit: 0,
            held_by: AHashMap::new(),
            told_blocked: false,
            batch: PublishBatch::of(Protocol::Native),
            tracked: Vec::new(),
            rejected: Vec::new(),
            settles: PendingSettles::default(),
            routes: RouteCache::new(options.route_cache),
            scratch: Routed::default(),
        }));
        Ok(())
    }

    /// The smaller of both wishes, as long as the largest message still fits: the broker would otherwise hold
    /// messages that it cannot deliver.
    fn negotiated_frame_max(&self, place: Place, wish: u32) -> Result<u32, Fault> {
        let offer = self.options.frame_max;
        let least = self.options.message_size_max.saturating_add(MESSAGE_OVERHEAD).min(offer);
        match wish {
            0 => Ok(offer),
            wish if wish < least => {
                let text = format!(
                    "frame_max {wish} is too small for the largest message; give 0 or at least {least}"
                );
                Err(connection_fault(ReplyCode::NotAllowed, text, place))
            }
            wish => Ok(wish.min(offer)),
        }
    }

    /// The shorter of both wishes, and none only if the client wants none.
    fn negotiated_heartbeat(&self, wish_ms: u32) -> Option<Duration> {
        const SHORTEST: Duration = Duration::from_millis(100);
        if wish_ms == 0 {
            return None;
        }
        let wish = Duration::from_millis(wish_ms.into()).max(SHORTEST);
        Some(self.options.heartbeat.map_or(wish, |offer| offer.min(wish)))
    }
}
