//! What a run of the program said, as one text that is the same on every machine.
//!
//! Takes both streams and the exit code; gives the text that tests compare as a snapshot. What differs
//! between runs is replaced by its kind in brackets: the test's folder, ports, times, rates and sizes.
//! Exact figures are asserted on `stdout` and `stderr` themselves, or on the program's JSON.

use std::{fmt::Write as _, path::Path};

/// What came out of one run.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Standard output as it was, for what is no text.
    pub(crate) bytes: Vec<u8>,
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// The folder of the test, as it may stand in the text.
    pub(crate) folder: String,
}

impl Output {
    /// Both streams and the exit code, with everything replaced that differs from run to run.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                let stream = redact(stream, &self.folder);
                writeln!(text, "--- {name}\n{}", stream.trim_end_matches('\n')).unwrap();
            }
        }
        match self.code {
            Some(code) => writeln!(text, "--- exit {code}").unwrap(),
            None => writeln!(text, "--- ended by a signal").unwrap(),
        }
        text
    }

    /// The run, if it ended with this code; else the whole of what it said.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The run, if all went well.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.expect_code(0)
    }

    /// Says what is wanted in either stream.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.stdout.contains(words) || self.stderr.contains(words)
    }
}

/// Units of figures that differ from run to run, by what they are replaced with.
const UNITS: [(&str, &[&str]); 3] = [
    (
        "[RATE]",
        &[
            "B/s", "kB/s", "KB/s", "MB/s", "GB/s", "KiB/s", "MiB/s", "GiB/s", "/s",
        ],
    ),
    (
        "[SIZE]",
        &["B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB", "bytes"],
    ),
    (
        "[TIME]",
        &["ns", "µs", "us", "ms", "s", "min", "h", "seconds"],
    ),
];

/// Replaces the folder, ports behind a loopback address, and figures with a unit.
pub(crate) fn redact(text: &str, folder: &str) -> String {
    let text = text.replace(folder, "[DIR]");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        let inside_word = out.ends_with(|c: char| c.is_alphanumeric() || "-_./:".contains(c));
        if character.is_ascii_digit() && out.ends_with("127.0.0.1:") {
            out.push_str("[PORT]");
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if character.is_ascii_digit() && !inside_word {
            let (shown, length) = figure(rest);
            out.push_str(shown);
            rest = &rest[length..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

/// What is shown for the figure that a text begins with, and how much of the text it is.
fn figure(text: &str) -> (&str, usize) {
    let is_figure = |c: char| c.is_ascii_digit() || ".,".contains(c);
    let number = text.find(|c: char| !is_figure(c)).unwrap_or(text.len());
    let behind = text[number..].strip_prefix(' ').unwrap_or(&text[number..]);
    let start = text.len() - behind.len();
    let is_unit = |c: char| c.is_alphabetic() || c == '/';
    let end = start + behind.find(|c: char| !is_unit(c)).unwrap_or(behind.len());
    let kind = UNITS
        .iter()
        .find(|(_, units)| units.contains(&&text[start..end]));
    kind.map_or((&text[..number], number), |(kind, _)| (*kind, end))
}

/// The folder's name as the program may print it.
pub(crate) fn shown(folder: &Path) -> String {
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_differs_between_runs_is_replaced_by_its_kind() {
    let said = "copied 12 paths, 3.4 MiB in 120 ms (28.3 MiB/s) to file:///tmp/x/cache via \
        http://127.0.0.1:4711/b; sha256-7 MB of nar/0s.nar, exit 3";
    insta::assert_snapshot!(redact(said, "/tmp/x"), @"copied 12 paths, [SIZE] in [TIME] ([RATE]) to file://[DIR]/cache via http://127.0.0.1:[PORT]/b; sha256-7 MB of nar/0s.nar, exit 3");
}
