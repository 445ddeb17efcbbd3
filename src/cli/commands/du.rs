//! `narhaul du`: how much each root and group keeps in a cache, and how much of that it alone.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use clap::Args;

use crate::{
    cli::{
        Context,
        commands::copy,
        error::{Exit, Failure},
        look::Look,
        site::{Access, HowArgs, Site},
        times::Moment,
        ui::Format,
        units::{Count, Size},
    },
    ledger::Name,
    nix::store_path::HashPart,
    plan::{
        sweep::Verdict,
        weigh::{self, Weight},
    },
    sweep::report::Planned,
};

/// Say how many bytes each group, root and pin keeps
///
/// Of each the bytes of everything that it refers to, and of them those that nothing else refers to: what
/// would come free without it. Reads the whole cache as a sweep does, and changes nothing.
///
/// Example: narhaul du file://$PWD/cache
#[derive(Debug, Args)]
pub struct DuArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// Each root by itself, not only groups and pins
    #[arg(long)]
    roots: bool,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kind: &'static str,
    label: String,
    weight: Weight,
}

/// Something that keeps paths: its kind and name, and the paths that it names.
struct Keeper {
    label: String,
    kind: &'static str,
    parts: Vec<HashPart>,
}

/// Says how much.
pub fn run(context: &Arc<Context>, args: &DuArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "du")?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let (look, _) = site.visit(context, &layers, Access::Read, async |desk| {
        Look::at(context, &layers, &site, &desk, &store_dir).await
    })?;
    let planned = &look.planned;
    let mut told = lines(planned, by_group(planned));
    if args.roots {
        let roots = lines(planned, by_root(planned));
        told.extend(roots.into_iter().filter(|line| line.kind == "root"));
    }
    told.extend(others(planned));
    match context.ui.format() {
        Format::Words => context.ui.data(&table(&told))?,
        Format::Json => {
            for line in &told {
                context.ui.event(
                    "weight",
                    serde_json::json!({
                        "kind": line.kind,
                        "name": line.label,
                        "paths": line.weight.n_paths,
                        "bytes": line.weight.bytes,
                        "alonePaths": line.weight.n_exclusive,
                        "aloneBytes": line.weight.exclusive_bytes,
                    }),
                )?;
            }
        }
    }
    let totals = planned.plan.totals;
    context.ui.say(&format!(
        "`{}` has {} with {}",
        site.place,
        Count::of(totals.n_narinfos, "path"),
        Size(totals.bytes)
    ));
    Ok(Exit::Done)
}

fn by_group(planned: &Planned) -> Vec<Keeper> {
    let mut groups: BTreeMap<String, Vec<HashPart>> = BTreeMap::new();
    for (root, fate) in planned.roots.iter().zip(&planned.plan.fates) {
        if fate.is_kept() {
            let parts = groups.entry(root.group.to_string()).or_default();
            parts.extend(&root.parts);
        }
    }
    let groups = groups.into_iter().map(|(label, parts)| Keeper {
        label,
        kind: "group",
        parts,
    });
    groups.chain(pins(planned)).collect()
}

fn by_root(planned: &Planned) -> Vec<Keeper> {
    let roots = planned.roots.iter().zip(&planned.plan.fates);
    let kept = roots.filter(|(_, fate)| fate.is_kept());
    let roots = kept.map(|(root, _)| Keeper {
        label: format!("{}, {}", root.group, Moment(root.time)),
        kind: "root",
        parts: root.parts.clone(),
    });
    // Pins stand beside roots too when it is asked what is whose alone; they are told once.
    roots.chain(pins(planned)).collect()
}

fn pins(planned: &Planned) -> impl Iterator<Item = Keeper> + '_ {
    planned.pins.iter().map(|pin| Keeper {
        label: match Name::parse(&pin.key) {
            Some(Name::Pin(name)) => name.to_string(),
            _ => pin.key.to_string(),
        },
        kind: "pin",
        parts: pin.parts.clone(),
    })
}

/// Weighs what each keeper refers to, however far away. A body that two paths share counts twice.
fn lines(planned: &Planned, keepers: Vec<Keeper>) -> Vec<Line> {
    let parts: Vec<_> = keepers.iter().map(|keeper| keeper.parts.clone()).collect();
    let weights = weigh::weigh(&planned.census, &parts).each;
    let lines = keepers.into_iter().zip(weights);
    let lines = lines.map(|(keeper, weight)| Line {
        kind: keeper.kind,
        label: keeper.label,
        weight,
    });
    lines.collect()
}

/// What no root and no pin keeps: what is young, and what goes.
fn others(planned: &Planned) -> Vec<Line> {
    let census = &planned.census;
    let keepers = by_group(planned);
    let named = keepers.iter().flat_map(|keeper| &keeper.parts);
    let kept = census
        .graph()
        .mark(named.filter_map(|part| census.node(part)));
    let (mut young, mut goes) = (Weight::default(), Weight::default());
    for node in census.nodes() {
        let weight = match planned.plan.verdict(node) {
            Verdict::Condemn(_) => &mut goes,
            Verdict::Keep(_) if !kept.contains(node) => &mut young,
            Verdict::Keep(_) | Verdict::Absent => continue,
        };
        weight.n_paths += 1;
        weight.bytes += census.file_size(node);
        weight.n_exclusive += 1;
        weight.exclusive_bytes += census.file_size(node);
    }
    let lines = [
        ("young", "kept by no root", young),
        ("goes", "goes with the next sweep", goes),
    ];
    let lines = lines
        .into_iter()
        .filter(|(_, _, weight)| weight.n_paths > 0);
    let lines = lines.map(|(kind, label, weight)| Line {
        kind,
        label: label.to_owned(),
        weight,
    });
    lines.collect()
}

fn table(lines: &[Line]) -> String {
    let label = |line: &Line| match line.kind {
        "group" | "root" | "pin" => format!("{} {}", line.kind, line.label),
        _ => line.label.clone(),
    };
    let widest = lines.iter().map(|line| label(line).chars().count());
    let widest = widest.max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let (label, weight) = (label(line), line.weight);
        let bytes = Size(weight.bytes).to_string();
        let (paths, alone) = (
            Count::of(weight.n_paths, "path"),
            Size(weight.exclusive_bytes),
        );
        // Writing to a text does not fail.
        writeln!(text, "{label:widest$}  {bytes:>10}  {alone} alone, {paths}").unwrap_or_default();
    }
    text
}
