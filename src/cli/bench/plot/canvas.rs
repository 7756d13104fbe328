//! What pictures are drawn on and with: a background of their own, colours for light and for dark pages.
//!
//! The colours of a picture are those for light pages; a style within it replaces each by its other where the page
//! asks for dark ones.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What a picture is drawn on.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Why a picture cannot be drawn.
pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// A colour on light pages, and the one that stands for it on dark ones.
type Shade = (RGBColor, RGBColor);

const BACKGROUND: Shade = (RGBColor(0xff, 0xff, 0xff), RGBColor(0x0d, 0x11, 0x17));
const INK_SHADE: Shade = (RGBColor(0x1f, 0x23, 0x28), RGBColor(0xe6, 0xed, 0xf3));
const FAINT_SHADE: Shade = (RGBColor(0xd1, 0xd9, 0xe0), RGBColor(0x3d, 0x44, 0x4d));

/// Text.
pub(super) const INK: RGBColor = INK_SHADE.0;
/// Lines of a grid.
pub(super) const FAINT: RGBColor = FAINT_SHADE.0;

/// Contenders keep their colours from picture to picture, by how their names begin. The longer name first.
const CONTENDERS: [(&str, Shade); 8] = [
    ("rialto amqp", (RGBColor(0x09, 0x69, 0xda), RGBColor(0x58, 0xa6, 0xff))),
    ("rialto", (RGBColor(0x0a, 0x30, 0x69), RGBColor(0xa5, 0xd6, 0xff))),
    ("rabbitmq", (RGBColor(0xbc, 0x4c, 0x00), RGBColor(0xf0, 0x88, 0x3e))),
    ("nats", (RGBColor(0x1a, 0x7f, 0x37), RGBColor(0x3f, 0xb9, 0x50))),
    ("jetstream-unsynced", (RGBColor(0xa4, 0x75, 0xf9), RGBColor(0xd2, 0xa8, 0xff))),
    ("jetstream", (RGBColor(0x82, 0x50, 0xdf), RGBColor(0xbc, 0x8c, 0xff))),
    ("limit", (RGBColor(0x81, 0x8b, 0x98), RGBColor(0x91, 0x98, 0xa1))),
    ("disk", (RGBColor(0x81, 0x8b, 0x99), RGBColor(0x91, 0x98, 0xa2))),
];

/// For all others, in turn.
const OTHERS: [Shade; 4] = [
    (RGBColor(0xcf, 0x22, 0x2e), RGBColor(0xf8, 0x51, 0x49)),
    (RGBColor(0x9a, 0x67, 0x00), RGBColor(0xd2, 0x99, 0x22)),
    (RGBColor(0xbf, 0x39, 0x89), RGBColor(0xf7, 0x78, 0xba)),
    (RGBColor(0x1b, 0x7c, 0x83), RGBColor(0x39, 0xc5, 0xcf)),
];

/// The colours of contenders: each its own as long as there are enough.
pub(super) fn colours(names: &[String]) -> Vec<RGBColor> {
    let mut free = OTHERS.iter().map(|(light, _)| *light).cycle();
    let mut taken: Vec<RGBColor> = Vec::new();
    for name in names {
        let own = CONTENDERS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, (light, _))| *light);
        let colour = own.filter(|own| !taken.contains(own)).or_else(|| free.next());
        taken.push(colour.expect("a cycle does not end"));
    }
    taken
}

/// About how wide a text of this size is, in pixels: a bit more than in most fonts.
pub(super) fn text_width(text: &str, size: u32) -> u32 {
    text.chars().count() as u32 * size * 6 / 10
}

/// A style of text, anchored at its left, middle or right.
pub(super) fn text(size: u32, anchor: HPos) -> TextStyle<'static> {
    ("system-ui, sans-serif", size).into_font().color(&INK).pos(Pos::new(anchor, VPos::Center))
}

/// Draws a picture: SVG.
pub(super) fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        area.fill(&BACKGROUND.0)?;
        draw(&area)?;
        area.present()?;
    }
    // Behind the end of the opening tag.
    if let Some(at) = picture.find("<svg").and_then(|at| Some(at + picture[at..].find('>')? + 1)) {
        picture.insert_str(at, &style());
    }
    Ok(picture)
}

fn style() -> String {
    let mut style = "\n<style>@media (prefers-color-scheme: dark) {\n".to_owned();
    let shades = [BACKGROUND, INK_SHADE, FAINT_SHADE];
    for (light, dark) in shades.into_iter().chain(CONTENDERS.map(|(_, shade)| shade)).chain(OTHERS) {
        let (light, dark) = (hex(light), hex(dark));
        for what in ["fill", "stroke"] {
            writeln!(style, "[{what}=\"{light}\"] {{ {what}: {dark} }}").expect("strings take all");
        }
    }
    style + "}</style>"
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_never_share_a_colour() {
        let names = ["rialto amqp", "rialto", "rialto=old", "rabbitmq", "lavinmq at a:1", "limit", "disk"];
        let colours = colours(&names.map(str::to_owned));
        for (n, colour) in colours.iter().enumerate() {
            assert!(!colours[..n].contains(colour), "{}", names[n]);
        }
    }
}
