//! A publishing connection: sends blocks while the window of unconfirmed messages allows.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rialto_protocol::amqp::{ChannelClose, ConnectionClose, MethodId};
use rialto_protocol::types::ShortStr;

use super::super::error::{BenchError, BenchResult};
use super::super::topic::Keys;
use super::super::traffic::{self, Answers, Due};
use super::block::Block;
use super::connection::{CHANNEL, Connection, Event};
use super::unconfirmed::Unconfirmed;

/// How often to listen without confirms: errors should be told soon.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

const REPLY_SUCCESS: u16 = 200;

pub(super) struct Publisher {
    connection: Connection,
    block: Block,
    /// Taken in turn.
    routing_keys: Vec<ShortStr>,
    turn: usize,
    /// In place of routing keys that take turns: of each message its own.
    keys: Option<Keys>,
    unconfirmed: Option<Unconfirmed>,
    listened_at: Instant,
    answers: Answers,
}

impl Publisher {
    /// `first`: with which key this publisher begins its turns, so that not all begin with the same queue.
    pub(super) fn new(
        connection: Connection,
        block: Block,
        routing_keys: Vec<ShortStr>,
        first: u32,
        confirms: Option<u32>,
    ) -> Self {
        Publisher {
            connection,
            block,
            turn: first as usize % routing_keys.len(),
            routing_keys,
            keys: None,
            unconfirmed: confirms.map(|max| Unconfirmed::new(max.into())),
            listened_at: Instant::now(),
            answers: Answers::default(),
        }
    }

    /// Publishes with these keys from now on.
    pub(super) fn with_keys(self, keys: Keys) -> Self {
        Publisher { keys: Some(keys), ..self }
    }

    /// Waits until the window has room.
    fn await_room(&mut self, count: u32) -> BenchResult<()> {
        while self.unconfirmed.as_ref().is_some_and(|unconfirmed| !unconfirmed.has_room(count.into())) {
            self.read()?;
        }
        Ok(())
    }

    /// Reads, and takes in what has come.
    fn read(&mut self) -> BenchResult<()> {
        if !self.connection.read()? {
            return Err(BenchError::Ended);
        }
        self.hear_all()
    }

    fn hear_all(&mut self) -> BenchResult<()> {
        while let Some(event) = self.connection.next()? {
            self.hear(event)?;
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> BenchResult<()> {
        match (event, &mut self.unconfirmed) {
            (Event::Answered { tag, multiple, taken }, Some(unconfirmed)) => {
                let count = unconfirmed.answer(tag, multiple)?;
                match taken {
                    true => self.answers.confirmed += count,
                    false => self.answers.rejected += count,
                }
                Ok(())
            }
            (event, _) => Err(BenchError::Protocol(format!("{event:?} for a publisher"))),
        }
    }

    fn await_method(&mut self, wanted: MethodId) -> BenchResult<()> {
        loop {
            match self.connection.await_event()? {
                Event::Method(method) if method.id() == wanted => return Ok(()),
                event => self.hear(event)?,
            }
        }
    }
}

impl traffic::Publisher for Publisher {
    fn publish(&mut self, count: u32, due: Option<Due<'_>>) -> BenchResult<()> {
        if let Some(due) = due {
            for message in 0..count {
                self.block.stamp(message, due(message));
            }
        }
        if let Some(keys) = &mut self.keys {
            self.block.spell(count, keys);
        } else if self.routing_keys.len() > 1 {
            self.block.route(count, &self.routing_keys[self.turn]);
            self.turn = (self.turn + 1) % self.routing_keys.len();
        }
        self.await_room(count)?;
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.published(count);
        }
        self.connection.write(self.block.frames(count))?;
        if self.unconfirmed.is_none() && self.listened_at.elapsed() > LISTEN_EVERY {
            self.listened_at = Instant::now();
            if self.connection.read_at_once()? {
                self.hear_all()?;
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> BenchResult<()> {
        self.read()
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        while self.unconfirmed.as_ref().is_some_and(|unconfirmed| !unconfirmed.is_empty()) {
            self.read()?;
        }
        // Methods of a channel are done in order: its answer says that the broker has taken all that was sent before.
        let done = ShortStr::truncated("done");
        let close =
            ChannelClose { reply_code: REPLY_SUCCESS, reply_text: done.clone(), class_id: 0, method_id: 0 };
        self.connection.send(CHANNEL, close)?;
        self.await_method(MethodId::CHANNEL_CLOSE_OK)?;
        let close =
            ConnectionClose { reply_code: REPLY_SUCCESS, reply_text: done, class_id: 0, method_id: 0 };
        self.connection.send(0, close)?;
        self.await_method(MethodId::CONNECTION_CLOSE_OK)?;
        Ok(self.answers)
    }

    fn begin_window(&mut self) {
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.times.clear();
        }
    }

    fn confirm_times(&self) -> Option<&Histogram<u64>> {
        Some(self.unconfirmed.as_ref()?.times.histogram())
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
