//! How far each setting may go: below, the broker cannot work; above, the wire cannot say it or the machine
//! cannot hold it.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use rialto_protocol::native::{MESSAGE_OVERHEAD, PAGE_ROWS_MAX};

use super::{ClientVerify, Settings, Size, TlsSettings};
use crate::model::Pattern;

/// A setting that is out of its range, or at odds with another.
#[derive(Debug)]
pub(super) struct OutOfLimits {
    pub(super) key: &'static str,
    pub(super) problem: String,
}

/// Checks every number of the settings, and those that depend on each other.
pub(super) fn check(settings: &Settings) -> Result<(), OutOfLimits> {
    let Settings {
        server,
        tls,
        protocol,
        amqp,
        memory,
        queues,
        topology,
        store,
        auth,
        vhosts,
        policies,
        management,
        metrics,
        log: _,
        tracing,
    } = settings;

    let second = Duration::from_secs(1);
    let day = Duration::from_secs(24 * 60 * 60);
    let times = [
        ("server.handshake_timeout", server.handshake_timeout, Duration::from_millis(100)..=day),
        ("server.shutdown_grace", server.shutdown_grace, Duration::ZERO..=day),
        ("tls.reload_interval", tls.reload_interval, Duration::ZERO..=day),
        ("amqp.consumer_timeout", amqp.consumer_timeout, Duration::ZERO..=day * 365),
        ("metrics.sample_interval", metrics.sample_interval, second..=Duration::from_secs(300)),
        ("management.header_timeout", management.header_timeout, Duration::from_millis(100)..=day),
        ("management.request_timeout", management.request_timeout, Duration::from_millis(100)..=day),
        ("auth.failure_delay_min", auth.failure_delay_min, Duration::ZERO..=Duration::from_secs(60)),
        ("auth.failure_delay_max", auth.failure_delay_max, Duration::ZERO..=Duration::from_secs(60)),
        ("auth.failure_memory", auth.failure_memory, Duration::ZERO..=day),
        ("store.sync_interval", store.sync_interval, Duration::from_millis(1)..=Duration::from_secs(3600)),
    ];
    for (key, value, range) in times {
        within(key, value, range, |time| humantime::format_duration(*time).to_string())?;
    }
    // AMQP carries the heartbeat as whole seconds in 16 bits.
    for (key, heartbeat) in [("protocol.heartbeat", protocol.heartbeat), ("amqp.heartbeat", amqp.heartbeat)] {
        if heartbeat.is_zero() {
            continue;
        }
        let range = second..=Duration::from_secs(u16::MAX.into());
        within(key, heartbeat, range, |time| humantime::format_duration(*time).to_string())
            .map_err(|error| OutOfLimits { problem: format!("{}, or 0 for none", error.problem), ..error })?;
    }

    // Lengths on the wire are 32 bits wide; AMQP 0-9-1 (section 1.2) sets 4096 as the least frame-max.
    let longest = Size::gib(2);
    let sizes = [
        ("server.read_chunk", server.read_chunk, Size::kib(4)..=Size::mib(64)),
        ("protocol.frame_max", protocol.frame_max, Size::kib(4)..=longest),
        ("protocol.frame_max_before_login", protocol.frame_max_before_login, Size::kib(4)..=Size::mib(1)),
        ("protocol.message_size_max", protocol.message_size_max, Size::new(1)..=longest),
        ("protocol.publish_window", protocol.publish_window, Size::kib(64)..=longest),
        ("amqp.frame_max", amqp.frame_max, Size::kib(4)..=longest),
        ("amqp.uncommitted_max", amqp.uncommitted_max, Size::mib(1)..=Size::gib(1 << 20)),
        ("auth.hash_memory", auth.hash_memory, Size::kib(64)..=Size::mib(256)),
        ("memory.budget", memory.budget, Size::mib(1)..=Size::gib(1 << 20)),
        ("memory.queue_budget", memory.queue_budget, Size::kib(64)..=Size::gib(1 << 20)),
        ("memory.queue_bodies", memory.queue_bodies, Size::new(0)..=Size::gib(1 << 20)),
        ("memory.outbox", memory.outbox, Size::kib(64)..=longest),
        ("memory.consumer_window", memory.consumer_window, Size::kib(4)..=longest),
        ("topology.parameter_size_max", topology.parameter_size_max, Size::kib(1)..=Size::mib(16)),
        ("management.body_max", management.body_max, Size::kib(64)..=longest),
        // Places in a segment are 32 bits wide, and a last record may reach beyond its size.
        ("store.segment_size", store.segment_size, Size::mib(1)..=Size::gib(1)),
        ("store.free_space_min", store.free_space_min, Size::new(0)..=Size::gib(1 << 20)),
    ];
    for (key, value, range) in sizes {
        within(key, value, range, Size::to_string)?;
    }

    let numbers: [(&'static str, u32, RangeInclusive<u32>); 31] = [
        ("server.connections_max", server.connections_max, 1..=1_000_000),
        ("protocol.channel_max", protocol.channel_max.into(), 1..=65_535),
        ("protocol.route_max", protocol.route_max, 1..=16_777_216),
        ("protocol.route_cache", protocol.route_cache, 1..=16_777_216),
        ("protocol.consumers_per_channel_max", protocol.consumers_per_channel_max, 1..=1_000_000),
        ("protocol.consumers_per_connection_max", protocol.consumers_per_connection_max, 1..=1_000_000),
        ("protocol.list_page_max", protocol.list_page_max, 1..=PAGE_ROWS_MAX),
        ("memory.low_water_percent", memory.low_water_percent.into(), 1..=100),
        ("memory.process_percent", memory.process_percent.into(), 0..=100),
        ("queues.consumers_per_queue_max", queues.consumers_per_queue_max, 1..=100_000_000),
        ("queues.deaths_max", queues.deaths_max.into(), 1..=1000),
        ("topology.exchanges_per_vhost_max", topology.exchanges_per_vhost_max, 16..=100_000_000),
        ("auth.users_max", auth.users_max, 1..=10_000_000),
        // Together with the next one: what checking a password may cost, and must at least.
        ("auth.hash_passes", auth.hash_passes, 1..=16),
        ("auth.scram_rounds", auth.scram_rounds, 0..=10_000_000),
        ("auth.hashes_at_once", auth.hashes_at_once, 1..=1024),
        ("auth.pending_logins_max", auth.pending_logins_max, 1..=100_000),
        ("auth.failures_free", auth.failures_free, 0..=1_000_000),
        ("auth.failures_remembered_max", auth.failures_remembered_max, 1..=10_000_000),
        ("topology.vhosts_max", topology.vhosts_max, 1..=1_000_000),
        ("topology.queues_per_vhost_max", topology.queues_per_vhost_max, 1..=100_000_000),
        ("topology.bindings_per_vhost_max", topology.bindings_per_vhost_max, 1..=1_000_000_000),
        ("topology.policies_per_vhost_max", topology.policies_per_vhost_max, 1..=1_000_000),
        ("topology.parameters_max", topology.parameters_max, 1..=10_000_000),
        ("management.connections_max", management.connections_max, 1..=1_000_000),
        ("metrics.objects_max", metrics.objects_max, 0..=10_000_000),
        ("management.page_max", management.page_max, 1..=100_000),
        ("management.peek_max", management.peek_max, 1..=10_000),
        ("management.peek_scan_max", management.peek_scan_max, 1..=10_000_000),
        ("management.jobs_max", management.jobs_max, 1..=1000),
        // Below, survivors would be copied around for ever; above, the disk is mostly garbage.
        ("store.garbage_ratio_max", store.garbage_ratio_max.into(), 10..=90),
    ];
    for (key, value, range) in numbers {
        within(key, value, range, u32::to_string)?;
    }

    if server.listen.is_empty() {
        return refuse("server.listen", "the list is empty; write at least one address");
    }
    check_tls(tls)?;
    if vhosts.names.is_empty() {
        return refuse("vhosts.names", "the list is empty; write at least one vhost, like \"/\"");
    }
    for (index, name) in vhosts.names.iter().enumerate() {
        short("vhosts.names", name)?;
        if vhosts.names[..index].contains(name) {
            return refuse("vhosts.names", format!("the vhost {name:?} stands there twice"));
        }
    }
    for (name, user) in &auth.users {
        short("auth.users", name)?;
        let told = |problem: String| refuse("auth.users", format!("user {name:?}: {problem}"));
        if name.is_empty() || name.chars().any(char::is_control) {
            return told("a name must not be empty, nor have control characters".to_owned());
        }
        for (vhost, permission) in user.permissions.iter().flatten() {
            if !vhosts.names.contains(vhost) {
                return told(format!("there is no vhost {vhost:?} in vhosts.names"));
            }
            for pattern in [&permission.configure, &permission.write, &permission.read] {
                if let Err(error) = Pattern::of_permission(pattern) {
                    return told(error.to_string());
                }
            }
        }
    }
    let (mut names, mut of_vhost) = (HashSet::new(), HashMap::new());
    for policy in policies {
        let told = |problem: String| refuse("policies", format!("policy {:?}: {problem}", policy.name));
        if let Err(problem) = policy.policy() {
            return told(problem);
        }
        if !vhosts.names.contains(&policy.vhost) {
            return told(format!("there is no vhost {:?} in vhosts.names", policy.vhost));
        }
        if !names.insert((&policy.vhost, &policy.name)) {
            return told("its name stands there twice for one vhost".to_owned());
        }
        let max = topology.policies_per_vhost_max as usize;
        let count = of_vhost.entry(&policy.vhost).or_insert(0);
        *count += 1;
        if *count > max {
            return told(format!(
                "it is one more than a vhost may have (topology.policies_per_vhost_max = {max})"
            ));
        }
    }
    if !tracing.otlp_endpoint.is_empty() && !is_collector(&tracing.otlp_endpoint) {
        return refuse(
            "tracing.otlp_endpoint",
            "write an address like http://127.0.0.1:4318; https is not spoken to collectors, so have one nearby",
        );
    }
    if tracing.service_name.is_empty() {
        return refuse("tracing.service_name", "the name is empty");
    }
    if store.data_dir.as_os_str().is_empty() {
        return refuse("store.data_dir", "the name of the folder is empty");
    }

    // A message must fit into a frame together with its properties, or it could be neither sent nor delivered.
    let room = Size::new(MESSAGE_OVERHEAD.into());
    if protocol.frame_max.bytes() < protocol.message_size_max.bytes() + room.bytes() {
        let least = Size::new(protocol.message_size_max.bytes() + room.bytes());
        return refuse(
            "protocol.frame_max",
            format!(
                "{} cannot carry a message of protocol.message_size_max ({}) and its properties; \
                 write at least {least}",
                protocol.frame_max, protocol.message_size_max
            ),
        );
    }
    if amqp.uncommitted_max < protocol.message_size_max {
        return refuse(
            "amqp.uncommitted_max",
            format!(
                "no message of protocol.message_size_max ({}) could arrive; write at least that",
                protocol.message_size_max
            ),
        );
    }
    short("management.announce_version", &management.announce_version)?;
    if !management.tls_listen.is_empty() && !tls.is_on() {
        return refuse(
            "management.tls_listen",
            "there is no TLS without a certificate; name one in tls.cert",
        );
    }
    for origin in &management.origins {
        if !origin.starts_with("http://") && !origin.starts_with("https://") || origin.ends_with('/') {
            let problem = format!("{origin:?} is no origin; write one like \"https://console.example.org\"");
            return refuse("management.origins", problem);
        }
    }
    short("amqp.announce_product", &amqp.announce_product)?;
    if !amqp.announce_version.is_empty() {
        short("amqp.announce_version", &amqp.announce_version)?;
    }
    if protocol.frame_max_before_login > protocol.frame_max {
        return refuse(
            "protocol.frame_max_before_login",
            format!("it is more than protocol.frame_max ({})", protocol.frame_max),
        );
    }
    if memory.queue_budget > memory.budget {
        return refuse(
            "memory.queue_budget",
            format!("one queue cannot have more than memory.budget ({})", memory.budget),
        );
    }
    Ok(())
}

/// Which settings of TLS need others. The files themselves are looked at when the broker starts.
fn check_tls(tls: &TlsSettings) -> Result<(), OutOfLimits> {
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    if is_set(&tls.key) != tls.is_on() {
        let (key, other) = if tls.is_on() { ("tls.key", "tls.cert") } else { ("tls.cert", "tls.key") };
        return refuse(key, format!("it is missing, and {other} is of no use without it"));
    }
    if !tls.is_on() && (is_set(&tls.client_ca) || !tls.sni.is_empty() || tls.verify != ClientVerify::None) {
        return refuse(
            "tls.cert",
            "it is missing; without it there is no TLS, and the rest of [tls] has no use",
        );
    }
    if tls.verify != ClientVerify::None && !is_set(&tls.client_ca) {
        return refuse(
            "tls.client_ca",
            format!(
                "tls.verify = \"{}\" needs the authorities whose client certificates are good",
                tls.verify
            ),
        );
    }
    for (index, sni) in tls.sni.iter().enumerate() {
        if sni.names.is_empty() || !is_set(&sni.cert) || !is_set(&sni.key) {
            return refuse("tls.sni", format!("certificate {}: it needs names, cert and key", index + 1));
        }
    }
    Ok(())
}

fn within<T: PartialOrd + Copy>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<(), OutOfLimits> {
    if range.contains(&value) {
        return Ok(());
    }
    let problem = format!(
        "{} is out of range; write a value from {} to {}",
        show(&value),
        show(range.start()),
        show(range.end())
    );
    Err(OutOfLimits { key, problem })
}

/// Whether spans can be sent there: HTTP, and a host. What else is wrong with it, sending will tell.
fn is_collector(address: &str) -> bool {
    let host = address.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or(rest));
    host.is_some_and(|host| {
        !host.is_empty() && !address.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

/// Names travel as short strings (AMQP 0-9-1 section 4.2.5.3).
fn short(key: &'static str, name: &str) -> Result<(), OutOfLimits> {
    match name.len() {
        0 => refuse(key, "a name is empty"),
        1..=255 => Ok(()),
        len => refuse(key, format!("a name has {len} bytes, and at most 255 fit")),
    }
}

fn refuse(key: &'static str, problem: impl Display) -> Result<(), OutOfLimits> {
    Err(OutOfLimits { key, problem: problem.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_limits() {
        check(&Settings::default()).unwrap();
    }

    #[test]
    fn the_edge_is_allowed_and_one_past_it_is_not() {
        let mut settings = Settings::default();
        settings.memory.low_water_percent = 100;
        check(&settings).unwrap();
        settings.memory.low_water_percent = 101;
        assert_eq!(check(&settings).unwrap_err().key, "memory.low_water_percent");

        let mut settings = Settings::default();
        settings.protocol.frame_max = Size::new(Size::mib(16).bytes() + u64::from(MESSAGE_OVERHEAD));
        check(&settings).unwrap();
        settings.protocol.frame_max = Size::new(settings.protocol.frame_max.bytes() - 1);
        assert_eq!(check(&settings).unwrap_err().key, "protocol.frame_max");
    }

    #[test]
    fn the_journal_is_held_to_its_limits() {
        type Change = fn(&mut Settings);
        let outcome = |change: Change| {
            let mut settings = Settings::default();
            change(&mut settings);
            check(&settings).map_err(|error| error.key)
        };
        let edges: [(&str, Change, Change); 6] = [
            (
                "store.sync_interval",
                |s| s.store.sync_interval = Duration::from_millis(1),
                |s| s.store.sync_interval = Duration::from_micros(999),
            ),
            (
                "store.segment_size",
                |s| s.store.segment_size = Size::mib(1),
                |s| s.store.segment_size = Size::new(Size::mib(1).bytes() - 1),
            ),
            (
                "store.segment_size",
                |s| s.store.segment_size = Size::gib(1),
                |s| s.store.segment_size = Size::new(Size::gib(1).bytes() + 1),
            ),
            (
                "store.garbage_ratio_max",
                |s| s.store.garbage_ratio_max = 10,
                |s| s.store.garbage_ratio_max = 9,
            ),
            (
                "store.garbage_ratio_max",
                |s| s.store.garbage_ratio_max = 90,
                |s| s.store.garbage_ratio_max = 91,
            ),
            (
                "store.free_space_min",
                |s| s.store.free_space_min = Size::new(0),
                |s| s.store.free_space_min = Size::gib((1 << 20) + 1),
            ),
        ];
        for (key, edge, past) in edges {
            assert_eq!(outcome(edge), Ok(()), "{key}");
            assert_eq!(outcome(past), Err(key));
        }
    }
}
