//! What a subscriber answers: acknowledgements, and to flow control that it has taken all until there.
//!
//! Invariant: all answers to what one read has brought are sent in one write.

use super::super::super::error::{BenchError, BenchResult};
use super::super::super::plan::Acks;
use super::super::connection::Connection;
use super::super::walker::Message;

/// What is no message of the stream has this status: flow control and heartbeats.
const STATUS: &[u8] = b"NATS/1.0 100";

/// A heartbeat's field that says where an answer to flow control is still missing.
const STALLED: &[u8] = b"Nats-Consumer-Stalled:";

#[derive(Debug)]
pub(in super::super) struct Settling {
    how: How,
    out: Vec<u8>,
}

#[derive(Debug)]
enum How {
    /// Not at all.
    Unasked,
    /// Each message.
    Each,
    /// All up to one, once so many have come.
    UpTo {
        every: u32,
        /// Of each subscription, numbered from 1.
        tails: Vec<Tail>,
        /// Subscriptions that have something to acknowledge.
        due: Vec<usize>,
    },
}

/// Unacknowledged messages of a subscription.
#[derive(Clone, Debug, Default)]
struct Tail {
    count: u32,
    /// Where the last one is acknowledged.
    last: Vec<u8>,
}

impl Settling {
    /// `shared`: others get messages of the same queue.
    pub(super) fn new(acks: Acks, shared: bool, subscriptions: usize) -> Settling {
        let how = match acks {
            Acks::Auto => How::Unasked,
            Acks::Manual { .. } if shared => How::Each,
            Acks::Manual { every, .. } => {
                How::UpTo { every, tails: vec![Tail::default(); subscriptions], due: Vec::new() }
            }
        };
        Settling { how, out: Vec::new() }
    }

    /// Takes what has come, and says whether it is a message of the stream.
    pub(in super::super) fn take(&mut self, message: &Message<'_>) -> BenchResult<bool> {
        if message.header.starts_with(STATUS) {
            if let Some(reply) = message.reply().or_else(|| stalled(message.header)) {
                publish_nothing(reply, &mut self.out);
            }
            return Ok(false);
        }
        let unknown = || BenchError::Protocol("a message that cannot be acknowledged".to_owned());
        match &mut self.how {
            How::Unasked => {}
            How::Each => publish_nothing(message.reply().ok_or_else(unknown)?, &mut self.out),
            How::UpTo { every, tails, due } => {
                let at = message.subscription().unwrap_or_default().wrapping_sub(1) as usize;
                let tail = tails.get_mut(at).ok_or_else(unknown)?;
                tail.last.clear();
                tail.last.extend_from_slice(message.reply().ok_or_else(unknown)?);
                tail.count += 1;
                if tail.count == *every {
                    due.push(at);
                }
            }
        }
        Ok(true)
    }

    /// Sends what is due.
    pub(in super::super) fn send(&mut self, connection: &mut Connection) -> BenchResult<()> {
        if let How::UpTo { tails, due, .. } = &mut self.how {
            for at in due.drain(..) {
                publish_nothing(&tails[at].last, &mut self.out);
                tails[at].count = 0;
            }
        }
        if !self.out.is_empty() {
            connection.write(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

fn stalled(header: &[u8]) -> Option<&[u8]> {
    let mut lines = header.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(STALLED)).map(<[u8]>::trim_ascii)
}

/// An empty message acknowledges, and answers flow control.
fn publish_nothing(to: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(to);
    out.extend_from_slice(b" 0\r\n\r\n");
}
