//! What a connection has read: bytes in a buffer that the connections of a thread share, and what is left of them.
//!
//! Invariants: between its turns a connection keeps only the beginning of a frame, so one that idles keeps nothing,
//! and those that are busy read into the same memory, which stays in the processor's caches. Bytes are read and
//! carried out without a wait between, so a thread needs one buffer at a time.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use super::transport::Transport;

thread_local! {
    /// The thread's buffer while nobody reads. Empty of bytes; without memory before the first read.
    static SHARED: Cell<BytesMut> = Cell::default();
}

/// See the module.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    /// What has been read and not been carried out.
    pub(super) bytes: BytesMut,
    /// Whether `bytes` lie in the thread's buffer.
    is_shared: bool,
    read_chunk: usize,
}

impl ReadBuffer {
    /// A beginning that is longer than such a part of a chunk keeps the buffer it lies in: to move it at each read would
    /// cost more. Shorter ones are moved, so that a peer that is slow holds little more than it has sent.
    const MOVED_PART: usize = 4;

    /// How many times what is read at once a shared buffer may have become for the sake of a long frame.
    const GROWN_MAX: usize = 4;

    /// Reads `read_chunk` bytes at a time.
    pub(super) fn new(read_chunk: usize) -> Self {
        ReadBuffer { bytes: BytesMut::new(), is_shared: false, read_chunk }
    }

    /// Reads what is there, up to its chunk. 0: the peer has ended. [`ReadBuffer::settle`] when it is carried out.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        ready!(stream.socket().poll_read_ready(cx))?;
        self.borrow();
        let read = stream.poll_read(&mut self.bytes, self.read_chunk, cx);
        if !matches!(read, Poll::Ready(Ok(_))) {
            self.settle();
        }
        read
    }

    /// Whether so much was read that there may be more.
    pub(super) fn is_chunk(&self, read: usize) -> bool {
        read >= self.read_chunk
    }

    fn is_long(&self) -> bool {
        self.bytes.len() > self.read_chunk / Self::MOVED_PART
    }

    /// Makes room for a chunk.
    fn borrow(&mut self) {
        if !self.is_shared && !self.is_long() {
            let mut shared = SHARED.take();
            let is_large = shared.capacity() > (Self::GROWN_MAX + 1) * self.read_chunk;
            if is_large || !shared.try_reclaim(self.bytes.len() + self.read_chunk) {
                shared = BytesMut::with_capacity(self.read_chunk + self.read_chunk / Self::MOVED_PART);
            }
            shared.extend_from_slice(&self.bytes);
            self.bytes = shared;
            self.is_shared = true;
        }
        self.bytes.reserve(self.read_chunk);
    }

    /// Gives the thread its buffer back and keeps what is left, unless that is long.
    pub(super) fn settle(&mut self) {
        if !self.is_shared || self.is_long() {
            return;
        }
        let left = match self.bytes.is_empty() {
            true => BytesMut::new(),
            false => BytesMut::from(&self.bytes[..]),
        };
        let mut shared = std::mem::replace(&mut self.bytes, left);
        shared.clear();
        SHARED.set(shared);
        self.is_shared = false;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const CHUNK: usize = 64 << 10;

    async fn pair() -> (TcpStream, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (peer, Transport::Plain(listener.accept().await.unwrap().0))
    }

    /// Reads until so many bytes are there.
    async fn fill(input: &mut ReadBuffer, stream: &mut Transport, len: usize) {
        while input.bytes.len() < len {
            poll_fn(|cx| input.poll_read(stream, cx)).await.unwrap();
            input.settle();
        }
    }

    #[tokio::test]
    async fn what_is_left_of_a_read_comes_before_the_next_and_takes_no_more_memory_than_it_is_long() {
        let (mut peer, mut stream) = pair().await;
        let mut input = ReadBuffer::new(CHUNK);
        peer.write_all(b"one two").await.unwrap();
        poll_fn(|cx| input.poll_read(&mut stream, cx)).await.unwrap();
        let _ = input.bytes.split_to(4);
        input.settle();
        assert_eq!((&input.bytes[..], input.bytes.capacity()), (&b"two"[..], 3));
        peer.write_all(b" three").await.unwrap();
        fill(&mut input, &mut stream, 9).await;
        assert_eq!(&input.bytes[..], b"two three");
    }

    #[tokio::test]
    async fn no_more_is_read_than_a_chunk_however_long_the_buffer_has_become() {
        let (peer, mut stream) = pair().await;
        let mut input = ReadBuffer::new(CHUNK);
        let long = vec![7; 3 * CHUNK];
        let (mut read, mut written) = (0, 0);
        while read < long.len() {
            while written < long.len()
                && let Ok(more) = peer.try_write(&long[written..])
            {
                written += more;
            }
            let next = poll_fn(|cx| input.poll_read(&mut stream, cx)).await.unwrap();
            assert!(next <= CHUNK);
            read += next;
            // As if a frame of two chunks were on its way.
            if input.bytes.len() > 2 * CHUNK {
                input.bytes.clear();
            }
            input.settle();
        }
    }

    #[tokio::test]
    async fn connections_of_a_thread_read_into_one_buffer_and_keep_none_of_it() {
        let (mut peer, mut stream) = pair().await;
        let (mut other_peer, mut other_stream) = pair().await;
        let (mut input, mut other) = (ReadBuffer::new(CHUNK), ReadBuffer::new(CHUNK));
        let mut places = Vec::new();
        for _ in 0..2 {
            for (peer, stream, input) in
                [(&mut peer, &mut stream, &mut input), (&mut other_peer, &mut other_stream, &mut other)]
            {
                peer.write_all(b"heartbeat").await.unwrap();
                poll_fn(|cx| input.poll_read(stream, cx)).await.unwrap();
                places.push(input.bytes.as_ptr());
                input.bytes.clear();
                input.settle();
                assert_eq!(input.bytes.capacity(), 0);
            }
        }
        assert!(places.iter().all(|place| *place == places[0]));
    }

    #[tokio::test]
    async fn a_peer_that_stops_within_a_frame_holds_a_few_times_what_it_has_sent() {
        let (mut peer, mut stream) = pair().await;
        let mut input = ReadBuffer::new(CHUNK);
        for len in [1000, CHUNK / 4, CHUNK / 2] {
            peer.write_all(&vec![7; len - input.bytes.len()]).await.unwrap();
            fill(&mut input, &mut stream, len).await;
            assert!(input.bytes.capacity() <= 6 * len, "{} for {len}", input.bytes.capacity());
        }
    }

    #[tokio::test]
    async fn the_beginning_of_a_long_frame_stays_where_it_is_and_others_read_meanwhile() {
        let (mut peer, mut stream) = pair().await;
        let (mut other_peer, mut other_stream) = pair().await;
        let (mut input, mut other) = (ReadBuffer::new(CHUNK), ReadBuffer::new(CHUNK));
        let long: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let (first, last) = long.split_at(50_000);
        peer.write_all(first).await.unwrap();
        fill(&mut input, &mut stream, first.len()).await;
        other_peer.write_all(b"short").await.unwrap();
        fill(&mut other, &mut other_stream, 5).await;
        peer.write_all(last).await.unwrap();
        fill(&mut input, &mut stream, long.len()).await;
        assert!(input.bytes[..] == long && other.bytes[..] == *b"short");
    }
}
