//! What the broker says first: `connection.start`. All but the ways to log in and the name of the cluster is always the same.

use bytes::{Bytes, BytesMut};
use rialto_protocol::amqp::{ConnectionStart, Method};
use rialto_protocol::types::FieldTable;

/// What RabbitMQ announces, and so do we: each of them is kept.
const SERVER_CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// See the module.
#[derive(Clone, Debug)]
pub struct Greeting {
    server_properties: FieldTable,
    node: String,
}

impl Greeting {
    /// Announces a `product` and its `version`. Some clients behave differently towards `RabbitMQ`. A cluster without a
    /// name of its own is called as its `node` is.
    pub fn new(product: &str, version: &str, node: &str) -> Greeting {
        let capabilities =
            SERVER_CAPABILITIES.iter().fold(FieldTable::new(), |table, name| table.with(name, true));
        let server_properties = FieldTable::new()
            .with("capabilities", capabilities)
            .with("copyright", "Copyright (c) the Rialto authors")
            .with("information", "Licensed under the Apache License 2.0 or the MIT licence")
            .with("platform", "Rust")
            .with("product", product)
            .with("version", version)
            .with("compat", "RabbitMQ 4.x");
        Greeting { server_properties, node: node.to_owned() }
    }

    /// Writes it for a peer that may log in by these SASL mechanisms, to a cluster that may have been given a name.
    pub(super) fn encode(&self, mechanisms: &[&str], cluster: Option<String>, out: &mut BytesMut) {
        let cluster = cluster.unwrap_or_else(|| self.node.clone());
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: self.server_properties.clone().with("cluster_name", cluster),
            mechanisms: mechanisms.join(" ").into(),
            locales: Bytes::from_static(b"en_US"),
        };
        Method::ConnectionStart(start).encode(0, out);
    }
}

/// In the broker's own name.
impl Default for Greeting {
    fn default() -> Self {
        Greeting::new("Rialto", env!("CARGO_PKG_VERSION"), "rialto@localhost")
    }
}
