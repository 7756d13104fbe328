//! Lines of stdin as bodies: read in large chunks by a thread of its own, cut without copying.
//!
//! Invariants: at most [`CHUNKS_AHEAD`] chunks wait, so a slow broker stops the reading; a line longer than
//! [`LINE_MAX`] is an error and not a full memory; a last line without its line break is a line.

use std::io::{self, Read};
use std::thread;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes read at a time: large enough that a read costs nothing per line.
const CHUNK: usize = 256 * 1024;

/// Chunks that may wait for the publisher.
const CHUNKS_AHEAD: usize = 4;

/// Longest line in bytes; no broker takes larger messages by default (`protocol.message_size_max`).
const LINE_MAX: usize = 64 * 1024 * 1024;

/// The lines of one chunk, or why reading ended early.
pub(super) type Chunk = io::Result<Vec<Bytes>>;

/// Reads lines from `input` until it ends or nobody receives any more.
pub(super) fn read(input: impl Read + Send + 'static) -> mpsc::Receiver<Chunk> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    // Not a task: reading from a terminal cannot be cancelled and would hold the runtime at its end.
    thread::spawn(move || {
        let mut lines = Lines::new(input);
        while let Some(chunk) = lines.next_chunk() {
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Cuts what a reader gives into lines.
struct Lines<R> {
    input: R,
    /// What was read of the line that is not complete.
    rest: BytesMut,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, rest: BytesMut::new(), ended: false }
    }

    /// The lines that the next reads complete, at least one; none at the end.
    fn next_chunk(&mut self) -> Option<Chunk> {
        while !self.ended {
            let known = self.rest.len();
            self.rest.resize(known + CHUNK, 0);
            let read = match self.input.read(&mut self.rest[known..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.rest.truncate(known);
                    continue;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            self.rest.truncate(known + read);
            if read == 0 {
                self.ended = true;
                let last = self.rest.split().freeze();
                return (!last.is_empty()).then(|| Ok(vec![last]));
            }
            let Some(end) = memrchr(b'\n', &self.rest[known..]) else {
                if self.rest.len() > LINE_MAX {
                    self.ended = true;
                    let text = format!("a line is longer than {LINE_MAX} bytes");
                    return Some(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                continue;
            };
            let whole = self.rest.split_to(known + end + 1).freeze();
            return Some(Ok(cut(&whole)));
        }
        None
    }
}

/// The lines of a text that ends with a line break, without their line breaks.
fn cut(text: &Bytes) -> Vec<Bytes> {
    let mut lines = Vec::with_capacity(text.len() / 32);
    let mut start = 0;
    for (end, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        lines.push(text.slice(start..end));
        start = end + 1;
    }
    lines
}

fn memrchr(byte: u8, text: &[u8]) -> Option<usize> {
    text.iter().rposition(|&other| other == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its text in pieces of `step` bytes.
    struct Slow<'a> {
        text: &'a [u8],
        step: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.step.min(self.text.len()).min(out.len());
            out[..len].copy_from_slice(&self.text[..len]);
            self.text = &self.text[len..];
            Ok(len)
        }
    }

    fn lines(text: &str, step: usize) -> Vec<String> {
        let mut lines = Lines::new(Slow { text: text.as_bytes(), step });
        let mut all = Vec::new();
        while let Some(chunk) = lines.next_chunk() {
            all.extend(chunk.unwrap().iter().map(|line| String::from_utf8(line.to_vec()).unwrap()));
        }
        all
    }

    #[test]
    fn lines_are_the_same_however_they_are_read() {
        let text = "one\n\ntwo\r\nthe third";
        for step in 1..=text.len() {
            assert_eq!(lines(text, step), ["one", "", "two\r", "the third"], "in steps of {step}");
        }
        assert_eq!(lines("a\nb\n", 1), ["a", "b"]);
        assert!(lines("", 1).is_empty());
        assert_eq!(lines("\n", 1), [""]);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_whole() {
        let long = "x".repeat(3 * CHUNK);
        assert_eq!(lines(&format!("{long}\nend"), CHUNK), [long, "end".to_owned()]);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut lines = Lines::new(io::repeat(b'x'));
        assert!(lines.next_chunk().unwrap().is_err());
        assert!(lines.next_chunk().is_none());
    }
}
