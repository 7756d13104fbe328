//! A subscribed connection: counts.

use std::net::TcpStream;

use super::super::error::BenchResult;
use super::super::traffic;
use super::connection::{Connection, Event};

pub(super) struct Consumer(Connection);

impl Consumer {
    pub(super) fn new(connection: Connection) -> Self {
        Consumer(connection)
    }
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        if !self.0.read()? {
            return Ok(None);
        }
        let mut received = 0;
        while let Some(event) = self.0.next()? {
            match event {
                Event::Messages(count) => received += count,
                Event::Stamp(at) => stamp(at),
            }
        }
        Ok(Some(received))
    }

    fn socket(&self) -> &TcpStream {
        self.0.socket()
    }
}
