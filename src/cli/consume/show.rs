//! Receives, prints, settles.
//!
//! Invariants: a message is acknowledged after its line was handed to the system, never before; nothing is
//! asked of the broker beyond the count; what is not acknowledged goes back to its place.

use std::io::Write;

use rialto_client::{Consumer, Delivery, Error};

use super::{BATCH_MAX, Plan};
use crate::cli::Failure;
use crate::cli::output::{Written, written};
use crate::cli::signal::Interrupt;

/// One run of `rialto consume`.
pub(super) struct Show {
    plan: Plan,
    /// Messages still wanted; none: without end.
    remaining: Option<u64>,
    /// Printed, and not acknowledged.
    held: Vec<Delivery>,
    /// Lines on their way out; kept for its memory.
    lines: Vec<u8>,
}

impl Show {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan, remaining: plan.count, held: Vec::new(), lines: Vec::new() }
    }

    /// Runs until the count is reached, nobody reads any more, or a signal comes. Returns how many of the
    /// messages asked for are missing because of a signal.
    pub(super) async fn run(
        mut self,
        mut consumer: Consumer,
        mut interrupt: Interrupt,
    ) -> Result<u64, Failure> {
        let ended = self.receive(&mut consumer, &mut interrupt).await;
        // First no more deliveries, then the acks that would have asked for them.
        let cancelled = consumer.cancel().await;
        if self.plan.ack {
            self.ack_held()?;
        }
        let missing = ended?;
        cancelled?;
        Ok(missing)
    }

    async fn receive(&mut self, consumer: &mut Consumer, interrupt: &mut Interrupt) -> Result<u64, Failure> {
        let mut batch = Vec::new();
        while self.remaining != Some(0) {
            let max = self.remaining.map_or(BATCH_MAX, |left| left.min(BATCH_MAX as u64) as usize);
            let received = tokio::select! {
                biased;
                () = interrupt.wait() => return Ok(self.remaining.unwrap_or(0)),
                received = consumer.recv_many(&mut batch, max) => received?,
            };
            if received == 0 {
                return Err(Error::Closed { why: None }.into());
            }
            if self.print(&batch)? == Written::PipeClosed {
                // How much of the batch was read is not known; it goes back, and somebody may see it twice.
                return Ok(0);
            }
            self.held.append(&mut batch);
            self.remaining = self.remaining.map(|left| left - received as u64);
            if self.plan.ack && self.may_ack_now() {
                self.ack_held()?;
            }
        }
        Ok(0)
    }

    /// Each ack makes the broker send another message. Near the end that would be one too many: it would come
    /// back marked as redelivered, which counts against its delivery limit.
    fn may_ack_now(&self) -> bool {
        self.remaining.is_none_or(|left| left >= u64::from(self.plan.prefetch))
    }

    fn ack_held(&mut self) -> Result<(), Failure> {
        for delivery in self.held.drain(..) {
            match delivery.ack() {
                // The connection was lost in between: it comes again, and is printed again.
                Ok(()) | Err(Error::StaleDelivery) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn print(&mut self, batch: &[Delivery]) -> Result<Written, Failure> {
        self.lines.clear();
        for delivery in batch {
            self.plan.format.append(delivery.message(), &mut self.lines)?;
        }
        let mut out = std::io::stdout().lock();
        Ok(written(out.write_all(&self.lines).and_then(|()| out.flush()))?)
    }
}
