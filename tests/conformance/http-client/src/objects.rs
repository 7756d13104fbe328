//! Queues, exchanges, bindings, policies, parameters, and definitions of them all.

use std::collections::BTreeSet;

use rabbitmq_http_client::commons::{
    BindingDestinationType, ExchangeType, PaginationParams, PolicyTarget, QueueType,
};
use rabbitmq_http_client::requests::{
    BindingDeletionParams, ExchangeParams, GlobalRuntimeParameterDefinition, PolicyDefinitionBuilder,
    PolicyParams, QueueParams, RuntimeParameterDefinition, XArgumentsBuilder,
};
use rabbitmq_http_client::responses::VirtualHostDefinitionSet;
use serde_json::{Value, json};

use crate::suite::Suite;
use crate::{Done, Place, table};

pub fn run(suite: &mut Suite) {
    suite.scenario("queues", queues);
    suite.scenario("exchanges", exchanges);
    suite.scenario("bindings", bindings);
    suite.scenario("policies", policies);
    suite.scenario("parameters", parameters);
    suite.scenario("definitions", definitions);
}

fn queues(suite: &mut Suite) -> Done {
    let place = Place::new("queues")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    let arguments = XArgumentsBuilder::new()
        .message_ttl(60_000)
        .queue_ttl(3_600_000)
        .max_length(100)
        .max_length_bytes(1 << 20)
        .dead_letter_exchange("amq.fanout")
        .dead_letter_routing_key("dead")
        .overflow_reject_publish()
        .max_priority(5)
        .single_active_consumer(true)
        .build();
    let classic = QueueParams::new_durable_classic_queue("classic", arguments.clone());
    suite.read("a classic queue", api.declare_queue(vhost, &classic));
    suite.read("the same again", api.declare_queue(vhost, &classic));
    suite.refused("other arguments", api.declare_classic_queue(vhost, "classic"), 400);
    suite.read("a quorum queue", api.declare_quorum_queue(vhost, "quorum"));
    let limited =
        QueueParams::new_quorum_queue("limited", XArgumentsBuilder::new().delivery_limit(3).build());
    suite.read("with a delivery limit", api.declare_queue(vhost, &limited));
    let transient = QueueParams::new("transient", QueueType::Classic, false, false, None);
    suite.read("a transient queue", api.declare_queue(vhost, &transient));
    let strange = "a/queue %2f \"with\" ünusual name";
    suite.read("a strange name", api.declare_classic_queue(vhost, strange));

    if let Some(queue) = suite.read("get", api.get_queue_info(vhost, "classic")) {
        suite.check("type", queue.queue_type.as_str(), "classic");
        suite.check("durable", queue.durable, true);
        suite.check("state", queue.state.as_str(), "running");
        let mut wanted = arguments.unwrap_or_default();
        wanted.insert("x-queue-type".to_owned(), json!("classic"));
        suite.check("arguments", queue.arguments.0, wanted);
    }
    let named = suite.read("get by a strange name", api.get_queue_info(vhost, strange));
    suite.check("the name", named.map(|queue| queue.name).as_deref(), Some(strange));
    suite.read("all", api.list_queues());
    suite.read("all in detail", api.list_queues_with_details());
    let names = |queues: Vec<rabbitmq_http_client::responses::QueueInfo>| -> BTreeSet<String> {
        queues.into_iter().map(|queue| queue.name).collect()
    };
    let all = ["classic", "quorum", "limited", "transient", strange].map(str::to_owned).into();
    let listed = suite.read("of the vhost", api.list_queues_in(vhost)).map(names);
    suite.check("names", listed.as_ref(), Some(&all));
    let quorum = suite.read("quorum queues", api.list_quorum_queues_in(vhost)).map(names);
    suite.check("those of type quorum", quorum, Some(["quorum", "limited"].map(str::to_owned).into()));
    suite.read("all quorum queues", api.list_quorum_queues());
    suite.read("all classic queues", api.list_classic_queues());
    suite.count("those of type classic", api.list_classic_queues_in(vhost), 3);
    suite.count("no streams", api.list_streams_in(vhost), 0);
    suite.read("all streams", api.list_streams());
    let mut paged = BTreeSet::new();
    for page in 1..=3 {
        let rows = api.list_queues_in_paged(vhost, &PaginationParams::new(page, 2));
        paged.extend(suite.read("a page", rows).map(names).unwrap_or_default());
    }
    suite.check("three pages", paged, all);
    suite.read("a page of all", api.list_queues_paged(&PaginationParams::first_page_default()));
    suite.refused("a page too far", api.list_queues_in_paged(vhost, &PaginationParams::new(9, 2)), 400);

    suite.read("purge", api.purge_queue(vhost, "classic"));
    suite.read("delete", api.delete_queue(vhost, "classic", false));
    suite.refused("delete again", api.delete_queue(vhost, "classic", false), 404);
    suite.read("delete many", api.delete_queues(vhost, &["classic", "quorum", "limited"], true));
    suite.refused("get", api.get_queue_info(vhost, "quorum"), 404);
    suite.read("rebalance", api.rebalance_queue_leaders());
    Ok(())
}

fn exchanges(suite: &mut Suite) -> Done {
    let place = Place::new("exchanges")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    let kinds = [
        ("direct", ExchangeType::Direct),
        ("fanout", ExchangeType::Fanout),
        ("topic", ExchangeType::Topic),
        ("headers", ExchangeType::Headers),
        ("x-consistent-hash", ExchangeType::ConsistentHashing),
    ];
    for (name, kind) in kinds {
        let alternate = Some(table([("alternate-exchange", json!("amq.fanout"))]));
        suite.read(name, api.declare_exchange(vhost, &ExchangeParams::durable(name, kind, alternate)));
        if let Some(exchange) = suite.read(name, api.get_exchange_info(vhost, name)) {
            suite.check("type", exchange.exchange_type.as_str(), name);
            suite.check("durable", exchange.durable, true);
            let alternate = exchange.arguments.get("alternate-exchange").cloned();
            suite.check("arguments", alternate, Some(json!("amq.fanout")));
        }
    }
    let unknown = ExchangeParams::plugin("x", "x-unknown".to_owned(), true, false, None);
    suite.refused("an unknown type", api.declare_exchange(vhost, &unknown), 400);
    suite.read("all", api.list_exchanges());
    suite.count("these and RabbitMQ's seven", api.list_exchanges_in(vhost), 5 + 7);
    suite.read("a page of all", api.list_exchanges_paged(&PaginationParams::first_page(3)));
    suite.count("a page of three", api.list_exchanges_in_paged(vhost, &PaginationParams::first_page(3)), 3);
    suite.read("delete", api.delete_exchange(vhost, "direct", false));
    suite.refused("delete again", api.delete_exchange(vhost, "direct", false), 404);
    suite.read("delete many", api.delete_exchanges(vhost, &["direct", "fanout", "topic"], true));
    Ok(())
}

fn bindings(suite: &mut Suite) -> Done {
    let place = Place::new("bindings")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    api.declare_classic_queue(vhost, "q")?;
    api.declare_exchange(vhost, &ExchangeParams::durable_headers("h", None))?;
    api.declare_exchange(vhost, &ExchangeParams::durable_fanout("f", None))?;
    let wanted = table([("x-match", json!("all")), ("size", json!(3))]);
    suite.read("bind a queue", api.bind_queue(vhost, "q", "amq.topic", Some("a.# /%"), None));
    suite.read("with arguments", api.bind_queue(vhost, "q", "h", Some("key"), Some(wanted.clone())));
    suite.read("without a key", api.bind_queue(vhost, "q", "f", None, None));
    suite.read("bind an exchange", api.bind_exchange(vhost, "f", "amq.direct", Some("k"), None));

    suite.read("all", api.list_bindings());
    suite.count("these and the default exchange's", api.list_bindings_in(vhost), 4 + 1);
    let of_queue = suite.read("of the queue", api.list_queue_bindings(vhost, "q")).unwrap_or_default();
    suite.check("three and the default exchange's", of_queue.len(), 3 + 1);
    let with_arguments = of_queue.iter().find(|binding| binding.source == "h").cloned();
    suite.check("arguments", with_arguments.as_ref().map(|binding| &binding.arguments.0), Some(&wanted));
    let from = suite.read("by source", api.list_exchange_bindings_with_source(vhost, "amq.direct"));
    let from = from.unwrap_or_default();
    suite.check("one", from.len(), 1);
    let is_exchange = from.first().map(|binding| binding.destination_type.clone());
    suite.check("to an exchange", is_exchange, Some(BindingDestinationType::Exchange));
    let to = suite.read("by destination", api.list_exchange_bindings_with_destination(vhost, "f"));
    suite.check("the same one", to, Some(from.clone()));

    for binding in of_queue.iter().filter(|binding| !binding.source.is_empty()).chain(&from) {
        let params = BindingDeletionParams::from_binding_info(binding);
        suite.read("delete", api.delete_binding(&params, false));
        suite.refused("delete again", api.delete_binding(&params, false), 404);
        suite.read("make it anew", api.recreate_binding(binding));
    }
    suite.count("as before", api.list_queue_bindings(vhost, "q"), of_queue.len());
    suite.refused("to nothing", api.bind_queue(vhost, "nothing", "f", None, None), 404);
    Ok(())
}

fn policies(suite: &mut Suite) -> Done {
    let place = Place::new("policies")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    let limits = PolicyDefinitionBuilder::new()
        .message_ttl(60_000)
        .expires(3_600_000)
        .max_length(10)
        .max_length_bytes(1 << 20)
        .overflow_reject_publish()
        .dead_letter_exchange("amq.fanout")
        .dead_letter_routing_key("dead");
    let policy = PolicyParams::new(vhost, "limits", "^limited", limits.build())
        .apply_to(PolicyTarget::Queues)
        .priority(7);
    suite.read("declare", api.declare_policy(&policy));
    let alternate = PolicyDefinitionBuilder::new().custom("alternate-exchange", json!("amq.fanout")).build();
    let more = PolicyParams::new(vhost, "alternate", "", alternate).apply_to(PolicyTarget::Exchanges);
    suite.read("declare many", api.declare_policies(vec![&more, &policy]));
    let shorter = PolicyDefinitionBuilder::new().max_length(5).build();
    let operators = PolicyParams::new(vhost, "operators", "^limited", shorter).apply_to(PolicyTarget::Queues);
    suite.read("declare an operator's", api.declare_operator_policy(&operators));

    api.declare_classic_queue(vhost, "limited")?;
    if let Some(queue) = suite.read("a queue", api.get_queue_info(vhost, "limited")) {
        suite.check("its policy", queue.policy.as_deref(), Some("limits"));
        suite.check("its operator policy", queue.operator_policy.as_deref(), Some("operators"));
        let effective = queue.effective_policy_definition.and_then(|definition| definition.0);
        let effective = effective.unwrap_or_default();
        suite.check("the smaller limit", effective.get("max-length").cloned(), Some(json!(5)));
        suite.check("the rest", effective.get("message-ttl").cloned(), Some(json!(60_000)));
    }
    if let Some(found) = suite.read("get", api.get_policy(vhost, "limits")) {
        suite.check("pattern", found.pattern.as_str(), "^limited");
        suite.check("apply-to", found.apply_to, PolicyTarget::Queues);
        suite.check("priority", found.priority, 7);
        suite.check("keys", found.definition.0.map(|definition| definition.len()), Some(7));
    }
    suite.read("get an operator's", api.get_operator_policy(vhost, "operators"));
    suite.read("all", api.list_policies());
    suite.read("all operators'", api.list_operator_policies());
    suite.count("of the vhost", api.list_policies_in(vhost), 2);
    suite.count("operators' of the vhost", api.list_operator_policies_in(vhost), 1);
    suite.count("those that match", api.list_matching_policies(vhost, "limited", PolicyTarget::Queues), 1);

    let wrong = PolicyDefinitionBuilder::new().custom("max-length", json!("many")).build();
    let wrong = PolicyParams::new(vhost, "wrong", "", wrong);
    suite.refused("a wrong definition", api.declare_policy(&wrong), 400);
    suite.read("delete", api.delete_policy(vhost, "limits", false));
    suite.refused("delete again", api.delete_policy(vhost, "limits", false), 404);
    suite.read("delete many", api.delete_policies_in(vhost, vec!["limits", "alternate"]));
    suite.read("delete an operator's", api.delete_operator_policy(vhost, "operators", false));
    Ok(())
}

fn parameters(suite: &mut Suite) -> Done {
    let place = Place::new("parameters")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    // Upstreams are kept for the RabbitMQ that definitions go to.
    let component = "federation-upstream";
    let (name, value) =
        ("elsewhere", table([("uri", json!("amqp://elsewhere")), ("prefetch-count", json!(9))]));
    let upstream = RuntimeParameterDefinition { name, vhost, component, value: value.clone() };
    suite.read("set", api.upsert_runtime_parameter(&upstream));
    let found = suite.read("get", api.get_runtime_parameter(component, vhost, name));
    suite.check("value", found.map(|found| found.value.0), Some(value));
    suite.read("all", api.list_runtime_parameters());
    suite.read("of a component", api.list_runtime_parameters_of_component(component));
    suite.count("in a vhost", api.list_runtime_parameters_of_component_in(component, vhost), 1);
    let upstream = suite.read("as an upstream", api.get_federation_upstream(vhost, name));
    suite.check("its address", upstream.map(|found| found.uri).as_deref(), Some("amqp://elsewhere"));
    suite.count("upstreams", api.list_federation_upstreams(), 1);
    suite.read("clear", api.clear_runtime_parameter(component, vhost, name, false));
    suite.refused("clear again", api.clear_runtime_parameter(component, vhost, name, false), 404);

    let name = format!("conformance-{}", std::process::id());
    let value = table([("a", json!("b"))]);
    let global = GlobalRuntimeParameterDefinition { name: &name, value: value.clone() };
    suite.read("set a global one", api.upsert_global_runtime_parameter(&global));
    let found = suite.read("get it", api.get_global_runtime_parameter(&name));
    suite.check("its value", found.map(|found| found.value.0), Some(Value::Object(value)));
    suite.read("all global ones", api.list_global_runtime_parameters());
    suite.read("clear it", api.clear_global_runtime_parameter(&name));
    suite.refused("it is gone", api.get_global_runtime_parameter(&name), 404);

    suite.count("shovels", api.list_shovels(), 0);
    suite.count("shovels of the vhost", api.list_shovels_in(vhost), 0);
    suite.count("links", api.list_federation_links(), 0);
    Ok(())
}

fn definitions(suite: &mut Suite) -> Done {
    let (from, to) = (Place::new("from")?, Place::new("to")?);
    let (api, vhost) = (&from.api, from.vhost.as_str());
    api.declare_quorum_queue(vhost, "q")?;
    api.declare_exchange(vhost, &ExchangeParams::durable_topic("t", None))?;
    api.bind_queue(vhost, "q", "t", Some("#"), Some(table([("a", json!(1))])))?;
    let definition = PolicyDefinitionBuilder::new().max_length(10).build();
    api.declare_policy(&PolicyParams::new(vhost, "p", "^q", definition))?;

    let part = suite.read("of a vhost as data", api.export_vhost_definitions_as_data(vhost));
    let text = api.export_vhost_definitions(vhost)?;
    suite.read("into another vhost", api.import_vhost_definitions(&to.vhost, serde_json::from_str(&text)?));
    let copy = suite.read("of that vhost", api.export_vhost_definitions_as_data(&to.vhost));
    let names = |all: &VirtualHostDefinitionSet| -> Vec<String> {
        let (queues, exchanges) = (all.queues.iter(), all.exchanges.iter());
        let (queues, exchanges) = (queues.map(|queue| &queue.name), exchanges.map(|exchange| &exchange.name));
        queues.chain(exchanges).chain(all.policies.iter().map(|policy| &policy.name)).cloned().collect()
    };
    suite.check("what there is", part.as_ref().map(names), Some(["q", "t", "p"].map(str::to_owned).to_vec()));
    suite.check("the same there", copy.as_ref().map(names), part.as_ref().map(names));
    suite.check("its bindings", copy.map(|all| all.bindings.len()), Some(1));

    let Some(whole) = suite.read("all as data", api.export_cluster_wide_definitions_as_data()) else {
        return Ok(());
    };
    for vhost in [vhost, &to.vhost] {
        suite.check("a queue", whole.find_queue(vhost, "q").is_some(), true);
        suite.check("an exchange", whole.find_exchange(vhost, "t").is_some(), true);
        suite.check("a policy", whole.find_policy(vhost, "p").is_some(), true);
    }
    suite.check("guest", whole.users.iter().any(|user| user.name == "guest"), true);
    suite.check("a version", whole.server_version.is_some(), true);
    let text = api.export_cluster_wide_definitions_as_string()?;
    suite.read("all of it again", api.import_cluster_wide_definitions(serde_json::from_str(&text)?));
    if let Some(again) = suite.read("all of it", api.export_cluster_wide_definitions_as_data()) {
        suite.check("nothing has changed", whole.diff(&again).has_changes(), false);
    }
    let wrong = json!({"queues": [{"name": "q", "vhost": "not there", "durable": true}]});
    suite.refused("what cannot be", api.import_cluster_wide_definitions(wrong), 400);
    Ok(())
}
