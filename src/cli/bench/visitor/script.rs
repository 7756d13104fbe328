//! What a connection says, step by step, and what it waits for after each.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::super::error::{BenchError, BenchResult, Doing};
use crate::server::unpaced::connect;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for the longest answer.
const ROOM: usize = 16 << 10;

/// Looks for the answer in what has come, and takes out what it has looked at. True: it is there.
pub(super) type Heard = Box<dyn Fn(&mut BytesMut) -> BenchResult<bool> + Send + Sync>;

/// Bytes to send, and what to wait for then.
pub(super) struct Step {
    /// What is sent.
    pub(super) words: Bytes,
    /// What must come then, for people.
    pub(super) awaits: &'static str,
    pub(super) heard: Heard,
}

/// The steps of a connection.
pub(in super::super) struct Script {
    /// Host and port.
    pub(super) endpoint: String,
    pub(super) steps: Vec<Step>,
    /// What keeps the connection alive, said every now and then.
    pub(super) heartbeat: Bytes,
}

/// A connection that stays.
#[derive(Debug)]
pub(in super::super) struct Stay {
    stream: TcpStream,
    heartbeat: Bytes,
}

impl Script {
    /// Connects, and says everything.
    ///
    /// # Errors
    /// The broker cannot be reached, refuses something, or is silent for half a minute.
    pub(in super::super) fn play(&self) -> BenchResult<Stay> {
        let endpoint = &self.endpoint;
        let mut stream = connect(endpoint).doing(|| format!("cannot connect to {endpoint}"))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).doing(|| "cannot set a timeout".to_owned())?;
        let mut heard = BytesMut::with_capacity(ROOM);
        let mut room = [0; ROOM];
        for step in &self.steps {
            stream.write_all(&step.words).doing(|| "cannot write to the broker".to_owned())?;
            while !(step.heard)(&mut heard)? {
                let count = read(&mut stream, &mut room, step.awaits)?;
                heard.extend_from_slice(&room[..count]);
            }
        }
        Ok(Stay { stream, heartbeat: self.heartbeat.clone() })
    }
}

impl Stay {
    /// Tells the broker that somebody is there.
    pub(in super::super) fn keep_alive(&mut self) -> BenchResult<()> {
        self.stream.write_all(&self.heartbeat).doing(|| "a connection that was idle is lost".to_owned())
    }
}

fn read(stream: &mut TcpStream, room: &mut [u8], awaits: &str) -> BenchResult<usize> {
    loop {
        match stream.read(room) {
            Ok(0) => return Err(BenchError::Ended),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(BenchError::Protocol(format!("nothing, where {awaits} was due")));
            }
            Err(error) => return Err(error).doing(|| "cannot read from the broker".to_owned()),
        }
    }
}
