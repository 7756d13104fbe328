//! What a publisher's thread does in a round: it publishes as fast as it may, or each message when it is due.
//!
//! Not here: when messages are due (`pace`), and what is made of what was found (`round`).

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::{BenchResult, Doing};
use super::pace::Pace;
use super::plan::Plan;
use super::round::{LATENCY_MAX, Shared, record};
use super::traffic::{Answers, Publisher};

/// Longest time a publisher sleeps until it looks whether the round is over, and how often all of them together look
/// at most: thousands that only looked would cost more than those that send.
const NAP_MAX: Duration = Duration::from_millis(50);
const LOOKS_PER_SECOND: u32 = 2000;

/// Time that a sleeper commonly takes to be awake. A publisher on a rate gets up so much earlier and spins until a message
/// is due: else the machine's own slowness would be charged to all who are measured, and hide how they differ. A core
/// that has gone to sleep itself takes 40 µs in a virtual machine.
const WAKING: Duration = Duration::from_micros(60);

/// Nanoseconds between looks for confirms while it spins.
const LISTEN_EVERY: u64 = 10_000;

/// What a publisher's thread has found.
pub(super) struct Published {
    pub(super) answers: Answers,
    /// Nanoseconds from when messages were due until they were handed over.
    pub(super) lateness: Histogram<u64>,
    pub(super) confirm_times: Option<Histogram<u64>>,
}

/// Has the publisher begin anew once the window does.
struct Start(bool);

impl Start {
    fn look(&mut self, publisher: &mut dyn Publisher, shared: &Shared) {
        if !self.0 && shared.now() >= shared.window.0 {
            publisher.begin_window();
            self.0 = true;
        }
    }
}

pub(super) fn publish(
    mut publisher: Box<dyn Publisher>,
    shared: &Shared,
    plan: &Plan,
    pace: Option<Pace>,
) -> Published {
    let mut lateness = Histogram::<u64>::new_with_max(LATENCY_MAX, 3).expect("the bounds are valid");
    let publisher = &mut *publisher;
    let done = match pace {
        Some(pace) => publish_paced(publisher, shared, plan, pace, &mut lateness),
        None => publish_freely(publisher, shared, plan.batch),
    };
    let finished = done.and_then(|()| publisher.finish());
    shared.finished.fetch_add(1, Ordering::Relaxed);
    let answers = finished.unwrap_or_else(|error| {
        // A round that stalled shuts publishers down; its report says what is missing.
        if !shared.over.load(Ordering::Relaxed) {
            shared.fail(error);
        }
        Answers::default()
    });
    Published { answers, lateness, confirm_times: publisher.confirm_times().cloned() }
}

fn publish_freely(publisher: &mut dyn Publisher, shared: &Shared, batch: u32) -> BenchResult<()> {
    let mut start = Start(false);
    while !shared.stop.load(Ordering::Relaxed) {
        start.look(publisher, shared);
        publisher.publish(batch, None)?;
        shared.published.fetch_add(batch.into(), Ordering::Relaxed);
    }
    Ok(())
}

fn publish_paced(
    publisher: &mut dyn Publisher,
    shared: &Shared,
    plan: &Plan,
    pace: Pace,
    lateness: &mut Histogram<u64>,
) -> BenchResult<()> {
    // By default the kernel may wake a sleeper 50 µs late, to save power; that would be most of a latency.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let nap_max = NAP_MAX.max(Duration::from_secs(1) * plan.publishers / LOOKS_PER_SECOND);
    // Spinning is for those who are timed; thousands who did it would leave nobody else a core.
    let waking = if plan.stamps { WAKING } else { Duration::ZERO };
    let (mut sent, mut start) = (0, Start(false));
    let mut listened = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        start.look(publisher, shared);
        let now = shared.now();
        let count = pace.due_by(now).saturating_sub(sent).min(plan.batch.into()) as u32;
        if count == 0 {
            let nap = Duration::from_nanos(pace.due(sent).saturating_sub(now));
            match nap.checked_sub(waking) {
                Some(nap) if !plan.stamps => thread::sleep(nap.min(nap_max)),
                Some(nap) => listen(publisher, nap.min(nap_max))?,
                None if now < listened + LISTEN_EVERY => std::hint::spin_loop(),
                None => {
                    listen(publisher, Duration::ZERO)?;
                    listened = now;
                }
            }
            continue;
        }
        let due = |message: u32| pace.due(sent + u64::from(message));
        for message in 0..count {
            record(lateness, due(message), now, shared.window);
        }
        publisher.publish(count, plan.stamps.then_some(&due))?;
        sent += u64::from(count);
        shared.published.fetch_add(count.into(), Ordering::Relaxed);
        if pace.due(sent) < shared.now() + waking.as_nanos() as u64 {
            // It spins from here on, and the kernel may have put whom the message woke onto this core, as if its sender
            // slept now: there it would stand behind the loop for milliseconds, while another core is idle.
            thread::yield_now();
        }
    }
    Ok(())
}

/// Waits so long, unless something comes: a confirm is timed when it is there, not when its publisher needs it.
fn listen(publisher: &mut dyn Publisher, at_most: Duration) -> BenchResult<()> {
    let mut sockets = [PollFd::new(publisher.socket(), PollFlags::IN)];
    let at_most = Timespec::try_from(at_most).expect("a nap is short");
    match poll(&mut sockets, Some(&at_most)) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        Ok(_) => publisher.listen(),
        Err(error) => Err(io::Error::from(error)).doing(|| "cannot wait for confirms".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::super::traffic::Due;
    use super::*;

    /// Counts what it is told.
    struct Listener(TcpStream, u32);

    impl Publisher for Listener {
        fn publish(&mut self, _: u32, _: Option<Due<'_>>) -> BenchResult<()> {
            Ok(())
        }
        fn listen(&mut self) -> BenchResult<()> {
            self.1 += 1;
            Ok(())
        }
        fn finish(&mut self) -> BenchResult<Answers> {
            Ok(Answers::default())
        }
        fn socket(&self) -> &TcpStream {
            &self.0
        }
    }

    #[test]
    fn who_waits_for_its_time_hears_what_comes_meanwhile() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut broker = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut publisher = Listener(listener.accept().unwrap().0, 0);
        listen(&mut publisher, Duration::ZERO).unwrap();
        assert_eq!(publisher.1, 0, "nothing has come");
        broker.write_all(b"confirmed").unwrap();
        listen(&mut publisher, Duration::from_secs(3600)).unwrap();
        assert_eq!(publisher.1, 1);
    }
}
