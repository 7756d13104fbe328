//! What is measured: each scenario is one call of `rialto bench`, which starts its contenders in turn.

use std::str::FromStr;

/// One call of `rialto bench`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its row in the table of evidence.
    pub(crate) row: u32,
    /// The name of its file, without the ending.
    pub(crate) id: &'static str,
    /// What it is, for people.
    pub(crate) what: &'static str,
    /// What tells it from the others of its picture.
    pub(crate) label: &'static str,
    /// What `rialto bench` is told, words apart.
    pub(crate) arguments: &'static str,
    /// Who is measured beside Rialto.
    pub(crate) peers: &'static [Peer],
    /// How a contender's round ends.
    pub(crate) length: Length,
}

/// How long one round of one contender takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many milliseconds are measured.
    Window(u32),
    /// The same, after a longer warm-up: thousands of threads have to begin.
    Warmed(u32),
    /// As long as the work takes: about so many milliseconds.
    Work(u32),
    /// The same, in one round however many there are: it takes minutes.
    Once(u32),
}

/// Who is measured beside Rialto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A RabbitMQ node, and the other AMQP brokers that were named.
    RabbitMq,
    /// NATS core.
    Nats,
    /// NATS with JetStream, which syncs before it confirms where messages are durable.
    JetStream,
    /// The same as it is by default: it syncs every two minutes.
    JetStreamUnsynced,
    /// A bare relay of the same bytes.
    Limit,
    /// A loop that appends and syncs.
    Disk,
}

impl Peer {
    /// As `--against` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::RabbitMq => "rabbitmq",
            Peer::Nats => "nats",
            Peer::JetStream => "jetstream",
            Peer::JetStreamUnsynced => "jetstream-unsynced",
            Peer::Limit => "limit",
            Peer::Disk => "disk",
        }
    }

    /// Milliseconds until it can be measured, and until it is gone.
    pub(crate) fn start_ms(self) -> u32 {
        match self {
            Peer::RabbitMq => 7000,
            Peer::Nats | Peer::JetStream | Peer::JetStreamUnsynced | Peer::Limit | Peer::Disk => 200,
        }
    }
}

/// A running broker that speaks AMQP 0-9-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmqpPeer {
    /// What to call it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) address: String,
}

impl AmqpPeer {
    /// Host and port alone.
    pub(crate) fn endpoint(&self) -> &str {
        let behind_user = self.address.rsplit('@').next().unwrap_or_default();
        behind_user.split('/').next().unwrap_or_default()
    }
}

/// `NAME=HOST:PORT`
impl FromStr for AmqpPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, address)) if !name.is_empty() && address.contains(':') => {
                Ok(AmqpPeer { name: name.to_owned(), address: address.to_owned() })
            }
            _ => Err("it needs a name and where it is: lavinmq=127.0.0.1:5673".to_owned()),
        }
    }
}

use Length::{Once, Warmed, Window, Work};
use Peer::{Disk, JetStream, JetStreamUnsynced, Limit, Nats, RabbitMq};

/// All of them, in the order of the table.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        row: 1,
        id: "1-16B",
        what: "AMQP, auto-ack, 16 B",
        label: "16 B",
        arguments: "throughput --protocol amqp --auto-ack --confirms 0 --size 16",
        peers: &[RabbitMq],
        length: Window(2000),
    },
    Scenario {
        row: 1,
        id: "1-128B",
        what: "AMQP, auto-ack, 128 B",
        label: "128 B",
        arguments: "throughput --protocol amqp --auto-ack --confirms 0 --size 128",
        peers: &[RabbitMq, Limit],
        length: Window(2000),
    },
    Scenario {
        row: 1,
        id: "1-1KiB",
        what: "AMQP, auto-ack, 1 KiB",
        label: "1 KiB",
        arguments: "throughput --protocol amqp --auto-ack --confirms 0 --size 1KiB",
        peers: &[RabbitMq, Limit],
        length: Window(2000),
    },
    Scenario {
        row: 1,
        id: "1-16KiB",
        what: "AMQP, auto-ack, 16 KiB",
        label: "16 KiB",
        arguments: "throughput --protocol amqp --auto-ack --confirms 0 --size 16KiB",
        peers: &[RabbitMq, Limit],
        length: Window(2000),
    },
    Scenario {
        row: 2,
        id: "2-16B",
        what: "AMQP, confirms and acks, 16 B",
        label: "16 B",
        arguments: "throughput --protocol amqp --confirms 1000 --prefetch 1000 --ack-every 100 --size 16",
        peers: &[RabbitMq],
        length: Window(2000),
    },
    Scenario {
        row: 2,
        id: "2-1KiB",
        what: "AMQP, confirms and acks, 1 KiB",
        label: "1 KiB",
        arguments: "throughput --protocol amqp --confirms 1000 --prefetch 1000 --ack-every 100 --size 1KiB",
        peers: &[RabbitMq],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-16B",
        what: "native, auto-ack, 16 B",
        label: "16 B",
        arguments: "throughput --auto-ack --confirms 0 --size 16",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-128B",
        what: "native, auto-ack, 128 B",
        label: "128 B",
        arguments: "throughput --auto-ack --confirms 0 --size 128",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-1KiB",
        what: "native, auto-ack, 1 KiB",
        label: "1 KiB",
        arguments: "throughput --auto-ack --confirms 0 --size 1KiB",
        peers: &[Nats, Limit],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-16KiB",
        what: "native, auto-ack, 16 KiB",
        label: "16 KiB",
        arguments: "throughput --auto-ack --confirms 0 --size 16KiB",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-confirms-16B",
        what: "native, confirms and acks, 16 B",
        label: "16 B",
        arguments: "throughput --confirms 1000 --prefetch 1000 --ack-every 100 --size 16",
        peers: &[JetStream],
        length: Window(2000),
    },
    Scenario {
        row: 3,
        id: "3-confirms-1KiB",
        what: "native, confirms and acks, 1 KiB",
        label: "1 KiB",
        arguments: "throughput --confirms 1000 --prefetch 1000 --ack-every 100 --size 1KiB",
        peers: &[JetStream],
        length: Window(2000),
    },
    Scenario {
        row: 4,
        id: "4-amqp-10",
        what: "AMQP, fan-out to 10 queues, 128 B",
        label: "AMQP, 10 queues",
        arguments: "fanout --protocol amqp --queues 10 --auto-ack --confirms 0",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 4,
        id: "4-amqp-100",
        what: "AMQP, fan-out to 100 queues, 128 B",
        label: "AMQP, 100 queues",
        arguments: "fanout --protocol amqp --queues 100 --auto-ack --confirms 0",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 4,
        id: "4-native-10",
        what: "native, fan-out to 10 queues, 128 B",
        label: "native, 10 queues",
        arguments: "fanout --queues 10 --auto-ack --confirms 0",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 4,
        id: "4-native-100",
        what: "native, fan-out to 100 queues, 128 B",
        label: "native, 100 queues",
        arguments: "fanout --queues 100 --auto-ack --confirms 0",
        peers: &[Nats],
        length: Window(2000),
    },
    Scenario {
        row: 5,
        id: "5-amqp",
        what: "AMQP, durable, confirms, 1 KiB",
        label: "durable, 1 KiB",
        arguments: "throughput --protocol amqp --persistent --confirms 1000 --prefetch 1000 --ack-every 100 --size 1KiB",
        peers: &[RabbitMq, JetStream, JetStreamUnsynced, Disk],
        length: Window(3000),
    },
    Scenario {
        row: 6,
        id: "6-10",
        what: "AMQP, topic exchange, 10 bindings",
        label: "10 bindings",
        arguments: "topic --protocol amqp --bindings 10 --consumers 0",
        peers: &[],
        length: Window(2000),
    },
    Scenario {
        row: 6,
        id: "6-1000",
        what: "AMQP, topic exchange, 1,000 bindings",
        label: "1,000 bindings",
        arguments: "topic --protocol amqp --bindings 1000 --consumers 0",
        peers: &[],
        length: Window(2000),
    },
    Scenario {
        row: 6,
        id: "6-10000",
        what: "AMQP, topic exchange, 10,000 bindings",
        label: "10,000 bindings",
        arguments: "topic --protocol amqp --bindings 10000 --consumers 0",
        peers: &[RabbitMq],
        length: Window(2000),
    },
    Scenario {
        row: 6,
        id: "6-100000",
        what: "AMQP, topic exchange, 100,000 bindings",
        label: "100,000 bindings",
        arguments: "topic --protocol amqp --bindings 100000 --consumers 0",
        peers: &[],
        length: Window(2000),
    },
    Scenario {
        row: 6,
        id: "6-1000000",
        what: "AMQP, topic exchange, 1,000,000 bindings",
        label: "1,000,000 bindings",
        arguments: "topic --protocol amqp --bindings 1000000 --consumers 0",
        peers: &[],
        length: Window(2000),
    },
    Scenario {
        row: 7,
        id: "7-amqp-5000",
        what: "AMQP, latency at 5,000/s, 128 B",
        label: "5,000/s",
        arguments: "latency --protocol amqp --rate 5000 --auto-ack --confirms 0",
        peers: &[RabbitMq, Limit],
        length: Window(5000),
    },
    Scenario {
        row: 7,
        id: "7-amqp-20000",
        what: "AMQP, latency at 20,000/s, 128 B",
        label: "20,000/s",
        arguments: "latency --protocol amqp --rate 20000 --auto-ack --confirms 0",
        peers: &[RabbitMq, Limit],
        length: Window(5000),
    },
    Scenario {
        row: 7,
        id: "7-confirms-5000",
        what: "AMQP, confirms and acks, latency at 5,000/s, 128 B",
        label: "5,000/s",
        arguments: "latency --protocol amqp --rate 5000",
        peers: &[RabbitMq, Limit],
        length: Window(5000),
    },
    Scenario {
        row: 7,
        id: "7-confirms-20000",
        what: "AMQP, confirms and acks, latency at 20,000/s, 128 B",
        label: "20,000/s",
        arguments: "latency --protocol amqp --rate 20000",
        peers: &[RabbitMq, Limit],
        length: Window(5000),
    },
    Scenario {
        row: 7,
        id: "7-native-5000",
        what: "native, latency at 5,000/s, 128 B",
        label: "5,000/s",
        arguments: "latency --rate 5000 --auto-ack --confirms 0",
        peers: &[Nats, Limit],
        length: Window(3000),
    },
    Scenario {
        row: 7,
        id: "7-native-20000",
        what: "native, latency at 20,000/s, 128 B",
        label: "20,000/s",
        arguments: "latency --rate 20000 --auto-ack --confirms 0",
        peers: &[Nats, Limit],
        length: Window(3000),
    },
    Scenario {
        row: 8,
        id: "8-transient-100000",
        what: "backlog of 100,000, transient",
        label: "100,000, transient",
        arguments: "backlog --messages 100000",
        peers: &[],
        length: Work(2000),
    },
    Scenario {
        row: 8,
        id: "8-transient-1000000",
        what: "backlog of 1,000,000, transient",
        label: "1,000,000, transient",
        arguments: "backlog --messages 1000000",
        peers: &[],
        length: Work(5000),
    },
    Scenario {
        row: 8,
        id: "8-transient-10000000",
        what: "backlog of 10,000,000, transient",
        label: "10,000,000, transient",
        arguments: "backlog --messages 10000000",
        peers: &[],
        length: Work(32000),
    },
    Scenario {
        row: 8,
        id: "8-transient-100000000",
        what: "backlog of 100,000,000, transient",
        label: "100,000,000, transient",
        arguments: "backlog --messages 100000000",
        peers: &[],
        length: Once(120_000),
    },
    Scenario {
        row: 8,
        id: "8-durable-1000000",
        what: "backlog of 1,000,000, durable",
        label: "1,000,000, durable",
        arguments: "backlog --messages 1000000 --persistent",
        peers: &[],
        length: Work(5000),
    },
    Scenario {
        row: 8,
        id: "8-durable-10000000",
        what: "backlog of 10,000,000, durable",
        label: "10,000,000, durable",
        arguments: "backlog --messages 10000000 --persistent",
        peers: &[],
        length: Work(32000),
    },
    Scenario {
        row: 8,
        id: "8-durable-100000000",
        what: "backlog of 100,000,000, durable",
        label: "100,000,000, durable",
        arguments: "backlog --messages 100000000 --persistent",
        peers: &[],
        length: Once(120_000),
    },
    Scenario {
        row: 8,
        id: "8-batch-1",
        what: "backlog of 1,000,000, one at a time",
        label: "1,000,000, one at a time",
        arguments: "backlog --messages 1000000 --batch 1",
        peers: &[],
        length: Work(8000),
    },
    Scenario {
        row: 9,
        id: "9-idle",
        what: "2,000 idle connections, a channel each",
        label: "idle connections",
        arguments: "idle --protocol amqp --connections 2000 --duration 2s",
        peers: &[],
        length: Work(6000),
    },
    Scenario {
        row: 10,
        id: "10-churn",
        what: "AMQP, churn: connect, channel, declare, delete, close",
        label: "churn",
        arguments: "churn --protocol amqp",
        peers: &[RabbitMq],
        length: Window(2000),
    },
    Scenario {
        row: 11,
        id: "11-amqp",
        what: "AMQP, 4 publishers, 4 consumers, 4 queues, 128 B",
        label: "AMQP",
        arguments: "throughput --protocol amqp --publishers 4 --consumers 4 --queues 4 --auto-ack --confirms 0",
        peers: &[Limit],
        length: Window(2000),
    },
    Scenario {
        row: 11,
        id: "11-native",
        what: "native, 4 publishers, 4 consumers, 4 queues, 128 B",
        label: "native",
        arguments: "throughput --publishers 4 --consumers 4 --queues 4 --auto-ack --confirms 0",
        peers: &[Limit],
        length: Window(2000),
    },
    Scenario {
        row: 12,
        id: "12-queues-1",
        what: "AMQP, 1 queue, 100,000/s",
        label: "1 queue",
        arguments: "throughput --protocol amqp --queues 1 --rate 100000 --auto-ack --confirms 0",
        peers: &[],
        length: Window(3000),
    },
    Scenario {
        row: 12,
        id: "12-queues-10",
        what: "AMQP, 10 queues, 100,000/s",
        label: "10 queues",
        arguments: "throughput --protocol amqp --queues 10 --rate 100000 --auto-ack --confirms 0",
        peers: &[],
        length: Window(3000),
    },
    Scenario {
        row: 12,
        id: "12-queues-100",
        what: "AMQP, 100 queues, 100,000/s",
        label: "100 queues",
        arguments: "throughput --protocol amqp --queues 100 --rate 100000 --auto-ack --confirms 0",
        peers: &[],
        length: Window(3000),
    },
    Scenario {
        row: 12,
        id: "12-queues-1000",
        what: "AMQP, 1,000 queues, 100,000/s",
        label: "1,000 queues",
        arguments: "throughput --protocol amqp --queues 1000 --rate 100000 --auto-ack --confirms 0",
        peers: &[],
        length: Window(3000),
    },
    Scenario {
        row: 12,
        id: "12-queues-10000",
        what: "AMQP, 10,000 queues (10 consuming connections), 100,000/s",
        label: "10,000 queues",
        arguments: "throughput --protocol amqp --queues 10000 --consumers 10 --rate 100000 --auto-ack --confirms 0",
        peers: &[],
        length: Window(3000),
    },
    Scenario {
        row: 12,
        id: "12-connections-2",
        what: "AMQP, 2 connections, each pair with a queue, 20,000/s",
        label: "2 connections",
        arguments: "throughput --protocol amqp --publishers 1 --consumers 1 --queues 1 --rate 20000 --auto-ack --confirms 0",
        peers: &[],
        length: Warmed(3000),
    },
    Scenario {
        row: 12,
        id: "12-connections-10",
        what: "AMQP, 10 connections, each pair with a queue, 20,000/s",
        label: "10 connections",
        arguments: "throughput --protocol amqp --publishers 5 --consumers 5 --queues 5 --rate 20000 --auto-ack --confirms 0",
        peers: &[],
        length: Warmed(3000),
    },
    Scenario {
        row: 12,
        id: "12-connections-100",
        what: "AMQP, 100 connections, each pair with a queue, 20,000/s",
        label: "100 connections",
        arguments: "throughput --protocol amqp --publishers 50 --consumers 50 --queues 50 --rate 20000 --auto-ack --confirms 0",
        peers: &[],
        length: Warmed(3000),
    },
    Scenario {
        row: 12,
        id: "12-connections-1000",
        what: "AMQP, 1,000 connections, each pair with a queue, 20,000/s",
        label: "1,000 connections",
        arguments: "throughput --protocol amqp --publishers 500 --consumers 500 --queues 500 --rate 20000 --auto-ack --confirms 0",
        peers: &[],
        length: Warmed(3000),
    },
    Scenario {
        row: 12,
        id: "12-connections-5000",
        what: "AMQP, 5,000 connections, each pair with a queue, 20,000/s",
        label: "5,000 connections",
        arguments: "throughput --protocol amqp --publishers 2500 --consumers 2500 --queues 2500 --rate 20000 --auto-ack --confirms 0",
        peers: &[],
        length: Warmed(3000),
    },
];
