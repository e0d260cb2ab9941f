//! Accuracy against epsilon as SVG: a panel for each model, dataset, target and settings, in it a
//! line for each schedule with a band of one standard deviation.

pub mod terminal;

use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement, Polygon},
    series::LineSeries,
    style::{BLACK, Color as _, RGBColor, WHITE},
};
use temper_core::Epsilon;
use temper_proto::v1::CurveGroup;

const PANEL: (u32, u32) = (640, 440);
const TITLE_HEIGHT: u32 = 40;
const PANELS_A_ROW: usize = 3;
/// Okabe and Ito's palette, which people with any colour vision can tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the groups that have points and writes the picture to `path`.
pub fn write(groups: &[CurveGroup], title: &str, path: &Path) -> anyhow::Result<()> {
    let svg = draw(groups, title)?;
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(groups: &[CurveGroup], title: &str) -> anyhow::Result<String> {
    let panels = panels(groups)?;
    ensure!(
        !panels.is_empty(),
        "no cell has results yet: there is nothing to draw"
    );
    let columns = panels.len().min(PANELS_A_ROW);
    let rows = panels.len().div_ceil(columns);
    let size = (
        PANEL.0 * u32::try_from(columns)?,
        PANEL.1 * u32::try_from(rows)? + TITLE_HEIGHT,
    );
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let root = root.margin(8, 0, 0, 0);
        let root = root.titled(title, ("sans-serif", 20)).map_err(drawing)?;
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(&panels) {
            panel.draw(area)?;
        }
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

/// Groups that are compared with one another.
struct Panel {
    title: String,
    curves: Vec<Curve>,
}

struct Curve {
    label: String,
    points: Vec<Point>,
}

/// Strength in 1/255 and accuracy.
struct Point {
    x: f64,
    mean: f64,
    deviation: f64,
}

/// The panels in the order of their first groups.
fn panels(groups: &[CurveGroup]) -> anyhow::Result<Vec<Panel>> {
    let mut panels: Vec<Panel> = Vec::new();
    for group in groups.iter().filter(|group| !group.points.is_empty()) {
        let (title, curve) = (panel_title(group, groups), curve(group)?);
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.curves.push(curve),
            None => panels.push(Panel {
                title,
                curves: vec![curve],
            }),
        }
    }
    Ok(panels)
}

fn panel_title(group: &CurveGroup, all: &[CurveGroup]) -> String {
    let mut title = format!(
        "{}, {}, {}",
        group.model, group.dataset, group.target_epsilon
    );
    if all.iter().any(|other| other.hyperparameters > 0) {
        title = format!("{title}, hyper-parameters {}", group.hyperparameters);
    }
    if all.iter().any(|other| other.evaluation > 0) {
        title = format!("{title}, evaluation {}", group.evaluation);
    }
    title
}

fn curve(group: &CurveGroup) -> anyhow::Result<Curve> {
    let points = group.points.iter().map(|point| {
        let epsilon: Epsilon = point.epsilon.parse()?;
        let accuracy = point.accuracy.unwrap_or_default();
        let deviation = accuracy.standard_deviation.unwrap_or_default();
        Ok(Point {
            x: epsilon.value() * 255.0,
            mean: accuracy.mean,
            deviation,
        })
    });
    Ok(Curve {
        label: format!("{} (n={})", group.schedule, group.count),
        points: points.collect::<anyhow::Result<_>>()?,
    })
}

impl Panel {
    fn draw(&self, area: &Area) -> anyhow::Result<()> {
        let end = self
            .curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|point| point.x);
        let end = end.fold(f64::MIN_POSITIVE, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..end, 0.0..1.0)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .x_desc("epsilon (x/255)")
            .y_desc("accuracy")
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .x_label_formatter(&|x| trimmed(*x))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(drawing)?;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            curve.draw(&mut chart, *colour)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 14))
            .draw()
            .map_err(drawing)
    }
}

impl Curve {
    fn draw(&self, chart: &mut Chart<'_, '_>, colour: RGBColor) -> anyhow::Result<()> {
        let edge = |sign: f64| {
            let points = self.points.iter();
            points.map(move |p| (p.x, (p.mean + sign * p.deviation).clamp(0.0, 1.0)))
        };
        if self.points.iter().any(|point| point.deviation > 0.0) {
            let band: Vec<_> = edge(1.0).chain(edge(-1.0).rev()).collect();
            chart
                .draw_series([Polygon::new(band, colour.mix(0.15))])
                .map_err(drawing)?;
        }
        chart
            .draw_series(LineSeries::new(edge(0.0), colour.stroke_width(2)))
            .map_err(drawing)?
            .label(&self.label)
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        chart
            .draw_series(edge(0.0).map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(drawing)?;
        Ok(())
    }
}

/// `4`, `0.5`.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the curves: {error}")
}

#[cfg(test)]
mod tests {
    use temper_proto::v1::{Estimate, EstimatePoint};

    use super::*;

    fn group(schedule: &str, target: &str, accuracies: &[(&str, f64, Option<f64>)]) -> CurveGroup {
        let points = accuracies
            .iter()
            .map(|&(epsilon, mean, standard_deviation)| EstimatePoint {
                epsilon: epsilon.into(),
                accuracy: Some(Estimate {
                    mean,
                    standard_deviation,
                    ..Estimate::default()
                }),
            });
        CurveGroup {
            model: "mobilenetv2".into(),
            dataset: "fashion-mnist".into(),
            schedule: schedule.into(),
            target_epsilon: target.into(),
            count: 2,
            expected_count: 2,
            points: points.collect(),
            ..Default::default()
        }
    }

    fn two(schedule: &str, target: &str, deviation: Option<f64>) -> CurveGroup {
        group(
            schedule,
            target,
            &[("0", 0.8, deviation), ("4/255", 0.3, deviation)],
        )
    }

    #[test]
    fn picture_names_axes_title_and_every_schedule() {
        let groups = [
            two("fixed", "4/255", Some(0.05)),
            two("two-hinge", "4/255", Some(0.02)),
        ];
        let svg = draw(&groups, "sweeps/x").unwrap();
        for text in [
            "sweeps/x",
            "epsilon (x/255)",
            "accuracy",
            "mobilenetv2, fashion-mnist, 4/255",
            "fixed (n=2)",
            "two-hinge (n=2)",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(
            svg.matches("<polyline").count() - axes(&svg),
            2 + 2,
            "lines and legend keys"
        );
    }

    /// Polylines of axes and ticks are black; those of curves are not.
    fn axes(svg: &str) -> usize {
        svg.lines()
            .filter(|l| l.contains("<polyline") && l.contains("#000000"))
            .count()
    }

    #[test]
    fn band_is_drawn_only_where_there_is_a_deviation() {
        let with = draw(&[two("fixed", "4/255", Some(0.05))], "t").unwrap();
        let without = draw(&[two("fixed", "4/255", None)], "t").unwrap();
        assert_eq!(
            (
                with.matches("<polygon").count(),
                without.matches("<polygon").count()
            ),
            (1, 0)
        );
    }

    #[test]
    fn targets_have_panels_of_their_own() {
        let groups = [
            two("fixed", "4/255", None),
            two("fixed", "8/255", None),
            two("linear", "4/255", None),
            group("standard", "4/255", &[]),
        ];
        let panels = panels(&groups).unwrap();
        let counts: Vec<_> = panels.iter().map(|panel| panel.curves.len()).collect();
        assert_eq!(counts, [2, 1]);
        assert!(panels[1].title.ends_with("8/255"));
        assert!((panels[0].curves[0].points[1].x - 4.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let error = draw(&[group("fixed", "4/255", &[])], "t").unwrap_err();
        assert!(error.to_string().contains("no cell has results"), "{error}");
    }
}
