//! Where a publish would go, and why: routing explained, with what the broker adds to it.

use std::sync::Arc;

use rialto_protocol::ReplyCode;
use rialto_protocol::types::RawProperties;

use super::{BrokerError, QueueCell, Vhost};
use crate::model::Policy;
use crate::routing::{CopyKeys, ExplainLimits, Explanation, RouteInput};

/// Names of exchanges that are told when there is none of the name that was asked for.
const LIKE_MAX: usize = 3;

/// Where a publish would go, and why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What routing says.
    pub explanation: Explanation,
    /// For each visit, what else there is to say of its exchange.
    pub exchanges: Vec<ExplainedExchange>,
    /// The queues that it reaches, each with the policy that holds for it.
    pub queues: Vec<(Arc<QueueCell>, Option<Arc<Policy>>)>,
    /// Whether clients may not publish to the exchange at all: it takes messages from other exchanges only.
    pub is_internal: bool,
}

/// What the broker knows of an exchange besides its bindings.
#[derive(Clone, Debug)]
pub struct ExplainedExchange {
    /// The policy that holds for it.
    pub policy: Option<Arc<Policy>>,
    /// Whether the alternate exchange is the policy's, and not the declaration's.
    pub alternate_by_policy: bool,
    /// Whether it drops messages that it has seen before; whether it has seen this one is not asked.
    pub drops_duplicates: bool,
}

impl Vhost {
    /// Says where a publish to this exchange would go, and why. Nothing is published, and nothing is remembered of it.
    ///
    /// # Errors
    /// There is no such exchange, or the message's `CC` or `BCC` is no list of keys.
    pub fn explain(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: RawProperties<'_>,
        limits: ExplainLimits,
    ) -> Result<Explained, BrokerError> {
        let copies = CopyKeys::read(&properties)
            .map_err(|error| BrokerError::refused(error.reply_code(), error.to_string()))?;
        let routing_keys = copies.unwrap_or_default();
        let input = RouteInput { exchange, routing_keys: &routing_keys.with(routing_key), properties };
        let topology = self.topology.read();
        let Ok(explanation) = topology.routing.explain(&input, limits) else {
            let like = topology.routing.exchanges_like(exchange, LIKE_MAX);
            let mut text = self.no_exchange(exchange).to_string();
            if !like.is_empty() {
                let like: Vec<_> = like.iter().map(|name| format!("'{name}'")).collect();
                text = format!("{text}; there is {}", like.join(", "));
            }
            return Err(BrokerError::refused(ReplyCode::NotFound, text));
        };
        let of = |name: &str| {
            let found = topology.routing.exchange(name);
            let policy = topology.policies.of_exchange(name).policy;
            let options = found.map(|exchange| exchange.options());
            let own = options.and_then(|options| options.alternate.as_ref());
            ExplainedExchange {
                alternate_by_policy: policy.is_some() && own.is_none(),
                drops_duplicates: options.is_some_and(|options| options.deduplication.is_some()),
                policy,
            }
        };
        let exchanges = explanation.visits.iter().map(|visit| of(&visit.exchange)).collect();
        let queues = topology.cells.queues(&explanation.queues).into_iter();
        let queues = queues.map(|queue| {
            let policy = topology.policies_of(&queue).policy;
            (queue, policy)
        });
        let is_internal = topology.routing.exchange(exchange).is_some_and(|found| found.options().internal);
        Ok(Explained { exchanges, queues: queues.collect(), is_internal, explanation })
    }
}
