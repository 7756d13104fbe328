//! The task that writes: everything that is to be said at the moment leaves in one go, and nothing waits for
//! more to come.
//!
//! Order within one go: requests and definitions, settlements and credit, messages, the last word. Messages
//! are taken first, since the definitions that they need are said before they are pushed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rialto_protocol::native::Command;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use super::Shared;
use super::ledger::Effects;
use crate::error::{Error, Result};

/// Bytes of messages that are taken in one go, so that settlements never wait behind more than this.
const TAKEN_AT_ONCE: usize = 512 * 1024;

/// Slices of one vectored write.
const SLICES: usize = 32;

/// Writes until the connection ends. `Ok`: the last word was said.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut socket: OwnedWriteHalf,
    heartbeat: Option<Duration>,
) -> Result<()> {
    let (mut out, mut farewell) = (BytesMut::new(), BytesMut::new());
    let mut dirty = Vec::new();
    let mut parts = VecDeque::new();
    loop {
        let mut messages = VecDeque::new();
        let released = shared.ledger.lock().take(TAKEN_AT_ONCE, &mut messages);
        shared.control.lock().take(&mut out, &mut dirty, &mut farewell);
        for consumer in dirty.drain(..) {
            consumer.flush(&mut out);
        }
        if !out.is_empty() {
            parts.push_back(out.split().freeze());
        }
        parts.append(&mut messages);
        let last = !farewell.is_empty();
        if last {
            parts.push_back(farewell.split().freeze());
        }
        if parts.is_empty() {
            let woken = shared.writer_wake.notified();
            match heartbeat {
                None => woken.await,
                // Twice per interval, so that one late turn does not cost the connection.
                Some(interval) => {
                    if timeout(interval / 2, woken).await.is_err() {
                        shared.say(0, &Command::Heartbeat);
                    }
                }
            }
            continue;
        }
        write_all(&mut socket, &mut parts).await.map_err(broken)?;
        shared.apply(Effects { released, ..Effects::default() });
        if last {
            return Ok(());
        }
    }
}

async fn write_all(socket: &mut OwnedWriteHalf, parts: &mut VecDeque<Bytes>) -> std::io::Result<()> {
    while !parts.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = parts.len().min(SLICES);
        for (slice, part) in slices.iter_mut().zip(parts.iter()) {
            *slice = IoSlice::new(part);
        }
        let mut written = socket.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while let Some(part) = parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                break;
            }
            written -= part.len();
            parts.pop_front();
        }
    }
    Ok(())
}

fn broken(error: std::io::Error) -> Error {
    Error::ConnectionLost { reason: format!("writing failed: {error}") }
}
