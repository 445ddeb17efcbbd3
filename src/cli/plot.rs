//! Drawings on pages: lines over two axes, and what went on when.
//!
//! In come plain values, out comes SVG whose colors are those of the page ([`page`](super::page)), so that
//! it follows the browser's dark mode and prints. It is made here and not by a crate: those that draw for
//! the web want scripts, and those that draw without fix their colors and measure letters of fonts that the
//! reader does not have.
//!
//! Everything has a size that a page of paper has room for: at most [`MAX_POINTS`] points a line and
//! [`MAX_CELLS`] cells a strip; more are drawn together.

use std::fmt;

use super::page::{Text, WIDTH};

/// The height of a plot.
const HEIGHT: f64 = 260.0;

/// What is kept free around its field: for the legend, the names of its axes, and their figures.
const TOP: f64 = 30.0;
const LEFT: f64 = 92.0;
const BELOW: f64 = 44.0;
const RIGHT: f64 = 14.0;

/// More points than this in a line are not told apart at the width of a page.
const MAX_POINTS: usize = 300;

/// More cells than this in a strip likewise.
pub const MAX_CELLS: usize = 160;

/// Colors that the page has for lines; the next line begins anew.
pub const N_COLORS: usize = 5;

/// Lines over two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What goes to the right.
    pub x: Axis,
    /// What goes up.
    pub y: Axis,
    /// What is drawn; a line without points is left out.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is of.
    pub label: String,
    /// Where it goes, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Whether it is broken: what was allowed and not what was.
    pub is_broken: bool,
    /// Whether its points are marked, and each with what.
    pub marks: Vec<String>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Even,
    Log,
}

impl Axis {
    /// From zero to a round figure that is not below `most`.
    pub fn even(label: &str, most: f64, show: impl Fn(f64) -> String) -> Self {
        let step = round_step(most / 4.0);
        let n_steps = (most / step).ceil().max(1.0);
        let ticks = (0..=4_u32).map(|tick| f64::from(tick) * step);
        Self {
            label: label.to_owned(),
            scale: Scale::Even,
            from: 0.0,
            to: n_steps * step,
            ticks: ticks
                .take_while(|value| *value <= n_steps * step)
                .map(|value| (value, show(value)))
                .collect(),
        }
    }

    /// Between round figures around `values`, not from zero: where what matters is their distance.
    pub fn around(
        label: &str,
        values: impl IntoIterator<Item = f64>,
        show: impl Fn(f64) -> String,
    ) -> Self {
        let (least, most) = values.into_iter().fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), value| (least.min(value), most.max(value)),
        );
        let (least, most) = if least <= most {
            (least, most)
        } else {
            (0.0, 0.0)
        };
        let step = round_step((most - least) / 4.0);
        let from = (least / step).floor() * step;
        // Six suffice: five steps of a quarter at least, and one for either end.
        let ticks = (0..=6_u32).map(|tick| from + f64::from(tick) * step);
        let mut ticks: Vec<_> = ticks.map(|value| (value, show(value))).collect();
        let n_needed = ticks.iter().take_while(|(value, _)| *value < most).count();
        ticks.truncate((n_needed + 1).max(2));
        Self {
            label: label.to_owned(),
            scale: Scale::Even,
            from,
            to: ticks.last().map_or(from, |(value, _)| *value),
            ticks,
        }
    }

    /// By factors, from a power of ten to one.
    pub fn log(label: &str, least: f64, most: f64, show: impl Fn(f64) -> String) -> Self {
        // Of nothing there is neither a least nor a most.
        let is_there = least > 0.0 && least.is_finite() && most.is_finite();
        let (least, most) = if is_there { (least, most) } else { (1.0, 1.0) };
        let from = least.log10().floor();
        let to = most.max(least).log10().ceil().max(from + 1.0);
        let mut ticks = Vec::new();
        let mut power = from;
        while power <= to {
            let value = 10_f64.powf(power);
            ticks.push((value, show(value)));
            power += 1.0;
        }
        Self {
            label: label.to_owned(),
            scale: Scale::Log,
            from: 10_f64.powf(from),
            to: 10_f64.powf(to),
            ticks,
        }
    }

    /// By factors, with these figures and no others, of which the first and the last are its ends.
    #[must_use]
    pub fn log_at(label: &str, ticks: Vec<(f64, String)>) -> Self {
        let values = ticks.iter().map(|(value, _)| *value);
        Self {
            label: label.to_owned(),
            scale: Scale::Log,
            from: values.clone().fold(f64::INFINITY, f64::min),
            to: values.fold(0.0, f64::max),
            ticks,
        }
    }

    /// Returns where a value lies, between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| match self.scale {
            Scale::Even => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
        };
        let (from, to) = (of(self.from), of(self.to));
        if to > from {
            ((of(value) - from) / (to - from)).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// Returns the next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn round_step(wanted: f64) -> f64 {
    if wanted <= 0.0 || !wanted.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(wanted.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    let factor = factors.into_iter().find(|factor| factor * power >= wanted);
    factor.unwrap_or(10.0) * power
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">"
        )?;
        self.draw_field(f)?;
        let lines = self.lines.iter().filter(|line| !line.points.is_empty());
        let mut legend_at = LEFT;
        for (line, index) in lines.zip(0..) {
            let class = format!("line l{}", index % N_COLORS);
            self.draw_line(f, line, &class)?;
            legend_at = draw_legend(f, line, &class, legend_at)?;
        }
        f.write_str("</svg>\n")
    }
}

impl Plot {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (right, bottom) = (page_width() - RIGHT, HEIGHT - BELOW);
        (
            LEFT + self.x.place(x) * (right - LEFT),
            bottom - self.y.place(y) * (bottom - TOP),
        )
    }

    /// Draws the axes with their figures.
    fn draw_field(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (right, bottom) = (page_width() - RIGHT, HEIGHT - BELOW);
        for (value, shown) in &self.y.ticks {
            let (_, y) = self.at((self.x.from, *value));
            writeln!(
                f,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"shown\" x=\"{at}\" y=\"{base:.1}\" text-anchor=\"end\">{shown}</text>",
                at = LEFT - 8.0,
                base = y + 4.0,
                shown = Text(shown),
            )?;
        }
        for (value, shown) in &self.x.ticks {
            let (x, _) = self.at((*value, self.y.from));
            let anchor = if x > right - 20.0 { "end" } else { "middle" };
            writeln!(
                f,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
                 <text class=\"shown\" x=\"{x:.1}\" y=\"{base}\" text-anchor=\"{anchor}\">{shown}</text>",
                base = bottom + 17.0,
                shown = Text(shown),
            )?;
        }
        writeln!(
            f,
            "<text class=\"shown\" x=\"{middle}\" y=\"{base}\" text-anchor=\"middle\">{label}</text>\
             <text class=\"shown\" x=\"0\" y=\"{top}\">{up}</text>",
            middle = f64::midpoint(LEFT, right),
            base = HEIGHT - 8.0,
            label = Text(&self.x.label),
            top = 14,
            up = Text(&self.y.label),
        )
    }

    fn draw_line(&self, f: &mut fmt::Formatter<'_>, line: &Line, class: &str) -> fmt::Result {
        let broken = broken(line);
        write!(f, "<path class=\"{class}\"{broken} d=\"")?;
        for (index, point) in thinned(&line.points).into_iter().enumerate() {
            let (x, y) = self.at(point);
            let how = if index == 0 { 'M' } else { 'L' };
            write!(f, "{how}{x:.1} {y:.1}")?;
        }
        f.write_str("\"/>\n")?;
        for ((point, mark), index) in line.points.iter().zip(&line.marks).zip(0_usize..) {
            let (x, y) = self.at(*point);
            // By turns above and below, so that neighbors have room.
            let away = if index.is_multiple_of(2) { -8.0 } else { 20.0 };
            writeln!(
                f,
                "<circle class=\"{class} mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
                 <text class=\"shown\" x=\"{at:.1}\" y=\"{base:.1}\">{mark}</text>",
                at = x - 3.0,
                base = y + away,
                mark = Text(mark),
            )?;
        }
        Ok(())
    }
}

/// Draws what a line is of above the field; returns where the next one begins.
fn draw_legend(
    f: &mut fmt::Formatter<'_>,
    line: &Line,
    class: &str,
    at: f64,
) -> Result<f64, fmt::Error> {
    /// About as wide is a letter of the page's font.
    const LETTER: f64 = 7.0;
    let text = at + 34.0;
    writeln!(
        f,
        "<path class=\"{class}\"{broken} d=\"M{at:.1} 10h26\"/>\
         <text x=\"{text:.1}\" y=\"14\">{label}</text>",
        broken = broken(line),
        label = Text(&line.label),
    )?;
    let letters = u32::try_from(line.label.chars().count()).unwrap_or_default();
    Ok(text + f64::from(letters) * LETTER + 22.0)
}

const fn broken(line: &Line) -> &'static str {
    if line.is_broken {
        " stroke-dasharray=\"5 4\""
    } else {
        ""
    }
}

fn page_width() -> f64 {
    f64::from(u32::try_from(WIDTH).unwrap_or(u32::MAX))
}

/// Draws neighbors together until there are few enough: each is the mean of as many.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MAX_POINTS).max(1);
    let together = points.chunks(each).map(|few| {
        let n = f64::from(u32::try_from(few.len()).unwrap_or(1));
        let sum = few
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / n, sum.1 / n)
    });
    together.collect()
}

/// What went on when: one strip for each stage, darker where more was done.
#[derive(Clone, Debug)]
pub struct Strips {
    /// How long it took in all.
    pub seconds: f64,
    /// The stages, each with what it did in each of as many equal times, at most [`MAX_CELLS`].
    pub rows: Vec<(String, Vec<f64>)>,
}

/// Where strips begin, and their height with the gap.
const STRIP_START: f64 = 120.0;
const STRIP: f64 = 28.0;

impl fmt::Display for Strips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_rows = f64::from(u32::try_from(self.rows.len()).unwrap_or_default());
        let bottom = n_rows * STRIP;
        writeln!(
            f,
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">",
            height = bottom + 42.0
        )?;
        let axis = Axis::even("", self.seconds, |value| format!("{value}"));
        let width = page_width() - RIGHT - STRIP_START;
        for ((label, cells), top) in self.rows.iter().zip(0_u32..) {
            draw_strip(
                f,
                label,
                cells,
                f64::from(top) * STRIP,
                width * axis.place(self.seconds),
            )?;
        }
        for (value, shown) in &axis.ticks {
            let x = STRIP_START + width * axis.place(*value);
            writeln!(
                f,
                "<path class=\"grid\" d=\"M{x:.1} 0V{bottom}\"/>\
                 <text class=\"shown\" x=\"{x:.1}\" y=\"{base}\" text-anchor=\"middle\">{shown}</text>",
                base = bottom + 16.0,
                shown = Text(shown),
            )?;
        }
        writeln!(
            f,
            "<text class=\"shown\" x=\"{middle}\" y=\"{base}\" text-anchor=\"middle\">seconds</text>",
            middle = STRIP_START + width / 2.0,
            base = bottom + 34.0,
        )?;
        f.write_str("</svg>\n")
    }
}

/// Draws one strip; cells in which nothing was done stay empty.
fn draw_strip(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    cells: &[f64],
    top: f64,
    width: f64,
) -> fmt::Result {
    let most = cells.iter().copied().fold(0.0, f64::max);
    let each = width / f64::from(u32::try_from(cells.len().max(1)).unwrap_or(1));
    writeln!(
        f,
        "<text x=\"0\" y=\"{base}\">{label}</text>",
        base = top + 17.0,
        label = Text(label)
    )?;
    for (cell, index) in cells.iter().zip(0_u32..) {
        if *cell > 0.0 && most > 0.0 {
            // A little is seen too.
            let shade = 0.15 + 0.85 * cell / most;
            let x = STRIP_START + f64::from(index) * each;
            writeln!(
                f,
                "<rect class=\"strong\" x=\"{x:.1}\" y=\"{y}\" width=\"{wide:.2}\" height=\"20\" fill-opacity=\"{shade:.2}\"/>",
                y = top + 3.0,
                wide = each + 0.3,
            )?;
        }
    }
    Ok(())
}

/// Shares out what was done in all by certain moments among `n_cells` equal times up to `seconds`.
///
/// Between two moments work is taken to have gone on evenly.
#[must_use]
pub fn cells(moments: &[(f64, f64)], seconds: f64, n_cells: usize) -> Vec<f64> {
    let n = f64::from(u32::try_from(n_cells).unwrap_or(u32::MAX));
    let by = |time: f64| {
        let after = moments.partition_point(|(at, _)| *at < time);
        match (after.checked_sub(1), moments.get(after)) {
            (Some(before), Some((to, more))) => {
                let (from, less) = moments[before];
                let share = (time - from) / (to - from).max(f64::EPSILON);
                less + (more - less) * share
            }
            (None, Some((to, more))) => more * (time / to.max(f64::EPSILON)).min(1.0),
            (Some(before), None) => moments[before].1,
            (None, None) => 0.0,
        }
    };
    let ends = (0..n_cells).map(|cell| f64::from(u32::try_from(cell).unwrap_or_default()));
    ends.map(|cell| (by((cell + 1.0) * seconds / n) - by(cell * seconds / n)).max(0.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn axes_end_at_round_figures_and_hold_everything() {
        let axis = Axis::even("x", 37.0, |value| format!("{value}"));
        let shown: Vec<_> = axis.ticks.iter().map(|(_, shown)| shown.as_str()).collect();
        assert_eq!(shown, ["0", "10", "20", "30", "40"]);
        assert!(close(axis.place(40.0), 1.0) && close(axis.place(10.0), 0.25));
        let none = Axis::even("x", 0.0, |value| format!("{value}"));
        assert!(close(none.place(0.0), 0.0));

        let log = Axis::log("y", 0.2, 700.0, |value| format!("{value}"));
        assert_eq!(log.ticks.len(), 5);
        assert!(close(log.place(0.1), 0.0) && close(log.place(1000.0), 1.0));
        assert!(close(log.place(10.0), 0.5));
        assert!(close(log.place(0.0), 0.0), "less than nothing has no place");
        let none = Axis::log("y", f64::INFINITY, 0.0, |value| format!("{value}"));
        assert_eq!(none.ticks.len(), 2);
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_means() {
        let points: Vec<_> = (0..3000).map(|n| (f64::from(n), 2.0)).collect();
        let thin = thinned(&points);
        assert_eq!(thin.len(), MAX_POINTS);
        assert!(thin.iter().all(|(_, y)| close(*y, 2.0)));
        assert!(close(thin[0].0, 4.5));
    }

    #[test]
    fn what_was_done_is_shared_out_over_time() {
        // Nothing in the first second, then four a second.
        let moments = [(1.0, 0.0), (2.0, 4.0), (3.0, 8.0)];
        assert_eq!(cells(&moments, 4.0, 4), [0.0, 4.0, 4.0, 0.0]);
        assert_eq!(cells(&moments, 4.0, 2), [4.0, 4.0]);
        assert_eq!(cells(&[], 4.0, 2), [0.0, 0.0]);
    }

    #[test]
    fn a_plot_draws_its_lines_and_escapes_their_names() {
        let plot = Plot {
            x: Axis::even("seconds", 10.0, |value| format!("{value}")),
            y: Axis::even("a second", 1.0, |value| format!("{value}")),
            lines: vec![
                Line {
                    label: "a<b".to_owned(),
                    points: vec![(0.0, 0.0), (10.0, 1.0)],
                    is_broken: true,
                    marks: Vec::new(),
                },
                Line {
                    label: "none".to_owned(),
                    points: Vec::new(),
                    is_broken: false,
                    marks: Vec::new(),
                },
            ],
        };
        let text = plot.to_string();
        assert!(text.contains("d=\"M92.0 216.0L886.0 30.0\""), "{text}");
        assert!(text.contains("a&lt;b") && !text.contains("none"));
        assert_eq!(text.matches("stroke-dasharray").count(), 2);
    }

    #[test]
    fn strips_are_empty_where_nothing_was_done() {
        let strips = Strips {
            seconds: 8.0,
            rows: vec![("pack".to_owned(), vec![0.0, 1.0, 4.0, 0.0])],
        };
        let text = strips.to_string();
        assert_eq!(text.matches("<rect").count(), 2);
        assert!(text.contains("fill-opacity=\"0.36\"") && text.contains("fill-opacity=\"1.00\""));
    }
}
