//! Whose turn it is on a thread: when a connection lets others go first.
//!
//! Tokio's own `yield_now` is not used where it would cost: it waits until its thread has nothing else to do, which
//! makes that thread look for work elsewhere, and then wake another to look on; at low rates that was a third of a
//! message's CPU time. A task that keeps its thread busy with it calls [`go_on`] each time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

use tokio::runtime::{Builder, Runtime};

thread_local! {
    /// Who waits in [`after_woken`]; none: nobody would call [`go_on`] before this thread sleeps.
    static BEHIND: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// The runtime that a broker serves its connections with: a thread for each core, and connections on it can wait for those
/// that they have woken.
///
/// A server runs on any other runtime of tokio's, too; there nobody waits, so that a consumer may get a message
/// after its publisher got the confirm.
///
/// # Errors
/// The system has no thread, or no files, to give.
pub fn runtime() -> io::Result<Runtime> {
    built(Builder::new_multi_thread().thread_name("rialto"))
}

fn built(builder: &mut Builder) -> io::Result<Runtime> {
    builder.enable_all().on_thread_start(|| BEHIND.set(Some(Vec::new()))).on_thread_park(go_on).build()
}

/// Lets the tasks go first that are ready, here or, if there is an idle thread, this one on that.
pub(super) async fn stand_in_line() {
    let mut stands = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut stands, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Lets a connection go first that this one has just woken, if there still is one: the first to [`go_on`] on this
/// thread ends the wait, and so does a thread that would sleep.
pub(super) async fn after_woken() {
    let mut waits = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waits, true) {
            return Poll::Ready(());
        }
        BEHIND.with_borrow_mut(|behind| match behind {
            Some(behind) => {
                behind.push(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
    })
    .await;
}

/// Says that a connection has written, so those who let it go first go on.
pub(super) fn go_on() {
    while let Some(waker) = BEHIND.with_borrow_mut(|behind| behind.as_mut()?.pop()) {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Notify;

    use super::*;

    fn on_one_thread() -> Runtime {
        built(Builder::new_multi_thread().worker_threads(1)).unwrap()
    }

    #[test]
    fn who_was_woken_goes_first() {
        let runtime = on_one_thread();
        let (published, order) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let consumer = runtime.spawn({
            let (published, order) = (published.clone(), order.clone());
            async move {
                published.notified().await;
                order.lock().unwrap().push("message");
                go_on();
            }
        });
        let publisher = runtime.spawn({
            let order = order.clone();
            async move {
                published.notify_one();
                after_woken().await;
                order.lock().unwrap().push("confirm");
            }
        });
        runtime.block_on(async { tokio::try_join!(consumer, publisher) }).unwrap();
        assert_eq!(*order.lock().unwrap(), ["message", "confirm"]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        // Nobody was woken: the thread has nothing else to do.
        let runtime = on_one_thread();
        runtime.block_on(runtime.spawn(after_woken())).unwrap();
        // Not a thread of the runtime.
        runtime.block_on(after_woken());
    }

    #[tokio::test]
    async fn on_another_runtime_nobody_waits() {
        after_woken().await;
    }
}
