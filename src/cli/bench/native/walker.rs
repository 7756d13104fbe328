//! Walking through what a broker sends: counts the messages of `Deliver` frames, hands out all other frames.
//!
//! Invariants: bodies are passed over, never looked at; only heads wait in the buffer for their rest; a run is
//! told when its last byte has come. Not here: sockets.

use rialto_protocol::native::{FRAME_HEADER_LEN, Kind, LENGTH_LEN};

use super::super::error::{BenchError, BenchResult};
use super::super::plan::STAMP_LEN;

/// Room for what one read brings, and for the longest frame that is not a `Deliver`.
const BUFFER: usize = 256 << 10;

const ENTRY_DELIVERY_COUNT: u8 = 0x02;

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// A run of messages is complete.
    Run { consumer: u32, count: u32 },
    /// The time a message carries. Its run is told later.
    Stamp(u64),
    /// Any other frame.
    Frame { kind: u8, flags: u8, channel: u16, body: &'a [u8] },
}

/// A buffer and the place in the stream of frames.
#[derive(Debug)]
pub(super) struct Walker {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes left of the current `Deliver`.
    frame_left: usize,
    /// Bytes left of the current run's entries.
    run_left: usize,
    /// Bytes to pass over: an entry, or with `stamps` off all entries of a run.
    skip: usize,
    consumer: u32,
    /// Messages of the current run.
    count: u32,
    stamps: bool,
}

impl Walker {
    /// With `stamps`, every message's first bytes are read as its time.
    pub(super) fn new(stamps: bool) -> Self {
        Walker {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            frame_left: 0,
            run_left: 0,
            skip: 0,
            consumer: 0,
            count: 0,
            stamps,
        }
    }

    /// Sets whether messages carry times. Between two calls of `next` that found nothing more.
    pub(super) fn set_stamps(&mut self, stamps: bool) {
        self.stamps = stamps;
    }

    /// Where to read to. Never empty after `next` has found nothing more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // What is left is a head that is not whole, so moving it costs nothing.
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
                self.consume(count);
                self.skip -= count;
                self.run_left -= count;
                if self.skip > 0 {
                    return Ok(None);
                }
            }
            if self.count > 0 {
                if self.run_left == 0 {
                    let count = std::mem::take(&mut self.count);
                    return Ok(Some(Arrived::Run { consumer: self.consumer, count }));
                }
                let Some((len, stamp)) = self.entry_head()? else { return Ok(None) };
                self.skip = len;
                return Ok(Some(Arrived::Stamp(stamp)));
            }
            if self.frame_left > 0 {
                let Some((head, count, length)) = self.run_head()? else { return Ok(None) };
                self.consume(head);
                (self.count, self.run_left) = (count, length);
                self.skip = if self.stamps { 0 } else { length };
                continue;
            }
            let Some(head) = self.waiting().first_chunk::<FRAME_HEADER_LEN>() else { return Ok(None) };
            let length = u32_at(head, 0) as usize;
            let (kind, flags, channel) = (head[4], head[5], u16::from_be_bytes([head[6], head[7]]));
            if length < FRAME_HEADER_LEN - LENGTH_LEN {
                return Err(unexpected("a frame shorter than its header"));
            }
            if kind == Kind::Deliver.octet() {
                const HEAD: usize = FRAME_HEADER_LEN + 4 + 8;
                let Some(head) = self.waiting().first_chunk::<HEAD>() else { return Ok(None) };
                self.consumer = u32_at(head, FRAME_HEADER_LEN);
                self.frame_left =
                    (LENGTH_LEN + length).checked_sub(HEAD).ok_or_else(|| unexpected("a short Deliver"))?;
                self.start += HEAD;
                continue;
            }
            let whole = LENGTH_LEN + length;
            if whole > self.buffer.len() {
                return Err(unexpected("a frame longer than any that was asked for"));
            }
            if self.waiting().len() < whole {
                return Ok(None);
            }
            let body = self.start + FRAME_HEADER_LEN..self.start + whole;
            self.start += whole;
            return Ok(Some(Arrived::Frame { kind, flags, channel, body: &self.buffer[body] }));
        }
    }

    fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.frame_left -= count;
    }

    /// Length of the run's head, its count and the length of its entries.
    fn run_head(&self) -> BenchResult<Option<(usize, u32, usize)>> {
        let waiting = self.waiting();
        let mut head = 9;
        for _ in ["exchange", "routing key"] {
            let Some(&len) = waiting.get(head) else { return Ok(None) };
            head += 1 + usize::from(len);
        }
        if waiting.len() < head {
            return Ok(None);
        }
        let (count, length) = (u32_at(waiting, 1), u32_at(waiting, 5) as usize);
        if count == 0 || head + length > self.frame_left {
            return Err(unexpected("a run that does not fit its frame"));
        }
        Ok(Some((head, count, length)))
    }

    /// Length of the entry and the time in its body.
    fn entry_head(&self) -> BenchResult<Option<(usize, u64)>> {
        let waiting = self.waiting();
        if waiting.len() < 9 {
            return Ok(None);
        }
        let more = if waiting[0] & ENTRY_DELIVERY_COUNT != 0 { 4 } else { 0 };
        let head = 9 + more + u32_at(waiting, 1) as usize;
        let body_len = u32_at(waiting, 5) as usize;
        if head + body_len > self.run_left || body_len < STAMP_LEN {
            return Err(unexpected("a message that this measurement has not published"));
        }
        let stamp = waiting.get(head..).and_then(<[u8]>::first_chunk);
        Ok(stamp.map(|stamp| (head + body_len, u64::from_be_bytes(*stamp))))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn unexpected(what: &str) -> BenchError {
    BenchError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rialto_protocol::native::{Command, DeliverWriter, EntryFlags};

    use super::*;

    fn stream() -> BytesMut {
        let mut out = BytesMut::new();
        Command::Heartbeat.encode(0, &mut out);
        let mut frame = DeliverWriter::begin(1, 7, 1, &mut out);
        frame.run("x", "key", &mut out);
        frame.entry(&[0x10, 0x00, 2], &100_u64.to_be_bytes(), &mut out);
        frame.entry(&[], &[&101_u64.to_be_bytes()[..], &[9; 300]].concat(), &mut out);
        frame.run("", "other", &mut out);
        let flags = EntryFlags::REDELIVERED.with(EntryFlags::DELIVERY_COUNT);
        frame.entry_head(flags, 3, &[], 8, &mut out);
        out.extend_from_slice(&102_u64.to_be_bytes());
        frame.finish(&mut out);
        Command::PublishCredit(5).encode(0, &mut out);
        out
    }

    fn walk(stamps: bool, at_a_time: usize) -> Vec<String> {
        let mut walker = Walker::new(stamps);
        let mut told = Vec::new();
        for part in stream().chunks(at_a_time) {
            walker.room()[..part.len()].copy_from_slice(part);
            walker.filled(part.len());
            while let Some(arrived) = walker.next().unwrap() {
                told.push(match arrived {
                    Arrived::Run { consumer, count } => format!("{count} for {consumer}"),
                    Arrived::Stamp(at) => format!("at {at}"),
                    Arrived::Frame { kind, body, .. } => format!("kind {kind:#x}, {} bytes", body.len()),
                });
            }
        }
        told
    }

    #[test]
    fn runs_are_counted_however_the_stream_is_cut() {
        let expected = ["kind 0x7, 0 bytes", "2 for 7", "1 for 7", "kind 0x8, 4 bytes"];
        for at_a_time in 1..=stream().len() {
            assert_eq!(walk(false, at_a_time), expected, "{at_a_time} at a time");
        }
    }

    #[test]
    fn times_are_read_however_the_stream_is_cut() {
        let expected =
            ["kind 0x7, 0 bytes", "at 100", "at 101", "2 for 7", "at 102", "1 for 7", "kind 0x8, 4 bytes"];
        for at_a_time in 1..=stream().len() {
            assert_eq!(walk(true, at_a_time), expected, "{at_a_time} at a time");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let cases: [&[u8]; 3] = [
            &[0, 0, 0, 3, 7, 0, 0, 0],
            &[0xff, 0, 0, 0, 7, 0, 0, 0],
            // A run of 100 bytes in a frame that has none left.
            &[
                0, 0, 0, 27, 0x41, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 100,
                0, 0,
            ],
        ];
        for case in cases {
            let mut walker = Walker::new(false);
            walker.room()[..case.len()].copy_from_slice(case);
            walker.filled(case.len());
            assert!(walker.next().is_err(), "{case:?}");
        }
    }
}
