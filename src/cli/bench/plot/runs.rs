//! What measurements have written with `--json`, as far as pictures need it.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::error::{BenchError, BenchResult, Doing};
use super::figures::LATENCY_FIELD;

/// A file, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    label: String,
    file: PathBuf,
}

/// `FILE` or `LABEL=FILE`.
impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (label, file) = match text.split_once('=') {
            Some((label, file)) => (Some(label), PathBuf::from(file)),
            None => (None, PathBuf::from(text)),
        };
        let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Source { label: label.map_or_else(stem, str::to_owned), file })
    }
}

/// One measurement.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    /// What to call it.
    #[serde(skip)]
    pub(super) label: String,
    /// Its settings.
    scenario: Map<String, Value>,
    /// What each contender reached.
    pub(super) results: Vec<Reached>,
}

/// The medians of a contender.
#[derive(Debug, Deserialize)]
pub(super) struct Reached {
    /// Its name.
    pub(super) contender: String,
    median: Map<String, Value>,
}

impl Run {
    /// Reads the file.
    pub(super) fn read(source: &Source) -> BenchResult<Run> {
        let file = source.file.display();
        let text = fs::read_to_string(&source.file).doing(|| format!("cannot read {file}"))?;
        Run::parse(&source.label, &text)
            .map_err(|error| BenchError::Options(format!("{file} is not what --json writes: {error}")))
    }

    /// Of what a file holds.
    pub(super) fn parse(label: &str, text: &str) -> serde_json::Result<Run> {
        let run: Run = serde_json::from_str(text)?;
        Ok(Run { label: label.to_owned(), ..run })
    }

    /// Only these contenders, in this order.
    pub(super) fn keep(&mut self, contenders: &[String]) {
        let place = |reached: &Reached| contenders.iter().position(|name| *name == reached.contender);
        self.results.retain(|reached| place(reached).is_some());
        self.results.sort_by_key(place);
    }

    /// A setting that is a number.
    pub(super) fn setting(&self, name: &str) -> BenchResult<f64> {
        self.scenario.get(name).and_then(Value::as_f64).ok_or_else(|| {
            let numbers = self.scenario.iter().filter(|(_, value)| value.is_number());
            let names: Vec<_> = numbers.map(|(name, _)| name.as_str()).collect();
            BenchError::Options(format!("{} has no setting {name}, but {}", self.label, names.join(", ")))
        })
    }
}

impl Reached {
    /// A figure, if this contender has it.
    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        self.median.get(name)?.as_f64()
    }

    /// A percentile of its latencies, in microseconds.
    pub(super) fn latency(&self, percentile: &str) -> Option<f64> {
        self.median.get(LATENCY_FIELD)?.get(percentile)?.as_f64()
    }

    /// The names of its figures that are numbers.
    pub(super) fn figures(&self) -> impl Iterator<Item = &str> {
        self.median.iter().filter(|(_, value)| value.is_number()).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_by_its_label_or_its_file() {
        let source = |text: &str| text.parse::<Source>().unwrap();
        assert_eq!(source("runs/small.json").label, "small");
        assert_eq!(source("16 B=runs/a.json"), Source { label: "16 B".into(), file: "runs/a.json".into() });
    }

    #[test]
    fn contenders_stand_in_the_order_that_was_asked_for() {
        let json = r#"{"scenario":{},"results":[{"contender":"a","median":{}},{"contender":"b","median":{}},
            {"contender":"c","median":{}}]}"#;
        let mut run = Run::parse("", json).unwrap();
        run.keep(&["c".to_owned(), "x".to_owned(), "a".to_owned()]);
        assert_eq!(
            run.results.iter().map(|reached| reached.contender.as_str()).collect::<Vec<_>>(),
            ["c", "a"]
        );
    }
}
