//! What scenarios find that are no flow of messages: named figures, as a table for people or one JSON object for programs.
//!
//! The JSON has the shape of a flow's report: the scenario, then for each contender the medians and all rounds.
//! Not here: flows (`report`).

use serde_json::{Map, Value, json};

use super::report::{aligned, fixed, grouped, median};

/// A figure that one round has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    /// Its key in JSON, with its unit: `fill_per_s`.
    pub(super) name: &'static str,
    /// Its column in the table, with its unit: `filled/s`.
    pub(super) heading: &'static str,
    /// None: not to be had, as the memory of a broker on another machine.
    pub(super) value: Option<f64>,
    /// Digits behind the point in the table; 0 groups thousands.
    pub(super) digits: usize,
    /// The table says how many times the first contender's figure it is.
    pub(super) compared: bool,
}

impl Finding {
    /// A figure that is not compared, in whole numbers.
    pub(super) fn new(name: &'static str, heading: &'static str, value: impl Into<Option<f64>>) -> Finding {
        Finding { name, heading, value: value.into(), digits: 0, compared: false }
    }

    /// With so many digits behind the point.
    pub(super) fn digits(self, digits: usize) -> Finding {
        Finding { digits, ..self }
    }

    /// Compared with the first contender's.
    pub(super) fn compared(self) -> Finding {
        Finding { compared: true, ..self }
    }
}

/// What one round has found: the same figures in the same order in each.
pub(super) type Round = Vec<Finding>;

/// All rounds of all contenders.
#[derive(Debug)]
pub(super) struct Findings {
    /// What was done, in words, for people.
    title: String,
    /// What was done, for programs: a JSON object with the key `measurement`.
    scenario: Value,
    results: Vec<(String, Vec<Round>)>,
}

impl Findings {
    /// Of the rounds of each contender.
    pub(super) fn new(title: String, scenario: Value, results: Vec<(String, Vec<Round>)>) -> Findings {
        Findings { title, scenario, results }
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let results: Vec<Value> = self
            .results
            .iter()
            .map(|(contender, rounds)| {
                let median = object(&medians(rounds));
                let rounds: Vec<Value> = rounds.iter().map(object).collect();
                json!({ "contender": contender, "median": median, "rounds": rounds })
            })
            .collect();
        json!({ "scenario": self.scenario, "results": results }).to_string()
    }

    /// A table of medians.
    pub(super) fn text(&self) -> String {
        let medians: Vec<(&str, Round)> =
            self.results.iter().map(|(contender, rounds)| (contender.as_str(), medians(rounds))).collect();
        let Some((_, first)) = medians.first() else { return format!("{}\n", self.title) };
        let compared =
            || first.iter().enumerate().filter(|(_, finding)| finding.compared && medians.len() > 1);
        let mut header = vec![String::new()];
        header.extend(first.iter().map(|finding| finding.heading.to_owned()));
        header.extend(compared().map(|(_, finding)| format!("{} ×", finding.heading)));
        let mut rows = vec![header];
        for (contender, round) in &medians {
            let mut row = vec![(*contender).to_owned()];
            row.extend(round.iter().map(|finding| match (finding.value, finding.digits) {
                (Some(value), 0) => grouped(value),
                (value, digits) => fixed(value, digits),
            }));
            row.extend(compared().map(|(at, first)| {
                let base = first.value.filter(|&base| base > 0.0);
                fixed(round[at].value.zip(base).map(|(own, base)| own / base), 2)
            }));
            rows.push(row);
        }
        format!("{}\n{}", self.title, aligned(&rows))
    }
}

/// Each figure's median over the rounds in which it is known.
fn medians(rounds: &[Round]) -> Round {
    let Some(first) = rounds.first() else { return Round::new() };
    let median_at = |at: usize| {
        let values: Vec<f64> = rounds.iter().filter_map(|round| round[at].value).collect();
        (!values.is_empty()).then(|| median(values))
    };
    first.iter().enumerate().map(|(at, finding)| Finding { value: median_at(at), ..*finding }).collect()
}

/// Figures by name; those that are not known are left out.
fn object(round: &Round) -> Value {
    let known = round.iter().filter_map(|finding| Some((finding.name.to_owned(), finding.value?.into())));
    Value::Object(known.collect::<Map<String, Value>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let round = |rate: f64, memory: Option<f64>| {
            vec![
                Finding::new("opened_per_s", "opened/s", rate).compared(),
                Finding::new("kib_each", "KiB each", memory).digits(1),
            ]
        };
        let results = vec![
            ("own".to_owned(), vec![round(1000.0, Some(8.0)), round(3000.0, Some(9.0)), round(2000.0, None)]),
            ("other".to_owned(), vec![round(500.0, None)]),
        ];
        Findings::new("idle: 10 connections".to_owned(), json!({ "measurement": "idle" }), results)
    }

    #[test]
    fn the_table_has_medians_and_compares_with_the_first() {
        assert_eq!(
            findings().text(),
            "idle: 10 connections\n       opened/s  KiB each  opened/s ×\n\
             own       2,000       8.5        1.00\nother       500         –        0.25\n"
        );
    }

    #[test]
    fn json_has_medians_and_all_rounds_and_leaves_out_what_is_not_known() {
        let json: Value = serde_json::from_str(&findings().json()).unwrap();
        assert_eq!(json["scenario"]["measurement"], "idle");
        assert_eq!(json["results"][0]["median"]["opened_per_s"], 2000.0);
        assert_eq!(json["results"][0]["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(json["results"][1]["median"].get("kib_each"), None);
    }
}
