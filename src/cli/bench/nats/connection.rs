//! One blocking connection to a NATS server: greeting, `PING` both ways, questions with one answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::super::error::{BenchError, BenchResult, Doing};
use super::walker::{Arrived, Message, Walker};
use crate::server::unpaced::connect;

/// How long the server may take to greet, and to answer before the traffic begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Who connects. Headers are how JetStream sends what is no message, and no one to answer a question.
pub(in super::super) const CONNECT: &str = concat!(
    r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"rust","name":"rialto bench","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","protocol":1,"headers":true,"no_responders":true}"#,
    "\r\n"
);

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    walker: Walker,
    pongs: u64,
    /// Bytes of the largest body that the server takes, as its greeting says.
    max_payload: Option<u64>,
}

impl Connection {
    pub(super) fn open(endpoint: &str) -> BenchResult<Connection> {
        let stream = connect(endpoint).doing(|| format!("cannot connect to {endpoint}"))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).doing(timeout_failed)?;
        let mut connection = Connection { stream, walker: Walker::new(), pongs: 0, max_payload: None };
        connection.write(CONNECT.as_bytes())?;
        connection.flush()?;
        Ok(connection)
    }

    /// Requests are over: from now on silence means that there is nothing to say.
    pub(super) fn begin_traffic(&mut self) -> BenchResult<()> {
        self.stream.set_read_timeout(None).doing(timeout_failed)
    }

    /// Checks that bodies of this size are taken: the server would end the connection, not answer.
    pub(super) fn takes(&self, size: usize) -> BenchResult<()> {
        match self.max_payload {
            Some(max) if size as u64 > max => Err(BenchError::Options(format!(
                "this NATS server takes bodies of up to {max} bytes (its max_payload)"
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> BenchResult<()> {
        self.stream.write_all(bytes).doing(|| "cannot write to the server".to_owned())
    }

    /// Waits until the server has read all that was sent. Messages that come until then are passed over.
    pub(super) fn flush(&mut self) -> BenchResult<()> {
        let before = self.pongs;
        self.write(b"PING\r\n")?;
        while self.pongs == before {
            self.await_bytes()?;
            self.hear(|_| Ok(()))?;
        }
        Ok(())
    }

    /// Takes in what has come, without waiting: a publisher without confirms has nothing to hear but `PING` and errors.
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
        self.hear(|_| Ok(()))
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
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(BenchError::Protocol("nothing, where an answer was due".to_owned()));
                }
                // The round ends consumers by shutting their sockets down.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error).doing(|| "cannot read from the server".to_owned()),
            }
        }
    }

    /// Reads once; the connection must not end.
    pub(super) fn await_bytes(&mut self) -> BenchResult<()> {
        match self.read()? {
            true => Ok(()),
            false => {
                // Its last words may have come with the end.
                self.hear(|_| Ok(()))?;
                Err(BenchError::Ended)
            }
        }
    }

    /// Hands over each message in what was read.
    pub(super) fn hear(&mut self, mut each: impl FnMut(Message<'_>) -> BenchResult<()>) -> BenchResult<()> {
        let mut pings = 0;
        while let Some(arrived) = self.walker.next()? {
            match arrived {
                Arrived::Message(message) => each(message)?,
                Arrived::Line(b"PONG") => self.pongs += 1,
                Arrived::Line(b"PING") => pings += 1,
                Arrived::Line(line) if line.starts_with(b"-ERR") => {
                    return Err(BenchError::Refused(String::from_utf8_lossy(line).into_owned()));
                }
                Arrived::Line(line) => {
                    if let Some(info) = line.strip_prefix(b"INFO ")
                        && let Ok(info) = serde_json::from_slice::<serde_json::Value>(info)
                    {
                        self.max_payload = info["max_payload"].as_u64();
                    }
                }
            }
        }
        for _ in 0..pings {
            self.write(b"PONG\r\n")?;
        }
        Ok(())
    }
}

fn timeout_failed() -> String {
    "cannot change how the socket waits".to_owned()
}
