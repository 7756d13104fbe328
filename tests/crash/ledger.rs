//! What was published, confirmed and settled, and what of it must therefore be in which queue.
//!
//! A message in a queue is a [`Place`]. Messages that were published as one (to several queues, or in one transaction)
//! are a unit. Invariants that [`Ledger::compare`] holds the broker to: what was confirmed and not settled is there;
//! nothing is there twice; what was settled for good stays away; a publisher's messages are in order and without a
//! hole; a unit is there as a whole, or not at all; a dead letter is in its old queue or in its new one.
//! Not here: how messages get there (`load`) and are looked at (`inspection`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// Durable queues of the test.
pub(crate) const QUEUES: [&str; 6] = ["fan-0", "fan-1", "fan-2", "plain", "work", "dead"];

/// A place in [`QUEUES`]: the three that are bound to the fanout exchange.
pub(crate) const FAN: [usize; 3] = [0, 1, 2];
/// Only filled.
pub(crate) const PLAIN: usize = 3;
/// Consumed; what is rejected dies into [`DEAD`].
pub(crate) const WORK: usize = 4;
/// Dead letters of [`WORK`].
pub(crate) const DEAD: usize = 5;

/// A message: its publisher, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) publisher: u16,
    pub(crate) number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of publisher {}", self.number, self.publisher)
    }
}

/// A message in a queue.
type Place = (usize, Id);

/// What the clients know of a message in a queue.
#[derive(Clone, Copy, Debug)]
struct Known {
    confirmed: bool,
    left: Left,
    unit: u64,
}

/// Whether a consumer has told the broker that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    No,
    /// Acknowledged, but nobody said that this is safe: it may come again.
    Acked,
    /// Rejected: it stays or is in [`DEAD`].
    Rejected,
}

/// Counts of a whole test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    /// Looked at after a restart, each time counted.
    pub(crate) found: u64,
    /// Acknowledged, and there again.
    pub(crate) duplicates: u64,
    /// Not confirmed, and there.
    pub(crate) unconfirmed_kept: u64,
    /// Not confirmed, and gone.
    pub(crate) unconfirmed_lost: u64,
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    Lost(Place),
    Twice(Place),
    CameBack(Place),
    NeverPublished(Place),
    OutOfOrder { place: Place, behind: Id },
    Hole { place: Place, behind: Id },
    HalfApplied { there: Place, missing: Place },
    InBoth(Id),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |(queue, id): &Place| format!("{id} in {}", QUEUES[*queue]);
        match self {
            Violation::Lost(place) => write!(f, "lost, though confirmed: {}", at(place)),
            Violation::Twice(place) => write!(f, "there twice: {}", at(place)),
            Violation::CameBack(place) => write!(f, "came back, though it was gone: {}", at(place)),
            Violation::NeverPublished(place) => write!(f, "never published: {}", at(place)),
            Violation::OutOfOrder { place, behind } => {
                write!(f, "out of order: {}, behind {behind}", at(place))
            }
            Violation::Hole { place, behind } => {
                write!(f, "missing: {}, though {behind} is there", at(place))
            }
            Violation::HalfApplied { there, missing } => {
                write!(f, "half applied: {} is there, {} is not", at(there), at(missing))
            }
            Violation::InBoth(id) => write!(f, "dead and alive: {id}"),
        }
    }
}

/// The record of one test.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: BTreeMap<Place, Known>,
    gone: HashSet<Place>,
    units: u64,
    pub(crate) tally: Tally,
}

impl Ledger {
    /// These messages are about to be published as one.
    pub(crate) fn publishing(&mut self, unit: &[(Id, &[usize])]) {
        self.units += 1;
        for &(id, queues) in unit {
            self.tally.published += 1;
            for &queue in queues {
                let known = Known { confirmed: false, left: Left::No, unit: self.units };
                let before = self.known.insert((queue, id), known);
                assert!(before.is_none(), "{id} is published twice");
            }
        }
    }

    /// The broker has confirmed a message.
    pub(crate) fn confirmed(&mut self, id: Id, queues: &[usize]) {
        self.tally.confirmed += 1;
        for &queue in queues {
            if let Some(known) = self.known.get_mut(&(queue, id)) {
                known.confirmed = true;
            }
        }
    }

    /// A message is about to be acknowledged.
    pub(crate) fn acking(&mut self, queue: usize, id: Id) {
        self.tally.acked += 1;
        self.leaving(queue, id, Left::Acked);
    }

    /// A message is about to be rejected.
    pub(crate) fn rejecting(&mut self, queue: usize, id: Id) {
        self.tally.rejected += 1;
        self.leaving(queue, id, Left::Rejected);
    }

    fn leaving(&mut self, queue: usize, id: Id, left: Left) {
        let known = self.known.get_mut(&(queue, id));
        known.unwrap_or_else(|| panic!("{id} came out of {}, where it never was", QUEUES[queue])).left = left;
    }

    /// These messages were settled, and the broker has said that this is safe.
    pub(crate) fn settled_for_good(&mut self, queue: usize, ids: &[Id]) {
        for &id in ids {
            self.known.remove(&(queue, id));
            self.gone.insert((queue, id));
        }
    }

    /// Compares with what the queues hold after a restart, each in its order, and goes on from there.
    pub(crate) fn compare(&mut self, found: &[Vec<Id>; QUEUES.len()]) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut there: HashSet<Place> = HashSet::new();
        for (queue, ids) in found.iter().enumerate() {
            for &id in ids {
                if !there.insert((queue, id)) {
                    violations.push(Violation::Twice((queue, id)));
                }
                self.check_known(queue, id, &mut violations);
            }
            if queue != DEAD {
                check_order(queue, ids, &mut violations);
            }
            self.tally.found += ids.len() as u64;
        }
        self.check_presence(&there, &mut violations);
        self.check_holes(&there, &mut violations);
        self.check_units(&there, &mut violations);

        // What is there now, a restart has found on disk; what is not, it has not.
        let before = std::mem::take(&mut self.known);
        self.gone.extend(before.into_keys().filter(|place| !there.contains(place)));
        self.units += 1;
        let kept = Known { confirmed: true, left: Left::No, unit: self.units };
        self.known = there.into_iter().map(|place| (place, kept)).collect();
        violations
    }

    fn check_known(&self, queue: usize, id: Id, violations: &mut Vec<Violation>) {
        let died = queue == DEAD && self.left(WORK, id) == Some(Left::Rejected);
        if self.known.contains_key(&(queue, id)) || died {
            return;
        }
        violations.push(match self.gone.contains(&(queue, id)) {
            true => Violation::CameBack((queue, id)),
            false => Violation::NeverPublished((queue, id)),
        });
    }

    fn left(&self, queue: usize, id: Id) -> Option<Left> {
        self.known.get(&(queue, id)).map(|known| known.left)
    }

    fn check_presence(&mut self, there: &HashSet<Place>, violations: &mut Vec<Violation>) {
        for (&place, known) in &self.known {
            let (_, id) = place;
            let present = there.contains(&place);
            let died = known.left == Left::Rejected && there.contains(&(DEAD, id));
            match (known.left, known.confirmed) {
                (Left::Acked, _) => self.tally.duplicates += u64::from(present),
                (Left::Rejected, _) if present && died => violations.push(Violation::InBoth(id)),
                (_, true) if !present && !died => violations.push(Violation::Lost(place)),
                (_, true) => {}
                (_, false) if present || died => self.tally.unconfirmed_kept += 1,
                (_, false) => self.tally.unconfirmed_lost += 1,
            }
        }
    }

    /// A connection's messages reach the journal in order, so none may be missing before one that is there.
    fn check_holes(&self, there: &HashSet<Place>, violations: &mut Vec<Violation>) {
        let mut latest: HashMap<(usize, u16), Id> = HashMap::new();
        for &(queue, id) in there {
            let latest = latest.entry((queue, id.publisher)).or_insert(id);
            *latest = id.max(*latest);
        }
        for (&(queue, id), known) in &self.known {
            let behind = latest.get(&(queue, id.publisher)).copied().filter(|latest| *latest > id);
            // What is confirmed and missing is lost; that has been said.
            let counts = known.left == Left::No && !known.confirmed && queue != DEAD;
            if let (Some(behind), true, false) = (behind, counts, there.contains(&(queue, id))) {
                violations.push(Violation::Hole { place: (queue, id), behind });
            }
        }
    }

    fn check_units(&self, there: &HashSet<Place>, violations: &mut Vec<Violation>) {
        let mut present: HashMap<u64, Place> = HashMap::new();
        let waiting = || self.known.iter().filter(|(_, known)| known.left == Left::No && !known.confirmed);
        for (&place, known) in waiting().filter(|(place, _)| there.contains(place)) {
            present.insert(known.unit, place);
        }
        for (&missing, known) in waiting().filter(|(place, _)| !there.contains(place)) {
            if let Some(&there) = present.get(&known.unit) {
                violations.push(Violation::HalfApplied { there, missing });
            }
        }
    }
}

fn check_order(queue: usize, ids: &[Id], violations: &mut Vec<Violation>) {
    let mut latest: HashMap<u16, Id> = HashMap::new();
    for &id in ids {
        let before = latest.entry(id.publisher).or_insert(id);
        if *before > id {
            violations.push(Violation::OutOfOrder { place: (queue, id), behind: *before });
        }
        *before = id.max(*before);
    }
}

/// The checker itself: what it must notice, and what it must let pass.
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        Id { publisher: 1, number }
    }

    /// Messages 1 to `count` in the plain queue, published one by one.
    fn published(count: u64) -> Ledger {
        let mut ledger = Ledger::default();
        for number in 1..=count {
            ledger.publishing(&[(id(number), &[PLAIN])]);
        }
        ledger
    }

    fn in_queue(queue: usize, numbers: &[u64]) -> [Vec<Id>; QUEUES.len()] {
        let mut found: [Vec<Id>; QUEUES.len()] = Default::default();
        found[queue] = numbers.iter().copied().map(id).collect();
        found
    }

    #[test]
    fn a_confirmed_message_that_is_missing_is_lost() {
        let mut ledger = published(2);
        ledger.confirmed(id(1), &[PLAIN]);
        assert_eq!(ledger.compare(&in_queue(PLAIN, &[])), [Violation::Lost((PLAIN, id(1)))]);
    }

    #[test]
    fn an_unconfirmed_message_may_be_there_or_not_but_then_stays_so() {
        let mut ledger = published(2);
        assert_eq!(ledger.compare(&in_queue(PLAIN, &[1])), []);
        assert_eq!((ledger.tally.unconfirmed_kept, ledger.tally.unconfirmed_lost), (1, 1));
        let found = in_queue(PLAIN, &[2]);
        let wrong = [Violation::CameBack((PLAIN, id(2))), Violation::Lost((PLAIN, id(1)))];
        assert_eq!(ledger.compare(&found), wrong);
    }

    #[test]
    fn an_acknowledged_message_may_come_again_and_is_counted() {
        let mut ledger = published(2);
        for number in [1, 2] {
            ledger.confirmed(id(number), &[PLAIN]);
            ledger.acking(PLAIN, id(number));
        }
        assert_eq!(ledger.compare(&in_queue(PLAIN, &[2])), []);
        assert_eq!(ledger.tally.duplicates, 1);
        ledger.settled_for_good(PLAIN, &[id(2)]);
        assert_eq!(ledger.compare(&in_queue(PLAIN, &[2])), [Violation::CameBack((PLAIN, id(2)))]);
    }

    #[test]
    fn order_and_holes_are_noticed() {
        let mut ledger = published(3);
        let swapped = ledger.compare(&in_queue(PLAIN, &[2, 1, 3]));
        assert_eq!(swapped, [Violation::OutOfOrder { place: (PLAIN, id(1)), behind: id(2) }]);
        let mut ledger = published(3);
        let hole = ledger.compare(&in_queue(PLAIN, &[1, 3]));
        assert_eq!(hole, [Violation::Hole { place: (PLAIN, id(2)), behind: id(3) }]);
        let mut ledger = published(1);
        let twice = ledger.compare(&in_queue(PLAIN, &[1, 1, 5]));
        let wrong = [Violation::Twice((PLAIN, id(1))), Violation::NeverPublished((PLAIN, id(5)))];
        assert_eq!(twice, wrong);
    }

    #[test]
    fn a_unit_is_there_as_a_whole_or_not_at_all() {
        let mut ledger = Ledger::default();
        ledger.publishing(&[(id(1), &FAN)]);
        ledger.acking(FAN[0], id(1));
        let mut found = in_queue(FAN[1], &[1]);
        let half = Violation::HalfApplied { there: (FAN[1], id(1)), missing: (FAN[2], id(1)) };
        assert_eq!(ledger.compare(&found), [half]);
        let mut ledger = Ledger::default();
        ledger.publishing(&[(id(1), &FAN)]);
        ledger.acking(FAN[0], id(1));
        found[FAN[2]] = vec![id(1)];
        assert_eq!(ledger.compare(&found), []);
    }

    #[test]
    fn a_dead_letter_is_in_one_of_two_queues() {
        let rejected = || {
            let mut ledger = Ledger::default();
            ledger.publishing(&[(id(1), &[WORK])]);
            ledger.confirmed(id(1), &[WORK]);
            ledger.rejecting(WORK, id(1));
            ledger
        };
        assert_eq!(rejected().compare(&in_queue(DEAD, &[1])), []);
        assert_eq!(rejected().compare(&in_queue(WORK, &[1])), []);
        assert_eq!(rejected().compare(&in_queue(WORK, &[])), [Violation::Lost((WORK, id(1)))]);
        let mut both = in_queue(WORK, &[1]);
        both[DEAD] = vec![id(1)];
        assert_eq!(rejected().compare(&both), [Violation::InBoth(id(1))]);
        let unasked = published(1).compare(&in_queue(DEAD, &[1]));
        assert_eq!(unasked, [Violation::NeverPublished((DEAD, id(1)))]);
    }
}
