//! Which look is which series: a strip below a picture, where it covers nothing.

use plotters::element::{DashedPathElement, PathElement, Text};

use super::{Area, LABEL_SIZE, Style, drawing, text, width};

const ROW: i32 = 22;
const KEY: i32 = 34;
const GAP: i32 = 18;
const LEFT: i32 = 12;

/// A series' name and look.
pub struct Entry<'a> {
    pub label: &'a str,
    pub style: Style,
    /// Whether it is drawn as a line, not as marks alone.
    pub line: bool,
}

/// Height of the strip for a picture so many pixels wide.
pub fn height(entries: &[Entry], across: u32) -> u32 {
    let rows = places(entries, across).last().map_or(0, |(_, y)| y + ROW);
    rows.unsigned_abs() + 8
}

/// Draws it.
pub fn draw(entries: &[Entry], area: Area) -> anyhow::Result<()> {
    let places = places(entries, area.dim_in_pixel().0);
    for (entry, (x, y)) in entries.iter().zip(places) {
        let middle = y + ROW / 2;
        if entry.line {
            let ends = [(x, middle), (x + KEY - 6, middle)];
            let stroke = entry.style.stroke();
            match entry.style.dashes() {
                None => area.draw(&PathElement::new(ends, stroke)),
                Some((dash, gap)) => area.draw(&DashedPathElement::new(ends, dash, gap, stroke)),
            }
            .map_err(drawing)?;
        }
        entry.style.mark(area, (x + KEY / 2 - 3, middle))?;
        let at = (x + KEY, middle - LABEL_SIZE / 2);
        area.draw(&Text::new(entry.label, at, text(LABEL_SIZE)))
            .map_err(drawing)?;
    }
    Ok(())
}

/// The upper left corner of each entry: as many a row as fit.
fn places(entries: &[Entry], across: u32) -> Vec<(i32, i32)> {
    let across = i32::try_from(across).unwrap_or(i32::MAX);
    let (mut x, mut y) = (LEFT, 0);
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let length = KEY + width(entry.label, LABEL_SIZE) + GAP;
        if x > LEFT && x + length > across {
            (x, y) = (LEFT, y + ROW);
        }
        places.push((x, y));
        x += length;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_do_not_fit_go_into_another_row() {
        let entry = |label| Entry {
            label,
            style: Style::of(0),
            line: true,
        };
        let entries = ["fixed", "two-hinge", "standard"].map(entry);
        let rows = |across| {
            let rows = places(&entries, across).into_iter().map(|(_, y)| y / ROW);
            rows.collect::<Vec<_>>()
        };
        assert_eq!(rows(1000), [0, 0, 0]);
        assert_eq!(rows(260), [0, 0, 1]);
        assert_eq!(rows(10), [0, 1, 2]);
        assert!(height(&entries, 10) > height(&entries, 1000));
    }
}
