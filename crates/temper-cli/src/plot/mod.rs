//! Pictures: lines, bars and heat maps as SVG, lines in the terminal. They know nothing of sweeps.
//! Every SVG is legible in print, without colour, and to screen readers.

pub mod bars;
pub mod heat;
mod legend;
pub mod lines;
mod style;
pub mod terminal;

use anyhow::anyhow;
use minijinja::HtmlEscape;
use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    style::{IntoFont as _, RGBColor, TextStyle, WHITE},
};

pub use style::Style;

/// Text and axes: dark enough for print, softer than black.
const INK: RGBColor = RGBColor(34, 34, 34);
const FONT: &str = "sans-serif";
const TITLE_SIZE: i32 = 20;
const LABEL_SIZE: i32 = 16;
const TICK_SIZE: i32 = 15;

/// A part of a picture.
pub type Area<'a, 'b> = &'a DrawingArea<SVGBackend<'b>, Shift>;

/// An SVG of this size in pixels, whose text alternative is `title`.
pub fn picture(
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(Area) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        draw(&root)?;
        root.present().map_err(drawing)?;
    }
    Ok(with_alternative(&svg, title))
}

/// Names the picture for who does not see it.
fn with_alternative(svg: &str, title: &str) -> String {
    let title = HtmlEscape(title);
    let named = svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{title}\" "),
        1,
    );
    named.replacen('>', &format!("><title>{title}</title>"), 1)
}

fn text(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Pixels that so much text takes, about: no font is at hand to ask.
fn width(text: &str, size: i32) -> i32 {
    let letters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
    letters.saturating_mul(size) / 2
}

/// `4`, `0.5`.
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_has_a_text_alternative_in_which_nothing_is_markup() {
        let svg = picture((10, 10), "a < b & \"c\"", |_| Ok(())).unwrap();
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"a &lt; b &amp; &quot;c&quot;\""));
        assert_eq!(
            svg.matches("<title>a &lt; b &amp; &quot;c&quot;</title>")
                .count(),
            1
        );
        assert!(svg.contains("viewBox"), "{svg}");
    }

    #[test]
    fn numbers_end_with_a_digit_that_says_something() {
        let texts = [4.0, 0.5, 0.25, 100.0].map(trimmed);
        assert_eq!(texts, ["4", "0.5", "0.25", "100"]);
    }
}
