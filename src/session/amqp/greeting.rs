//! What the broker says first: `connection.start`, the same to everybody, so it is encoded once.

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
pub struct Greeting(Bytes);

impl Greeting {
    /// Announces a `product` and its `version`. Some clients behave differently towards `RabbitMQ`.
    pub fn new(product: &str, version: &str) -> Greeting {
        let capabilities =
            SERVER_CAPABILITIES.iter().fold(FieldTable::new(), |table, name| table.with(*name, true));
        let server_properties = FieldTable::new()
            .with("capabilities", capabilities)
            .with("cluster_name", "rialto@localhost")
            .with("copyright", "Copyright (c) the Rialto authors")
            .with("information", "Licensed under the Apache License 2.0 or the MIT licence")
            .with("platform", "Rust")
            .with("product", product)
            .with("version", version)
            .with("compat", "RabbitMQ 4.x");
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: Bytes::from_static(b"PLAIN"),
            locales: Bytes::from_static(b"en_US"),
        };
        let mut out = BytesMut::new();
        Method::ConnectionStart(start).encode(0, &mut out);
        Greeting(out.freeze())
    }

    /// The frame.
    pub(super) fn frame(&self) -> &[u8] {
        &self.0
    }
}

/// In the broker's own name.
impl Default for Greeting {
    fn default() -> Self {
        Greeting::new("Rialto", env!("CARGO_PKG_VERSION"))
    }
}
