//! Bodies of requests and their answers, and the table of operations.
//!
//! A request is `correlation u32 | operation u8 | fields`, an answer `correlation u32 | result u8 | fields`.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::command::{Binding, Command, Consume, ListOf, Request, Response};
use super::super::limits::{CURSOR_BYTES_MAX, FACTS_BYTES_MAX, PAGE_ROWS_MAX, TABLE_BYTES_MAX};
use super::super::run::{own_delivered, parse_single_run, put_delivered_run};
use super::fields::{
    bits, failed, long, long_long, octet, put_bits, put_bytes, put_text, short, small_bytes, table, text,
};
use super::{BodyError, beginning, whole};
use crate::types::{FieldTable, Parsed, ShortStr, WireError, WireResult};

/// The table of operations: `Name = octet`, and the reserved ones with the name that refuses them.
macro_rules! operations {
    (
        known { $($name:ident = $octet:literal;)* }
        reserved { $($(#[$rdoc:meta])* $rname:ident = $roctet:literal;)* }
    ) => {
        /// What a request asks for; each carries the [`Request`] of the same name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Operation { $(#[doc = concat!("[`Request::", stringify!($name), "`].")] $name = $octet,)* }

        impl Operation {
            /// Every operation, by number.
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// The octet on the wire.
            pub const fn octet(self) -> u8 {
                self as u8
            }

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)* }
            }

            /// The operation with this octet, if this version knows one.
            pub const fn from_octet(octet: u8) -> Option<Operation> {
                match octet { $($octet => Some(Operation::$name),)* _ => None }
            }
        }

        impl Request {
            /// The operation that this is.
            pub const fn operation(&self) -> Operation {
                match self { $(Request::$name { .. } => Operation::$name,)* }
            }
        }

        /// Operations that are kept for later versions and refused by name until then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ReservedOperation { $($(#[$rdoc])* $rname = $roctet,)* }

        impl ReservedOperation {
            /// Every reserved operation, by number.
            pub const ALL: &'static [ReservedOperation] = &[$(ReservedOperation::$rname,)*];

            /// The octet on the wire.
            pub const fn octet(self) -> u8 {
                self as u8
            }

            /// The name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(ReservedOperation::$rname => stringify!($rname),)* }
            }

            /// The reserved operation with this octet, if there is one.
            pub const fn from_octet(octet: u8) -> Option<ReservedOperation> {
                match octet { $($roctet => Some(ReservedOperation::$rname),)* _ => None }
            }

            /// How it is named when it is refused.
            const fn refused_as(self) -> &'static str {
                match self {
                    $(ReservedOperation::$rname => {
                        concat!("operation ", stringify!($rname), " (", stringify!($roctet), ")")
                    })*
                }
            }
        }
    };
}

operations! {
    known {
        DeclareExchange = 0x01;
        DeleteExchange = 0x02;
        BindExchange = 0x03;
        UnbindExchange = 0x04;
        DeclareQueue = 0x05;
        DeleteQueue = 0x06;
        BindQueue = 0x07;
        UnbindQueue = 0x08;
        PurgeQueue = 0x09;
        Consume = 0x0a;
        Cancel = 0x0b;
        Get = 0x0c;
        SetPrefetch = 0x0d;
        QueueInfo = 0x0e;
        ExchangeInfo = 0x0f;
        List = 0x10;
    }
    reserved {
        /// I am this publisher; answered with the last sequence number that was stored from me.
        RegisterPublisher = 0x20;
        /// Keep how far this consumer has read a stream.
        StoreOffset = 0x21;
        /// How far a consumer had read a stream.
        QueryOffset = 0x22;
    }
}

const DONE: u8 = 0;
const COUNT: u8 = 1;
const QUEUE_DECLARED: u8 = 2;
const CONSUMING: u8 = 3;
const GOT: u8 = 4;
const EMPTY: u8 = 5;
const INFO: u8 = 6;
const PAGE: u8 = 7;

pub(super) fn request(body: &[u8]) -> Result<Command, BodyError> {
    let head = long("correlation", body).and_then(|(input, correlation)| {
        let (input, operation) = octet("operation", input)?;
        Ok((input, (correlation, operation)))
    });
    let (input, (correlation, operation)) = beginning("Request", head)?;
    let Some(known) = Operation::from_octet(operation) else {
        return Err(match ReservedOperation::from_octet(operation) {
            Some(reserved) => WireError::Reserved { what: reserved.refused_as() }.into(),
            None => BodyError::UnknownOperation(operation),
        });
    };
    let request = whole(known.name(), parse_request(known, input))?;
    Ok(Command::Request { correlation, request })
}

fn parse_request(operation: Operation, input: &[u8]) -> Parsed<'_, Request> {
    Ok(match operation {
        Operation::DeclareExchange => {
            let (input, bits) = bits("DeclareExchange bits", 0x0f, input)?;
            let (input, name) = text("exchange", input)?;
            let (input, kind) = text("exchange type", input)?;
            let (input, arguments) = parse_arguments(input)?;
            let [passive, durable, auto_delete, internal] = unpack(bits);
            let request =
                Request::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments };
            (input, request)
        }
        Operation::DeleteExchange => {
            let (input, bits) = bits("DeleteExchange bits", 0x01, input)?;
            let (input, name) = text("exchange", input)?;
            let [if_unused] = unpack(bits);
            (input, Request::DeleteExchange { name, if_unused })
        }
        Operation::BindExchange => map(parse_binding(input)?, Request::BindExchange),
        Operation::UnbindExchange => map(parse_binding(input)?, Request::UnbindExchange),
        Operation::DeclareQueue => {
            let (input, bits) = bits("DeclareQueue bits", 0x0f, input)?;
            let (input, name) = text("queue", input)?;
            let (input, arguments) = parse_arguments(input)?;
            let [passive, durable, exclusive, auto_delete] = unpack(bits);
            (input, Request::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments })
        }
        Operation::DeleteQueue => {
            let (input, bits) = bits("DeleteQueue bits", 0x03, input)?;
            let (input, name) = text("queue", input)?;
            let [if_unused, if_empty] = unpack(bits);
            (input, Request::DeleteQueue { name, if_unused, if_empty })
        }
        Operation::BindQueue => map(parse_binding(input)?, Request::BindQueue),
        Operation::UnbindQueue => map(parse_binding(input)?, Request::UnbindQueue),
        Operation::PurgeQueue => map(text("queue", input)?, |name| Request::PurgeQueue { name }),
        Operation::Consume => map(parse_consume(input)?, Request::Consume),
        Operation::Cancel => map(long("consumer", input)?, |consumer| Request::Cancel { consumer }),
        Operation::Get => {
            let (input, bits) = bits("Get bits", 0x01, input)?;
            let (input, queue) = text("queue", input)?;
            let [auto_ack] = unpack(bits);
            (input, Request::Get { queue, auto_ack })
        }
        Operation::SetPrefetch => map(long("prefetch", input)?, |messages| Request::SetPrefetch { messages }),
        Operation::QueueInfo => map(text("queue", input)?, |name| Request::QueueInfo { name }),
        Operation::ExchangeInfo => map(text("exchange", input)?, |name| Request::ExchangeInfo { name }),
        Operation::List => {
            let (input, what) = octet("what to list", input)?;
            let what = list_of(what)
                .ok_or(nom::Err::Failure(WireError::BadValue { what: "what to list", value: what.into() }))?;
            let (input, limit) = long("limit", input)?;
            let (input, after) = small_bytes("place in the list", CURSOR_BYTES_MAX, input)?;
            (input, Request::List { what, after, limit })
        }
    })
}

fn parse_binding(input: &[u8]) -> Parsed<'_, Binding> {
    let (input, source) = text("source", input)?;
    let (input, destination) = text("destination", input)?;
    let (input, routing_key) = text("routing key", input)?;
    let (input, arguments) = parse_arguments(input)?;
    Ok((input, Binding { source, destination, routing_key, arguments }))
}

fn parse_consume(input: &[u8]) -> Parsed<'_, Consume> {
    let (input, bits) = bits("Consume bits", 0x07, input)?;
    let [auto_ack, exclusive, has_credit] = unpack(bits);
    let (input, consumer) = long("consumer", input)?;
    let (input, prefetch) = long("prefetch", input)?;
    let (input, credit) = match has_credit {
        true => {
            let (input, messages) = long("credit in messages", input)?;
            let (input, bytes) = long("credit in bytes", input)?;
            (input, Some((messages, bytes)))
        }
        false => (input, None),
    };
    let (input, queue) = text("queue", input)?;
    let (input, tag) = text("consumer tag", input)?;
    let (input, arguments) = parse_arguments(input)?;
    Ok((input, Consume { queue, consumer, tag, auto_ack, exclusive, prefetch, credit, arguments }))
}

fn parse_arguments(input: &[u8]) -> Parsed<'_, FieldTable> {
    table("arguments", TABLE_BYTES_MAX, input)
}

fn list_of(octet: u8) -> Option<ListOf> {
    Some(match octet {
        0 => ListOf::Queues,
        1 => ListOf::Exchanges,
        2 => ListOf::Bindings,
        3 => ListOf::Connections,
        4 => ListOf::Consumers,
        _ => return None,
    })
}

fn list_octet(what: ListOf) -> u8 {
    match what {
        ListOf::Queues => 0,
        ListOf::Exchanges => 1,
        ListOf::Bindings => 2,
        ListOf::Connections => 3,
        ListOf::Consumers => 4,
    }
}

pub(super) fn put_request(correlation: u32, request: &Request, out: &mut BytesMut) {
    out.put_u32(correlation);
    out.put_u8(request.operation().octet());
    match request {
        Request::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments } => {
            put_bits([*passive, *durable, *auto_delete, *internal], out);
            put_text(name, out);
            put_text(kind, out);
            arguments.encode(out);
        }
        Request::DeleteExchange { name, if_unused } => {
            put_bits([*if_unused], out);
            put_text(name, out);
        }
        Request::BindExchange(binding)
        | Request::UnbindExchange(binding)
        | Request::BindQueue(binding)
        | Request::UnbindQueue(binding) => {
            put_text(&binding.source, out);
            put_text(&binding.destination, out);
            put_text(&binding.routing_key, out);
            binding.arguments.encode(out);
        }
        Request::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments } => {
            put_bits([*passive, *durable, *exclusive, *auto_delete], out);
            put_text(name, out);
            arguments.encode(out);
        }
        Request::DeleteQueue { name, if_unused, if_empty } => {
            put_bits([*if_unused, *if_empty], out);
            put_text(name, out);
        }
        Request::PurgeQueue { name } | Request::QueueInfo { name } | Request::ExchangeInfo { name } => {
            put_text(name, out);
        }
        Request::Consume(consume) => put_consume(consume, out),
        Request::Cancel { consumer } => out.put_u32(*consumer),
        Request::Get { queue, auto_ack } => {
            put_bits([*auto_ack], out);
            put_text(queue, out);
        }
        Request::SetPrefetch { messages } => out.put_u32(*messages),
        Request::List { what, after, limit } => {
            out.put_u8(list_octet(*what));
            out.put_u32(*limit);
            put_bytes(after, out);
        }
    }
}

fn put_consume(consume: &Consume, out: &mut BytesMut) {
    put_bits([consume.auto_ack, consume.exclusive, consume.credit.is_some()], out);
    out.put_u32(consume.consumer);
    out.put_u32(consume.prefetch);
    if let Some((messages, bytes)) = consume.credit {
        out.put_u32(messages);
        out.put_u32(bytes);
    }
    put_text(&consume.queue, out);
    put_text(&consume.tag, out);
    consume.arguments.encode(out);
}

pub(super) fn response(body: &Bytes) -> WireResult<Command> {
    whole("Response", parse_response(body, body))
}

fn parse_response<'a>(input: &'a [u8], frame: &Bytes) -> Parsed<'a, Command> {
    let (input, correlation) = long("correlation", input)?;
    let (input, result) = octet("result", input)?;
    let (input, response) = match result {
        DONE => (input, Response::Done),
        COUNT => map(long_long("count", input)?, Response::Count),
        QUEUE_DECLARED => {
            let (input, messages) = long_long("messages", input)?;
            let (input, consumers) = long("consumers", input)?;
            let (input, name) = text("queue", input)?;
            (input, Response::QueueDeclared { name, messages, consumers })
        }
        CONSUMING => map(text("consumer tag", input)?, |tag| Response::Consuming { tag }),
        GOT => {
            let (input, tag) = long_long("tag", input)?;
            let (input, remaining) = long_long("remaining", input)?;
            let (input, run) = parse_single_run(input)?;
            (input, Response::Got { tag, remaining, run: own_delivered(run, frame) })
        }
        EMPTY => (input, Response::Empty),
        INFO => map(table("facts", FACTS_BYTES_MAX, input)?, Response::Info),
        PAGE => parse_page(input)?,
        result => return failed(WireError::BadValue { what: "result", value: result.into() }),
    };
    Ok((input, Command::Response { correlation, response }))
}

fn parse_page(input: &[u8]) -> Parsed<'_, Response> {
    let (input, next) = small_bytes("place in the list", CURSOR_BYTES_MAX, input)?;
    let (mut input, count) = long("rows", input)?;
    if count > PAGE_ROWS_MAX {
        let (len, max) = (count as usize, PAGE_ROWS_MAX as usize);
        return failed(WireError::TooLong { what: "the number of rows of a page", len, max });
    }
    let mut rows = Vec::new();
    for _ in 0..count {
        let (after, row) = table("row", FACTS_BYTES_MAX, input)?;
        rows.push(row);
        input = after;
    }
    Ok((input, Response::Page { rows, next }))
}

pub(super) fn put_response(correlation: u32, response: &Response, out: &mut BytesMut) {
    out.put_u32(correlation);
    match response {
        Response::Done => out.put_u8(DONE),
        Response::Count(count) => {
            out.put_u8(COUNT);
            out.put_u64(*count);
        }
        Response::QueueDeclared { name, messages, consumers } => {
            out.put_u8(QUEUE_DECLARED);
            out.put_u64(*messages);
            out.put_u32(*consumers);
            put_text(name, out);
        }
        Response::Consuming { tag } => {
            out.put_u8(CONSUMING);
            put_text(tag, out);
        }
        Response::Got { tag, remaining, run } => {
            out.put_u8(GOT);
            out.put_u64(*tag);
            out.put_u64(*remaining);
            put_delivered_run(run, out);
        }
        Response::Empty => out.put_u8(EMPTY),
        Response::Info(facts) => {
            out.put_u8(INFO);
            facts.encode(out);
        }
        Response::Page { rows, next } => {
            out.put_u8(PAGE);
            put_bytes(next, out);
            out.put_u32(rows.len() as u32);
            rows.iter().for_each(|row| row.encode(out));
        }
    }
}

pub(super) fn failure(body: &[u8]) -> WireResult<Command> {
    whole("Failure", parse_failure(body))
}

fn parse_failure(input: &[u8]) -> Parsed<'_, Command> {
    let (input, correlation) = long("correlation", input)?;
    let (input, code) = short("reply code", input)?;
    let (input, text) = text("reply text", input)?;
    Ok((input, Command::Failure { correlation, code, text }))
}

pub(super) fn put_failure(correlation: u32, code: u16, text: &ShortStr, out: &mut BytesMut) {
    out.put_u32(correlation);
    out.put_u16(code);
    put_text(text, out);
}

fn map<T, U>((input, value): (&[u8], T), into: impl FnOnce(T) -> U) -> (&[u8], U) {
    (input, into(value))
}

/// The lowest bits of an octet as booleans, bit 0 first.
fn unpack<const N: usize>(bits: u8) -> [bool; N] {
    std::array::from_fn(|at| bits & (1 << at) != 0)
}
