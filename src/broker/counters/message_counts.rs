//! What happens to a vhost's messages, counted where it happens and read without stopping anybody.
//!
//! Each thread has a stripe of its own (up to [`STRIPES`] of them), so that threads do not take the cache lines from each
//! other, and a batch costs an addition for each number that it changes. Gauges are differences that add up: a queue
//! that empties subtracts what it has added. Invariant: counts only grow, over all vhosts too: those of a vhost that is
//! gone are kept. Not here: what one queue (`queue_cell::figures`) or one exchange counts.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::access::Protocol;
use crate::queue::Totals;

/// Threads that do not disturb each other.
const STRIPES: usize = 8;

/// How many protocols there are to publish by.
const PROTOCOLS: usize = Protocol::ALL.len();

/// What publishers did, and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publishing {
    /// Messages that were published.
    pub received: u64,
    /// Of these, those whose publisher wants a confirm.
    pub received_confirm: u64,
    /// Messages that were confirmed.
    pub confirmed: u64,
    /// Copies that were given to queues: a message that goes to two queues counts twice.
    pub routed: u64,
    /// Messages that no queue wanted, and that are gone.
    pub unroutable_dropped: u64,
    /// Messages that no queue wanted, and that went back to their publishers.
    pub unroutable_returned: u64,
}

/// What is in queues, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InQueues {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that came back and wait until they may be delivered again.
    pub delayed: u64,
    /// Messages delivered and not settled.
    pub unacked: u64,
    /// Of all these, messages that are not in memory.
    pub paged: u64,
    /// Bytes of memory that messages count for.
    pub memory: u64,
    /// Bytes of the bodies of ready messages.
    pub ready_body_bytes: u64,
    /// Consumers.
    pub consumers: u64,
}

/// All that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What publishers did, and heard, whatever they speak.
    pub publishing: Publishing,
    /// The same by what they speak, in the order of [`Protocol::ALL`].
    pub publishing_by: [Publishing; PROTOCOLS],
    /// What is in queues now.
    pub in_queues: InQueues,
    /// What has happened in queues.
    pub totals: Totals,
}

impl Publishing {
    const LEN: usize = 6;

    fn to_array(self) -> [u64; Publishing::LEN] {
        let Publishing { received, received_confirm, confirmed, routed, .. } = self;
        [received, received_confirm, confirmed, routed, self.unroutable_dropped, self.unroutable_returned]
    }

    fn from_array(row: [u64; Publishing::LEN]) -> Self {
        let [received, received_confirm, confirmed, routed, unroutable_dropped, unroutable_returned] = row;
        Publishing { received, received_confirm, confirmed, routed, unroutable_dropped, unroutable_returned }
    }
}

impl InQueues {
    pub(in crate::broker) const LEN: usize = 7;

    pub(in crate::broker) fn to_array(self) -> [u64; InQueues::LEN] {
        let InQueues { ready, delayed, unacked, paged, memory, ready_body_bytes, consumers } = self;
        [ready, unacked, memory, ready_body_bytes, delayed, paged, consumers]
    }

    pub(in crate::broker) fn from_array(row: [u64; InQueues::LEN]) -> Self {
        let [ready, unacked, memory, ready_body_bytes, delayed, paged, consumers] = row;
        InQueues { ready, delayed, unacked, paged, memory, ready_body_bytes, consumers }
    }
}

/// A stretch for each protocol.
const PUBLISHING: usize = 0;
const IN_QUEUES: usize = PROTOCOLS * Publishing::LEN;
const TOTALS: usize = IN_QUEUES + InQueues::LEN;
const LEN: usize = TOTALS + Totals::LEN;

/// Where a protocol's stretch begins.
const fn publishing_of(protocol: usize) -> usize {
    PUBLISHING + protocol * Publishing::LEN
}

/// One thread's share. Two cache lines apart, since they are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; LEN]);

/// See the module.
#[derive(Debug)]
pub(in crate::broker) struct MessageCounts([Stripe; STRIPES]);

impl Default for MessageCounts {
    fn default() -> Self {
        MessageCounts(std::array::from_fn(|_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)))))
    }
}

impl MessageCounts {
    fn add(&self, first: usize, row: impl IntoIterator<Item = u64>) {
        let stripe = &self.0[own_stripe()].0;
        for (place, number) in (first..).zip(row) {
            if number != 0 {
                stripe[place].fetch_add(number, Ordering::Relaxed);
            }
        }
    }

    pub(in crate::broker) fn add_publishing(&self, protocol: Protocol, publishing: Publishing) {
        self.add(publishing_of(protocol as usize), publishing.to_array());
    }

    /// Adds differences; less is a wrapped difference.
    pub(in crate::broker) fn add_in_queues(&self, differences: [u64; InQueues::LEN]) {
        self.add(IN_QUEUES, differences);
    }

    pub(in crate::broker) fn add_totals(&self, differences: [u64; Totals::LEN]) {
        self.add(TOTALS, differences);
    }

    fn row(&self) -> [u64; LEN] {
        std::array::from_fn(|place| {
            let numbers = self.0.iter().map(|stripe| stripe.0[place].load(Ordering::Relaxed));
            numbers.fold(0, u64::wrapping_add)
        })
    }

    pub(in crate::broker) fn read(&self) -> Counts {
        Counts::from_row(self.row())
    }
}

impl Counts {
    fn from_row(row: [u64; LEN]) -> Counts {
        let of = |first: usize, place: usize| row[first + place];
        // Of a message on its way from one number to another both may be read or none: "less than nothing" is nothing.
        let level = |number: u64| if number > u64::MAX / 2 { 0 } else { number };
        let publishing_by: [Publishing; PROTOCOLS] = std::array::from_fn(|protocol| {
            Publishing::from_array(std::array::from_fn(|place| of(publishing_of(protocol), place)))
        });
        Counts {
            publishing: Publishing::from_array(std::array::from_fn(|place| {
                publishing_by.iter().map(|publishing| publishing.to_array()[place]).sum()
            })),
            publishing_by,
            in_queues: InQueues::from_array(std::array::from_fn(|place| level(of(IN_QUEUES, place)))),
            totals: Totals::from_array(std::array::from_fn(|place| of(TOTALS, place))),
        }
    }
}

/// The stripe of this thread.
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    STRIPE.with(|stripe| match stripe.get() {
        Some(own) => own,
        None => {
            let own = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
            stripe.set(Some(own));
            own
        }
    })
}

/// The counts of all vhosts, those that are gone included.
#[derive(Debug, Default)]
pub(in crate::broker) struct AllCounts(Arc<Mutex<Members>>);

#[derive(Debug)]
struct Members {
    present: Vec<Arc<MessageCounts>>,
    gone: [u64; LEN],
}

impl Default for Members {
    fn default() -> Self {
        Members { present: Vec::new(), gone: [0; LEN] }
    }
}

/// A vhost's counts. When it is dropped they are kept as those of one that is gone.
#[derive(Debug)]
pub(in crate::broker) struct Membership {
    pub(in crate::broker) counts: Arc<MessageCounts>,
    all: Arc<Mutex<Members>>,
}

impl AllCounts {
    pub(in crate::broker) fn join(&self) -> Membership {
        let counts = Arc::<MessageCounts>::default();
        self.0.lock().present.push(counts.clone());
        Membership { counts, all: self.0.clone() }
    }

    pub(in crate::broker) fn read(&self) -> Counts {
        let members = self.0.lock();
        let rows = members.present.iter().map(|counts| counts.row());
        Counts::from_row(rows.fold(members.gone, sum))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut members = self.all.lock();
        members.present.retain(|counts| !Arc::ptr_eq(counts, &self.counts));
        members.gone = sum(members.gone, self.counts.row());
    }
}

fn sum(one: [u64; LEN], other: [u64; LEN]) -> [u64; LEN] {
    std::array::from_fn(|place| one[place].wrapping_add(other[place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_adds_up_and_stays_when_a_vhost_goes() {
        let all = AllCounts::default();
        let (one, other) = (all.join(), all.join());
        std::thread::scope(|scope| {
            for number in 0..STRIPES + 1 {
                let protocol = Protocol::ALL[number % PROTOCOLS];
                let published = Publishing { received: 3, routed: 2, ..Publishing::default() };
                let counts = &one.counts;
                scope.spawn(move || counts.add_publishing(protocol, published));
            }
        });
        let more = InQueues { ready: 5, consumers: 1, ..InQueues::default() };
        other.counts.add_in_queues(more.to_array());
        other.counts.add_in_queues(more.to_array().map(|number| (number / 2).wrapping_neg()));
        assert_eq!(one.counts.read().publishing.received, 27);
        assert_eq!(one.counts.read().publishing_by.map(|publishing| publishing.routed), [6, 6, 6]);
        let counts = all.read();
        assert_eq!(
            (counts.publishing.routed, counts.in_queues.ready, counts.in_queues.consumers),
            (18, 3, 1)
        );
        drop(one);
        assert_eq!(all.read().publishing.received, 27);
    }
}
