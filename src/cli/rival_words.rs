//! A comparison with other programs: in words, and on a page.

use std::fmt::Write as _;

use crate::{
    bench::{
        compare,
        report::{Compared, Took},
        stats::Sample,
    },
    cli::{
        bench_page,
        bench_words::{middle, seconds_of, spread, table},
        page::{Content, Section},
    },
};

/// The columns of the table.
const PROGRAMS: [&str; 7] = [
    "program", "cold s", "spread", "CPU s", "again s", "spread", "CPU s",
];

/// What is to be known of those that get files.
const FILES: &str =
    "is given the bodies and narinfos as files, and only sends them: a ceiling of sending alone";

fn rows(all: &[Compared]) -> Vec<[String; 7]> {
    let sample = |of: &[Took]| Sample::new(of.iter().map(|took| took.seconds));
    let cpu = |of: &[Took]| Sample::new(of.iter().filter_map(|took| took.cpu_seconds));
    let shown = |sample: &Sample| middle(sample, seconds_of);
    let rows = all.iter().map(|one| {
        let (cold, again) = (sample(&one.cold), sample(&one.again));
        [
            format!("{} {}", one.name, one.version),
            shown(&cold),
            spread(&cold),
            shown(&cpu(&one.cold)),
            shown(&again),
            spread(&again),
            shown(&cpu(&one.again)),
        ]
    });
    rows.collect()
}

/// Returns what each program's times are as a multiple of ours, and what is to be known of it.
pub(super) fn sentences(all: &[Compared]) -> Vec<String> {
    let Some((ours, others)) = all.split_first() else {
        return Vec::new();
    };
    let mut said = Vec::new();
    for other in others {
        let cold = times(&compare::ratios(&ours.cold, &other.cold));
        let again = times(&compare::ratios(&ours.again, &other.again));
        said.push(format!(
            "`{}` took {cold} as long as narhaul for a cold copy, and {again} to copy again",
            other.name
        ));
        if other.has_files {
            said.push(format!("`{}` {FILES}", other.name));
        }
    }
    said
}

fn times(ratios: &Sample) -> String {
    let (Some(middle), Some((least, most))) = (ratios.median(), ratios.range()) else {
        return "–".to_owned();
    };
    format!("{middle:.2} times ({least:.2} to {most:.2})")
}

/// Returns a comparison in words.
pub(super) fn compared(all: &[Compared]) -> String {
    let mut text = format!("\n{}\n", table(PROGRAMS, rows(all)));
    for sentence in sentences(all) {
        writeln!(text, "{sentence}").unwrap_or_default();
    }
    text
}

/// Returns the sections of a page about it.
pub(super) fn sections(all: &[Compared]) -> Vec<Section> {
    let rows = rows(all).into_iter().map(Vec::from).collect();
    let table = bench_page::table("By turns with other programs", PROGRAMS.to_vec(), rows);
    let notes = Section {
        title: "How many times as long".to_owned(),
        note: "The middle of the ratios of each repetition, and the least and the most.".to_owned(),
        content: Content::Notes(sentences(all)),
    };
    table.into_iter().chain([notes]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_told_with_their_range() {
        let one = |name: &str, seconds: [f64; 3], cpu_seconds, has_files| {
            let took = |seconds| Took {
                seconds,
                cpu_seconds,
            };
            Compared {
                name: name.to_owned(),
                version: "1.0".to_owned(),
                has_files,
                cold: seconds.map(took).to_vec(),
                again: seconds.map(|seconds| took(seconds / 10.0)).to_vec(),
            }
        };
        let all = [
            one("narhaul", [1.0, 1.1, 1.0], Some(2.0), false),
            one("nix", [4.0, 4.1, 4.2], None, false),
            one("s5cmd", [0.9, 0.9, 0.9], Some(0.25), true),
        ];
        insta::assert_snapshot!(compared(&all), @r"

        program      cold s  spread  CPU s  again s  spread  CPU s
        narhaul 1.0    1.00   ± 0 %   2.00    0.100   ± 0 %   2.00
        nix 1.0        4.10   ± 2 %      –    0.410   ± 2 %      –
        s5cmd 1.0     0.900   ± 0 %  0.250    0.090   ± 0 %  0.250

        `nix` took 4.00 times (3.73 to 4.20) as long as narhaul for a cold copy, and 4.00 times (3.73 to 4.20) to copy again
        `s5cmd` took 0.90 times (0.82 to 0.90) as long as narhaul for a cold copy, and 0.90 times (0.82 to 0.90) to copy again
        `s5cmd` is given the bodies and narinfos as files, and only sends them: a ceiling of sending alone
        ");
    }
}
