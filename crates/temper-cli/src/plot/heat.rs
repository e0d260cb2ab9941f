//! A value for each pair of two axes' places, as a colour with the number written on it.

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{cartesian::Cartesian2d, types::RangedCoordf64},
    element::{EmptyElement, Rectangle, Text},
    style::{
        Color as _, RGBColor, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{Area, FONT, INK, LABEL_SIZE, TICK_SIZE, TITLE_SIZE, drawing, picture, text};

const CELL: (u32, u32) = (84, 50);
const FRAME: (u32, u32) = (120, 130);
/// The greatest value; the least is white.
const DEEP: RGBColor = RGBColor(0, 70, 130);

type Context<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A heat map.
#[derive(Debug)]
pub struct Heat {
    /// What it is of.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x: &'static str,
    /// The vertical axis, likewise.
    pub y: &'static str,
    /// Names of the columns, from the left.
    pub columns: Vec<String>,
    /// Names of the rows, from below.
    pub rows: Vec<String>,
    /// What is known.
    pub cells: Vec<Cell>,
}

/// A value.
#[derive(Debug)]
pub struct Cell {
    /// Its column.
    pub column: u32,
    /// Its row.
    pub row: u32,
    /// How deep its colour is, in `[0, 1]`.
    pub depth: f64,
    /// What is written on it.
    pub text: String,
}

impl Heat {
    /// The picture; `alternative` is read where it is not seen.
    pub fn svg(&self, alternative: &str) -> anyhow::Result<String> {
        let columns = u32::try_from(self.columns.len().max(3))?;
        let rows = u32::try_from(self.rows.len().max(1))?;
        let size = (CELL.0 * columns + FRAME.0, CELL.1 * rows + FRAME.1);
        picture(size, alternative, |area| self.draw(area))
    }

    fn draw(&self, area: Area) -> anyhow::Result<()> {
        let columns = f64::from(u32::try_from(self.columns.len())?);
        let rows = f64::from(u32::try_from(self.rows.len())?);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(TITLE_SIZE))
            .margin(10)
            .x_label_area_size(62)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..columns, 0.0..rows)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(0)
            .y_labels(0)
            .x_desc(self.x)
            .y_desc(self.y)
            .axis_style(INK)
            .axis_desc_style((FONT, LABEL_SIZE, &INK))
            .draw()
            .map_err(drawing)?;
        for cell in &self.cells {
            cell.draw(&mut chart)?;
        }
        self.names(&mut chart)
    }

    fn names(&self, chart: &mut Context) -> anyhow::Result<()> {
        let below = text(TICK_SIZE).pos(Pos::new(HPos::Center, VPos::Top));
        let left = text(TICK_SIZE).pos(Pos::new(HPos::Right, VPos::Center));
        for (i, name) in self.columns.iter().enumerate() {
            let at = (f64::from(u32::try_from(i)?) + 0.5, 0.0);
            let name = EmptyElement::at(at) + Text::new(name.clone(), (0, 8), below.clone());
            chart.draw_series([name]).map_err(drawing)?;
        }
        for (i, name) in self.rows.iter().enumerate() {
            let at = (0.0, f64::from(u32::try_from(i)?) + 0.5);
            let name = EmptyElement::at(at) + Text::new(name.clone(), (-8, 0), left.clone());
            chart.draw_series([name]).map_err(drawing)?;
        }
        Ok(())
    }
}

impl Cell {
    fn draw(&self, chart: &mut Context) -> anyhow::Result<()> {
        let (x, y) = (f64::from(self.column), f64::from(self.row));
        let body = Rectangle::new([(x, y), (x + 1.0, y + 1.0)], self.colour().filled());
        let edge = Rectangle::new([(x, y), (x + 1.0, y + 1.0)], INK.stroke_width(1));
        chart.draw_series([body, edge]).map_err(drawing)?;
        let ink = if self.depth > 0.5 { WHITE } else { INK };
        let middle = text(LABEL_SIZE).color(&ink);
        let middle = middle.pos(Pos::new(HPos::Center, VPos::Center));
        let number =
            EmptyElement::at((x + 0.5, y + 0.5)) + Text::new(self.text.clone(), (0, 0), middle);
        chart.draw_series([number]).map_err(drawing)?;
        Ok(())
    }

    /// Between white and the deepest.
    fn colour(&self) -> RGBColor {
        let depth = self.depth.clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two bytes"
        )]
        let mix = |deep: u8| (255.0 - (255.0 - f64::from(deep)) * depth).round() as u8;
        RGBColor(mix(DEEP.0), mix(DEEP.1), mix(DEEP.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_their_number_and_a_colour_by_depth() {
        let cell = |column, depth, text: &str| Cell {
            column,
            row: 0,
            depth,
            text: text.into(),
        };
        let heat = Heat {
            title: "swin-base".into(),
            x: "T2 (% of the run)",
            y: "T1 (% of the run)",
            columns: vec!["25".into(), "75".into()],
            rows: vec!["0".into()],
            cells: vec![cell(0, 0.0, "45.9"), cell(1, 1.0, "66.4")],
        };
        let svg = heat.svg("").unwrap();
        for text in ["45.9", "66.4", "25", "75", "T1 (% of the run)", "swin-base"] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text}");
        }
        assert!(svg.contains("fill=\"#004682\"") && svg.contains("fill=\"#FFFFFF\""));
    }
}
