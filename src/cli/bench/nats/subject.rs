//! Subjects of a measurement: nobody else uses them, they are short, since every message carries some, and those of
//! queues have one length, so that one can be written over another.

/// Digits of a queue's number: there are at most 65,536 queues.
pub(super) const DIGITS: usize = 5;

/// What all begin with.
pub(super) fn prefix() -> String {
    format!("rialto-bench-{}", std::process::id())
}

/// What a queue's messages are published to.
pub(super) fn of_queue(queue: u32) -> String {
    numbered(&prefix(), queue)
}

/// The subject of a queue below another.
pub(super) fn numbered(above: &str, queue: u32) -> String {
    format!("{above}.{queue:0DIGITS$}")
}

/// The number as subjects write it.
pub(super) fn digits(queue: u32) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = queue;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_queues_differ_in_their_digits() {
        for queue in [0, 7, 65_535] {
            assert!(of_queue(queue).as_bytes().ends_with(&digits(queue)));
            assert_eq!(of_queue(queue).len(), of_queue(0).len());
        }
    }
}
