//! Lines over a run as text, for terminals.

/// Columns of the drawing.
pub const WIDTH: usize = 64;
const HEIGHT: usize = 13;
/// One a line, again from the first when there are more.
const MARKS: [char; 8] = ['*', '+', 'o', 'x', '#', '@', '%', '='];

/// A line of the drawing.
pub struct Line {
    /// What it is.
    pub label: String,
    /// Its height at each of the [`WIDTH`] columns, in `[0, 1]`.
    pub heights: Vec<f64>,
}

/// The drawing, with `top` and 0 at the vertical axis and 0 and `end` at the horizontal one, and below it
/// which mark is which. Where lines meet, the first one is seen.
pub fn draw(lines: &[Line], top: &str, end: &str) -> String {
    let mut rows = vec![vec![' '; WIDTH]; HEIGHT];
    // The first line is drawn last, over the others.
    for (i, line) in lines.iter().enumerate().rev() {
        trace(line, mark(i), &mut rows);
    }
    let margin = top.len();
    let labelled = rows.iter().enumerate().map(|(i, row)| {
        let label = match i {
            0 => top,
            _ if i == HEIGHT - 1 => "0",
            _ => "",
        };
        let row: String = row.iter().collect();
        format!("{label:>margin$} |{}", row.trim_end())
    });
    let gap = WIDTH - 1;
    let axis = [
        format!("{:margin$} +{}", "", "-".repeat(WIDTH)),
        format!("{:margin$}  0{end:>gap$}", ""),
    ];
    let legend = lines
        .iter()
        .enumerate()
        .map(|(i, line)| format!("{:margin$}  {} {}", "", mark(i), line.label));
    let text: Vec<String> = labelled.chain(axis).chain(legend).collect();
    text.join("\n") + "\n"
}

fn mark(line: usize) -> char {
    MARKS[line % MARKS.len()]
}

/// Sets the line's mark in each column, and between two columns in the rows that a jump passes.
fn trace(line: &Line, mark: char, rows: &mut [Vec<char>]) {
    let mut before = None;
    for (column, height) in line.heights.iter().enumerate().take(WIDTH) {
        let row = row(*height);
        let from = before.unwrap_or(row);
        for passed in rows.iter_mut().take(row.max(from) + 1).skip(row.min(from)) {
            passed[column] = mark;
        }
        before = Some(row);
    }
}

/// The row of a height, counted from the top.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of the rows is between 0 and their count"
)]
fn row(height: f64) -> usize {
    ((1.0 - height.clamp(0.0, 1.0)) * (HEIGHT - 1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, height: impl Fn(usize) -> f64) -> Line {
        Line {
            label: label.to_owned(),
            heights: (0..WIDTH).map(height).collect(),
        }
    }

    #[test]
    fn constant_line_fills_its_row_and_a_jump_joins_rows() {
        let jump = |column| if column < WIDTH / 2 { 0.0 } else { 1.0 };
        let text = draw(&[line("jump", jump)], "4/255", "50 epochs");
        let rows: Vec<_> = text.lines().collect();
        let marks = |row: &str| row.matches('*').count();
        assert!(rows[0].starts_with("4/255 |"), "{text}");
        assert!(rows[HEIGHT - 1].starts_with("    0 |"), "{text}");
        assert_eq!(marks(rows[0]), WIDTH / 2, "{text}");
        assert_eq!(marks(rows[HEIGHT - 1]), WIDTH / 2 + 1, "{text}");
        assert!(rows[1..HEIGHT - 1].iter().all(|row| marks(row) == 1));
        assert!(rows[HEIGHT + 1].ends_with("50 epochs"), "{text}");
        assert_eq!(rows[HEIGHT + 2].trim(), "* jump");
    }

    #[test]
    fn first_line_is_seen_where_lines_meet() {
        let text = draw(&[line("a", |_| 1.0), line("b", |_| 1.0)], "1", "1");
        let top = text.lines().next().unwrap();
        assert_eq!(top.matches('*').count(), WIDTH);
        assert!(!top.contains('+'));
        assert!(text.contains("+ b"), "{text}");
    }
}
