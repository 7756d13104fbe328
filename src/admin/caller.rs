//! Who asks: logged in by HTTP basic authentication, with the passwords and rules of both protocols.
//!
//! Invariant: what a caller may do in a vhost is asked where both protocols ask (`access`), and is what holds now.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AdminState, ApiError, Peer};
use crate::access::{Denied, Operation, Origin, Principal, Protocol, Step, Tags, VhostPass};
use crate::broker::Vhost;

/// What a user must be for a request besides having one of RabbitMQ's tags, which every caller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// May set policies and parameters, too.
    Policymaker,
    /// May see nodes, all connections, and vhosts from outside.
    Monitoring,
    /// May do everything.
    Administrator,
}

/// Whoever made a request. Nobody gets one without having logged in as somebody who may use the API.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    principal: Principal,
    address: SocketAddr,
}

impl Caller {
    /// The user's name.
    pub(super) fn user(&self) -> &str {
        self.principal.name()
    }

    /// Where the request comes from.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The user's tags.
    pub(super) fn tags(&self) -> &Tags {
        self.principal.tags()
    }

    /// Refuses users of a lower level.
    ///
    /// # Errors
    /// 401, as RabbitMQ.
    pub(super) fn require(&self, level: Level) -> Result<(), ApiError> {
        let tags = self.tags();
        let (is_enough, what) = match level {
            Level::Policymaker => (tags.administrator || tags.policymaker, "policymaker"),
            Level::Monitoring => (tags.administrator || tags.monitoring, "monitoring"),
            Level::Administrator => (tags.administrator, "administrator"),
        };
        match is_enough {
            true => Ok(()),
            false => {
                Err(ApiError::not_authorised(format!("user '{}' does not have the tag {what}", self.user())))
            }
        }
    }

    /// The vhost with this name, to see what is in it: an administrator may everywhere, others where they may enter.
    ///
    /// # Errors
    /// 404: there is none, which a client that logs in is told, too. 401: it is none of the user's business.
    pub(super) fn vhost(&self, state: &AdminState, name: &str) -> Result<Arc<Vhost>, ApiError> {
        self.find_vhost(state, name, Level::Administrator)
    }

    /// The vhosts in which the user may see what is there, by name.
    pub(super) fn vhosts(&self, state: &AdminState) -> Vec<Arc<Vhost>> {
        self.find_vhosts(state, Level::Administrator)
    }

    /// The vhost with this name, seen from outside: that it is there, its limits and figures, who is connected to it.
    /// Whoever watches over the broker may see that of all.
    ///
    /// # Errors
    /// As [`Caller::vhost`].
    pub(super) fn vhost_outside(&self, state: &AdminState, name: &str) -> Result<Arc<Vhost>, ApiError> {
        self.find_vhost(state, name, Level::Monitoring)
    }

    /// The vhosts that the user may see from outside, by name.
    pub(super) fn vhosts_outside(&self, state: &AdminState) -> Vec<Arc<Vhost>> {
        self.find_vhosts(state, Level::Monitoring)
    }

    fn find_vhost(&self, state: &AdminState, name: &str, sees_all: Level) -> Result<Arc<Vhost>, ApiError> {
        let found = state.broker.vhost(name).ok_or_else(ApiError::not_found)?;
        if self.require(sees_all).is_err() {
            self.principal.enter(name)?;
        }
        Ok(found)
    }

    fn find_vhosts(&self, state: &AdminState, sees_all: Level) -> Vec<Arc<Vhost>> {
        let mut vhosts = state.broker.vhosts();
        if self.require(sees_all).is_err() {
            vhosts.retain(|vhost| self.principal.enter(vhost.name()).is_ok());
        }
        vhosts.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        vhosts
    }

    /// What the user may do in a vhost, as somebody who logs in there.
    ///
    /// # Errors
    /// 401: it may not enter.
    pub(super) fn pass(&self, vhost: &Vhost) -> Result<VhostPass, ApiError> {
        Ok(self.principal.enter(vhost.name())?)
    }

    /// Asks whether the user may do something in a vhost.
    ///
    /// # Errors
    /// 401, with the words that a channel would be closed with.
    pub(super) fn check(&self, vhost: &Vhost, operation: &Operation<'_>) -> Result<(), ApiError> {
        Ok(self.pass(vhost)?.check(operation)?)
    }
}

/// As RabbitMQ, which answers with 401 what a channel is closed for with 403.
impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        ApiError::not_authorised(denied.to_string())
    }
}

impl FromRequestParts<AdminState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, ApiError> {
        let Peer(address) = Peer::from_request_parts(parts, state).await?;
        let (user, password) = credentials(parts).ok_or_else(ApiError::login_failed)?;
        Caller::log_in(state, address, &user, &password).await
    }
}

impl FromRequestParts<AdminState> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AdminState) -> Result<Self, ApiError> {
        // Without a socket, as in tests, it comes from this machine.
        let local = Peer(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(parts.extensions.get::<Peer>().copied().unwrap_or(local))
    }
}

impl Caller {
    /// Whoever has this password, if that is somebody who may use the API. A refusal of who tries again and again takes
    /// a while.
    ///
    /// # Errors
    /// 401.
    pub(super) async fn log_in(
        state: &AdminState,
        address: SocketAddr,
        user: &str,
        password: &str,
    ) -> Result<Self, ApiError> {
        let origin = Origin::plain(address, Protocol::Http);
        let mut step = state.broker.access().check_password(user, password, &origin, state.broker.now());
        loop {
            step = match step {
                Step::Done(principal) if principal.tags().may_use_api() => {
                    tracing::Span::current().record("user", principal.name());
                    return Ok(Caller { principal, address });
                }
                Step::Done(principal) => {
                    let user = principal.name();
                    tracing::warn!(user, %address, "a user without the tag management came over HTTP");
                    return Err(ApiError::not_authorised("Not management user"));
                }
                Step::Verify(verification) => {
                    match tokio::task::spawn_blocking(move || verification.run()).await {
                        Ok(step) => step,
                        Err(error) => {
                            tracing::error!(%error, "a password could not be checked");
                            return Err(ApiError::login_failed());
                        }
                    }
                }
                Step::Refused(error, delay) => {
                    let user: String = user.chars().filter(|sign| !sign.is_control()).take(255).collect();
                    let reason = error.reason();
                    tracing::warn!(user, %address, %error, reason, "a login over HTTP was refused");
                    if let Some(delay) = delay {
                        tokio::time::sleep(delay).await;
                    }
                    return Err(ApiError::login_failed());
                }
                // A password is all that was asked for.
                Step::Challenge(..) => return Err(ApiError::login_failed()),
            };
        }
    }
}

/// User and password of RFC 7617.
fn credentials(parts: &Parts) -> Option<(String, String)> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
