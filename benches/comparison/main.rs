//! Rialto beside its peers, in one run on one machine: the evidence of `docs/performance.md`.
//!
//! Rooms: `scenarios` (what is measured), `aims` (what it should reach), `machine` (where, and which peers),
//! `measuring` (runs `rialto bench`, a file for each scenario), `runs` (those files), `report` (the page),
//! `pictures` (drawn by `rialto bench plot`).
//! Invariants: measuring and telling are apart: the page is made of the files alone, and a scenario that has its file is
//! not measured again. Not here: how anything is measured (`rialto bench`).

mod aims;
mod machine;
mod measuring;
mod pictures;
mod report;
mod runs;
mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use machine::Machine;
use measuring::Measuring;
use runs::Runs;
use scenarios::{SCENARIOS, Scenario};

/// A failure, told to a person.
type Failure = Box<dyn std::error::Error>;

const EXAMPLES: &str = "\
Examples:
  benches/compare                       # what has not been measured yet, then the page
  benches/compare --only 1,7            # rows 1 and 7 of the table
  benches/compare --only 1-128B --again
  benches/compare --report              # the page again, from what was measured
  benches/compare --rounds 1 --duration 500ms --out /tmp/quick --docs /tmp/quick
  RIALTO_COMPARE_AMQP=lavinmq=guest:guest@127.0.0.1:5673 benches/compare

Peers are Debian's rabbitmq-server and nats-server; what is not installed is left out. Leave the
machine alone meanwhile. Exit code 1 if something could not be measured.";

/// Rialto beside its peers, in one run: measures, then writes docs/performance.md and its pictures
#[derive(Debug, Parser)]
#[command(bin_name = "benches/compare", after_help = EXAMPLES)]
struct Options {
    /// Rounds of each scenario, its contenders in turn; medians are shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each contender is measured in each round [default: what each scenario needs]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Only these: rows of the table or names of scenarios
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// Where the measurements go, and where those that are done lie
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measure what has been measured before, too
    #[arg(long)]
    again: bool,
    /// Measure nothing: write the page of what was measured
    #[arg(long, conflicts_with_all = ["list", "again"])]
    report: bool,
    /// Measure nothing: say what would be, and how long it takes
    #[arg(long)]
    list: bool,
    /// A running broker that speaks AMQP 0-9-1, measured wherever RabbitMQ is
    #[arg(long, value_name = "NAME=HOST:PORT", env = "RIALTO_COMPARE_AMQP", value_delimiter = ',')]
    amqp: Vec<scenarios::AmqpPeer>,
    /// Where the page goes [default: docs]
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

/// Says whether everything that was to be measured was.
fn run(options: &Options) -> Result<bool, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Beside the program, wherever builds go.
    let program = Path::new(env!("CARGO_BIN_EXE_rialto"));
    let out = match &options.out {
        Some(out) => std::path::absolute(out)?,
        None => program.parent().and_then(Path::parent).unwrap_or(root).join("compare"),
    };
    let chosen = chosen(&options.only)?;
    let here = Machine::here();
    let measuring = Measuring {
        program,
        folder: &out,
        machine: &here,
        rounds: options.rounds,
        duration: options.duration,
        again: options.again,
        amqp: &options.amqp,
    };
    if options.list {
        measuring.list(&chosen);
        return Ok(true);
    }
    let mut complete = true;
    if !options.report {
        fs::create_dir_all(&out)?;
        complete = measuring.run(&chosen)?;
    }
    let runs = Runs::read(&out)?;
    let docs = options.docs.clone().unwrap_or_else(|| root.join("docs"));
    let drawn = pictures::draw(program, &out, &docs.join("performance"), &runs)?;
    report::write(&docs, &Machine::read(&out).unwrap_or(here), &runs, &drawn)?;
    eprintln!("written: {}", docs.join("performance.md").display());
    Ok(complete)
}

/// The scenarios of these rows and names.
fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    let is_named = |scenario: &Scenario, name: &str| scenario.id == name || scenario.row.to_string() == name;
    for name in only {
        if !SCENARIOS.iter().any(|scenario| is_named(scenario, name)) {
            return Err(format!("{name:?} is no row and no scenario; --list shows them").into());
        }
    }
    let all = SCENARIOS.iter();
    Ok(all.filter(|scenario| only.is_empty() || only.iter().any(|name| is_named(scenario, name))).collect())
}
