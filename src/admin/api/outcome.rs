//! What the audit log calls things.

use crate::broker::Vhost;

/// A name in a vhost, without what could forge a line of a log.
pub(super) fn object(vhost: &Vhost, name: &str) -> String {
    format!("{:?} in vhost {:?}", name, vhost.name().as_str())
}
