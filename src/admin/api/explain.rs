//! Where a message would go, and why, without publishing it.

use axum::extract::State;
use rialto_protocol::types::{Properties, RawProperties, ShortStr};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::contents::body_of;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::Object;
use crate::admin::{AdminState, ApiError};
use crate::broker::{Explained, Purpose, Vhost};
use crate::model::{json_from_table, table_from_json};
use crate::routing::{Alternate, Binding, ExplainLimits, Fault, Via};

/// Bindings told of an exchange, at most, whatever is asked for.
const MATCHES_MAX: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// The message that is not published.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct ExplainBody {
    /// The vhost; `/` if it is not said.
    vhost: Option<String>,
    /// The exchange; `""` is the default exchange.
    exchange: String,
    /// The routing key.
    routing_key: String,
    /// The message's headers. `CC` and `BCC` are further routing keys, `x-delay` delays.
    #[schema(value_type = Option<Object>)]
    headers: Option<Map<String, Value>>,
    /// The property `correlation_id`, by which some consistent-hash exchanges choose.
    correlation_id: Option<String>,
    /// The property `message_id`, by which some consistent-hash exchanges choose.
    message_id: Option<String>,
    /// The property `timestamp`, by which some consistent-hash exchanges choose.
    timestamp: Option<u64>,
    /// Most bindings to tell of an exchange that match, 100 if it is not said.
    matches_max: Option<usize>,
    /// Most bindings to tell of an exchange that nearly match, 5 if it is not said.
    near_max: Option<usize>,
}

/// Where the message would go.
#[derive(Debug, Serialize, ToSchema)]
struct ExplainedBody {
    /// `routed`, `unroutable`, or `refused`: clients may not publish to an internal exchange.
    outcome: &'static str,
    /// The whole story, a line each.
    summary: Vec<String>,
    /// The queues that it would reach.
    queues: Vec<QueueBody>,
    /// The exchanges that it would come to, in order.
    visits: Vec<VisitBody>,
    /// Whether all bindings on the way were looked at. If not, the queues are all there are, but not the matches.
    complete: bool,
}

/// A queue that the message would reach.
#[derive(Debug, Serialize, ToSchema)]
struct QueueBody {
    name: String,
    /// The policy that holds for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// Messages that wait in it.
    messages_ready: u64,
    /// Consumers that it has.
    consumers: u64,
    /// What would happen to the message there that one might not expect.
    notes: Vec<String>,
}

/// An exchange that the message would come to.
#[derive(Debug, Serialize, ToSchema)]
struct VisitBody {
    /// Its name; `""` is the default exchange.
    exchange: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// How the message comes there.
    via: ViaBody,
    /// The policy that holds for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// Bindings that match, as far as they are told.
    matches: Vec<MatchBody>,
    /// How many match.
    matches_total: usize,
    /// Bindings that nearly match, the nearest first.
    near: Vec<NearBody>,
    /// Where messages go that match nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternate: Option<AlternateBody>,
    /// For how many milliseconds the message waits here before its bindings are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_ms: Option<u64>,
    /// What else there is to know.
    notes: Vec<String>,
}

/// How a message comes to an exchange.
#[derive(Debug, Serialize, ToSchema)]
struct ViaBody {
    /// `publish`, `binding` or `alternate`.
    how: &'static str,
    /// The exchange that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The key of the binding that it comes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<String>,
}

/// A binding that matches.
#[derive(Debug, Serialize, ToSchema)]
struct MatchBody {
    #[serde(flatten)]
    binding: BindingBody,
    /// The message's routing key that it matches.
    matched_key: String,
}

/// A binding that nearly matches.
#[derive(Debug, Serialize, ToSchema)]
struct NearBody {
    #[serde(flatten)]
    binding: BindingBody,
    /// What would have to be otherwise, all of it.
    reasons: Vec<ReasonBody>,
}

/// Why a binding does not match.
#[derive(Debug, Serialize, ToSchema)]
struct ReasonBody {
    /// `spelling`, `case`, `word`, `word-missing`, `word-too-many`, `pattern-on-direct`, `header-missing` or
    /// `header-differs`.
    kind: &'static str,
    /// In words.
    text: String,
}

/// A binding.
#[derive(Debug, Serialize, ToSchema)]
struct BindingBody {
    source: String,
    destination: String,
    /// `queue` or `exchange`.
    destination_type: &'static str,
    routing_key: String,
    #[schema(value_type = Object)]
    arguments: Value,
}

/// An alternate exchange.
#[derive(Debug, Serialize, ToSchema)]
struct AlternateBody {
    exchange: String,
    /// `taken`, `not needed`, or `missing`: there is no such exchange.
    state: &'static str,
    /// Whether a policy says so, and not the declaration.
    by_policy: bool,
}

/// Where would a message go, and why?
///
/// Nothing is published. Every exchange on the way is told, with the bindings that match and those that nearly do.
#[utoipa::path(
    post, path = "/api/explain", tag = "exchanges",
    request_body(content = ExplainBody),
    responses(
        (status = OK, body = ExplainedBody),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn explain(
    caller: Caller,
    State(state): State<AdminState>,
    Object(body): Object,
) -> Result<axum::Json<ExplainedBody>, ApiError> {
    let body: ExplainBody = body_of(body)?;
    let vhost = caller.vhost(&state, body.vhost.as_deref().unwrap_or("/"))?;
    let work = move |_: &AdminState| explained(&vhost, &body);
    state.blocking(work).await.map(axum::Json)
}

fn explained(vhost: &Vhost, body: &ExplainBody) -> Result<ExplainedBody, ApiError> {
    let text = |name: &str, text: &Option<String>| {
        let short = text.as_ref().map(|text| ShortStr::new(text.as_str())).transpose();
        short.map_err(|_| ApiError::bad_request(format!("the field {name:?} is longer than 255 bytes")))
    };
    if body.routing_key.len() > 255 {
        return Err(ApiError::bad_request("the field \"routing_key\" is longer than 255 bytes"));
    }
    let properties = Properties {
        headers: body.headers.as_ref().map(table_from_json).transpose().map_err(ApiError::bad_request)?,
        correlation_id: text("correlation_id", &body.correlation_id)?,
        message_id: text("message_id", &body.message_id)?,
        timestamp: body.timestamp,
        ..Properties::default()
    };
    let encoded = properties.encoded();
    let properties = RawProperties::check(&encoded)
        .map_err(|error| ApiError::bad_request(format!("no message can have such headers: {error}")))?;
    let default = ExplainLimits::default();
    let limits = ExplainLimits {
        matches_max: body.matches_max.unwrap_or(default.matches_max).min(MATCHES_MAX),
        near_max: body.near_max.unwrap_or(default.near_max).min(MATCHES_MAX),
    };
    let explained = vhost.explain(&body.exchange, &body.routing_key, properties, limits)?;
    let visits: Vec<_> = visits(&explained);
    let queues: Vec<_> = queues(&explained);
    let outcome = match (explained.is_internal, queues.is_empty()) {
        (true, _) => "refused",
        (false, true) => "unroutable",
        (false, false) => "routed",
    };
    let summary = summary(body, outcome, &visits, &queues);
    Ok(ExplainedBody { outcome, summary, queues, visits, complete: explained.explanation.is_complete })
}

fn visits(explained: &Explained) -> Vec<VisitBody> {
    let visits = explained.explanation.visits.iter().zip(&explained.exchanges);
    let visit = |(visit, more): (&crate::routing::Visit, &crate::broker::ExplainedExchange)| VisitBody {
        exchange: visit.exchange.to_string(),
        kind: visit.kind.name(),
        via: match &visit.via {
            Via::Publish => ViaBody { how: "publish", from: None, routing_key: None },
            Via::Binding { from, routing_key } => ViaBody {
                how: "binding",
                from: Some(from.to_string()),
                routing_key: Some(routing_key.to_string()),
            },
            Via::Alternate { of } => {
                ViaBody { how: "alternate", from: Some(of.to_string()), routing_key: None }
            }
        },
        policy: more.policy.as_ref().map(|policy| policy.name().to_owned()),
        matches: visit
            .matches
            .iter()
            .map(|matched| MatchBody {
                binding: BindingBody::of(&matched.binding),
                matched_key: matched.routing_key.clone(),
            })
            .collect(),
        matches_total: visit.matches_len,
        near: visit
            .near
            .iter()
            .map(|near| NearBody {
                binding: BindingBody::of(&near.binding),
                reasons: near.faults.iter().map(ReasonBody::of).collect(),
            })
            .collect(),
        alternate: visit.alternate.as_ref().map(|(name, state)| AlternateBody {
            exchange: name.to_string(),
            state: match state {
                Alternate::Taken => "taken",
                Alternate::NotNeeded => "not needed",
                Alternate::Missing => "missing",
            },
            by_policy: more.alternate_by_policy,
        }),
        waits_ms: visit.waits.map(|(_, ms)| ms),
        notes: match more.drops_duplicates {
            true => vec!["it drops messages that it has seen before; this is not asked here".to_owned()],
            false => Vec::new(),
        },
    };
    visits.map(visit).collect()
}

fn queues(explained: &Explained) -> Vec<QueueBody> {
    let queue = |(queue, policy): &(std::sync::Arc<crate::broker::QueueCell>, Option<_>)| {
        let (stats, options) = (queue.stats(), queue.effective_options());
        let mut notes = Vec::new();
        if queue.purpose() == Purpose::Delays {
            notes.push("the message waits here, and is routed when its delay is over".to_owned());
        }
        if queue.is_paused() {
            notes.push("the queue is paused: it takes the message and delivers nothing".to_owned());
        }
        if !queue.has_room() {
            notes.push(match options.overflow {
                crate::model::OverflowRule::DropHead => {
                    "the queue is full: its oldest message is dropped, or dies".to_owned()
                }
                _ => "the queue is full: it refuses the message".to_owned(),
            });
        }
        if options.message_ttl_ms == Some(0) && stats.consumers == 0 {
            notes
                .push("its time to live is 0 and it has no consumer: the message expires at once".to_owned());
        }
        QueueBody {
            name: queue.name().to_string(),
            policy: policy
                .as_ref()
                .map(|policy: &std::sync::Arc<crate::model::Policy>| policy.name().to_owned()),
            messages_ready: stats.ready,
            consumers: stats.consumers,
            notes,
        }
    };
    explained.queues.iter().map(queue).collect()
}

impl BindingBody {
    fn of(binding: &Binding) -> Self {
        BindingBody {
            source: binding.source.to_string(),
            destination: binding.destination.name().to_string(),
            destination_type: binding.destination.kind(),
            routing_key: binding.routing_key.to_string(),
            arguments: json_from_table(&binding.arguments),
        }
    }
}

impl ReasonBody {
    fn of(fault: &Fault) -> Self {
        ReasonBody { kind: fault.name(), text: fault.to_string() }
    }
}

fn exchange_text(name: &str) -> String {
    if name.is_empty() { "the default exchange".to_owned() } else { format!("exchange '{name}'") }
}

fn summary(body: &ExplainBody, outcome: &str, visits: &[VisitBody], queues: &[QueueBody]) -> Vec<String> {
    let mut lines = Vec::new();
    for visit in visits {
        let name = exchange_text(&visit.exchange);
        let from = visit.via.from.as_deref().unwrap_or_default();
        lines.push(match visit.via.how {
            "binding" => format!("{name} ({}), by a binding of {}", visit.kind, exchange_text(from)),
            "alternate" => {
                format!("{name} ({}), for nothing matches in {}", visit.kind, exchange_text(from))
            }
            _ => format!("{name} ({}), published with routing key '{}'", visit.kind, body.routing_key),
        });
        if let Some(ms) = visit.waits_ms {
            lines.push(format!("  waits for {ms} ms, and is routed then"));
        }
        for matched in &visit.matches {
            let binding = &matched.binding;
            lines.push(format!(
                "  matches '{}' -> {} '{}'",
                binding.routing_key, binding.destination_type, binding.destination
            ));
        }
        if visit.matches_total > visit.matches.len() {
            lines.push(format!("  and {} more match", visit.matches_total - visit.matches.len()));
        }
        if visit.matches_total == 0 && visit.waits_ms.is_none() {
            lines.push("  matches nothing".to_owned());
        }
        if let Some(alternate) = visit.alternate.as_ref().filter(|alternate| alternate.state == "missing") {
            lines.push(format!("  its alternate exchange '{}' does not exist", alternate.exchange));
        }
        for near in &visit.near {
            let reasons: Vec<_> = near.reasons.iter().map(|reason| reason.text.as_str()).collect();
            let binding = &near.binding;
            lines.push(format!(
                "  nearly '{}' -> {} '{}': {}",
                binding.routing_key,
                binding.destination_type,
                binding.destination,
                reasons.join("; ")
            ));
        }
    }
    lines.push(match outcome {
        "refused" => {
            "refused: the exchange is internal, and takes messages from other exchanges only".to_owned()
        }
        "unroutable" => "unroutable: no queue gets the message".to_owned(),
        _ => {
            let names: Vec<_> = queues.iter().map(|queue| format!("'{}'", queue.name)).collect();
            format!("routed to {}", names.join(", "))
        }
    });
    for queue in queues {
        lines.extend(queue.notes.iter().map(|note| format!("  '{}': {note}", queue.name)));
    }
    lines
}
