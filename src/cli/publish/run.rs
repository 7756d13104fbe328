//! Publishing in batches, with a bounded number of messages whose outcome is not known.
//!
//! Invariants: outcomes are taken in the order of publishing, so the oldest batch decides when there is room;
//! every message that was handed to the client is waited for, after Ctrl-C for [`INTERRUPT_GRACE`].

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use bytes::Bytes;
use rialto_client::{BatchConfirm, BatchOutcome, Client, Error, Message, Publisher};
use rialto_protocol::types::Properties;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::Plan;
use super::tally::Tally;
use crate::cli::lines::Chunk;
use crate::cli::output::grouped;
use crate::cli::signal::Interrupt;
use crate::cli::{ExitCode, Failure};

/// Most messages of one batch: small against the window, so that room comes back evenly.
const BATCH_MAX: usize = 4096;

/// How often progress is told on a terminal.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// How long outcomes are waited for after Ctrl-C.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All is published.
    Done,
    /// By Ctrl-C; what was handed over has its outcome, or is counted in [`Run::unconfirmed`].
    Interrupted,
}

/// One run of `rialto publish`.
pub(super) struct Run {
    publisher: Publisher,
    properties: Option<Properties>,
    window: usize,
    /// Batches without outcome, oldest first.
    waiting: VecDeque<Waiting>,
    /// Messages in `waiting`.
    pub(super) unconfirmed: usize,
    /// Messages of this run so far, so that each has a number.
    numbered: u64,
    pub(super) tally: Tally,
}

/// A batch without outcome.
struct Waiting {
    confirm: BatchConfirm,
    /// Messages of the run in front of it.
    before: u64,
    messages: usize,
}

impl Run {
    pub(super) fn new(client: &Client, plan: &Plan) -> Result<Self, Failure> {
        let publisher = client.publisher(&plan.exchange, &plan.key)?;
        Ok(Self {
            publisher: if plan.mandatory { publisher.mandatory() } else { publisher },
            properties: (plan.properties != Properties::default()).then(|| plan.properties.clone()),
            window: plan.window,
            waiting: VecDeque::new(),
            unconfirmed: 0,
            numbered: 0,
            tally: Tally::default(),
        })
    }

    /// Publishes one message and waits for its outcome.
    pub(super) async fn publish_one(&mut self, body: Bytes) -> Result<Ended, Failure> {
        self.push(vec![body]).await?;
        self.settle_all().await?;
        Ok(Ended::Done)
    }

    /// Publishes lines until they end or Ctrl-C comes, and waits for all outcomes.
    pub(super) async fn publish_lines(&mut self, chunks: mpsc::Receiver<Chunk>) -> Result<Ended, Failure> {
        let mut progress = Progress::new();
        let ended = self.publish_chunks(chunks, &mut progress).await;
        progress.clear();
        ended
    }

    async fn publish_chunks(
        &mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        progress: &mut Progress,
    ) -> Result<Ended, Failure> {
        let mut interrupt = Interrupt::listen();
        let ended = loop {
            tokio::select! {
                biased;
                () = interrupt.wait() => break Ok(Ended::Interrupted),
                () = progress.due() => progress.show(&self.tally, self.unconfirmed),
                outcome = oldest(&mut self.waiting), if !self.waiting.is_empty() => self.settle(outcome)?,
                chunk = chunks.recv(), if self.unconfirmed < self.window => match chunk {
                    // What is dropped here at a signal was read, and is not published.
                    Some(Ok(lines)) => tokio::select! {
                        biased;
                        () = interrupt.wait() => break Ok(Ended::Interrupted),
                        pushed = self.push(lines) => pushed?,
                    },
                    Some(Err(error)) => break Err(stdin_failed(&error)),
                    None => break Ok(Ended::Done),
                },
            }
        };
        match ended {
            // A broker that holds publishers back may keep outcomes for ever.
            Ok(Ended::Interrupted) => timeout(INTERRUPT_GRACE, self.settle_all()).await.unwrap_or(Ok(())),
            _ => self.settle_all().await,
        }?;
        ended
    }

    /// Hands messages to the client, waiting for outcomes where the window is full. Cancel-safe: each message
    /// is handed over and counted, or neither.
    async fn push(&mut self, mut bodies: Vec<Bytes>) -> Result<(), Failure> {
        while !bodies.is_empty() {
            let room = self.window.saturating_sub(self.unconfirmed);
            if room == 0 {
                self.settle_oldest().await?;
                continue;
            }
            let rest = bodies.split_off(bodies.len().min(room).min(BATCH_MAX));
            self.push_batch(&bodies).await?;
            bodies = rest;
        }
        Ok(())
    }

    async fn push_batch(&mut self, bodies: &[Bytes]) -> Result<(), Failure> {
        match self.publisher.publish_batch(bodies.iter().map(|body| self.message(body))).await {
            Ok(confirm) => self.wait_for(confirm, bodies.len()),
            // One of them is too large, and none is published: the others must not suffer for it.
            Err(Error::MessageTooLarge { .. }) => {
                for body in bodies {
                    match self.publisher.publish_batch([self.message(body)]).await {
                        Ok(confirm) => self.wait_for(confirm, 1),
                        Err(error @ Error::MessageTooLarge { .. }) => {
                            self.numbered += 1;
                            self.tally.refuse(self.numbered, &error);
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn message(&self, body: &Bytes) -> Message {
        let message = Message::new(body.clone());
        match &self.properties {
            Some(properties) => message.properties(properties.clone()),
            None => message,
        }
    }

    fn wait_for(&mut self, confirm: BatchConfirm, messages: usize) {
        self.waiting.push_back(Waiting { confirm, before: self.numbered, messages });
        self.unconfirmed += messages;
        self.numbered += messages as u64;
    }

    async fn settle_all(&mut self) -> Result<(), Failure> {
        while !self.waiting.is_empty() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), Failure> {
        let outcome = oldest(&mut self.waiting).await;
        self.settle(outcome)
    }

    /// Counts what became of the oldest batch.
    fn settle(&mut self, outcome: rialto_client::Result<BatchOutcome>) -> Result<(), Failure> {
        let outcome = outcome?;
        let Some(Waiting { before, messages, .. }) = self.waiting.pop_front() else { return Ok(()) };
        self.unconfirmed -= messages;
        self.tally.confirm((messages - outcome.failures.len()) as u64);
        for failure in &outcome.failures {
            self.tally.fail(before + failure.index as u64 + 1, &failure.outcome);
        }
        Ok(())
    }
}

/// The outcome of the oldest batch, which stays where it is until it is settled. Cancel-safe.
async fn oldest(waiting: &mut VecDeque<Waiting>) -> rialto_client::Result<BatchOutcome> {
    match waiting.front_mut() {
        Some(oldest) => (&mut oldest.confirm).await,
        None => std::future::pending().await,
    }
}

fn stdin_failed(error: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Failure, error)
        .at("stdin")
        .advise("what was read before has been published; go on behind it")
}

/// A line on the terminal that counts; nothing where stderr is no terminal.
struct Progress {
    every: Option<Interval>,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let every = std::io::stderr().is_terminal().then(|| {
            let mut every = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        });
        Self { every, shown: false }
    }

    /// Waits until it is time to show something. Cancel-safe.
    async fn due(&mut self) {
        match &mut self.every {
            Some(every) => drop(every.tick().await),
            None => std::future::pending().await,
        }
    }

    fn show(&mut self, tally: &Tally, unconfirmed: usize) {
        self.shown = true;
        let (done, waiting) = (grouped(tally.total()), grouped(unconfirmed as u64));
        let _ = write!(std::io::stderr(), "\r\x1b[K{done} published, {waiting} waiting for their confirm");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
