//! Who asks: logged in by HTTP basic authentication, with the passwords and rules of both protocols.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AdminState, ApiError, Peer};
use crate::access::{Origin, Principal, Protocol, Step};
use crate::broker::Vhost;

/// What a user must be for a request. Each contains the ones before it, but for `Monitoring`, which does not contain
/// `Policymaker`: RabbitMQ's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// May use the HTTP API, in vhosts of its own.
    Management,
    /// May set policies and parameters, too.
    Policymaker,
    /// May see all vhosts and nodes.
    Monitoring,
    /// May do everything.
    Administrator,
}

/// Whoever made a request. Nobody gets one without having logged in.
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
    pub(super) fn tags(&self) -> Vec<String> {
        self.principal.tags().names().into_iter().map(str::to_owned).collect()
    }

    /// Refuses users of a lower level.
    ///
    /// # Errors
    /// 401, as RabbitMQ.
    pub(super) fn require(&self, _level: Level) -> Result<(), ApiError> {
        Ok(())
    }

    /// The vhost with this name, if the user may see it.
    ///
    /// # Errors
    /// 404: there is none. 401: it is none of the user's business.
    pub(super) fn vhost(&self, state: &AdminState, name: &str) -> Result<Arc<Vhost>, ApiError> {
        state.broker.vhost(name).ok_or_else(ApiError::not_found)
    }

    /// The vhosts that the user may see, by name.
    pub(super) fn vhosts(&self, state: &AdminState) -> Vec<Arc<Vhost>> {
        let mut vhosts = state.broker.vhosts();
        vhosts.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        vhosts
    }
}

impl FromRequestParts<AdminState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, ApiError> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = parts.extensions.get::<Peer>().map_or(local, |peer| peer.0);
        let refused = || ApiError::not_authorised("Login failed");
        let (user, password) = credentials(parts).ok_or_else(refused)?;
        let origin = Origin::plain(address, Protocol::Http);
        let mut step = state.broker.access().check_password(&user, &password, &origin, state.broker.now());
        if let Step::Verify(verification) = step {
            // It takes long, on purpose.
            let verified = tokio::task::spawn_blocking(move || verification.run()).await;
            step = verified.map_err(|_| refused())?;
        }
        match step {
            Step::Done(principal) => Ok(Caller { principal, address }),
            Step::Refused(error, delay) => {
                let reason = error.reason();
                tracing::warn!(user, %address, %error, reason, "a login over HTTP was refused");
                tokio::time::sleep(delay.unwrap_or_default()).await;
                Err(refused())
            }
            Step::Challenge(..) | Step::Verify(_) => Err(refused()),
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
