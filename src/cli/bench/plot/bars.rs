//! Bars from left to right: a group for each run, a bar for each contender, the value at its end.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::error::BenchResult;
use super::canvas::{Area, DrawError, INK, colours, drawn, text, text_width};
use super::figures::Figure;
use super::runs::Run;

const WIDTH: u32 = 760;
const MARGIN: u32 = 16;
const TITLE_HEIGHT: u32 = 44;
const BAR_HEIGHT: u32 = 20;
const BAR_GAP: u32 = 4;
const GROUP_GAP: u32 = 14;
const TITLE_SIZE: u32 = 16;
const TEXT_SIZE: u32 = 13;

/// A bar: whose, how long.
struct Bar<'a> {
    contender: &'a str,
    value: f64,
}

/// Draws a figure of all runs.
pub(super) fn bars(title: &str, figure: &Figure, runs: &[Run]) -> BenchResult<Result<String, DrawError>> {
    let groups: Vec<(&str, Vec<Bar>)> =
        runs.iter().map(|run| (run.label.as_str(), bars_of(figure, run))).collect();
    let all = || groups.iter().flat_map(|(_, bars)| bars);
    let highest = all().map(|bar| bar.value).fold(0.0, f64::max);
    if all().next().is_none() {
        return figure.missing(runs);
    }
    let mut names: Vec<String> = Vec::new();
    for bar in all().filter(|bar| bar.value.is_finite()) {
        if !names.iter().any(|name| name == bar.contender) {
            names.push(bar.contender.to_owned());
        }
    }
    let colours = colours(&names);
    let colour_of = |contender: &str| {
        let at = names.iter().position(|name| name == contender).unwrap_or_default();
        colours.get(at).copied().unwrap_or(INK)
    };
    let widest = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|label| text_width(&label, TEXT_SIZE)).max().unwrap_or(0)
    };
    let labels = widest(&mut groups.iter().map(|(label, _)| (*label).to_owned()));
    let contenders = widest(&mut names.iter().cloned());
    let values = widest(&mut all().map(|bar| figure.value(bar.value)));
    let left = MARGIN + labels + 12 + contenders + 8;
    let room = WIDTH.saturating_sub(left + 8 + values + MARGIN).max(80);
    let rows: u32 =
        groups.iter().map(|(_, bars)| bars.len() as u32 * (BAR_HEIGHT + BAR_GAP) + GROUP_GAP).sum();
    let size = (WIDTH.max(left + room + 8 + values + MARGIN), TITLE_HEIGHT + rows + MARGIN);
    let draw = |area: &Area<'_>| {
        let place = |x: u32, y: u32| (x as i32, y as i32);
        area.draw(&Text::new(
            title.to_owned(),
            place(MARGIN, TITLE_HEIGHT / 2),
            text(TITLE_SIZE, HPos::Left),
        ))?;
        let mut top = TITLE_HEIGHT;
        for (label, bars) in &groups {
            let middle = top + (bars.len() as u32 * (BAR_HEIGHT + BAR_GAP)).saturating_sub(BAR_GAP) / 2;
            area.draw(&Text::new((*label).to_owned(), place(MARGIN, middle), text(TEXT_SIZE, HPos::Left)))?;
            for bar in bars {
                let middle = top + BAR_HEIGHT / 2;
                let name = bar.contender.to_owned();
                area.draw(&Text::new(name, place(left - 8, middle), text(TEXT_SIZE, HPos::Right)))?;
                let length = (bar.value / highest.max(f64::MIN_POSITIVE) * f64::from(room)).round() as u32;
                // What is there is seen, however little it is.
                let right = left + length.clamp(2, room);
                let corners = [place(left, top), place(right, top + BAR_HEIGHT)];
                area.draw(&Rectangle::new(corners, colour_of(bar.contender).filled()))?;
                let value = figure.value(bar.value);
                area.draw(&Text::new(value, place(right + 8, middle), text(TEXT_SIZE, HPos::Left)))?;
                top += BAR_HEIGHT + BAR_GAP;
            }
            top += GROUP_GAP;
        }
        Ok(())
    };
    Ok(drawn(size, draw))
}

fn bars_of<'a>(figure: &Figure, run: &'a Run) -> Vec<Bar<'a>> {
    run.results
        .iter()
        .filter_map(|reached| {
            Some(Bar { contender: &reached.contender, value: reached.figure(&figure.name)? })
        })
        .collect()
}
