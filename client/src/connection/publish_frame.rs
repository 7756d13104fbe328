//! One `Publish` frame while it is being filled, and the messages of one that was sent.
//!
//! Invariants: the frame stands alone in its buffer; channel and sequence number are filled in when it is
//! taken, because only then its place among the others is known.

use bytes::{BufMut, Bytes, BytesMut};
use rialto_protocol::native::{
    ENTRY_HEADER_LEN, Entries, Entry, FRAME_HEADER_LEN, PUBLISH_OUTCOMES, Publish, PublishWriter, Route,
    RouteRef,
};

/// Where a message goes: a defined route, or exchange and key spelt out.
pub(crate) type Target = Route;

/// Where flags and channel stand in a frame's header, and where a publish has its first sequence number.
const FLAGS_AT: usize = 5;
const CHANNEL_AT: usize = 6;
const FIRST_AT: usize = FRAME_HEADER_LEN;
const RUNS_AT: usize = FIRST_AT + 8;

/// Room that a frame begins with; most frames of a quiet publisher fit.
const FIRST_CAPACITY: usize = 1024;

/// Bytes that a message takes, without the head of its run.
pub(crate) fn entry_len(properties: &[u8], body: &[u8]) -> usize {
    ENTRY_HEADER_LEN + properties.len() + body.len()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    out: BytesMut,
    writer: PublishWriter,
    run: Option<(Target, bool)>,
    count: u32,
}

impl FrameBuilder {
    /// Bytes in front of the entries of a run, at most: route, flags, count, length, two short strings.
    pub(crate) const LONGEST_RUN_HEAD: usize = 4 + 1 + 4 + 4 + 256 + 256;
    /// Bytes in front of the first entry, at most.
    pub(crate) const LONGEST_HEAD: usize = RUNS_AT + Self::LONGEST_RUN_HEAD;

    pub(crate) fn new() -> Self {
        let mut out = BytesMut::with_capacity(FIRST_CAPACITY);
        let writer = PublishWriter::begin(0, 0, false, &mut out);
        FrameBuilder { out, writer, run: None, count: 0 }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Messages so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Appends a message, to the open run if that has the same target.
    pub(crate) fn push(&mut self, target: &Target, mandatory: bool, properties: &[u8], body: &[u8]) {
        if !self.run.as_ref().is_some_and(|run| run.1 == mandatory && run.0 == *target) {
            self.writer.run(RouteRef::from(target), mandatory, &mut self.out);
            self.run = Some((target.clone(), mandatory));
        }
        self.writer.entry(properties, body, &mut self.out);
        self.count += 1;
    }

    /// The whole frame.
    pub(crate) fn finish(self, channel: u16, first: u64, outcomes: bool) -> Bytes {
        let FrameBuilder { mut out, writer, .. } = self;
        writer.finish(&mut out);
        out[FLAGS_AT] = if outcomes { PUBLISH_OUTCOMES } else { 0 };
        (&mut out[CHANNEL_AT..]).put_u16(channel);
        (&mut out[FIRST_AT..]).put_u64(first);
        out.freeze()
    }
}

/// Shows every message of a frame that [`FrameBuilder::finish`] made, in order, with its target.
pub(crate) fn for_each_message(frame: Bytes, mut show: impl FnMut(&Target, bool, Entry<'_>)) {
    let publish = Publish { first: 0, outcomes: false, runs: frame.slice(RUNS_AT..) };
    // What we wrote ourselves can be read again, so there are no errors to tell.
    for run in publish.runs().map_while(Result::ok) {
        let entries = Entries::new(&run.entries, run.count);
        entries.map_while(Result::ok).for_each(|entry| show(&run.route, run.mandatory, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto_protocol::native::{Command, decode_frame};
    use rialto_protocol::types::ShortStr;

    fn target(key: &str) -> Target {
        Target::Inline { exchange: ShortStr::default(), routing_key: ShortStr::truncated(key) }
    }

    #[test]
    fn messages_for_one_target_share_a_run_and_the_frame_is_numbered_last() {
        let mut frame = FrameBuilder::new();
        frame.push(&target("a"), false, &[], b"1");
        frame.push(&target("a"), false, &[], b"2");
        frame.push(&target("a"), true, &[], b"3");
        frame.push(&Target::Defined(7), false, &[], b"4");
        assert_eq!(frame.count(), 4);
        let bytes = frame.finish(3, 42, true);
        let raw = decode_frame(&mut BytesMut::from(&bytes[..]), u32::MAX).unwrap().unwrap();
        assert_eq!(raw.channel, 3);
        let Some(Command::Publish(publish)) = raw.command().unwrap() else { panic!() };
        assert_eq!((publish.first, publish.outcomes), (42, true));
        let counts: Vec<_> = publish.runs().map(|run| run.unwrap().count).collect();
        assert_eq!(counts, [2, 1, 1]);
        let mut shown = Vec::new();
        for_each_message(bytes, |target, mandatory, entry| {
            shown.push((target.clone(), mandatory, entry.body.to_vec()));
        });
        assert_eq!(shown[2], (target("a"), true, b"3".to_vec()));
        assert_eq!(shown[3], (Target::Defined(7), false, b"4".to_vec()));
    }
}
