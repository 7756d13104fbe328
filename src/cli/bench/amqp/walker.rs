//! Walking through what a broker sends: counts deliveries, hands out all other methods.
//!
//! Invariants: bodies are passed over, never looked at (but for their time); a delivery is counted when its last byte
//! has come. Not here: sockets.

use rialto_protocol::amqp::{FRAME_MAX_DEFAULT, FRAME_SLACK, FrameKind, MethodId, split_frame};

use super::super::error::{BenchError, BenchResult};
use super::super::plan::STAMP_LEN;

/// Room for what one read brings, and for two of the longest frames.
const BUFFER: usize = 256 << 10;

/// The longest frame that the generator agrees to.
pub(super) const FRAME_MAX: u32 = FRAME_MAX_DEFAULT;

const _: () = assert!((FRAME_MAX + FRAME_SLACK) as usize * 2 <= BUFFER + 2 * FRAME_SLACK as usize);

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// So many deliveries, one after the other, and the tag of the last.
    Deliveries { count: u64, last: u64 },
    /// The time a message carries.
    Stamp(u64),
    /// The payload of any other method frame.
    Method(&'a [u8]),
}

/// A buffer and the place in the stream of frames.
#[derive(Debug)]
pub(super) struct Walker {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    expects: Expects,
    /// The tag of the delivery that is coming or came last.
    tag: u64,
    /// Deliveries that have come and are not told yet, and the tag of the last.
    counted: u64,
    last: u64,
    stamps: bool,
}

/// What the next frame of the channel must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Method,
    Header,
    /// A body of which so much is left, and whether it begins.
    Body {
        left: u64,
        begins: bool,
    },
}

impl Walker {
    pub(super) fn new() -> Self {
        Walker {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            expects: Expects::Method,
            tag: 0,
            counted: 0,
            last: 0,
            stamps: false,
        }
    }

    /// From now on every message's first bytes are read as its time.
    pub(super) fn expect_stamps(&mut self) {
        self.stamps = true;
    }

    /// Where to read to. Never empty after `next` has found nothing more.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // What is left is less than a frame.
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
            let waiting = &self.buffer[self.start..self.end];
            let frame = split_frame(waiting, FRAME_MAX).map_err(|error| unexpected(&error.to_string()))?;
            let Some((frame, len)) = frame else { return Ok(self.told()) };
            let payload = frame.payload;
            match (frame.kind, self.expects) {
                (FrameKind::Method, Expects::Method) => match delivery_tag(payload)? {
                    Some(tag) => (self.tag, self.expects) = (tag, Expects::Header),
                    None if self.counted > 0 => return Ok(self.told()),
                    None => {
                        let start = self.start + (len - 1 - payload.len());
                        let end = start + payload.len();
                        self.start += len;
                        return Ok(Some(Arrived::Method(&self.buffer[start..end])));
                    }
                },
                (FrameKind::Header, Expects::Header) => match body_size(payload)? {
                    0 => self.arrived(),
                    left => self.expects = Expects::Body { left, begins: true },
                },
                (FrameKind::Body, Expects::Body { left, begins }) => {
                    let stamp = if self.stamps && begins { Some(stamp(payload)?) } else { None };
                    match left.checked_sub(payload.len() as u64) {
                        Some(0) => self.arrived(),
                        Some(left) => self.expects = Expects::Body { left, begins: false },
                        None => return Err(unexpected("more of a body than was announced")),
                    }
                    if let Some(stamp) = stamp {
                        self.start += len;
                        return Ok(Some(Arrived::Stamp(stamp)));
                    }
                }
                (FrameKind::Heartbeat, _) => {}
                (kind, expects) => return Err(unexpected(&format!("a {kind:?} frame, not {expects:?}"))),
            }
            self.start += len;
        }
    }

    /// The delivery that was coming is whole.
    fn arrived(&mut self) {
        self.expects = Expects::Method;
        self.counted += 1;
        self.last = self.tag;
    }

    fn told<'a>(&mut self) -> Option<Arrived<'a>> {
        match std::mem::take(&mut self.counted) {
            0 => None,
            count => Some(Arrived::Deliveries { count, last: self.last }),
        }
    }
}

/// The tag of a `basic.deliver`, behind its consumer tag; none of any other method. Names are not looked at, which is
/// why the codec does not read it here.
fn delivery_tag(payload: &[u8]) -> BenchResult<Option<u64>> {
    if MethodId::of(payload) != Some(MethodId::BASIC_DELIVER) {
        return Ok(None);
    }
    let tag = payload.get(4).and_then(|&len| payload.get(5 + usize::from(len)..)?.first_chunk());
    tag.map(|tag| Some(u64::from_be_bytes(*tag))).ok_or_else(|| unexpected("a short basic.deliver"))
}

/// The body size of a content header, behind class and weight. Properties are not looked at.
fn body_size(payload: &[u8]) -> BenchResult<u64> {
    let size = payload.get(4..).and_then(<[u8]>::first_chunk);
    size.map(|size| u64::from_be_bytes(*size)).ok_or_else(|| unexpected("a short content header"))
}

fn stamp(body: &[u8]) -> BenchResult<u64> {
    let stamp = body.first_chunk::<STAMP_LEN>();
    stamp
        .map(|stamp| u64::from_be_bytes(*stamp))
        .ok_or_else(|| unexpected("a message that this measurement has not published"))
}

fn unexpected(what: &str) -> BenchError {
    BenchError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rialto_protocol::amqp::{
        BasicQosOk, ChannelOpenOk, DeliverWriter, Method, put_body, put_content_header, put_heartbeat,
    };

    use super::*;

    fn deliver(tag: u64, body: &[u8], out: &mut BytesMut) {
        let writer = DeliverWriter::new(1, "consumer");
        writer.put_head(tag, tag == 2, "x", "key", body.len(), &[0x10, 0x00, 2], out);
        put_body(1, body, 100, out);
    }

    fn stream() -> BytesMut {
        let mut out = BytesMut::new();
        put_heartbeat(&mut out);
        Method::from(ChannelOpenOk {}).encode(1, &mut out);
        deliver(1, &100_u64.to_be_bytes(), &mut out);
        put_heartbeat(&mut out);
        // In four frames.
        deliver(2, &[&101_u64.to_be_bytes()[..], &[9; 300]].concat(), &mut out);
        Method::from(BasicQosOk {}).encode(1, &mut out);
        deliver(3, &102_u64.to_be_bytes(), &mut out);
        out
    }

    /// Deliveries with the last tag, times, ids of other methods.
    fn walk(
        stream: &[u8],
        stamps: bool,
        at_a_time: usize,
    ) -> BenchResult<(u64, u64, Vec<u64>, Vec<&'static str>)> {
        let (mut deliveries, mut tag, mut times, mut methods) = (0, 0, Vec::new(), Vec::new());
        let mut walker = Walker::new();
        if stamps {
            walker.expect_stamps();
        }
        for part in stream.chunks(at_a_time) {
            walker.room()[..part.len()].copy_from_slice(part);
            walker.filled(part.len());
            while let Some(arrived) = walker.next()? {
                match arrived {
                    Arrived::Deliveries { count, last } => {
                        deliveries += count;
                        assert!(last > tag, "tags grow");
                        tag = last;
                    }
                    Arrived::Stamp(at) => times.push(at),
                    Arrived::Method(payload) => methods.push(MethodId::of(payload).unwrap().name()),
                }
            }
        }
        Ok((deliveries, tag, times, methods))
    }

    #[test]
    fn deliveries_are_counted_however_the_stream_is_cut() {
        let stream = stream();
        for at_a_time in 1..=stream.len() {
            let (deliveries, last, times, methods) = walk(&stream, false, at_a_time).unwrap();
            assert_eq!((deliveries, last, times.len()), (3, 3, 0), "{at_a_time} at a time");
            assert_eq!(methods, ["channel.open_ok", "basic.qos_ok"]);
        }
    }

    #[test]
    fn times_are_read_however_the_stream_is_cut() {
        let stream = stream();
        for at_a_time in 1..=stream.len() {
            let (deliveries, last, times, methods) = walk(&stream, true, at_a_time).unwrap();
            assert_eq!((deliveries, last, times), (3, 3, vec![100, 101, 102]), "{at_a_time} at a time");
            assert_eq!(methods, ["channel.open_ok", "basic.qos_ok"]);
        }
    }

    #[test]
    fn deliveries_are_told_before_the_method_that_follows_them() {
        let mut walker = Walker::new();
        let stream = stream();
        walker.room()[..stream.len()].copy_from_slice(&stream);
        walker.filled(stream.len());
        assert!(matches!(walker.next(), Ok(Some(Arrived::Method(_)))));
        assert_eq!(walker.next().unwrap(), Some(Arrived::Deliveries { count: 2, last: 2 }));
        assert!(matches!(walker.next(), Ok(Some(Arrived::Method(_)))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let header_first = {
            let mut out = BytesMut::new();
            put_content_header(1, 8, &[], &mut out);
            out
        };
        let too_much = {
            let mut out = BytesMut::new();
            DeliverWriter::new(1, "").put_head(1, false, "", "", 3, &[], &mut out);
            put_body(1, &[0; 4], 0, &mut out);
            out
        };
        let too_short_for_a_time = {
            let mut out = BytesMut::new();
            deliver(1, &[0; 7], &mut out);
            out
        };
        for stream in [header_first, too_much, too_short_for_a_time, BytesMut::from(&b"HTTP/1.1 400"[..])] {
            assert!(walk(&stream, true, stream.len()).is_err(), "{stream:?}");
        }
    }
}
