//! Bars side by side, one group below another: names of any length fit at the left.

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext},
    coord::{cartesian::Cartesian2d, types::RangedCoordf64},
    element::{EmptyElement, PathElement, Rectangle, Text},
    style::{
        Color as _, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    Area, FONT, INK, LABEL_SIZE, Style, TICK_SIZE, TITLE_SIZE, drawing,
    legend::{self, Entry},
    picture, text, trimmed, width,
};

const ACROSS: u32 = 480;
const BAR: u32 = 18;
const GROUP_GAP: u32 = 14;
/// Title, axis and margins.
const FRAME: u32 = 112;

type Context<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A picture of bars, in percent.
#[derive(Debug)]
pub struct Bars {
    /// What it is of.
    pub title: String,
    /// The axis, with its unit.
    pub axis: String,
    /// The groups, from above.
    pub groups: Vec<Group>,
    /// Names and looks of the bars in a group.
    pub series: Vec<(String, Style)>,
}

/// Bars that are compared.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub label: String,
    /// One a series; none where there is no value.
    pub bars: Vec<Option<Bar>>,
}

/// A bar.
#[derive(Debug)]
pub struct Bar {
    /// Its length, in percent.
    pub value: f64,
    /// The ends of its interval.
    pub interval: Option<(f64, f64)>,
    /// What is written at its end.
    pub note: String,
}

impl Bars {
    /// The picture; `alternative` is read where it is not seen.
    pub fn svg(&self, alternative: &str) -> anyhow::Result<String> {
        let bars = u32::try_from(self.series.len().max(1))?;
        let groups = u32::try_from(self.groups.len().max(1))?;
        let plot = groups * (bars * BAR + GROUP_GAP) + FRAME;
        let height = plot + legend::height(&self.entries(), ACROSS);
        picture((ACROSS, height), alternative, |area| self.draw(area, plot))
    }

    fn draw(&self, area: Area, plot: u32) -> anyhow::Result<()> {
        let (upper, lower) = area.split_vertically(plot);
        let labels = self
            .groups
            .iter()
            .map(|group| width(&group.label, LABEL_SIZE));
        let left = labels.max().unwrap_or(0).clamp(40, 200) + 20;
        let groups = f64::from(u32::try_from(self.groups.len())?);
        let mut chart = ChartBuilder::on(&upper)
            .caption(&self.title, text(TITLE_SIZE))
            .margin(10)
            .margin_right(60)
            .x_label_area_size(46)
            .y_label_area_size(left)
            .build_cartesian_2d(0.0..100.0, groups..0.0)
            .map_err(drawing)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc(&self.axis)
            .axis_style(INK)
            .axis_desc_style((FONT, LABEL_SIZE, &INK))
            .label_style((FONT, TICK_SIZE, &INK))
            .x_label_formatter(&|x| trimmed(*x))
            .bold_line_style(INK.mix(0.12))
            .light_line_style(WHITE.mix(0.0))
            .draw()
            .map_err(drawing)?;
        for (i, group) in self.groups.iter().enumerate() {
            self.group(&mut chart, f64::from(u32::try_from(i)?), group)?;
        }
        legend::draw(&self.entries(), &lower)
    }

    fn group(&self, chart: &mut Context, top: f64, group: &Group) -> anyhow::Result<()> {
        let right = text(LABEL_SIZE).pos(Pos::new(HPos::Right, VPos::Center));
        let name =
            EmptyElement::at((0.0, top + 0.5)) + Text::new(group.label.clone(), (-10, 0), right);
        chart.draw_series([name]).map_err(drawing)?;
        let count = f64::from(u32::try_from(self.series.len())?);
        let pixels = count * f64::from(BAR) + f64::from(GROUP_GAP);
        let (thick, gap) = (f64::from(BAR) / pixels, f64::from(GROUP_GAP) / pixels);
        for (i, (bar, (_, style))) in group.bars.iter().zip(&self.series).enumerate() {
            let upper = top + gap / 2.0 + f64::from(u32::try_from(i)?) * thick;
            if let Some(bar) = bar {
                bar.draw(chart, (upper, upper + thick * 0.9), *style)?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let series = self.series.iter();
        let entries = series.map(|(label, style)| Entry {
            label,
            style: *style,
            line: false,
        });
        entries.collect()
    }
}

impl Bar {
    /// The bar from `upper` to `lower`, its series' mark at the end, its interval as whiskers.
    fn draw(
        &self,
        chart: &mut Context,
        (upper, lower): (f64, f64),
        style: Style,
    ) -> anyhow::Result<()> {
        let corners = [(0.0, upper), (self.value, lower)];
        let middle = f64::midpoint(upper, lower);
        let bodies = [
            Rectangle::new(corners, style.colour().mix(0.55).filled()),
            Rectangle::new(corners, style.stroke()),
        ];
        chart.draw_series(bodies).map_err(drawing)?;
        let mut end = self.value;
        if let Some((from, to)) = self.interval {
            let (from, to) = (from.clamp(0.0, 100.0), to.clamp(0.0, 100.0));
            let whisker = PathElement::new([(from, middle), (to, middle)], INK.stroke_width(2));
            chart.draw_series([whisker]).map_err(drawing)?;
            end = end.max(to);
        }
        style.mark(chart.plotting_area(), (self.value, middle))?;
        let beside = text(TICK_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
        let note = EmptyElement::at((end, middle)) + Text::new(self.note.clone(), (9, 0), beside);
        chart.draw_series([note]).map_err(drawing)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bar_and_a_note_and_what_is_missing_has_none() {
        let bar = |value| {
            Some(Bar {
                value,
                interval: None,
                note: format!("{value:.1}"),
            })
        };
        let bars = |second| Bars {
            title: "by model".into(),
            axis: "accuracy (%)".into(),
            groups: vec![
                Group {
                    label: "vit-base".into(),
                    bars: vec![bar(20.0), bar(60.0)],
                },
                Group {
                    label: "resnet50".into(),
                    bars: vec![bar(10.0), second],
                },
            ],
            series: vec![
                ("fixed".into(), Style::of(0)),
                ("two-hinge".into(), Style::of(1)),
            ],
        };
        let whole = bars(bar(40.0)).svg("").unwrap();
        let lacking = bars(None).svg("").unwrap();
        for text in ["vit-base", "resnet50", "20.0", "40.0", "two-hinge"] {
            assert!(whole.contains(&format!("\n{text}\n")), "{text}");
        }
        assert!(!lacking.contains("\n40.0\n"));
        assert!(lacking.matches("<rect").count() < whole.matches("<rect").count());
    }
}
