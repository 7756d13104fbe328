//! Everything that can be seen of both, while they live and when they end.

use crate::model::{ConsumerId, Timestamp};
use crate::queue::{MESSAGE_OVERHEAD, Readiness};

use super::super::choices::Choices;
use super::super::naive::{NaiveConsumer, Told};
use super::super::stored::lsns;
use super::super::tally::Tally;
use super::{GETTERS, Pair, same};

impl Pair {
    /// Compares everything that can be seen.
    pub(crate) fn compare(&mut self) -> Result<(), String> {
        self.machine.check_invariants();
        self.out.returned.iter().try_for_each(|returned| self.stored.returned(*returned))?;
        self.out.settled.iter().try_for_each(|run| self.stored.settled(*run))?;
        self.out.released.drain(..).try_for_each(|run| self.stored.released(run))?;
        self.out.dead.iter().for_each(|dead| self.stored.died(dead.lsn.0));
        let dead = self.out.dead.drain(..);
        let mut told = Told {
            dead: dead.map(|d| (d.lsn.0, d.reason, d.text, d.delivery_count)).collect(),
            settled: self.out.settled.drain(..).flat_map(lsns).collect(),
            returned: self.out.returned.drain(..).map(|r| (r.lsn.0, r.delivery_count, r.returns)).collect(),
            late: self.out.late.drain(..).map(|(id, count)| (id.0, count)).collect(),
            deleted: self.out.deleted.take(),
        };
        told.returned.sort_unstable();
        self.tally.deleted += u64::from(told.deleted.is_some());
        let mut naive = std::mem::take(&mut self.naive.told);
        naive.returned.sort_unstable();
        same("effects", told, naive)?;

        let stats = self.machine.stats();
        let naive = &self.naive;
        same("ready", stats.ready, naive.ready.len() as u64)?;
        same("delayed", stats.delayed, naive.delayed.len() as u64)?;
        self.tally.delayed += stats.delayed;
        let body_bytes = naive.ready.iter().map(|message| message.body_len).sum();
        same("ready body bytes", stats.ready_body_bytes, body_bytes)?;
        let delayed = naive.delayed.iter().map(|message| message.body_len).sum();
        same("delayed body bytes", stats.delayed_body_bytes, delayed)?;
        same("unacked", stats.unacked, naive.held().count() as u64)?;
        let memory = naive.waiting().chain(naive.held()).map(|m| m.len + MESSAGE_OVERHEAD).sum();
        if stats.paged == 0 {
            same("memory", self.machine.memory_bytes(), memory)?;
        }
        let enqueued = naive.head().map(|head| Timestamp::from_micros(head.enqueued));
        same("head's age", stats.head_enqueued, enqueued)?;
        for (channel, window) in self.windows.iter().enumerate() {
            same("channel window", window.taken(), naive.channels[channel].0)?;
        }

        let mut consumers: Vec<_> =
            self.machine.consumers().map(|c| (c.id.0, c.unacked, c.readiness)).collect();
        consumers.sort_by_key(|consumer| consumer.0);
        let readiness = |c: &NaiveConsumer| c.paused.map_or(Readiness::Ready, Readiness::Paused);
        let twins: Vec<_> = naive.consuming().map(|c| (c.id, c.held.len() as u64, readiness(c))).collect();
        for (_, _, readiness) in &consumers {
            if let Readiness::Paused(reason) = readiness {
                self.tally.paused[*reason as usize] += 1;
            }
        }
        same("consumers", consumers, twins)?;

        match (self.machine.next_deadline(), naive.deadline().map(Timestamp::from_micros)) {
            (None, Some(exact)) => Err(format!("no deadline, but something is due at {exact:?}")),
            (Some(at), Some(exact)) if at > exact => Err(format!("deadline {at:?} is later than {exact:?}")),
            _ => Ok(()),
        }
    }

    /// Takes what is left, message by message, and ends the queue.
    pub(crate) fn finish(mut self, choices: &mut impl Choices) -> Result<Tally, String> {
        self.machine.set_paused(false);
        self.naive.paused = false;
        self.dispatch(choices)?;
        self.compare()?;
        while self.machine.ready_len() > 0 {
            self.load_for_get(choices)?;
            let got = self.machine.get(ConsumerId(GETTERS[0]), true, self.now, &mut self.out);
            let naive = self.naive.get(GETTERS[0], true, self.now.as_micros());
            let got = got.map(|got| (got.delivery.lsn.0, got.remaining));
            same("the rest", got, naive.map(|(given, remaining)| (given.0, remaining)))?;
        }
        self.compare()?;
        self.tally.count(&self.machine.stats().totals);
        if self.spilling.is_some() {
            self.spill(choices);
        }

        let closed = self.machine.close(&mut self.out);
        let mut consuming: Vec<_> = self.naive.consuming().map(|c| ConsumerId(c.id)).collect();
        consuming.sort_unstable();
        self.out.cancelled.sort_unstable();
        same("consumers at the end", closed.consumers, consuming.len() as u64)?;
        same("cancelled", &self.out.cancelled, &consuming)?;
        self.out.settled.iter().try_for_each(|run| self.stored.settled(*run))?;
        self.out.released.iter().try_for_each(|run| self.stored.released(*run))?;
        self.stored.check_empty()?;
        same("memory of a closed queue", self.machine.memory_bytes(), 0)?;
        for window in &self.windows {
            same("places taken in a channel's window at the end", window.taken(), 0)?;
        }
        same("bytes of messages at the end", self.gauge.bytes(), 0)?;
        Ok(self.tally)
    }
}
