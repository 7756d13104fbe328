//! Bodies of the commands that carry messages to the broker, and what becomes of them.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::command::{Command, Outcome, OutcomeRange, Publish, Returned};
use super::super::header::PUBLISH_OUTCOMES;
use super::super::run::{own_delivered, parse_single_run, put_delivered_run};
use super::fields::{failed, long, long_long, octet, put_text, short, text};
use super::{beginning, whole};
use crate::types::{Parsed, WireError, WireResult};

/// Bytes of the shortest range in `Outcomes`.
const OUTCOME_LEN: usize = 17;

const CONFIRMED: u8 = 0;
const UNROUTABLE: u8 = 1;
const REJECTED: u8 = 2;
const DUPLICATE: u8 = 3;

pub(super) fn define_route(body: &[u8]) -> WireResult<Command> {
    whole("DefineRoute", parse_define_route(body))
}

fn parse_define_route(input: &[u8]) -> Parsed<'_, Command> {
    let (input, route) = long("route", input)?;
    if route == 0 {
        // 0 says "spelt out" in a run, so it can never be defined.
        return failed(WireError::BadValue { what: "route", value: 0 });
    }
    let (input, exchange) = text("exchange", input)?;
    let (input, routing_key) = text("routing key", input)?;
    Ok((input, Command::DefineRoute { route, exchange, routing_key }))
}

pub(super) fn publish(flags: u8, body: &Bytes) -> WireResult<Publish> {
    let (runs, first) = beginning("Publish", long_long("first sequence number", body))?;
    Ok(Publish {
        first,
        outcomes: flags & PUBLISH_OUTCOMES != 0,
        runs: body.slice(body.len() - runs.len()..),
    })
}

pub(super) fn put_publish(publish: &Publish, out: &mut BytesMut) {
    out.put_u64(publish.first);
    out.put_slice(&publish.runs);
}

pub(super) fn outcomes(body: &[u8]) -> WireResult<Vec<OutcomeRange>> {
    let mut ranges = Vec::with_capacity(body.len() / OUTCOME_LEN);
    let mut rest = body;
    while !rest.is_empty() {
        let (after, range) = beginning("Outcomes", parse_outcome(rest))?;
        ranges.push(range);
        rest = after;
    }
    Ok(ranges)
}

fn parse_outcome(input: &[u8]) -> Parsed<'_, OutcomeRange> {
    let (input, (first, last)) = parse_range("range of outcomes", input)?;
    let (input, outcome) = octet("outcome", input)?;
    let (input, outcome) = match outcome {
        CONFIRMED => (input, Outcome::Confirmed),
        UNROUTABLE => (input, Outcome::Unroutable),
        REJECTED => {
            let (input, code) = short("reply code", input)?;
            let (input, reason) = text("reason", input)?;
            (input, Outcome::Rejected { code, reason })
        }
        DUPLICATE => (input, Outcome::Duplicate),
        outcome => return failed(WireError::BadValue { what: "outcome", value: outcome.into() }),
    };
    Ok((input, OutcomeRange { first, last, outcome }))
}

pub(super) fn put_outcomes(ranges: &[OutcomeRange], out: &mut BytesMut) {
    for range in ranges {
        out.put_u64(range.first);
        out.put_u64(range.last);
        match &range.outcome {
            Outcome::Confirmed => out.put_u8(CONFIRMED),
            Outcome::Unroutable => out.put_u8(UNROUTABLE),
            Outcome::Rejected { code, reason } => {
                out.put_u8(REJECTED);
                out.put_u16(*code);
                put_text(reason, out);
            }
            Outcome::Duplicate => out.put_u8(DUPLICATE),
        }
    }
}

pub(super) fn returned(body: &Bytes) -> WireResult<Returned> {
    whole("Returned", parse_returned(body, body))
}

fn parse_returned<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Returned> {
    let (input, sequence) = long_long("sequence number", input)?;
    let (input, code) = short("reply code", input)?;
    let (input, text) = text("reply text", input)?;
    let (input, run) = parse_single_run(input)?;
    Ok((input, Returned { sequence, code, text, run: own_delivered(run, frame) }))
}

pub(super) fn put_returned(returned: &Returned, out: &mut BytesMut) {
    out.put_u64(returned.sequence);
    out.put_u16(returned.code);
    put_text(&returned.text, out);
    put_delivered_run(&returned.run, out);
}

/// An inclusive range, first not above last.
pub(super) fn parse_range<'a>(what: &'static str, input: &'a [u8]) -> Parsed<'a, (u64, u64)> {
    let (input, first) = long_long(what, input)?;
    let (input, last) = long_long(what, input)?;
    if first > last {
        return failed(WireError::BadValue { what, value: first });
    }
    Ok((input, (first, last)))
}
