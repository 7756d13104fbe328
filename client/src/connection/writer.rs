//! The task that writes: everything that is to be said at the moment leaves in one go, and nothing waits for
//! more to come.
//!
//! Order within one go: requests and definitions, settlements and credit, messages, the last word. Settlements
//! made before a user's request stand before it: who acks and then asks sees what he has done. Messages
//! are taken first, since the definitions that they need are said before they are pushed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rialto_protocol::native::Command;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Shared;
use super::control::Cut;
use super::ledger::Effects;
use super::transport::WriteHalf;
use crate::error::{Error, Result};

/// Bytes of messages that are taken in one go, so that settlements never wait behind more than this.
const TAKEN_AT_ONCE: usize = 512 * 1024;

/// Slices of one vectored write.
const SLICES: usize = 32;

/// Writes until the connection ends. `Ok`: the last word was said.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut socket: WriteHalf,
    heartbeat: Option<Duration>,
) -> Result<()> {
    let (mut out, mut farewell) = (BytesMut::new(), BytesMut::new());
    let (mut cuts, mut dirty) = (Vec::new(), Vec::new());
    let mut parts = VecDeque::new();
    loop {
        let mut messages = VecDeque::new();
        let bytes = shared.ledger.lock().take(TAKEN_AT_ONCE, &mut messages);
        let released = Released { shared: &shared, bytes };
        shared.control.lock().take(&mut out, &mut cuts, &mut dirty, &mut farewell);
        let asked = !dirty.is_empty();
        if !cuts.is_empty() {
            out = with_settlements(&out, cuts.drain(..));
        }
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
        if parts.is_empty() && asked {
            // A consumer that ended meanwhile had nothing to say, and the writer does not count as waiting:
            // to wait here would be to miss the next wake-up.
            continue;
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
        drop(released);
        if last {
            return Ok(());
        }
    }
}

/// What messages without outcomes held of the window. Given back once they are written, and also when writing
/// fails or is ended in the midst of it: nobody else knows of it any more.
struct Released<'a> {
    shared: &'a Shared,
    bytes: usize,
}

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.shared.apply(Effects { released: self.bytes, ..Effects::default() });
    }
}

/// The frames with settlements put in where they belong.
fn with_settlements(out: &[u8], cuts: impl Iterator<Item = Cut>) -> BytesMut {
    let (mut whole, mut done) = (BytesMut::new(), 0);
    for Cut { at, consumers } in cuts {
        whole.extend_from_slice(&out[done..at]);
        done = at;
        for consumer in consumers {
            consumer.flush(&mut whole);
        }
    }
    whole.extend_from_slice(&out[done..]);
    whole
}

async fn write_all(socket: &mut WriteHalf, parts: &mut VecDeque<Bytes>) -> std::io::Result<()> {
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
    // With TLS, the end of it may wait for the socket.
    socket.flush().await
}

fn broken(error: std::io::Error) -> Error {
    Error::ConnectionLost { reason: format!("writing failed: {error}") }
}

#[cfg(test)]
mod tests {
    use rialto_protocol::native::{Request, Welcome};
    use rialto_protocol::types::{FieldTable, ShortStr};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::super::CONSUME_CHANNEL;
    use super::super::Target;
    use super::super::consumer_core::ConsumeOptions;
    use super::super::control::{Asked, Asker};
    use super::super::ledger::Outgoing;
    use super::*;
    use crate::address::Address;
    use crate::options::Options;

    /// Lets the writer do all that it can do now.
    async fn turn() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_consumer_with_nothing_to_say_does_not_put_the_writer_to_sleep() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let shared = Arc::new(Shared::new(Address::default(), Options::default()));
        {
            let mut control = shared.control.lock();
            control.begin(u32::MAX);
            control.go_online();
        }
        let (reader, writer) = socket.into_split();
        let writing = tokio::spawn(run(shared.clone(), WriteHalf::Plain(writer), None));
        let consumer = shared.add_consumer(ConsumeOptions::default()).unwrap();
        let started = consumer.start();
        let mut octets = [0; 1024];
        assert!(peer.read(&mut octets).await.unwrap() > 0);
        turn().await;

        // It wants to give credit and ends before the writer gets to it.
        consumer.give_back(shared.epoch(), 1, 1);
        consumer.end(None);
        turn().await;

        let request = Request::PurgeQueue { name: "tasks".try_into().unwrap() };
        let answers = shared.ask(CONSUME_CHANNEL, Asked::Request(request), Asker::User).unwrap();
        let mut octets = [0; 4];
        timeout(Duration::from_secs(10), peer.read_exact(&mut octets))
            .await
            .expect("the request is written")
            .unwrap();
        writing.abort();
        drop((started, answers, reader));
    }

    /// All of the window taken by messages that are written without wanting an outcome.
    fn full_of_messages() -> Arc<Shared> {
        let shared = Arc::new(Shared::new(Address::default(), Options::default()));
        let (all, target) = (shared.options.publish_buffer, Target::Defined(1));
        shared.window.try_acquire_many(all as u32).unwrap().forget();
        let welcome = Welcome {
            frame_max: 1 << 20,
            channel_max: 8,
            route_max: 2,
            heartbeat_ms: 0,
            publish_window: 1 << 30,
            message_size_max: 1 << 20,
            properties: FieldTable::new(),
        };
        let mut ledger = shared.ledger.lock();
        ledger.restart(&welcome, &mut Effects::default());
        let target_named = Target::Inline { exchange: ShortStr::default(), routing_key: ShortStr::default() };
        assert_eq!(ledger.intern(target_named), (target.clone(), true));
        // Little enough to be taken in one go.
        let (body, cost) = (vec![0; TAKEN_AT_ONCE / 4], all / 4);
        for _ in 0..4 {
            let message = Outgoing { target: &target, mandatory: false, properties: &[], body: &body, cost };
            ledger.push(&message, None);
        }
        ledger.go_online();
        drop(ledger);
        shared
    }

    #[tokio::test]
    async fn a_write_that_fails_gives_back_what_it_held_of_the_window() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_reader, mut writer) = socket.into_split();
        writer.shutdown().await.unwrap();
        let shared = full_of_messages();
        run(shared.clone(), WriteHalf::Plain(writer), None).await.unwrap_err();
        assert_eq!(shared.window.available_permits(), shared.options.publish_buffer);
    }

    #[tokio::test]
    async fn a_write_that_is_ended_gives_back_what_it_held_of_the_window() {
        let listener = TcpSocket::new_v4().unwrap();
        listener.set_recv_buffer_size(4096).unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = listener.listen(1).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        let socket = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let (_reader, writer) = socket.into_split();
        let shared = full_of_messages();
        let writing = tokio::spawn(run(shared.clone(), WriteHalf::Plain(writer), None));
        // It is at it, and cannot go on: the peer reads no more than this.
        let mut octets = [0; 16];
        peer.read_exact(&mut octets).await.unwrap();
        turn().await;
        assert_eq!(shared.window.available_permits(), 0);
        writing.abort();
        assert!(writing.await.unwrap_err().is_cancelled());
        assert_eq!(shared.window.available_permits(), shared.options.publish_buffer);
    }
}
