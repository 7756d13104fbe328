//! A stretch of a batch's bytes, to be sent from where they are.
//!
//! Invariant: it keeps its batch, which stays charged to the broker's gauge until the last byte has been sent. Not
//! here: what the bytes mean (`message`).

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::MessageBatch;

/// See the module.
#[derive(Clone)]
pub struct BatchSlice {
    batch: Arc<MessageBatch>,
    /// Places in the batch, which is not longer than they can say.
    start: u32,
    end: u32,
}

impl BatchSlice {
    pub(super) fn new(batch: &Arc<MessageBatch>, bytes: Range<usize>) -> Self {
        BatchSlice { batch: batch.clone(), start: bytes.start as u32, end: bytes.end as u32 }
    }

    /// Takes the first `len` bytes off and gives them.
    ///
    /// # Panics
    /// There are fewer.
    pub fn split_to(&mut self, len: usize) -> BatchSlice {
        let mut first = self.clone();
        self.advance(len);
        first.end = self.start;
        first
    }

    /// Forgets the first `len` bytes.
    ///
    /// # Panics
    /// There are fewer.
    pub fn advance(&mut self, len: usize) {
        assert!(len <= self.len(), "{len} of {} bytes", self.len());
        self.start += len as u32;
    }
}

impl Deref for BatchSlice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.batch.bytes()[self.start as usize..self.end as usize]
    }
}

impl fmt::Debug for BatchSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSlice").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{ExchangeName, MemoryGauge, Message, MessageRoute, RoutingKey};

    #[test]
    fn what_is_being_sent_stays_charged() {
        let gauge = MemoryGauge::new();
        let route = MessageRoute {
            exchange: ExchangeName::new("orders").unwrap(),
            routing_key: RoutingKey::new("new").unwrap(),
        };
        let message = Message::new(route, &[], &[b'x'; 1000], &gauge);
        let mut rest = message.body_slice();
        drop(message);
        let first = rest.split_to(900);
        rest.advance(99);
        assert_eq!((first.len(), &rest[..]), (900, &b"x"[..]));
        drop(first);
        assert!(gauge.bytes() > 1000);
        drop(rest);
        assert_eq!(gauge.bytes(), 0);
    }
}
