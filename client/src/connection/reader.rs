//! The task that reads: every frame is given to the machine it is for. It never waits for the user: what a
//! slow consumer leaves lying is bounded by its credit.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rialto_protocol::ReplyCode;
use rialto_protocol::native::{Closing, Command, OutcomeRange, Response, Returned, decode_frame};
use rialto_protocol::types::ShortStr;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Shared;
use super::control::{Answer, Asked, Pending, tell};
use super::ledger::{Effects, returned_message};
use super::restore::open_for_publishing;
use super::transport::ReadHalf;
use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::events::Event;

/// Room kept for one read.
const READ_ROOM: usize = 64 * 1024;

/// Ticks of half a heartbeat without a byte after which the peer is gone: two whole intervals.
const SILENT_TICKS: u32 = 4;

/// Where and how much to read.
pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) socket: ReadHalf,
    pub(crate) buf: BytesMut,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat: Option<Duration>,
    /// What is wrong with the frame that could not be read.
    pub(crate) unreadable: Option<Closing>,
}

impl Reader {
    /// Reads until the connection ends. `Ok`: the broker has answered our `Close`.
    pub(crate) async fn run(mut self) -> Result<()> {
        let end = self.read().await;
        if let Err(Error::Protocol { problem }) = &end {
            // Told before we leave, for whoever reads the broker's log. A frame that could not be read at all
            // has its own words.
            let closing = self.unreadable.take().unwrap_or_else(|| Closing {
                code: ReplyCode::UnexpectedFrame.number(),
                text: ShortStr::truncated(problem),
                kind: 0,
                correlation: 0,
            });
            let wake = self.shared.control.lock().say_last(&Command::Close(closing));
            self.shared.wake_writer(wake);
        }
        end
    }

    async fn read(&mut self) -> Result<()> {
        // Without heartbeats the ticker only ticks.
        let half = self.heartbeat.map_or(Duration::from_secs(3600), |interval| interval / 2);
        let mut ticker = interval_at(Instant::now() + half, half);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            while let Some(frame) = self.next_frame()? {
                if self.handle(frame.0, frame.1)? {
                    return Ok(());
                }
            }
            if self.buf.capacity() - self.buf.len() < READ_ROOM / 4 {
                self.buf.reserve(READ_ROOM);
            }
            tokio::select! {
                biased;
                read = self.socket.read_buf(&mut self.buf) => match read {
                    Ok(0) => return Err(Error::ConnectionLost { reason: "the broker hung up".into() }),
                    Ok(_) => silent = 0,
                    Err(error) => return Err(Error::ConnectionLost { reason: format!("reading failed: {error}") }),
                },
                _ = ticker.tick() => {
                    silent += 1;
                    if self.heartbeat.is_some() && silent >= SILENT_TICKS {
                        return Err(Error::HeartbeatMissed { silence: half * silent });
                    }
                }
            }
        }
    }

    /// The next whole frame.
    fn next_frame(&mut self) -> Result<Option<(u16, Command)>> {
        loop {
            let error = match decode_frame(&mut self.buf, self.frame_max) {
                Ok(None) => return Ok(None),
                Ok(Some(raw)) => {
                    let channel = raw.channel;
                    match raw.command() {
                        Ok(Some(command)) => return Ok(Some((channel, command))),
                        // An optional frame of a later version.
                        Ok(None) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.unreadable = Some(error.closing());
            return Err(Error::Protocol { problem: error.to_string() });
        }
    }

    /// True: the connection is closed, as we wished.
    fn handle(&mut self, channel: u16, command: Command) -> Result<bool> {
        let shared = &self.shared;
        match command {
            Command::Deliver(deliver) => match shared.consumer(deliver.consumer) {
                // One message more than the credit, and as much again after a reconnect with a debt.
                Some(core) => core.deliver(&deliver, 2 * u64::from(self.frame_max))?,
                None => {
                    let problem = format!("messages for the unknown consumer {}", deliver.consumer);
                    return Err(Error::Protocol { problem });
                }
            },
            Command::Outcomes(ranges) => self.outcomes(channel, &ranges)?,
            Command::Returned(returned) => self.returned(channel, &returned)?,
            Command::PublishCredit(bytes) => {
                let wake = shared.ledger.lock().add_credit(bytes);
                shared.wake_writer(wake);
            }
            Command::Response { correlation, response } => {
                let pending = shared.control.lock().answered(correlation)?;
                self.response(pending, response)?;
            }
            Command::Failure { correlation, code, text } => {
                let pending = shared.control.lock().answered(correlation)?;
                self.failure(pending, code, text)?;
            }
            Command::ConsumerCancelled { consumer, reason } => {
                if let Some(core) = shared.remove_consumer(consumer) {
                    let queue = core.options.queue.clone();
                    core.end(Some(Error::ConsumerCancelled { queue, reason }));
                }
            }
            Command::ChannelClosed(closing) => self.channel_closed(channel, closing)?,
            Command::Blocked(reason) => shared.announcer.tell(Event::Blocked { reason }),
            Command::Unblocked => shared.announcer.tell(Event::Unblocked),
            Command::Heartbeat => {}
            Command::CloseOk => return Ok(true),
            Command::Close(closing) => {
                let wake = shared.control.lock().say_last(&Command::CloseOk);
                shared.wake_writer(wake);
                return Err(Error::ClosedByBroker { code: closing.code, text: closing.text });
            }
            other => {
                let problem = format!("{} is not for clients", other.kind().name());
                return Err(Error::Protocol { problem });
            }
        }
        Ok(false)
    }

    fn outcomes(&self, channel: u16, ranges: &[OutcomeRange]) -> Result<()> {
        let mut effects = Effects::default();
        let result = {
            let mut ledger = self.shared.ledger.lock();
            ranges.iter().try_for_each(|range| ledger.outcomes(channel, range, &mut effects))
        };
        self.shared.apply(effects);
        result
    }

    fn returned(&self, channel: u16, returned: &Returned) -> Result<()> {
        let message = returned_message(returned)?;
        let unclaimed = self.shared.ledger.lock().returned(channel, returned.sequence, message);
        if let Some(message) = unclaimed {
            // An error only says that nobody listens.
            let _ = self.shared.returns.send(message);
        }
        Ok(())
    }

    fn response(&self, mut pending: Pending, response: Response) -> Result<()> {
        match (&pending.asked, response) {
            (Asked::OpenChannel, _) => {
                // One of the publishing channels, which took over, may have been waited for.
                let wake = self.shared.ledger.lock().lane_opened(pending.channel);
                self.shared.wake_writer(wake);
            }
            (Asked::Consume(core, _), Response::Consuming { .. }) => core.started(),
            (Asked::Consume(..), other) => return Err(super::unexpected(&other)),
            (Asked::Cancel(core), response) => {
                self.shared.remove_consumer(core.id);
                core.end(None);
                tell(&mut pending.answer, Ok(Answer::Response(response)));
            }
            (Asked::Request(_), Response::Got { tag, run, .. }) => {
                let auto_ack = matches!(
                    pending.asked,
                    Asked::Request(rialto_protocol::native::Request::Get { auto_ack: true, .. })
                );
                let delivery = Delivery::got(self.shared.getter(), tag, &run, auto_ack)?;
                tell(&mut pending.answer, Ok(Answer::Got(delivery)));
            }
            (Asked::Request(request), response) => {
                self.shared.control.lock().carried_out(&pending, request, &response);
                tell(&mut pending.answer, Ok(Answer::Response(response)));
            }
        }
        Ok(())
    }

    fn failure(&self, mut pending: Pending, code: u16, text: ShortStr) -> Result<()> {
        let error = Error::Refused { what: pending.asked.to_string(), code, text };
        match &pending.asked {
            Asked::Consume(core, _) => {
                self.shared.remove_consumer(core.id);
                if !core.is_starting() {
                    let what = pending.asked.to_string();
                    self.shared.announcer.tell(Event::RestoreFailed { what, error: error.clone() });
                }
                core.end(Some(error.clone()));
            }
            Asked::Cancel(core) => {
                self.shared.remove_consumer(core.id);
                core.end(None);
            }
            // Nothing works without its channel.
            Asked::OpenChannel => return Err(error),
            Asked::Request(_) => {}
        }
        tell(&mut pending.answer, Err(error));
        Ok(())
    }

    /// A publishing channel is replaced by another. The others only close by a mistake in this client, and a
    /// new connection restores everything.
    fn channel_closed(&self, channel: u16, closing: Closing) -> Result<()> {
        let error = Error::ChannelClosed { code: closing.code, text: closing.text };
        let mut effects = Effects::default();
        let wake = {
            let mut ledger = self.shared.ledger.lock();
            let Some(next) = ledger.channel_closed(channel, &error, &mut effects) else { return Err(error) };
            let mut control = self.shared.control.lock();
            open_for_publishing(next, &ledger, &mut control)?
        };
        self.shared.announcer.tell(Event::PublishRefused { error });
        self.shared.apply(effects);
        self.shared.wake_writer(wake);
        Ok(())
    }
}
