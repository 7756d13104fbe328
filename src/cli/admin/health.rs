//! `rialto health` and `rialto status`: whether a broker is well, and what it is doing.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::api::{ApiOptions, Path};
use super::listing;
use super::rows::{Column, Show, at, plain};
use crate::cli::output::{note, written};
use crate::cli::{ExitCode, Failure, table};

const EXAMPLES: &str = "\
Examples:
  rialto health                              # everything that a load balancer wants to know
  rialto health alarms
  rialto health --port 5672
  rialto health --certificates 14            # none expires within 14 days

Ends with 0 if all is well, with 1 if something is not, with 4 if the broker cannot be asked.";

const STATUS_EXAMPLES: &str = "\
Examples:
  rialto status
  rialto status --json | jq .queue_totals";

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// It takes connections
    Ready,
    /// No alarm holds publishers back
    Alarms,
    /// All vhosts work
    Vhosts,
}

/// Ask a broker whether it is well
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Options {
    /// Only this
    #[arg(value_enum)]
    check: Option<Check>,
    /// Something listens on this port
    #[arg(long, value_name = "PORT", conflicts_with = "check")]
    port: Option<u16>,
    /// No certificate expires within so many days
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["check", "port"])]
    certificates: Option<u16>,
    /// One JSON object a check, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiOptions,
}

/// Show what a broker is doing
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(in crate::cli) struct Status {
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiOptions,
}

/// A check: what it is called, and its path under `health/checks`.
type Asked = (String, Vec<String>);

fn asked(options: &Options) -> Vec<Asked> {
    let one =
        |name: &str, path: &[&str]| (name.to_owned(), path.iter().map(|part| (*part).to_owned()).collect());
    let of = |check: Check| match check {
        Check::Ready => one("ready", &["ready-to-serve-clients"]),
        Check::Alarms => one("alarms", &["alarms"]),
        Check::Vhosts => one("vhosts", &["virtual-hosts"]),
    };
    match (options.check, options.port, options.certificates) {
        (Some(check), _, _) => vec![of(check)],
        (_, Some(port), _) => vec![one("port", &["port-listener", &port.to_string()])],
        (_, _, Some(days)) => {
            vec![one("certificates", &["certificate-expiration", &days.to_string(), "days"])]
        }
        _ => [Check::Ready, Check::Alarms, Check::Vhosts].map(of).to_vec(),
    }
}

pub(in crate::cli) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let api = options.api.api()?;
    let mut is_well = true;
    for (name, path) in asked(options) {
        let segments: Vec<&str> =
            ["health", "checks"].into_iter().chain(path.iter().map(String::as_str)).collect();
        let (status, answer) = api.ask(&Path::new(&segments))?;
        let is_ok = (200..300).contains(&status);
        is_well &= is_ok;
        if options.json {
            let row = serde_json::json!({ "check": name, "ok": is_ok, "answer": answer });
            listing::json_lines(&[row])?;
        } else if is_ok {
            note(format_args!("{name}: ok"));
        } else {
            note(format_args!("{name}: {}", plain(&answer["reason"])));
        }
    }
    Ok(if is_well { ExitCode::Success } else { ExitCode::Failure })
}

const FACTS: &[Column] = &[
    ("product", "product_name", Show::Plain),
    ("version", "product_version", Show::Plain),
    ("node", "node", Show::Plain),
    ("cluster", "cluster_name", Show::Plain),
    ("connections", "object_totals.connections", Show::Plain),
    ("channels", "object_totals.channels", Show::Plain),
    ("queues", "object_totals.queues", Show::Plain),
    ("exchanges", "object_totals.exchanges", Show::Plain),
    ("consumers", "object_totals.consumers", Show::Plain),
    ("messages", "queue_totals.messages", Show::Plain),
    ("ready", "queue_totals.messages_ready", Show::Plain),
    ("unacked", "queue_totals.messages_unacknowledged", Show::Plain),
    ("published/s", "message_stats.publish_details.rate", Show::Rate),
    ("delivered/s", "message_stats.deliver_get_details.rate", Show::Rate),
    ("acked/s", "message_stats.ack_details.rate", Show::Rate),
];

const NODES: &[Column] = &[
    ("uptime", "uptime", Show::Duration),
    ("memory", "mem_used", Show::Size),
    ("memory limit", "mem_limit", Show::Size),
    ("disk free", "disk_free", Show::Size),
    ("disk limit", "disk_free_limit", Show::Size),
    ("open files", "fd_used", Show::Plain),
    ("open files max", "fd_total", Show::Plain),
    ("memory-alarm", "mem_alarm", Show::Feature),
    ("disk-alarm", "disk_free_alarm", Show::Feature),
];

const LISTENERS: &[Column] = &[
    ("protocol", "protocol", Show::Plain),
    ("address", "ip_address", Show::Plain),
    ("port", "port", Show::Plain),
    ("tls", "tls", Show::Feature),
];

pub(in crate::cli) fn run_status(options: &Status) -> Result<ExitCode, Failure> {
    use std::io::Write;

    let api = options.api.api()?;
    let overview = api.get(&Path::new(&["overview"]))?;
    if options.json {
        return listing::one(&overview, FACTS, true);
    }
    table::write_facts(&super::rows::row(&overview, FACTS))?;
    // Who may not see nodes sees the rest all the same.
    if let Ok(Value::Array(nodes)) = api.get(&Path::new(&["nodes"]))
        && let Some(node) = nodes.first()
    {
        written(writeln!(std::io::stdout()))?;
        table::write_facts(&super::rows::row(node, NODES))?;
    }
    if let Value::Array(listeners) = at(&overview, "listeners")
        && !listeners.is_empty()
    {
        written(writeln!(std::io::stdout()))?;
        table::write(&super::rows::rows(listeners, LISTENERS))?;
    }
    Ok(ExitCode::Success)
}
