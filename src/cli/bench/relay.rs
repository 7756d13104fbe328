//! The limit: the same bytes through a process that only reads and writes. No broker on this machine can pass it.
//!
//! On a rate a message's first bytes are when it was due, instead of its frame: the relay does not look at them.
//!
//! `serve` is that process: a thread for each publisher, blocking sockets, one buffer each. Each connection says in
//! its first byte which end it is. Not here: frames; consumers know how long a message is and divide.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::error::{BenchResult, Doing};
use super::plan::Plan;
use super::traffic::{self, Answers, Due, Ends};
use crate::server::unpaced;

/// Room for one read, at the relay and at consumers.
const BUFFER: usize = 256 << 10;

/// Bytes of the time when a message was due.
const STAMP: usize = size_of::<u64>();

const PUBLISHER: u8 = b'p';
const CONSUMER: u8 = b'c';

/// Connects both ends to a relay, which get the bytes of a batch again and again.
pub(super) fn connect(endpoint: &str, plan: &Plan, block: &[u8]) -> BenchResult<Ends> {
    let mut ends = Ends { publishers: Vec::new(), consumers: Vec::new(), clean_up: Box::new(|| Ok(())) };
    let share =
        Share { bytes: Arc::default(), block_len: block.len() as u64, block_messages: plan.batch.into() };
    let message_len = block.len() / plan.batch as usize;
    for _ in 0..plan.consumers {
        let stream = open(endpoint, CONSUMER)?;
        let buffer = vec![0; BUFFER].into();
        ends.consumers.push(match plan.stamps {
            true => Box::new(TimedConsumer { stream, buffer, message_len, begun: 0 }),
            false => Box::new(Consumer { stream, buffer, share: share.clone() }),
        });
    }
    for _ in 0..plan.publishers {
        let stream = open(endpoint, PUBLISHER)?;
        ends.publishers.push(Box::new(Publisher { stream, block: block.to_vec(), message_len }));
    }
    Ok(ends)
}

/// What a relay cannot show of a plan: it neither keeps messages whole, where several publishers meet, nor knows
/// where one begins.
pub(super) fn unsupported(plan: &Plan) -> Option<&'static str> {
    match plan.stamps {
        true if (plan.publishers, plan.consumers, plan.copies()) != (1, 1, 1) => {
            Some("latency between more than one publisher and one consumer")
        }
        false if plan.rate.is_some() => Some("rate unless messages are timed"),
        true if plan.size < STAMP => Some("latency of messages below 8 bytes"),
        _ => None,
    }
}

fn open(endpoint: &str, role: u8) -> BenchResult<TcpStream> {
    let mut stream = unpaced::connect(endpoint).doing(|| format!("cannot connect to {endpoint}"))?;
    stream.write_all(&[role]).doing(|| "cannot write to the relay".to_owned())?;
    Ok(stream)
}

struct Publisher {
    stream: TcpStream,
    block: Vec<u8>,
    message_len: usize,
}

impl traffic::Publisher for Publisher {
    fn publish(&mut self, count: u32, due: Option<Due<'_>>) -> BenchResult<()> {
        let bytes = match due {
            // Nobody cuts it, so what a block has besides its messages goes out, too.
            None => &self.block[..],
            Some(due) => {
                let messages = &mut self.block[..count as usize * self.message_len];
                for (number, message) in (0..).zip(messages.chunks_exact_mut(self.message_len)) {
                    message[..STAMP].copy_from_slice(&due(number).to_le_bytes());
                }
                messages
            }
        };
        self.stream.write_all(bytes).doing(|| "cannot write to the relay".to_owned())
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        self.stream.shutdown(Shutdown::Write).doing(|| "cannot end the connection".to_owned())?;
        Ok(Answers::default())
    }

    fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

/// Bytes that all consumers have received together: the relay cuts the stream anywhere, so only their sum
/// divides into messages.
#[derive(Clone)]
struct Share {
    bytes: Arc<AtomicU64>,
    block_len: u64,
    block_messages: u64,
}

impl Share {
    fn count(&self, bytes: u64) -> u64 {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages(before + bytes) - self.messages(before)
    }

    fn messages(&self, bytes: u64) -> u64 {
        bytes / self.block_len * self.block_messages
            + bytes % self.block_len * self.block_messages / self.block_len
    }
}

struct Consumer {
    stream: TcpStream,
    buffer: Box<[u8]>,
    share: Share,
}

impl traffic::Consumer for Consumer {
    fn receive(&mut self, _: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        Ok(read(&mut self.stream, &mut self.buffer)?.map(|count| self.share.count(count as u64)))
    }

    fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

/// The only consumer of the only publisher: messages are cut where they were put together.
struct TimedConsumer {
    stream: TcpStream,
    buffer: Box<[u8]>,
    message_len: usize,
    /// Bytes at the buffer's beginning, of a message that has not come as a whole.
    begun: usize,
}

impl traffic::Consumer for TimedConsumer {
    fn receive(&mut self, stamp: &mut dyn FnMut(u64)) -> BenchResult<Option<u64>> {
        let Some(count) = read(&mut self.stream, &mut self.buffer[self.begun..])? else { return Ok(None) };
        let filled = self.begun + count;
        let messages = self.buffer[..filled].chunks_exact(self.message_len);
        let whole = messages.len();
        for message in messages {
            stamp(u64::from_le_bytes(*message.first_chunk().expect("a message has room for its stamp")));
        }
        self.buffer.copy_within(whole * self.message_len..filled, 0);
        self.begun = filled - whole * self.message_len;
        Ok(Some(whole as u64))
    }

    fn socket(&self) -> &TcpStream {
        &self.stream
    }
}

/// Reads once; none: the relay has ended.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> BenchResult<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error).doing(|| "cannot read from the relay".to_owned()),
    }
}

/// The relay process: says where it listens, relays one measurement, and ends when `stdin` does. Every publisher's bytes
/// go `copies` times out, to the consumers in turn.
pub(super) fn serve(publishers: u32, consumers: u32, copies: u32) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    unpaced::begin_unpaced(&listener);
    println!("relaying on {}", listener.local_addr()?);
    thread::spawn(move || accept(&listener, publishers, consumers, copies));
    let mut nothing = [0; 64];
    while io::stdin().read(&mut nothing)? > 0 {}
    Ok(())
}

fn accept(listener: &TcpListener, publishers: u32, consumers: u32, copies: u32) -> io::Result<()> {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    while from.len() < publishers as usize || to.len() < consumers as usize {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut role = [0];
        stream.read_exact(&mut role)?;
        match role {
            [PUBLISHER] => from.push(stream),
            _ => to.push(Mutex::new(stream)),
        }
    }
    let to: Arc<[_]> = to.into();
    for (number, stream) in from.into_iter().enumerate() {
        let to = to.clone();
        let turns = match copies {
            1 => turns(number, publishers as usize, to.len()),
            _ => (0..copies as usize).map(|copy| copy % to.len()).collect(),
        };
        thread::spawn(move || relay(stream, &to, &turns, copies > 1));
    }
    // Consumers would see an end before they are asked to: their sockets stay open as long as the process.
    loop {
        thread::park();
    }
}

/// Consumers of a publisher whose bytes go out once: as few as give everyone something, so that ends do not share.
fn turns(publisher: usize, publishers: usize, consumers: usize) -> Vec<usize> {
    match consumers > publishers {
        true => (publisher..consumers).step_by(publishers).collect(),
        false => vec![publisher % consumers],
    }
}

/// Each read goes to all turns, or to the next one.
fn relay(mut from: TcpStream, to: &[Mutex<TcpStream>], turns: &[usize], to_all: bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut next = turns.iter().cycle();
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        for &turn in next.by_ref().take(if to_all { turns.len() } else { 1 }) {
            to[turn].lock().write_all(&buffer[..count])?;
        }
    }
}
