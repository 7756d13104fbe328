//! What there is, as a document that an import takes: here, or by RabbitMQ.
//!
//! Invariants: rows are sorted by name, so that two exports can be compared; what belongs to a connection, to the broker
//! itself or to its settings file is left out. A password hash of our own is of an algorithm that RabbitMQ has not:
//! it takes the user, whom no password lets in there.

use serde_json::{Map, Value, json};

use super::load::LOADED;
use super::lost::Lost;
use crate::access::{Permission, TopicPermission, User, UserSource};
use crate::broker::{Broker, Vhost};
use crate::model::{Policy, PolicyKind, VhostLimits, json_from_table};
use crate::store::ParameterRow;

/// Everything.
pub(in crate::admin) fn export(broker: &Broker, version: &str, cluster: &str) -> Value {
    let access = broker.access();
    let users = access.users();
    let is_kept =
        |name: &str| users.iter().any(|user| user.name == name && user.source == UserSource::Catalog);
    let mut vhosts = broker.vhosts();
    vhosts.sort_by(|a, b| a.name().cmp(b.name()));
    let parameters = broker.parameters();
    let mut document = origin(version, "cluster");
    document.insert("original_cluster_name".to_owned(), cluster.into());
    let left_out: Vec<_> =
        users.iter().filter(|user| user.source == UserSource::File).map(|user| user.name.as_str()).collect();
    if !left_out.is_empty() {
        let text = format!("Users of the settings file are not in here: {}", left_out.join(", "));
        document.insert("explanation".to_owned(), text.into());
    }
    let users: Vec<_> =
        users.iter().filter(|user| user.source == UserSource::Catalog).map(|user| user_row(user)).collect();
    let permissions: Vec<_> = access
        .permissions()
        .iter()
        .filter(|permission| is_kept(&permission.user))
        .map(|permission| permission_row(permission))
        .collect();
    let topics: Vec<_> = access
        .topic_permissions()
        .iter()
        .filter(|topic| is_kept(&topic.user))
        .map(|topic| topic_permission_row(topic))
        .collect();
    let global: Vec<_> = parameters
        .iter()
        .filter(|row| row.vhost.is_none() && row.name != LOADED)
        .map(global_parameter_row)
        .collect();
    let sections = [
        ("users", users),
        ("vhosts", vhosts.iter().map(|vhost| vhost_row(vhost)).collect()),
        ("permissions", permissions),
        ("topic_permissions", topics),
        ("global_parameters", global),
    ];
    document.extend(sections.map(|(name, rows)| (name.to_owned(), Value::Array(rows))));
    let mut of_vhosts: Vec<(&str, Vec<Value>)> = SECTIONS.map(|name| (name, Vec::new())).to_vec();
    let mut lost = Lost::default();
    for vhost in &vhosts {
        for ((_, rows), more) in of_vhosts.iter_mut().zip(sections_of(vhost, &parameters, true, &mut lost)) {
            rows.extend(more);
        }
    }
    lost.finish();
    document.extend(of_vhosts.into_iter().map(|(name, rows)| (name.to_owned(), Value::Array(rows))));
    Value::Object(document)
}

/// A vhost.
pub(in crate::admin) fn export_vhost(broker: &Broker, vhost: &Vhost, version: &str) -> Value {
    let mut document = origin(version, "single_virtual_host");
    document.insert("original_vhost_name".to_owned(), vhost.name().as_str().into());
    let Value::Object(about) = vhost_row(vhost) else { unreachable!("a row is an object") };
    document.extend(about.into_iter().filter(|(key, _)| key != "name"));
    document.insert("limits".to_owned(), limits(&vhost.limits()));
    let mut lost = Lost::default();
    let sections = SECTIONS.into_iter().zip(sections_of(vhost, &broker.parameters(), false, &mut lost));
    lost.finish();
    document.extend(sections.map(|(name, rows)| (name.to_owned(), Value::Array(rows))));
    Value::Object(document)
}

fn origin(version: &str, format: &str) -> Map<String, Value> {
    let origin = json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "Rialto",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_definition_format": format,
    });
    match origin {
        Value::Object(origin) => origin,
        _ => unreachable!("it was made as an object"),
    }
}

/// The sections of which each vhost has rows.
const SECTIONS: [&str; 5] = ["parameters", "policies", "queues", "exchanges", "bindings"];

/// In the order of [`SECTIONS`].
fn sections_of(
    vhost: &Vhost,
    parameters: &[ParameterRow],
    with_vhost: bool,
    lost: &mut Lost,
) -> [Vec<Value>; 5] {
    let name = vhost.name();
    let mut of_parameters: Vec<_> = parameters
        .iter()
        .filter(|row| row.vhost.as_ref() == Some(name))
        .map(|row| parameter_row(row, value_of(row)))
        .collect();
    of_parameters
        .extend(vhost.policies(PolicyKind::Operator).iter().map(|policy| operator_parameter(vhost, policy)));
    if vhost.limits() != VhostLimits::default() {
        of_parameters.push(limits_parameter(vhost));
    }
    let policies = vhost.policies(PolicyKind::User).iter().map(|policy| policy_row(vhost, policy)).collect();
    let (queues, exchanges, bindings) = vhost.exported();
    let queues = queues.iter().map(|queue| {
        let options = queue.options();
        let thing = format_args!("queue {:?} in vhost {:?}", queue.name().as_str(), name.as_str());
        json!({
            "name": queue.name().as_str(),
            "vhost": name.as_str(),
            "type": options.queue_type.name(),
            "durable": options.durable,
            "auto_delete": options.auto_delete,
            "arguments": lost.arguments(thing, &options.arguments),
        })
    });
    let queues = queues.collect();
    let exchanges = exchanges.iter().map(|(exchange, options)| {
        let thing = format_args!("exchange {:?} in vhost {:?}", exchange.as_str(), name.as_str());
        json!({
            "name": exchange.as_str(),
            "vhost": name.as_str(),
            "type": options.kind.name(),
            "durable": options.durable,
            "auto_delete": options.auto_delete,
            "internal": options.internal,
            "arguments": lost.arguments(thing, &options.arguments),
        })
    });
    let exchanges = exchanges.collect();
    let bindings = bindings.iter().map(|binding| {
        let (source, destination) = (binding.source.as_str(), binding.destination.name().as_str());
        let thing = format_args!("the binding of {destination:?} to {source:?} in vhost {:?}", name.as_str());
        json!({
            "source": binding.source.as_str(),
            "vhost": name.as_str(),
            "destination": binding.destination.name().as_str(),
            "destination_type": binding.destination.kind(),
            "routing_key": binding.routing_key.as_str(),
            "arguments": lost.arguments(thing, &binding.arguments),
        })
    });
    let mut sections = [of_parameters, policies, queues, exchanges, bindings.collect()];
    if !with_vhost {
        for row in sections.iter_mut().flatten() {
            row.as_object_mut().expect("rows are objects").remove("vhost");
        }
    }
    sections
}

/// A vhost as definitions have it.
pub(in crate::admin) fn vhost_row(vhost: &Vhost) -> Value {
    let options = vhost.options();
    let queue_type = options.default_queue_type.map(|queue_type| queue_type.name());
    let mut metadata = json!({ "description": options.description, "tags": options.tags });
    if let Some(queue_type) = queue_type {
        metadata["default_queue_type"] = queue_type.into();
    }
    if options.protected_from_deletion {
        metadata["protected_from_deletion"] = true.into();
    }
    let mut row = json!({
        "name": vhost.name().as_str(),
        "description": options.description,
        "tags": options.tags,
        "metadata": metadata,
    });
    if let Some(queue_type) = queue_type {
        row["default_queue_type"] = queue_type.into();
    }
    row
}

/// Limits, those that there are.
pub(in crate::admin) fn limits(limits: &VhostLimits) -> Value {
    let set = [("max-connections", limits.max_connections), ("max-queues", limits.max_queues)];
    set.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?)))).collect()
}

/// A user as definitions have it, with the hash of its password.
pub(in crate::admin) fn user_row(user: &User) -> Value {
    let (password_hash, hashing_algorithm) = user.credentials.to_definition();
    json!({
        "name": user.name,
        "password_hash": password_hash,
        "hashing_algorithm": hashing_algorithm,
        "tags": user.tags.names(),
        "limits": user_limits(user),
    })
}

/// A user's limits, those that there are.
pub(in crate::admin) fn user_limits(user: &User) -> Value {
    let set = [("max-connections", user.limits.max_connections), ("max-channels", user.limits.max_channels)];
    set.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?)))).collect()
}

/// A permission as definitions have it.
pub(in crate::admin) fn permission_row(permission: &Permission) -> Value {
    json!({
        "user": permission.user,
        "vhost": permission.vhost.as_str(),
        "configure": permission.configure.as_str(),
        "write": permission.write.as_str(),
        "read": permission.read.as_str(),
    })
}

/// A topic permission as definitions have it.
pub(in crate::admin) fn topic_permission_row(topic: &TopicPermission) -> Value {
    json!({
        "user": topic.user,
        "vhost": topic.vhost.as_str(),
        "exchange": topic.exchange.as_str(),
        "write": topic.write,
        "read": topic.read,
    })
}

/// A policy as definitions have it.
pub(in crate::admin) fn policy_row(vhost: &Vhost, policy: &Policy) -> Value {
    let mut row = policy_fields(policy);
    row["vhost"] = vhost.name().as_str().into();
    row["name"] = policy.name().into();
    row
}

fn policy_fields(policy: &Policy) -> Value {
    json!({
        "pattern": policy.pattern(),
        "apply-to": policy.target().name(),
        "definition": json_from_table(policy.definition()),
        "priority": policy.priority(),
    })
}

/// An operator's policy as RabbitMQ keeps it: a parameter.
pub(in crate::admin) fn operator_parameter(vhost: &Vhost, policy: &Policy) -> Value {
    json!({
        "vhost": vhost.name().as_str(),
        "component": "operator_policy",
        "name": policy.name(),
        "value": policy_fields(policy),
    })
}

/// The limits of a vhost as RabbitMQ keeps them: a parameter.
pub(in crate::admin) fn limits_parameter(vhost: &Vhost) -> Value {
    json!({
        "vhost": vhost.name().as_str(),
        "component": "vhost-limits",
        "name": "limits",
        "value": limits(&vhost.limits()),
    })
}

/// A parameter of a vhost.
pub(in crate::admin) fn parameter_row(row: &ParameterRow, value: Value) -> Value {
    json!({
        "vhost": row.vhost.as_deref().unwrap_or_default(),
        "component": row.component,
        "name": row.name,
        "value": value,
    })
}

/// A parameter of none.
pub(in crate::admin) fn global_parameter_row(row: &ParameterRow) -> Value {
    json!({ "name": row.name, "value": value_of(row) })
}

/// What a parameter says.
pub(in crate::admin) fn value_of(row: &ParameterRow) -> Value {
    // Only what was JSON is kept.
    serde_json::from_str(&row.value).unwrap_or_default()
}
