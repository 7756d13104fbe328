//! From the protocol header to an open connection: who, under which limits, into which vhost.
//!
//! ```text
//! <- start   -> start-ok   { <- secure   -> secure-ok }   <- tune   -> tune-ok, open   <- open-ok
//! ```

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    ConnectionOpen, ConnectionOpenOk, ConnectionSecure, ConnectionStartOk, ConnectionTune, ConnectionTuneOk,
    FRAME_MIN_SIZE, Method, MethodId,
};
use rialto_protocol::types::{FieldTable, FieldValue};

use super::fault::{Fault, Refusal};
use super::open::Open;
use super::{AmqpSession, State};
use crate::access::{Login, LoginError, Principal, Protocol, Step as LoginStep, Verification};
use crate::broker::{ChannelList, ConnectionInfo};
use crate::model::VhostName;
use crate::session::refused_login::tell_refused_login;
use crate::session::route_cache::RouteCache;

/// How far a handshake has come: what must come next.
#[derive(Debug)]
pub(super) enum Step {
    StartOk,
    SecureOk(Box<(Stranger, Login)>),
    /// What takes long is to be done, or is being done, elsewhere. Nothing is heard meanwhile.
    Verifying(Box<(Stranger, Option<Verification>)>),
    /// The login is refused, which is told when it is time. Nothing is heard meanwhile.
    Refused(Box<Fault>),
    TuneOk(Box<Caller>),
    Open(Box<Caller>, Tuned),
}

impl Step {
    /// Whether nothing is heard until something else has happened.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(self, Step::Verifying(_) | Step::Refused(_))
    }
}

/// Who is logging in, with what it says of itself.
#[derive(Debug)]
pub(super) struct Stranger {
    mechanism: String,
    properties: FieldTable,
}

/// Who has logged in.
#[derive(Debug)]
pub(super) struct Caller {
    principal: Principal,
    stranger: Stranger,
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuned {
    /// 0: no limit.
    pub(super) frame_max: u32,
    pub(super) channel_max: u16,
    pub(super) heartbeat: Option<Duration>,
}

/// What a client can be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capabilities {
    pub(super) authentication_failure_close: bool,
    pub(super) consumer_cancel_notify: bool,
    pub(super) connection_blocked: bool,
    /// Its `basic.qos` means the consumers that it has, too: see [`Capabilities::read`].
    pub(super) retunes_consumers: bool,
}

/// How long a client whose values are refused, or whose login is and who cannot be told, hears nothing before the
/// socket is closed. RabbitMQ does the same: it slows down who guesses passwords.
const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

impl Capabilities {
    fn read(properties: &FieldTable) -> Self {
        let announced = |name: &str| match properties.get("capabilities") {
            Some(FieldValue::Table(table)) => table.get(name).and_then(FieldValue::as_bool).unwrap_or(false),
            _ => false,
        };
        Capabilities {
            authentication_failure_close: announced("authentication_failure_close"),
            consumer_cancel_notify: announced("consumer_cancel_notify"),
            connection_blocked: announced("connection.blocked"),
            // Kombu, and so Celery, takes the specification at its word: a new prefetch holds for the consumers
            // of the channel. RabbitMQ's rule ("new consumers only") lets Celery's ETA tasks starve.
            retunes_consumers: text(properties, "product").starts_with("py-amqp"),
        }
    }
}

fn text(table: &FieldTable, name: &str) -> String {
    table.get(name).and_then(FieldValue::as_str).unwrap_or_default().to_owned()
}

impl AmqpSession {
    pub(super) fn send_start(&mut self) {
        let origin = self.link.origin(Protocol::Amqp);
        let mechanisms = self.broker.access().mechanisms(&origin);
        let cluster = self.broker.cluster_name();
        self.options.amqp.greeting.encode(&mechanisms, cluster, self.out.buffer());
    }

    pub(super) fn handle_handshake(&mut self, method: Method) -> Result<(), Fault> {
        let State::Handshake { step, .. } = &mut self.state else { return Ok(()) };
        match (std::mem::replace(step, Step::StartOk), method) {
            (Step::StartOk, Method::ConnectionStartOk(start_ok)) => self.begin_login(start_ok),
            (Step::SecureOk(challenged), Method::ConnectionSecureOk(secure_ok)) => {
                let (stranger, login) = *challenged;
                self.go_on_with_login(stranger, login.respond(&secure_ok.response))
            }
            (Step::TuneOk(caller), Method::ConnectionTuneOk(tune_ok)) => self.tune(caller, &tune_ok),
            (Step::Open(caller, tuned), Method::ConnectionOpen(open)) => {
                self.open_connection(*caller, tuned, open)
            }
            (_, Method::ConnectionClose(_)) => {
                self.say(0, Method::ConnectionCloseOk(Default::default()));
                self.finish();
                Ok(())
            }
            (_, method) => {
                let text = format!("unexpected method {} in connection state starting", method.id().name());
                Err(Fault::new(ReplyCode::ChannelError, text, method.id()))
            }
        }
    }

    fn begin_login(&mut self, start_ok: ConnectionStartOk) -> Result<(), Fault> {
        let ConnectionStartOk { mechanism, response, client_properties, .. } = start_ok;
        let stranger = Stranger { mechanism: mechanism.to_string(), properties: client_properties };
        let origin = self.link.origin(Protocol::Amqp);
        let step = match self.broker.access().begin(&mechanism, &origin, self.turn.0.now) {
            Ok(login) => login.respond(&response),
            Err(error) => LoginStep::Refused(error, None),
        };
        self.go_on_with_login(stranger, step)
    }

    fn go_on_with_login(&mut self, stranger: Stranger, step: LoginStep) -> Result<(), Fault> {
        match step {
            LoginStep::Challenge(login, challenge) => {
                self.say(0, Method::ConnectionSecure(ConnectionSecure { challenge: challenge.into() }));
                self.proceed(Step::SecureOk(Box::new((stranger, login))));
            }
            LoginStep::Verify(work) => self.proceed(Step::Verifying(Box::new((stranger, Some(work))))),
            LoginStep::Done(principal) => {
                let heartbeat = self.options.amqp.heartbeat.map_or(0, |interval| interval.as_secs());
                let tune = ConnectionTune {
                    channel_max: self.options.channel_max,
                    frame_max: self.options.amqp.frame_max,
                    heartbeat: u16::try_from(heartbeat).unwrap_or(u16::MAX),
                };
                self.say(0, Method::ConnectionTune(tune));
                self.proceed(Step::TuneOk(Box::new(Caller { principal, stranger })));
            }
            LoginStep::Refused(error, delay) => return self.refuse_login(&stranger, &error, delay),
        }
        Ok(())
    }

    fn refuse_login(
        &mut self,
        stranger: &Stranger,
        error: &LoginError,
        delay: Option<Duration>,
    ) -> Result<(), Fault> {
        tell_refused_login(&self.link, error);
        let fault = match error {
            LoginError::UnknownMechanism { .. } => {
                let text = error.to_string();
                Fault::new(ReplyCode::CommandInvalid, text, MethodId::CONNECTION_START_OK)
            }
            LoginError::Malformed { .. } => {
                Fault::new(ReplyCode::SyntaxError, error.to_string(), MethodId::CONNECTION_START_OK)
            }
            LoginError::Refused { mechanism, .. } => {
                if !Capabilities::read(&stranger.properties).authentication_failure_close {
                    self.close_silently(SILENT_CLOSE_DELAY.max(delay.unwrap_or_default()));
                    return Ok(());
                }
                let text = format!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                );
                // A channel's code, but there is only the connection to end.
                Fault::new(ReplyCode::AccessRefused, text, MethodId::NONE)
            }
        };
        let Some(delay) = delay else { return Err(fault) };
        self.state = State::Handshake { until: self.now.plus(delay), step: Step::Refused(Box::new(fault)) };
        Ok(())
    }

    /// What somebody is to do elsewhere before the login goes on.
    pub(super) fn login_work(&mut self) -> Option<Verification> {
        match &mut self.state {
            State::Handshake { step: Step::Verifying(verifying), .. } => verifying.1.take(),
            _ => None,
        }
    }

    /// That has been done.
    pub(super) fn login_verified(&mut self, next: LoginStep) -> Result<(), Fault> {
        let State::Handshake { step, .. } = &mut self.state else { return Ok(()) };
        match std::mem::replace(step, Step::StartOk) {
            Step::Verifying(verifying) => self.go_on_with_login(verifying.0, next),
            other => {
                *step = other;
                Ok(())
            }
        }
    }

    fn tune(&mut self, caller: Box<Caller>, tune_ok: &ConnectionTuneOk) -> Result<(), Fault> {
        let (frame_offer, channel_offer) = (self.options.amqp.frame_max, self.options.channel_max);
        negotiated("frame_max", tune_ok.frame_max, FRAME_MIN_SIZE, frame_offer)?;
        negotiated("channel_max", tune_ok.channel_max.into(), 1, channel_offer.into())?;
        let heartbeat = Duration::from_secs(tune_ok.heartbeat.into());
        let tuned = Tuned {
            frame_max: tune_ok.frame_max,
            channel_max: tune_ok.channel_max,
            heartbeat: (!heartbeat.is_zero()).then_some(heartbeat),
        };
        self.proceed(Step::Open(caller, tuned));
        Ok(())
    }

    fn open_connection(&mut self, caller: Caller, tuned: Tuned, open: ConnectionOpen) -> Result<(), Fault> {
        let Some(vhost) = self.broker.vhost(&open.virtual_host) else {
            let text = format!("vhost {} not found", open.virtual_host);
            return Err(Fault::new(ReplyCode::NotAllowed, text, MethodId::CONNECTION_OPEN));
        };
        let Caller { principal, stranger: Stranger { mechanism, properties } } = caller;
        let pass = principal
            .enter(&open.virtual_host)
            .map_err(|denied| Refusal::from(denied).at(MethodId::CONNECTION_OPEN))?;
        let id = self.broker.new_connection_id();
        let info = ConnectionInfo {
            id,
            name: text(&properties, "connection_name"),
            link: self.link.clone(),
            user: principal.name().to_owned(),
            mechanism,
            vhost: VhostName::from(open.virtual_host),
            protocol: Protocol::Amqp,
            client: format!("{} {}", text(&properties, "product"), text(&properties, "version"))
                .trim()
                .to_owned(),
            properties: properties.encoded(),
            frame_max: tuned.frame_max,
            channel_max: tuned.channel_max,
            heartbeat: tuned.heartbeat,
            connected_at: self.turn.0.now,
            channels: ChannelList::default(),
            is_blocked: AtomicBool::new(false),
            outbox: self.outbox.clone(),
        };
        let registered = self.broker.register(info, &principal);
        let guard = registered.map_err(|refused| Refusal::from(refused).at(MethodId::CONNECTION_OPEN))?;
        let info = guard.info();
        tracing::info!(peer = %self.link.peer(), connection = %id, user = %info.user, vhost = %info.vhost, "logged in");
        tracing::Span::current().record("user", info.user.as_str()).record("vhost", info.vhost.as_str());
        self.say(0, Method::ConnectionOpenOk(ConnectionOpenOk::default()));
        let routes = RouteCache::new(self.options.route_cache);
        self.state = State::Open(Box::new(Open::new(
            id,
            (vhost, pass),
            guard,
            Capabilities::read(&properties),
            tuned,
            routes,
        )));
        Ok(())
    }

    fn proceed(&mut self, next: Step) {
        if let State::Handshake { step, .. } = &mut self.state {
            *step = next;
        }
    }
}

/// As RabbitMQ checks what a client answers to `connection.tune`: 0 is "no limit", which is above every limit.
fn negotiated(field: &str, value: u32, min: u32, offer: u32) -> Result<(), Fault> {
    let (side, bound, limit) = match value {
        0 if offer != 0 => ("higher", "maximum", offer),
        value if value != 0 && value < min => ("lower", "minimum", min),
        value if offer != 0 && value > offer => ("higher", "maximum", offer),
        _ => return Ok(()),
    };
    let detail = if value == 0 { " (no limit)" } else { "" };
    let text =
        format!("negotiated {field} = {value}{detail} is {side} than the {bound} allowed value ({limit})");
    Err(Fault::new(ReplyCode::NotAllowed, text, MethodId::CONNECTION_TUNE))
}
