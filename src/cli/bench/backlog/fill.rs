//! Publishers fill the queues, until everything is confirmed.

use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::error::{BenchError, BenchResult};
use super::super::plan::Plan;
use super::super::running::Running;
use super::super::traffic::{Answers, Ends, Publisher};
use super::memory::Anonymous;
use super::order;

/// How often to look at memory and progress.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How the filling went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    /// From the first message to the last confirm.
    pub(super) took: Duration,
    /// CPU time of the broker.
    pub(super) cpu: Option<Duration>,
}

/// Declares the queues and fills them.
pub(super) fn run(
    messages: u64,
    plan: &Plan,
    broker: &Running,
    anonymous: &Anonymous,
) -> BenchResult<Filled> {
    let plan = Plan { consumers: 0, ..plan.clone() };
    // The queues are to stay: who drains them removes them.
    let Ends { publishers, .. } = broker.ends(&plan)?;
    let sockets: Vec<_> = publishers.iter().filter_map(|end| end.socket().try_clone().ok()).collect();
    let (published, count) = (AtomicU64::new(0), publishers.len() as u64);
    let (began, cpu) = (Instant::now(), anonymous.cpu());
    let answers = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(publishers)
            .map(|(number, publisher)| {
                let share = messages / count + u64::from(u64::from(number) < messages % count);
                let (plan, published) = (&plan, &published);
                scope.spawn(move || publish(publisher, number, share, plan, published))
            })
            .collect();
        let (mut last, mut moved_at) = (0, Instant::now());
        while threads.iter().any(|thread| !thread.is_finished()) {
            anonymous.now();
            let now = published.load(Ordering::Relaxed);
            if now != last {
                (last, moved_at) = (now, Instant::now());
            }
            let failed = moved_at.elapsed() > plan.patience;
            if failed {
                sockets.iter().for_each(|socket| _ = socket.shutdown(Shutdown::Both));
            }
            thread::sleep(LOOK_EVERY);
        }
        let mut all = Answers::default();
        for thread in threads {
            let failed = || BenchError::Process("a thread of the generator has failed".to_owned());
            let answers = thread.join().map_err(|_| failed())??;
            all.confirmed += answers.confirmed;
            all.rejected += answers.rejected;
        }
        Ok(all)
    })?;
    let took = began.elapsed();
    if answers.confirmed != messages {
        let text = format!("{} of {messages} messages were confirmed", answers.confirmed);
        return Err(BenchError::Process(text));
    }
    Ok(Filled { took, cpu: cpu.and_then(|cpu| Some(anonymous.cpu()?.saturating_sub(cpu))) })
}

fn publish(
    mut publisher: Box<dyn Publisher>,
    number: u32,
    messages: u64,
    plan: &Plan,
    published: &AtomicU64,
) -> BenchResult<Answers> {
    let mut in_line = vec![0; plan.queues as usize];
    let (mut left, mut batch) = (messages, 0);
    while left > 0 {
        let count = left.min(plan.batch.into()) as u32;
        let line = order::line(number, plan.queues, batch);
        let before = &mut in_line[(batch % u64::from(plan.queues)) as usize];
        publisher.publish(count, Some(&|message| order::number(line, *before + u64::from(message))))?;
        *before += u64::from(count);
        left -= u64::from(count);
        batch += 1;
        published.fetch_add(count.into(), Ordering::Relaxed);
    }
    publisher.finish()
}
