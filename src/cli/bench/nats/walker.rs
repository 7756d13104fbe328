//! Walking through what a NATS server sends: counts messages, hands out all other lines.
//!
//! Invariants: bodies are passed over, never looked at (but for their time); a message is counted when its last byte has come.

use super::super::error::{BenchError, BenchResult};
use super::super::plan::STAMP_LEN;

const BUFFER: usize = 256 << 10;

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// So many messages, one after the other.
    Messages(u64),
    /// The time a message carries.
    Stamp(u64),
    /// Any other line, without its end.
    Line(&'a [u8]),
}

#[derive(Debug)]
pub(super) struct Walker {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes to pass over: the rest of a message.
    skip: usize,
    /// Messages that have come and are not told yet.
    counted: u64,
    /// The head of the last message and the bytes that follow a head like it: heads seldom change.
    head: Vec<u8>,
    after_head: usize,
    stamps: bool,
}

impl Walker {
    pub(super) fn new(stamps: bool) -> Self {
        Walker {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            skip: 0,
            counted: 0,
            head: Vec::new(),
            after_head: 0,
            stamps,
        }
    }

    /// Where to read to. Never empty after `next` has found nothing more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// The next thing that has arrived whole.
    pub(super) fn next(&mut self) -> BenchResult<Option<Arrived<'_>>> {
        loop {
            if self.skip > 0 {
                let count = self.skip.min(self.end - self.start);
                self.start += count;
                self.skip -= count;
                if self.skip > 0 {
                    return Ok(self.told());
                }
                self.counted += 1;
            }
            let waiting = &self.buffer[self.start..self.end];
            if self.head.is_empty() || !waiting.starts_with(&self.head) {
                let Some(line) = waiting.iter().position(|&byte| byte == b'\n').map(|end| &waiting[..=end])
                else {
                    if waiting.len() == self.buffer.len() {
                        return Err(BenchError::Protocol("a line longer than any NATS line".to_owned()));
                    }
                    return Ok(self.told());
                };
                if !line.starts_with(b"MSG ") {
                    if self.counted > 0 {
                        return Ok(self.told());
                    }
                    let (start, len) = (self.start, line.len());
                    self.start += len;
                    return Ok(Some(Arrived::Line(self.buffer[start..start + len].trim_ascii_end())));
                }
                let body_len = body_len(line)?;
                (self.head, self.after_head) = (line.to_vec(), body_len + 2);
                continue;
            }
            if !self.stamps {
                self.start += self.head.len();
                self.skip = self.after_head;
                continue;
            }
            let Some(stamp) = waiting[self.head.len()..].first_chunk::<STAMP_LEN>() else {
                return Ok(self.told());
            };
            let stamp = u64::from_be_bytes(*stamp);
            self.start += self.head.len();
            self.skip = self.after_head;
            return Ok(Some(Arrived::Stamp(stamp)));
        }
    }

    fn told<'a>(&mut self) -> Option<Arrived<'a>> {
        match std::mem::take(&mut self.counted) {
            0 => None,
            count => Some(Arrived::Messages(count)),
        }
    }
}

/// `MSG subject sid [reply] length`
fn body_len(line: &[u8]) -> BenchResult<usize> {
    let text = line.trim_ascii_end();
    let digits = text.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| BenchError::Protocol(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut out = b"PING\r\n".to_vec();
        for (subject, len, at) in [("a", 10, 1_u64), ("a", 10, 2), ("b", 300, 3)] {
            out.extend_from_slice(format!("MSG {subject} 1 {len}\r\n").as_bytes());
            out.extend_from_slice(&at.to_be_bytes());
            // Line ends and things like heads inside a body mean nothing.
            out.extend_from_slice(&b"\nMSG a 1 5\r\n".repeat(30)[..len - 8]);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"PONG\r\n");
        out
    }

    fn walk(stamps: bool, at_a_time: usize) -> (u64, Vec<u64>, Vec<String>) {
        let (mut messages, mut times, mut lines) = (0, Vec::new(), Vec::new());
        let mut walker = Walker::new(stamps);
        for part in stream().chunks(at_a_time) {
            walker.room()[..part.len()].copy_from_slice(part);
            walker.filled(part.len());
            while let Some(arrived) = walker.next().unwrap() {
                match arrived {
                    Arrived::Messages(count) => messages += count,
                    Arrived::Stamp(at) => times.push(at),
                    Arrived::Line(line) => lines.push(String::from_utf8_lossy(line).into_owned()),
                }
            }
        }
        (messages, times, lines)
    }

    #[test]
    fn messages_are_counted_however_the_stream_is_cut() {
        for at_a_time in 1..=stream().len() {
            let (messages, times, lines) = walk(false, at_a_time);
            assert_eq!((messages, times.len()), (3, 0), "{at_a_time} at a time");
            assert_eq!(lines, ["PING", "PONG"]);
        }
    }

    #[test]
    fn times_are_read_however_the_stream_is_cut() {
        for at_a_time in 1..=stream().len() {
            let (messages, times, lines) = walk(true, at_a_time);
            assert_eq!((messages, times), (3, vec![1, 2, 3]), "{at_a_time} at a time");
            assert_eq!(lines, ["PING", "PONG"]);
        }
    }
}
