//! The page: `docs/performance.md` between two marks, and `docs/performance/figures.md` with every median.
//!
//! Invariant: what people have written outside of the marks stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::aims::{AIMS, Aim, Beside, Bound, Standing, Unit};
use crate::machine::Machine;
use crate::pictures::Drawn;
use crate::runs::{Reached, Run, Runs};
use crate::scenarios::SCENARIOS;

const BEGIN: &str = "<!-- measured: begin; written by benches/compare -->";
const END: &str = "<!-- measured: end -->";

/// Writes both pages.
pub(crate) fn write(docs: &Path, machine: &Machine, runs: &Runs, drawn: &[Drawn]) -> Result<(), Failure> {
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page).unwrap_or_else(|_| format!("# Performance\n\n{BEGIN}\n{END}\n"));
    let (before, rest) =
        text.split_once(BEGIN).ok_or_else(|| format!("{} has no {BEGIN}", page.display()))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{} has no {END}", page.display()))?;
    let measured = measured(machine, runs, drawn)?;
    fs::create_dir_all(docs.join("performance"))?;
    fs::write(&page, format!("{before}{BEGIN}\n{measured}{END}{after}"))?;
    fs::write(docs.join("performance").join("figures.md"), figures(machine, runs)?)?;
    Ok(())
}

fn measured(machine: &Machine, runs: &Runs, drawn: &[Drawn]) -> Result<String, Failure> {
    let mut out = format!("\n{}\n\n", about(machine));
    writeln!(out, "| # | scenario | figure | Rialto | beside | ratio | aim | met |")?;
    writeln!(out, "|--:|---|---|--:|--:|--:|--:|:-:|")?;
    let (mut met, mut known, mut last) = (0, 0, "");
    for aim in AIMS {
        let standing = aim.standing(runs);
        known += u32::from(standing.is_some());
        met += u32::from(standing.is_some_and(|standing| standing.met));
        // A scenario is named once.
        let what = if aim.scenario == last { "" } else { what(aim.scenario) };
        last = aim.scenario;
        writeln!(out, "{}", line(aim, what, standing))?;
    }
    writeln!(out, "\n{met} of {} aims are met, {} not measured.\n", AIMS.len(), AIMS.len() as u32 - known)?;
    for picture in drawn {
        writeln!(out, "![{}](performance/{})\n", picture.title, picture.file)?;
    }
    writeln!(
        out,
        "Every median with its lowest and highest round: [`figures.md`](performance/figures.md).\n"
    )?;
    Ok(out)
}

fn about(machine: &Machine) -> String {
    let Machine { processor, cores, memory_gib, kernel, rialto, .. } = machine;
    let peers = machine.peers();
    format!(
        "Rialto {rialto}; {peers}. {processor}, {cores} cores for broker and generator together, {memory_gib} GiB, {kernel}. \
         Medians; contenders took turns, round by round, in one run."
    )
}

fn what(id: &str) -> &'static str {
    SCENARIOS.iter().find(|scenario| scenario.id == id).map_or("", |scenario| scenario.what)
}

fn line(aim: &Aim, what: &str, standing: Option<Standing>) -> String {
    let row = if what.is_empty() { String::new() } else { aim.row.to_string() };
    let name = aim.unit.name();
    let (own, beside, ratio, met) = match standing {
        None => ["–"; 4].map(str::to_owned).into(),
        Some(standing) => {
            let beside = standing.beside.map(|value| aim.unit.value(value)).unwrap_or_default();
            let beside = match aim.beside {
                Beside::Nothing => beside,
                Beside::Peer(peer) => format!("{peer} {beside}"),
                Beside::Own(scenario) => format!("{beside} in {scenario}"),
                Beside::Figure(_) => format!("first tenth {beside}"),
            };
            let ratio = standing.beside.map(|_| times(standing.compared)).unwrap_or_default();
            let met = if standing.met { "yes" } else { "**no**" };
            (aim.unit.value(standing.own), beside, ratio, met.to_owned())
        }
    };
    let bound = |value: f64| match aim.beside {
        Beside::Nothing => aim.unit.value(value),
        _ => times(value),
    };
    let wanted = match aim.bound {
        Bound::AtLeast(value) => format!("≥ {}", bound(value)),
        Bound::AtMost(value) => format!("≤ {}", bound(value)),
    };
    format!("| {row} | {what} | {name} | {own} | {beside} | {ratio} | {wanted} | {met} |")
}

impl Unit {
    fn name(self) -> String {
        match self {
            Unit::Rate => "messages/s".to_owned(),
            Unit::Cpu => "broker CPU per message".to_owned(),
            Unit::Latency(percentile) => format!("latency, {percentile}"),
            Unit::Bytes(what) | Unit::Other(what) => what.to_owned(),
        }
    }

    fn value(self, value: f64) -> String {
        match self {
            Unit::Rate => grouped(value),
            Unit::Cpu | Unit::Latency(_) => format!("{} µs", short(value)),
            Unit::Bytes(_) => format!("{} B", grouped(value)),
            Unit::Other(_) => short(value),
        }
    }
}

/// 17×, 1.5×, 0.31×, 1/25.
fn times(ratio: f64) -> String {
    match ratio {
        small if small > 0.0 && small < 0.1 => format!("1/{:.0}", 1.0 / small),
        large if large >= 10.0 => format!("{large:.1}×").replace(".0×", "×"),
        middle => format!("{middle:.2}×").replace(".00×", "×"),
    }
}

/// Three digits, or whole numbers with their thousands apart.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value);
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Every figure of every contender, a table for each scenario.
fn figures(machine: &Machine, runs: &Runs) -> Result<String, Failure> {
    let mut out = format!(
        "# All figures\n\nWritten by `benches/compare`. {} In brackets: the lowest and the highest round.\n",
        about(machine)
    );
    let mut row = 0;
    for scenario in SCENARIOS {
        let Some(run) = runs.get(scenario.id) else { continue };
        if scenario.row != row {
            row = scenario.row;
            writeln!(out, "\n## Row {row}")?;
        }
        writeln!(out, "\n### {}\n\n`rialto bench {}`\n", scenario.what, scenario.arguments)?;
        out += &table(run)?;
    }
    Ok(out)
}

fn table(run: &Run) -> Result<String, Failure> {
    let mut names = Vec::new();
    run.results.iter().for_each(|reached| collect(&reached.median, "", &mut names));
    let mut out = String::from("| figure |");
    run.results.iter().for_each(|reached| out += &format!(" {} |", reached.contender));
    out += "\n|---|";
    run.results.iter().for_each(|_| out += "--:|");
    out.push('\n');
    for name in names {
        write!(out, "| {} |", name.replace(['_', '/'], " "))?;
        for reached in &run.results {
            write!(out, " {} |", cell(reached, &name))?;
        }
        out.push('\n');
    }
    Ok(out)
}

fn cell(reached: &Reached, name: &str) -> String {
    let Some(value) = reached.figure(name) else { return "–".to_owned() };
    match reached.spread(name) {
        Some((low, high)) if low < high => format!("{} ({}–{})", short(value), short(low), short(high)),
        _ => short(value),
    }
}

/// The names of all figures, those within others with the names of both.
fn collect(figures: &Value, within: &str, names: &mut Vec<String>) {
    for (name, value) in figures.as_object().into_iter().flatten() {
        let name = format!("{within}{name}");
        match value {
            Value::Object(_) => collect(value, &format!("{name}/"), names),
            Value::Number(_) if !names.contains(&name) => names.push(name),
            _ => {}
        }
    }
}
