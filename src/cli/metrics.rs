//! Figures of a run in a file that Prometheus' `node_exporter` collects.
//!
//! The text format of Prometheus: each metric with its help and type, then its value. The file is written
//! beside its place and renamed into it, so that a collector never reads half of one. All are gauges of
//! the last run, since a run begins from zero.

use std::{
    fmt::Write as _,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without the program's prefix.
    pub name: &'static str,
    /// What it says, in a line.
    pub help: &'static str,
    /// How much.
    pub value: u64,
}

/// Returns the metrics of the cache `place` as text.
#[must_use]
pub fn text(place: &str, metrics: &[Metric]) -> String {
    let mut text = String::new();
    for Metric { name, help, value } in metrics {
        let series = series(place, name);
        // Writing to a text does not fail.
        writeln!(
            text,
            "# HELP narhaul_{name} {help}\n# TYPE narhaul_{name} gauge\n{series} {value}"
        )
        .unwrap_or_default();
    }
    text
}

/// Returns what a file says of one metric of the cache `place`; none if it says nothing.
#[must_use]
pub fn value(file: &Path, place: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let series = series(place, name);
    let value = text.lines().find_map(|line| line.strip_prefix(&series))?;
    value.trim().parse().ok()
}

/// A metric's name with its label.
fn series(place: &str, name: &str) -> String {
    let mut label = String::new();
    for character in place.chars() {
        match character {
            '\\' => label.push_str("\\\\"),
            '"' => label.push_str("\\\""),
            '\n' => label.push_str("\\n"),
            plain => label.push(plain),
        }
    }
    format!("narhaul_{name}{{cache=\"{label}\"}}")
}

/// Writes a text so that the file is whole at every instant.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    // A name that does not end in `.prom` is not collected meanwhile.
    name.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = file.with_file_name(name);
    let written = (|| {
        let mut out = fs::File::create(&beside)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&beside, file)
    })();
    if written.is_err() {
        // What cannot be taken away again is told by the error that led here.
        fs::remove_file(&beside).unwrap_or_default();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_help_type_and_label() {
        let metric = Metric {
            name: "sweep_condemned",
            help: "Paths.",
            value: 3,
        };
        assert_eq!(
            text("s3://a\"b", &[metric]),
            "# HELP narhaul_sweep_condemned Paths.\n# TYPE narhaul_sweep_condemned gauge\n\
             narhaul_sweep_condemned{cache=\"s3://a\\\"b\"} 3\n"
        );
    }

    #[test]
    fn what_was_written_can_be_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("narhaul.prom");
        let metric = Metric {
            name: "sweep_kept",
            help: "Paths.",
            value: 7,
        };
        write(&file, &text("s3://a", &[metric])).unwrap();
        assert_eq!(value(&file, "s3://a", "sweep_kept"), Some(7));
        assert_eq!(value(&file, "s3://b", "sweep_kept"), None);
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("narhaul.prom");
        write(&file, "a 1\n").unwrap();
        write(&file, "a 2\n").unwrap();
        assert_eq!(value(&file, "p", "b"), None);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a 2\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/x.prom"), "").is_err());
    }
}
