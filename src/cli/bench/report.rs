//! What rounds have found, as a table for people or one JSON object for programs.
//!
//! A figure is the median of its rounds, each figure for itself.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::plan::{Acks, Plan};
use super::round::Measured;
use super::topic::Topic;

/// Percentiles that are shown.
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99), ("max", 100.0)];

/// A figure of a round or of the medians, where it is known.
type Figure = fn(&Figures) -> Option<f64>;

/// A table of percentiles: what they are of, where they stand, which of them are compared.
struct LatencyTable {
    what: &'static str,
    of: fn(&Figures) -> Option<&Percentiles>,
    compared: &'static [(&'static str, Figure)],
}

const LATENCIES: [LatencyTable; 3] = [
    LatencyTable {
        what: "latency µs",
        of: |figures| figures.latency_us.as_ref(),
        compared: &[
            ("p50 ×", |figures| Some(figures.latency_us.as_ref()?.p50)),
            ("p99 ×", |figures| Some(figures.latency_us.as_ref()?.p99)),
        ],
    },
    LatencyTable {
        what: "confirmed after µs",
        of: |figures| figures.confirmed_after_us.as_ref(),
        compared: &[
            ("p50 ×", |figures| Some(figures.confirmed_after_us.as_ref()?.p50)),
            ("p99 ×", |figures| Some(figures.confirmed_after_us.as_ref()?.p99)),
        ],
    },
    LatencyTable {
        what: "generator late by µs",
        of: |figures| figures.generator_lateness_us.as_ref(),
        compared: &[],
    },
];

/// All that a measurement has found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: Scenario,
    results: Vec<Summary>,
}

#[derive(Debug, Serialize)]
struct Scenario {
    measurement: &'static str,
    publishers: u32,
    consumers: u32,
    queues: u32,
    fanout: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    topic: Option<Topic>,
    body_bytes: usize,
    /// 0: no confirms.
    confirms_window: u32,
    auto_ack: bool,
    prefetch: u32,
    ack_every: u32,
    persistent: bool,
    /// 0: as many as go.
    rate: u64,
    messages_at_a_time: u32,
    /// Where it was wished: whether the system allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cores_kept_awake: Option<bool>,
    warm_up_s: f64,
    duration_s: f64,
    rounds: u32,
}

/// One contender.
#[derive(Debug, Serialize)]
struct Summary {
    contender: String,
    median: Figures,
    rounds: Vec<Figures>,
    missing: u64,
    surplus: u64,
    rejected: u64,
}

/// One round, or the medians of all.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    published_per_s: f64,
    received_per_s: f64,
    /// Bodies, both ways together counted once: as received, or as published if nobody receives.
    body_mb_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_cpu_us_per_message: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_cpu_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator_cpu_us_per_message: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator_cpu_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker_rss_mib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generator_lateness_us: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_after_us: Option<Percentiles>,
    published: u64,
    received: u64,
    confirmed: u64,
}

/// Values of [`PERCENTILES`], in microseconds.
#[derive(Clone, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    #[serde(rename = "p99.99")]
    p99_99: f64,
    max: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self::from_values(PERCENTILES.map(|(_, at)| histogram.value_at_percentile(at) as f64 / 1000.0))
    }

    fn from_values([p50, p90, p99, p99_9, p99_99, max]: [f64; PERCENTILES.len()]) -> Self {
        Percentiles { p50, p90, p99, p99_9, p99_99, max }
    }

    fn values(&self) -> [f64; PERCENTILES.len()] {
        [self.p50, self.p90, self.p99, self.p99_9, self.p99_99, self.max]
    }
}

impl Figures {
    fn of(plan: &Plan, round: &Measured) -> Self {
        let seconds = round.window.as_secs_f64();
        // A message costs when it comes in and when it goes out. Where a backlog grows or shrinks within the
        // window, the mean of both counts is what was worked on; copies of a fan-out are what it costs by.
        let messages = match (plan.consumers, plan.fanout) {
            (0, _) => round.published as f64,
            (_, true) => round.received as f64,
            (_, false) => (round.published + round.received) as f64 / 2.0,
        };
        let per_message = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / messages.max(1.0);
        let moved = if plan.consumers == 0 { round.published } else { round.received };
        Figures {
            published_per_s: round.published as f64 / seconds,
            received_per_s: round.received as f64 / seconds,
            body_mb_per_s: moved as f64 * plan.size as f64 / 1e6 / seconds,
            broker_cpu_us_per_message: round.broker_cpu.map(per_message),
            broker_cpu_cores: round.broker_cpu.map(|cpu| cpu.as_secs_f64() / seconds),
            generator_cpu_us_per_message: round.generator_cpu.map(per_message),
            generator_cpu_cores: round.generator_cpu.map(|cpu| cpu.as_secs_f64() / seconds),
            broker_rss_mib: round.broker_rss.map(|bytes| bytes as f64 / (1 << 20) as f64),
            latency_us: round.latency.as_ref().map(Percentiles::of),
            generator_lateness_us: round.lateness.as_ref().map(Percentiles::of),
            confirmed_after_us: round.confirm_times.as_ref().map(Percentiles::of),
            published: round.published_in_all,
            received: round.received_in_all,
            confirmed: round.answers.confirmed,
        }
    }

    fn median(rounds: &[Figures]) -> Self {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
        let some = |figure: fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = rounds.iter().filter_map(figure).collect();
            (!values.is_empty()).then(|| median(values))
        };
        let count =
            |figure: fn(&Figures) -> u64| median(rounds.iter().map(|f| figure(f) as f64).collect()) as u64;
        let percentiles = |figure: fn(&Figures) -> Option<&Percentiles>| {
            let all: Vec<[f64; PERCENTILES.len()]> =
                rounds.iter().filter_map(figure).map(Percentiles::values).collect();
            let at = |index: usize| median(all.iter().map(|values| values[index]).collect());
            (!all.is_empty()).then(|| Percentiles::from_values(std::array::from_fn(at)))
        };
        Figures {
            published_per_s: of(|f| f.published_per_s),
            received_per_s: of(|f| f.received_per_s),
            body_mb_per_s: of(|f| f.body_mb_per_s),
            broker_cpu_us_per_message: some(|f| f.broker_cpu_us_per_message),
            broker_cpu_cores: some(|f| f.broker_cpu_cores),
            generator_cpu_us_per_message: some(|f| f.generator_cpu_us_per_message),
            generator_cpu_cores: some(|f| f.generator_cpu_cores),
            broker_rss_mib: some(|f| f.broker_rss_mib),
            latency_us: percentiles(|f| f.latency_us.as_ref()),
            generator_lateness_us: percentiles(|f| f.generator_lateness_us.as_ref()),
            confirmed_after_us: percentiles(|f| f.confirmed_after_us.as_ref()),
            published: count(|f| f.published),
            received: count(|f| f.received),
            confirmed: count(|f| f.confirmed),
        }
    }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

impl Report {
    /// Of the rounds of each contender.
    pub(super) fn new(
        measurement: &'static str,
        plan: &Plan,
        cores_kept_awake: bool,
        results: &[(String, Vec<Measured>)],
    ) -> Self {
        let (auto_ack, prefetch, ack_every) = match plan.acks {
            Acks::Auto => (true, 0, 0),
            Acks::Manual { prefetch, every } => (false, prefetch, every),
        };
        let scenario = Scenario {
            measurement,
            publishers: plan.publishers,
            consumers: plan.consumers,
            queues: plan.queues,
            fanout: plan.fanout,
            topic: plan.topic,
            body_bytes: plan.size,
            confirms_window: plan.confirms.unwrap_or(0),
            auto_ack,
            prefetch,
            ack_every,
            persistent: plan.persistent,
            rate: plan.rate.unwrap_or(0),
            messages_at_a_time: plan.batch,
            cores_kept_awake: plan.keeps_cores_awake.then_some(cores_kept_awake),
            warm_up_s: plan.warm_up.as_secs_f64(),
            duration_s: plan.duration.as_secs_f64(),
            rounds: plan.rounds,
        };
        let results = results
            .iter()
            .map(|(contender, measured)| {
                let rounds: Vec<Figures> = measured.iter().map(|round| Figures::of(plan, round)).collect();
                Summary {
                    contender: contender.clone(),
                    median: Figures::median(&rounds),
                    rounds,
                    missing: measured.iter().map(|round| round.missing).sum(),
                    surplus: measured.iter().map(|round| round.surplus).sum(),
                    rejected: measured.iter().map(|round| round.answers.rejected).sum(),
                }
            })
            .collect();
        Report { scenario, results }
    }

    /// What is wrong with the counts, a line for each contender.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Summary { contender, missing, surplus, rejected, .. } in &self.results {
            for (count, what) in
                [(missing, "missing"), (surplus, "received more than once"), (rejected, "not accepted")]
            {
                if *count > 0 {
                    lines.push(format!("{contender}: {} {what}", grouped(*count as f64)));
                }
            }
        }
        lines
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a report is plain numbers and strings")
    }

    /// A table.
    pub(super) fn text(&self) -> String {
        let mut out = self.scenario.text();
        let mut rows = vec![header(&[
            "",
            "published/s",
            "received/s",
            "lowest–highest",
            "body MB/s",
            "broker µs",
            "cores",
            "generator µs",
            "cores",
            "broker MiB",
            "missing",
        ])];
        for summary in &self.results {
            let figures = &summary.median;
            rows.push(vec![
                summary.contender.clone(),
                grouped(figures.published_per_s),
                grouped(figures.received_per_s),
                summary.spread(self.scenario.consumers > 0),
                fixed(Some(figures.body_mb_per_s), 1),
                fixed(figures.broker_cpu_us_per_message, 3),
                fixed(figures.broker_cpu_cores, 2),
                fixed(figures.generator_cpu_us_per_message, 3),
                fixed(figures.generator_cpu_cores, 2),
                fixed(figures.broker_rss_mib, 1),
                grouped(summary.missing as f64),
            ]);
        }
        let rate: Figure = match self.scenario.consumers {
            0 => |figures| Some(figures.published_per_s),
            _ => |figures| Some(figures.received_per_s),
        };
        self.compare(&mut rows, &[("rate ×", rate), ("µs ×", |figures| figures.broker_cpu_us_per_message)]);
        out.push_str(&aligned(&rows));
        for table in LATENCIES {
            out.push_str(&self.latencies(&table));
        }
        out
    }

    /// A table of percentiles, if there are any.
    fn latencies(&self, table: &LatencyTable) -> String {
        let mut rows = vec![header(&[table.what])];
        rows[0].extend(PERCENTILES.map(|(name, _)| name.to_owned()));
        if self.results.iter().all(|summary| (table.of)(&summary.median).is_none()) {
            return String::new();
        }
        for summary in &self.results {
            let values = (table.of)(&summary.median).map(Percentiles::values);
            let mut row = vec![summary.contender.clone()];
            row.extend((0..PERCENTILES.len()).map(|at| fixed(values.map(|values| values[at]), 1)));
            rows.push(row);
        }
        self.compare(&mut rows, table.compared);
        format!("\n{}", aligned(&rows))
    }

    /// Adds columns that say how many times the first contender's figure each one's is, where there are others.
    fn compare(&self, rows: &mut [Vec<String>], figures: &[(&str, Figure)]) {
        let [first, _, ..] = self.results.as_slice() else { return };
        for (name, figure) in figures {
            rows[0].push((*name).to_owned());
            for (row, summary) in rows[1..].iter_mut().zip(&self.results) {
                let times = figure(&summary.median).zip(figure(&first.median).filter(|&first| first > 0.0));
                row.push(fixed(times.map(|(own, first)| own / first), 2));
            }
        }
    }
}

impl Summary {
    /// The lowest and the highest rate of all rounds, in thousands.
    fn spread(&self, received: bool) -> String {
        let rates = self
            .rounds
            .iter()
            .map(|round| if received { round.received_per_s } else { round.published_per_s });
        let (low, high) =
            rates.fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(rate), high.max(rate)));
        format!("{}k–{}k", grouped(low / 1e3), grouped(high / 1e3))
    }
}

impl Scenario {
    fn text(&self) -> String {
        let mut out = format!(
            "{}: {} publishing, {} consuming, {} queue{}{}, {} B bodies",
            self.measurement,
            self.publishers,
            self.consumers,
            self.queues,
            if self.queues == 1 { "" } else { "s" },
            if self.fanout { " with a copy each" } else { "" },
            self.body_bytes,
        );
        if let Some(Topic { bindings, keys }) = self.topic {
            out += &format!(", {} bindings, {} keys", grouped(bindings.into()), grouped(keys.into()));
        }
        if self.persistent {
            out.push_str(", persistent");
        }
        match self.confirms_window {
            0 => out.push_str(", no confirms"),
            window => out += &format!(", confirms (window {})", grouped(window.into())),
        }
        match (self.auto_ack, self.prefetch) {
            (true, _) => out.push_str(", auto-ack"),
            (false, prefetch) => {
                out += &format!(", acks (prefetch {}, every {})", grouped(prefetch.into()), self.ack_every);
            }
        }
        match self.rate {
            0 => {}
            rate => out += &format!(", {} messages/s", grouped(rate as f64)),
        }
        let _ = writeln!(
            out,
            "\n{} s after {} s of warm-up; medians of {} round{}; at most {} messages at a time{}",
            self.duration_s,
            self.warm_up_s,
            self.rounds,
            if self.rounds == 1 { "" } else { "s" },
            self.messages_at_a_time,
            match self.cores_kept_awake {
                None => "",
                Some(true) => "; cores kept awake",
                Some(false) => "; idle cores sleep, as only root can forbid, which is most of a latency",
            },
        );
        out
    }
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Columns; the first stands left, numbers stand right.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(out, "{cell:<width$}"),
                _ => write!(out, "  {cell:>width$}"),
            };
        }
        out.push('\n');
    }
    out
}

pub(super) fn fixed(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::traffic::Answers;
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_others_are_compared_with_the_first() {
        let round = |received: u64, cpu: u64, latency: u64| {
            let mut histogram = Histogram::new(3).unwrap();
            histogram.record(latency).unwrap();
            let second = Duration::from_secs(1);
            Measured {
                window: second,
                published: received,
                received,
                broker_cpu: (cpu > 0).then(|| Duration::from_millis(cpu)),
                generator_cpu: None,
                broker_rss: None,
                published_in_all: received,
                received_in_all: received,
                answers: Answers::default(),
                missing: 0,
                surplus: 0,
                latency: Some(histogram),
                lateness: None,
                confirm_times: None,
            }
        };
        let results =
            [("own", round(1000, 10, 100_000)), ("other", round(500, 20, 300_000)), ("far", round(1, 0, 1))]
                .map(|(name, round)| (name.to_owned(), vec![round]));
        let columns = |results: &[(String, Vec<Measured>)]| {
            let text = Report::new("latency", &Plan::short(), true, results).text();
            let rows = text.lines().filter(|line| line.starts_with(['o', 'f']));
            rows.map(|row| row.split_whitespace().rev().take(2).map(str::to_owned).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        // Backwards: CPU and rate, p99 and p50.
        assert_eq!(
            columns(&results),
            [
                ["1.00", "1.00"],
                ["4.00", "0.50"],
                ["–", "0.00"],
                ["1.00", "1.00"],
                ["3.00", "3.00"],
                ["0.00", "0.00"]
            ]
        );
        assert_eq!(columns(&results[..1])[0], ["0", "–"], "nothing to compare with");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!((grouped(999.4), grouped(1000.0)), ("999".to_owned(), "1,000".to_owned()));
    }
}
