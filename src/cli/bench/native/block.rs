//! A `Publish` frame that is encoded once and sent again and again.
//!
//! All its entries have the same length, so a frame with fewer messages is the beginning of the full one with other
//! numbers in its head.

use bytes::BytesMut;
use rialto_protocol::native::{FRAME_HEADER_LEN, LENGTH_LEN, PublishWriter, RouteRef};
use rialto_protocol::types::Properties;

use super::super::plan::{Plan, STAMP_LEN};
use super::connection::CHANNEL;

/// Delivery mode of a message that survives a restart.
const PERSISTENT: u8 = 2;

const FIRST_AT: usize = FRAME_HEADER_LEN;
const ROUTE_AT: usize = FIRST_AT + 8;
const COUNT_AT: usize = ROUTE_AT + 4 + 1;
const RUN_LENGTH_AT: usize = COUNT_AT + 4;
const ENTRIES_AT: usize = RUN_LENGTH_AT + 4;

#[derive(Debug)]
pub(in super::super) struct Block {
    frame: Vec<u8>,
    entry_len: usize,
    /// Where the body stands in an entry.
    body_at: usize,
}

impl Block {
    /// With as many messages as the plan sends at a time.
    pub(in super::super) fn new(plan: &Plan) -> Self {
        let properties = match plan.persistent {
            true => Properties { delivery_mode: Some(PERSISTENT), ..Properties::default() }.encoded(),
            false => Properties::default().encoded(),
        };
        let body = vec![b'x'; plan.size];
        let mut frame = BytesMut::new();
        let mut writer = PublishWriter::begin(CHANNEL, 1, plan.confirms.is_some(), &mut frame);
        writer.run(RouteRef::Defined(1), false, &mut frame);
        for _ in 0..plan.batch {
            writer.entry(&properties, &body, &mut frame);
        }
        writer.finish(&mut frame);
        let entry_len = (frame.len() - ENTRIES_AT) / plan.batch as usize;
        Block { frame: frame.to_vec(), entry_len, body_at: entry_len - plan.size }
    }

    /// Bytes of a frame with `count` messages.
    pub(in super::super) fn len(&self, count: u32) -> usize {
        ENTRIES_AT + count as usize * self.entry_len
    }

    /// The frame with `count` messages, whose sequence numbers start at `first`, for a route.
    pub(in super::super) fn frame(&mut self, count: u32, first: u64, route: u32) -> &[u8] {
        let len = self.len(count);
        self.put(0, &((len - LENGTH_LEN) as u32).to_be_bytes());
        self.put(FIRST_AT, &first.to_be_bytes());
        self.put(ROUTE_AT, &route.to_be_bytes());
        self.put(COUNT_AT, &count.to_be_bytes());
        self.put(RUN_LENGTH_AT, &((len - ENTRIES_AT) as u32).to_be_bytes());
        &self.frame[..len]
    }

    /// Writes a time into the body of one message.
    pub(in super::super) fn stamp(&mut self, message: u32, at: u64) {
        let body = ENTRIES_AT + message as usize * self.entry_len + self.body_at;
        debug_assert!(self.entry_len - self.body_at >= STAMP_LEN, "options ask for bodies that hold a time");
        self.put(body, &at.to_be_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.frame[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::native::{Command, decode_frame};

    use super::*;

    #[test]
    fn fewer_messages_are_the_beginning_of_the_full_frame() {
        for persistent in [false, true] {
            let plan = Plan { size: 20, confirms: Some(100), persistent, stamps: true, ..Plan::short() };
            let mut block = Block::new(&plan);
            block.stamp(2, 77);
            let mut bytes = BytesMut::from(block.frame(3, 500, 9));
            let frame = decode_frame(&mut bytes, u32::MAX).unwrap().unwrap();
            assert!(bytes.is_empty());
            let Command::Publish(publish) = frame.command().unwrap().unwrap() else { panic!() };
            assert_eq!((publish.first, publish.outcomes), (500, true));
            let run = publish.runs_ref(1).next().unwrap().unwrap();
            assert_eq!((run.route, run.count), (RouteRef::Defined(9), 3));
            let entries: Vec<_> = run.walk().collect::<Result<_, _>>().unwrap();
            let (entry, properties) = entries[2];
            assert_eq!((&entry.body[..STAMP_LEN], entry.body.len()), (&77_u64.to_be_bytes()[..], 20));
            assert_eq!(properties.delivery_mode(), persistent.then_some(PERSISTENT));
        }
    }
}
