//! Tells the broker, once a second, how much memory the process takes: messages are not all of it.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::broker::Broker;

/// RabbitMQ looks every 2.5 seconds.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled. To ask the system takes microseconds and no disk, so it needs no thread of its own.
pub(super) async fn watch_memory(broker: Broker, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Some(resident) = admin::resident_memory() {
            broker.note_process_memory(resident);
        }
    }
}
