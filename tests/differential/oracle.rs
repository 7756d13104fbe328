//! The RabbitMQ that we compare with: one from outside, or one of our own where it is installed.

#[path = "../support/rabbitmq.rs"]
mod rabbitmq;

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};

use self::rabbitmq::Node;

/// A second vhost, to compare the oracle with itself.
pub(crate) const TWIN: &str = "twin";

/// The broker that we compare with.
pub(crate) struct Oracle {
    pub(crate) address: SocketAddr,
    node: Option<Node>,
}

impl Oracle {
    /// The one that `RIALTO_ORACLE=host:port` names, or one that is started here; none if none is installed.
    pub(crate) fn find() -> Option<Oracle> {
        if let Ok(named) = env::var("RIALTO_ORACLE") {
            let address = named.to_socket_addrs().ok().and_then(|mut all| all.next());
            let address = address.unwrap_or_else(|| panic!("RIALTO_ORACLE={named} is no host:port"));
            return Some(Oracle { address, node: None });
        }
        let node = Node::start()?;
        let all = r#"{"configure": ".*", "write": ".*", "read": ".*"}"#;
        for (path, body) in [(format!("vhosts/{TWIN}"), ""), (format!("permissions/{TWIN}/guest"), all)] {
            let answer = node.call("PUT", &path, body);
            assert!(matches!(answer, Some((201 | 204, _))), "RabbitMQ makes {path}: {answer:?}");
        }
        Some(Oracle { address: node.address, node: Some(node) })
    }

    /// Whether it was made for this test, with [`TWIN`].
    pub(crate) fn is_own(&self) -> bool {
        self.node.is_some()
    }
}
