//! Publishing a message, and getting some of a queue: for trying things out, as RabbitMQ says of its own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rialto_protocol::types::{Properties, RawProperties, ShortStr};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::names::{self, exchange_in_path};
use super::{existing, outcome};
use crate::access::{Operation, Protocol};
use crate::admin::audit::audit;
use crate::admin::caller::Caller;
use crate::admin::error::ErrorBody;
use crate::admin::input::{Fields, Object, Path};
use crate::admin::{AdminState, ApiError};
use crate::broker::{
    ChannelMessages, Commit, Outbox, PublishBatch, Repeats, Settled, Turn, UNDECIDED, Vhost,
};
use crate::model::{Message, MessageRoute, json_from_table};
use crate::queue::{Delivery, Settle};
use crate::routing::Routed;

pub(super) fn routes() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(publish)).routes(routes!(get))
}

/// What became of a message.
#[derive(Serialize, ToSchema)]
struct Published {
    /// Whether any queue got it.
    routed: bool,
    /// Why a queue refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// Publishes a message
///
/// It is answered when the message is safe: a persistent one in a durable queue is on disk then.
#[utoipa::path(
    post, path = "/api/exchanges/{vhost}/{exchange}/publish", tag = "messages",
    params(("vhost" = String, Path), ("exchange" = String, Path, description = "`amq.default` is the default exchange")),
    request_body(content = Object, example = json!({
        "properties": {"delivery_mode": 2, "headers": {}}, "routing_key": "tasks",
        "payload": "hello", "payload_encoding": "string"
    })),
    responses(
        (status = OK, body = Published), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn publish(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, exchange)): Path<(String, String)>,
    Object(body): Object,
) -> Result<Json<Published>, ApiError> {
    let found = caller.vhost(&state, &vhost);
    let published =
        found.and_then(|vhost| publish_as(&caller, &state, &vhost, exchange_in_path(&exchange), &body));
    audit(&caller, "message.publish", &outcome::object(&vhost, &exchange), &published);
    let (published, commit) = published?;
    state.wait_for(commit).await?;
    Ok(Json(published))
}

fn publish_as(
    caller: &Caller,
    state: &AdminState,
    vhost: &Vhost,
    exchange: &str,
    body: &Map<String, Value>,
) -> Result<(Published, Commit), ApiError> {
    let routing_key = names::routing_key(body.needed_text("routing_key")?)?;
    let payload = payload(state, body)?;
    let given = body.object("properties")?;
    let properties = properties(caller, given.unwrap_or(&Map::new()))?.encoded();
    let raw = RawProperties::check(&properties)
        .map_err(|error| ApiError::bad_request(format!("the properties cannot be sent: {error}")))?;
    let exchange = names::exchange(exchange)?;
    let pass = caller.pass(vhost)?;
    vhost.may_publish(&pass, &exchange, &routing_key)?;
    vhost.may_publish_copies(&pass, &exchange, &raw)?;
    // A client that stays would be held back; whoever asks once is told.
    if let Some(alarm) = state.broker.alarms().first() {
        let reason = format!("the broker takes no messages for now: {alarm}");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "resource_alarm", reason));
    }
    let mut turn = Turn::new();
    turn.begin(state.broker.now());
    let mut routed = Routed::default();
    let resolved = vhost.resolve(&exchange, &routing_key, raw, state.connection, &mut routed)?;
    let (outbox, mut rejected) = (std::sync::Arc::new(Outbox::new()), Vec::new());
    let mut batch = PublishBatch::of(Protocol::Http);
    resolved.counts.iter().for_each(|counts| batch.from_exchange(counts));
    match resolved.repeats {
        Repeats::Nothing => {}
        Repeats::Kept => {
            // What it repeats must be safe before anybody relies on it.
            batch.leave_out_duplicate();
            let commit = state.broker.publish(&mut batch, &outbox, &mut rejected, &mut turn);
            return Ok((Published { routed: true, refused: None }, commit));
        }
        // All who publish over HTTP are one connection.
        Repeats::Own | Repeats::Others => {
            return Ok((Published { routed: false, refused: Some(UNDECIDED.to_owned()) }, Commit::NONE));
        }
    }
    if resolved.targets.queues.is_empty() {
        batch.count_unroutable(false);
        state.broker.publish(&mut batch, &outbox, &mut rejected, &mut turn);
        return Ok((Published { routed: false, refused: None }, Commit::NONE));
    }
    let route = MessageRoute { exchange, routing_key };
    let stored = resolved.stored.as_deref().unwrap_or(&properties);
    batch
        .push_content(&route, &resolved.targets, stored, &payload)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let commit = state.broker.publish(&mut batch, &outbox, &mut rejected, &mut turn);
    turn.finish(&state.broker);
    let commit = commit.join(turn.take_commit());
    let refused = rejected.first().map(|(_, reason)| format!("a queue refused it: {reason:?}"));
    Ok((Published { routed: refused.is_none(), refused }, commit))
}

fn payload(state: &AdminState, body: &Map<String, Value>) -> Result<Vec<u8>, ApiError> {
    let text = body.needed_text("payload")?;
    let payload = match body.needed_text("payload_encoding")? {
        "string" => text.as_bytes().to_vec(),
        "base64" => STANDARD
            .decode(text)
            .map_err(|error| ApiError::bad_request(format!("the payload is not base64: {error}")))?,
        other => {
            let reason = format!("payload_encoding is {other:?}, and must be \"string\" or \"base64\"");
            return Err(ApiError::bad_request(reason));
        }
    };
    let max = state.settings.protocol.message_size_max;
    if payload.len() as u64 > max.bytes() {
        let reason = format!("the payload is longer than protocol.message_size_max allows ({max})");
        return Err(ApiError::bad_request(reason));
    }
    Ok(payload)
}

/// Properties by RabbitMQ's names. One that is not known is refused: it would be lost.
fn properties(caller: &Caller, given: &Map<String, Value>) -> Result<Properties, ApiError> {
    let mut properties = Properties::default();
    for name in given.keys() {
        let short = || -> Result<Option<ShortStr>, ApiError> {
            let Some(text) = given.text(name)? else { return Ok(None) };
            let too_long =
                |_| ApiError::bad_request(format!("the property {name:?} has more than 255 bytes"));
            ShortStr::new(text).map(Some).map_err(too_long)
        };
        let octet = || -> Result<Option<u8>, ApiError> {
            let Some(number) = given.number(name)? else { return Ok(None) };
            let out = |_| ApiError::bad_request(format!("the property {name:?} must be from 0 to 255"));
            u8::try_from(number).map(Some).map_err(out)
        };
        match name.as_str() {
            "content_type" => properties.content_type = short()?,
            "content_encoding" => properties.content_encoding = short()?,
            "headers" => {
                properties.headers = given.table(name)?.filter(|headers| !headers.is_empty());
            }
            "delivery_mode" => properties.delivery_mode = octet()?,
            "priority" => properties.priority = octet()?,
            "correlation_id" => properties.correlation_id = short()?,
            "reply_to" => properties.reply_to = short()?,
            "expiration" => properties.expiration = short()?,
            "message_id" => properties.message_id = short()?,
            "timestamp" => {
                let seconds = given.number(name)?.map(u64::try_from).transpose();
                let before = |_| ApiError::bad_request("the property \"timestamp\" is before 1970");
                properties.timestamp = seconds.map_err(before)?;
            }
            "type" => properties.kind = short()?,
            "user_id" => properties.user_id = short()?,
            "app_id" => properties.app_id = short()?,
            "cluster_id" => properties.cluster_id = short()?,
            other => return Err(ApiError::bad_request(format!("there is no property {other:?}"))),
        }
    }
    if let Some(user) = &properties.user_id
        && user.as_str() != caller.user()
        && !caller.tags().impersonator
    {
        let reason =
            format!("user_id property set to '{user}' but authenticated user was '{}'", caller.user());
        return Err(ApiError::bad_request(reason));
    }
    Ok(properties)
}

/// What becomes of messages that were got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AckMode {
    Ack,
    Requeue,
    Reject,
}

/// Takes messages from a queue
///
/// `ackmode`: `ack_requeue_true` and `reject_requeue_true` put them back, marked as redelivered; `ack_requeue_false` keeps
/// them out; `reject_requeue_false` makes dead letters of them. To look without changing anything, peek. Fewer than asked
/// for are answered when they would be longer than `management.body_max` together.
#[utoipa::path(
    post, path = "/api/queues/{vhost}/{queue}/get", tag = "messages",
    params(("vhost" = String, Path), ("queue" = String, Path)),
    request_body(content = Object, example = json!({
        "count": 5, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 50000
    })),
    responses(
        (status = OK, body = Vec<Object>), (status = BAD_REQUEST, body = ErrorBody),
        (status = UNAUTHORIZED, body = ErrorBody), (status = NOT_FOUND, body = ErrorBody)
    )
)]
async fn get(
    caller: Caller,
    State(state): State<AdminState>,
    Path((vhost, queue)): Path<(String, String)>,
    Object(body): Object,
) -> Result<Json<Vec<Value>>, ApiError> {
    let object = outcome::object(&vhost, &queue);
    let who = caller.clone();
    // What is on disk only has to be read.
    let get = move |state: &AdminState| get_as(&who, state, &*who.vhost(state, &vhost)?, &queue, &body);
    let got = state.blocking(get).await;
    audit(&caller, "message.get", &object, &got);
    let (messages, commit) = got?;
    state.wait_for(commit).await?;
    Ok(Json(messages))
}

fn get_as(
    caller: &Caller,
    state: &AdminState,
    vhost: &Vhost,
    queue: &str,
    body: &Map<String, Value>,
) -> Result<(Vec<Value>, Commit), ApiError> {
    let missing = |name: &str| ApiError::bad_request(format!("the field {name:?} is missing"));
    let count = body.number("count")?.ok_or_else(|| missing("count"))?;
    let count = usize::try_from(count).map_err(|_| ApiError::bad_request("count is below 0"))?;
    let mode = match (body.text("ackmode")?, body.flag("requeue")?) {
        (Some("ack_requeue_true" | "reject_requeue_true"), _) | (None, Some(true)) => AckMode::Requeue,
        (Some("ack_requeue_false"), _) | (None, Some(false)) => AckMode::Ack,
        (Some("reject_requeue_false"), _) => AckMode::Reject,
        (None, None) => return Err(missing("ackmode")),
        (Some(other), _) => {
            let reason = format!(
                "ackmode is {other:?}, and must be ack_requeue_true, ack_requeue_false, reject_requeue_true or \
                 reject_requeue_false"
            );
            return Err(ApiError::bad_request(reason));
        }
    };
    let encoding = match body.text("encoding")?.ok_or_else(|| missing("encoding"))? {
        "auto" => Encoding::Auto,
        "base64" => Encoding::Base64,
        other => {
            let reason = format!("encoding is {other:?}, and must be \"auto\" or \"base64\"");
            return Err(ApiError::bad_request(reason));
        }
    };
    let truncate = body.number("truncate")?.and_then(|bytes| usize::try_from(bytes).ok());
    existing(vhost.listed_queue(queue))?;
    caller.check(vhost, &Operation::Get { queue })?;
    let queue = vhost.queue(queue, state.connection)?;
    let getter = state.broker.next_consumer_id();
    let room = state.settings.management.body_max.as_usize();
    let (mut messages, mut bytes, mut last) = (Vec::new(), 0, 0);
    let (mut turn, passed) = (Turn::new(), ChannelMessages::default());
    while messages.len() < count && bytes < room {
        turn.begin(state.broker.now());
        let got = queue.get(getter, mode == AckMode::Ack, &mut turn);
        turn.finish(&state.broker);
        let Some(got) = got else { break };
        passed.got(mode == AckMode::Ack, got.as_ref().map(|got| got.delivery.redelivered));
        let Some(got) = got else { break };
        last = last.max(got.delivery.tag);
        bytes += got.delivery.message.len();
        messages.push(render(&got.delivery, got.remaining, encoding, truncate));
    }
    turn.begin(state.broker.now());
    if last > 0 {
        let settlement = match mode {
            AckMode::Reject => Settle::Reject { reason: None },
            AckMode::Requeue | AckMode::Ack => Settle::Release,
        };
        // Another may have deleted the queue meanwhile: then there is nothing to settle.
        let _ = queue.settle(getter, &[Settled { first: 1, last, settlement }], &mut turn);
    }
    queue.consumers_gone(&[getter], &mut turn);
    turn.finish(&state.broker);
    state.broker.counters().channels.count(Protocol::Http, &passed);
    Ok((messages, turn.take_commit()))
}

/// How a body is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text if it is text.
    Auto,
    /// Always in base64.
    Base64,
}

fn render(delivery: &Delivery, remaining: u64, encoding: Encoding, truncate: Option<usize>) -> Value {
    let message = &delivery.message;
    let (payload, payload_encoding) = payload_of(message, encoding, truncate);
    json!({
        "payload_bytes": message.body_len(),
        "redelivered": delivery.redelivered,
        "exchange": message.exchange().as_str(),
        "routing_key": message.routing_key().as_str(),
        "message_count": remaining,
        "properties": properties_of(message),
        "payload": payload,
        "payload_encoding": payload_encoding,
    })
}

/// A message's body, cut off where it is too long, and how it is told.
pub(super) fn payload_of(
    message: &Message,
    encoding: Encoding,
    truncate: Option<usize>,
) -> (String, &'static str) {
    let body = message.body();
    let cut = &body[..truncate.unwrap_or(body.len()).min(body.len())];
    if encoding == Encoding::Auto {
        match std::str::from_utf8(cut) {
            Ok(text) => return (text.to_owned(), "string"),
            // Cut within a character.
            Err(error) if error.error_len().is_none() && cut.len() < body.len() => {
                return (String::from_utf8_lossy(&cut[..error.valid_up_to()]).into_owned(), "string");
            }
            Err(_) => {}
        }
    }
    (STANDARD.encode(cut), "base64")
}

/// A message's properties by RabbitMQ's names.
pub(super) fn properties_of(message: &Message) -> Value {
    let properties = message.properties().decode();
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<ShortStr>| text.as_ref().map(|text| Value::from(text.as_str()));
    put("content_type", text(&properties.content_type));
    put("content_encoding", text(&properties.content_encoding));
    put("headers", properties.headers.as_ref().map(json_from_table));
    put("delivery_mode", properties.delivery_mode.map(Value::from));
    put("priority", properties.priority.map(Value::from));
    put("correlation_id", text(&properties.correlation_id));
    put("reply_to", text(&properties.reply_to));
    put("expiration", text(&properties.expiration));
    put("message_id", text(&properties.message_id));
    put("timestamp", properties.timestamp.map(Value::from));
    put("type", text(&properties.kind));
    put("user_id", text(&properties.user_id));
    put("app_id", text(&properties.app_id));
    put("cluster_id", text(&properties.cluster_id));
    Value::Object(out)
}
