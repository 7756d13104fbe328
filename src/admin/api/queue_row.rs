//! A queue as RabbitMQ's API shows it.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::consumers;
use crate::admin::AdminState;
use crate::admin::page::Row;
use crate::broker::{HoldingPolicies, QueueCell, Vhost};
use crate::model::{Policy, json_from_table};
use crate::queue::{PauseReason, QueueStats, Readiness};

/// How much is told of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// What it was declared with.
    Declared,
    /// And how many messages it has.
    Totals,
    /// And all figures.
    Figures,
    /// And its consumers.
    Everything,
}

/// A queue in a list.
pub(super) struct QueueRow {
    state: AdminState,
    vhost: Arc<Vhost>,
    queue: Arc<QueueCell>,
    detail: Detail,
}

impl QueueRow {
    /// The queues of vhosts, by name.
    pub(super) fn all(state: &AdminState, vhosts: &[Arc<Vhost>], detail: Detail) -> Vec<QueueRow> {
        let mut rows = Vec::new();
        for vhost in vhosts {
            let mut queues = vhost.listed_queues();
            queues.sort_unstable_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
            let row = |queue| QueueRow { state: state.clone(), vhost: vhost.clone(), queue, detail };
            rows.extend(queues.into_iter().map(row));
        }
        rows
    }
}

impl Row for QueueRow {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.queue.name().as_str())
    }

    /// What lists are sorted by most, without the rest of the row.
    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "name" => return Some(Value::from(self.queue.name().as_str())),
            "vhost" => return Some(Value::from(self.vhost.name().as_str())),
            "durable" => return Some(Value::from(self.queue.options().durable)),
            "type" => return Some(Value::from(self.queue.options().queue_type.name())),
            _ => {}
        }
        if self.detail == Detail::Declared {
            return None;
        }
        let stats = figures(&self.queue);
        Some(Value::from(match name {
            "messages" => stats.ready + stats.delayed + stats.unacked,
            "messages_ready" => stats.ready,
            "messages_unacknowledged" => stats.unacked,
            "consumers" if self.detail != Detail::Totals => stats.consumers,
            "memory" if self.detail != Detail::Totals => stats.memory(),
            _ => return None,
        }))
    }

    fn render(&self) -> Value {
        render(&self.state, &self.vhost, &self.queue, self.detail)
    }
}

/// A queue's figures, of a moment.
pub(super) fn figures(queue: &QueueCell) -> QueueStats {
    queue.figures()
}

/// One queue.
pub(super) fn render(state: &AdminState, vhost: &Vhost, queue: &Arc<QueueCell>, detail: Detail) -> Value {
    let options = queue.options();
    let policies = vhost.policies_of_queue(queue);
    let name_of =
        |policy: &Option<Arc<Policy>>| policy.as_ref().map_or(Value::Null, |policy| policy.name().into());
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
    put("name", queue.name().as_str().into());
    put("vhost", vhost.name().as_str().into());
    put("type", options.queue_type.name().into());
    put("durable", options.durable.into());
    put("auto_delete", options.auto_delete.into());
    put("exclusive", options.exclusive.into());
    put("arguments", json_from_table(&options.arguments));
    put("node", state.node.name().into());
    if detail == Detail::Declared {
        return Value::Object(row);
    }
    let stats = figures(queue);
    put("messages", (stats.ready + stats.delayed + stats.unacked).into());
    put("messages_ready", stats.ready.into());
    put("messages_unacknowledged", stats.unacked.into());
    if detail == Detail::Totals {
        return Value::Object(row);
    }
    put("state", "running".into());
    put("paused", queue.is_paused().into());
    put("leader", state.node.name().into());
    put("members", json!([state.node.name()]));
    put("online", json!([state.node.name()]));
    put("policy", name_of(&policies.policy));
    put("operator_policy", name_of(&policies.operator));
    put("effective_policy_definition", effective(&policies));
    put("messages_delayed", stats.delayed.into());
    put("messages_paged_out", stats.paged.into());
    put("messages_ram", (stats.ready + stats.delayed + stats.unacked).saturating_sub(stats.paged).into());
    put("message_bytes", stats.body_bytes().into());
    put("message_bytes_ready", stats.ready_body_bytes.into());
    put("message_bytes_unacknowledged", stats.unacked_body_bytes.into());
    put("memory", stats.memory().into());
    put("consumers", stats.consumers.into());
    put("head_message_timestamp", Value::Null);
    let age = stats.head_enqueued.map(|since| state.broker.now().since(since).as_millis() as u64);
    put("head_message_age_ms", age.map_or(Value::Null, Value::from));
    put("message_stats", as_json(&state.stats.queue(queue, &stats)));
    if let Value::Object(lengths) = as_json(&state.stats.queue_lengths(queue)) {
        lengths.into_iter().for_each(|(name, rate)| put(&name, rate));
    }
    let attached = consumers::of_queue(queue);
    let capacity = consumer_capacity(&attached);
    put("consumer_capacity", capacity.into());
    put("consumer_utilisation", capacity.into());
    let exclusive = attached.iter().find(|consumer| consumer.info.exclusive);
    put(
        "exclusive_consumer_tag",
        exclusive.map_or(Value::Null, |consumer| consumer.info.tag.as_str().into()),
    );
    let active = attached
        .iter()
        .find(|consumer| consumer.info.readiness != Readiness::Paused(PauseReason::NotActive))
        .filter(|_| options.single_active_consumer);
    put(
        "single_active_consumer_tag",
        active.map_or(Value::Null, |consumer| consumer.info.tag.as_str().into()),
    );
    if let Some(owner) = queue.owner().and_then(|owner| state.connection_facts(owner)) {
        put("owner_pid_details", owner);
    }
    if detail == Detail::Everything {
        put("consumer_details", consumers::render(state, vhost, queue.name(), attached).into());
        put("incoming", json!([]));
        put("deliveries", json!([]));
    }
    Value::Object(row)
}

fn effective(policies: &HoldingPolicies) -> Value {
    policies.effective().map_or_else(|| json!({}), |effective| json_from_table(effective.table()))
}

/// The share of consumers that would take another message: 0 without any, as RabbitMQ's for a queue that is idle.
fn consumer_capacity(consumers: &[consumers::Attached]) -> f64 {
    if consumers.is_empty() {
        return 0.0;
    }
    let ready = consumers.iter().filter(|consumer| consumer.info.readiness == Readiness::Ready).count();
    ready as f64 / consumers.len() as f64
}

/// Statistics as JSON. They are numbers and names, and cannot fail.
pub(super) fn as_json(statistics: &impl serde::Serialize) -> Value {
    serde_json::to_value(statistics).unwrap_or_default()
}
