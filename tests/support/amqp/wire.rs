//! A socket that gives frames.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rialto_protocol::amqp::{FrameKind, split_frame};

/// How long a test waits for what must happen before it says that it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// One frame, copied out of the socket's buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawFrame {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

/// A connection of bytes.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    /// Where in `input` the next frame begins.
    start: usize,
}

impl Wire {
    /// Connects; nothing is said yet.
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Wire { stream, input: Vec::new(), start: 0 }
    }

    /// Sends bytes. That the broker may have hung up by now is not this method's business.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Ends the sending direction.
    pub(crate) fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads once. False when the broker has hung up; none when nothing came in time.
    fn fill(&mut self, deadline: Instant) -> Option<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        self.stream.set_read_timeout(Some(left)).expect("a socket option");
        self.input.drain(..self.start);
        self.start = 0;
        let old = self.input.len();
        self.input.resize(old + CHUNK, 0);
        let read = self.stream.read(&mut self.input[old..]);
        self.input.truncate(old + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(len) => Some(len > 0),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) if error.kind() == ErrorKind::Interrupted => Some(true),
            // A reset is an end too.
            Err(_) => Some(false),
        }
    }

    /// The next frame. `Ok(None)` is the end of the connection, `Err(())` that nothing came in time.
    pub(crate) fn next_frame(&mut self, deadline: Instant) -> Result<Option<RawFrame>, ()> {
        loop {
            let unread = &self.input[self.start..];
            if let Some((frame, len)) = split_frame(unread, 0).expect("the broker sends good frames") {
                let (kind, channel) = (frame.kind, frame.channel);
                let payload = frame.payload.to_vec();
                self.start += len;
                return Ok(Some(RawFrame { kind, channel, payload }));
            }
            match self.fill(deadline) {
                Some(true) => {}
                Some(false) => return Ok(None),
                None => return Err(()),
            }
        }
    }

    /// Everything until the broker ends the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.fill(deadline).expect("the broker hangs up") {}
        self.input.split_off(self.start)
    }

    /// The next bytes, this many; fewer if the connection ends before.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.input.len() - self.start < count && self.fill(deadline).expect("the broker says something")
        {
        }
        let end = (self.start + count).min(self.input.len());
        let taken = self.input[self.start..end].to_vec();
        self.start = end;
        taken
    }
}

/// Any frame at all.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(0xce);
    out
}
