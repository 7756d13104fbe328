//! A visitor that speaks Rialto's own protocol.

use bytes::{Bytes, BytesMut};
use rialto_client::Address;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Closing, Command, PREFACE, Request, decode_frame};
use rialto_protocol::types::{FieldTable, ShortStr};

use super::super::error::{BenchError, BenchResult};
use super::super::native::{CHANNEL, login};
use super::script::{Script, Step};

/// Longer than any answer to what is asked.
const FRAME_MAX: u32 = 64 << 10;

pub(super) fn stay(address: &Address) -> Script {
    let mut hello = BytesMut::from(&PREFACE[..]);
    hello.extend_from_slice(&encoded(&Command::Login(login(address, "rialto bench"))));
    Script {
        endpoint: address.endpoint(),
        steps: vec![
            step(hello.freeze(), "Welcome", |command| matches!(command, Command::Welcome(_))),
            request(&Command::OpenChannel { correlation: 1 }),
        ],
        heartbeat: encoded(&Command::Heartbeat),
    }
}

pub(super) fn pass(address: &Address, queue: &str) -> Script {
    let mut script = stay(address);
    let name = ShortStr::truncated(queue);
    let declare = declare(name.clone(), false);
    let delete = Request::DeleteQueue { name, if_unused: false, if_empty: false };
    let close = Command::Close(Closing {
        code: ReplyCode::Success.number(),
        text: ShortStr::default(),
        kind: 0,
        correlation: 0,
    });
    script.steps.extend([
        request(&Command::Request { correlation: 2, request: declare }),
        request(&Command::Request { correlation: 3, request: delete }),
        step(encoded(&close), "CloseOk", |command| matches!(command, Command::CloseOk)),
    ]);
    script
}

pub(super) fn look(address: &Address, queue: &str) -> Script {
    let mut script = stay(address);
    let request = declare(ShortStr::truncated(queue), true);
    script.steps.push(self::request(&Command::Request { correlation: 2, request }));
    script
}

/// An exclusive queue, declared or only looked at.
fn declare(name: ShortStr, passive: bool) -> Request {
    Request::DeclareQueue {
        name,
        passive,
        durable: false,
        exclusive: !passive,
        auto_delete: false,
        arguments: FieldTable::new(),
    }
}

fn step(words: Bytes, awaits: &'static str, is_it: fn(&Command) -> bool) -> Step {
    Step { words, awaits, heard: Box::new(move |came| heard(came, awaits, is_it)) }
}

/// A step that is answered with a response.
fn request(command: &Command) -> Step {
    step(encoded(command), "a response", |command| matches!(command, Command::Response { .. }))
}

fn encoded(command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    command.encode(if command.kind().needs_channel() { CHANNEL } else { 0 }, &mut out);
    out.freeze()
}

fn heard(came: &mut BytesMut, awaits: &str, is_it: fn(&Command) -> bool) -> BenchResult<bool> {
    let unreadable = |error: &dyn std::fmt::Display| BenchError::Protocol(error.to_string());
    while let Some(frame) = decode_frame(came, FRAME_MAX).map_err(|error| unreadable(&error))? {
        match frame.command().map_err(|error| unreadable(&error))? {
            Some(command) if is_it(&command) => return Ok(true),
            Some(Command::Failure { text, .. }) => return Err(BenchError::Refused(text.to_string())),
            Some(Command::Close(closing) | Command::ChannelClosed(closing)) => {
                return Err(BenchError::Refused(closing.text.to_string()));
            }
            Some(Command::Heartbeat) | None => {}
            Some(other) => return Err(BenchError::Protocol(format!("{other:?}, where {awaits} was due"))),
        }
    }
    Ok(false)
}
