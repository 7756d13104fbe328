//! A session without its socket, and two of them with a queue between.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rialto::broker::{Broker, Link, Outbox};
use rialto::session::{Session, SessionOptions};

use super::{NOW, Workload};

/// A session and what it has read.
pub(super) struct End {
    session: Box<dyn Session>,
    input: BytesMut,
}

impl End {
    /// With a session that `make` makes.
    pub(super) fn new<S: Session + 'static>(
        broker: &Broker,
        make: impl FnOnce(Broker, Arc<SessionOptions>, Arc<Link>, Arc<Outbox>) -> S,
    ) -> End {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let link = Arc::new(Link::new(address(5000), address(5672), None));
        let session = make(broker.clone(), Arc::default(), link, Arc::new(Outbox::new()));
        End { session: Box::new(session), input: BytesMut::new() }
    }

    /// Reads what stands in the input.
    fn handle(&mut self) {
        self.session.handle_input(&mut self.input, NOW);
    }

    /// Reads these bytes.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.handle();
    }

    /// Takes what it says as a socket would, and says how many bytes that was.
    pub(super) fn read(&mut self) -> usize {
        let mut all = 0;
        loop {
            self.session.handle_outbox(NOW);
            let out = self.session.poll_output(NOW);
            let mut slices = [IoSlice::new(&[]); 64];
            let count = out.chunks(&mut slices);
            if count == 0 {
                return all;
            }
            let written: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            out.advance(written);
            all += written;
        }
    }
}

/// Which part of a message's way is the work; the rest is made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// From the publisher's bytes into the queue, with the confirm if there are any.
    Publish,
    /// From the queue into the consumer's bytes, with the acknowledgement if there is one.
    Deliver,
}

/// A publisher, a queue, a consumer.
pub(super) struct Flow {
    pub(super) part: Part,
    pub(super) publisher: End,
    pub(super) consumer: End,
    /// What the publisher sends at a time.
    pub(super) frames: Vec<u8>,
    pub(super) messages: usize,
    /// What the consumer answers to all of it.
    pub(super) ack: Vec<u8>,
    /// Where the number of the first message stands in the frames, if it does, and what it is next.
    pub(super) number: Option<(usize, u64)>,
}

impl Flow {
    fn publish(&mut self) {
        self.publisher.handle();
        self.publisher.read();
    }

    fn deliver(&mut self) -> usize {
        let bytes = self.consumer.read();
        if !self.ack.is_empty() {
            self.consumer.hear(&self.ack);
        }
        bytes
    }
}

impl Workload for Flow {
    fn prepare(&mut self) {
        if let Some((at, number)) = &mut self.number {
            self.frames[*at..*at + 8].copy_from_slice(&number.to_be_bytes());
            *number += self.messages as u64;
        }
        if self.part == Part::Publish {
            self.deliver();
        }
        self.publisher.input.extend_from_slice(&self.frames);
        if self.part == Part::Deliver {
            self.publish();
        }
    }

    fn work(&mut self) {
        match self.part {
            Part::Publish => self.publish(),
            Part::Deliver => {
                let bytes = self.deliver();
                assert!(bytes > self.messages * 16, "all messages are delivered");
            }
        }
    }

    fn operations(&self) -> usize {
        self.messages
    }
}
