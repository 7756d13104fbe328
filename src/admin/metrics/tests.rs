//! What a scrape says, read as strictly as a parser would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use rialto_protocol::types::{FieldTable, RawProperties};

use super::*;
use crate::access::Protocol;
use crate::broker::{Broker, ChannelMessages, Limits, Outbox, PublishBatch, Turn, Vhost};
use crate::config::Settings;
use crate::model::{
    ConnectionId, ConsumerId, ExchangeName, ManualClock, MessageRoute, QueueName, QueueOptions, RoutingKey,
};
use crate::routing::Routed;

/// Lines by name, each its labels as they are written and its number.
#[derive(Debug, Default)]
struct Scrape {
    lines: BTreeMap<String, BTreeMap<String, f64>>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    /// Reads a scrape, and asserts what the format promises.
    fn read(text: &str) -> Scrape {
        let line_form = Regex::new(
            r#"^([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? ([-+0-9.eInfNa]+)$"#,
        );
        let line_form = line_form.unwrap();
        let mut scrape = Scrape::default();
        let mut current = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                current = help.split(' ').next().unwrap().to_owned();
                assert!(!scrape.types.contains_key(&current), "{current} is begun twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current);
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else {
                let parts =
                    line_form.captures(line).unwrap_or_else(|| panic!("no line of the format: {line}"));
                let name = &parts[1];
                let is_part = scrape.types[&current] == "histogram" && name.starts_with(&current);
                assert!(name == current || is_part, "{name} stands among {current}");
                let labels = parts.get(2).map_or("", |labels| labels.as_str()).to_owned();
                let number: f64 = parts[3].parse().unwrap();
                let known = scrape.lines.entry(name.to_owned()).or_default().insert(labels, number);
                assert!(known.is_none(), "told twice: {line}");
            }
        }
        scrape
    }

    fn get(&self, name: &str, labels: &str) -> f64 {
        let lines = self.lines.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        *lines.get(labels).unwrap_or_else(|| panic!("{name} has no {labels}, but {lines:?}"))
    }

    fn one(&self, name: &str) -> f64 {
        self.get(name, "")
    }

    fn knows(&self, name: &str) -> bool {
        self.types.contains_key(name) || self.lines.contains_key(name)
    }
}

struct World {
    state: AdminState,
    vhost: Arc<Vhost>,
    clock: Arc<ManualClock>,
    turn: Turn,
}

impl World {
    fn new() -> World {
        World::with_settings(Settings::default())
    }

    fn with_settings(settings: Settings) -> World {
        let clock = Arc::new(ManualClock::new());
        let limits = Limits { process_limit: 1 << 40, ..Limits::default() };
        let broker = Broker::in_memory().clock(clock.clone()).limits(limits).build();
        let mut turn = Turn::new();
        turn.begin(broker.now());
        let vhost = broker.vhost("/").unwrap();
        World { state: AdminState::new(broker, Arc::new(settings), Vec::new()), vhost, clock, turn }
    }

    fn queue(&mut self, name: &str, arguments: FieldTable) {
        let options = QueueOptions::from_declare(true, false, false, &arguments).unwrap();
        let name = QueueName::new(name).unwrap();
        self.vhost.declare_queue(&name, options, ConnectionId(1), &mut self.turn).unwrap();
    }

    /// Publishes to the default exchange.
    fn publish(&mut self, queue: &str, count: usize) {
        let properties = RawProperties::check(&[0, 0]).unwrap();
        let resolved =
            self.vhost.resolve("", queue, properties, ConnectionId(1), &mut Routed::new()).unwrap();
        let exchange = ExchangeName::new("").unwrap();
        let route = MessageRoute { exchange, routing_key: RoutingKey::new(queue).unwrap() };
        let mut batch = PublishBatch::of(Protocol::Amqp);
        batch.from_exchange(resolved.counts.as_ref().unwrap());
        for _ in 0..count {
            match resolved.targets.queues.is_empty() {
                true => batch.count_unroutable(false),
                false => batch.push_content(&route, &resolved.targets, &[0, 0], b"body").unwrap(),
            }
        }
        let (broker, outbox) = (&self.state.broker, Arc::<Outbox>::default());
        let _ = broker.publish(&mut batch, &outbox, &mut Vec::new(), &mut self.turn);
        self.turn.finish(broker);
    }

    fn advance(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.state.broker.run_timers(&mut self.turn);
        self.turn.begin(self.state.broker.now());
    }

    fn scrape(&self, selection: Selection) -> Scrape {
        Scrape::read(&render(&self.state, &selection))
    }

    fn detailed(&self, query: &str) -> Scrape {
        let uri = format!("/metrics/detailed?{query}").parse().unwrap();
        self.scrape(Selection::read(&uri).unwrap())
    }
}

#[test]
fn the_whole_broker_is_told_in_a_few_lines_however_many_queues_there_are() {
    let mut world = World::new();
    let lines = |world: &World| render(&world.state, &Selection::Whole).lines().count();
    let before = lines(&world);
    for number in 0..100 {
        world.queue(&format!("q{number}"), FieldTable::new());
        world.publish(&format!("q{number}"), 2);
    }
    world.publish("nowhere", 3);
    world.advance(10);
    let queue = world.vhost.queue("q0", ConnectionId(1)).unwrap();
    queue.get(ConsumerId(0), true, &mut world.turn).unwrap().unwrap();
    queue.get(ConsumerId(0), false, &mut world.turn).unwrap().unwrap();
    assert_eq!(lines(&world), before);
    let scrape = world.scrape(Selection::Whole);
    assert_eq!(scrape.one("rabbitmq_queues"), 100.0);
    assert_eq!(scrape.one("rabbitmq_queue_messages_ready"), 198.0);
    assert_eq!(scrape.one("rabbitmq_queue_messages"), 199.0);
    let published = |name: &str| {
        let name = format!("rabbitmq_global_messages_{name}_total");
        ["amqp091", "rialto"].map(|by| scrape.get(&name, &format!(r#"{{protocol="{by}"}}"#)))
    };
    assert_eq!(published("received"), [203.0, 0.0]);
    assert_eq!(published("routed"), [200.0, 0.0]);
    assert_eq!(published("unroutable_dropped"), [3.0, 0.0]);
    assert_eq!(scrape.one("rabbitmq_queues_created_total"), 100.0);
    assert_eq!(scrape.one("rialto_oldest_message_age_seconds"), 10.0);
    assert_eq!(scrape.one("rialto_message_wait_seconds_count"), 2.0);
    assert_eq!(scrape.one("rialto_message_wait_seconds_sum"), 20.0);
    assert_eq!(scrape.get("rialto_message_wait_seconds_bucket", r#"{le="4.194304"}"#), 0.0);
    assert_eq!(scrape.get("rialto_message_wait_seconds_bucket", r#"{le="16.777216"}"#), 2.0);
    assert_eq!(scrape.get("rialto_message_wait_seconds_bucket", r#"{le="+Inf"}"#), 2.0);
}

#[test]
fn what_consumers_get_is_told_by_what_they_speak() {
    let world = World::new();
    let channels = &world.state.broker.counters().channels;
    let messages = ChannelMessages::default();
    messages.delivered(false, 5, 2);
    messages.got(true, Some(false));
    messages.got(false, None);
    channels.count(Protocol::Amqp, &messages);
    let scrape = world.scrape(Selection::Whole);
    let told = |name: &str| {
        let name = format!("rabbitmq_global_messages_{name}_total");
        let labels = |by: &str| format!(r#"{{protocol="{by}",queue_type="rialto"}}"#);
        ["amqp091", "rialto", "http"].map(|by| scrape.get(&name, &labels(by)))
    };
    assert_eq!(told("delivered"), [6.0, 0.0, 0.0]);
    assert_eq!(told("delivered_consume_manual_ack"), [5.0, 0.0, 0.0]);
    assert_eq!(told("delivered_get_auto_ack"), [1.0, 0.0, 0.0]);
    assert_eq!(told("get_empty"), [1.0, 0.0, 0.0]);
    assert_eq!(told("redelivered"), [2.0, 0.0, 0.0]);
}

#[test]
fn deaths_are_told_by_reason_and_by_what_became_of_the_dead() {
    let mut world = World::new();
    world.queue("dead", FieldTable::new());
    let target =
        FieldTable::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", "dead");
    world.queue("wanted", target.with("x-message-ttl", 1000));
    world.queue("unwanted", FieldTable::new().with("x-max-length", 1));
    world.publish("wanted", 5);
    world.publish("unwanted", 4);
    world.advance(1);
    let scrape = world.scrape(Selection::Whole);
    let died = |reason: &str, fate: &str| {
        scrape.get("rialto_messages_died_total", &format!(r#"{{reason="{reason}",fate="{fate}"}}"#))
    };
    assert_eq!((died("expired", "dead_lettered"), died("expired", "dropped")), (5.0, 0.0));
    assert_eq!((died("maxlen", "dead_lettered"), died("maxlen", "dropped")), (0.0, 3.0));
    let labels = r#"{queue_type="rialto",dead_letter_strategy="at_most_once"}"#;
    assert_eq!(scrape.get("rabbitmq_global_messages_dead_lettered_expired_total", labels), 5.0);
    let labels = r#"{queue_type="rialto",dead_letter_strategy="disabled"}"#;
    assert_eq!(scrape.get("rabbitmq_global_messages_dead_lettered_maxlen_total", labels), 3.0);
}

#[test]
fn alarms_are_the_brokers_own() {
    let world = World::new();
    let alarm = |world: &World| world.scrape(Selection::Whole).one("rabbitmq_alarms_memory_used_watermark");
    assert_eq!(alarm(&world), 0.0);
    world.state.broker.note_process_memory((1 << 40) + 1);
    assert_eq!(alarm(&world), 1.0);
    let scrape = world.scrape(Selection::Whole);
    assert_eq!(scrape.one("rabbitmq_resident_memory_limit_bytes"), (1u64 << 40) as f64);
    assert_eq!(scrape.one("rabbitmq_alarms_free_disk_space_watermark"), 0.0);
}

#[test]
fn a_name_cannot_make_a_line_of_its_own() {
    let mut world = World::new();
    world.queue("a\"} 1\nrabbitmq_queues 7\\", FieldTable::new());
    let scrape = world.scrape(Selection::Each);
    assert_eq!(scrape.one("rabbitmq_queues"), 1.0);
    let labels = r#"{vhost="/",queue="a\"} 1\nrabbitmq_queues 7\\"}"#;
    assert_eq!(scrape.get("rabbitmq_queue_messages", labels), 0.0);
}

#[test]
fn details_are_those_that_were_asked_for() {
    let mut world = World::new();
    world.queue("q", FieldTable::new());
    world.publish("q", 2);
    let scrape = world.detailed("family=queue_coarse_metrics&family=exchange_metrics&vhost=%2F");
    assert_eq!(scrape.get("rabbitmq_detailed_queue_messages_ready", r#"{vhost="/",queue="q"}"#), 2.0);
    let default_exchange = r#"{vhost="/",exchange=""}"#;
    assert_eq!(scrape.get("rabbitmq_detailed_exchange_messages_published_total", default_exchange), 2.0);
    assert!(!scrape.knows("rabbitmq_detailed_queue_consumers"));
    let elsewhere = world.detailed("family=queue_coarse_metrics&vhost=other");
    assert!(!elsewhere.lines.contains_key("rabbitmq_detailed_queue_messages"));
    let names = world.detailed("family=exchange_bindings&family=exchange_names&family=vhost_status");
    let labels = r#"{vhost="/",exchange="",type="direct"}"#;
    assert_eq!(names.get("rabbitmq_cluster_exchange_bindings", labels), 1.0);
    assert_eq!(names.get("rabbitmq_cluster_exchange_name", labels), 1.0);
    assert_eq!(names.get("rabbitmq_cluster_vhost_status", r#"{vhost="/"}"#), 1.0);
}

#[test]
fn lines_for_each_object_are_bounded_and_those_left_out_are_counted() {
    let mut settings = Settings::default();
    settings.metrics.objects_max = 3;
    let mut world = World::with_settings(settings);
    for name in ["e", "d", "c", "b", "a"] {
        world.queue(name, FieldTable::new());
    }
    let scrape = world.scrape(Selection::Each);
    let told: Vec<_> = scrape.lines["rabbitmq_queue_messages"].keys().collect();
    assert_eq!(told, [r#"{vhost="/",queue="a"}"#, r#"{vhost="/",queue="b"}"#, r#"{vhost="/",queue="c"}"#]);
    assert_eq!(scrape.get("rialto_metrics_objects_left_out", r#"{kind="queue"}"#), 2.0);
    assert_eq!(scrape.get("rialto_metrics_objects_left_out", r#"{kind="connection"}"#), 0.0);
}

/// What stock dashboards plot: names from RabbitMQ's documentation.
#[test]
fn names_that_stock_dashboards_plot_are_there() {
    let world = World::new();
    let scrape = world.scrape(Selection::Whole);
    let global = "received received_confirm confirmed routed unroutable_dropped unroutable_returned delivered \
         delivered_consume_manual_ack delivered_consume_auto_ack delivered_get_manual_ack delivered_get_auto_ack \
         redelivered acknowledged get_empty dead_lettered_expired dead_lettered_rejected dead_lettered_maxlen \
         dead_lettered_delivery_limit dead_lettered_confirmed";
    for name in global.split_whitespace() {
        let name = format!("rabbitmq_global_messages_{name}_total");
        assert!(scrape.lines.contains_key(&name), "{name}");
    }
    let others = "global_publishers global_consumers queue_messages queue_messages_ready queue_messages_unacked queues \
         connections channels consumers connections_opened_total connections_closed_total channels_opened_total \
         channels_closed_total queues_declared_total queues_created_total queues_deleted_total process_open_fds \
         process_max_fds process_resident_memory_bytes resident_memory_limit_bytes disk_space_available_limit_bytes \
         identity_info build_info alarms_memory_used_watermark alarms_free_disk_space_watermark \
         alarms_file_descriptor_limit";
    for name in others.split_whitespace() {
        assert!(scrape.lines.contains_key(&format!("rabbitmq_{name}")), "{name}");
    }
    let detailed = "queue_coarse_metrics=queue_messages_ready,queue_messages_unacked,queue_messages \
         queue_metrics=queue_messages_ready_bytes,queue_messages_ram,queue_head_message_timestamp \
         queue_consumer_count=queue_consumers \
         queue_delivery_metrics=queue_get_ack_total,queue_get_total,queue_messages_delivered_ack_total,\
         queue_messages_delivered_total,queue_messages_redelivered_total,queue_messages_acked_total,queue_get_empty_total \
         channel_metrics=channel_consumers,channel_messages_unacked,channel_messages_unconfirmed,\
         channel_messages_uncommitted,channel_acks_uncommitted,channel_prefetch,channel_prefetch_global \
         connection_coarse_metrics=connection_incoming_bytes_total,connection_outgoing_bytes_total \
         connection_metrics=connection_incoming_packets_total,connection_outgoing_packets_total,connection_channels \
         connection_churn_metrics=connections_opened_total,queues_created_total \
         exchange_metrics=exchange_messages_published_total,exchange_messages_unroutable_dropped_total";
    for family in detailed.split_whitespace() {
        let (family, names) = family.split_once('=').unwrap();
        let scrape = world.detailed(&format!("family={family}"));
        for name in names.split(',') {
            assert!(scrape.knows(&format!("rabbitmq_detailed_{name}")), "{name} of {family}");
        }
    }
}

/// Names of metrics in a text, without labels that look like one.
fn names_in(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:rabbitmq|rialto)_[a-z0-9_]+\b").unwrap();
    let labels = ["rabbitmq_node", "rabbitmq_cluster"];
    name.find_iter(text)
        .map(|name| name.as_str().to_owned())
        .filter(|name| !labels.contains(&&**name))
        .collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.store.data_dir = folder.path().to_owned();
    let world = World::with_settings(settings);
    let every = Family::ALL.len() + 2;
    let all: Vec<Family> =
        Family::ALL.into_iter().chain([Family::ExchangeNames, Family::ExchangeBindings]).collect();
    assert_eq!(all.len(), every);
    let some = Selection::Some { families: all, vhosts: Vec::new() };
    let scrapes = [Selection::Whole, Selection::Each, some].map(|selection| world.scrape(selection));
    // A broker without a disk says nothing of its journal.
    let journal = include_str!("own.rs");
    for file in ["docs/grafana/rialto.json", "docs/alerts.yml"] {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + file).unwrap();
        let names = names_in(&text);
        assert!(names.len() > 15, "{file} names {names:?}");
        for name in names {
            let whole = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            let metrics = [name.strip_prefix("rialto_"), whole].into_iter().flatten();
            let of_journal = metrics.into_iter().any(|name| journal.contains(&format!("\"{name}\"")));
            let is_there = of_journal || scrapes.iter().any(|scrape| scrape.knows(&name));
            assert!(is_there, "{file} names {name}, which no scrape has");
        }
    }
}

#[test]
fn the_dashboard_is_valid_json_and_every_panel_asks_for_something() {
    let text = include_str!("../../../docs/grafana/rialto.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(targets > 0, panel["type"] != "row", "{}", panel["title"]);
    }
}
