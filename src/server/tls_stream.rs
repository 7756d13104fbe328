//! A socket with TLS around it, driven by hand: what came is read in large pieces and taken apart at once, what goes is
//! encrypted in large pieces and written with one call.
//!
//! The usual adapters read 4 KiB with each system call, because the library keeps encrypted bytes in a buffer of its
//! own that grows by so much. Here they are read into a buffer that the connections of a thread share, as `read_buffer`
//! has it for what is not encrypted, and the library is fed from memory.
//!
//! Invariants: between its turns a connection keeps no more of what it has read than the beginning of a record, and no
//! more of what it has not sent than [`UNSENT_MAX`]. After an error nothing works any more.

use std::cell::Cell;
use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{self, ServerConnection};

use crate::model::TlsFacts;
use crate::tls::Acceptor;

/// Encrypted bytes that are made at a time: what is written with one call, and what may be left over of it.
const UNSENT_MAX: usize = 256 << 10;

thread_local! {
    /// Where encrypted bytes are read. Without memory before the first read.
    static ENCRYPTED: Cell<Vec<u8>> = Cell::default();
}

/// See the module.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    tls: ServerConnection,
    /// Encrypted bytes that are read at once.
    read_chunk: usize,
    /// The last read was as long as it could be.
    has_more: bool,
    /// The peer has said that nothing more comes, or is gone.
    has_ended: bool,
}

impl TlsStream {
    /// Begins TLS on a socket from which `first` has been read already. The handshake goes on with what is read: wait
    /// for [`TlsStream::poll_handshake`].
    pub(super) fn accept(
        socket: TcpStream,
        acceptor: &Acceptor,
        first: &[u8],
        read_chunk: usize,
    ) -> io::Result<Self> {
        let mut tls = acceptor.accept().map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(UNSENT_MAX));
        let mut stream = TlsStream { socket, tls, read_chunk, has_more: false, has_ended: false };
        // Nothing can be said yet, so nothing goes there.
        stream.take_in(first, &mut BytesMut::new())?;
        Ok(stream)
    }

    /// Goes on with the handshake. What the peer says at once behind it goes to `into`.
    pub(super) fn poll_handshake(
        &mut self,
        into: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() || self.tls.wants_write() {
            ready!(self.poll_flush(cx))?;
            if self.tls.is_handshaking() {
                ready!(self.poll_take_in(into, cx))?;
                if self.has_ended {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// What the handshake has brought.
    pub(super) fn facts(&self, acceptor: &Acceptor) -> TlsFacts {
        acceptor.facts(&self.tls)
    }

    pub(super) fn poll_read(&mut self, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = into.len();
        // What came may be for TLS alone: a new key, the beginning of a record. Tokio ends the turn of a socket that
        // always has something, so a peer that says nothing else cannot keep the thread.
        while into.len() == before && !self.has_ended {
            ready!(self.poll_take_in(into, cx))?;
        }
        Poll::Ready(Ok(into.len() - before))
    }

    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.tls.wants_write()
    }

    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.try_flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.tls.writer().write_vectored(slices)?;
        // What the socket does not take now, waits.
        self.try_flush()?;
        Ok(taken)
    }

    /// True: something is left.
    pub(super) fn try_flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Writer(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.try_flush()? {
            ready!(self.socket.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes: without it, a peer cannot tell the end from a connection that somebody has cut.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It says so once, however often it is asked to.
        self.tls.send_close_notify();
        self.poll_flush(cx)
    }

    /// Reads once and takes it in.
    fn poll_take_in(&mut self, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_read_ready(cx))?;
        let mut encrypted = ENCRYPTED.take();
        if encrypted.len() != self.read_chunk {
            encrypted.resize(self.read_chunk, 0);
        }
        let mut room = ReadBuf::new(&mut encrypted);
        let read = std::pin::Pin::new(&mut self.socket).poll_read(cx, &mut room);
        let len = room.filled().len();
        let taken = match read {
            Poll::Ready(Ok(())) => {
                self.has_more = len == self.read_chunk;
                self.has_ended |= len == 0;
                Poll::Ready(self.take_in(&encrypted[..len], into))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        ENCRYPTED.set(encrypted);
        taken
    }

    /// Takes in what was read. Answers that TLS itself makes (new keys, alerts) leave at once if the socket takes them.
    fn take_in(&mut self, mut encrypted: &[u8], into: &mut BytesMut) -> io::Result<()> {
        while !encrypted.is_empty() && !self.has_ended {
            self.tls.read_tls(&mut encrypted)?;
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The peer shall hear why; it is gone in any case.
                    let _ = self.try_flush();
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            let mut left = state.plaintext_bytes_to_read();
            let mut reader = self.tls.reader();
            while left > 0 {
                let some = reader.fill_buf()?;
                let len = some.len();
                into.extend_from_slice(some);
                reader.consume(len);
                left = left.saturating_sub(len);
            }
            self.has_ended |= state.peer_has_closed();
        }
        if self.tls.wants_write() {
            self.try_flush()?;
        }
        Ok(())
    }
}

/// The library's error behind one of IO.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The socket as something to write to that never waits.
struct Writer<'a>(&'a TcpStream);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
