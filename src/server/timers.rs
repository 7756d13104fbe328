//! The tasks that look at the broker when nobody else does: deadlines, and back-pressure.

use std::future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::turns::go_on;
use crate::broker::{Broker, Turn};

/// Runs a task that the broker cannot do without, and starts it again should a defect end it: a panic over one
/// queue must not end the time of all others.
pub(super) async fn keep_up<F: Future<Output = ()> + Send + 'static>(start: impl Fn() -> F) {
    while let Err(error) = tokio::spawn(start()).await
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the broker failed; starting it again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Runs the broker's timers until stopped.
pub(super) async fn expire(broker: Broker, stop: CancellationToken) {
    let mut turn = Turn::new();
    loop {
        let next = broker.next_deadline();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep(at.since(broker.now())).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                while broker.run_some_timers(&mut turn) && !stop.is_cancelled() {
                    // Its thread does not sleep meanwhile.
                    go_on();
                    tokio::task::yield_now().await;
                }
            }
            () = broker.deadline_changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at queues that hold publishers back for as long as there are some: their own traffic lifts the
/// pressure at once, but memory may also become free elsewhere.
pub(super) async fn lift_pressure(broker: Broker, stop: CancellationToken) {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut turn = Turn::new();
    loop {
        tokio::select! {
            () = broker.pressure_began() => {}
            () = stop.cancelled() => return,
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if !broker.review_pressure(&mut turn) {
                break;
            }
        }
    }
}
