//! The one rule of back-pressure: when is a queue so full that who publishes to it must wait?
//!
//! A queue over its own budget is congested. When all messages together are over the broker's budget, a
//! queue is congested above its fair share, so whoever fills the memory waits and traffic that flows goes on.
//! Far above the budget everyone waits. And long before any budget, who publishes faster than a consumer's
//! connection can be written to is paced: nothing would arrive sooner, and short queues stay in the caches. Publishers
//! wait for *queues*: who publishes elsewhere is not held. What a publisher may send before it has to wait is its
//! window, and a peer can open connection after connection for one window each: from twice the budget on nothing is
//! taken at all.
//!
//! A message weighs its bytes, once, and [`MESSAGE_OVERHEAD`] in each queue: a million empty ones are not nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::{Alarm, Limits};
use crate::model::MemoryGauge;
use crate::queue::MESSAGE_OVERHEAD;

/// A queue that holds less is never over its fair share.
const LIGHT_QUEUE: u64 = 1 << 20;

/// A queue that is limited by its consumers' connections and holds more has its publishers paced, until it
/// holds less than half or for a moment: [`super::Broker::review_pressure`] lets them go on in any case, so a
/// consumer that has stopped reading slows its publishers down, but does not stop them before the queue is full.
const PACED_QUEUE: u64 = 512 << 10;

/// Why a publisher is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The queue's consumers cannot be written to any faster. Lasts a moment.
    Paced,
    /// The queue is full, or holds more than its share while memory is short.
    Full,
    /// The broker is full: everybody waits.
    Memory,
    /// The disk is full, or nearly so, and the queue is durable.
    Disk,
}

/// What the rule looks at.
#[derive(Debug)]
pub(super) struct Pressure {
    gauge: MemoryGauge,
    heavy_queues: AtomicUsize,
    /// Messages in queues; one in ten queues counts ten times.
    messages: AtomicU64,
    budget: u64,
    queue_budget: u64,
    low_water_percent: u64,
    /// The memory alarm of messages, as it was when it was last looked at.
    alarmed: AtomicBool,
    /// Bytes that the process took at the last sample.
    process: AtomicU64,
    process_limit: u64,
    /// Whether those were too many.
    process_alarmed: AtomicBool,
}

impl Pressure {
    pub(super) fn new(limits: &Limits, gauge: MemoryGauge) -> Self {
        Pressure {
            gauge,
            heavy_queues: AtomicUsize::new(0),
            messages: AtomicU64::new(0),
            budget: limits.memory_budget,
            queue_budget: limits.queue_budget,
            low_water_percent: limits.low_water_percent,
            alarmed: AtomicBool::new(false),
            process: AtomicU64::new(0),
            process_limit: limits.process_limit,
            process_alarmed: AtomicBool::new(false),
        }
    }

    /// The memory alarm, if there is one: of messages, or else of the whole process. The log hears of it when it begins and
    /// when it lifts.
    pub(super) fn alarm(&self) -> Option<Alarm> {
        let used = self.total();
        let was = self.alarmed.load(Ordering::Relaxed);
        // Between the two it is as it was.
        let is = used > self.alarm_at() || (was && used > self.lifts_at());
        let alarm = Alarm::Memory { used, lifts_at: self.lifts_at(), budget: self.budget };
        if self.alarmed.swap(is, Ordering::Relaxed) != is {
            match is {
                true => tracing::warn!("memory alarm: publishers wait, consumers go on; {alarm}"),
                false => tracing::info!("the memory alarm has lifted: publishers go on"),
            }
        }
        is.then_some(alarm).or_else(|| self.process_is_large().then(|| self.process_alarm()))
    }

    /// Takes a sample of what the process takes. The log hears of it as of [`Pressure::alarm`].
    pub(super) fn note_process(&self, resident: u64) {
        self.process.store(resident, Ordering::Relaxed);
        let was = self.process_is_large();
        let is = resident > self.process_limit || (was && resident > self.process_lifts_at());
        if self.process_alarmed.swap(is, Ordering::Relaxed) != is {
            match is {
                true => {
                    tracing::warn!(
                        "memory alarm: publishers wait, consumers go on; {}",
                        self.process_alarm()
                    );
                }
                false => tracing::info!("the memory alarm has lifted: publishers go on"),
            }
        }
    }

    fn process_is_large(&self) -> bool {
        self.process_alarmed.load(Ordering::Relaxed)
    }

    fn process_alarm(&self) -> Alarm {
        let used = self.process.load(Ordering::Relaxed);
        Alarm::Process { used, lifts_at: self.process_lifts_at(), limit: self.process_limit }
    }

    /// Allocators give memory back late and in part: a twentieth is enough to see that it went down.
    fn process_lifts_at(&self) -> u64 {
        self.process_limit - self.process_limit / 20
    }

    fn alarm_at(&self) -> u64 {
        self.budget + self.budget / 4
    }

    fn lifts_at(&self) -> u64 {
        self.budget + self.budget / 8
    }

    /// Whether publishers to a queue that holds `bytes` must wait; `limited` by its consumers' connections.
    pub(super) fn hold(&self, bytes: u64, limited: bool) -> Option<Hold> {
        let total = self.total();
        if total > self.alarm_at() || self.process_is_large() {
            return Some(Hold::Memory);
        }
        if bytes > self.queue_limit(total) {
            return Some(Hold::Full);
        }
        (limited && bytes > PACED_QUEUE).then_some(Hold::Paced)
    }

    /// Whether publishers that waited for this reason may go on.
    pub(super) fn lifts(&self, hold: Hold, bytes: u64, limited: bool) -> bool {
        match hold {
            Hold::Disk => false,
            Hold::Paced => !limited || bytes <= PACED_QUEUE / 2,
            Hold::Full | Hold::Memory => {
                let total = self.total();
                let low = self.queue_limit(total) / 100 * self.low_water_percent;
                bytes <= low && total <= self.lifts_at() && !self.process_is_large()
            }
        }
    }

    /// Counts a queue that has become heavy or light.
    pub(super) fn weigh(&self, was: u64, is: u64) {
        match (was > LIGHT_QUEUE, is > LIGHT_QUEUE) {
            (false, true) => drop(self.heavy_queues.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.heavy_queues.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
    }

    /// Counts messages that a queue has more or less.
    pub(super) fn count(&self, was: u64, is: u64) {
        if was != is {
            self.messages.fetch_add(is.wrapping_sub(was), Ordering::Relaxed);
        }
    }

    /// Whether nothing more can be taken.
    pub(super) fn exhausted(&self) -> bool {
        self.total() >= self.budget.saturating_mul(2)
    }

    /// Whether queues should keep no more in memory than they must.
    pub(super) fn is_tight(&self) -> bool {
        self.total() > self.budget / 2 || self.process_is_large()
    }

    fn total(&self) -> u64 {
        self.gauge.bytes() + self.messages.load(Ordering::Relaxed).saturating_mul(MESSAGE_OVERHEAD)
    }

    fn queue_limit(&self, total: u64) -> u64 {
        if total <= self.budget {
            return self.queue_budget;
        }
        let heavy = self.heavy_queues.load(Ordering::Relaxed).max(1) as u64;
        (self.budget / heavy / 2).clamp(LIGHT_QUEUE, self.queue_budget.max(LIGHT_QUEUE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure(gauge: &MemoryGauge) -> Pressure {
        let limits = Limits { memory_budget: 100 << 20, queue_budget: 40 << 20, ..Limits::default() };
        Pressure::new(&limits, gauge.clone())
    }

    #[test]
    fn a_queue_is_congested_above_its_budget_and_free_again_below_the_low_water() {
        let pressure = pressure(&MemoryGauge::new());
        assert_eq!(pressure.hold(40 << 20, false), None);
        assert_eq!(pressure.hold((40 << 20) + 1, false), Some(Hold::Full));
        assert!(!pressure.lifts(Hold::Full, 33 << 20, false));
        assert!(pressure.lifts(Hold::Full, 31 << 20, false));
    }

    #[test]
    fn over_the_broker_budget_only_those_above_their_share_wait() {
        let gauge = MemoryGauge::new();
        let pressure = pressure(&gauge);
        for _ in 0..5 {
            pressure.weigh(0, 20 << 20);
        }
        let _charge = gauge.charge(101 << 20);
        assert_eq!(pressure.hold(20 << 20, false), Some(Hold::Full), "its share is 10 MiB");
        assert_eq!(pressure.hold(PACED_QUEUE, true), None, "a light queue flows on");
    }

    #[test]
    fn messages_weigh_even_if_they_are_empty() {
        let pressure = pressure(&MemoryGauge::new());
        pressure.count(0, (126 << 20) / MESSAGE_OVERHEAD);
        assert_eq!(pressure.hold(0, false), Some(Hold::Memory));
        pressure.count((126 << 20) / MESSAGE_OVERHEAD, 1);
        assert_eq!(pressure.hold(0, false), None);
    }

    #[test]
    fn at_twice_the_budget_nothing_more_is_taken() {
        let gauge = MemoryGauge::new();
        let pressure = pressure(&gauge);
        let _charge = gauge.charge((200 << 20) - 1);
        assert!(!pressure.exhausted());
        let _one_more = gauge.charge(1);
        assert!(pressure.exhausted());
    }

    #[test]
    fn far_above_the_budget_everyone_waits() {
        let gauge = MemoryGauge::new();
        let pressure = pressure(&gauge);
        let _charge = gauge.charge(126 << 20);
        assert_eq!(pressure.hold(0, false), Some(Hold::Memory));
        assert!(!pressure.lifts(Hold::Memory, 0, false));
    }

    #[test]
    fn the_memory_alarm_stays_until_there_is_some_room_and_lifts_by_itself() {
        let gauge = MemoryGauge::new();
        let pressure = pressure(&gauge);
        let most = gauge.charge(120 << 20);
        assert_eq!(pressure.alarm(), None);
        let rest = gauge.charge(6 << 20);
        let told = pressure.alarm().expect("126 of 125 MiB").to_string();
        assert!(told.starts_with("low on memory") && told.contains("126.0 MiB"), "{told}");
        drop(rest);
        assert!(pressure.alarm().is_some(), "120 MiB are more than 112.5");
        drop(most);
        assert_eq!(pressure.alarm(), None);
    }

    #[test]
    fn a_process_that_takes_too_much_holds_everyone_back_until_it_takes_a_twentieth_less() {
        let limits = Limits { process_limit: 1000 << 20, ..Limits::default() };
        let pressure = Pressure::new(&limits, MemoryGauge::new());
        pressure.note_process(1000 << 20);
        assert_eq!((pressure.alarm(), pressure.hold(0, false)), (None, None));
        assert!(!pressure.is_tight());
        pressure.note_process((1000 << 20) + 1);
        assert_eq!(pressure.hold(0, false), Some(Hold::Memory));
        assert!(!pressure.lifts(Hold::Memory, 0, false));
        assert!(pressure.is_tight(), "queues keep less in memory");
        let told = pressure.alarm().expect("one byte too many");
        assert_eq!(told.resource(), "memory");
        let told = told.to_string();
        assert!(told.starts_with("low on memory") && told.contains("memory.process_percent"), "{told}");
        pressure.note_process((950 << 20) + 1);
        assert!(pressure.alarm().is_some());
        pressure.note_process(950 << 20);
        assert_eq!((pressure.alarm(), pressure.hold(0, false)), (None, None));
        assert!(pressure.lifts(Hold::Memory, 0, false));
    }

    #[test]
    fn publishers_are_paced_while_only_connections_hold_the_messages_up() {
        let pressure = pressure(&MemoryGauge::new());
        assert_eq!(pressure.hold(PACED_QUEUE + 1, true), Some(Hold::Paced));
        assert_eq!(pressure.hold(PACED_QUEUE + 1, false), None, "consumers that work slowly pace nobody");
        assert_eq!(pressure.hold(PACED_QUEUE, true), None);
        assert!(!pressure.lifts(Hold::Paced, PACED_QUEUE, true));
        assert!(pressure.lifts(Hold::Paced, PACED_QUEUE / 2, true));
        assert!(pressure.lifts(Hold::Paced, PACED_QUEUE, false));
    }
}
