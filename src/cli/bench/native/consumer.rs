//! A consuming connection: counts, and acknowledges in ranges.

use std::net::TcpStream;

use rialto_protocol::native::{Command, Settle, Settlement};

use super::super::error::BenchResult;
use super::super::plan::Acks;
use super::super::traffic;
use super::connection::{Connection, Event};

pub(super) struct Consumer {
    connection: Connection,
    acks: Acks,
    /// For each consumer of the channel, which are numbered from 1.
    tags: Vec<Tags>,
    /// Consumers that have something to acknowledge.
    due: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tags {
    delivered: u64,
    settled: u64,
}

impl Consumer {
    /// A connection with so many consumers started.
    pub(super) fn new(connection: Connection, acks: Acks, consumers: u32) -> Self {
        Consumer { connection, acks, tags: vec![Tags::default(); consumers as usize], due: Vec::new() }
    }

    fn count(&mut self, consumer: u32, count: u32) {
        let Acks::Manual { every, .. } = self.acks else { return };
        // A number that was never started is the broker's mistake, and shows as messages that are not settled.
        let Some(tags) = self.tags.get_mut(consumer as usize - 1) else { return };
        let was_due = tags.delivered - tags.settled >= u64::from(every);
        tags.delivered += u64::from(count);
        if !was_due && tags.delivered - tags.settled >= u64::from(every) {
            self.due.push(consumer);
        }
    }

    fn acknowledge(&mut self) -> BenchResult<()> {
        while let Some(consumer) = self.due.pop() {
            let tags = &mut self.tags[consumer as usize - 1];
            let ranges = vec![(tags.settled + 1, tags.delivered)];
            tags.settled = tags.delivered;
            self.connection.send(&Command::Settle(Settle {
                consumer,
                settlement: Settlement::Ack,
                ranges,
            }))?;
        }
        Ok(())
    }
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        let mut received = 0;
        if !self.connection.read()? {
            return Ok(None);
        }
        while let Some(event) = self.connection.next()? {
            match event {
                Event::Delivered { consumer, count } => {
                    received += u64::from(count);
                    self.count(consumer, count);
                }
                Event::Stamp(at) => stamp(at),
                _ => {}
            }
        }
        self.acknowledge()?;
        Ok(Some(received))
    }

    fn has_more(&mut self) -> bool {
        self.connection.has_more()
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
