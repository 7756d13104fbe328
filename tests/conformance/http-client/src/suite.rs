//! Counts assertions, as `check.py` does for the suites in Python.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

/// How long a condition may take to come true. Never how long anything must take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why a scenario could not go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was checked so far.
#[derive(Default)]
pub struct Suite {
    assertions: u64,
    failures: Vec<String>,
    current: &'static str,
}

impl Suite {
    /// One assertion: `got` equals `want`.
    pub fn check<G: PartialEq<W> + Debug, W: Debug>(&mut self, what: &str, got: G, want: W) {
        self.assertions += 1;
        if got != want {
            self.fail(format!("{what}: expected {want:?}, got {got:?}"));
        }
    }

    /// One assertion: the client has understood the answer. Its value, if so: the scenario goes on in any case, so that
    /// one run shows every answer that cannot be read.
    pub fn read<T, E: Display + Debug>(&mut self, what: &str, answer: Result<T, E>) -> Option<T> {
        self.assertions += 1;
        answer.inspect_err(|error| self.fail(format!("{what}: {error}: {}", cause(error)))).ok()
    }

    /// Two assertions: the client has understood the list, and it is so long.
    pub fn count<T>(&mut self, what: &str, answer: Answer<Vec<T>>, want: usize) {
        let rows = self.read(what, answer);
        self.check(what, rows.map(|rows| rows.len()), Some(want));
    }

    /// One assertion: the answer has this status.
    pub fn refused<T: Debug>(&mut self, what: &str, answer: Answer<T>, status: u16) {
        let got = answer.as_ref().err().and_then(|error| error.status_code()).map(|status| status.as_u16());
        self.assertions += 1;
        if got != Some(status) {
            self.fail(format!("{what}: expected status {status}, got {answer:?}"));
        }
    }

    /// Runs a scenario; one that cannot go on is a failed assertion.
    pub fn scenario(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> Result<(), Failure>) {
        if !name.contains(&std::env::var("CONFORMANCE_ONLY").unwrap_or_default()) {
            return;
        }
        self.current = name;
        if let Err(failure) = run(self) {
            self.assertions += 1;
            self.fail(format!("{failure}"));
        }
    }

    /// Writes the report for the table. True if all is well.
    pub fn finish(self) -> bool {
        let report = serde_json::json!({
            "client": "http-client", "assertions": self.assertions, "skipped": 0, "failures": self.failures,
        });
        match std::env::var("CONFORMANCE_REPORT") {
            Ok(path) => std::fs::write(path, report.to_string()).expect("the report can be written"),
            Err(_) => println!("{report:#}"),
        }
        self.failures.is_empty()
    }

    fn fail(&mut self, text: String) {
        eprintln!("  FAIL http-client · {}: {text}", self.current);
        self.failures.push(format!("{}: {text}", self.current));
    }
}

/// What the client gives back.
pub type Answer<T> = Result<T, rabbitmq_http_client::error::HttpClientError>;

/// What serde says is wrong stands deep in the client's errors; of their debug text the backtrace is left out.
fn cause(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    text.split(", backtrace:").next().unwrap_or_default().to_owned()
}

/// Asks until the answer is as wanted.
///
/// # Errors
/// It is not in time, or the client fails.
pub fn until<T>(
    what: &str,
    mut ask: impl FnMut() -> Answer<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        let answer = ask()?;
        if wanted(&answer) {
            return Ok(answer);
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("not in {DEADLINE:?}: {what}").into());
        }
    }
}
