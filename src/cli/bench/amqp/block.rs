//! Publishes that are encoded once and sent again and again: method, header and body of as many messages as are sent
//! at a time.
//!
//! All messages have the same length, so that fewer of them are the beginning of the whole block. That is why routing
//! keys that take turns in it must have one length.

use bytes::BytesMut;
use rialto_protocol::amqp::{BasicPublish, Method, put_body, put_content_header};
use rialto_protocol::types::{Properties, ShortStr};

use super::super::plan::{Plan, STAMP_LEN};
use super::super::topic::Keys;
use super::connection::CHANNEL;
use super::setup::Names;
use super::walker::FRAME_MAX;

/// Delivery modes of the property.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

#[derive(Debug)]
pub(in super::super) struct Block {
    frames: Vec<u8>,
    message_len: usize,
    /// Where the routing key stands in a message, and its length.
    key_at: usize,
    key_len: usize,
    /// Where the body begins in a message.
    body_at: usize,
}

impl Block {
    /// With as many messages as the plan sends at a time, as a broker that agrees to the usual frames gets them.
    pub(in super::super) fn of_plan(plan: &Plan) -> Self {
        let names = Names::new();
        let (exchange, routing_key) = names.route(plan, 0);
        Block::new(plan, &exchange, &routing_key, FRAME_MAX)
    }

    /// With as many messages as the plan sends at a time.
    pub(super) fn new(plan: &Plan, exchange: &ShortStr, routing_key: &ShortStr, frame_max: u32) -> Self {
        let mode = if plan.persistent { PERSISTENT } else { TRANSIENT };
        let properties = Properties { delivery_mode: Some(mode), ..Properties::default() }.encoded();
        let mut message = BytesMut::new();
        let publish = BasicPublish {
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            mandatory: false,
            immediate: false,
        };
        Method::from(publish).encode(CHANNEL, &mut message);
        // Behind the key stand the two bits, in one octet, and the end of the frame.
        let key_at = message.len() - 2 - routing_key.len();
        put_content_header(CHANNEL, plan.size as u64, &properties, &mut message);
        let body_at = message.len() + rialto_protocol::amqp::FRAME_HEADER_LEN;
        put_body(CHANNEL, &vec![b'x'; plan.size], frame_max, &mut message);
        Block {
            frames: message.repeat(plan.batch as usize),
            message_len: message.len(),
            key_at,
            key_len: routing_key.len(),
            body_at,
        }
    }

    /// The frames of `count` messages.
    pub(in super::super) fn frames(&self, count: u32) -> &[u8] {
        &self.frames[..count as usize * self.message_len]
    }

    /// Writes another routing key, of the same length, into the first `count` messages.
    pub(super) fn route(&mut self, count: u32, routing_key: &str) {
        debug_assert_eq!(routing_key.len(), self.key_len, "names of one measurement have one length");
        for message in 0..count {
            self.put(message, self.key_at, routing_key.as_bytes());
        }
    }

    /// Writes the next keys, of the same length, into the first `count` messages.
    pub(super) fn spell(&mut self, count: u32, keys: &mut Keys) {
        debug_assert_eq!(keys.len(), self.key_len, "keys of one measurement have one length");
        for message in 0..count {
            self.put(message, self.key_at, keys.next());
        }
    }

    /// Writes a time into the body of one message.
    pub(super) fn stamp(&mut self, message: u32, at: u64) {
        const { assert!(STAMP_LEN == size_of::<u64>()) };
        self.put(message, self.body_at, &at.to_be_bytes());
    }

    fn put(&mut self, message: u32, at: usize, bytes: &[u8]) {
        let at = message as usize * self.message_len + at;
        self.frames[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::amqp::{BasicPublishRef, ContentHeader, FrameKind, split_frame};

    use super::super::super::topic::Topic;
    use super::*;

    /// Routing key, delivery mode and body of every message.
    fn messages(mut bytes: &[u8], frame_max: u32) -> Vec<(String, Option<u8>, Vec<u8>)> {
        let mut found: Vec<(String, Option<u8>, Vec<u8>)> = Vec::new();
        while !bytes.is_empty() {
            let (frame, len) = split_frame(bytes, frame_max).unwrap().expect("whole frames");
            assert_eq!(frame.channel, CHANNEL);
            match frame.kind {
                FrameKind::Method => {
                    let publish = BasicPublishRef::decode(frame.payload).unwrap();
                    found.push((publish.routing_key.to_owned(), None, Vec::new()));
                }
                FrameKind::Header => {
                    let header = ContentHeader::decode(frame.payload).unwrap();
                    found.last_mut().unwrap().1 = header.properties.delivery_mode();
                }
                FrameKind::Body => found.last_mut().unwrap().2.extend_from_slice(frame.payload),
                FrameKind::Heartbeat => panic!("a heartbeat"),
            }
            bytes = &bytes[len..];
        }
        found
    }

    #[test]
    fn every_message_can_have_a_key_of_its_own() {
        let topic = Topic { bindings: 100, keys: 7 };
        let plan = Plan { size: 20, topic: Some(topic), ..Plan::short() };
        let (mut block, mut keys, mut same_keys) = (Block::of_plan(&plan), topic.keys(), topic.keys());
        for _ in 0..2 {
            block.spell(5, &mut keys);
            let messages = messages(block.frames(5), FRAME_MAX);
            assert_eq!(messages.len(), 5);
            for (key, _, _) in messages {
                assert_eq!(key.as_bytes(), same_keys.next());
            }
        }
    }

    #[test]
    fn fewer_messages_are_the_beginning_of_the_block() {
        for (persistent, size) in [(false, 20), (true, 5000)] {
            let plan = Plan { size, persistent, stamps: true, ..Plan::short() };
            let key = ShortStr::truncated("queue 0");
            let mut block = Block::new(&plan, &ShortStr::default(), &key, 4096);
            block.route(3, "queue 9");
            block.stamp(2, 77);
            let messages = messages(block.frames(3), 4096);
            assert_eq!(messages.len(), 3);
            for (number, (key, mode, body)) in messages.iter().enumerate() {
                assert_eq!(
                    (key.as_str(), *mode, body.len()),
                    ("queue 9", Some(1 + u8::from(persistent)), size)
                );
                let stamped = body[..STAMP_LEN] == 77_u64.to_be_bytes();
                assert_eq!(stamped, number == 2);
                assert!(body[STAMP_LEN..].iter().all(|&byte| byte == b'x'));
            }
        }
    }
}
