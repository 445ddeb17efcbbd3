//! What `narhaul bench --clean` has done, in words and as JSON.

use crate::{
    bench::{
        ground::{Cleaned, Left},
        maker::Spared,
    },
    cli::{Context, error::Failure, times::Span, ui::Format, units::Count},
};

/// Says what was removed, and what was not.
pub fn tell(context: &Context, cleaned: &Cleaned) -> Result<(), Failure> {
    for foreign in &cleaned.foreign {
        context.ui.warn(&format!(
            "`{foreign}` was written by no bench and is left alone"
        ));
    }
    for left in &cleaned.left {
        context.ui.warn(&spared(left));
    }
    match context.ui.format() {
        Format::Words => context.ui.say(&match cleaned.n_runs {
            0 => "nothing to clean".to_owned(),
            n_runs => {
                let objects = Count(cleaned.n_objects, "object");
                format!("removed {objects} of {}", Count(n_runs, "run"))
            }
        }),
        Format::Json => context.ui.event(
            "cleaned",
            serde_json::json!({
                "runs": cleaned.n_runs,
                "objects": cleaned.n_objects,
                "foreign": cleaned.foreign,
                "spared": cleaned.left.iter().map(json).collect::<Vec<_>>(),
            }),
        )?,
    }
    Ok(())
}

fn spared(left: &Left) -> String {
    let age = match left.age {
        Some(age) => format!("begun {} ago", Span(age)),
        None => "begun nobody knows when".to_owned(),
    };
    let why = match left.why {
        Spared::Runs => "its bench runs on this machine",
        Spared::MayRun => "its bench may run on another machine",
    };
    let folder = &left.folder;
    format!("`{folder}` ({age}) is left alone: {why}; `--force` removes it too")
}

fn json(left: &Left) -> serde_json::Value {
    serde_json::json!({
        "run": left.folder,
        "why": match left.why {
            Spared::Runs => "runs",
            Spared::MayRun => "mayRun",
        },
        "ageSeconds": left.age.map(|age| age.as_secs()),
    })
}
