//! Counts assertions, as `check.py` does for the suites in Python.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// How long a condition may take to come true. Never how long anything must take.
pub const DEADLINE: Duration = Duration::from_secs(20);

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

    /// Runs a scenario; one that cannot go on is a failed assertion.
    pub async fn scenario(
        &mut self,
        name: &'static str,
        run: impl AsyncFnOnce(&mut Self) -> Result<(), Failure>,
    ) {
        if !name.contains(&std::env::var("CONFORMANCE_ONLY").unwrap_or_default()) {
            return;
        }
        self.current = name;
        match tokio::time::timeout(DEADLINE * 3, run(self)).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => self.stopped(format!("{failure}")),
            Err(_) => self.stopped("it hangs".to_owned()),
        }
    }

    /// Writes the report for the table. True if all is well.
    pub fn finish(self) -> bool {
        let report = serde_json::json!({
            "client": "lapin", "assertions": self.assertions, "skipped": 0, "failures": self.failures,
        });
        match std::env::var("CONFORMANCE_REPORT") {
            Ok(path) => std::fs::write(path, report.to_string()).expect("the report can be written"),
            Err(_) => println!("{report:#}"),
        }
        self.failures.is_empty()
    }

    fn stopped(&mut self, text: String) {
        self.assertions += 1;
        self.fail(text);
    }

    fn fail(&mut self, text: String) {
        eprintln!("  FAIL lapin · {}: {text}", self.current);
        self.failures.push(format!("{}: {text}", self.current));
    }
}

/// A future's value, or an error when the deadline has passed.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(DEADLINE, future).await.map_err(|_| format!("not in {DEADLINE:?}: {what}").into())
}
