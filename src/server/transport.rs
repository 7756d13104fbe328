//! A connection's way to its peer: a socket, as it is or with TLS around it.
//!
//! Invariants: reads and writes mean the same with and without TLS, down to "nothing is there now"; a plain socket pays
//! for the choice with one comparison each time. Not here: certificates (`tls`), what is read into (`read_buffer`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tls_stream::TlsStream;

/// See the module.
#[derive(Debug)]
pub(super) enum Transport {
    /// The socket itself.
    Plain(TcpStream),
    /// Encrypted. Behind a pointer: it is many times as large, and few of its parts are looked at each time.
    Tls(Box<TlsStream>),
}

impl Transport {
    /// The socket underneath, to wait for and to ask. Reading from it or writing to it is not for others.
    #[inline]
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.socket(),
        }
    }

    /// Reads what is there, but so many bytes `at_most`, or waits. 0: the peer has ended. Encrypted bytes bring what is
    /// in them: as much as there is room for.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        into: &mut BytesMut,
        at_most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            // It knows a socket for empty when it gives less than was asked for, and does not ask it again.
            Transport::Plain(socket) => pin!(socket.read_buf(&mut into.limit(at_most))).poll(cx),
            Transport::Tls(stream) => stream.poll_read(into, cx),
        }
    }

    /// Whether the last read has left something behind that is known of, though it gave less than a chunk.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.has_more(),
        }
    }

    /// Writes what the socket takes at once. With TLS some of it may wait afterwards: see [`Transport::has_unsent`].
    ///
    /// # Errors
    /// `WouldBlock`: nothing can be taken now.
    #[inline]
    pub(super) fn try_write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_write_vectored(slices),
            Transport::Tls(stream) => stream.try_write_vectored(slices),
        }
    }

    /// The same with one slice, which costs less.
    #[inline]
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_write(bytes),
            Transport::Tls(stream) => stream.try_write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// Whether something that was taken is not with the system yet: [`Transport::try_write_vectored`] again when the
    /// socket is writable, or [`Transport::try_flush`].
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.has_unsent(),
        }
    }

    /// Gives the system what it takes of that. True: something is left.
    #[inline]
    pub(super) fn try_flush(&mut self) -> io::Result<bool> {
        match self {
            Transport::Plain(_) => Ok(false),
            Transport::Tls(stream) => stream.try_flush(),
        }
    }

    /// Writes all of it. For first and last words.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() || self.try_flush()? {
            match self.try_write_vectored(&[IoSlice::new(bytes)]) {
                Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket().writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.shutdown().await,
            Transport::Tls(stream) => {
                poll_fn(|cx| Pin::new(&mut *stream).poll_close(cx)).await?;
                stream.socket_mut().shutdown().await
            }
        }
    }
}
