//! Publishes, encoded before the clock starts: only times and queue numbers are written into them.

use super::super::plan::{Plan, STAMP_LEN};
use super::subject::DIGITS;

/// As many `PUB` lines with their bodies as are sent at a time.
#[derive(Debug)]
pub(super) struct Block {
    lines: Vec<u8>,
    /// Bytes of a message.
    len: usize,
    /// Where the number of the queue stands in it, once or twice.
    numbers_at: Vec<usize>,
    /// Where the body stands in it.
    body_at: usize,
}

impl Block {
    /// `subject` and `reply` end in the number of a queue.
    pub(super) fn new(plan: &Plan, subject: &str, reply: Option<&str>) -> Self {
        let mut head = format!("PUB {subject}");
        let mut numbers_at = vec![head.len() - DIGITS];
        if let Some(reply) = reply {
            head = format!("{head} {reply}");
            numbers_at.push(head.len() - DIGITS);
        }
        head = format!("{head} {}\r\n", plan.size);
        let message = [head.as_bytes(), &vec![b'x'; plan.size], b"\r\n"].concat();
        Block {
            lines: message.repeat(plan.batch as usize),
            len: message.len(),
            numbers_at,
            body_at: head.len(),
        }
    }

    /// Writes a time into a body.
    pub(super) fn stamp(&mut self, message: u32, at: u64) {
        let body = message as usize * self.len + self.body_at;
        self.lines[body..body + STAMP_LEN].copy_from_slice(&at.to_be_bytes());
    }

    /// Sends the first `count` messages to the queue of this number.
    pub(super) fn route(&mut self, count: u32, number: &[u8; DIGITS]) {
        for message in self.lines.chunks_mut(self.len).take(count as usize) {
            for &at in &self.numbers_at {
                message[at..at + DIGITS].copy_from_slice(number);
            }
        }
    }

    /// The first `count` messages.
    pub(super) fn messages(&self, count: u32) -> &[u8] {
        &self.lines[..count as usize * self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::super::subject::digits;
    use super::*;

    #[test]
    fn times_and_queues_are_written_into_what_is_encoded() {
        let plan = Plan { size: 8, batch: 3, ..Plan::short() };
        let mut block = Block::new(&plan, "s.00000", Some("r.00000"));
        block.route(2, &digits(417));
        block.stamp(1, u64::from_be_bytes(*b"12345678"));
        let expected = "PUB s.00417 r.00417 8\r\nxxxxxxxx\r\nPUB s.00417 r.00417 8\r\n12345678\r\n";
        assert_eq!(String::from_utf8_lossy(block.messages(2)), expected);
        let plain = Block::new(&plan, "s.00000", None);
        assert_eq!(plain.messages(1), b"PUB s.00000 8\r\nxxxxxxxx\r\n");
    }
}
