//! What a publishers' thread does in a round: it publishes as fast as it may, or each message when it is due.
//!
//! A thread for each publisher, unless they are very many and on a rate. Where a message between one publisher and one
//! consumer is timed, their thread is the same; invariant: it never waits for the broker to take something while it is
//! the one who must take what the broker sends. Not here: when messages are due (`pace`), consumers (`consuming`),
//! and what is made of what was found (`round`).

use std::io;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::consuming::{Consuming, consume};
use super::error::{BenchResult, Doing};
use super::pace::Pace;
use super::plan::Plan;
use super::round::{Shared, durations, record};
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

/// Most bytes that are sent at a time by who hears a consumer as well: as many as a socket takes, without a wait, that
/// says it is writable. While it waited, nobody would take what a broker must get rid of before it reads on.
const TAKEN_AT_ONCE: usize = 4 << 10;

/// Nanoseconds that messages may be late for their publisher to go on hearing a consumer: two threads send more.
const BEHIND_MAX: u64 = 100_000_000;

/// What a publishers' thread has found.
pub(super) struct Published {
    pub(super) answers: Answers,
    /// Nanoseconds from when messages were due until they were handed over.
    pub(super) lateness: Histogram<u64>,
    /// Nanoseconds from when they were sent until they were confirmed.
    pub(super) confirm_times: Histogram<u64>,
    /// What the consumer has found that was heard here.
    pub(super) latency: Histogram<u64>,
}

impl Published {
    fn nothing() -> Self {
        Published {
            answers: Answers::default(),
            lateness: durations(),
            confirm_times: durations(),
            latency: durations(),
        }
    }
}

/// Publishes until the round stops. `paces`: of each publisher, if they are on a rate; several publishers are. `heard`: the
/// consumer, if it is the only one and has no thread of its own.
pub(super) fn publish(
    mut publishers: Vec<Box<dyn Publisher>>,
    paces: Vec<Pace>,
    heard: Option<Consuming>,
    shared: &Arc<Shared>,
    plan: &Plan,
) -> Published {
    let mut found = Published::nothing();
    let mut consuming = None;
    let done = if paces.is_empty() {
        publishers.iter_mut().try_for_each(|publisher| publish_freely(&mut **publisher, shared, plan))
    } else {
        let paced = publishers.iter_mut().zip(paces).map(|(publisher, pace)| Paced {
            publisher: &mut **publisher,
            shared,
            plan,
            pace,
            sent: 0,
            start: Start(false),
        });
        let mut paced: Vec<_> = paced.collect();
        let done = match (&mut paced[..], heard) {
            ([one], None) => one.publish(&mut found.lateness),
            ([one], Some(mut heard)) => {
                let done = one.publish_and_hear(&mut heard, &mut found);
                let shared = shared.clone();
                consuming = Some(thread::spawn(move || consume(vec![heard], &shared)));
                done.and_then(|()| one.publish(&mut found.lateness))
            }
            (many, _) => publish_in_turn(many, &mut found.lateness),
        };
        paced.iter().for_each(|one| one.charge_unsent(&mut found));
        done
    };
    let finished = done.and_then(|()| {
        for publisher in &mut publishers {
            let Answers { confirmed, rejected } = publisher.finish()?;
            found.answers.confirmed += confirmed;
            found.answers.rejected += rejected;
        }
        Ok(())
    });
    shared.finished.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = finished
        // A round that stalled shuts publishers down; its report says what is missing.
        && !shared.over.load(Ordering::Relaxed)
    {
        shared.fail(error);
    }
    for times in publishers.iter().filter_map(|publisher| publisher.confirm_times()) {
        found.confirm_times.add(times).expect("histograms of one kind");
    }
    if let Some(Ok(latency)) = consuming.map(thread::JoinHandle::join) {
        found.latency.add(latency).expect("histograms of one kind");
    }
    found
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

fn publish_freely(publisher: &mut dyn Publisher, shared: &Shared, plan: &Plan) -> BenchResult<()> {
    let mut start = Start(false);
    while !shared.stop.load(Ordering::Relaxed) {
        start.look(publisher, shared);
        publisher.publish(plan.batch, None)?;
        shared.published.fetch_add(plan.batch.into(), Ordering::Relaxed);
    }
    Ok(())
}

/// Publishers of one rate, whose messages are due in turn.
fn publish_in_turn(publishers: &mut [Paced<'_>], lateness: &mut Histogram<u64>) -> BenchResult<()> {
    wake_on_time();
    let mut turn = 0;
    while publishers[turn].goes_on() {
        let one = &mut publishers[turn];
        let now = one.shared.now();
        match one.due(now, one.plan.batch) {
            0 => thread::sleep(one.nap(now).min(NAP_MAX)),
            count => {
                one.send(count, now, lateness)?;
                turn = (turn + 1) % publishers.len();
            }
        }
    }
    Ok(())
}

/// A publisher on a rate.
struct Paced<'a> {
    publisher: &'a mut dyn Publisher,
    shared: &'a Shared,
    plan: &'a Plan,
    pace: Pace,
    sent: u64,
    start: Start,
}

impl Paced<'_> {
    fn publish(&mut self, lateness: &mut Histogram<u64>) -> BenchResult<()> {
        wake_on_time();
        let plan = self.plan;
        let nap_max = NAP_MAX.max(Duration::from_secs(1) * plan.publishers / LOOKS_PER_SECOND);
        // Spinning is for those who are timed.
        let waking = if plan.stamps { WAKING } else { Duration::ZERO };
        let mut listened = 0;
        while self.goes_on() {
            let now = self.shared.now();
            let count = self.due(now, plan.batch);
            if count == 0 {
                match self.nap(now).checked_sub(waking) {
                    Some(nap) if !plan.stamps => thread::sleep(nap.min(nap_max)),
                    Some(nap) => listen(self.publisher, nap.min(nap_max))?,
                    None if now < listened + LISTEN_EVERY => std::hint::spin_loop(),
                    None => {
                        listen(self.publisher, Duration::ZERO)?;
                        listened = now;
                    }
                }
                continue;
            }
            self.send(count, now, lateness)?;
            if self.nap(self.shared.now()) < waking {
                let_go();
            }
        }
        Ok(())
    }

    /// Does the consumer's work as well, until the round stops or the broker does not keep up: a message is seen when it
    /// is there, not when the machine has woken one more thread of the generator.
    fn publish_and_hear(&mut self, heard: &mut Consuming, found: &mut Published) -> BenchResult<()> {
        wake_on_time();
        let at_a_time = (TAKEN_AT_ONCE / self.plan.size.max(1)).clamp(1, self.plan.batch as usize) as u32;
        while self.goes_on() {
            let nap = self.nap(self.shared.now());
            let is_waited_for = heard.received < self.sent;
            let nap = if is_waited_for { Duration::ZERO } else { nap.saturating_sub(WAKING).min(NAP_MAX) };
            let takes_more = hear(self.publisher, heard, nap, self.shared, &mut found.latency)?;
            if !nap.is_zero() {
                continue;
            }
            let now = self.shared.now();
            let count = self.due(now, at_a_time);
            if count > 0 {
                if !takes_more || self.pace.due(self.sent) + BEHIND_MAX < now {
                    return Ok(());
                }
                self.send(count, now, &mut found.lateness)?;
                let_go();
            }
        }
        Ok(())
    }

    /// What was due and has not been sent, because the broker or the machine did not keep up, has waited at least until
    /// now: to leave it out would make the worst look best.
    fn charge_unsent(&self, found: &mut Published) {
        let now = self.shared.now();
        for message in self.sent..self.pace.due_by(self.shared.window.1.min(now)) {
            record(&mut found.lateness, self.pace.due(message), now, self.shared.window);
            if self.plan.stamps {
                record(&mut found.latency, self.pace.due(message), now, self.shared.window);
            }
        }
    }

    fn goes_on(&mut self) -> bool {
        self.start.look(self.publisher, self.shared);
        !self.shared.stop.load(Ordering::Relaxed)
    }

    /// Messages that are due, but so many at most.
    fn due(&self, now: u64, at_most: u32) -> u32 {
        self.pace.due_by(now).saturating_sub(self.sent).min(at_most.into()) as u32
    }

    /// Time until the next message is due.
    fn nap(&self, now: u64) -> Duration {
        Duration::from_nanos(self.pace.due(self.sent).saturating_sub(now))
    }

    fn send(&mut self, count: u32, now: u64, lateness: &mut Histogram<u64>) -> BenchResult<()> {
        let due = |message: u32| self.pace.due(self.sent + u64::from(message));
        for message in 0..count {
            record(lateness, due(message), now, self.shared.window);
        }
        self.publisher.publish(count, self.plan.stamps.then_some(&due))?;
        self.sent += u64::from(count);
        self.shared.published.fetch_add(count.into(), Ordering::Relaxed);
        Ok(())
    }
}

/// By default the kernel may wake a sleeper 50 µs late, to save power; that would be most of a latency.
fn wake_on_time() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// For who spins from here on: the kernel may have put whom a message woke onto this core, as if its sender slept now.
/// There it would stand behind the loop for milliseconds, while another core is idle.
fn let_go() {
    thread::yield_now();
}

/// Waits so long, unless something comes: a confirm is timed when it is there, not when its publisher needs it.
fn listen(publisher: &mut dyn Publisher, at_most: Duration) -> BenchResult<()> {
    let [ours] = await_any([(publisher.socket(), PollFlags::IN)], at_most)?;
    if ours.is_empty() { Ok(()) } else { publisher.listen() }
}

/// The same with a consumer. Says whether the publisher's socket takes more, if there was no time to wait.
fn hear(
    publisher: &mut dyn Publisher,
    heard: &mut Consuming,
    at_most: Duration,
    shared: &Shared,
    latency: &mut Histogram<u64>,
) -> BenchResult<bool> {
    // Who waits would be woken at once by a socket that can be written to.
    let asked = if at_most.is_zero() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
    let [ours, theirs] = await_any([(publisher.socket(), asked), (heard.socket(), PollFlags::IN)], at_most)?;
    if !theirs.is_empty() {
        heard.receive(shared, latency)?;
    }
    if !ours.difference(PollFlags::OUT).is_empty() {
        publisher.listen()?;
    }
    Ok(ours.contains(PollFlags::OUT))
}

/// What has become of these sockets within so long.
fn await_any<const N: usize>(
    sockets: [(&TcpStream, PollFlags); N],
    at_most: Duration,
) -> BenchResult<[PollFlags; N]> {
    let mut sockets = sockets.map(|(socket, flags)| PollFd::new(socket, flags));
    let at_most = Timespec::try_from(at_most).expect("a nap is short");
    match poll(&mut sockets, Some(&at_most)) {
        Ok(_) | Err(Errno::INTR) => Ok(sockets.map(|socket| socket.revents())),
        Err(error) => Err(io::Error::from(error)).doing(|| "cannot wait for the broker".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

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
        let (mut broker, ours) = pair();
        let mut publisher = Listener(ours, 0);
        listen(&mut publisher, Duration::ZERO).unwrap();
        assert_eq!(publisher.1, 0, "nothing has come");
        broker.write_all(b"confirmed").unwrap();
        listen(&mut publisher, Duration::from_secs(3600)).unwrap();
        assert_eq!(publisher.1, 1);
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn who_hears_a_consumer_gives_it_away_before_it_would_wait_for_the_broker() {
        struct Consumer(TcpStream);
        impl super::super::traffic::Consumer for Consumer {
            fn receive(&mut self, _: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
                unreachable!("nothing comes")
            }
            fn socket(&self) -> &TcpStream {
                &self.0
            }
        }
        let ((mut full, _broker), (quiet, _too)) = (pair(), pair());
        full.set_nonblocking(true).unwrap();
        // What was written may move on to the other end and leave room once more.
        let long = Duration::from_millis(50);
        while await_any([(&full, PollFlags::OUT)], long).unwrap()[0].contains(PollFlags::OUT) {
            let _ = full.write(&[0; 1 << 16]);
        }
        let mut publisher = Listener(full, 0);
        let shared = Shared::begun((0, 0));
        let mut paced = Paced {
            publisher: &mut publisher,
            shared: &shared,
            plan: &Plan::short(),
            pace: Pace::new(0, 1000, 0, 1),
            sent: 0,
            start: Start(false),
        };
        let mut consumer = Consuming::new(Box::new(Consumer(quiet)));
        paced.publish_and_hear(&mut consumer, &mut Published::nothing()).unwrap();
        assert_eq!(paced.sent, 0);
    }

    #[test]
    fn what_was_due_and_never_sent_has_waited_for_the_whole_time() {
        let mut publisher = Listener(pair().0, 0);
        let shared = Shared::begun((0, u64::MAX));
        while shared.now() < 3_000_000 {}
        let plan = Plan { stamps: true, ..Plan::short() };
        let (pace, start) = (Pace::new(0, 1000, 0, 1), Start(false));
        let paced = Paced { publisher: &mut publisher, shared: &shared, plan: &plan, pace, sent: 1, start };
        let mut found = Published::nothing();
        paced.charge_unsent(&mut found);
        assert!(found.latency.len() >= 2 && found.latency.max() >= 1_990_000, "{:?}", found.latency.max());
        assert_eq!(found.lateness.len(), found.latency.len());
    }
}
