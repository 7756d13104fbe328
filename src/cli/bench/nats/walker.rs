//! Walking through what a NATS server sends: messages, and all other lines.
//!
//! Invariants: a message is told when its last byte has come; a head that is the same as the one before is not taken
//! apart again. Not here: what a message means (`consumer`, `publisher`, `jetstream`).

use super::super::error::{BenchError, BenchResult};

/// Bytes of a read, unless a message needs more.
const BUFFER: usize = 256 << 10;

/// Bytes of the largest message that is taken: no server can be set to take more.
const MESSAGE_MAX: usize = 64 << 20;

const LINE_END: usize = b"\r\n".len();

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// A message.
    Message(Message<'a>),
    /// Any other line, without its end.
    Line(&'a [u8]),
}

/// `MSG subject sid [reply] length` or `HMSG subject sid [reply] header-length length`, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    head: &'a [u8],
    /// `NATS/1.0`, perhaps a status, and fields; empty for a `MSG`.
    pub(super) header: &'a [u8],
    /// What was published.
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// What it was published to.
    pub(super) fn subject(&self) -> &'a [u8] {
        self.words().nth(1).unwrap_or_default()
    }

    /// The number of the subscription that it came for.
    pub(super) fn subscription(&self) -> Option<u32> {
        number(self.words().nth(2)?)
    }

    /// Where an answer is to be published.
    pub(super) fn reply(&self) -> Option<&'a [u8]> {
        let lengths = if self.head.starts_with(b"H") { 2 } else { 1 };
        let mut words = self.words().skip(3);
        let first = words.next()?;
        (words.count() == lengths).then_some(first)
    }

    fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        words(self.head)
    }
}

/// The lengths that stand in a head, and its own.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    head: usize,
    header: usize,
    /// Of header and body.
    content: usize,
}

impl Lengths {
    /// Of a head with its end. None: the line is no head.
    fn of(line: &[u8]) -> BenchResult<Option<Lengths>> {
        let has_header = line.starts_with(b"HMSG ");
        if !has_header && !line.starts_with(b"MSG ") {
            return Ok(None);
        }
        let mut from_the_end = line.trim_ascii_end().rsplit(|&byte| byte == b' ').map(number);
        let mut next = || from_the_end.next().flatten().map(|length| length as usize);
        let content = next();
        let header = if has_header { next() } else { Some(0) };
        match (content, header) {
            (Some(content), Some(header)) if header <= content && content <= MESSAGE_MAX => {
                Ok(Some(Lengths { head: line.len(), header, content }))
            }
            _ => Err(BenchError::Protocol(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())),
        }
    }

    fn all(&self) -> usize {
        self.head + self.content + LINE_END
    }
}

#[derive(Debug)]
pub(super) struct Walker {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The last head and what stands in it: those of NATS core seldom change.
    head: Vec<u8>,
    lengths: Lengths,
}

impl Walker {
    pub(super) fn new() -> Self {
        Walker { buffer: vec![0; BUFFER], start: 0, end: 0, head: Vec::new(), lengths: Lengths::default() }
    }

    /// Where to read to. Never empty after `next` has found nothing more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// The next thing that has arrived whole.
    pub(super) fn next(&mut self) -> BenchResult<Option<Arrived<'_>>> {
        let waiting = &self.buffer[self.start..self.end];
        if self.head.is_empty() || !waiting.starts_with(&self.head) {
            let Some(len) = waiting.iter().position(|&byte| byte == b'\n').map(|at| at + 1) else {
                if waiting.len() == self.buffer.len() {
                    return Err(BenchError::Protocol("a line longer than any NATS line".to_owned()));
                }
                return Ok(None);
            };
            let line = &waiting[..len];
            let Some(lengths) = Lengths::of(line)? else {
                let from = self.start;
                self.start += len;
                return Ok(Some(Arrived::Line(self.buffer[from..self.start].trim_ascii_end())));
            };
            self.head.clear();
            self.head.extend_from_slice(line);
            self.lengths = lengths;
        }
        let Lengths { head, header, content } = self.lengths;
        let all = self.lengths.all();
        if waiting.len() < all {
            if all > self.buffer.len() {
                self.buffer.resize(all + BUFFER, 0);
            }
            return Ok(None);
        }
        let (head, content) = self.buffer[self.start..self.start + head + content].split_at(head);
        let (header, body) = content.split_at(header);
        self.start += all;
        Ok(Some(Arrived::Message(Message { head, header, body })))
    }
}

/// A head's words. Two blanks stand where a reply is left out.
fn words(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.trim_ascii_end().split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// Digits.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut out = b"PING\r\n".to_vec();
        for (head, len) in [("a 1 ", 10), ("a 1 ", 10), ("b 22 r.e ", 300), ("c 3  ", 0)] {
            out.extend_from_slice(format!("MSG {head}{len}\r\n").as_bytes());
            // Line ends and things like heads inside a body mean nothing.
            out.extend_from_slice(&b"\nMSG a 1 5\r\n".repeat(30)[..len]);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(
            b"HMSG d 4 f.c 21 23\r\nNATS/1.0 100 Flow\r\n\r\nhi\r\nHMSG d 4 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        );
        out.extend_from_slice(b"PONG\r\n");
        out
    }

    fn walk(stream: &[u8], at_a_time: usize) -> Vec<String> {
        let mut seen = Vec::new();
        let mut walker = Walker::new();
        for part in stream.chunks(at_a_time) {
            walker.room()[..part.len()].copy_from_slice(part);
            walker.filled(part.len());
            while let Some(arrived) = walker.next().unwrap() {
                seen.push(match arrived {
                    Arrived::Message(message) => format!(
                        "{} {} {} {} {}",
                        String::from_utf8_lossy(message.subject()),
                        message.subscription().unwrap(),
                        String::from_utf8_lossy(message.reply().unwrap_or(b"-")),
                        message.header.len(),
                        message.body.len()
                    ),
                    Arrived::Line(line) => String::from_utf8_lossy(line).into_owned(),
                });
            }
        }
        seen
    }

    #[test]
    fn messages_are_found_however_the_stream_is_cut() {
        for at_a_time in 1..=stream().len() {
            let seen = walk(&stream(), at_a_time);
            let expected = [
                "PING",
                "a 1 - 0 10",
                "a 1 - 0 10",
                "b 22 r.e 0 300",
                "c 3 - 0 0",
                "d 4 f.c 21 2",
                "d 4 - 12 0",
                "PONG",
            ];
            assert_eq!(seen, expected, "{at_a_time} at a time");
        }
    }

    #[test]
    fn a_message_larger_than_the_buffer_arrives_whole() {
        let len = 3 * BUFFER + 7;
        let message = [format!("MSG a 1 {len}\r\n").as_bytes(), &vec![b'x'; len], b"\r\n"].concat();
        let seen = walk(&[&message[..], &message[..]].concat(), BUFFER / 2);
        assert_eq!(seen, [format!("a 1 - 0 {len}"), format!("a 1 - 0 {len}")]);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for head in ["MSG a 1 x\r\n", "MSG a 1 99999999\r\n", "HMSG a 1 6 5\r\n", "HMSG 5\r\n"] {
            let mut walker = Walker::new();
            walker.room()[..head.len()].copy_from_slice(head.as_bytes());
            walker.filled(head.len());
            assert!(walker.next().is_err(), "{head:?}");
        }
    }
}
