//! Where an operator sends messages.

use std::fmt;
use std::sync::Arc;

use rialto_protocol::types::ShortStr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::caller::Caller;
use crate::admin::{AdminState, ApiError};
use crate::broker::{QueueCell, Vhost};
use crate::model::{ExchangeName, Message, MessageRoute, RoutingKey};

/// Where messages go: to a `queue`, or to an `exchange` with a `routing_key`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DestinationBody {
    /// A queue. Its consumers see the exchange and the routing key that the message was published with.
    queue: Option<String>,
    /// An exchange: the message is routed from there.
    exchange: Option<String>,
    /// The routing key for the exchange; none: each message keeps its own.
    routing_key: Option<String>,
}

/// A destination that exists.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Queue(Arc<QueueCell>),
    Exchange { vhost: Arc<Vhost>, exchange: ExchangeName, routing_key: Option<RoutingKey> },
}

/// Where one message goes.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) route: MessageRoute,
    pub(super) to: Vec<Arc<QueueCell>>,
}

impl DestinationBody {
    /// Finds it.
    ///
    /// # Errors
    /// 400: it says both or neither. 404: it is not there. 401: the caller may not publish there.
    pub(super) fn check(
        &self,
        state: &AdminState,
        caller: &Caller,
        vhost: &str,
    ) -> Result<Destination, ApiError> {
        let home = caller.vhost(state, vhost)?;
        match (&self.queue, &self.exchange) {
            (Some(name), None) if self.routing_key.is_none() => {
                caller.may_write(&home, "", name)?;
                let queue = home.any_queue(name);
                let queue = queue.filter(|queue| queue.purpose() == crate::broker::Purpose::Ordinary);
                queue.map(Destination::Queue).ok_or_else(|| home.no_queue(name).into())
            }
            (None, Some(name)) => {
                let too_long = |_| ApiError::bad_request("a name is longer than 255 bytes");
                let exchange = ExchangeName::from(ShortStr::new(name.as_str()).map_err(too_long)?);
                let key = self.routing_key.as_ref().map(|key| RoutingKey::new(key).map_err(too_long));
                let routing_key = key.transpose()?;
                match &routing_key {
                    Some(key) => caller.may_write(&home, name, key)?,
                    None => caller.may_write_some(&home, name)?,
                }
                home.check_exchange(&exchange)?;
                Ok(Destination::Exchange { vhost: home, exchange, routing_key })
            }
            _ => Err(ApiError::bad_request(
                "\"to\" must have a \"queue\", or an \"exchange\" with a \"routing_key\"",
            )),
        }
    }
}

impl Destination {
    /// Where this message goes.
    ///
    /// # Errors
    /// The exchange is gone, takes nothing from outside, or routes it nowhere; or the caller may not publish there with
    /// the message's own key.
    pub(super) fn of(&self, caller: &Caller, message: &Message) -> Result<Route, ApiError> {
        match self {
            Destination::Queue(queue) => {
                Ok(Route { route: message.route().clone(), to: vec![queue.clone()] })
            }
            Destination::Exchange { vhost, exchange, routing_key } => {
                if routing_key.is_none() {
                    caller.may_write(vhost, exchange, message.routing_key())?;
                }
                caller.may_write_copies(vhost, exchange, &message.properties())?;
                let routing_key = routing_key.as_ref().unwrap_or(message.routing_key()).clone();
                let to = vhost.queues_of(exchange, &routing_key, message.properties())?;
                if to.is_empty() {
                    let reason = format!(
                        "exchange '{exchange}' routes no message with key '{routing_key}'; nothing is moved"
                    );
                    return Err(ApiError::bad_request(reason));
                }
                Ok(Route { route: MessageRoute { exchange: exchange.clone(), routing_key }, to })
            }
        }
    }
}

impl fmt::Display for DestinationBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.queue, &self.exchange) {
            (Some(queue), _) => write!(f, "queue '{queue}'"),
            (None, Some(exchange)) => write!(f, "exchange '{exchange}'"),
            (None, None) => f.write_str("nowhere"),
        }
    }
}
