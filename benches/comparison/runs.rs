//! What was measured: the files of a folder, by the names of their scenarios.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::scenarios::SCENARIOS;

/// All scenarios that have been measured.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<&'static str, Run>);

/// One of them.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    /// Who reached what; Rialto first.
    pub(crate) results: Vec<Reached>,
}

/// What a contender reached.
#[derive(Debug, Deserialize)]
pub(crate) struct Reached {
    /// Its name.
    pub(crate) contender: String,
    /// Medians of the rounds, each figure for itself.
    pub(crate) median: Value,
    /// The rounds.
    pub(crate) rounds: Vec<Value>,
}

impl Runs {
    /// Those of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Runs, Failure> {
        let mut runs = Runs::default();
        for scenario in SCENARIOS {
            let file = folder.join(scenario.id).with_extension("json");
            if let Ok(text) = fs::read_to_string(&file) {
                let run =
                    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
                runs.0.insert(scenario.id, run);
            }
        }
        Ok(runs)
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<&Run> {
        self.0.get(id)
    }
}

impl Run {
    /// Rialto's median of a figure: `latency_us/p99` is one within another.
    pub(crate) fn own(&self, figure: &str) -> Option<f64> {
        self.results.first()?.figure(figure)
    }

    /// A peer's.
    pub(crate) fn peer(&self, name: &str, figure: &str) -> Option<f64> {
        self.results.iter().skip(1).find(|reached| reached.contender == name)?.figure(figure)
    }
}

impl Reached {
    /// The median of a figure.
    pub(crate) fn figure(&self, figure: &str) -> Option<f64> {
        within(&self.median, figure)
    }

    /// The lowest and the highest of all rounds.
    pub(crate) fn spread(&self, figure: &str) -> Option<(f64, f64)> {
        let mut values = self.rounds.iter().filter_map(|round| within(round, figure));
        let first = values.next()?;
        Some(values.fold((first, first), |(low, high), value| (low.min(value), high.max(value))))
    }
}

fn within(figures: &Value, figure: &str) -> Option<f64> {
    figures.pointer(&format!("/{figure}"))?.as_f64()
}
