//! `narhaul roots`: what finished copies keep alive, by group.

use std::sync::Arc;

use clap::Args;

use crate::cli::{
    Context,
    error::{Exit, Failure},
    notes,
    site::{Access, HowArgs, Site},
    times::{Moment, rfc3339},
    ui::Format,
};

/// List the roots of a cache: what finished copies keep alive
///
/// Every copy leaves a record of its top-level paths in the group that it was given, by default the host's
/// name. The records of a group are kept by the rules of sweep; see also narhaul pins.
///
/// Example: narhaul roots file://$PWD/cache
#[derive(Debug, Args)]
pub struct RootsArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// Only the records of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Lists roots.
pub fn run(context: &Arc<Context>, args: &RootsArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "roots")?;
    let (mut roots, _) = site.visit(context, &layers, Access::Read, async |desk| {
        notes::roots(&site, &desk.dest).await
    })?;
    if let Some(group) = &args.group {
        roots.retain(|root| root.group.to_string() == *group);
    }
    for root in &roots {
        let record = &root.record;
        let shown = record.roots.iter().map(|path| record.store_dir.show(path));
        match context.ui.format() {
            Format::Words => {
                let mut text = format!("{}: {}\n", root.group, Moment(root.time));
                for path in shown {
                    text.extend(["  ", &path.to_string(), "\n"]);
                }
                context.ui.data(&text)?;
            }
            Format::Json => context.ui.event(
                "root",
                serde_json::json!({
                    "group": root.group.to_string(),
                    "time": rfc3339(root.time),
                    "paths": shown.map(|path| path.to_string()).collect::<Vec<_>>(),
                    "record": root.key.to_string(),
                }),
            )?,
        }
    }
    if roots.is_empty() {
        context.ui.say(&format!(
            "`{}` has no roots; a finished `narhaul copy` leaves one",
            site.place
        ));
    }
    Ok(Exit::Done)
}
