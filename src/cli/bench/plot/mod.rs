//! `rialto bench plot`: a picture of measurements that `--json` has written.
//!
//! Rooms: `runs` (the files), `figures` (what can be drawn and how its numbers are written), `axis` (where values stand
//! and which of them are named), `canvas` (colours, light and dark), `bars` and `curves` (the pictures).
//! Invariants: whatever is drawn is said as a number or stands on a named axis with its unit; a picture has its own
//! background, so it can be read on any page. Not here: measuring.

mod axis;
mod bars;
mod canvas;
mod curves;
mod figures;
mod runs;

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::error::{BenchError, BenchResult, Doing};
use figures::{Figure, LATENCY};
use runs::{Run, Source};

/// What the help shows.
pub(super) const EXAMPLES: &str = "\
Examples:
  rialto bench throughput --protocol amqp --against rabbitmq --json > run.json
  rialto bench plot run.json -o rates.svg
  rialto bench plot '16 B=small.json' '1 KiB=large.json' --figure broker_rss_mib -o rss.svg
  rialto bench plot latency.json -o latency.svg                  # percentiles
  rialto bench plot q*.json --over queues --figure broker_cpu_us_per_message -o scale.svg

Figures and settings are named as in the JSON; a wrong name is answered with those there are.";

/// Draw what was measured: an SVG picture of the JSON of one run or more
#[derive(Clone, Debug, Args)]
pub(in super::super) struct Plot {
    /// What --json has written; LABEL=FILE says what to call it [default: its name]
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<Source>,
    /// Where the picture goes
    #[arg(long, short, value_name = "FILE.svg")]
    output: PathBuf,
    /// A figure of the JSON's medians, or `latency` for all its percentiles
    /// [default: latency if the runs have it, or else their rate]
    #[arg(long, value_name = "NAME")]
    figure: Option<String>,
    /// Curves over a setting of the JSON's scenario, such as queues, instead of bars
    #[arg(long, value_name = "SETTING")]
    over: Option<String>,
    /// What stands above [default: what the figure is]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Only these, in this order [default: all that were measured]
    #[arg(long, value_name = "CONTENDER", value_delimiter = ',')]
    contenders: Vec<String>,
}

impl Plot {
    /// Draws it.
    pub(super) fn run(self) -> BenchResult<()> {
        let mut runs = self.runs.iter().map(Run::read).collect::<BenchResult<Vec<_>>>()?;
        if !self.contenders.is_empty() {
            for run in &mut runs {
                run.keep(&self.contenders);
            }
        }
        if runs.iter().all(|run| run.results.is_empty()) {
            return Err(BenchError::Options("none of these contenders was measured".to_owned()));
        }
        let picture = self.picture(&runs)?;
        fs::write(&self.output, picture).doing(|| format!("cannot write {}", self.output.display()))
    }

    fn picture(&self, runs: &[Run]) -> BenchResult<String> {
        let figure = match &self.figure {
            Some(name) => Figure::named(name),
            None => Figure::of(runs),
        };
        let title = self.title.clone().unwrap_or_else(|| figure.title());
        let drawn = match &self.over {
            _ if figure.name == LATENCY => curves::percentiles(&title, runs)?,
            Some(setting) => curves::over(&title, &figure, setting, runs)?,
            None => bars::bars(&title, &figure, runs)?,
        };
        drawn.map_err(|error| BenchError::Options(format!("cannot draw this: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(label: &str, json: &str) -> Run {
        Run::parse(label, json).unwrap()
    }

    fn plot(figure: Option<&str>, over: Option<&str>) -> Plot {
        Plot {
            runs: Vec::new(),
            output: PathBuf::new(),
            figure: figure.map(str::to_owned),
            over: over.map(str::to_owned),
            title: None,
            contenders: Vec::new(),
        }
    }

    fn two_runs() -> Vec<Run> {
        [(1, 900_000, 300_000), (1000, 800_000, 20_000)]
            .map(|(queues, own, other)| {
                let json = format!(
                    r#"{{"scenario":{{"measurement":"throughput","queues":{queues}}},"results":[
                    {{"contender":"rialto amqp","median":{{"received_per_s":{own}}}}},
                    {{"contender":"rabbit & co","median":{{"received_per_s":{other}}}}}]}}"#
                );
                run(&format!("{queues} queues"), &json)
            })
            .into()
    }

    #[test]
    fn bars_say_every_value_with_its_run_and_its_contender() {
        let picture = plot(None, None).picture(&two_runs()).unwrap();
        for said in
            ["1 queues", "1000 queues", "rialto amqp", "rabbit &amp; co", "900k", "300k", "800k", "20k"]
        {
            assert!(picture.contains(said), "{said}: {picture}");
        }
    }

    #[test]
    fn curves_name_their_setting_and_their_figure() {
        let picture = plot(Some("received_per_s"), Some("queues")).picture(&two_runs()).unwrap();
        for said in ["queues", "messages received per second", "1,000", "rialto amqp"] {
            assert!(picture.contains(said), "{said}: {picture}");
        }
        assert_eq!(picture.matches(r#"stroke-width="2""#).count(), 2, "{picture}");
    }

    #[test]
    fn runs_with_latencies_are_drawn_as_percentiles() {
        let json = r#"{"scenario":{"measurement":"latency"},"results":[{"contender":"rialto","median":
            {"received_per_s":5.0,"latency_us":{"p50":20,"p90":30,"p99":90,"p99.9":400,"p99.99":900,"max":2000}}}]}"#;
        let picture = plot(None, None).picture(&[run("a", json)]).unwrap();
        for said in ["p50", "p99.9", "max", "latency", "1 ms", "100 µs"] {
            assert!(picture.contains(said), "{said}: {picture}");
        }
    }

    #[test]
    fn what_is_no_flow_is_drawn_by_its_own_rate() {
        let json = |figures: &str| {
            format!(r#"{{"scenario":{{}},"results":[{{"contender":"rialto","median":{{{figures}}}}}]}}"#)
        };
        for (figures, title) in [
            (r#""p50_us":3,"cycles_per_s":5"#, "cycles per second"),
            (r#""published_per_s":3,"received_per_s":0"#, "messages published per second"),
        ] {
            let picture = plot(None, None).picture(&[run("a", &json(figures))]).unwrap();
            assert!(picture.contains(title), "{picture}");
        }
    }

    #[test]
    fn a_figure_that_nobody_has_is_refused_with_those_that_there_are() {
        let error = plot(Some("speed"), None).picture(&two_runs()).unwrap_err().to_string();
        assert!(error.contains("speed") && error.contains("received_per_s"), "{error}");
        let error = plot(None, Some("size")).picture(&two_runs()).unwrap_err().to_string();
        assert!(error.contains("size") && error.contains("queues"), "{error}");
    }

    #[test]
    fn a_picture_has_a_background_and_its_colours_for_dark_pages() {
        let picture = plot(None, None).picture(&two_runs()).unwrap();
        assert!(picture.contains("prefers-color-scheme: dark"), "{picture}");
        assert!(picture.contains(r##"fill="#FFFFFF""##), "{picture}");
    }
}
