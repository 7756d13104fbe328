//! Bodies of the commands that carry messages to consumers, and what becomes of them.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::command::{Command, Deliver, Settle, Settlement};
use super::fields::{failed, long, long_long, octet, put_text, text};
use super::publishing::parse_range;
use super::{beginning, whole};
use crate::types::{Parsed, WireError, WireResult};

/// Bytes of a range of tags.
const RANGE_LEN: usize = 16;

const ACK: u8 = 0;
const REQUEUE: u8 = 1;
const REJECT: u8 = 2;

pub(super) fn credit(body: &[u8]) -> WireResult<Command> {
    whole("Credit", parse_credit(body))
}

fn parse_credit(input: &[u8]) -> Parsed<'_, Command> {
    let (input, consumer) = long("consumer", input)?;
    let (input, messages) = long("messages", input)?;
    let (input, bytes) = long("bytes", input)?;
    Ok((input, Command::Credit { consumer, messages, bytes }))
}

pub(super) fn deliver(body: &Bytes) -> WireResult<Deliver> {
    let (runs, (consumer, first_tag)) = beginning("Deliver", parse_deliver_head(body))?;
    Ok(Deliver { consumer, first_tag, runs: body.slice(body.len() - runs.len()..) })
}

fn parse_deliver_head(input: &[u8]) -> Parsed<'_, (u32, u64)> {
    let (input, consumer) = long("consumer", input)?;
    let (input, first_tag) = long_long("first tag", input)?;
    Ok((input, (consumer, first_tag)))
}

pub(super) fn put_deliver(deliver: &Deliver, out: &mut BytesMut) {
    out.put_u32(deliver.consumer);
    out.put_u64(deliver.first_tag);
    out.put_slice(&deliver.runs);
}

pub(super) fn settle(body: &[u8]) -> WireResult<Settle> {
    whole("Settle", parse_settle(body))
}

fn parse_settle(input: &[u8]) -> Parsed<'_, Settle> {
    let (input, consumer) = long("consumer", input)?;
    let (input, settlement) = octet("settlement", input)?;
    let (mut input, settlement) = match settlement {
        ACK => (input, Settlement::Ack),
        REQUEUE => (input, Settlement::Requeue),
        REJECT => {
            let (input, reason) = text("reason", input)?;
            (input, Settlement::Reject { reason })
        }
        settlement => return failed(WireError::BadValue { what: "settlement", value: settlement.into() }),
    };
    let mut ranges = Vec::with_capacity(input.len() / RANGE_LEN);
    while !input.is_empty() {
        let (after, range) = parse_range("range of tags", input)?;
        ranges.push(range);
        input = after;
    }
    Ok((input, Settle { consumer, settlement, ranges }))
}

pub(super) fn put_settle(settle: &Settle, out: &mut BytesMut) {
    out.put_u32(settle.consumer);
    match &settle.settlement {
        Settlement::Ack => out.put_u8(ACK),
        Settlement::Requeue => out.put_u8(REQUEUE),
        Settlement::Reject { reason } => {
            out.put_u8(REJECT);
            put_text(reason, out);
        }
    }
    for &(first, last) in &settle.ranges {
        out.put_u64(first);
        out.put_u64(last);
    }
}

pub(super) fn consumer_cancelled(body: &[u8]) -> WireResult<Command> {
    whole("ConsumerCancelled", parse_consumer_cancelled(body))
}

fn parse_consumer_cancelled(input: &[u8]) -> Parsed<'_, Command> {
    let (input, consumer) = long("consumer", input)?;
    let (input, reason) = text("reason", input)?;
    Ok((input, Command::ConsumerCancelled { consumer, reason }))
}
