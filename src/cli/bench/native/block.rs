//! A `Publish` frame that is encoded once and sent again and again.
//!
//! All its messages have the same length, so a frame with fewer messages is the beginning of the full one with other
//! numbers in its head. They are the entries of one run; or, where each has a routing key of its own, runs with one
//! entry, in which keys of the same length are written over one another.

use bytes::BytesMut;
use rialto_protocol::native::{FRAME_HEADER_LEN, LENGTH_LEN, PublishWriter, RouteRef};
use rialto_protocol::types::Properties;

use super::super::plan::{Plan, STAMP_LEN};
use super::super::topic::Keys;
use super::connection::CHANNEL;
use super::setup::Names;

/// Delivery mode of a message that survives a restart.
const PERSISTENT: u8 = 2;

const FIRST_AT: usize = FRAME_HEADER_LEN;
const ROUTE_AT: usize = FIRST_AT + 8;
const COUNT_AT: usize = ROUTE_AT + 4 + 1;
const RUN_LENGTH_AT: usize = COUNT_AT + 4;
const ENTRIES_AT: usize = RUN_LENGTH_AT + 4;
/// Of a run that spells its route out, up to the lengths of the two names.
const SPELT_HEAD_LEN: usize = ENTRIES_AT - ROUTE_AT + 2;

#[derive(Debug)]
pub(in super::super) struct Block {
    frame: Vec<u8>,
    /// Where the messages begin, and how long each is.
    messages_at: usize,
    message_len: usize,
    /// Where the body stands in a message.
    body_at: usize,
    /// Where the routing key stands in a message that has one.
    key_at: Option<usize>,
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
        let (messages_at, key_at) = match plan.topic {
            None => {
                writer.run(RouteRef::Defined(1), false, &mut frame);
                for _ in 0..plan.batch {
                    writer.entry(&properties, &body, &mut frame);
                }
                (ENTRIES_AT, None)
            }
            Some(topic) => {
                let (exchange, routing_key) = (Names::new().exchange(), "x".repeat(topic.keys().len()));
                for _ in 0..plan.batch {
                    let route = RouteRef::Inline { exchange: &exchange, routing_key: &routing_key };
                    writer.run(route, false, &mut frame);
                    writer.entry(&properties, &body, &mut frame);
                }
                (ROUTE_AT, Some(SPELT_HEAD_LEN + exchange.len()))
            }
        };
        writer.finish(&mut frame);
        let message_len = (frame.len() - messages_at) / plan.batch as usize;
        Block { frame: frame.to_vec(), messages_at, message_len, body_at: message_len - plan.size, key_at }
    }

    /// Bytes of a frame with `count` messages.
    pub(in super::super) fn len(&self, count: u32) -> usize {
        self.messages_at + count as usize * self.message_len
    }

    /// The frame with `count` messages, whose sequence numbers start at `first`, for a route if they have no keys.
    pub(in super::super) fn frame(&mut self, count: u32, first: u64, route: u32) -> &[u8] {
        let len = self.len(count);
        self.put(0, &((len - LENGTH_LEN) as u32).to_be_bytes());
        self.put(FIRST_AT, &first.to_be_bytes());
        if self.key_at.is_none() {
            self.put(ROUTE_AT, &route.to_be_bytes());
            self.put(COUNT_AT, &count.to_be_bytes());
            self.put(RUN_LENGTH_AT, &((len - ENTRIES_AT) as u32).to_be_bytes());
        }
        &self.frame[..len]
    }

    /// Writes the next keys into the first `count` messages.
    pub(super) fn spell(&mut self, count: u32, keys: &mut Keys) {
        let Some(key_at) = self.key_at else { return };
        for message in 0..count as usize {
            self.put(self.messages_at + message * self.message_len + key_at, keys.next());
        }
    }

    /// Writes a time into the body of one message.
    pub(in super::super) fn stamp(&mut self, message: u32, at: u64) {
        let body = self.messages_at + message as usize * self.message_len + self.body_at;
        debug_assert!(
            self.message_len - self.body_at >= STAMP_LEN,
            "options ask for bodies that hold a time"
        );
        self.put(body, &at.to_be_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.frame[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::native::{Command, decode_frame};

    use super::super::super::topic::Topic;
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

    #[test]
    fn every_message_can_have_a_key_of_its_own() {
        let topic = Topic { bindings: 100, keys: 7 };
        let plan = Plan { size: 20, topic: Some(topic), stamps: true, ..Plan::short() };
        let (mut block, mut keys, mut same_keys) = (Block::new(&plan), topic.keys(), topic.keys());
        for _ in 0..2 {
            block.spell(5, &mut keys);
            block.stamp(4, 77);
            let mut bytes = BytesMut::from(block.frame(5, 500, 1));
            let frame = decode_frame(&mut bytes, u32::MAX).unwrap().unwrap();
            let Command::Publish(publish) = frame.command().unwrap().unwrap() else { panic!() };
            let runs: Vec<_> = publish.runs_ref(1).collect::<Result<_, _>>().unwrap();
            assert_eq!((bytes.len(), runs.len()), (0, 5));
            for (number, run) in runs.iter().enumerate() {
                let RouteRef::Inline { routing_key, .. } = run.route else { panic!() };
                assert_eq!(routing_key.as_bytes(), same_keys.next());
                let entries: Vec<_> = run.walk().collect::<Result<_, _>>().unwrap();
                let [(entry, _)] = &entries[..] else { panic!() };
                let is_stamped = entry.body[..STAMP_LEN] == 77_u64.to_be_bytes();
                assert_eq!((entry.body.len(), is_stamped), (20, number == 4));
            }
        }
    }
}
