//! A publishing connection: blocks of `PUB` lines, encoded once.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::super::error::BenchResult;
use super::super::plan::{Plan, STAMP_LEN};
use super::super::topic::Keys;
use super::super::traffic::{self, Answers, Due};
use super::connection::Connection;

/// How often to listen: the server asks for life signs every two minutes, and errors should be told soon.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Publisher {
    connection: Connection,
    /// One for each subject, taken in turn.
    blocks: Vec<Block>,
    turn: usize,
    /// Where the keys stand in a message, which come in place of subjects that take turns.
    keys: Option<(usize, Keys)>,
    listened_at: Instant,
}

struct Block {
    lines: Vec<u8>,
    /// Bytes of a message.
    len: usize,
    /// Where the body stands in it.
    body_at: usize,
}

impl Block {
    fn new(plan: &Plan, subject: &str) -> Self {
        let head = format!("PUB {subject} {}\r\n", plan.size);
        let message = [head.as_bytes(), &vec![b'x'; plan.size], b"\r\n"].concat();
        Block { lines: message.repeat(plan.batch as usize), len: message.len(), body_at: head.len() }
    }
}

impl Publisher {
    pub(super) fn new(connection: Connection, plan: &Plan, subjects: &[String], number: u32) -> Self {
        let blocks: Vec<Block> = subjects.iter().map(|subject| Block::new(plan, subject)).collect();
        let turn = number as usize % blocks.len();
        Publisher { connection, blocks, turn, keys: None, listened_at: Instant::now() }
    }

    /// For subjects that begin with the prefix and end with these keys, of each message its own.
    pub(super) fn with_keys(connection: Connection, plan: &Plan, prefix: &str, keys: Keys) -> Self {
        let subject = format!("{prefix}{}", "x".repeat(keys.len()));
        let publisher = Publisher::new(connection, plan, &[subject], 0);
        Publisher { keys: Some(("PUB ".len() + prefix.len(), keys)), ..publisher }
    }
}

impl traffic::Publisher for Publisher {
    fn publish(&mut self, count: u32, due: Option<Due<'_>>) -> BenchResult<()> {
        let block = &mut self.blocks[self.turn];
        if let Some((at, keys)) = &mut self.keys {
            for message in 0..count as usize {
                let key = message * block.len + *at;
                block.lines[key..key + keys.len()].copy_from_slice(keys.next());
            }
        }
        if let Some(due) = due {
            for message in 0..count {
                let body = message as usize * block.len + block.body_at;
                block.lines[body..body + STAMP_LEN].copy_from_slice(&due(message).to_be_bytes());
            }
        }
        self.connection.write(&block.lines[..count as usize * block.len])?;
        self.turn = (self.turn + 1) % self.blocks.len();
        if self.listened_at.elapsed() > LISTEN_EVERY {
            self.listened_at = Instant::now();
            self.connection.listen()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        self.connection.flush()?;
        Ok(Answers::default())
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
