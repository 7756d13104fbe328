//! What can be drawn: a figure's name in the JSON, what it is, how its numbers are written.

use std::collections::BTreeSet;

use super::super::error::{BenchError, BenchResult};
use super::runs::Run;

/// All percentiles of the latencies at once.
pub(super) const LATENCY: &str = "latency";

/// Where they stand in the JSON.
pub(super) const LATENCY_FIELD: &str = "latency_us";

/// What measurements are usually drawn by: the first that they have.
const USUAL: [&str; 5] =
    ["received_per_s", "published_per_s", "cycles_per_s", "drain_per_s", "resident_kib_each"];

/// What a figure's name says, and its unit, if it has one.
const KNOWN: [(&str, &str, &str); 14] = [
    (LATENCY, "latency from when a message was due until it was received", ""),
    ("received_per_s", "messages received per second", "/s"),
    ("published_per_s", "messages published per second", "/s"),
    ("body_mb_per_s", "bodies, MB per second", " MB/s"),
    ("broker_cpu_us_per_message", "broker CPU time per message, µs", " µs"),
    ("broker_cpu_cores", "broker CPU, cores", ""),
    ("generator_cpu_us_per_message", "generator CPU time per message, µs", " µs"),
    ("generator_cpu_cores", "generator CPU, cores", ""),
    ("broker_rss_mib", "broker memory, MiB", " MiB"),
    ("fill_per_s", "messages per second into a backlog", "/s"),
    ("drain_per_s", "messages per second out of a backlog", "/s"),
    ("held_bytes_per_message", "broker memory per message of a backlog, bytes", " B"),
    ("resident_kib_each", "broker memory per idle connection, KiB", " KiB"),
    ("cycles_per_s", "cycles per second", "/s"),
];

/// Something to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    /// Its name in the JSON.
    pub(super) name: String,
}

impl Figure {
    /// By its name.
    pub(super) fn named(name: &str) -> Figure {
        Figure { name: name.to_owned() }
    }

    /// What runs are usually drawn by.
    pub(super) fn of(runs: &[Run]) -> Figure {
        let all = || runs.iter().flat_map(|run| &run.results);
        if all().all(|reached| reached.latency("p50").is_some()) {
            return Figure::named(LATENCY);
        }
        // Zero is what nobody did: consumers that were not there received nothing.
        let has = |name: &&&str| all().any(|reached| reached.figure(name).is_some_and(|value| value > 0.0));
        Figure::named(USUAL.iter().find(has).unwrap_or(&USUAL[0]))
    }

    fn known(&self) -> Option<&'static (&'static str, &'static str, &'static str)> {
        KNOWN.iter().find(|(name, ..)| *name == self.name)
    }

    /// What it is, with its unit.
    pub(super) fn title(&self) -> String {
        self.known().map_or_else(|| self.name.replace('_', " "), |(_, title, _)| (*title).to_owned())
    }

    /// A value with its unit.
    pub(super) fn value(&self, value: f64) -> String {
        short(value) + self.known().map_or("", |(.., unit)| unit)
    }

    /// Nobody has it: says who has what.
    pub(super) fn missing<T>(&self, runs: &[Run]) -> BenchResult<T> {
        let all = runs.iter().flat_map(|run| &run.results);
        let names: BTreeSet<&str> = all.flat_map(|reached| reached.figures()).collect();
        let names: Vec<_> = names.into_iter().collect();
        Err(BenchError::Options(format!("these runs have no figure {}, but {}", self.name, names.join(", "))))
    }
}

/// Three digits, in thousands and millions: 1.23M, 45.6k, 0.123.
pub(super) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        large if large >= 999.5e6 => (value / 1e9, "G"),
        large if large >= 999.5e3 => (value / 1e6, "M"),
        large if large >= 999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    text + suffix
}

/// Microseconds in the unit that suits them.
pub(super) fn time(us: f64) -> String {
    match us {
        long if long >= 1e6 => short(long / 1e6) + " s",
        long if long >= 1e3 => short(long / 1e3) + " ms",
        _ => short(us) + " µs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_three_digits() {
        let written = [0.0, 0.1234, 1.0, 5.678, 99.96, 123.4, 999.6, 45_600.0, 1_234_567.0, 2e9].map(short);
        assert_eq!(written, ["0", "0.123", "1", "5.68", "100", "123", "1k", "45.6k", "1.23M", "2G"]);
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        assert_eq!([0.5, 100.0, 1000.0, 2_500_000.0].map(time), ["0.5 µs", "100 µs", "1 ms", "2.5 s"]);
    }
}
