//! How many files and sockets the process may have open at once.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that are open besides connections: segments of the journal, the catalog, sockets that listen, logs.
const FILES: u64 = 1280;

/// Raises the process's limit as far as the system allows without asking: shells and service managers mostly start with
/// 1024, which connections and segments of a long journal would soon use up. Gives the limit; none: there is none.
pub(crate) fn raise() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    getrlimit(Resource::Nofile).current
}

/// [`raise`]s the limit for a broker, and says so if it does not do for all.
pub(super) fn raise_for(connections_max: u64) {
    let wanted = connections_max + FILES;
    if let Some(limit) = raise().filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "fewer files can be open than server.connections_max and the journal may need; raise the limit (ulimit -n, \
             LimitNOFILE)"
        );
    }
}
