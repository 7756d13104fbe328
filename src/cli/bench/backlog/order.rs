//! Numbers in bodies, by which a message that is lost, doubled or out of order is found.
//!
//! Messages of one publisher in one queue are a *line*, in which the order is certain. Publishers take their queues in
//! turn, batch by batch, so a batch's number says its line.

use ahash::AHashMap;

/// Bits of a number that count within a line; the others are the line's.
const COUNT_BITS: u32 = 36;

/// The number of a message: so many messages of this publisher are before it in its line.
pub(super) fn number(line: u64, before: u64) -> u64 {
    line << COUNT_BITS | before
}

/// The line of a publisher's batch with this number.
pub(super) fn line(publisher: u32, queues: u32, batch: u64) -> u64 {
    u64::from(publisher) * u64::from(queues) + batch % u64::from(queues)
}

/// What has come to one consumer.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Of each line the number that comes next.
    next: AHashMap<u64, u64>,
    /// The first that was another one: the number that should have come, and the one that did.
    wrong: Option<(u64, u64)>,
}

impl Order {
    /// A message has come.
    pub(super) fn came(&mut self, number: u64) {
        let next = self.next.entry(number >> COUNT_BITS).or_insert(number & !((1 << COUNT_BITS) - 1));
        if *next != number {
            self.wrong.get_or_insert((*next, number));
        }
        *next = number + 1;
    }

    /// What is wrong, in words.
    pub(super) fn wrong(&self) -> Option<String> {
        let (wanted, came) = self.wrong?;
        let before = |number: u64| number & ((1 << COUNT_BITS) - 1);
        Some(format!("message {} came where {} was due", before(came), before(wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_own_order() {
        let mut order = Order::default();
        for came in [number(0, 0), number(5, 0), number(0, 1), number(5, 1), number(5, 2)] {
            order.came(came);
        }
        assert_eq!(order.wrong(), None);
        order.came(number(0, 3));
        assert_eq!(order.wrong().unwrap(), "message 3 came where 2 was due");
    }

    #[test]
    fn a_line_begins_with_its_first_message_and_has_each_once() {
        let mut order = Order::default();
        order.came(number(2, 1));
        assert!(order.wrong().is_some());
        let mut order = Order::default();
        order.came(number(2, 0));
        order.came(number(2, 0));
        assert!(order.wrong().is_some());
    }

    #[test]
    fn a_publishers_batches_go_to_its_lines_in_turn() {
        assert_eq!([0, 1, 2, 3].map(|batch| line(1, 3, batch)), [3, 4, 5, 3]);
    }
}
