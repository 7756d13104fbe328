//! `rialto redrive` and `rialto job`: work that a broker does in the background, and how far it has come.

use std::fmt;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use super::api::{Api, ApiOptions, Path};
use super::filter::FilterOptions;
use super::listing::{self, List, One};
use super::rows::{Column, Show, plain};
use crate::cli::arguments::parse_present;
use crate::cli::output::{grouped, messages, note};
use crate::cli::signal::Interrupt;
use crate::cli::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  rialto redrive failed --dry-run                     # how many would go where
  rialto redrive failed
  rialto redrive failed --rate 500 --died-in orders   # at most 500 a second
  rialto redrive failed --contains timeout --older-than 1h --detach
  rialto redrive failed --to-queue parked             # somewhere else

Each dead letter goes back to the queue that it died in first, without its history: mend what
killed it first. Moving is one step: a crash neither loses nor doubles a message, and a second run
moves none twice. Ctrl-C cancels; what has gone back stays there. Ends with 6 if messages stayed
behind.";

const JOB_EXAMPLES: &str = "\
Examples:
  rialto job list
  rialto job show 3
  rialto job watch 3
  rialto job cancel 3";

/// Send dead letters back to the queues that they came from
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Redrive {
    /// The queue with dead letters
    #[arg(value_parser = parse_present)]
    queue: String,
    /// Its vhost
    #[arg(long, value_name = "NAME", default_value = "/", value_parser = parse_present)]
    vhost: String,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// At most so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Where back to
    #[arg(long, value_enum, default_value_t = Back::Queue)]
    back_to: Back,
    /// To this queue instead; they need not be dead letters then
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["back_to", "to_exchange"], value_parser = parse_present)]
    to_queue: Option<String>,
    /// To this exchange instead, which routes them
    #[arg(long, value_name = "EXCHANGE", conflicts_with = "back_to")]
    to_exchange: Option<String>,
    /// … with this routing key, in place of their own
    #[arg(long, value_name = "KEY", requires = "to_exchange")]
    to_key: Option<String>,
    /// They keep the history of their deaths: who counts them goes on counting
    #[arg(long)]
    keep_history: bool,
    /// Do not wait for it; `rialto job` tells how far it is
    #[arg(long)]
    detach: bool,
    /// One JSON object when it is over (with --detach: at once), for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten)]
    api: ApiOptions,
}

/// Where dead letters go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Back {
    /// Each to the queue that it died in first
    Queue,
    /// Each to the exchange that it was published to: every queue that is bound gets it again
    Exchange,
}

/// Work that goes on in the background
#[derive(Debug, Subcommand)]
#[command(after_help = JOB_EXAMPLES)]
pub(in crate::cli) enum Options {
    /// Show the jobs
    #[command(after_help = JOB_EXAMPLES)]
    List(List),
    /// Show one job
    #[command(after_help = JOB_EXAMPLES)]
    Show(One),
    /// Wait for a job, and show how far it is
    #[command(after_help = JOB_EXAMPLES)]
    Watch(One),
    /// Stop a job; what it has done stays done
    Cancel(Cancel),
}

/// Stop a job; what it has done stays done
#[derive(Debug, Args)]
#[command(after_help = JOB_EXAMPLES)]
pub(in crate::cli) struct Cancel {
    /// Its number
    #[arg(value_parser = parse_present)]
    job: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Time between two looks at a job.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

const COLUMNS: &[Column] = &[
    ("id", "id", Show::Plain),
    ("kind", "kind", Show::Plain),
    ("state", "state", Show::Plain),
    ("vhost", "vhost", Show::Plain),
    ("queue", "queue", Show::Plain),
    ("moved", "progress.moved", Show::Plain),
    ("looked at", "progress.scanned", Show::Plain),
    ("of", "progress.total", Show::Plain),
    ("started", "started_at", Show::Time),
    ("took", "elapsed_ms", Show::Duration),
    ("by", "user", Show::Plain),
    ("reason", "reason", Show::Plain),
    ("dry-run", "dry_run", Show::Feature),
];

fn path(job: &str) -> Path {
    Path::new(&["jobs", job])
}

pub(in crate::cli) fn run(options: Options) -> Result<ExitCode, Failure> {
    match options {
        Options::List(List { show, api }) => {
            show.show(&listing::all(&api.api()?, &Path::new(&["jobs"]))?, COLUMNS, "jobs")
        }
        Options::Show(One { name: job, json, api }) => {
            let row = api.api()?.get(&path(&job)).map_err(|error| error.of(named(&job)))?;
            listing::one(&row, COLUMNS, json)
        }
        Options::Watch(One { name: job, json, api }) => {
            let api = api.api()?;
            let row = api.get(&path(&job)).map_err(|error| error.of(named(&job)))?;
            finish(&watch(&api, row, OnInterrupt::Leave)?, json)
        }
        Options::Cancel(Cancel { job, api }) => {
            let api = api.api()?;
            let row = api.get(&path(&job)).map_err(|error| error.of(named(&job)))?;
            if is_over(&row) {
                note(format_args!("job {job} is over already: {}", plain(&row["state"])));
                return Ok(ExitCode::Success);
            }
            api.delete(&path(&job)).map_err(|error| error.of(named(&job)))?;
            note(format_args!("job {job} is cancelled"));
            Ok(ExitCode::Success)
        }
    }
}

fn named(job: &str) -> String {
    format!("job {job}")
}

pub(in crate::cli) fn run_redrive(options: &Redrive) -> Result<ExitCode, Failure> {
    let Redrive { queue, vhost, detach, json, api, .. } = options;
    let api = api.api()?;
    let body = body(options);
    let job = api.post(&Path::new(&["queues", vhost, queue, "redrive"]), &body);
    // What is not there may be the queue, or where they are to go: the broker says which.
    let job = job?;
    if *detach {
        if *json {
            listing::json_lines(std::slice::from_ref(&job))?;
        } else {
            let id = plain(&job["id"]);
            note(format_args!("job {id} has begun: `rialto job watch {id}`, `rialto job cancel {id}`"));
        }
        return Ok(ExitCode::Success);
    }
    let job = watch(&api, job, OnInterrupt::Cancel)?;
    finish(&job, *json)
}

/// What is asked of the API.
fn body(options: &Redrive) -> Value {
    let mut body = json!({ "filter": options.filter.json(), "dry_run": options.dry_run });
    for (name, number) in [("rate", options.rate), ("limit", options.limit)] {
        if let Some(number) = number {
            body[name] = number.into();
        }
    }
    let to =
        [("queue", &options.to_queue), ("exchange", &options.to_exchange), ("routing_key", &options.to_key)];
    for (name, text) in to {
        if let Some(text) = text {
            body["to"][name] = text.as_str().into();
        }
    }
    if options.back_to == Back::Exchange {
        body["back_to"] = "exchange".into();
    }
    if options.keep_history {
        body["keep_history"] = true.into();
    }
    body
}

/// What Ctrl-C does to the job that is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnInterrupt {
    Cancel,
    Leave,
}

fn is_over(job: &Value) -> bool {
    job["state"] != "running"
}

/// Looks at a job until it is over, and shows how far it is where a person looks on.
fn watch(api: &Api, mut job: Value, on_interrupt: OnInterrupt) -> Result<Value, Failure> {
    let id = plain(&job["id"]);
    let style = "{msg} {wide_bar} {human_pos} of {human_len}, {rate}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    // Its own has four decimals.
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = write!(text, "{}/s", grouped(state.per_sec().round() as u64));
    });
    let total = job["progress"]["total"].as_u64();
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_message(job["kind"].as_str().unwrap_or("job").to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watched = runtime.block_on(async {
        let mut interrupt = Interrupt::listen();
        let mut is_cancelled = false;
        while !is_over(&job) {
            let pause = tokio::time::sleep(LOOK_AGAIN);
            tokio::select! {
                biased;
                () = interrupt.wait(), if !is_cancelled => {
                    if on_interrupt == OnInterrupt::Leave {
                        break;
                    }
                    // What it comes to is seen with the next looks.
                    is_cancelled = true;
                    api.delete(&path(&id)).map_err(|error| error.of(named(&id)))?;
                }
                () = pause => {}
            }
            job = api.get(&path(&id)).map_err(|error| error.of(named(&id)))?;
            bar.set_length(job["progress"]["total"].as_u64().unwrap_or(0));
            bar.set_position(job["progress"]["scanned"].as_u64().unwrap_or(0));
        }
        Ok::<_, Failure>(())
    });
    bar.finish_and_clear();
    watched?;
    Ok(job)
}

/// Says what a job came to.
fn finish(job: &Value, json: bool) -> Result<ExitCode, Failure> {
    let progress = &job["progress"];
    if json {
        listing::json_lines(std::slice::from_ref(job))?;
    } else {
        for (queue, count) in progress["by_destination"].as_object().into_iter().flatten() {
            note(format_args!("{:>12}  {queue}", grouped(count.as_u64().unwrap_or(0))));
        }
        let would = if job["dry_run"] == true { "would go" } else { "went" };
        note(format_args!("{} {would} back", messages(progress["moved"].as_u64().unwrap_or(0))));
    }
    let mut stayed = 0;
    for (reason, why) in STAYED {
        let count = progress["skipped"][reason].as_u64().unwrap_or(0);
        stayed += count;
        if count > 0 && !json {
            note(format_args!("{} stayed: {why}", messages(count)));
        }
    }
    match job["state"].as_str() {
        Some("running") => {
            note(format_args!("job {} goes on", plain(&job["id"])));
            Ok(ExitCode::Interrupted)
        }
        Some("cancelled") => Ok(ExitCode::Interrupted),
        Some("failed") => Err(Failure::new(ExitCode::Refused, plain(&job["reason"]))),
        _ if stayed > 0 => Ok(ExitCode::NotAccepted),
        _ => Ok(ExitCode::Success),
    }
}

/// Why messages stay where they are.
const STAYED: [(&str, &str); 5] = [
    (
        "no_origin",
        "no dead letters, so nobody knows where they came from (--to-queue says where they are to go)",
    ),
    ("no_queue", "the queue that they came from is gone"),
    ("not_allowed", "you may not publish to the exchange that they would go to"),
    ("full", "the queue that they would go to is full"),
    ("unreadable", "they cannot be read now"),
];
