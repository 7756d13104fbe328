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
        Node { name: format!("rialto@{}", host_name()), started: Instant::now(), listeners }
    }

    /// `rialto@` and the name of the machine.
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

/// The machine's name up to its first dot, as Erlang's short names are.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim().split('.').next() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "localhost".to_owned(),
    }
}
