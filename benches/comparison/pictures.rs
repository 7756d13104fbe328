//! The pictures of the page: which scenarios stand together in one. Drawn by `rialto bench plot`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::runs::Runs;
use crate::scenarios::SCENARIOS;

/// A picture that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    /// Its file.
    pub(crate) file: &'static str,
    /// What it shows.
    pub(crate) title: &'static str,
}

struct Picture {
    file: &'static str,
    title: &'static str,
    figure: &'static str,
    /// Scenarios whose names begin so.
    of: &'static str,
    /// A curve over this setting, of this contender. A growth is seen beside itself: peers are measured at one point only.
    over: Option<(&'static str, &'static str)>,
}

const fn bars(file: &'static str, title: &'static str, figure: &'static str, of: &'static str) -> Picture {
    Picture { file, title, figure, of, over: None }
}

const fn curve(
    file: &'static str,
    title: &'static str,
    figure: &'static str,
    of: &'static str,
    over: &'static str,
) -> Picture {
    Picture { file, title, figure, of, over: Some((over, "rialto amqp")) }
}

/// A curve over how many messages wait. Backlogs go in and out over the native protocol.
const fn over_backlog(file: &'static str, title: &'static str, figure: &'static str) -> Picture {
    Picture { file, title, figure, of: "8-transient-", over: Some(("messages", "rialto")) }
}

const RATE: &str = "received_per_s";
const CPU: &str = "broker_cpu_us_per_message";

const PICTURES: [Picture; 26] = [
    bars("amqp-rate.svg", "AMQP, auto-ack: messages per second", RATE, "1-"),
    bars("amqp-cpu.svg", "AMQP, auto-ack: broker CPU per message", CPU, "1-"),
    bars("amqp-confirms-rate.svg", "AMQP, confirms and acks: messages per second", RATE, "2-"),
    bars("amqp-confirms-cpu.svg", "AMQP, confirms and acks: broker CPU per message", CPU, "2-"),
    bars("native-rate.svg", "Native protocol, auto-ack: messages per second", RATE, "3-1"),
    bars("native-cpu.svg", "Native protocol, auto-ack: broker CPU per message", CPU, "3-1"),
    bars(
        "native-confirms-rate.svg",
        "Native protocol, confirms and acks: messages per second",
        RATE,
        "3-confirms-",
    ),
    bars(
        "native-confirms-cpu.svg",
        "Native protocol, confirms and acks: broker CPU per message",
        CPU,
        "3-confirms-",
    ),
    bars("fanout-rate.svg", "Fan-out, 128 B: copies delivered per second", RATE, "4-"),
    bars("fanout-cpu.svg", "Fan-out, 128 B: broker CPU per copy", CPU, "4-"),
    bars("durable-rate.svg", "Durable, synced before the confirm: messages per second", RATE, "5-"),
    bars("durable-cpu.svg", "Durable, synced before the confirm: broker CPU per message", CPU, "5-"),
    bars("topic-rate.svg", "10,000 topic bindings: messages per second", "published_per_s", "6-10000"),
    curve("topic-cpu.svg", "Topic exchange: broker CPU per message over bindings", CPU, "6-", "bindings"),
    bars("latency-5000.svg", "AMQP, 5,000 messages per second: latency", "latency", "7-amqp-5000"),
    bars("latency-20000.svg", "AMQP, 20,000 messages per second: latency", "latency", "7-amqp-20000"),
    bars(
        "latency-confirms-20000.svg",
        "AMQP, confirms and acks, 20,000 messages per second: latency",
        "latency",
        "7-confirms-20000",
    ),
    bars("backlog-fill.svg", "Backlog: messages per second in", "fill_per_s", "8-"),
    bars("backlog-drain.svg", "Backlog: messages per second out", "drain_per_s", "8-"),
    bars("backlog-memory.svg", "Backlog: bytes of memory per message", "held_bytes_per_message", "8-"),
    over_backlog(
        "backlog-fill-cpu.svg",
        "Broker CPU per message in, over the backlog's length",
        "fill_cpu_us_per_message",
    ),
    over_backlog(
        "backlog-drain-cpu.svg",
        "Broker CPU per message out, over the backlog's length",
        "drain_cpu_us_per_message",
    ),
    bars("churn.svg", "Connect, channel, declare, delete, close: times per second", "cycles_per_s", "10-"),
    bars("parallel-rate.svg", "4 publishers, 4 consumers, 4 queues: messages per second", RATE, "11-"),
    curve("queues-cpu.svg", "Broker CPU per message over queues", CPU, "12-queues-", "queues"),
    curve(
        "connections-cpu.svg",
        "Broker CPU per message over connections",
        CPU,
        "12-connections-",
        "connections",
    ),
];

/// Draws those whose scenarios have been measured.
pub(crate) fn draw(program: &Path, runs_in: &Path, to: &Path, runs: &Runs) -> Result<Vec<Drawn>, Failure> {
    fs::create_dir_all(to)?;
    let mut drawn = Vec::new();
    for picture in &PICTURES {
        // A longer name of one scenario begins as the shorter name of another does.
        let exact = SCENARIOS.iter().any(|scenario| scenario.id == picture.of);
        let shown = SCENARIOS.iter().filter(|scenario| match exact {
            true => scenario.id == picture.of,
            false => scenario.id.starts_with(picture.of),
        });
        let shown: Vec<_> = shown.filter(|scenario| runs.get(scenario.id).is_some()).collect();
        if shown.is_empty() {
            continue;
        }
        let mut command = Command::new(program);
        command.args(["bench", "plot", "--figure", picture.figure, "--title", picture.title]);
        if let Some((setting, contender)) = picture.over {
            command.args(["--over", setting, "--contenders", contender]);
        }
        command.arg("--output").arg(to.join(picture.file));
        for scenario in shown {
            let file = runs_in.join(scenario.id).with_extension("json");
            command.arg(format!("{}={}", scenario.label, file.display()));
        }
        let output = command.output()?;
        match output.status.success() {
            true => drawn.push(Drawn { file: picture.file, title: picture.title }),
            false => {
                eprintln!("{}: not drawn: {}", picture.file, String::from_utf8_lossy(&output.stderr).trim())
            }
        }
    }
    Ok(drawn)
}
