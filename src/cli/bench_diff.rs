//! `narhaul bench diff`: reads two reports, and says what has changed between them.

use std::{fs, path::Path};

use crate::{
    bench::{
        diff::{self, Verdict},
        report::Report,
    },
    cli::{
        Context, bench_words,
        error::{self, Exit, Failure},
        ui::Format,
    },
};

/// Compares two reports.
pub fn run(context: &Context, old_file: &Path, new_file: &Path) -> Result<Exit, Failure> {
    let (old, new) = (read(old_file)?, read(new_file)?);
    for difference in diff::differences(&old, &new) {
        context.ui.warn(&format!("hard to compare: {difference}"));
    }
    let (lines, lost) = (diff::diff(&old, &new), diff::lost(&old, &new));
    if lines.is_empty() && lost.is_empty() {
        let failure = Failure::new(format!(
            "there is nothing to compare in `{}` and `{}`",
            old_file.display(),
            new_file.display()
        ));
        return Err(failure
            .cause("no phase was measured in both")
            .hint("run `narhaul bench --out FILE` twice with the same `--only`; what `--compare` and `--tune` have found is told by themselves"));
    }
    for phase in diff::unmatched(&old, &new) {
        context
            .ui
            .warn(&format!("`{phase}` was measured in one of them only"));
    }
    for (phase, figure) in &lost {
        context.ui.warn(&format!(
            "`{phase}` has no {} in `{}`: nothing was done there",
            figure.name(),
            new_file.display()
        ));
    }
    match context.ui.format() {
        Format::Words => context.ui.data(&bench_words::diff(&lines))?,
        Format::Json => {
            for line in &lines {
                context.ui.event(
                    "figure",
                    serde_json::json!({
                        "phase": line.phase,
                        "figure": line.figure.name(),
                        "old": line.old,
                        "new": line.new,
                        "ratio": line.change.map(|change| change.ratio),
                        "detectable": line.change.map(|change| change.detectable),
                        "verdict": bench_words::verdict(line),
                    }),
                )?;
            }
        }
    }
    let is_worse = lines.iter().any(|line| line.verdict() == Verdict::Worse);
    Ok(if is_worse || !lost.is_empty() {
        Exit::Partly
    } else {
        Exit::Done
    })
}

fn read(file: &Path) -> Result<Report, Failure> {
    let text = fs::read_to_string(file).map_err(|error| error::of_file("read", file, &error))?;
    let report = told(&text).map_or_else(|| Report::parse(&text), |told| Report::parse(&told));
    report.map_err(|error| {
        Failure::new(format!("cannot understand `{}`", file.display()))
            .because(&error)
            .hint("wanted is what `narhaul bench --out FILE` has written, or `--json` has printed")
    })
}

/// Returns the report among the events that `--json` prints, one a line.
fn told(text: &str) -> Option<String> {
    let mut events = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Map<_, _>>(line).ok());
    let mut report =
        events.find(|event| event.get("event").is_some_and(|name| name == "report"))?;
    report.remove("event");
    serde_json::to_string(&report).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_events_that_were_printed_the_report_is_found() {
        let text = "{\"event\":\"warning\",\"text\":\"x\"}\n{\"event\":\"report\",\"format\":3}\n";
        assert_eq!(told(text).unwrap(), r#"{"format":3}"#);
        assert_eq!(told("{\n  \"format\": 3\n}\n"), None);
    }
}
