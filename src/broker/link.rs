//! A connection as its driver knows it, before and after anybody has logged in: its two ends, and what has passed.

use std::net::SocketAddr;

use super::Figure;
use crate::access::{Origin, Protocol};
use crate::model::TlsFacts;

/// See the module. Its driver and its session share it.
#[derive(Debug)]
pub struct Link {
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsFacts>,
    /// What has passed.
    pub traffic: Traffic,
}

/// What has been read from a socket and written to it; counted once for each read and write.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes from the peer.
    pub received: Figure,
    /// Reads that brought them.
    pub reads: Figure,
    /// Bytes to the peer.
    pub sent: Figure,
    /// Writes that took them.
    pub writes: Figure,
}

impl Link {
    /// A connection from `peer` to `local`; without TLS unless that is told.
    pub fn new(peer: SocketAddr, local: SocketAddr, tls: Option<TlsFacts>) -> Self {
        Link { peer, local, tls, traffic: Traffic::default() }
    }

    /// Where the peer is.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where it has connected to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What was agreed on if it is a TLS connection.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// Where a login by this protocol comes from.
    pub fn origin(&self, protocol: Protocol) -> Origin {
        let certificate = self.tls.as_ref().and_then(|tls| tls.peer.as_ref());
        Origin {
            address: self.peer,
            protocol,
            certificate_name: certificate.and_then(|certificate| certificate.login_name.clone()),
            is_tls: self.tls.is_some(),
        }
    }

    /// What the connection is called, as in RabbitMQ: no other has the name while it lives.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

impl Traffic {
    /// Counts a read.
    pub fn received(&self, bytes: usize) {
        self.received.add(bytes as u64);
        self.reads.add(1);
    }

    /// Counts a write.
    pub fn sent(&self, bytes: usize) {
        self.sent.add(bytes as u64);
        self.writes.add(1);
    }
}
