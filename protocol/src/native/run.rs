//! Walking the runs of a `Publish` or `Deliver`, and the entries of a run, without copying or allocating.
//!
//! ```text
//!  publish run                                          deliver run
//!  0         4       5         9          13            0       1         5          9
//!  +---------+-------+---------+----------+----------+  +-------+---------+----------+----------+----------+
//!  | route   | flags | count   | length   | exchange |  | flags | count   | length   | exchange | key      |
//!  | u32     | u8    | u32     | u32      | and key? |  | u8    | u32     | u32      | short    | short    |
//!  +---------+-------+---------+----------+----------+  +-------+---------+----------+----------+----------+
//!  | entries: length bytes                           |  | entries: length bytes                            |
//! ```
//!
//! Exchange and key stand in a publish run only for route 0. Invariants: a run has at least one entry and
//! never announces more entries than its bytes can hold; an iterator ends after its first error.
//! Not here: the layout of one message (`entry`).

use bytes::{BufMut, Bytes, BytesMut};
use nom::Err;
use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u32};

use super::command::{Deliver, DeliveredRun, Publish, PublishRun, Route};
use super::entry::{ENTRY_HEADER_LEN, Entry, EntryError};
use super::error::{FrameError, Place};
use super::header::Kind;
use crate::types::{
    Parsed, RawProperties, ShortStr, WireError, WireResult, labelled, parse_short_str, put_short_str,
};

/// Run flag: return the messages that reach no queue. Only in `Publish`.
pub const RUN_MANDATORY: u8 = 0x01;

/// Reserved run flag: the entries are compressed together.
pub const RUN_COMPRESSED: u8 = 0x80;

const RUN: &str = "run";
const RUN_FLAGS: &str = "run flags";
const RUN_COUNT: &str = "run count";

/// An exchange and a routing key, by number or borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRef<'a> {
    /// A number from `DefineRoute`, from 1.
    Defined(u32),
    /// Spelt out; each at most 255 bytes.
    Inline {
        /// The exchange.
        exchange: &'a str,
        /// The routing key.
        routing_key: &'a str,
    },
}

impl RouteRef<'_> {
    /// The route as a value of its own.
    pub fn to_route(self) -> Route {
        match self {
            RouteRef::Defined(route) => Route::Defined(route),
            RouteRef::Inline { exchange, routing_key } => Route::Inline {
                exchange: ShortStr::truncated(exchange),
                routing_key: ShortStr::truncated(routing_key),
            },
        }
    }
}

impl<'a> From<&'a Route> for RouteRef<'a> {
    fn from(route: &'a Route) -> Self {
        match route {
            Route::Defined(route) => RouteRef::Defined(*route),
            Route::Inline { exchange, routing_key } => RouteRef::Inline { exchange, routing_key },
        }
    }
}

/// A run of a [`Publish`], borrowed from its frame. `publish.runs.slice_ref(run.entries)` keeps the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRunRef<'a> {
    /// Where the messages go.
    pub route: RouteRef<'a>,
    /// Return those that reach no queue.
    pub mandatory: bool,
    /// How many entries are announced, from 1.
    pub count: u32,
    /// The entries, back to back. Not checked: walking them is.
    pub entries: &'a [u8],
}

impl<'a> PublishRunRef<'a> {
    /// Walks the entries as a broker must: only what a publisher may send passes.
    pub fn walk(&self) -> PublishedEntries<'a> {
        PublishedEntries::new(Entries::new(self.entries, self.count))
    }
}

/// A run of a [`Deliver`], borrowed from its frame. `deliver.runs.slice_ref(run.entries)` keeps the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRunRef<'a> {
    /// The exchange the messages were published to.
    pub exchange: &'a str,
    /// The routing key they were published with.
    pub routing_key: &'a str,
    /// How many entries are announced, from 1.
    pub count: u32,
    /// The entries, back to back. Not checked: walking them is.
    pub entries: &'a [u8],
}

impl<'a> DeliveredRunRef<'a> {
    /// Walks the entries.
    pub fn walk(&self) -> Entries<'a> {
        Entries::new(self.entries, self.count)
    }
}

impl PublishRun {
    /// Walks the entries as a broker must: only what a publisher may send passes.
    pub fn walk(&self) -> PublishedEntries<'_> {
        PublishedEntries::new(Entries::new(&self.entries, self.count))
    }
}

impl DeliveredRun {
    /// Walks the entries. `run.entries.slice_ref(entry.body)` keeps a body without copying it.
    pub fn walk(&self) -> Entries<'_> {
        Entries::new(&self.entries, self.count)
    }
}

impl Publish {
    /// The runs, each with names and entries of its own.
    pub fn runs(&self) -> impl Iterator<Item = Result<PublishRun, FrameError>> {
        self.runs_ref(0).map(|run| {
            run.map(|run| PublishRun {
                route: run.route.to_route(),
                mandatory: run.mandatory,
                count: run.count,
                entries: self.runs.slice_ref(run.entries),
            })
        })
    }

    /// The runs, borrowed. `channel` is named in errors.
    pub fn runs_ref(&self, channel: u16) -> PublishRuns<'_> {
        PublishRuns { rest: &self.runs, channel }
    }
}

impl Deliver {
    /// The runs, each with names and entries of its own.
    pub fn runs(&self) -> impl Iterator<Item = Result<DeliveredRun, FrameError>> {
        self.runs_ref(0).map(|run| run.map(|run| own_delivered(run, &self.runs)))
    }

    /// The runs, borrowed. `channel` is named in errors.
    pub fn runs_ref(&self, channel: u16) -> DeliverRuns<'_> {
        DeliverRuns { rest: &self.runs, channel }
    }
}

/// The runs of a [`Publish`]; ends after the first error.
#[derive(Clone, Debug)]
pub struct PublishRuns<'a> {
    rest: &'a [u8],
    channel: u16,
}

impl<'a> Iterator for PublishRuns<'a> {
    type Item = Result<PublishRunRef<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_run(&mut self.rest, Kind::Publish, self.channel, parse_publish_run)
    }
}

/// The runs of a [`Deliver`]; ends after the first error.
#[derive(Clone, Debug)]
pub struct DeliverRuns<'a> {
    rest: &'a [u8],
    channel: u16,
}

impl<'a> Iterator for DeliverRuns<'a> {
    type Item = Result<DeliveredRunRef<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_run(&mut self.rest, Kind::Deliver, self.channel, parse_delivered_run)
    }
}

fn next_run<'a, T>(
    rest: &mut &'a [u8],
    kind: Kind,
    channel: u16,
    parse: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> Option<Result<T, FrameError>> {
    if rest.is_empty() {
        return None;
    }
    match parse(rest) {
        Ok((after, run)) => {
            *rest = after;
            Some(Ok(run))
        }
        Err(error) => {
            *rest = &[];
            let error = match error {
                Err::Incomplete(_) => WireError::Truncated { what: RUN },
                Err::Error(error) | Err::Failure(error) => error,
            };
            let place = Place { kind: kind.octet(), channel, correlation: 0 };
            Some(Err(FrameError::Fields { place, error }))
        }
    }
}

/// The entries of a run; ends after the first error. The announced count and the bytes must agree.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Entries<'a> {
    /// Walks `count` entries that fill `bytes` exactly.
    pub fn new(bytes: &'a [u8], count: u32) -> Self {
        Self { rest: bytes, left: count }
    }

    /// Entries not yet walked, as the run announces them.
    pub fn remaining(&self) -> u32 {
        self.left
    }

    fn step<T, E: From<WireError>>(
        &mut self,
        read: impl FnOnce(&'a [u8]) -> Result<(T, usize), E>,
    ) -> Option<Result<T, E>> {
        let Some(left) = self.left.checked_sub(1) else {
            let count = std::mem::take(&mut self.rest).len();
            return match count {
                0 => None,
                count => Some(Err(WireError::TrailingBytes { what: "the entries of a run", count }.into())),
            };
        };
        self.left = left;
        match read(self.rest) {
            Ok((item, len)) => {
                self.rest = &self.rest[len..];
                Some(Ok(item))
            }
            Err(error) => {
                *self = Entries { rest: &[], left: 0 };
                Some(Err(error))
            }
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = WireResult<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(|bytes| Entry::read(bytes).map(|entry| (entry, entry.len)))
    }
}

/// The entries of a published run with their checked properties; ends after the first error.
///
/// [`FrameError::published_entry`] makes a frame's error of an entry's.
#[derive(Clone, Debug)]
pub struct PublishedEntries<'a> {
    entries: Entries<'a>,
    /// From the entry that was walked last; nothing before `entries` when there is none to compare with.
    from_last: &'a [u8],
}

impl<'a> PublishedEntries<'a> {
    fn new(entries: Entries<'a>) -> Self {
        PublishedEntries { from_last: entries.rest, entries }
    }

    /// Passes over the entries that come next and differ from the one that was walked last in nothing but what their bodies
    /// say: how many, and their bytes. Mostly so when a publisher goes on, and much cheaper to find out than to read them.
    #[inline]
    pub fn pass_alike(&mut self) -> (u32, &'a [u8]) {
        let Entries { rest, left } = &mut self.entries;
        let len = self.from_last.len() - rest.len();
        // Nothing is left after an error.
        if *left == 0 || len == 0 {
            return (0, &[]);
        }
        // Read again: to keep its parts would cost those who never ask.
        let Ok(Entry { body, .. }) = Entry::read(self.from_last) else { return (0, &[]) };
        let head = &self.from_last[..len - body.len()];
        let next = rest.chunks_exact(len).take(*left as usize);
        let count = next.take_while(|entry| entry.starts_with(head)).count();
        let (passed, behind) = rest.split_at(count * len);
        *rest = behind;
        self.from_last = behind;
        *left -= count as u32;
        (count as u32, passed)
    }
}

impl<'a> Iterator for PublishedEntries<'a> {
    type Item = Result<(Entry<'a>, RawProperties<'a>), EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.from_last = self.entries.rest;
        self.entries.step(|bytes| Entry::read_published(bytes).map(|read| (read, read.0.len)))
    }
}

fn parse_publish_run(input: &[u8]) -> Parsed<'_, PublishRunRef<'_>> {
    let (input, route) = labelled(RUN, be_u32)(input)?;
    let (input, flags) = parse_run_flags(input, RUN_MANDATORY)?;
    let (input, (count, length)) = parse_extent(input)?;
    let (input, route) = match route {
        0 => {
            let (input, exchange) = parse_short_str("exchange", input)?;
            let (input, routing_key) = parse_short_str("routing key", input)?;
            (input, RouteRef::Inline { exchange, routing_key })
        }
        route => (input, RouteRef::Defined(route)),
    };
    let (input, entries) = labelled("run entries", |input| take(length)(input))(input)?;
    Ok((input, PublishRunRef { route, mandatory: flags & RUN_MANDATORY != 0, count, entries }))
}

fn parse_delivered_run(input: &[u8]) -> Parsed<'_, DeliveredRunRef<'_>> {
    let (input, _) = parse_run_flags(input, 0)?;
    let (input, (count, length)) = parse_extent(input)?;
    let (input, exchange) = parse_short_str("exchange", input)?;
    let (input, routing_key) = parse_short_str("routing key", input)?;
    let (input, entries) = labelled("run entries", |input| take(length)(input))(input)?;
    Ok((input, DeliveredRunRef { exchange, routing_key, count, entries }))
}

fn parse_run_flags(input: &[u8], known: u8) -> Parsed<'_, u8> {
    let (input, flags) = labelled(RUN, be_u8)(input)?;
    if flags & RUN_COMPRESSED != 0 {
        return Err(Err::Failure(WireError::Reserved { what: "compression of a run (run flag 0x80)" }));
    }
    match flags & !known {
        0 => Ok((input, flags)),
        _ => Err(Err::Failure(WireError::BadValue { what: RUN_FLAGS, value: flags.into() })),
    }
}

/// Count and length, as far as they can be compared before the entries are walked.
fn parse_extent(input: &[u8]) -> Parsed<'_, (u32, u32)> {
    let (input, count) = labelled(RUN, be_u32)(input)?;
    let (input, length) = labelled(RUN, be_u32)(input)?;
    if count == 0 || u64::from(count) * ENTRY_HEADER_LEN as u64 > length.into() {
        return Err(Err::Failure(WireError::BadValue { what: RUN_COUNT, value: count.into() }));
    }
    Ok((input, (count, length)))
}

/// Reads a run that carries exactly one whole message (`Got`, `Returned`).
pub(super) fn parse_single_run<'a>(input: &'a [u8]) -> Parsed<'a, DeliveredRunRef<'a>> {
    let (rest, run) = parse_delivered_run(input)?;
    if run.count != 1 {
        return Err(Err::Failure(WireError::BadValue { what: RUN_COUNT, value: run.count.into() }));
    }
    run.walk().try_for_each(|entry| entry.map(drop)).map_err(Err::Failure)?;
    Ok((rest, run))
}

/// A run with names of its own and a slice of the frame's bytes.
pub(super) fn own_delivered(run: DeliveredRunRef<'_>, frame: &Bytes) -> DeliveredRun {
    DeliveredRun {
        exchange: ShortStr::truncated(run.exchange),
        routing_key: ShortStr::truncated(run.routing_key),
        count: run.count,
        entries: frame.slice_ref(run.entries),
    }
}

/// Writes a delivered run that is at hand as a value.
pub(super) fn put_delivered_run(run: &DeliveredRun, out: &mut BytesMut) {
    out.put_u8(0);
    out.put_u32(run.count);
    out.put_u32(run.entries.len() as u32);
    put_short_str(&run.exchange, out);
    put_short_str(&run.routing_key, out);
    out.put_slice(&run.entries);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::native::put_entry;
    use crate::types::Properties;

    /// Properties and bodies of all entries, and whether the walk ended well.
    type Walked = (Vec<(Vec<u8>, Vec<u8>)>, bool);

    fn walked(run: &PublishRunRef<'_>, passes: bool) -> Walked {
        let (mut all, mut entries) = (Vec::new(), run.walk());
        assert_eq!(entries.pass_alike().0, 0, "nothing was walked");
        while let Some(entry) = entries.next() {
            let Ok((entry, _)) = entry else { return (all, false) };
            all.push((entry.properties.to_vec(), entry.body.to_vec()));
            if passes {
                let (count, mut alike) = entries.pass_alike();
                for _ in 0..count {
                    let (next, _) = Entry::read_published(alike).unwrap();
                    all.push((next.properties.to_vec(), next.body.to_vec()));
                    alike = &alike[next.len..];
                }
                assert!(alike.is_empty());
            }
        }
        (all, true)
    }

    proptest! {
        #[test]
        fn whoever_passes_over_what_is_alike_finds_the_same(
            messages in prop::collection::vec((0..3_u8, 0..3_usize), 0..12),
            announced in -1..=1_i32,
            cut in 0..4_usize,
            changed in any::<Option<(prop::sample::Index, u8)>>(),
        ) {
            let mut entries = BytesMut::new();
            for (number, (priority, len)) in messages.iter().enumerate() {
                let priority = priority.checked_sub(1);
                let properties = Properties { priority, ..Properties::default() }.encoded();
                put_entry(&properties, &vec![number as u8; *len], &mut entries);
            }
            if let Some((at, to)) = changed
                && !entries.is_empty()
            {
                let at = at.index(entries.len());
                entries[at] = to;
            }
            let entries = &entries[..entries.len() - cut.min(entries.len())];
            let count = messages.len().saturating_add_signed(announced as isize) as u32;
            let run = PublishRunRef { route: RouteRef::Defined(1), mandatory: false, count, entries };
            prop_assert_eq!(walked(&run, true), walked(&run, false));
        }
    }
}
