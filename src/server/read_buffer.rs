//! A connection's read buffer: large while much arrives, small while it idles.

use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;

/// The next read's room doubles when a read fills it and halves when reads stay far below it.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    room: usize,
    room_max: usize,
}

impl ReadBuffer {
    const ROOM_MIN: usize = 4 << 10;

    pub(super) fn new(room_max: usize) -> Self {
        ReadBuffer { bytes: BytesMut::new(), room: Self::ROOM_MIN, room_max: room_max.max(Self::ROOM_MIN) }
    }

    /// Reads what is there, up to the room. 0: the peer has ended.
    pub(super) fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        // A frame longer than the room wants its rest at once.
        self.bytes.reserve(self.room);
        let count = stream.try_read_buf(&mut self.bytes)?;
        if count >= self.room {
            self.room = (self.room * 2).min(self.room_max);
        } else if count < self.room / 8 {
            self.room = (self.room / 2).max(Self::ROOM_MIN);
        }
        Ok(count)
    }

    /// Gives memory back if nothing is left in the buffer.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.room = Self::ROOM_MIN;
        }
    }
}
