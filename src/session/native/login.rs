//! Logging in: who, into which vhost, under which limits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ahash::AHashMap;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Command, Login, MESSAGE_OVERHEAD, Place, Welcome};
use rialto_protocol::types::{FieldTable, FieldValue};

use super::{Fault, NativeSession, Open, State, connection_fault, unexpected};
use crate::access::{LoginError, Origin, Protocol, Step};
use crate::broker::{BrokerError, ChannelList, ConnectionInfo, PublishBatch};
use crate::model::VhostName;
use crate::routing::Routed;
use crate::session::route_cache::RouteCache;
use crate::session::settles::PendingSettles;

impl NativeSession {
    pub(super) fn handle_login(&mut self, place: Place, command: Command) -> Result<(), Fault> {
        match command {
            Command::Login(login) => self.log_in(place, login),
            Command::Close(_) => {
                Command::CloseOk.encode(0, self.out.buffer());
                self.finish();
                Ok(())
            }
            other => {
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

    fn log_in(&mut self, place: Place, login: Login) -> Result<(), Fault> {
        let origin = Origin::plain(self.link.peer(), Protocol::Native);
        let begun = self.broker.access().begin(&login.mechanism, &origin, self.turn.0.now);
        let user = match begun.map(|begun| begun.respond(&login.response).run_in_place()) {
            Ok(Step::Done(principal)) => principal.name().to_owned(),
            Ok(Step::Challenge(..) | Step::Verify(_)) => {
                let text = "this mechanism needs a challenge".to_owned();
                return Err(connection_fault(ReplyCode::NotImplemented, text, place));
            }
            Ok(Step::Refused(error, _)) | Err(error) => {
                tracing::warn!(peer = %self.link.peer(), %error, "login refused");
                let code = match error {
                    LoginError::UnknownMechanism { .. } => ReplyCode::NotImplemented,
                    LoginError::Malformed { .. } => ReplyCode::SyntaxError,
                    LoginError::Refused { .. } => ReplyCode::AccessRefused,
                };
                return Err(connection_fault(code, error.to_string(), place));
            }
        };
        let Some(vhost) = self.broker.vhost(&login.vhost) else {
            let error = BrokerError::NoVhost { vhost: VhostName::from(login.vhost) };
            return Err(connection_fault(error.reply_code(), error.to_string(), place));
        };
        let frame_max = self.negotiated_frame_max(place, login.frame_max)?;
        let heartbeat = self.negotiated_heartbeat(login.heartbeat_ms);
        let text =
            |name| login.properties.get(name).and_then(FieldValue::as_str).unwrap_or_default().to_owned();
        let id = self.broker.new_connection_id();
        let options = Arc::clone(&self.options);
        let registered = self.broker.register(ConnectionInfo {
            id,
            name: text("connection_name"),
            link: self.link.clone(),
            user,
            mechanism: login.mechanism.to_string(),
            vhost: VhostName::from(login.vhost.clone()),
            protocol: "rialto 1.0",
            client: format!("{} {}", text("product"), text("version")).trim().to_owned(),
            properties: login.properties.encoded(),
            frame_max,
            channel_max: options.channel_max,
            heartbeat,
            connected_at: self.turn.0.now,
            channels: ChannelList::default(),
            is_blocked: AtomicBool::new(false),
            outbox: self.outbox.clone(),
        });
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
            batch: PublishBatch::default(),
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
