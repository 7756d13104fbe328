//! A consuming connection: counts, and acknowledges many at once.

use std::net::TcpStream;

use rialto_protocol::amqp::BasicAck;

use super::super::error::BenchResult;
use super::super::plan::Acks;
use super::super::traffic;
use super::connection::{CHANNEL, Connection, Event};

pub(super) struct Consumer {
    connection: Connection,
    acks: Acks,
    /// Messages that have come and are not acknowledged. Tags count all consumers of the channel together, so one
    /// acknowledgement settles what came for any of them.
    unsettled: u64,
    /// The tag of the last message.
    last: u64,
}

impl Consumer {
    /// A connection with its consumers started.
    pub(super) fn new(connection: Connection, acks: Acks) -> Self {
        Consumer { connection, acks, unsettled: 0, last: 0 }
    }

    fn acknowledge(&mut self) -> BenchResult<()> {
        let Acks::Manual { every, .. } = self.acks else { return Ok(()) };
        if self.unsettled < u64::from(every) {
            return Ok(());
        }
        self.unsettled = 0;
        self.connection.send(CHANNEL, BasicAck { delivery_tag: self.last, multiple: true })
    }
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        if !self.connection.read()? {
            return Ok(None);
        }
        let mut received = 0;
        while let Some(event) = self.connection.next()? {
            match event {
                Event::Delivered { count, last } => {
                    received += count;
                    self.unsettled += count;
                    self.last = last;
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
