//! Writing `Publish` and `Deliver` frames message by message, without building values first.
//!
//! A writer remembers offsets into the buffer and nothing else, so it can be kept next to the buffer (in an
//! outbox, say) and be given it for each call. Large bodies can stay out of the buffer: `elsewhere` counts
//! them into the lengths, and the owner sends them as slices of their own between two parts of the buffer.
//! Invariants: one writer at a time per buffer, and nothing else is appended to the buffer until `finish`,
//! which fills in lengths and counts. Callers keep a frame within the limit of `Welcome` ([`PublishWriter::len`]).

use bytes::{BufMut, BytesMut};

use super::entry::{EntryFlags, put_entry_head};
use super::header::{Kind, LENGTH_LEN, PUBLISH_OUTCOMES, begin_frame, end_frame, put_u32_at};
use super::run::{RUN_MANDATORY, RouteRef};
use crate::types::{ShortStr, put_short_str};

/// The part that both writers share: a frame with a run that is open or not.
#[derive(Debug)]
struct OpenFrame {
    start: usize,
    /// Bytes of the frame that are not in the buffer.
    elsewhere: usize,
    run: Option<OpenRun>,
}

#[derive(Debug)]
struct OpenRun {
    /// Where count and length stand.
    extent_at: usize,
    entries_at: usize,
    /// `OpenFrame::elsewhere` when the run began.
    elsewhere_before: usize,
    count: u32,
}

impl OpenFrame {
    fn begin(kind: Kind, flags: u8, channel: u16, out: &mut BytesMut) -> Self {
        Self { start: begin_frame(kind, flags, channel, out), elsewhere: 0, run: None }
    }

    /// Writes count and length, to be filled in later, and the names.
    fn open_run(&mut self, names: Option<(&str, &str)>, out: &mut BytesMut) {
        let extent_at = out.len();
        out.put_u64(0);
        if let Some((exchange, routing_key)) = names {
            assert!(
                exchange.len() <= ShortStr::MAX && routing_key.len() <= ShortStr::MAX,
                "names come from short strings, so they have at most 255 bytes"
            );
            put_short_str(exchange, out);
            put_short_str(routing_key, out);
        }
        let run = OpenRun { extent_at, entries_at: out.len(), elsewhere_before: self.elsewhere, count: 0 };
        self.run = Some(run);
    }

    fn close_run(&mut self, out: &mut BytesMut) {
        if let Some(run) = self.run.take() {
            debug_assert!(run.count > 0, "a run has at least one entry");
            put_u32_at(run.extent_at, run.count as usize, out);
            let length = out.len() - run.entries_at + self.elsewhere - run.elsewhere_before;
            put_u32_at(run.extent_at + 4, length, out);
        }
    }

    fn count(&mut self, count: u32) {
        let run = self.run.as_mut().expect("a run was begun before its entries");
        run.count += count;
    }

    fn len(&self, out: &BytesMut) -> usize {
        out.len() - self.start - LENGTH_LEN + self.elsewhere
    }

    fn finish(mut self, out: &mut BytesMut) -> usize {
        self.close_run(out);
        end_frame(self.start, self.elsewhere, out)
    }
}

/// What both writers can do with entries.
macro_rules! entry_methods {
    () => {
        /// Appends one message as a publisher writes it: no flags.
        pub fn entry(&mut self, properties: &[u8], body: &[u8], out: &mut BytesMut) {
            self.entry_head(EntryFlags::NONE, 0, properties, body.len(), out);
            out.put_slice(body);
        }

        /// Appends one message without its body. Append the `body_len` bytes to the buffer next, or tell
        /// [`Self::elsewhere`] that they travel apart.
        pub fn entry_head(
            &mut self,
            flags: EntryFlags,
            delivery_count: u32,
            properties: &[u8],
            body_len: usize,
            out: &mut BytesMut,
        ) {
            put_entry_head(flags, delivery_count, properties.len(), body_len, out);
            out.put_slice(properties);
            self.0.count(1);
        }

        /// Appends `count` messages that are already encoded, back to back.
        pub fn entries(&mut self, count: u32, encoded: &[u8], out: &mut BytesMut) {
            out.put_slice(encoded);
            self.0.count(count);
        }

        /// `len` bytes of this frame (one or more bodies, or whole entries, of which `count` are not yet
        /// counted) follow here on the wire but are not in the buffer: whoever sends the buffer sends them at
        /// this offset.
        pub fn elsewhere(&mut self, count: u32, len: usize) {
            self.0.count(count);
            self.0.elsewhere += len;
        }

        /// Length of the frame so far as its length field will say, including what is elsewhere.
        #[allow(clippy::len_without_is_empty)] // a frame is never empty
        pub fn len(&self, out: &BytesMut) -> usize {
            self.0.len(out)
        }

        /// Ends the last run and the frame. Returns the frame's length, the length field not counted.
        pub fn finish(self, out: &mut BytesMut) -> usize {
            self.0.finish(out)
        }
    };
}

/// Writes a `Publish` frame.
///
/// ```
/// use bytes::BytesMut;
/// use rialto_protocol::native::{PublishWriter, RouteRef};
/// let mut out = BytesMut::new();
/// let mut frame = PublishWriter::begin(1, 1, true, &mut out);
/// frame.run(RouteRef::Inline { exchange: "", routing_key: "work" }, false, &mut out);
/// frame.entry(&[], b"hello", &mut out);
/// frame.finish(&mut out);
/// ```
#[derive(Debug)]
#[must_use = "a frame is spoiled until it is finished"]
pub struct PublishWriter(OpenFrame);

impl PublishWriter {
    /// Begins a frame whose first message has the sequence number `first`.
    pub fn begin(channel: u16, first: u64, outcomes: bool, out: &mut BytesMut) -> Self {
        let flags = if outcomes { PUBLISH_OUTCOMES } else { 0 };
        let frame = OpenFrame::begin(Kind::Publish, flags, channel, out);
        out.put_u64(first);
        Self(frame)
    }

    /// Begins a run, ending the one before. At least one entry must follow.
    ///
    /// # Panics
    /// If a spelt-out name is longer than 255 bytes: names come from [`ShortStr`]s.
    pub fn run(&mut self, route: RouteRef<'_>, mandatory: bool, out: &mut BytesMut) {
        self.0.close_run(out);
        let (number, names) = match route {
            RouteRef::Defined(number) => (number, None),
            RouteRef::Inline { exchange, routing_key } => (0, Some((exchange, routing_key))),
        };
        out.put_u32(number);
        out.put_u8(if mandatory { RUN_MANDATORY } else { 0 });
        self.0.open_run(names, out);
    }

    entry_methods!();
}

/// Writes a `Deliver` frame.
#[derive(Debug)]
#[must_use = "a frame is spoiled until it is finished"]
pub struct DeliverWriter(OpenFrame);

impl DeliverWriter {
    /// Begins a frame for a consumer, whose first message has the tag `first_tag`.
    pub fn begin(channel: u16, consumer: u32, first_tag: u64, out: &mut BytesMut) -> Self {
        let frame = OpenFrame::begin(Kind::Deliver, 0, channel, out);
        out.put_u32(consumer);
        out.put_u64(first_tag);
        Self(frame)
    }

    /// Begins a run, ending the one before. At least one entry must follow.
    ///
    /// # Panics
    /// If a name is longer than 255 bytes: names come from [`ShortStr`]s.
    pub fn run(&mut self, exchange: &str, routing_key: &str, out: &mut BytesMut) {
        self.0.close_run(out);
        out.put_u8(0);
        self.0.open_run(Some((exchange, routing_key)), out);
    }

    entry_methods!();
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::native::{Command, Deliver, Publish, decode_frame, put_entry};

    fn read(mut bytes: BytesMut) -> Command {
        let frame = decode_frame(&mut bytes, u32::MAX).unwrap().unwrap();
        assert!(bytes.is_empty(), "exactly one frame was written");
        frame.command().unwrap().unwrap()
    }

    #[test]
    fn runs_by_number_and_spelt_out_stand_in_one_frame() {
        let mut out = BytesMut::new();
        let mut frame = PublishWriter::begin(2, 7, true, &mut out);
        frame.run(RouteRef::Defined(3), false, &mut out);
        frame.entry(&[], b"one", &mut out);
        frame.entry(&[], b"two", &mut out);
        frame.run(RouteRef::Inline { exchange: "x", routing_key: "k" }, true, &mut out);
        frame.entry(&[], b"", &mut out);
        let len = frame.finish(&mut out);
        assert_eq!(len, out.len() - LENGTH_LEN);
        let Command::Publish(publish @ Publish { first: 7, outcomes: true, .. }) = read(out) else {
            panic!()
        };
        let runs: Vec<_> = publish.runs_ref(2).collect::<Result<_, _>>().unwrap();
        assert_eq!((runs[0].route, runs[0].mandatory, runs[0].count), (RouteRef::Defined(3), false, 2));
        let bodies: Vec<_> = runs[0].walk().map(|entry| entry.unwrap().0.body).collect();
        assert_eq!(bodies, [&b"one"[..], b"two"]);
        assert_eq!(runs[1].route, RouteRef::Inline { exchange: "x", routing_key: "k" });
        assert!(runs[1].mandatory);
    }

    #[test]
    fn a_slice_of_encoded_entries_is_appended_whole() {
        let mut encoded = BytesMut::new();
        put_entry(&[], b"a", &mut encoded);
        put_entry(&[], b"b", &mut encoded);
        let mut out = BytesMut::new();
        let mut frame = DeliverWriter::begin(1, 9, 100, &mut out);
        frame.run("x", "k", &mut out);
        frame.entries(2, &encoded, &mut out);
        frame.finish(&mut out);
        let Command::Deliver(deliver @ Deliver { consumer: 9, first_tag: 100, .. }) = read(out) else {
            panic!()
        };
        let run = deliver.runs().next().unwrap().unwrap();
        assert_eq!((run.count, run.entries), (2, encoded.freeze()));
    }

    #[test]
    fn bodies_elsewhere_are_counted_into_frame_and_run() {
        let body = Bytes::from(vec![7; 1000]);
        let mut out = BytesMut::new();
        let mut frame = DeliverWriter::begin(1, 1, 1, &mut out);
        frame.run("", "q", &mut out);
        frame.entry(&[], b"before", &mut out);
        frame.entry_head(EntryFlags::REDELIVERED, 0, &[], body.len(), &mut out);
        let gap = out.len();
        frame.elsewhere(0, body.len());
        frame.entry(&[], b"after", &mut out);
        let announced = frame.len(&out);
        assert_eq!(frame.finish(&mut out), announced);

        let mut wire = BytesMut::from(&out[..gap]);
        wire.put_slice(&body);
        wire.put_slice(&out[gap..]);
        let Command::Deliver(deliver) = read(wire) else { panic!() };
        let run = deliver.runs().next().unwrap().unwrap();
        let bodies: Vec<_> = run.walk().map(|entry| entry.unwrap().body.len()).collect();
        assert_eq!(bodies, [6, 1000, 5]);
    }
}
