//! A consumer: a stream of deliveries that ends when it is dropped.
//!
//! Invariants: what waits in the client is bounded in messages and bytes by credit, so a slow consumer holds
//! up neither the connection nor other consumers; deliveries that nobody took go back when the consumer is
//! dropped; after a reconnect the stream simply goes on.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use rialto_protocol::types::{FieldValue, ShortStr};

use crate::client::Handle;
use crate::connection::CONSUME_CHANNEL;
use crate::connection::consumer_core::{Arrived, BufferedRun, ConsumeOptions, ConsumerCore};
use crate::connection::control::{Asked, Asker};
use crate::connection::limits::check_arguments;
use crate::delivery::{DeliveredMessage, Delivery};
use crate::error::{Error, Result, short};

/// Unsettled messages that a consumer may hold unless it says otherwise: enough to hide the network, few
/// enough to share a queue with others.
pub const DEFAULT_PREFETCH: u32 = 256;

/// Messages that wait in the client for an auto-ack consumer, unless it says otherwise.
pub const DEFAULT_BUFFER_MESSAGES: u32 = 4096;

/// Bytes of messages that wait in the client for one consumer, unless it says otherwise.
pub const DEFAULT_BUFFER_BYTES: u32 = 8 * 1024 * 1024;

/// Starts a consumer. See [`Client::consume`](crate::Client::consume).
#[derive(Clone, Debug)]
#[must_use = "nothing is consumed until start().await"]
pub struct ConsumeBuilder {
    handle: Arc<Handle>,
    options: ConsumeOptions,
    buffer_messages: Option<u32>,
    problem: Option<Error>,
}

impl ConsumeBuilder {
    pub(crate) fn new(handle: Arc<Handle>, queue: &str) -> Self {
        let mut builder = ConsumeBuilder {
            handle,
            options: ConsumeOptions {
                prefetch: DEFAULT_PREFETCH,
                window_bytes: DEFAULT_BUFFER_BYTES,
                ..ConsumeOptions::default()
            },
            buffer_messages: None,
            problem: None,
        };
        builder.options.queue = builder.name("queue name", queue);
        builder
    }

    fn name(&mut self, what: &'static str, text: &str) -> ShortStr {
        short(what, text).unwrap_or_else(|problem| {
            self.problem.get_or_insert(problem);
            ShortStr::default()
        })
    }

    /// Most messages that are delivered and not settled; 0: no limit. Default [`DEFAULT_PREFETCH`]. Means
    /// nothing with [`auto_ack`](Self::auto_ack).
    pub fn prefetch(mut self, messages: u32) -> Self {
        self.options.prefetch = messages;
        self
    }

    /// Consumers with a higher priority are served first. Default 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.arguments = std::mem::take(&mut self.options.arguments).with("x-priority", priority);
        self
    }

    /// The only consumer of its queue: refused if there is another, and others are refused later.
    pub fn exclusive(mut self) -> Self {
        self.options.exclusive = true;
        self
    }

    /// Messages are settled as soon as they are sent: fast, and lost if this process dies with them.
    pub fn auto_ack(mut self) -> Self {
        self.options.auto_ack = true;
        self
    }

    /// The consumer's name in the broker's lists; made by the broker if it is not given.
    pub fn tag(mut self, tag: &str) -> Self {
        self.options.tag = self.name("consumer tag", tag);
        self
    }

    /// Any other argument.
    pub fn argument(mut self, name: &str, value: impl Into<FieldValue>) -> Self {
        let name = self.name("argument name", name);
        self.options.arguments.insert(name, value);
        self
    }

    /// Most messages that wait in the client (auto-ack, or without a prefetch limit).
    /// Default [`DEFAULT_BUFFER_MESSAGES`]; at least 1.
    pub fn buffer_messages(mut self, messages: u32) -> Self {
        self.buffer_messages = Some(messages.max(1));
        self
    }

    /// Bytes of messages that may wait in the client; one message more than this may be held.
    /// Default [`DEFAULT_BUFFER_BYTES`]; at least 1.
    pub fn buffer_bytes(mut self, bytes: u32) -> Self {
        self.options.window_bytes = bytes.max(1);
        self
    }

    /// Starts the consumer. Cancel-safe: dropped half-way, the consumer is cancelled.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such queue, or another consumer is in the way; [`Error::Unsendable`] for
    /// arguments beyond the protocol's limits; [`Error::Timeout`].
    pub async fn start(self) -> Result<Consumer> {
        let ConsumeBuilder { handle, mut options, buffer_messages, problem } = self;
        if let Some(problem) = problem {
            return Err(problem);
        }
        // Later it would be too late: consumers are asked for again on every new connection.
        check_arguments(&options.arguments, || format!("consume from queue {:?}", options.queue))?;
        options.window_messages = match buffer_messages {
            Some(messages) => messages,
            // The prefetch binds; credit only has to be large enough to never be in its way.
            None => DEFAULT_BUFFER_MESSAGES.max(options.prefetch.saturating_mul(2)),
        };
        let queue = options.queue.clone();
        let shared = handle.shared.clone();
        let core = shared.add_consumer(options)?;
        let started = core.on_start();
        // From here on, dropping this value cancels the consumer.
        let consumer = Consumer {
            handle,
            core,
            current: VecDeque::new(),
            epoch: shared.epoch(),
            taken_messages: 0,
            taken_bytes: 0,
            left: false,
        };
        let online = shared.control.lock().is_online();
        if online {
            // Otherwise it is started with all others when the connection is restored. A connection that
            // breaks in between does the same.
            let _ = consumer.core.start();
        }
        let after = shared.options.request_timeout;
        match tokio::time::timeout(after, started).await {
            Ok(Ok(result)) => result.map(|()| consumer),
            Ok(Err(_)) => Err(Error::Closed { why: None }),
            Err(_) => Err(Error::Timeout { what: format!("consume from queue {queue:?}"), after }),
        }
    }
}

/// Deliveries of one queue, as a [`Stream`] and through [`next`](Consumer::next),
/// [`recv_many`](Consumer::recv_many). Dropping it cancels the consumer; deliveries in hand can still be
/// settled.
///
/// The stream yields an error once when the consumer ends (its queue was deleted, the client was closed), and
/// then nothing more. Reconnects do not end it.
pub struct Consumer {
    handle: Arc<Handle>,
    core: Arc<ConsumerCore>,
    /// Taken from the inbox in one go.
    current: VecDeque<BufferedRun>,
    /// The connection that `current` is from.
    epoch: u64,
    /// Handed out and not yet given back as credit.
    taken_messages: u32,
    taken_bytes: u32,
    /// Cancelled already.
    left: bool,
}

impl Consumer {
    /// The next delivery; `None` when the consumer has ended. Cancel-safe: a call that is dropped has taken
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    /// Waits for at least one delivery and takes up to `max` that are there, without waiting for more.
    /// Returns how many were added; 0 when the consumer has ended (or `max` is 0). Cancel-safe.
    ///
    /// # Errors
    /// What ended the consumer, once.
    pub async fn recv_many(&mut self, into: &mut Vec<Delivery>, max: usize) -> Result<usize> {
        if max == 0 {
            return Ok(0);
        }
        let Some(first) = self.next().await else { return Ok(0) };
        into.push(first?);
        let mut count = 1;
        while count < max {
            match self.take_current() {
                Some(Ok(delivery)) => into.push(delivery),
                Some(Err(error)) => return Err(error),
                None => break,
            }
            count += 1;
        }
        Ok(count)
    }

    /// The queue, by the name it was asked for with.
    pub fn queue(&self) -> &str {
        &self.core.options.queue
    }

    /// Ends the consumer and waits until the broker has: nothing is delivered any more, and what nobody took
    /// is back in its queue. Deliveries in hand can still be settled.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Closed`]. The consumer has ended all the same.
    pub async fn cancel(mut self) -> Result<()> {
        let Some(answers) = self.leave() else { return Ok(()) };
        let what = format!("cancel the consumer of queue {:?}", self.core.options.queue);
        match self.handle.shared.await_answer(what, answers).await {
            // Without its connection there is no consumer either.
            Ok(_) | Err(Error::Refused { .. } | Error::ConnectionLost { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn leave(&mut self) -> Option<crate::connection::control::Answers> {
        if std::mem::replace(&mut self.left, true) {
            return None;
        }
        let running = self.core.leave(self.current.drain(..));
        if !running {
            return None;
        }
        let shared = &self.handle.shared;
        let answers = shared.ask(CONSUME_CHANNEL, Asked::Cancel(self.core.clone()), Asker::Session);
        if answers.is_err() {
            // No connection: there is nothing to cancel, and it will not be started again.
            shared.remove_consumer(self.core.id);
            self.core.end(None);
        }
        answers.ok()
    }

    fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        loop {
            if let Some(delivery) = self.take_current() {
                return Poll::Ready(Some(delivery));
            }
            match self.core.take(cx.waker()) {
                Arrived::Runs(runs) => self.current = runs,
                Arrived::Nothing => return Poll::Pending,
                Arrived::End(Some(error)) => return Poll::Ready(Some(Err(error))),
                Arrived::End(None) => return Poll::Ready(None),
            }
        }
    }

    /// The next delivery of those at hand.
    fn take_current(&mut self) -> Option<Result<Delivery>> {
        let auto_ack = self.core.options.auto_ack;
        loop {
            let run = self.current.front_mut()?;
            if !auto_ack && run.epoch != self.core.shared.epoch() {
                // From a lost connection: the broker delivers them again.
                self.current.pop_front();
                continue;
            }
            if self.epoch != run.epoch {
                self.epoch = run.epoch;
                if !auto_ack {
                    (self.taken_messages, self.taken_bytes) = (0, 0);
                }
            }
            let before = run.entries.len();
            let message = DeliveredMessage::cut(&run.exchange, &run.routing_key, &mut run.entries);
            let tag = run.next_tag;
            run.next_tag += 1;
            run.left -= 1;
            self.taken_messages += 1;
            self.taken_bytes = self.taken_bytes.saturating_add((before - run.entries.len()) as u32);
            if run.left == 0 || message.is_err() {
                self.current.pop_front();
            }
            self.give_back(self.is_thirsty());
            let delivery = message.map(|message| Delivery::new(&self.core, self.epoch, tag, message));
            return Some(delivery);
        }
    }

    /// Whether half of a window has been taken.
    fn is_thirsty(&self) -> bool {
        let options = &self.core.options;
        self.taken_messages >= options.window_messages.div_ceil(2)
            || self.taken_bytes >= options.window_bytes.div_ceil(2)
    }

    fn give_back(&mut self, thirsty: bool) {
        if thirsty {
            self.core.give_back(self.epoch, self.taken_messages, self.taken_bytes);
            (self.taken_messages, self.taken_bytes) = (0, 0);
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_delivery(cx)))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("queue", &self.core.options.queue).finish_non_exhaustive()
    }
}
