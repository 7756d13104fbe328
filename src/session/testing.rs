//! For tests of both sessions: a broker whose log commits when a test says so, and whether an outbox was woken.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::broker::{Broker, Commit, Outbox};
use crate::store::Position;
use crate::store::testing::HeldLog;

/// A commit of the journal alone.
pub(super) fn journal(position: u64) -> Commit {
    Commit { journal: Position(position), catalog: 0 }
}

/// A log that commits nothing yet, and a broker that appends to it.
pub(super) fn held_log() -> (Arc<HeldLog>, Broker) {
    let log = HeldLog::new();
    let broker = Broker::in_memory().log(log.clone()).build();
    (log, broker)
}

/// Whether the outbox was woken since this was asked last.
pub(super) fn was_woken(outbox: &Outbox) -> bool {
    pin!(outbox.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
