//! Consumers drain the queues, until everything is back.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::error::{BenchError, BenchResult};
use super::super::plan::Plan;
use super::super::running::Running;
use super::super::traffic::{Consumer, Ends};
use super::memory::Anonymous;
use super::order::Order;

/// How often to look at memory and progress.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How the draining went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    /// From the first consumer to the last message.
    pub(super) took: Duration,
    /// Of that, until a tenth was back.
    pub(super) first_tenth: Duration,
    /// From when all but a tenth was back.
    pub(super) last_tenth: Duration,
    /// CPU time of the broker.
    pub(super) cpu: Option<Duration>,
}

/// What the consumers' threads share.
struct Shared {
    began: Instant,
    messages: u64,
    received: AtomicU64,
    /// Nanoseconds until a tenth, nine tenths and all of the messages were back; 0: they are not yet.
    reached: [AtomicU64; 3],
    over: AtomicBool,
}

impl Shared {
    fn new(messages: u64) -> Shared {
        Shared {
            began: Instant::now(),
            messages,
            received: AtomicU64::new(0),
            reached: Default::default(),
            over: AtomicBool::new(false),
        }
    }

    /// So many more are back.
    fn came(&self, count: u64) {
        let before = self.received.fetch_add(count, Ordering::Relaxed);
        let marks = [self.messages / 10, self.messages - self.messages / 10, self.messages];
        for (reached, mark) in self.reached.iter().zip(marks) {
            if before < mark && before + count >= mark {
                reached.store(self.began.elapsed().as_nanos().max(1) as u64, Ordering::Relaxed);
            }
        }
    }

    fn reached(&self, mark: usize) -> Duration {
        Duration::from_nanos(self.reached[mark].load(Ordering::Relaxed))
    }
}

/// Drains the queues and removes them.
pub(super) fn run(
    messages: u64,
    plan: &Plan,
    broker: &Running,
    anonymous: &Anonymous,
) -> BenchResult<Drained> {
    let plan = Plan { publishers: 0, ..plan.clone() };
    let cpu = anonymous.cpu();
    let shared = Shared::new(messages);
    let Ends { consumers, clean_up, .. } = broker.ends(&plan)?;
    let sockets: Vec<_> = consumers.iter().filter_map(|end| end.socket().try_clone().ok()).collect();
    let (orders, used) = thread::scope(|scope| {
        let start = |consumer| scope.spawn(|| consume(consumer, &shared));
        let threads: Vec<_> = consumers.into_iter().map(start).collect();
        let (mut last, mut moved_at) = (0, Instant::now());
        while last < messages && moved_at.elapsed() < plan.patience {
            anonymous.now();
            thread::sleep(LOOK_EVERY);
            let now = shared.received.load(Ordering::Relaxed);
            if now != last {
                (last, moved_at) = (now, Instant::now());
            }
            if threads.iter().any(|thread| thread.is_finished()) {
                break;
            }
        }
        let used = cpu.and_then(|cpu| Some(anonymous.cpu()?.saturating_sub(cpu)));
        shared.over.store(true, Ordering::Relaxed);
        // It may have ended by itself.
        sockets.iter().for_each(|socket| _ = socket.shutdown(Shutdown::Both));
        let failed = || BenchError::Process("a thread of the generator has failed".to_owned());
        let orders: BenchResult<Vec<Order>> =
            threads.into_iter().map(|thread| thread.join().map_err(|_| failed())?).collect();
        Ok::<_, BenchError>((orders?, used))
    })?;
    if let Some(wrong) = orders.iter().find_map(Order::wrong) {
        return Err(BenchError::Process(wrong));
    }
    let received = shared.received.load(Ordering::Relaxed);
    if received != messages {
        return Err(BenchError::Process(format!("{received} of {messages} messages came back")));
    }
    clean_up()?;
    let took = shared.reached(2);
    Ok(Drained {
        took,
        first_tenth: shared.reached(0),
        last_tenth: took.saturating_sub(shared.reached(1)),
        cpu: used,
    })
}

/// Reads until the round is over.
fn consume(mut consumer: Box<dyn Consumer>, shared: &Shared) -> BenchResult<Order> {
    let mut order = Order::default();
    loop {
        let received = consumer.receive(&mut |number| {
            // What others left unsettled when they ended comes once more.
            if !shared.over.load(Ordering::Relaxed) {
                order.came(number);
            }
        });
        match received {
            _ if shared.over.load(Ordering::Relaxed) => return Ok(order),
            Ok(Some(count)) => shared.came(count),
            Ok(None) => return Err(BenchError::Ended),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_timed_when_they_are_full() {
        let shared = Shared::new(100);
        shared.came(9);
        assert_eq!(shared.reached(0), Duration::ZERO);
        shared.came(1);
        assert!(shared.reached(0) > Duration::ZERO);
        shared.came(85);
        assert!(shared.reached(1) >= shared.reached(0) && shared.reached(2) == Duration::ZERO);
        shared.came(5);
        assert!(shared.reached(2) >= shared.reached(1));
    }
}
