//! Where a login comes from.

use core::net::SocketAddr;

/// What a peer speaks that logs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp,
    /// Rialto's own.
    #[default]
    Native,
    /// The HTTP API.
    Http,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 3] = [Protocol::Amqp, Protocol::Native, Protocol::Http];

    /// Its name as RabbitMQ's API and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Amqp => "amqp091",
            Protocol::Native => "rialto",
            Protocol::Http => "http",
        }
    }

    /// Its name and version as RabbitMQ's API tells them of a connection.
    pub const fn title(self) -> &'static str {
        match self {
            Protocol::Amqp => "AMQP 0-9-1",
            Protocol::Native => "rialto 1.0",
            Protocol::Http => "HTTP",
        }
    }
}

/// Where a login comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The peer's address.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whom its certificate names, if it has shown one that was verified.
    pub certificate_name: Option<String>,
    /// Whether nobody can listen in.
    pub is_tls: bool,
}

impl Origin {
    /// A peer without TLS.
    pub fn plain(address: SocketAddr, protocol: Protocol) -> Self {
        Origin { address, protocol, certificate_name: None, is_tls: false }
    }

    /// Whether the peer is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}
