//! What happened in a run, counted: to see that the choices reach every rule.

use crate::queue::Totals;

/// What happened in a run: to see that the choices reach every rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations done.
    pub operations: u64,
    /// Deliveries and answers to `get`s.
    pub delivered: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages that came back.
    pub returned: u64,
    /// Messages rejected by a consumer.
    pub rejected: u64,
    /// Messages expired.
    pub expired: u64,
    /// Messages over the maximum length.
    pub max_length: u64,
    /// Messages that were held for too long.
    pub late: u64,
    /// Duplicates dropped.
    pub duplicates: u64,
    /// Times a message was seen delayed.
    pub delayed: u64,
    /// Messages over the delivery limit.
    pub delivery_limit: u64,
    /// Publishes refused.
    pub refused: u64,
    /// Consumers seen paused, by reason: not active, prefetch, credit, outbox full, channel prefetch.
    pub paused: [u64; 5],
    /// Settlements refused.
    pub settle_errors: u64,
    /// Consumers refused.
    pub consume_errors: u64,
    /// Times the queue wanted to be deleted.
    pub deleted: u64,
    /// Messages paged out.
    pub paged: u64,
    /// Messages written to overflow files.
    pub spilled: u64,
    /// Messages loaded again.
    pub loaded: u64,
    /// Times the broker started again.
    pub restarts: u64,
    /// Messages taken out one by one.
    pub taken: u64,
    /// Messages looked at.
    pub looked_at: u64,
    /// Times the queue was paused.
    pub pauses: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.delivered += other.delivered;
        self.acked += other.acked;
        self.returned += other.returned;
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.max_length += other.max_length;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.delayed += other.delayed;
        self.delivery_limit += other.delivery_limit;
        self.refused += other.refused;
        self.paused.iter_mut().zip(other.paused).for_each(|(sum, count)| *sum += count);
        self.settle_errors += other.settle_errors;
        self.consume_errors += other.consume_errors;
        self.deleted += other.deleted;
        self.paged += other.paged;
        self.spilled += other.spilled;
        self.loaded += other.loaded;
        self.restarts += other.restarts;
        self.taken += other.taken;
        self.looked_at += other.looked_at;
        self.pauses += other.pauses;
    }

    /// Adds what a queue has counted itself.
    pub(super) fn count(&mut self, totals: &Totals) {
        self.delivered += totals.delivered + totals.got;
        self.acked += totals.acked;
        self.returned += totals.returned;
        self.rejected += totals.rejected;
        self.expired += totals.expired;
        self.max_length += totals.max_length;
        self.late += totals.late;
        self.duplicates += totals.duplicates;
        self.delivery_limit += totals.delivery_limit;
        self.refused += totals.refused;
        self.taken += totals.taken;
    }
}
