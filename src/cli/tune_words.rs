//! A search for the best settings in words: what was tried, what came of it, and what is to be written.

use std::fmt::Write as _;

use crate::{
    bench::{
        report::{Trial, Tuned},
        tune::Outcome,
    },
    cli::{
        bench_words::{middle, per_second, spread, table},
        settle::Setting,
        units::Size,
    },
};

/// The columns of the table of trials.
pub(super) const TRIALS: [&str; 8] = [
    "requests",
    "parts",
    "level",
    "NAR bytes/s",
    "spread",
    "bodies",
    "CPU s",
    "",
];

/// Returns the rows of that table.
pub(super) fn rows(found: &Tuned) -> Vec<[String; 8]> {
    let trials = found.trials.iter().enumerate();
    let rows = trials.map(|(index, trial)| {
        row(
            trial,
            match index {
                0 => "as set",
                _ if index == found.best => "best",
                _ => "",
            },
        )
    });
    rows.collect()
}

/// Returns the rows of the comparison by turns.
pub(super) fn last_rows(found: &Tuned) -> Vec<[String; 8]> {
    let last = found.last.iter();
    let rows = last.flat_map(|[usual, best]| [row(usual, "as set"), row(best, "best")]);
    rows.collect()
}

fn row(trial: &Trial, mark: &str) -> [String; 8] {
    let speeds = trial.speeds();
    [
        trial.requests.to_string(),
        part(trial),
        trial.level.to_string(),
        middle(&speeds, per_second),
        spread(&speeds),
        format!("{:.1} %", 100.0 * trial.share()),
        middle(&trial.cpu(), |seconds| format!("{seconds:.2}")),
        mark.to_owned(),
    ]
}

fn part(trial: &Trial) -> String {
    let size = u64::try_from(trial.part_size).unwrap_or(u64::MAX);
    Size(size).to_string()
}

/// Returns a search in words.
pub(super) fn tuned(found: &Tuned) -> String {
    let mut text = format!("\n{}", table(TRIALS, rows(found)));
    let last = last_rows(found);
    if !last.is_empty() {
        text.push_str("\nonce more, by turns:\n");
        text.push_str(&table(TRIALS, last));
    }
    write!(text, "\n{}\n", outcome(found)).unwrap_or_default();
    if !found.is_whole {
        text.push_str("the budget was spent before everything worth it was tried\n");
    }
    text
}

/// Returns the settings by which one trial differs from another, as `--NAME` takes them.
pub(super) fn settings(from: &Trial, to: &Trial) -> Vec<Setting> {
    let part = |trial: &Trial| match trial.part_size {
        size if size % (1 << 20) == 0 => format!("{}M", size >> 20),
        size => size.to_string(),
    };
    let all = [
        (
            "requests",
            from.requests.to_string(),
            to.requests.to_string(),
        ),
        ("part-size", part(from), part(to)),
        ("level", from.level.to_string(), to.level.to_string()),
    ];
    let changed = all.into_iter().filter(|(_, from, to)| from != to);
    changed
        .map(|(name, _, value)| Setting { name, value })
        .collect()
}

/// Returns what came of a search, in a sentence.
pub(super) fn outcome(found: &Tuned) -> String {
    let Some([usual, best]) = &found.last else {
        return "nothing that was tried is better than what is set, beyond the noise".to_owned();
    };
    let speed = |trial: &Trial| trial.speeds().median().unwrap_or(1.0);
    let faster = 100.0 * (speed(best) / speed(usual) - 1.0);
    // Adding zero takes the minus from none.
    let size = (1000.0 * (best.share() / usual.share() - 1.0)).round() / 10.0 + 0.0;
    match found.outcome {
        Outcome::Faster => format!("best: speed {faster:+.1} %, size of the bodies {size:+.1} %"),
        Outcome::Smaller => format!(
            "best: size of the bodies {size:+.1} %, at a speed that cannot be told apart ({faster:+.1} %)"
        ),
        Outcome::Same => format!(
            "what looked best is not better once more (speed {faster:+.1} %): the settings stay"
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::report::Run;

    /// Two trials, and the better one once more.
    pub(in crate::cli) fn found(outcome: Outcome) -> Tuned {
        let trial = |level, seconds: f64, wire_bytes| Trial {
            requests: 64,
            part_size: 16 << 20,
            level,
            runs: [0.99, 1.0, 1.01]
                .map(|factor| Run {
                    seconds: seconds * factor,
                    cpu_seconds: 2.5,
                    bytes: 100 << 20,
                    wire_bytes,
                    ..Run::default()
                })
                .to_vec(),
        };
        let (usual, light) = (trial(3, 2.0, 35 << 20), trial(1, 1.0, 40 << 20));
        Tuned {
            trials: vec![usual.clone(), light.clone(), trial(2, 1.5, 38 << 20)],
            best: 1,
            last: Some([usual, light]),
            outcome,
            is_whole: false,
        }
    }

    #[test]
    fn a_search_tells_what_it_tried_and_what_came_of_it() {
        insta::assert_snapshot!(tuned(&found(Outcome::Faster)), @r"

        requests     parts  level  NAR bytes/s  spread  bodies  CPU s
        64        16.0 MiB      3   50.0 MiB/s   ± 1 %  35.0 %   2.50  as set
        64        16.0 MiB      1    100 MiB/s   ± 1 %  40.0 %   2.50    best
        64        16.0 MiB      2   66.6 MiB/s   ± 1 %  38.0 %   2.50

        once more, by turns:
        requests     parts  level  NAR bytes/s  spread  bodies  CPU s
        64        16.0 MiB      3   50.0 MiB/s   ± 1 %  35.0 %   2.50  as set
        64        16.0 MiB      1    100 MiB/s   ± 1 %  40.0 %   2.50    best

        best: speed +100.0 %, size of the bodies +14.3 %
        the budget was spent before everything worth it was tried
        ");
    }

    #[test]
    fn where_nothing_was_better_it_says_so() {
        let told = outcome(&found(Outcome::Same));
        assert!(told.ends_with("the settings stay"), "{told}");
        let none = Tuned {
            last: None,
            ..found(Outcome::Same)
        };
        assert_eq!(
            outcome(&none),
            "nothing that was tried is better than what is set, beyond the noise"
        );
    }
}
