//! A publishing connection: sends blocks while credit and the window of unconfirmed messages allow.

use std::net::TcpStream;

use hdrhistogram::Histogram;
use rialto_protocol::native::{Closing, Command};
use rialto_protocol::types::ShortStr;

use super::super::confirm_times::{ConfirmTimes, InOrder};
use super::super::error::{BenchError, BenchResult};
use super::super::topic::Keys;
use super::super::traffic::{self, Answers, Due};
use super::block::Block;
use super::connection::{Connection, Event};

pub(super) struct Publisher {
    connection: Connection,
    block: Block,
    /// Routes 1 to this, taken in turn.
    routes: u32,
    route: u32,
    /// In place of routes: of each message its own.
    keys: Option<Keys>,
    /// The sequence number of the next message.
    next: u64,
    /// Unconfirmed messages, and how many there may be.
    window: Option<(u64, u64)>,
    answers: Answers,
    waiting: InOrder,
    times: ConfirmTimes,
}

impl Publisher {
    /// `first_route`: where this publisher begins its turns, so that not all begin with the same queue.
    pub(super) fn new(
        connection: Connection,
        block: Block,
        routes: u32,
        first_route: u32,
        confirms: Option<u32>,
    ) -> Self {
        Publisher {
            connection,
            block,
            routes,
            route: first_route,
            keys: None,
            next: 1,
            window: confirms.map(|max| (0, max.into())),
            answers: Answers::default(),
            waiting: InOrder::default(),
            times: ConfirmTimes::new(),
        }
    }

    /// Publishes with these keys from now on.
    pub(super) fn with_keys(self, keys: Keys) -> Self {
        Publisher { keys: Some(keys), ..self }
    }

    fn may_send(&self, count: u64) -> bool {
        self.connection.has_credit()
            && self.window.is_none_or(|(unconfirmed, max)| unconfirmed + count <= max)
    }

    /// Takes in what has been read, or reads.
    fn read(&mut self) -> BenchResult<()> {
        if !self.connection.read()? {
            return Err(BenchError::Ended);
        }
        while let Some(event) = self.connection.next()? {
            self.hear(event)?;
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> BenchResult<()> {
        let Event::Answered { confirmed, rejected } = event else {
            return Err(BenchError::Protocol(format!("{event:?} for a publisher")));
        };
        self.answers.confirmed += confirmed;
        self.answers.rejected += rejected;
        if let Some((unconfirmed, _)) = &mut self.window {
            self.waiting.answered(confirmed + rejected, &mut self.times);
            *unconfirmed = unconfirmed
                .checked_sub(confirmed + rejected)
                .ok_or_else(|| BenchError::Protocol("more outcomes than messages".to_owned()))?;
        }
        Ok(())
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
        }
        while !self.may_send(count.into()) {
            self.read()?;
        }
        if let Some((unconfirmed, _)) = &mut self.window {
            self.waiting.published(count.into());
            *unconfirmed += u64::from(count);
        }
        self.connection.publish(self.block.frame(count, self.next, self.route))?;
        self.next += u64::from(count);
        self.route = self.route % self.routes + 1;
        Ok(())
    }

    fn listen(&mut self) -> BenchResult<()> {
        self.read()
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        while self.window.is_some_and(|(unconfirmed, _)| unconfirmed > 0) {
            self.read()?;
        }
        // Its answer says that the broker has taken all that was sent before.
        let closing = Closing { code: 200, text: ShortStr::truncated("done"), kind: 0, correlation: 0 };
        self.connection.send(&Command::Close(closing))?;
        loop {
            match self.connection.await_event()? {
                Event::Closed => return Ok(self.answers),
                event => self.hear(event)?,
            }
        }
    }

    fn begin_window(&mut self) {
        self.times.clear();
    }

    fn confirm_times(&self) -> Option<&Histogram<u64>> {
        Some(self.times.histogram())
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
