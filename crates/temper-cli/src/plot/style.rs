//! How series are told apart: by colour, and where there is none by dashes and marks.

use plotters::{
    backend::SVGBackend,
    coord::CoordTranslate,
    drawing::DrawingArea,
    element::{Circle, Cross, EmptyElement, Rectangle, TriangleMarker},
    style::{Color as _, RGBColor, ShapeStyle},
};

use super::drawing;

/// Okabe and Ito's palette, which people with any colour vision can tell apart, less its yellow, which
/// is too pale for print.
const COLOURS: [RGBColor; 7] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
/// Length of a dash and of the gap after it, in pixels; none for a line without gaps.
const DASHES: [Option<(u32, u32)>; 4] = [Some((8, 4)), None, Some((3, 4)), Some((14, 6))];
const MARKS: [Mark; 5] = [
    Mark::Disc,
    Mark::Square,
    Mark::Triangle,
    Mark::Ring,
    Mark::Saltire,
];
const RADIUS: i32 = 4;

/// A series' look. Seven colours, four dashes, five marks: any 140 series differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style(usize);

#[derive(Clone, Copy)]
enum Mark {
    Disc,
    Square,
    Triangle,
    Ring,
    Saltire,
}

impl Style {
    /// The look of the series with this place among all that are told apart.
    pub fn of(place: usize) -> Self {
        Self(place)
    }

    /// Its colour.
    pub fn colour(self) -> RGBColor {
        COLOURS[self.0 % COLOURS.len()]
    }

    /// Its dashes and the gaps after them.
    pub fn dashes(self) -> Option<(u32, u32)> {
        DASHES[self.0 % DASHES.len()]
    }

    /// How its lines are stroked.
    pub fn stroke(self) -> ShapeStyle {
        self.colour().stroke_width(2)
    }

    /// Draws its mark.
    pub fn mark<T>(self, area: &DrawingArea<SVGBackend, T>, at: T::From) -> anyhow::Result<()>
    where
        T: CoordTranslate,
        T::From: Clone,
    {
        let (filled, stroke) = (self.colour().filled(), self.stroke());
        let drawn = match MARKS[self.0 % MARKS.len()] {
            Mark::Disc => area.draw(&Circle::new(at, RADIUS, filled)),
            Mark::Square => {
                let corners = [(-RADIUS, -RADIUS), (RADIUS, RADIUS)];
                area.draw(&(EmptyElement::at(at) + Rectangle::new(corners, filled)))
            }
            Mark::Triangle => area.draw(&TriangleMarker::new(at, RADIUS + 1, filled)),
            Mark::Ring => area.draw(&Circle::new(at, RADIUS, stroke)),
            Mark::Saltire => area.draw(&Cross::new(at, RADIUS, stroke)),
        };
        drawn.map_err(drawing)
    }
}
