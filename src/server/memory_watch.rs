//! Once a second: gives memory that nobody needs any more back to the system, and tells the broker how much the
//! process takes. Messages are not all of it.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::broker::Broker;

/// RabbitMQ looks every 2.5 seconds.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop` is cancelled.
pub(super) async fn watch_memory(broker: Broker, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // Gigabytes take their time, which is no worker's.
        let resident = tokio::task::spawn_blocking(|| {
            give_back();
            admin::resident_memory()
        });
        if let Ok(Some(resident)) = resident.await {
            broker.note_process_memory(resident);
        }
    }
}

/// Has the allocator give back what has been free for a while (a second, as mimalloc comes). By itself it does so when it
/// is asked for more, which an idle broker does not. What worker threads keep for themselves stays with them.
#[expect(unsafe_code, reason = "the allocator's crate has no safe function for it")]
fn give_back() {
    // SAFETY: may be called by any thread at any time. Where mimalloc is not the process's allocator (it is the
    // binary's only), it has nothing to give back.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
