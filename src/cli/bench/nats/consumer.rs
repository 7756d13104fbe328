//! A subscribed connection: counts, and acknowledges where a stream wants it.

use std::net::TcpStream;

use super::super::error::{BenchError, BenchResult};
use super::super::plan::STAMP_LEN;
use super::super::traffic;
use super::connection::Connection;
use super::jetstream::Settling;

pub(super) struct Consumer {
    connection: Connection,
    stamps: bool,
    /// None: NATS core.
    settling: Option<Settling>,
}

impl Consumer {
    pub(super) fn new(connection: Connection, stamps: bool, settling: Option<Settling>) -> Self {
        Consumer { connection, stamps, settling }
    }
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        if !self.connection.read()? {
            return Ok(None);
        }
        let mut received = 0;
        self.connection.hear(|message| {
            if let Some(settling) = &mut self.settling
                && !settling.take(&message)?
            {
                return Ok(());
            }
            received += 1;
            if self.stamps {
                let at = message.body.first_chunk::<STAMP_LEN>();
                let at = at.ok_or_else(|| BenchError::Protocol("a body without its time".to_owned()))?;
                stamp(u64::from_be_bytes(*at));
            }
            Ok(())
        })?;
        if let Some(settling) = &mut self.settling {
            settling.send(&mut self.connection)?;
        }
        Ok(Some(received))
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
