//! The only place that prints.
//!
//! Data goes to standard output, everything said about it to standard error. With `--json` standard
//! output carries one JSON object per line, each with an `event`; errors in words still go to standard
//! error. Without a terminal there are no colors, no bars and no wrapping, so that logs and tests see
//! the same text everywhere.
//!
//! While bars are drawn, [`Ui`] prints through them, so that a line never cuts a bar in two.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use indicatif::MultiProgress;

use crate::cli::{
    env::{self, Env},
    error::{Exit, Failure},
};

/// Lines wider than this are tiring to read, however wide the terminal is.
const MAX_WIDTH: usize = 100;

/// Below this every second line would hold one word.
const MIN_WIDTH: usize = 40;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Loudness {
    /// Errors and warnings only.
    Quiet,
    /// What was done, and how far it is.
    #[default]
    Normal,
    /// Also where each choice came from.
    Verbose,
}

/// For whom standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Words,
    /// For programs: JSON lines.
    Json,
}

/// Prints.
#[derive(Debug)]
pub struct Ui {
    loudness: Loudness,
    format: Format,
    has_color: bool,
    /// The width of the terminal that standard error is; none if it is none.
    width: Option<usize>,
    /// The bars that are being drawn. A lock because warnings come from other threads than bars.
    bars: Mutex<Option<MultiProgress>>,
}

impl Ui {
    /// Looks at the streams and the environment.
    #[must_use]
    pub fn new(env: &Env, loudness: Loudness, format: Format) -> Self {
        let width = io::stderr().is_terminal().then(|| terminal_width(env));
        Self {
            loudness,
            format,
            has_color: width.is_some() && env.get(&env::NO_COLOR).is_none(),
            width,
            bars: Mutex::new(None),
        }
    }

    /// Returns how much is said.
    #[must_use]
    pub const fn loudness(&self) -> Loudness {
        self.loudness
    }

    /// Returns for whom standard output is.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns whether a person watches standard error.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        self.width.is_some()
    }

    /// Returns whether standard output is a terminal.
    #[must_use]
    pub fn has_terminal_output(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes data to standard output, exactly as it is.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        self.around_bars(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::broken_pipe(),
            _ => Failure::new("cannot write to standard output").because(&error),
        })
    }

    /// Writes data to standard output, unless that is for programs, who get it in an event.
    pub fn data_in_words(&self, text: &str) -> Result<(), Failure> {
        match self.format {
            Format::Words => self.data(text),
            Format::Json => Ok(()),
        }
    }

    /// Writes one event to standard output; nothing without `--json`.
    pub fn event(&self, name: &str, fields: serde_json::Value) -> Result<(), Failure> {
        if self.format != Format::Json {
            return Ok(());
        }
        // The name first, so that people can read along.
        let mut line = serde_json::json!(name).to_string();
        if let serde_json::Value::Object(fields) = fields {
            for (key, value) in fields {
                line.push(',');
                line.push_str(&serde_json::json!(key).to_string());
                line.push(':');
                line.push_str(&value.to_string());
            }
        }
        self.data(&format!("{{\"event\":{line}}}\n"))
    }

    /// Says what was done, or how far it is.
    pub fn say(&self, text: &str) {
        if self.loudness >= Loudness::Normal {
            self.line(text);
        }
    }

    /// Says what only a person who asked for details wants to know.
    pub fn detail(&self, text: &str) {
        if self.loudness >= Loudness::Verbose {
            self.line(text);
        }
    }

    /// Warns; not even `--quiet` silences that.
    pub fn warn(&self, text: &str) {
        self.line(&self.labeled("warning", "33", text));
    }

    /// Tells why a run failed, and what to do.
    pub fn failure(&self, failure: &Failure) {
        if !failure.message.is_empty() {
            self.line(&self.render(failure));
        }
    }

    /// Prints what clap has to say: help on standard output, mistakes on standard error.
    pub fn usage(&self, error: &clap::Error) {
        // A closed standard output while help is printed is nobody's loss.
        error.print().unwrap_or_default();
    }

    /// Draws bars from now on; what else is printed goes around them.
    pub fn set_bars(&self, bars: Option<MultiProgress>) {
        *self.bars.lock().unwrap_or_else(PoisonError::into_inner) = bars;
    }

    fn render(&self, failure: &Failure) -> String {
        let is_bug = failure.exit == Exit::Bug;
        let label = if is_bug { "internal error" } else { "error" };
        let mut text = self.labeled(label, "1;31", &failure.message);
        for cause in &failure.causes {
            text.push('\n');
            text.push_str(&self.labeled("cause", "31", cause));
        }
        if is_bug {
            text.push_str("\n  nothing more was changed; this is a bug in narhaul");
        }
        for (index, hint) in failure.hints.iter().enumerate() {
            text.push_str(if index == 0 { "\n\n" } else { "\n" });
            text.push_str(&self.labeled("hint", "36", hint));
        }
        text
    }

    fn labeled(&self, label: &str, color: &str, text: &str) -> String {
        let text = wrap(&escape(text), self.width, label.len() + 2);
        if self.has_color {
            format!("\x1b[{color}m{label}:\x1b[0m {text}")
        } else {
            format!("{label}: {text}")
        }
    }

    fn line(&self, text: &str) {
        self.around_bars(|| {
            // Standard error that is closed leaves nobody to tell.
            writeln!(io::stderr().lock(), "{text}").unwrap_or_default();
        });
    }

    fn around_bars<T>(&self, print: impl FnOnce() -> T) -> T {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

fn terminal_width(env: &Env) -> usize {
    let told = env.get(&env::COLUMNS).and_then(|width| width.parse().ok());
    let width = told.or_else(|| {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        (size.ws_col > 0).then(|| usize::from(size.ws_col))
    });
    width.unwrap_or(80).clamp(MIN_WIDTH, MAX_WIDTH)
}

/// Shows control characters instead of obeying them: names come from files and servers.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_debug());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Breaks a text at blanks so that it fits a terminal, with later lines indented.
fn wrap(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else {
        return text.to_owned();
    };
    let (mut lines, mut column) = (String::with_capacity(text.len()), indent);
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > width {
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Ui {
        Ui {
            loudness: Loudness::Normal,
            format: Format::Words,
            has_color: false,
            width: None,
            bars: Mutex::new(None),
        }
    }

    #[test]
    fn a_failure_is_an_error_its_causes_and_after_a_blank_line_its_hints() {
        let failure = Failure::new("cannot list `s3://cache`")
            .cause("access denied")
            .hint("ask for more");
        insta::assert_snapshot!(plain().render(&failure), @r"
        error: cannot list `s3://cache`
        cause: access denied

        hint: ask for more
        ");
    }

    #[test]
    fn a_bug_is_not_told_as_a_mistake_of_others() {
        let text = plain().render(&Failure::bug("the plan copies `a` before `b`"));
        insta::assert_snapshot!(text, @r"
        internal error: the plan copies `a` before `b`
          nothing more was changed; this is a bug in narhaul

        hint: please report it with the lines above
        ");
    }

    #[test]
    fn a_name_with_control_characters_cannot_move_the_cursor() {
        let text = plain().render(&Failure::new("cannot read `\x1b[2Ja\nb`"));
        assert_eq!(text, r"error: cannot read `\u{1b}[2Ja\nb`");
    }

    #[test]
    fn a_terminal_gets_lines_that_fit_it() {
        let ui = Ui {
            width: Some(40),
            ..plain()
        };
        let failure = Failure::new("one two three four five six seven eight nine ten eleven");
        insta::assert_snapshot!(ui.render(&failure), @r"
        error: one two three four five six seven
               eight nine ten eleven
        ");
    }
}
