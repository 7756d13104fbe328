//! From the protocol header to an open connection: who, under which limits, into which vhost.
//!
//! ```text
//! <- start   -> start-ok   <- tune   -> tune-ok, open   <- open-ok
//! ```

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rialto_protocol::ReplyCode;
use rialto_protocol::amqp::{
    ConnectionOpen, ConnectionOpenOk, ConnectionStartOk, ConnectionTune, ConnectionTuneOk, FRAME_MIN_SIZE,
    Method, MethodId,
};
use rialto_protocol::types::{FieldTable, FieldValue};

use super::fault::Fault;
use super::open::Open;
use super::{AmqpSession, State};
use crate::access::{LoginError, Origin, Protocol, Step as LoginStep};
use crate::broker::{ChannelList, ConnectionInfo};
use crate::model::VhostName;
use crate::session::route_cache::RouteCache;

/// How far a handshake has come: what the client must say next.
#[derive(Debug)]
pub(super) enum Step {
    StartOk,
    TuneOk(Box<Login>),
    Open(Box<Login>, Tuned),
}

/// Who has logged in, with what it says of itself.
#[derive(Debug)]
pub(super) struct Login {
    user: String,
    mechanism: String,
    properties: FieldTable,
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
        self.out.buffer().extend_from_slice(self.options.amqp.greeting.frame());
    }

    pub(super) fn handle_handshake(&mut self, method: Method) -> Result<(), Fault> {
        let State::Handshake { step, .. } = &mut self.state else { return Ok(()) };
        match (std::mem::replace(step, Step::StartOk), method) {
            (Step::StartOk, Method::ConnectionStartOk(start_ok)) => self.log_in(start_ok),
            (Step::TuneOk(login), Method::ConnectionTuneOk(tune_ok)) => self.tune(login, &tune_ok),
            (Step::Open(login, tuned), Method::ConnectionOpen(open)) => {
                self.open_connection(*login, tuned, open)
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

    fn log_in(&mut self, start_ok: ConnectionStartOk) -> Result<(), Fault> {
        let method = MethodId::CONNECTION_START_OK;
        let origin = Origin::plain(self.link.peer(), Protocol::Amqp);
        let capabilities = Capabilities::read(&start_ok.client_properties);
        let login = self.broker.access().begin(&start_ok.mechanism, &origin, self.turn.0.now);
        let user = match login.map(|login| login.respond(&start_ok.response).run_in_place()) {
            Ok(LoginStep::Done(principal)) => principal.name().to_owned(),
            Ok(LoginStep::Challenge(..) | LoginStep::Verify(_)) => {
                let text = "this mechanism needs connection.secure";
                return Err(Fault::new(ReplyCode::NotImplemented, text, method));
            }
            Ok(LoginStep::Refused(error, _)) | Err(error) => {
                tracing::warn!(peer = %self.link.peer(), %error, "login refused");
                return match error {
                    LoginError::UnknownMechanism { .. } => {
                        Err(Fault::new(ReplyCode::CommandInvalid, error.to_string(), method))
                    }
                    LoginError::Malformed { .. } => {
                        Err(Fault::new(ReplyCode::SyntaxError, error.to_string(), method))
                    }
                    LoginError::Refused { .. } if capabilities.authentication_failure_close => {
                        // A channel's code, but there is only the connection to end.
                        let text = format!(
                            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
                            start_ok.mechanism
                        );
                        self.close(&Fault::new(ReplyCode::AccessRefused, text, MethodId::NONE));
                        Ok(())
                    }
                    LoginError::Refused { .. } => {
                        self.close_silently(SILENT_CLOSE_DELAY);
                        Ok(())
                    }
                };
            }
        };
        let mechanism = start_ok.mechanism.to_string();
        let login = Login { user, mechanism, properties: start_ok.client_properties };
        let heartbeat = self.options.amqp.heartbeat.map_or(0, |interval| interval.as_secs());
        let tune = ConnectionTune {
            channel_max: self.options.channel_max,
            frame_max: self.options.amqp.frame_max,
            heartbeat: u16::try_from(heartbeat).unwrap_or(u16::MAX),
        };
        self.say(0, Method::ConnectionTune(tune));
        self.proceed(Step::TuneOk(Box::new(login)));
        Ok(())
    }

    fn tune(&mut self, login: Box<Login>, tune_ok: &ConnectionTuneOk) -> Result<(), Fault> {
        let (frame_offer, channel_offer) = (self.options.amqp.frame_max, self.options.channel_max);
        negotiated("frame_max", tune_ok.frame_max, FRAME_MIN_SIZE, frame_offer)?;
        negotiated("channel_max", tune_ok.channel_max.into(), 1, channel_offer.into())?;
        let heartbeat = Duration::from_secs(tune_ok.heartbeat.into());
        let tuned = Tuned {
            frame_max: tune_ok.frame_max,
            channel_max: tune_ok.channel_max,
            heartbeat: (!heartbeat.is_zero()).then_some(heartbeat),
        };
        self.proceed(Step::Open(login, tuned));
        Ok(())
    }

    fn open_connection(&mut self, login: Login, tuned: Tuned, open: ConnectionOpen) -> Result<(), Fault> {
        let Some(vhost) = self.broker.vhost(&open.virtual_host) else {
            let text = format!("vhost {} not found", open.virtual_host);
            return Err(Fault::new(ReplyCode::NotAllowed, text, MethodId::CONNECTION_OPEN));
        };
        let Login { user, mechanism, properties } = login;
        let id = self.broker.new_connection_id();
        let registered = self.broker.register(ConnectionInfo {
            id,
            name: text(&properties, "connection_name"),
            link: self.link.clone(),
            user,
            mechanism,
            vhost: VhostName::from(open.virtual_host),
            protocol: "AMQP 0-9-1",
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
        });
        let guard = registered.map_err(|refused| {
            Fault::new(refused.reply_code(), refused.to_string(), MethodId::CONNECTION_OPEN)
        })?;
        let info = guard.info();
        tracing::info!(peer = %self.link.peer(), connection = %id, user = %info.user, vhost = %info.vhost, "logged in");
        tracing::Span::current().record("user", info.user.as_str()).record("vhost", info.vhost.as_str());
        self.say(0, Method::ConnectionOpenOk(ConnectionOpenOk::default()));
        let routes = RouteCache::new(self.options.route_cache);
        self.state = State::Open(Box::new(Open::new(
            id,
            vhost,
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
