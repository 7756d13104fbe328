//! What runs: the node, its health, connections, channels, consumers.

use std::process::{Child, Command, Stdio};

use rabbitmq_http_client::commons::{PaginationParams, SupportedProtocol};
use rabbitmq_http_client::responses::{ReachabilityProbeOutcome, cluster::ClusterTags};
use serde_json::json;

use crate::suite::{Failure, Suite, until};
use crate::{Done, Place, log_in, table, variable};

pub fn run(suite: &mut Suite) {
    suite.scenario("node", node);
    suite.scenario("health", health);
    suite.scenario("features", features);
    suite.scenario("connections", connections);
}

fn node(suite: &mut Suite) -> Done {
    let api = log_in("guest", "guest")?;
    let probe = api.probe_reachability();
    suite.check("reachable", matches!(probe, ReachabilityProbeOutcome::Reached(_)), true);
    let me = suite.read("who am I", api.current_user());
    suite.check("an administrator", me.is_some_and(|me| me.tags.is_administrator()), true);
    if let Some(overview) = suite.read("overview", api.overview()) {
        suite.check("product", overview.product_name.as_str(), "Rialto");
        suite.check("a version", overview.rabbitmq_version.is_empty(), false);
        suite.check("a node", overview.node.is_empty(), false);
        suite.check("listeners", overview.listeners.iter().any(|listener| listener.protocol == "amqp"), true);
        suite.check("exchanges", overview.object_totals.exchanges > 0, true);
        let node = suite.read("the node", api.get_node_info(&overview.node));
        suite.check("its name", node.as_ref().map(|node| node.name.as_str()), Some(overview.node.as_str()));
        if let Some(node) = node {
            suite.check("its version", node.rabbitmq_version(), overview.rabbitmq_version.as_str());
            suite.check("no alarm", node.has_memory_alarm_in_effect, false);
            suite.check("a limit", node.memory_high_watermark > 0, true);
            suite.check("processors", node.processors > 0, true);
        }
        let memory = suite.read("its memory", api.get_node_memory_footprint(&overview.node));
        let memory = memory.and_then(|memory| memory.breakdown);
        suite.check("memory in use", memory.is_some_and(|memory| memory.grand_total() > 0), true);
        suite.read("its plugins", api.list_node_plugins(&overview.node));
        suite.read("logins", api.auth_attempts_statistics(&overview.node));
    }
    suite.count("nodes", api.list_nodes(), 1);
    suite.refused("another node", api.get_node_info("rabbit@elsewhere"), 404);
    suite.read("plugins", api.list_all_cluster_plugins());
    suite.read("version", api.server_version());

    let before = suite.read("the cluster's name", api.get_cluster_name());
    suite.read("set it", api.set_cluster_name("conformance"));
    let now = suite.read("the cluster's name", api.get_cluster_name());
    suite.check("its new name", now.map(|now| now.name).as_deref(), Some("conformance"));
    if let Some(before) = before {
        suite.read("set it back", api.set_cluster_name(&before.name));
    }
    suite.read("tag the cluster", api.set_cluster_tags(table([("zone", json!("a"))])));
    let tags: Option<ClusterTags> = suite.read("its tags", api.get_cluster_tags());
    suite.check("a tag", tags.and_then(|tags| tags.0.get("zone").cloned()), Some(json!("a")));
    suite.read("no tags", api.clear_cluster_tags());
    Ok(())
}

fn health(suite: &mut Suite) -> Done {
    let api = log_in("guest", "guest")?;
    suite.read("alarms", api.health_check_cluster_wide_alarms());
    suite.read("alarms here", api.health_check_local_alarms());
    suite.read("quorum", api.health_check_if_node_is_quorum_critical());
    suite.read("a protocol", api.health_check_protocol_listener(SupportedProtocol::AMQP));
    suite.refused("one that is not spoken", api.health_check_protocol_listener(SupportedProtocol::MQTT), 503);
    let port =
        variable("CONFORMANCE_URL")?.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok());
    suite.read("the port", api.health_check_port_listener(port.ok_or("CONFORMANCE_URL has no port")?));
    suite.refused("a port where nobody listens", api.health_check_port_listener(1), 503);
    Ok(())
}

fn features(suite: &mut Suite) -> Done {
    let api = log_in("guest", "guest")?;
    let flags = suite.read("flags", api.list_feature_flags());
    suite.check("there are some", flags.as_ref().is_some_and(|flags| !flags.is_empty()), true);
    if let Some(flag) = flags.and_then(|flags| flags.0.into_iter().next()) {
        suite.read("enable one", api.enable_feature_flag(&flag.name));
    }
    suite.read("enable all", api.enable_all_stable_feature_flags());
    suite.read("deprecated ones", api.list_all_deprecated_features());
    suite.read("those in use", api.list_deprecated_features_in_use());
    Ok(())
}

/// A consumer that waits: amqp-tools', which ends with this.
struct Consumer(Child);

impl Consumer {
    fn of(vhost: &str, queue: &str) -> Result<Consumer, Failure> {
        let url = variable("CONFORMANCE_URL")?;
        let server = url.rsplit_once('/').map_or(url.as_str(), |(server, _)| server);
        let mut command = Command::new("amqp-consume");
        command.arg("--url").arg(format!("{server}/{vhost}")).args([
            "--queue",
            queue,
            "--prefetch-count",
            "9",
            "cat",
        ]);
        Ok(Consumer(command.stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // It may have ended already, when its connection was closed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connections(suite: &mut Suite) -> Done {
    let place = Place::new("connections")?;
    let (api, vhost) = (&place.api, place.vhost.as_str());
    api.declare_classic_queue(vhost, "q")?;
    let consumer = Consumer::of(vhost, "q")?;
    let consumers = until("a consumer", || api.list_consumers_in(vhost), |all| all.len() == 1)?;
    suite.check("its queue", consumers[0].queue.name.as_str(), "q");
    suite.check("it acknowledges", consumers[0].manual_ack, true);
    suite.check("its prefetch", consumers[0].prefetch_count, 9);
    suite.check("its channel", consumers[0].channel_details.is_some(), true);
    suite.read("all consumers", api.list_consumers());

    suite.read("all connections", api.list_connections());
    suite.read("a page", api.list_connections_paged(&PaginationParams::first_page_default()));
    let here = suite.read("of the vhost", api.list_connections_in(vhost)).unwrap_or_default();
    suite.check("one", here.len(), 1);
    let Some(connection) = here.first() else { return Err("no connection".into()) };
    if let Some(found) = suite.read("get", api.get_connection_info(&connection.name)) {
        suite.check("user", found.username.as_str(), "guest");
        suite.check("protocol", found.protocol.as_str(), "AMQP 0-9-1");
        suite.check("state", found.state.as_deref(), Some("running"));
        suite.check("channels", found.channel_count, 1);
        suite.check("since", found.connected_at > 0, true);
    }
    let of_user = suite.read("of the user", api.list_user_connections("guest")).unwrap_or_default();
    suite.check("among them", of_user.iter().any(|other| other.name == connection.name), true);

    suite.read("all channels", api.list_channels());
    suite.read("a page of channels", api.list_channels_paged(&PaginationParams::first_page_default()));
    let first = PaginationParams::first_page_default();
    suite.read("a page of the vhost's", api.list_channels_in_paged(vhost, &first));
    let channels = suite.read("of the vhost", api.list_channels_in(vhost)).unwrap_or_default();
    suite.check("one channel", channels.len(), 1);
    let on_it = suite.read("on the connection", api.list_channels_on(&connection.name)).unwrap_or_default();
    suite.check(
        "the same",
        on_it.first().map(|channel| &channel.name),
        channels.first().map(|channel| &channel.name),
    );
    for channel in &channels {
        let found = suite.read("a channel", api.get_channel_info(&channel.name));
        suite.check("its consumers", found.as_ref().map(|channel| channel.consumer_count), Some(1));
        suite.check("its vhost", found.map(|channel| channel.vhost).as_deref(), Some(vhost));
    }

    suite.read("close", api.close_connection(&connection.name, Some("by the suite"), false));
    until("it is gone", || api.list_connections_in(vhost), Vec::is_empty)?;
    suite.refused("close again", api.close_connection(&connection.name, None, false), 404);
    suite.read("whether it is there or not", api.close_connection(&connection.name, None, true));
    drop(consumer);
    Ok(())
}
