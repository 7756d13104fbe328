//! A connection as its driver knows it, before and after anybody has logged in: its two ends, and what has passed.

use std::net::SocketAddr;

use super::Figure;

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

/// What both sides of a TLS connection have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version, as `TLSv1.3`.
    pub version: String,
    /// The cipher suite, as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name that the client asked for, if it asked for one.
    pub server_name: Option<String>,
    /// The client's certificate, if it has shown one.
    pub certificate: Option<CertificateFacts>,
}

/// What a client's certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The name that a login by `EXTERNAL` takes from it.
    pub name: String,
    /// Whose it is.
    pub subject: String,
    /// Who has signed it.
    pub issuer: String,
    /// From when until when it is valid, for people to read.
    pub validity: String,
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
