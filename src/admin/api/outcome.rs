//! What the audit log calls things.

/// A name in a vhost, without what could forge a line of a log. Both are as the request has them: neither need be there.
pub(super) fn object(vhost: &str, name: &str) -> String {
    format!("{name:?} in vhost {vhost:?}")
}
