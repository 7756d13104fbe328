//! One blocking connection to a NATS server: greeting, `PING` both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::super::error::{BenchError, BenchResult, Doing};
use super::walker::{Arrived, Walker};

/// How long the server may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT: &str = concat!(
    r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"rust","name":"rialto bench","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","protocol":1}"#,
    "\r\n"
);

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    walker: Walker,
    pongs: u64,
}

/// What concerns the traffic.
#[derive(Debug)]
pub(super) enum Event {
    Messages(u64),
    Stamp(u64),
}

impl Connection {
    pub(super) fn open(endpoint: &str, stamps: bool) -> BenchResult<Connection> {
        let stream = TcpStream::connect(endpoint).doing(|| format!("cannot connect to {endpoint}"))?;
        stream.set_nodelay(true).doing(|| "cannot set TCP_NODELAY".to_owned())?;
        stream.set_read_timeout(Some(GREETING_TIMEOUT)).doing(timeout_failed)?;
        let mut connection = Connection { stream, walker: Walker::new(stamps), pongs: 0 };
        connection.write(CONNECT.as_bytes())?;
        connection.flush()?;
        connection.stream.set_read_timeout(None).doing(timeout_failed)?;
        Ok(connection)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> BenchResult<()> {
        self.stream.write_all(bytes).doing(|| "cannot write to the server".to_owned())
    }

    /// Waits until the server has done all that was sent.
    pub(super) fn flush(&mut self) -> BenchResult<()> {
        let before = self.pongs;
        self.write(b"PING\r\n")?;
        while self.pongs == before {
            if !self.read()? {
                return Err(BenchError::Ended);
            }
            while self.next()?.is_some() {}
        }
        Ok(())
    }

    /// Takes in what has come, without waiting: a publisher has nothing to hear but `PING` and errors.
    pub(super) fn listen(&mut self) -> BenchResult<()> {
        self.stream.set_nonblocking(true).doing(timeout_failed)?;
        let read = self.stream.read(self.walker.room());
        self.stream.set_nonblocking(false).doing(timeout_failed)?;
        match read {
            Ok(0) => return Err(BenchError::Ended),
            Ok(count) => self.walker.filled(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).doing(|| "cannot read from the server".to_owned()),
        }
        while self.next()?.is_some() {}
        Ok(())
    }

    /// Reads once. False: the connection has ended.
    pub(super) fn read(&mut self) -> BenchResult<bool> {
        loop {
            match self.stream.read(self.walker.room()) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.walker.filled(count);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error).doing(|| "cannot read from the server".to_owned()),
            }
        }
    }

    /// The next thing in what was read.
    pub(super) fn next(&mut self) -> BenchResult<Option<Event>> {
        while let Some(arrived) = self.walker.next()? {
            match arrived {
                Arrived::Messages(count) => return Ok(Some(Event::Messages(count))),
                Arrived::Stamp(at) => return Ok(Some(Event::Stamp(at))),
                Arrived::Line(b"PONG") => self.pongs += 1,
                Arrived::Line(b"PING") => self.write(b"PONG\r\n")?,
                Arrived::Line(line) if line.starts_with(b"-ERR") => {
                    return Err(BenchError::Refused(String::from_utf8_lossy(line).into_owned()));
                }
                Arrived::Line(_) => {}
            }
        }
        Ok(None)
    }
}

fn timeout_failed() -> String {
    "cannot change how the socket waits".to_owned()
}
