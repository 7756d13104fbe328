//! Connections that do nothing: what each costs the broker in memory, what all together cost it in CPU time.
//!
//! Not here: what they say (`visitor`).

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::contender::Contender;
use super::error::{BenchError, BenchResult};
use super::findings::{Finding, Findings, Round};
use super::in_turn;
use super::options::{Whom, parse_duration, parse_span};
use super::usage::Meter;
use super::visitor::{self, Script, Stay};
use crate::server::raise_open_files;

pub(super) const EXAMPLES: &str = "Examples:\n  rialto bench idle\n  \
    rialto bench idle --connections 5000 --protocol amqp --against rabbitmq\n  \
    rialto bench idle --against nats --rounds 5\n  \
    rialto bench idle --duration 2m              # with heartbeats, which are due twice a minute\n\n\
    Each connection has logged in and opened a channel. Memory is what the broker's process has\n\
    more than before, a connection's share of it; kernel memory of sockets is not in it.";

/// Threads that open connections.
const OPENERS: usize = 4;

/// Connections that are open before memory is looked at: the first ones meet what is made once.
const FIRST: u32 = 16;

/// How often connections say that they are there, if they stay for so long.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(25);

/// Files that the generator has open besides connections.
const OTHER_FILES: u64 = 64;

/// Connections that do nothing: memory of each, CPU of all
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Idle {
    /// Connections, each with a channel
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// How long to watch them
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_span)]
    duration: Duration,
    /// Wait this long before looking at memory, so that what is only passing is gone
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    settle: Duration,
    /// Rounds; medians are shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// One JSON object, for scripts
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    whom: Whom,
}

impl Idle {
    /// Measures all contenders.
    pub(super) fn run(&self) -> BenchResult<Findings> {
        let contenders = self.whom.contenders()?;
        self.check_open_files(raise_open_files())?;
        let results = in_turn(&contenders, self.rounds, |contender| self.measure(contender))?;
        let seconds = self.duration.as_secs_f64();
        let title = format!(
            "idle: {} connections with a channel each, watched for {}, {} round(s)",
            self.connections,
            humantime::format_duration(self.duration),
            self.rounds
        );
        let scenario = json!({
            "measurement": "idle",
            "connections": self.connections,
            "duration_s": seconds,
            "settle_s": self.settle.as_secs_f64(),
            "rounds": self.rounds,
        });
        Ok(Findings::new(title, scenario, results))
    }

    /// `limit`: files that may be open; none: as many as one likes.
    fn check_open_files(&self, limit: Option<u64>) -> BenchResult<()> {
        let wanted = u64::from(self.connections) + u64::from(FIRST) + OTHER_FILES;
        match limit {
            Some(limit) if limit < wanted => Err(BenchError::Options(format!(
                "{} connections need {wanted} open files, and the system allows {limit}: raise that (ulimit -Hn, \
                 LimitNOFILE) or measure with --connections {}",
                self.connections,
                limit.saturating_sub(wanted - u64::from(self.connections)).max(1)
            ))),
            _ => Ok(()),
        }
    }

    fn measure(&self, contender: &Contender) -> BenchResult<Round> {
        let broker = contender.start(false)?;
        let (script, meter) = (visitor::stay(broker.speech()), broker.meter());
        let _first = open(&script, FIRST)?;
        thread::sleep(self.settle);
        let before = Look::at(meter);
        let begun = Instant::now();
        let mut stays = open(&script, self.connections)?;
        let opening = begun.elapsed();
        let opened = Look::at(meter);
        thread::sleep(self.settle);
        let (watched, settled) = (Instant::now(), Look::at(meter));
        stay(&mut stays, self.duration)?;
        let (watched, after) = (watched.elapsed(), Look::at(meter));
        let each = |more: Option<f64>| more.map(|more| more / f64::from(self.connections));
        Ok(vec![
            Finding::new("resident_kib_each", "RSS KiB each", each(grown(before.resident, after.resident)))
                .digits(2)
                .compared(),
            Finding::new(
                "anonymous_kib_each",
                "anonymous KiB",
                each(grown(before.anonymous, after.anonymous)),
            )
            .digits(2),
            Finding::new(
                "idle_cores",
                "idle cores",
                spent(&settled, &after).map(|cpu| cpu / watched.as_secs_f64()),
            )
            .digits(3),
            Finding::new("opened_per_s", "opened/s", f64::from(self.connections) / opening.as_secs_f64())
                .compared(),
            Finding::new("open_cpu_us_each", "CPU µs", each(spent(&before, &opened).map(|cpu| cpu * 1e6)))
                .digits(1),
        ])
    }
}

/// What a process has, and has used.
struct Look {
    cpu: Option<Duration>,
    resident: Option<u64>,
    anonymous: Option<u64>,
}

impl Look {
    fn at(meter: Option<Meter>) -> Look {
        Look {
            cpu: meter.and_then(|meter| meter.cpu()),
            resident: meter.and_then(|meter| meter.rss()),
            anonymous: meter.and_then(|meter| meter.anonymous()),
        }
    }
}

/// KiB.
fn grown(before: Option<u64>, after: Option<u64>) -> Option<f64> {
    Some((after? as f64 - before? as f64) / 1024.0)
}

/// Seconds of CPU time.
fn spent(before: &Look, after: &Look) -> Option<f64> {
    Some(after.cpu?.saturating_sub(before.cpu?).as_secs_f64())
}

/// Opens so many connections, a few at a time: as many clients do that come at once.
fn open(script: &Script, count: u32) -> BenchResult<Vec<Stay>> {
    let count = count as usize;
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                let share = count / OPENERS + usize::from(opener < count % OPENERS);
                scope.spawn(move || (0..share).map(|_| script.play()).collect::<BenchResult<Vec<_>>>())
            })
            .collect();
        let opened = openers.into_iter().map(|opener| opener.join().expect("an opener does not panic"));
        Ok(opened.collect::<BenchResult<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// Lets time pass.
fn stay(stays: &mut [Stay], duration: Duration) -> BenchResult<()> {
    let mut left = duration;
    while !left.is_zero() {
        let now = left.min(KEEP_ALIVE_EVERY);
        thread::sleep(now);
        left -= now;
        if !left.is_zero() {
            stays.iter_mut().try_for_each(Stay::keep_alive)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        idle: Idle,
    }

    #[test]
    fn too_low_a_limit_of_open_files_is_told_with_what_it_allows() {
        let idle = Line::parse_from(["idle", "--connections=2000"]).idle;
        assert!(idle.check_open_files(None).is_ok() && idle.check_open_files(Some(2080)).is_ok());
        let error = idle.check_open_files(Some(1024)).unwrap_err().to_string();
        assert!(
            error.starts_with("2000 connections need 2080 open files, and the system allows 1024"),
            "{error}"
        );
        assert!(error.ends_with("--connections 944"), "{error}");
    }
}
