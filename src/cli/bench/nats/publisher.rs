//! A publishing connection: blocks of `PUB` lines; where a stream answers for each message, while the window allows.

use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::confirm_times::{ConfirmTimes, InOrder};
use super::super::error::{BenchError, BenchResult};
use super::super::plan::Plan;
use super::super::topic::Keys;
use super::super::traffic::{self, Answers, Due};
use super::block::Block;
use super::connection::Connection;
use super::jetstream;
use super::subject::{DIGITS, digits};
use super::walker::{Message, number};

/// How often to listen without confirms: the server asks for life signs every two minutes, and errors should be told
/// soon.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Publisher {
    connection: Connection,
    block: Block,
    /// Queues of all publishers.
    queues: u32,
    /// Those that it sends to, in turn.
    sent_to: Range<u32>,
    turn: u32,
    /// In place of queues: of each message its own.
    keys: Option<Keys>,
    confirms: Option<Confirms>,
    listened_at: Instant,
}

/// Messages that the streams have not answered for.
struct Confirms {
    max: u64,
    unconfirmed: u64,
    confirmed: u64,
    /// Of each queue. A stream answers in the order of its messages.
    waiting: Vec<InOrder>,
    times: ConfirmTimes,
    /// Answers that have come one after the other for one queue: its number, and how many.
    run: (u32, u64),
}

impl Publisher {
    /// With `answered`, the server publishes an answer for each message to that subject; it ends in a queue's number,
    /// and there must be a subscription to it.
    pub(super) fn new(
        connection: Connection,
        plan: &Plan,
        subject: &str,
        answered: Option<(&str, u32)>,
        number: u32,
    ) -> BenchResult<Self> {
        connection.takes(plan.size)?;
        let queues = if plan.fanout { 1 } else { plan.queues };
        let sent_to = plan.sent_to(number);
        let confirms = answered.map(|(_, max)| Confirms {
            max: max.into(),
            unconfirmed: 0,
            confirmed: 0,
            waiting: (0..queues).map(|_| InOrder::default()).collect(),
            times: ConfirmTimes::new(),
            run: (0, 0),
        });
        Ok(Publisher {
            connection,
            block: Block::new(plan, subject, answered.map(|(reply, _)| reply)),
            queues,
            turn: sent_to.start + number % sent_to.len() as u32,
            sent_to,
            keys: None,
            confirms,
            listened_at: Instant::now(),
        })
    }

    /// For subjects that begin with the prefix and end with these keys, of each message its own.
    pub(super) fn with_keys(
        connection: Connection,
        plan: &Plan,
        prefix: &str,
        keys: Keys,
    ) -> BenchResult<Self> {
        let subject = format!("{prefix}{}", "x".repeat(keys.len()));
        let plan = Plan { queues: 1, ..plan.clone() };
        let publisher = Publisher::new(connection, &plan, &subject, None, 0)?;
        Ok(Publisher { keys: Some(keys), ..publisher })
    }
}

impl Confirms {
    /// Reads, and takes in what has come.
    fn listen(&mut self, connection: &mut Connection) -> BenchResult<()> {
        connection.await_bytes()?;
        connection.hear(|message| self.answer(message))?;
        self.end_run()
    }

    fn answer(&mut self, message: Message<'_>) -> BenchResult<()> {
        if let Some(why) = jetstream::refusal(&message) {
            return Err(BenchError::Refused(why));
        }
        let queue = match self.waiting.len() {
            1 => 0,
            _ => {
                message.subject().last_chunk::<DIGITS>().and_then(|digits| number(digits)).unwrap_or(u32::MAX)
            }
        };
        if queue != self.run.0 {
            self.end_run()?;
            self.run.0 = queue;
        }
        self.run.1 += 1;
        Ok(())
    }

    fn end_run(&mut self) -> BenchResult<()> {
        let (queue, count) = self.run;
        self.run.1 = 0;
        let waiting = self.waiting.get_mut(queue as usize);
        let (Some(waiting), Some(unconfirmed)) = (waiting, self.unconfirmed.checked_sub(count)) else {
            return Err(BenchError::Protocol("more answers than messages".to_owned()));
        };
        waiting.answered(count, &mut self.times);
        self.unconfirmed = unconfirmed;
        self.confirmed += count;
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
        } else if self.queues > 1 {
            self.block.route(count, &digits(self.turn));
        }
        if let Some(confirms) = &mut self.confirms {
            while confirms.unconfirmed + u64::from(count) > confirms.max {
                confirms.listen(&mut self.connection)?;
            }
            confirms.unconfirmed += u64::from(count);
            confirms.waiting[self.turn as usize].published(count.into());
        }
        self.connection.write(self.block.messages(count))?;
        self.turn = match self.turn + 1 {
            end if end == self.sent_to.end => self.sent_to.start,
            next => next,
        };
        if self.confirms.is_none() && self.listened_at.elapsed() > LISTEN_EVERY {
            self.listened_at = Instant::now();
            self.connection.listen()?;
        }
        Ok(())
    }

    fn listen(&mut self) -> BenchResult<()> {
        match &mut self.confirms {
            Some(confirms) => confirms.listen(&mut self.connection),
            None => self.connection.listen(),
        }
    }

    fn finish(&mut self) -> BenchResult<Answers> {
        let Some(confirms) = &mut self.confirms else {
            self.connection.flush()?;
            return Ok(Answers::default());
        };
        while confirms.unconfirmed > 0 {
            confirms.listen(&mut self.connection)?;
        }
        Ok(Answers { confirmed: confirms.confirmed, rejected: 0 })
    }

    fn begin_window(&mut self) {
        if let Some(confirms) = &mut self.confirms {
            confirms.times.clear();
        }
    }

    fn confirm_times(&self) -> Option<&Histogram<u64>> {
        Some(self.confirms.as_ref()?.times.histogram())
    }

    fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }
}
