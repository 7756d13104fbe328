//! Figures that RabbitMQ has not: how long messages wait and are held, how they die, how the journal does.

use super::exposition::{Exposition, Kind, Metric};
use crate::admin::AdminState;
use crate::broker::{Counts, Distribution, Purpose};
use crate::queue::durations::bucket_bound;
use crate::store::journal::SYNC_BOUNDS_MICROS;

/// Buckets that are told: from a 16th of a millisecond to some three days, a factor of four between them.
const BUCKETS_TOLD: std::ops::RangeInclusive<usize> = 6..=38;

pub(super) fn render(state: &AdminState, counts: &Counts, text: &mut Exposition) {
    let (broker, totals) = (&state.broker, &counts.totals);
    let now = broker.now();
    let vhosts = broker.vhosts();
    // What waits in a delayed exchange is as old as it was told to be.
    let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
    let queues = queues.filter(|queue| queue.purpose() == Purpose::Ordinary);
    let oldest = queues.filter_map(|queue| queue.figures().head_enqueued).min();
    let age = oldest.map_or(0.0, |since| now.since(since).as_secs_f64());
    text.own_gauge("oldest_message_age_seconds", "Age of the oldest message at the head of any queue", age);

    let counters = broker.counters();
    let help = "Time that messages waited in their queues until they were delivered first";
    times(
        &counters.time_in_queue(),
        &mut text.begin("rialto_message_wait_seconds".to_owned(), Kind::Histogram, help),
    );
    let help = "Time from a delivery to its acknowledgement";
    times(
        &counters.time_to_ack(),
        &mut text.begin("rialto_message_ack_seconds".to_owned(), Kind::Histogram, help),
    );

    let help =
        "Messages that died in their queues, by reason, and whether they went to a dead-letter exchange";
    let mut died = text.begin("rialto_messages_died_total".to_owned(), Kind::Counter, help);
    let wanted = &totals.dead_lettered;
    for (reason, all, dead_lettered) in [
        ("expired", totals.expired, wanted.expired),
        ("rejected", totals.rejected, wanted.rejected),
        ("maxlen", totals.max_length, wanted.max_length),
        ("delivery_limit", totals.delivery_limit, wanted.delivery_limit),
    ] {
        died.line(&[("reason", reason), ("fate", "dead_lettered")], dead_lettered);
        died.line(&[("reason", reason), ("fate", "dropped")], all.saturating_sub(dead_lettered));
    }

    let own = [
        (
            "messages_requeued_total",
            "Messages that came back to their queues, whatever the reason",
            totals.returned,
        ),
        (
            "messages_late_total",
            "Messages taken back from consumers that held them longer than x-consumer-timeout",
            totals.late,
        ),
        ("messages_refused_total", "Messages that queues refused because they were full", totals.refused),
        (
            "messages_duplicate_total",
            "Messages that queues dropped because they had one with the same key lately",
            totals.duplicates,
        ),
        ("messages_purged_total", "Messages that were purged", totals.purged),
        ("messages_lost_total", "Messages that could not be read back from the disk", totals.lost),
        (
            "dead_letters_ended_total",
            "Dead letters that ended because they turned in a circle or had died too often",
            counters.dead_letters_ended(),
        ),
        (
            "dead_letters_unroutable_total",
            "Dead letters that reached no queue",
            counters.dead_letters_unroutable(),
        ),
        (
            "delayed_unroutable_total",
            "Messages that reached no queue when their delay was over",
            counters.delayed_unroutable(),
        ),
    ];
    for (name, help, count) in own {
        text.own_counter(name, help, count);
    }

    text.own_gauge("memory_message_bytes", "Memory that the bytes of messages take", broker.memory_bytes());
    text.own_gauge(
        "memory_budget_bytes",
        "memory.budget: above it queues get only their fair share",
        broker.limits().memory_budget,
    );
    text.own_gauge(
        "queues_holding_publishers",
        "Queues whose publishers wait until there is room",
        broker.congested_queues(),
    );
    text.own_gauge("timers", "Queues that have something to do at some time", broker.timers_len());
    journal(state, text);
}

fn journal(state: &AdminState, text: &mut Exposition) {
    let broker = &state.broker;
    text.own_gauge(
        "journal_stopped",
        "Is 1 if the journal takes nothing more, since a sync failed",
        broker.log_stopped().is_some(),
    );
    let Some(journal) = broker.journal_stats() else { return };
    let (written, committed) = broker.log_positions();
    let gauges = [
        ("journal_written_position", "How far the journal was written", written.0),
        ("journal_committed_position", "How far the journal is safe on disk", committed.0),
        ("journal_segments", "Files of the journal", journal.segments),
        ("journal_bytes", "Bytes in the files of the journal", journal.bytes),
        ("journal_live_bytes", "Bytes in the journal that messages in queues still need", journal.live_bytes),
        (
            "journal_reclaimable_bytes",
            "Bytes in the journal that nobody needs any more",
            journal.reclaimable_bytes,
        ),
        (
            "journal_overflow_segments",
            "Files with transient messages that did not fit in memory",
            journal.overflow_segments,
        ),
        ("journal_overflow_bytes", "Bytes in those files", journal.overflow_bytes),
    ];
    for (name, help, number) in gauges {
        text.own_gauge(name, help, number);
    }
    let help = "How long the last sync of the journal took";
    text.own_gauge("journal_last_sync_seconds", help, journal.last_sync.as_secs_f64());
    let help = "How long syncs of the journal took";
    let mut syncs = text.begin("rialto_journal_sync_seconds".to_owned(), Kind::Histogram, help);
    let bounds = SYNC_BOUNDS_MICROS.map(Some).into_iter().chain([None]);
    histogram(bounds.zip(journal.sync_times), journal.sync_time.as_secs_f64(), &mut syncs);
    let counters = [
        ("journal_appended_bytes_total", "Bytes appended to the journal", journal.appended_bytes),
        ("journal_appended_records_total", "Records appended to the journal", journal.appended_records),
        (
            "journal_elided_records_total",
            "Records that were settled before they were written, and never were",
            journal.elided_records,
        ),
        (
            "journal_removed_segments_total",
            "Files of the journal that were removed",
            journal.removed_segments,
        ),
        (
            "journal_copied_bytes_total",
            "Bytes of survivors that were copied to give space back",
            journal.copied_bytes,
        ),
    ];
    for (name, help, count) in counters {
        text.own_counter(name, help, count);
    }
}

/// Times of messages, by every second of their powers of two.
fn times(distribution: &Distribution, metric: &mut Metric<'_>) {
    let bound = |bucket| bucket_bound(bucket).filter(|_| BUCKETS_TOLD.contains(&bucket) && bucket % 2 == 0);
    let buckets = distribution.buckets.iter().enumerate().map(|(bucket, count)| (bound(bucket), *count));
    histogram(buckets, distribution.sum_micros as f64 / 1e6, metric);
}

/// Counts with their upper bounds in microseconds, in order. One without a bound is told with the next that has one.
fn histogram(buckets: impl Iterator<Item = (Option<u64>, u64)>, sum: f64, metric: &mut Metric<'_>) {
    let mut below = 0;
    for (bound, count) in buckets {
        below += count;
        if let Some(bound) = bound {
            let seconds = (bound as f64 / 1e6).to_string();
            metric.line_of("_bucket", &[("le", &seconds)], below);
        }
    }
    metric.line_of("_bucket", &[("le", "+Inf")], below);
    metric.line_of("_sum", &[], sum);
    metric.line_of("_count", &[], below);
}
