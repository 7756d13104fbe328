//! The machine and its twin, at the same time in the same state: `step` does one random operation to both.
//!
//! Here: what a pair is, and how likely each operation is. `publishing`: messages that come. `deliveries`: those that go
//! out, and what becomes of them. `consumers`: who takes them. `operator`: what is done from outside, other options
//! included. `storage`: pages, overflow files and restarts. `comparison`: everything that can be seen of both.
//! `options`: what kind of queue it is. Not here: the twin's rules (`naive`).

mod comparison;
mod consumers;
mod deliveries;
mod operator;
mod options;
mod publishing;
mod storage;

use std::fmt;
use std::sync::Arc;

use crate::model::{ExchangeName, Location, MemoryGauge, MessageRoute, QueueName, RoutingKey, Timestamp};
use crate::queue::{ChannelWindow, Effects, Queue, QueueLimits, Spill};

use super::choices::Choices;
use super::mutation::Mutation;
use super::naive::Naive;
use super::stored::Stored;
use super::tally::Tally;

const START_MS: u64 = 1_000_000;
const GETTERS: [u64; 2] = [900_001, 900_002];
const NAME: &str = "model";
/// The header with a message's key.
const KEY: &str = "id";

/// The machine and its twin, at the same time in the same state.
pub(super) struct Pair {
    machine: Queue,
    naive: Naive,
    windows: Vec<Arc<ChannelWindow>>,
    stored: Stored,
    /// Whether messages are paged out in this run.
    pages: bool,
    /// Messages that are being written to an overflow file, and where.
    spilling: Option<(Spill, Location)>,
    now: Timestamp,
    next_lsn: u64,
    /// LSNs that were passed over: their messages come late.
    late: Vec<u64>,
    /// Messages published at once: some runs have short queues, some have long ones.
    burst: u64,
    next_consumer: u64,
    out: Effects,
    route: MessageRoute,
    gauge: MemoryGauge,
    tally: Tally,
}

/// What both must say.
fn same<T: PartialEq + fmt::Debug>(what: &str, machine: T, naive: T) -> Result<(), String> {
    match machine == naive {
        true => Ok(()),
        false => Err(format!("{what}: the machine says {machine:?}, the twin says {naive:?}")),
    }
}

impl Pair {
    pub(super) fn new(choices: &mut impl Choices, mutation: Option<Mutation>) -> Pair {
        let now = Timestamp::from_millis(START_MS);
        let options = options::options(choices);
        let limits: Vec<u32> = vec![choices.one_of(&[0, 1, 3]), choices.one_of(&[2, 5])];
        let name = QueueName::new(NAME).expect("short");
        Pair {
            machine: Queue::new(name, options.clone(), QueueLimits::default(), now),
            windows: limits.iter().map(|limit| Arc::new(ChannelWindow::new(*limit))).collect(),
            naive: Naive::new(options, limits, mutation, now.as_micros()),
            stored: Stored::default(),
            pages: choices.one_in(2),
            spilling: None,
            now,
            next_lsn: 1,
            late: Vec::new(),
            burst: choices.one_of(&[1, 1, 1, 4, 12]),
            next_consumer: 1,
            out: Effects::new(),
            route: MessageRoute { exchange: ExchangeName::default(), routing_key: RoutingKey::default() },
            gauge: MemoryGauge::new(),
            tally: Tally::default(),
        }
    }

    /// One random operation, done to both.
    pub(super) fn step(&mut self, choices: &mut impl Choices) -> Result<(), String> {
        self.tally.operations += 1;
        match choices.below(if self.pages { 76 } else { 68 }) {
            0..21 => self.publish(choices)?,
            21..33 => self.dispatch(choices)?,
            33..44 => self.settle(choices)?,
            44..47 => self.get(choices)?,
            47..50 => self.add(choices)?,
            50..52 => self.remove(choices),
            52 => self.refill(choices),
            53..55 => self.add_credit(choices),
            55 => self.set_prefetch(choices),
            56 => self.set_channel_limit(choices),
            57 => self.wake_channels(),
            58..61 => self.now = self.now.plus_millis(choices.below(12)),
            61..63 => self.tick()?,
            63 if choices.one_in(4) => self.purge()?,
            63 if choices.one_in(4) => self.set_options(choices),
            64 => self.take_out(choices)?,
            65..67 => self.look(choices)?,
            67 => self.pause(choices),
            68..72 => self.page_out(choices),
            72..75 => self.spill(choices),
            75 if self.machine.options().durable && choices.one_in(3) => self.restart()?,
            _ => {
                self.machine.touch(self.now);
                self.naive.touch(self.now.as_micros());
            }
        }
        self.load(choices, false)
    }

    fn tick(&mut self) -> Result<(), String> {
        self.machine.tick(self.now, &mut self.out);
        self.naive.tick(self.now.as_micros());
        match self.machine.next_deadline() {
            Some(at) if at <= self.now && self.out.deleted.is_none() => {
                Err(format!("the next deadline is {at:?}, which is not later than the last tick"))
            }
            _ => Ok(()),
        }
    }
}
