//! What Rialto should reach: one table, read from top to bottom as the table of evidence is.

use crate::runs::Runs;

/// What one figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    /// Its row in the table of evidence.
    pub(crate) row: u32,
    /// The scenario in which it is measured.
    pub(crate) scenario: &'static str,
    /// The figure of the medians.
    pub(crate) figure: &'static str,
    /// What the figure is, for people, and its unit.
    pub(crate) unit: Unit,
    /// What it is compared with.
    pub(crate) beside: Beside,
    /// What the comparison should say.
    pub(crate) bound: Bound,
}

/// How a figure is called and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Messages a second.
    Rate,
    /// Broker CPU per message, microseconds.
    Cpu,
    /// A percentile of latencies, microseconds.
    Latency(&'static str),
    /// Bytes, of what is said.
    Bytes(&'static str),
    /// Anything else, as it is said.
    Other(&'static str),
}

/// What a figure is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing: it counts as it is.
    Nothing,
    /// The same figure of a peer.
    Peer(&'static str),
    /// The same figure of our own in another scenario.
    Own(&'static str),
    /// Another figure of our own in this scenario.
    Figure(&'static str),
}

/// What a comparison should say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// As much as this, or more.
    AtLeast(f64),
    /// As much as this, or less.
    AtMost(f64),
}

/// How an aim stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Standing {
    /// The figure.
    pub(crate) own: f64,
    /// What it is compared with.
    pub(crate) beside: Option<f64>,
    /// The one as a multiple of the other, or the figure itself.
    pub(crate) compared: f64,
    /// Whether the aim is met.
    pub(crate) met: bool,
}

impl Aim {
    /// How it stands; none: something of it has not been measured.
    pub(crate) fn standing(&self, runs: &Runs) -> Option<Standing> {
        let run = runs.get(self.scenario)?;
        let own = run.own(self.figure)?;
        let beside = match self.beside {
            Beside::Nothing => None,
            Beside::Peer(peer) => Some(run.peer(peer, self.figure)?),
            Beside::Own(scenario) => Some(runs.get(scenario)?.own(self.figure)?),
            Beside::Figure(figure) => Some(run.own(figure)?),
        };
        let compared = match beside {
            None => own,
            Some(beside) if beside > 0.0 => own / beside,
            Some(_) => return None,
        };
        let met = match self.bound {
            Bound::AtLeast(bound) => compared >= bound,
            Bound::AtMost(bound) => compared <= bound,
        };
        Some(Standing { own, beside, compared, met })
    }
}

const fn aim(
    row: u32,
    scenario: &'static str,
    figure: &'static str,
    unit: Unit,
    beside: Beside,
    bound: Bound,
) -> Aim {
    Aim { row, scenario, figure, unit, beside, bound }
}

/// Messages received a second.
const fn rate(row: u32, scenario: &'static str, beside: Beside, times: f64) -> Aim {
    aim(row, scenario, "received_per_s", Unit::Rate, beside, Bound::AtLeast(times))
}

/// Broker CPU per message.
const fn cpu(row: u32, scenario: &'static str, beside: Beside, most: f64) -> Aim {
    aim(row, scenario, "broker_cpu_us_per_message", Unit::Cpu, beside, Bound::AtMost(most))
}

use Beside::{Figure, Nothing, Own, Peer};
use Bound::{AtLeast, AtMost};

const RABBITMQ: Beside = Peer("rabbitmq");
const NATS: Beside = Peer("nats");
const JETSTREAM: Beside = Peer("jetstream");
const LIMIT: Beside = Peer("limit");
const DISK: Beside = Peer("disk");

const P50: &str = "latency_us/p50";
const P99: &str = "latency_us/p99";
const P99_9: &str = "latency_us/p99.9";

/// All of them.
pub(crate) const AIMS: &[Aim] = &[
    rate(1, "1-16B", RABBITMQ, 15.0),
    cpu(1, "1-16B", RABBITMQ, 1.0 / 25.0),
    rate(1, "1-128B", RABBITMQ, 15.0),
    cpu(1, "1-128B", RABBITMQ, 1.0 / 25.0),
    cpu(1, "1-128B", Nothing, 0.8),
    rate(1, "1-1KiB", RABBITMQ, 9.0),
    cpu(1, "1-1KiB", RABBITMQ, 1.0 / 25.0),
    rate(1, "1-16KiB", RABBITMQ, 2.0),
    cpu(1, "1-16KiB", RABBITMQ, 1.0 / 25.0),
    rate(2, "2-16B", RABBITMQ, 12.0),
    cpu(2, "2-16B", RABBITMQ, 1.0 / 20.0),
    rate(2, "2-1KiB", RABBITMQ, 9.0),
    cpu(2, "2-1KiB", RABBITMQ, 1.0 / 20.0),
    rate(3, "3-16B", NATS, 1.5),
    rate(3, "3-128B", NATS, 1.5),
    rate(3, "3-1KiB", NATS, 1.5),
    rate(3, "3-1KiB", LIMIT, 0.5),
    rate(3, "3-16KiB", NATS, 1.5),
    rate(3, "3-confirms-16B", JETSTREAM, 3.0),
    rate(3, "3-confirms-1KiB", JETSTREAM, 3.0),
    rate(4, "4-amqp-10", NATS, 1.0),
    cpu(4, "4-amqp-10", Nothing, 0.5),
    rate(4, "4-amqp-100", NATS, 1.0),
    cpu(4, "4-amqp-100", Nothing, 0.5),
    rate(4, "4-native-10", NATS, 1.5),
    cpu(4, "4-native-10", Nothing, 0.3),
    rate(4, "4-native-100", NATS, 1.5),
    cpu(4, "4-native-100", Nothing, 0.3),
    rate(5, "5-amqp", RABBITMQ, 18.0),
    rate(5, "5-amqp", JETSTREAM, 4.0),
    rate(5, "5-amqp", DISK, 0.5),
    aim(6, "6-10000", "published_per_s", Unit::Rate, RABBITMQ, AtLeast(100.0)),
    cpu(6, "6-1000000", Own("6-10"), 2.0),
    aim(7, "7-amqp-5000", P50, Unit::Latency("p50"), RABBITMQ, AtMost(0.4)),
    aim(7, "7-amqp-5000", P99, Unit::Latency("p99"), RABBITMQ, AtMost(0.15)),
    aim(7, "7-amqp-5000", P99_9, Unit::Latency("p99.9"), RABBITMQ, AtMost(0.5)),
    aim(7, "7-amqp-20000", P50, Unit::Latency("p50"), RABBITMQ, AtMost(0.4)),
    aim(7, "7-amqp-20000", P99, Unit::Latency("p99"), RABBITMQ, AtMost(0.15)),
    aim(7, "7-amqp-20000", P99_9, Unit::Latency("p99.9"), RABBITMQ, AtMost(0.5)),
    aim(7, "7-confirms-5000", P50, Unit::Latency("p50"), RABBITMQ, AtMost(0.4)),
    aim(7, "7-confirms-5000", P99, Unit::Latency("p99"), RABBITMQ, AtMost(0.15)),
    aim(7, "7-confirms-5000", P99_9, Unit::Latency("p99.9"), RABBITMQ, AtMost(0.5)),
    aim(7, "7-confirms-20000", P50, Unit::Latency("p50"), RABBITMQ, AtMost(0.4)),
    aim(7, "7-confirms-20000", P99, Unit::Latency("p99"), RABBITMQ, AtMost(0.15)),
    aim(7, "7-confirms-20000", P99_9, Unit::Latency("p99.9"), RABBITMQ, AtMost(0.5)),
    bytes_paged("8-transient-1000000"),
    filled("8-transient-1000000"),
    drained("8-transient-1000000"),
    drained_evenly("8-transient-1000000"),
    bytes_paged("8-durable-1000000"),
    filled("8-durable-1000000"),
    drained("8-durable-1000000"),
    drained_evenly("8-durable-1000000"),
    bytes_paged("8-transient-10000000"),
    filled("8-transient-10000000"),
    drained("8-transient-10000000"),
    drained_evenly("8-transient-10000000"),
    bytes_paged("8-transient-100000000"),
    filled("8-transient-100000000"),
    drained("8-transient-100000000"),
    drained_evenly("8-transient-100000000"),
    bytes_paged("8-durable-10000000"),
    filled("8-durable-10000000"),
    drained("8-durable-10000000"),
    drained_evenly("8-durable-10000000"),
    bytes_paged("8-durable-100000000"),
    filled("8-durable-100000000"),
    drained("8-durable-100000000"),
    drained_evenly("8-durable-100000000"),
    aim(9, "9-idle", "resident_kib_each", Unit::Other("memory each, KiB"), Nothing, AtMost(16.0)),
    aim(9, "9-idle", "idle_cores", Unit::Other("CPU, cores"), Nothing, AtMost(0.001)),
    aim(10, "10-churn", "cycles_per_s", Unit::Other("cycles/s"), RABBITMQ, AtLeast(10.0)),
    rate(11, "11-amqp", Own("1-128B"), 1.5),
    rate(11, "11-native", Own("3-128B"), 1.5),
    cpu(12, "12-queues-10", Own("12-queues-1"), 2.0),
    cpu(12, "12-queues-100", Own("12-queues-1"), 2.0),
    cpu(12, "12-queues-1000", Own("12-queues-1"), 2.0),
    cpu(12, "12-queues-10000", Own("12-queues-1"), 2.0),
    cpu(12, "12-connections-10", Own("12-connections-2"), 2.0),
    cpu(12, "12-connections-100", Own("12-connections-2"), 2.0),
    cpu(12, "12-connections-1000", Own("12-connections-2"), 2.0),
    cpu(12, "12-connections-5000", Own("12-connections-2"), 2.0),
];

const fn bytes_paged(scenario: &'static str) -> Aim {
    aim(8, scenario, "held_bytes_per_message", Unit::Bytes("memory per message"), Nothing, AtMost(16.0))
}

const fn filled(scenario: &'static str) -> Aim {
    aim(8, scenario, "fill_per_s", Unit::Other("filled/s"), Nothing, AtLeast(500_000.0))
}

const fn drained(scenario: &'static str) -> Aim {
    aim(8, scenario, "drain_per_s", Unit::Other("drained/s"), Nothing, AtLeast(1_000_000.0))
}

/// The last ones as fast as the first, as far as a machine's noise lets that be seen.
const fn drained_evenly(scenario: &'static str) -> Aim {
    let unit = Unit::Other("drained/s, last tenth");
    aim(8, scenario, "drain_last_tenth_per_s", unit, Figure("drain_first_tenth_per_s"), AtLeast(0.9))
}
