//! Curves: a figure over a setting, or latencies over percentiles; a line for each contender.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::error::{BenchError, BenchResult};
use super::axis::Axis;
use super::canvas::{Area, DrawError, FAINT, INK, colours, drawn, text, text_width};
use super::figures::{Figure, LATENCY, short, time};
use super::runs::Run;

const SIZE: (u32, u32) = (760, 420);
const MARGIN: i32 = 16;
const TITLE_HEIGHT: i32 = 44;
const LEGEND_HEIGHT: i32 = 28;
const TITLE_SIZE: u32 = 16;
const TEXT_SIZE: u32 = 13;

/// So many numbers have room below an axis.
const NAMED_MAX: f64 = 8.0;

/// Percentiles and where each stands: by its nines, and the highest value behind them.
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.301), ("p90", 1.0), ("p99", 2.0), ("p99.9", 3.0), ("p99.99", 4.0), ("max", 5.0)];

/// A named line through points.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How an axis is named, and what of it.
struct Side<'a> {
    name: &'a str,
    places: (f64, f64),
    named: Vec<f64>,
    label: &'a dyn Fn(f64) -> String,
}

/// An axis of which we say ourselves what is named.
struct Ticks {
    range: Range<f64>,
    named: Vec<f64>,
}

impl Ranged for Ticks {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.named.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Side<'_> {
    fn ticks(&self) -> Ticks {
        Ticks { range: self.places.0..self.places.1, named: self.named.clone() }
    }
}

/// Draws a figure over a setting.
pub(super) fn over(
    title: &str,
    figure: &Figure,
    setting: &str,
    runs: &[Run],
) -> BenchResult<Result<String, DrawError>> {
    let mut curves: Vec<Curve> = Vec::new();
    for run in runs {
        let at = run.setting(setting)?;
        for reached in &run.results {
            let Some(value) = reached.figure(&figure.name) else { continue };
            match curves.iter_mut().find(|curve| curve.name == reached.contender) {
                Some(curve) => curve.points.push((at, value)),
                None => curves.push(Curve { name: reached.contender.clone(), points: vec![(at, value)] }),
            }
        }
    }
    if curves.is_empty() {
        return figure.missing(runs);
    }
    let [xs, ys]: [Vec<f64>; 2] = [|point: &(f64, f64)| point.0, |point: &(f64, f64)| point.1]
        .map(|side| curves.iter().flat_map(|curve| &curve.points).map(side).collect());
    let (x, y) = (Axis::between(&xs), Axis::from_zero(&ys));
    for curve in &mut curves {
        curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        curve.points.iter_mut().for_each(|point| *point = (x.place(point.0), y.place(point.1)));
    }
    let across = |place: f64| grouped(x.value(place));
    let up = |place: f64| short(y.value(place));
    let (name, what) = (setting.replace('_', " "), figure.title());
    let across = Side { name: &name, places: widened(x.places()), named: named(&x, &xs), label: &across };
    let up = Side { name: &what, places: y.places(), named: y.named(), label: &up };
    Ok(draw(title, &curves, &across, &up))
}

/// Draws the percentiles of latencies.
pub(super) fn percentiles(title: &str, runs: &[Run]) -> BenchResult<Result<String, DrawError>> {
    let mut curves = Vec::new();
    for run in runs {
        for reached in &run.results {
            let points: Vec<(f64, f64)> = PERCENTILES
                .iter()
                .filter_map(|(name, at)| Some((*at, reached.latency(name)?.max(0.1))))
                .collect();
            let name = match runs.len() {
                1 => reached.contender.clone(),
                _ => format!("{}, {}", reached.contender, run.label),
            };
            if !points.is_empty() {
                curves.push(Curve { name, points });
            }
        }
    }
    if curves.is_empty() {
        return Err(BenchError::Options("these runs have no latencies".to_owned()));
    }
    let values: Vec<f64> = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).collect();
    let y = Axis::log(&values);
    for curve in &mut curves {
        curve.points.iter_mut().for_each(|point| point.1 = y.place(point.1));
    }
    let across = |place: f64| {
        let at = PERCENTILES.iter().find(|(_, at)| (at - place).abs() < 1e-6);
        at.map_or_else(String::new, |(name, _)| (*name).to_owned())
    };
    let up = |place: f64| time(y.value(place));
    let named = PERCENTILES.map(|(_, at)| at).to_vec();
    let places = widened((PERCENTILES[0].1, PERCENTILES[PERCENTILES.len() - 1].1));
    let across = Side { name: "percentile of messages", places, named, label: &across };
    let up = Side { name: LATENCY, places: y.places(), named: y.named(), label: &up };
    Ok(draw(title, &curves, &across, &up))
}

/// What is named of a setting's axis: the values that were measured, unless they are many or close to each other.
fn named(axis: &Axis, values: &[f64]) -> Vec<f64> {
    let mut places: Vec<f64> = values.iter().map(|&value| axis.place(value)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let (first, last) = axis.places();
    match places.windows(2).all(|pair| pair[1] - pair[0] >= (last - first) / NAMED_MAX) {
        true => places,
        false => axis.named(),
    }
}

/// Room for the first and the last point.
fn widened((first, last): (f64, f64)) -> (f64, f64) {
    let edge = (last - first) * 0.03;
    (first - edge, last + edge)
}

fn draw(title: &str, curves: &[Curve], across: &Side<'_>, up: &Side<'_>) -> Result<String, DrawError> {
    let names: Vec<String> = curves.iter().map(|curve| curve.name.clone()).collect();
    let colours = colours(&names);
    let legend = legend_places(&names);
    let head = TITLE_HEIGHT + legend.last().map_or(0, |place| place.1) + LEGEND_HEIGHT;
    let size = (SIZE.0, SIZE.1 + head as u32 - (TITLE_HEIGHT + LEGEND_HEIGHT) as u32);
    drawn(size, |area: &Area<'_>| {
        area.draw(&Text::new(title.to_owned(), (MARGIN, TITLE_HEIGHT / 2), text(TITLE_SIZE, HPos::Left)))?;
        for ((name, colour), (x, y)) in names.iter().zip(&colours).zip(&legend) {
            let middle = TITLE_HEIGHT + y + LEGEND_HEIGHT / 3;
            area.draw(&PathElement::new([(*x, middle), (x + 24, middle)], colour.stroke_width(3)))?;
            area.draw(&Text::new(name.clone(), (x + 30, middle), text(TEXT_SIZE, HPos::Left)))?;
        }
        let (_, below) = area.split_vertically(head);
        let mut chart = ChartBuilder::on(&below)
            .margin_left(MARGIN)
            .margin_right(MARGIN * 2)
            .margin_bottom(MARGIN / 2)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(across.ticks(), up.ticks())?;
        chart
            .configure_mesh()
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(text(TEXT_SIZE, HPos::Left))
            .x_label_formatter(&|place| (across.label)(*place))
            .y_label_formatter(&|place| (up.label)(*place))
            .x_desc(across.name)
            .y_desc(up.name)
            .axis_desc_style(text(TEXT_SIZE, HPos::Left))
            .draw()?;
        for (curve, colour) in curves.iter().zip(&colours) {
            chart.draw_series([PathElement::new(curve.points.clone(), colour.stroke_width(2))])?;
            chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
        Ok(())
    })
}

/// Where the legend's entries begin: side by side, and below where there is no room.
fn legend_places(names: &[String]) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (MARGIN, 0);
    names
        .iter()
        .map(|name| {
            let width = 30 + text_width(name, TEXT_SIZE) as i32 + 24;
            if x > MARGIN && x + width > SIZE.0 as i32 - MARGIN {
                (x, y) = (MARGIN, y + LEGEND_HEIGHT * 2 / 3);
            }
            let place = (x, y);
            x += width;
            place
        })
        .collect()
}

/// Whole numbers with their thousands apart, others short.
fn grouped(value: f64) -> String {
    match (value.round() - value).abs() < 1e-6 * value.abs() {
        true => super::super::report::grouped(value),
        false => short(value),
    }
}
