//! This process, as RabbitMQ's tools want to know it: a node with a name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A socket that accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// As RabbitMQ calls it: `amqp`, `amqp/ssl`, `http`, `https`, `http/prometheus`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
}

/// The node.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    started: Instant,
    listeners: Vec<Listener>,
}

impl Node {
    /// The node of this process.
    pub fn new(listeners: Vec<Listener>) -> Self {
        Node { name: node_name(), started: Instant::now(), listeners }
    }

    /// See [`node_name`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it has run.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where it listens.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }
}

/// What this process is called among brokers: `rialto@` and the machine's name up to its first dot, as Erlang's short
/// names are.
pub fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().filter(|host| !host.is_empty());
    format!("rialto@{}", host.unwrap_or("localhost"))
}
