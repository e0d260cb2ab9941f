//! Series over an axis: lines with the area below and a band around them, or marks alone.

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{cartesian::Cartesian2d, types::RangedCoordf64},
    element::{Cross, Polygon},
    series::{DashedLineSeries, LineSeries},
    style::{Color as _, WHITE},
};

use super::{
    Area, FONT, INK, LABEL_SIZE, Style, TICK_SIZE, TITLE_SIZE, drawing,
    legend::{self, Entry},
    picture, text, trimmed,
};

/// Size of a panel in pixels; its legend comes on top.
pub const PANEL: (u32, u32) = (480, 340);
const TITLE_HEIGHT: u32 = 40;
const PANELS_A_ROW: usize = 3;
const CROSS: i32 = 7;

type Context<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A panel.
#[derive(Debug)]
pub struct Chart {
    /// What it is of.
    pub title: String,
    /// The horizontal axis, with its unit.
    pub x: Axis,
    /// The vertical axis, likewise.
    pub y: Axis,
    /// What is drawn, the first at the back.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Debug)]
pub struct Axis {
    /// Its name with its unit.
    pub label: &'static str,
    /// Its lower end.
    pub from: f64,
    /// Its upper end.
    pub to: f64,
}

/// A series.
#[derive(Debug)]
pub struct Series {
    /// Its name in the legend; the first of several with one name is shown there.
    pub label: String,
    /// Its look.
    pub style: Style,
    /// Ascending in x, unless only marks are drawn.
    pub points: Vec<Point>,
    /// Whether points are joined by a line.
    pub line: bool,
    /// Whether points have marks.
    pub marks: bool,
    /// Whether the area below is shaded.
    pub shaded: bool,
    /// Where crosses stand.
    pub crosses: Vec<(f64, f64)>,
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// On the horizontal axis.
    pub x: f64,
    /// On the vertical axis.
    pub y: f64,
    /// Half the height of the band around it; 0 for none.
    pub deviation: f64,
}

impl Axis {
    /// Accuracy in percent.
    pub fn accuracy() -> Self {
        Self {
            label: "accuracy (%)",
            from: 0.0,
            to: 100.0,
        }
    }
}

impl Chart {
    /// The panel as a picture of its own; `alternative` is read where it is not seen.
    pub fn svg(&self, alternative: &str) -> anyhow::Result<String> {
        let size = (PANEL.0, PANEL.1 + legend::height(&self.entries(), PANEL.0));
        picture(size, alternative, |area| self.draw(area))
    }

    fn draw(&self, area: Area) -> anyhow::Result<()> {
        let entries = self.entries();
        let (across, down) = area.dim_in_pixel();
        let legend_height = legend::height(&entries, across).min(down);
        let (upper, lower) = area.split_vertically(down - legend_height);
        let mut chart = ChartBuilder::on(&upper)
            .caption(&self.title, text(TITLE_SIZE))
            .margin(10)
            .margin_right(20)
            .x_label_area_size(46)
            .y_label_area_size(58)
            .build_cartesian_2d(self.x.from..self.x.to, self.y.from..self.y.to)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .axis_style(INK)
            .axis_desc_style((FONT, LABEL_SIZE, &INK))
            .label_style((FONT, TICK_SIZE, &INK))
            .x_label_formatter(&|x| trimmed(*x))
            .y_label_formatter(&|y| trimmed(*y))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(drawing)?;
        for series in &self.series {
            series.draw(&mut chart)?;
        }
        legend::draw(&entries, &lower)
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry> = Vec::new();
        for series in &self.series {
            if entries.iter().all(|entry| entry.label != series.label) {
                entries.push(Entry {
                    label: &series.label,
                    style: series.style,
                    line: series.line,
                });
            }
        }
        entries
    }
}

/// Panels in one picture, some a row.
pub fn grid(charts: &[Chart], title: &str) -> anyhow::Result<String> {
    let columns = charts.len().clamp(1, PANELS_A_ROW);
    let rows = charts.len().div_ceil(columns).max(1);
    let legends = charts
        .iter()
        .map(|chart| legend::height(&chart.entries(), PANEL.0));
    let panel = (PANEL.0, PANEL.1 + legends.max().unwrap_or(0));
    let size = (
        panel.0 * u32::try_from(columns)?,
        panel.1 * u32::try_from(rows)? + TITLE_HEIGHT,
    );
    picture(size, title, |area| {
        let area = area.margin(8, 0, 0, 0);
        let area = area.titled(title, text(TITLE_SIZE)).map_err(drawing)?;
        let parts = area.split_evenly((rows, columns));
        parts
            .iter()
            .zip(charts)
            .try_for_each(|(part, chart)| chart.draw(part))
    })
}

impl Series {
    fn draw(&self, chart: &mut Context) -> anyhow::Result<()> {
        self.fill(chart)?;
        if self.line {
            self.stroke(chart)?;
        }
        if self.marks {
            for point in self.edge(0.0) {
                self.style.mark(chart.plotting_area(), point)?;
            }
        }
        let crosses = self.crosses.iter();
        let stroke = self.style.colour().stroke_width(3);
        chart
            .draw_series(crosses.map(|at| Cross::new(*at, CROSS, stroke)))
            .map_err(drawing)?;
        Ok(())
    }

    fn fill(&self, chart: &mut Context) -> anyhow::Result<()> {
        let colour = self.style.colour();
        if let (true, Some(first), Some(last)) =
            (self.shaded, self.points.first(), self.points.last())
        {
            let floor = [(last.x, 0.0), (first.x, 0.0)];
            let below: Vec<_> = self.edge(0.0).chain(floor).collect();
            chart
                .draw_series([Polygon::new(below, colour.mix(0.12))])
                .map_err(drawing)?;
        }
        if self.points.iter().any(|point| point.deviation > 0.0) {
            let band: Vec<_> = self.edge(1.0).chain(self.edge(-1.0).rev()).collect();
            chart
                .draw_series([Polygon::new(band, colour.mix(0.25))])
                .map_err(drawing)?;
        }
        Ok(())
    }

    fn stroke(&self, chart: &mut Context) -> anyhow::Result<()> {
        let (line, stroke) = (self.edge(0.0), self.style.stroke());
        match self.style.dashes() {
            None => chart.draw_series(LineSeries::new(line, stroke)).map(|_| ()),
            Some((dash, gap)) => chart
                .draw_series(DashedLineSeries::new(line, dash, gap, stroke))
                .map(|_| ()),
        }
        .map_err(drawing)
    }

    /// The points, so many deviations up.
    fn edge(&self, sign: f64) -> impl DoubleEndedIterator<Item = (f64, f64)> + Clone + '_ {
        let points = self.points.iter();
        points.map(move |p| (p.x, (p.y + sign * p.deviation).clamp(0.0, 100.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &str, place: usize, deviation: f64) -> Series {
        let point = |x, y| Point { x, y, deviation };
        Series {
            label: label.to_owned(),
            style: Style::of(place),
            points: vec![point(0.0, 80.0), point(4.0, 30.0)],
            line: true,
            marks: true,
            shaded: false,
            crosses: Vec::new(),
        }
    }

    fn chart(series: Vec<Series>) -> Chart {
        Chart {
            title: "mobilenetv2".into(),
            x: Axis {
                label: "epsilon (x/255)",
                from: 0.0,
                to: 4.0,
            },
            y: Axis::accuracy(),
            series,
        }
    }

    #[test]
    fn picture_names_axes_title_and_every_series_once() {
        let chart = chart(vec![
            series("fixed", 0, 0.0),
            series("two-hinge", 1, 0.0),
            series("fixed", 0, 0.0),
        ]);
        let svg = chart.svg("seen").unwrap();
        for text in ["epsilon (x/255)", "accuracy (%)", "mobilenetv2", "fixed"] {
            let shown = svg.matches(&format!("\n{text}\n")).count();
            assert_eq!(shown, 1, "{text}");
        }
    }

    #[test]
    fn area_and_band_are_drawn_only_where_asked_for() {
        let polygons = |shaded, deviation| {
            let chart = chart(vec![Series {
                shaded,
                ..series("fixed", 0, deviation)
            }]);
            chart.svg("").unwrap().matches("<polygon").count()
        };
        assert_eq!(polygons(false, 0.0), 0);
        assert_eq!(polygons(true, 0.0), 1);
        assert_eq!(polygons(true, 5.0), 2);
    }

    #[test]
    fn series_differ_without_colour() {
        let marks = |place| {
            let svg = chart(vec![series("x", place, 0.0)]).svg("").unwrap();
            let lines = svg.matches("<polyline").count();
            (
                lines,
                svg.matches("<circle").count(),
                svg.matches("<rect").count(),
            )
        };
        let looks: Vec<_> = (0..3).map(marks).collect();
        assert!(
            looks[0] != looks[1] && looks[1] != looks[2] && looks[0] != looks[2],
            "{looks:?}"
        );
    }

    #[test]
    fn panels_share_a_picture_and_none_is_still_one() {
        let svg = grid(
            &[chart(vec![series("a", 0, 0.0)]), chart(vec![])],
            "sweeps/x",
        )
        .unwrap();
        assert!(svg.contains("\nsweeps/x\n"));
        assert_eq!(svg.matches("\nmobilenetv2\n").count(), 2);
        assert!(grid(&[], "none").is_ok());
    }
}
