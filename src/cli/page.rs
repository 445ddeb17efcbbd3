//! A run as one page for a browser: totals, bars, tables.
//!
//! In comes a [`Page`] of plain values ([`plot`](super::plot) has what is drawn), out comes one HTML text that needs nothing else: no script, no
//! font, no request to anywhere. It follows the browser's dark mode and prints on paper. Everything that
//! comes from a cache is escaped, and the page forbids itself to load or run anything.

use std::{
    fmt::{self, Write as _},
    time::SystemTime,
};

use super::{
    error::Failure,
    plot::{Plot, Strips},
    times::Moment,
};

/// One page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// When and where, in a sentence.
    pub subtitle: String,
    /// The numbers that matter, each with its label.
    pub figures: Vec<(String, String)>,
    /// What follows, in order.
    pub sections: Vec<Section>,
}

/// One section of a page.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// What one should know to read it; may be empty.
    pub note: String,
    /// What it shows.
    pub content: Content,
}

/// What a section shows.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bars on one scale.
    Bars(Vec<Bar>),
    /// A table.
    Table {
        /// The names of the columns.
        head: Vec<&'static str>,
        /// The rows, each as long as the head.
        rows: Vec<Vec<String>>,
    },
    /// Sentences.
    Notes(Vec<String>),
    /// Lines over axes.
    Plot(Plot),
    /// What went on when.
    Strips(Strips),
}

/// A bar of one or two parts.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// The part in strong color.
    pub strong: u64,
    /// The part in weak color behind it.
    pub weak: u64,
    /// Both in words.
    pub shown: String,
}

/// Returns the page of a run that was refused or failed before it changed anything.
#[must_use]
pub fn refused(title: String, headline: &str, when: SystemTime, failure: &Failure) -> Page {
    let causes = failure.causes.iter();
    let mut sections = vec![Section {
        title: headline.to_owned(),
        note: failure.message.clone(),
        content: Content::Notes(causes.cloned().collect()),
    }];
    if !failure.hints.is_empty() {
        sections.push(Section {
            title: "What to do".to_owned(),
            note: String::new(),
            content: Content::Notes(failure.hints.clone()),
        });
    }
    Page {
        title,
        subtitle: Moment(when).to_string(),
        figures: Vec::new(),
        sections,
    }
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"color-scheme\" content=\"light dark\">
";

const STYLE: &str = "<style>
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee6; --paper: #ffffff; --strong: #2f6fb3; --weak: #b9d0ea; --l1: #c0561c; --l2: #2c8257; --l3: #8145a8; --l4: #83700c }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e9f0; --soft: #9aa5b5; --line: #333c4a; --paper: #161b22; --strong: #6aa9e9; --weak: #2c4866; --l1: #f0935a; --l2: #63c593; --l3: #c08fe6; --l4: #d6bf4e } }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --strong: #444; --weak: #bbb } section { break-inside: avoid } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.25rem 0 .35rem }
p { margin: .25rem 0; color: var(--soft) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem; margin: 1.5rem 0 }
dl div { border-top: 2px solid var(--strong); padding-top: .35rem }
dt { color: var(--soft); font-size: .85rem } dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; margin-top: .5rem; font-size: .9rem }
th { text-align: left; color: var(--soft); font-weight: 500 }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .75rem .3rem 0; vertical-align: top; overflow-wrap: anywhere }
td:first-child { font-family: ui-monospace, monospace }
svg { width: 100%; height: auto; display: block; margin-top: .5rem } svg text { fill: currentColor; font: 13px system-ui, sans-serif }
.grid { stroke: var(--line); fill: none } .line { fill: none; stroke-width: 2; stroke-linejoin: round } .mark { fill: var(--paper) }
.l0 { stroke: var(--strong) } .l1 { stroke: var(--l1) } .l2 { stroke: var(--l2) } .l3 { stroke: var(--l3) } .l4 { stroke: var(--l4) }
.strong { fill: var(--strong) } .weak { fill: var(--weak) } .shown { fill: var(--soft) }
</style>
";

/// The width of the drawing; it scales with the page.
pub(super) const WIDTH: u64 = 900;

/// Where bars begin and how long the longest is, so that labels stand left and figures right of them.
const BAR_START: u64 = 220;
const BAR_LENGTH: u64 = 440;

/// The height of one bar with its gap.
const ROW: u64 = 26;

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        writeln!(f, "<title>{}</title>", Text(&self.title))?;
        f.write_str(STYLE)?;
        f.write_str("</head>\n<body>\n")?;
        writeln!(f, "<h1>{}</h1>", Text(&self.title))?;
        writeln!(f, "<p>{}</p>", Text(&self.subtitle))?;
        f.write_str("<dl>\n")?;
        for (label, value) in &self.figures {
            let (label, value) = (Text(label), Text(value));
            writeln!(f, "<div><dt>{label}</dt><dd>{value}</dd></div>")?;
        }
        f.write_str("</dl>\n")?;
        for section in &self.sections {
            write!(f, "{section}")?;
        }
        f.write_str("</body>\n</html>\n")
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "<section>\n<h2>{}</h2>", Text(&self.title))?;
        if !self.note.is_empty() {
            writeln!(f, "<p>{}</p>", Text(&self.note))?;
        }
        match &self.content {
            Content::Bars(bars) => draw(f, bars)?,
            Content::Plot(plot) => write!(f, "{plot}")?,
            Content::Strips(strips) => write!(f, "{strips}")?,
            Content::Table { head, rows } => {
                f.write_str("<table>\n<tr>")?;
                for name in head {
                    write!(f, "<th>{}</th>", Text(name))?;
                }
                f.write_str("</tr>\n")?;
                for row in rows {
                    f.write_str("<tr>")?;
                    for cell in row {
                        write!(f, "<td>{}</td>", Text(cell))?;
                    }
                    f.write_str("</tr>\n")?;
                }
                f.write_str("</table>\n")?;
            }
            Content::Notes(notes) => {
                f.write_str("<ul>\n")?;
                for note in notes {
                    writeln!(f, "<li>{}</li>", Text(note))?;
                }
                f.write_str("</ul>\n")?;
            }
        }
        f.write_str("</section>\n")
    }
}

fn draw(f: &mut fmt::Formatter<'_>, bars: &[Bar]) -> fmt::Result {
    let rows = u64::try_from(bars.len()).unwrap_or(0);
    let longest = bars.iter().map(|bar| bar.strong.saturating_add(bar.weak));
    let longest = u128::from(longest.max().unwrap_or(0).max(1));
    let length = |value: u64| {
        let scaled = u128::from(value) * u128::from(BAR_LENGTH) / longest;
        u64::try_from(scaled).unwrap_or(BAR_LENGTH)
    };
    let height = rows * ROW;
    writeln!(
        f,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">"
    )?;
    for (bar, row) in bars.iter().zip(0..) {
        let (top, base) = (row * ROW + 4, row * ROW + 18);
        let (strong, weak) = (length(bar.strong), length(bar.weak));
        let (middle, end) = (BAR_START + strong, BAR_START + strong + weak);
        let (label, shown) = (shortened(&bar.label), Text(&bar.shown));
        writeln!(
            f,
            "<text x=\"0\" y=\"{base}\">{label}<title>{full}</title></text>\
             <rect class=\"strong\" x=\"{BAR_START}\" y=\"{top}\" width=\"{strong}\" height=\"18\"/>\
             <rect class=\"weak\" x=\"{middle}\" y=\"{top}\" width=\"{weak}\" height=\"18\"/>\
             <text class=\"shown\" x=\"{shown_at}\" y=\"{base}\">{shown}</text>",
            full = Text(&bar.label),
            shown_at = end + 8,
        )?;
    }
    f.write_str("</svg>\n")
}

/// A label that fits in front of its bar.
fn shortened(label: &str) -> String {
    /// As many characters fit into [`BAR_START`].
    const FIT: usize = 30;
    if label.chars().count() <= FIT {
        return Text(label).to_string();
    }
    let mut short: String = label.chars().take(FIT - 1).collect();
    short.push('…');
    Text(&short).to_string()
}

/// A text that stands for itself in HTML.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                control if control.is_control() => f.write_char(' ')?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_it_is_given_and_loads_nothing() {
        let bar = |label: &str, strong, weak| Bar {
            label: label.to_owned(),
            strong,
            weak,
            shown: format!("{strong} + {weak}"),
        };
        let page = Page {
            title: "sweep of <b>".to_owned(),
            subtitle: "now".to_owned(),
            figures: vec![("kept".to_owned(), "3 & 4".to_owned())],
            sections: vec![Section {
                title: "sizes".to_owned(),
                note: String::new(),
                content: Content::Bars(vec![bar("a", 30, 10), bar("b", u64::MAX / 2, 0)]),
            }],
        };
        let text = page.to_string();
        assert!(text.contains("<title>sweep of &lt;b&gt;</title>"));
        assert!(text.contains("<dt>kept</dt><dd>3 &amp; 4</dd>"));
        assert!(text.contains("width=\"440\""), "{text}");
        for loading in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!text.contains(loading), "{loading}");
        }
    }
}
