//! One round: connections are made, traffic runs, a window of it is measured, then everything is drained and counted.
//!
//! A thread for each connection, and the round's own, which only watches; but one for both ends where a message between
//! two is timed, and few where connections are very many. Invariants: what was published and
//! taken must arrive, as often as the plan says; a round that makes no progress ends anyway. Not here: what the
//! connections speak (`native`, `nats`, `relay`), how rounds are summed up (`report`).

use std::io;
use std::net::{Shutdown, TcpStream};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::consuming::{Consuming, consume};
use super::error::{BenchError, BenchResult, Doing};
use super::pace::Pace;
use super::plan::Plan;
use super::publishing::publish;
use super::traffic::{Answers, Consumer, Ends, Publisher};
use super::usage::Meter;

/// How long it may take to wake one more thread.
const WAKE_EACH: Duration = Duration::from_micros(50);

/// From so many ends of a kind on they share threads, as many as there are cores: to wake thousands of threads in turn
/// would cost more, the broker as well, than what is measured.
const THREADS_MAX: usize = 128;

/// How often the round looks at memory and progress.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The same where messages are sent at a rate: looking takes a core for a moment, and whoever needs it then is late.
const LOOK_SELDOM: Duration = Duration::from_millis(500);

/// Stack of a connection's thread: they keep their buffers on the heap, and there may be thousands.
const STACK: usize = 256 << 10;

/// Longest latency that is told apart from longer ones: a minute, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;

/// What one round found.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Length of the window.
    pub(super) window: Duration,
    /// Messages published within the window.
    pub(super) published: u64,
    /// Messages (copies) received within the window.
    pub(super) received: u64,
    /// CPU time of the broker within the window, where it can be known.
    pub(super) broker_cpu: Option<Duration>,
    /// CPU time of the generator.
    pub(super) generator_cpu: Option<Duration>,
    /// Most resident memory of the broker seen in the window.
    pub(super) broker_rss: Option<u64>,
    /// All that was published in the round.
    pub(super) published_in_all: u64,
    /// All that was received.
    pub(super) received_in_all: u64,
    /// All that the broker answered.
    pub(super) answers: Answers,
    /// Copies that had to arrive and did not.
    pub(super) missing: u64,
    /// Copies that arrived beyond those.
    pub(super) surplus: u64,
    /// Nanoseconds from when a message was due until it was received; messages due within the window.
    pub(super) latency: Option<Histogram<u64>>,
    /// Nanoseconds from when a message was due until its sending began: the generator's own share of the latency,
    /// unless the broker made it wait.
    pub(super) lateness: Option<Histogram<u64>>,
    /// Nanoseconds from when a message was sent until it was confirmed; messages sent within the window.
    pub(super) confirm_times: Option<Histogram<u64>>,
}

/// What the threads of a round share.
pub(super) struct Shared {
    epoch: Instant,
    pub(super) stop: AtomicBool,
    /// The consumers' sockets are being shut down on purpose.
    pub(super) over: AtomicBool,
    pub(super) published: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) finished: AtomicU64,
    failed: Mutex<Option<BenchError>>,
    /// Beginning and end of the window in nanoseconds since the epoch.
    pub(super) window: (u64, u64),
}

impl Shared {
    /// The round begins now.
    pub(super) fn begun(window: (u64, u64)) -> Self {
        Shared {
            epoch: Instant::now(),
            stop: AtomicBool::new(false),
            over: AtomicBool::new(false),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            failed: Mutex::new(None),
            window,
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// The first failure is the cause of the others.
    pub(super) fn fail(&self, error: BenchError) {
        self.failed.lock().get_or_insert(error);
    }
}

/// Runs a round with connections that are ready.
pub(super) fn run(plan: &Plan, ends: Ends, broker: Option<Meter>) -> BenchResult<Measured> {
    let Ends { publishers, consumers, clean_up } = ends;
    let sockets = Sockets::of(&publishers, &consumers)?;
    // Threads take a moment to wake; all begin from here. What is due before would have to be caught up with.
    let lead = Duration::from_millis(20) + WAKE_EACH * (publishers.len() + consumers.len()) as u32;
    let begin = (lead + plan.warm_up).as_nanos() as u64;
    // Its time begins once all threads are there, however many they are.
    let starting = Arc::new(OnceLock::<Arc<Shared>>::new());
    // A message that one end sends to the other is timed by one thread.
    let is_pair = plan.stamps && publishers.len() == 1 && consumers.len() == 1;
    let mut consumers: Vec<Consuming> = consumers.into_iter().map(Consuming::new).collect();
    let mut heard = if is_pair { consumers.pop() } else { None };
    let consuming = start("consumer", shared_out(consumers, true), |consumers| {
        let starting = starting.clone();
        move || consume(consumers, starting.wait())
    })?;
    let pace = |number| Some(Pace::new(lead.as_nanos() as u64, plan.rate?, number, plan.publishers));
    let publishers = (0..).zip(publishers).map(|(number, publisher)| (publisher, pace(number))).collect();
    // Who is not on a rate waits for the broker, and who is timed spins: not to be done for others.
    let may_share = plan.rate.is_some() && !plan.stamps;
    let publishing = start("publisher", shared_out(publishers, may_share), |publishers| {
        let (starting, plan, heard) = (starting.clone(), plan.clone(), heard.take());
        let (publishers, paces): (Vec<_>, Vec<_>) = publishers.into_iter().unzip();
        let paces = paces.into_iter().flatten().collect();
        move || publish(publishers, paces, heard, starting.wait(), &plan)
    })?;
    let window = (begin, begin + plan.duration.as_nanos() as u64);
    let shared = starting.get_or_init(|| Arc::new(Shared::begun(window)));
    let mut watch = Watch { shared, plan, broker, sockets, publishers: publishing.len() as u64 };
    let mut measured = watch.window();
    shared.stop.store(true, Ordering::Relaxed);
    watch.drain(measured.is_ok());

    let (mut lateness, mut latency, mut confirm_times) = (durations(), durations(), durations());
    let mut answers = Answers::default();
    for thread in publishing {
        let published = joined(thread)?;
        answers.confirmed += published.answers.confirmed;
        answers.rejected += published.answers.rejected;
        for (all, found) in [
            (&mut lateness, published.lateness),
            (&mut confirm_times, published.confirm_times),
            (&mut latency, published.latency),
        ] {
            all.add(found).expect("histograms of one kind");
        }
    }
    for thread in consuming {
        latency.add(joined(thread)?).expect("histograms of one kind");
    }
    if let Some(error) = shared.failed.lock().take() {
        return Err(error);
    }
    if let Ok(measured) = &mut measured {
        measured.published_in_all = shared.published.load(Ordering::Relaxed);
        measured.received_in_all = shared.received.load(Ordering::Relaxed);
        measured.answers = answers;
        let expected = match plan.consumers {
            0 => 0,
            _ => (measured.published_in_all - answers.rejected) * plan.copies(),
        };
        measured.missing = expected.saturating_sub(measured.received_in_all);
        measured.surplus = measured.received_in_all.saturating_sub(expected);
        if plan.confirms.is_some() {
            measured.missing =
                measured.missing.max(measured.published_in_all - answers.confirmed - answers.rejected);
        }
        measured.latency = (plan.stamps && !latency.is_empty()).then_some(latency);
        measured.lateness = plan.rate.is_some().then_some(lateness);
        // Whoever is on a rate and not timed listens only when its window is full.
        let listened = plan.rate.is_none() || plan.stamps;
        measured.confirm_times = (plan.confirms.is_some() && listened).then_some(confirm_times);
        clean_up()?;
    }
    measured
}

/// A socket of each connection, to wake or end its thread by.
struct Sockets {
    publishers: Vec<TcpStream>,
    consumers: Vec<TcpStream>,
}

impl Sockets {
    fn of(publishers: &[Box<dyn Publisher>], consumers: &[Box<dyn Consumer>]) -> BenchResult<Self> {
        let cannot = || "cannot share a socket".to_owned();
        Ok(Sockets {
            publishers: publishers
                .iter()
                .map(|end| end.socket().try_clone())
                .collect::<io::Result<_>>()
                .doing(cannot)?,
            consumers: consumers
                .iter()
                .map(|end| end.socket().try_clone())
                .collect::<io::Result<_>>()
                .doing(cannot)?,
        })
    }
}

struct Watch<'a> {
    shared: &'a Shared,
    plan: &'a Plan,
    broker: Option<Meter>,
    sockets: Sockets,
    publishers: u64,
}

/// The counters at one time.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    published: u64,
    received: u64,
    broker_cpu: Option<Duration>,
    generator_cpu: Option<Duration>,
}

impl Watch<'_> {
    /// Waits through warm-up and window.
    fn window(&mut self) -> BenchResult<Measured> {
        let mut rss = None;
        self.wait(self.shared.window.0, &mut None)?;
        let first = self.look();
        self.wait(self.shared.window.1, &mut rss)?;
        let last = self.look();
        let cpu = |of: fn(&Look) -> Option<Duration>| Some(of(&last)?.saturating_sub(of(&first)?));
        Ok(Measured {
            window: last.at - first.at,
            published: last.published - first.published,
            received: last.received - first.received,
            broker_cpu: cpu(|look| look.broker_cpu),
            generator_cpu: cpu(|look| look.generator_cpu),
            broker_rss: rss,
            published_in_all: 0,
            received_in_all: 0,
            answers: Answers::default(),
            missing: 0,
            surplus: 0,
            latency: None,
            lateness: None,
            confirm_times: None,
        })
    }

    fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            published: self.shared.published.load(Ordering::Relaxed),
            received: self.shared.received.load(Ordering::Relaxed),
            broker_cpu: self.broker.and_then(|meter| meter.cpu()),
            generator_cpu: Meter::own().cpu(),
        }
    }

    /// Waits until the round's clock says `until`, and notes the most memory seen. Ends early with a failure.
    fn wait(&self, until: u64, rss: &mut Option<u64>) -> BenchResult<()> {
        let every = if self.plan.rate.is_some() { LOOK_SELDOM } else { LOOK_EVERY };
        loop {
            *rss = (*rss).max(self.broker.and_then(|meter| meter.rss()));
            if self.shared.failed.lock().is_some() {
                return Err(BenchError::Ended);
            }
            let left = Duration::from_nanos(until.saturating_sub(self.shared.now()));
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(every));
        }
    }

    /// Waits until publishers have finished and all has arrived, or nothing moves any more; then ends everyone.
    fn drain(&mut self, well: bool) {
        let progress = || {
            let shared = self.shared;
            [&shared.published, &shared.received, &shared.finished].map(|count| count.load(Ordering::Relaxed))
        };
        let (mut last, mut moved_at) = (progress(), Instant::now());
        while well && self.shared.failed.lock().is_none() && moved_at.elapsed() < self.plan.patience {
            let now = progress();
            let [published, received, finished] = now;
            let all = self.plan.consumers == 0 || received >= published * self.plan.copies();
            if finished == self.publishers && all {
                break;
            }
            if now != last {
                (last, moved_at) = (now, Instant::now());
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.shared.over.store(true, Ordering::Relaxed);
        for socket in self.sockets.publishers.iter().chain(&self.sockets.consumers) {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Deals the ends out to threads: one each, unless that would be more threads than a machine has use for.
fn shared_out<E>(ends: Vec<E>, may_share: bool) -> Vec<Vec<E>> {
    let threads = match may_share && ends.len() > THREADS_MAX {
        true => thread::available_parallelism().map_or(1, NonZero::get),
        false => ends.len(),
    };
    let mut dealt: Vec<Vec<E>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, end) in ends.into_iter().enumerate() {
        dealt[number % threads].push(end);
    }
    dealt
}

/// Starts a thread for each.
fn start<E, T, F>(role: &str, ends: Vec<E>, mut work: impl FnMut(E) -> F) -> BenchResult<Vec<JoinHandle<T>>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    ends.into_iter()
        .enumerate()
        .map(|(number, end)| {
            let thread = thread::Builder::new().name(format!("{role} {number}")).stack_size(STACK);
            thread.spawn(work(end)).doing(|| format!("cannot start {role} {number}"))
        })
        .collect()
}

fn joined<T>(thread: JoinHandle<T>) -> BenchResult<T> {
    thread.join().map_err(|_| BenchError::Process("a thread of the generator has failed".to_owned()))
}

/// Of nanoseconds, exact to three digits.
pub(super) fn durations() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX, 3).expect("the bounds are valid")
}

/// Records a message that was due in the window.
pub(super) fn record(histogram: &mut Histogram<u64>, due: u64, now: u64, window: (u64, u64)) {
    if (window.0..window.1).contains(&due) {
        histogram.saturating_record(now.saturating_sub(due));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::super::traffic::Due;
    use super::*;

    /// Publishes into a channel and loses (or doubles) some messages; the sockets only wake threads.
    struct Loopback {
        socket: TcpStream,
        out: Sender<u64>,
        sent: u64,
        copies_of: fn(u64) -> u64,
    }

    impl Publisher for Loopback {
        fn publish(&mut self, count: u32, _: Option<Due<'_>>) -> BenchResult<()> {
            for _ in 0..count {
                self.sent += 1;
                let copies = (self.copies_of)(self.sent);
                self.out.send(copies).map_err(|_| BenchError::Ended)?;
            }
            Ok(())
        }

        fn finish(&mut self) -> BenchResult<Answers> {
            Ok(Answers { confirmed: self.sent, rejected: 0 })
        }

        fn socket(&self) -> &TcpStream {
            &self.socket
        }
    }

    struct Sink {
        socket: TcpStream,
        from: Receiver<u64>,
    }

    impl Consumer for Sink {
        fn receive(&mut self, _: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
            // Ends when the publisher's thread has; the socket is what the round shuts down.
            match self.from.recv() {
                Ok(count) => Ok(Some(count)),
                Err(_) => {
                    let _ = io::Read::read(&mut self.socket, &mut [0]);
                    Ok(None)
                }
            }
        }

        fn socket(&self) -> &TcpStream {
            &self.socket
        }
    }

    fn measured(copies_of: fn(u64) -> u64) -> Measured {
        let plan = Plan { rate: Some(10_000), ..Plan::short() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (out, from) = mpsc::channel();
        let ends = Ends {
            publishers: vec![Box::new(Loopback { socket: connect(), out, sent: 0, copies_of })],
            consumers: vec![Box::new(Sink { socket: connect(), from })],
            clean_up: Box::new(|| Ok(())),
        };
        run(&plan, ends, None).unwrap()
    }

    #[test]
    fn nothing_is_missing_when_all_arrives() {
        let round = measured(|_| 1);
        assert!(round.published_in_all > 0);
        assert_eq!((round.missing, round.surplus), (0, 0));
        assert_eq!(round.received_in_all, round.published_in_all);
    }

    #[test]
    fn a_lost_message_is_missed() {
        let round = measured(|number| u64::from(number != 3));
        assert_eq!((round.missing, round.surplus), (1, 0));
    }

    #[test]
    fn a_message_that_comes_twice_is_noticed() {
        let round = measured(|number| if number == 3 { 2 } else { 1 });
        assert_eq!((round.missing, round.surplus), (0, 1));
    }

    #[test]
    fn a_message_between_two_ends_is_timed_by_one_thread() {
        /// Both ends of one socket.
        struct Wire(TcpStream);
        impl Publisher for Wire {
            fn publish(&mut self, count: u32, due: Option<Due<'_>>) -> BenchResult<()> {
                let due = due.expect("messages are timed");
                let stamps: Vec<u8> = (0..count).flat_map(|message| due(message).to_be_bytes()).collect();
                io::Write::write_all(&mut self.0, &stamps).doing(String::new)
            }
            fn finish(&mut self) -> BenchResult<Answers> {
                Ok(Answers::default())
            }
            fn socket(&self) -> &TcpStream {
                &self.0
            }
        }
        impl Consumer for Wire {
            fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
                let mut bytes = [0; 8];
                let whole = io::Read::read_exact(&mut self.0, &mut bytes).is_ok();
                Ok(whole.then(|| stamp(u64::from_be_bytes(bytes))).map(|()| 1))
            }
            fn socket(&self) -> &TcpStream {
                &self.0
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let plan = Plan { rate: Some(2_000), stamps: true, ..Plan::short() };
        let ends = Ends {
            publishers: vec![Box::new(Wire(ours))],
            consumers: vec![Box::new(Wire(listener.accept().unwrap().0))],
            clean_up: Box::new(|| Ok(())),
        };
        let round = run(&plan, ends, None).unwrap();
        assert_eq!((round.missing, round.surplus), (0, 0));
        assert!(round.latency.is_some_and(|latency| !latency.is_empty()));
    }

    #[test]
    fn very_many_ends_share_threads_and_each_has_one() {
        let dealt = |ends: usize, may_share| shared_out((0..ends).collect(), may_share);
        assert_eq!(dealt(0, true).len(), 0);
        assert_eq!((dealt(THREADS_MAX, true).len(), dealt(2000, false).len()), (THREADS_MAX, 2000));
        let few = dealt(2000, true);
        assert_eq!(few.len(), thread::available_parallelism().unwrap().get());
        let mut all = few.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..2000));
    }

    #[test]
    fn a_generator_that_fails_fails_the_round() {
        struct Failing(TcpStream);
        impl Publisher for Failing {
            fn publish(&mut self, _: u32, _: Option<Due<'_>>) -> BenchResult<()> {
                Err(BenchError::Refused("NOT_FOUND".to_owned()))
            }
            fn finish(&mut self) -> BenchResult<Answers> {
                Ok(Answers::default())
            }
            fn socket(&self) -> &TcpStream {
                &self.0
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let long = Duration::from_secs(3600);
        let plan = Plan { consumers: 0, duration: long, patience: long, ..Plan::short() };
        let ends = Ends {
            publishers: vec![Box::new(Failing(socket))],
            consumers: Vec::new(),
            clean_up: Box::new(|| Ok(())),
        };
        assert!(matches!(run(&plan, ends, None), Err(BenchError::Refused(_))));
    }
}
