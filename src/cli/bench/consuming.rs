//! What a consumers' thread does in a round: it counts what comes, and how long it was under way.
//!
//! A thread for each consumer, unless they are very many. Invariant: nobody reads who would have to wait while others
//! have something. Not here: who hears a consumer besides publishing (`publishing`), and what is made of what was
//! found (`round`).

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;

use super::error::{BenchError, BenchResult, Doing};
use super::round::{Shared, durations, record};
use super::traffic::Consumer;

/// Sockets that are asked about at a time.
const EVENTS: usize = 64;

/// A consumer, and what comes to it.
pub(super) struct Consuming {
    consumer: Box<dyn Consumer>,
    /// Messages that have come.
    pub(super) received: u64,
    /// When the messages of a read were due, if they say so.
    due: Vec<u64>,
}

impl Consuming {
    pub(super) fn new(consumer: Box<dyn Consumer>) -> Self {
        Consuming { consumer, received: 0, due: Vec::new() }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.consumer.socket()
    }

    /// Takes what has come, or waits for something. False: the round is over.
    pub(super) fn receive(&mut self, shared: &Shared, latency: &mut Histogram<u64>) -> BenchResult<bool> {
        let mut goes_on = self.read(shared, latency)?;
        while goes_on && self.consumer.has_more() {
            goes_on = self.read(shared, latency)?;
        }
        Ok(goes_on)
    }

    fn read(&mut self, shared: &Shared, latency: &mut Histogram<u64>) -> BenchResult<bool> {
        let received = self.consumer.receive(&mut |at| self.due.push(at));
        // What consumers that ended earlier left unsettled comes to the others once more.
        if shared.over.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let count = received?.ok_or(BenchError::Ended)?;
        if !self.due.is_empty() {
            let now = shared.now();
            for at in self.due.drain(..) {
                record(latency, at, now, shared.window);
            }
        }
        self.received += count;
        shared.received.fetch_add(count, Ordering::Relaxed);
        Ok(true)
    }
}

/// Reads until the round is over, and says how long messages have taken.
pub(super) fn consume(mut consumers: Vec<Consuming>, shared: &Shared) -> Histogram<u64> {
    let mut latency = durations();
    let done = match &mut consumers[..] {
        [one] => consume_one(one, shared, &mut latency),
        many => consume_in_turn(many, shared, &mut latency),
    };
    if let Err(error) = done {
        shared.fail(error);
    }
    latency
}

fn consume_one(consumer: &mut Consuming, shared: &Shared, latency: &mut Histogram<u64>) -> BenchResult<()> {
    while consumer.receive(shared, latency)? {}
    Ok(())
}

/// Reads of each what has come.
fn consume_in_turn(
    consumers: &mut [Consuming],
    shared: &Shared,
    latency: &mut Histogram<u64>,
) -> BenchResult<()> {
    let sockets = watched(consumers).doing(|| "cannot watch the consumers' sockets".to_owned())?;
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        match epoll::wait(&sockets, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(io::Error::from(error)).doing(|| "cannot wait for the broker".to_owned());
            }
        }
        for event in events.drain(..) {
            if !consumers[event.data.u64() as usize].receive(shared, latency)? {
                return Ok(());
            }
        }
    }
}

/// What tells of all that has come, with the consumers' numbers.
fn watched(consumers: &[Consuming]) -> io::Result<OwnedFd> {
    let sockets = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, consumer) in (0..).zip(consumers) {
        let number = epoll::EventData::new_u64(number);
        epoll::add(&sockets, consumer.socket(), number, epoll::EventFlags::IN)?;
    }
    Ok(sockets)
}
