//! The steps of a sweep, one after the other.
//!
//! Reads like the protocol: what is looked at, decided and done, in that order and in no other. What is
//! looked at stays in a [`Sight`] until the next look replaces it. In a dry run every step that would
//! write changes the sight instead, so that the steps after it see what they would see.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    mem,
    sync::Arc,
    time::SystemTime,
};

use super::{
    Context, Error,
    adopt::Orphaned,
    bury::n_batches,
    census::{Bulk, Narinfos, count},
    condemn::Journal,
    doubts::Doubts,
    finish::Last,
    heal::{Healing, foresee},
    living::{Living, Records},
    report::{Condemned, Fate, Missing, Planned, Report, Unreadable, Warning, WhyMissing},
};
use crate::{
    graph::{Census, Node, Seconds},
    ledger::{
        Name, RunId, Timing,
        journal::{Entry, Index, Reason},
        state::Step,
    },
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::{
        check::Judged,
        cost::Rehearsal,
        heal, retention,
        sweep::{Known, Scene, Verdict},
    },
    tomb::{Books, restore::Lost},
};

/// What was looked at last.
#[derive(Debug, Default)]
pub(super) struct Sight {
    pub(super) bulk: Bulk,
    pub(super) found: Narinfos,
    pub(super) living: Living,
    /// The paths that kept roots, pins and lists name.
    pub(super) named: Vec<HashPart>,
    /// The orphans that the last sweep noted and since when; in the end those for the next.
    pub(super) orphans: BTreeMap<ObjectKey, Seconds>,
    pub(super) records: Records,
    /// Since when no visible narinfo has been without its body, if this run has seen to that.
    pub(super) looked_for_bodies: Option<SystemTime>,
    /// The journals that this run has brought to their end.
    pub(super) finished: Vec<RunId>,
    /// The roots and pins that other sweeps have ended since the last snapshot.
    pub(super) ended: Vec<ObjectKey>,
    /// Whether all snapshots that there are could be read.
    pub(super) knows_last: bool,
    /// The texts of journals that make no sense, of paths that something needs and whose bodies may be
    /// there: a newer version may be able to put those back, and all that they refer to. By the last look.
    pub(super) unread: BTreeMap<HashPart, Unreadable>,
    /// What any look of this run could not read: who was in doubt once stays so, since what was decided by
    /// that look holds for the rest of the run.
    pub(super) doubts: Doubts,
    /// In a dry run: the journal that would have been written, and when.
    pub(super) foreseen: Option<(Index, SystemTime)>,
}

impl Sight {
    /// Whether all that was looked at could be read: in doubt nothing goes.
    pub(super) fn is_readable(&self) -> bool {
        self.doubts.is_empty() && self.knows_last
    }

    /// Takes in a look at the narinfos.
    pub(super) fn see(&mut self, found: Narinfos) {
        self.doubts.add_wrecks(&found.wrecks, &found.unreadable);
        self.found = found;
    }

    /// Takes in which texts of journals, of all that is needed, make no sense.
    pub(super) fn see_texts(&mut self, unread: BTreeMap<HashPart, Unreadable>) {
        self.doubts.add_texts(&unread);
        self.unread = unread;
    }
}

/// Carries out the steps S1 to S10.
pub(super) async fn run(context: &mut Context, report: &mut Report) -> Result<(), Error> {
    let last = context.read_snapshot().await?;
    report.unread_snapshots.clone_from(&last.unread);
    if context.known.config.is_none() && last.is_there() {
        // Another first sweep may have left both since this one began. Settings are written before any
        // snapshot, so whoever sees that finds them by now.
        context.known.config = context.read_config().await?;
    }
    let context = &*context;
    context.compare_lists(&last, report);
    let may_change = context.request.settings.may_change;
    if context.known.config.is_none() && last.is_there() && !may_change {
        return Err(Error::NoConfig(Name::Config.key()));
    }
    let mut sight = Sight {
        orphans: last.orphans.clone(),
        bulk: context.bulk().await?,
        knows_last: last.unread.is_empty(),
        ..Sight::default()
    };
    let done = from_census(context, report, &mut sight, last).await;
    // Also of a run that ended early: a doubt is met at any look, and stays.
    sight.doubts.tell(report);
    done
}

/// S1 to S10, from the first look at the narinfos on.
async fn from_census(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
    last: Last,
) -> Result<(), Error> {
    sight.see(context.narinfos(last.census.clone()).await?);
    let (orphaned, healing) = first_heal(context, report, sight).await?;
    sight.living = context.living(&mut sight.records).await?;
    tell_found(sight, report);
    report.adopted = orphaned.told();
    orphaned.reckon(&mut report.rehearsal);
    let known = Known {
        ended: context.ended(&last, &sight.living).await?,
        named: last.named.clone(),
    };
    let planned = plan(context, report, sight, &known)?;
    sight.ended = known.ended;
    tell_missing(sight, &healing, report);
    bury(context, report, sight, &planned).await?;
    context.delete_bodies(report, sight, &orphaned).await?;
    context.finish(report, sight, &planned, last).await
}

/// S1, S1b: puts back what is needed and ends what the dead have begun.
///
/// Where something was put back, everything is looked at again: this is also the first half of S2.
async fn first_heal(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
) -> Result<(Orphaned, Healing), Error> {
    let living = context.living(&mut sight.records).await?;
    sight.named = named(context, &living, report.began);
    let books = context.books().await?;
    let orphaned = Orphaned::find(&books, &context.request.run.owner());
    let healing = heal(context, report, sight, &books).await?;
    let n_dooms: usize = books.runs.iter().map(|book| book.dooms.len()).sum();
    report.rehearsal.n_journal_files = count(books.unfinished().count() + n_dooms);
    if !context.dest.limits().has_conditional_put {
        report.rehearsal.n_asked_first = count(healing.healed.len());
    }
    if !context.is_dry_run() {
        if !healing.healed.is_empty() {
            sight.bulk = Bulk::default();
            sight.bulk = context.bulk().await?;
            look_again(context, sight).await?;
        }
        context.adopt(&orphaned).await?;
    }
    Ok((orphaned, healing))
}

/// Puts back what visible narinfos need, and what is named as alive, from the journals.
async fn heal(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
    books: &Books,
) -> Result<Healing, Error> {
    let needed = context.follow(sight, books).await?;
    let healing = if context.is_dry_run() {
        let is_there = |body: &_| sight.bulk.body(body).is_some();
        let census = mem::take(&mut sight.found.census);
        let (census, healing) = foresee(census, &needed, is_there, books);
        sight.found.census = census;
        healing
    } else {
        context.heal(&needed, Step::Heal).await?
    };
    report.healed.extend(healing.healed.iter().cloned());
    Ok(healing)
}

/// Lists the narinfos again, and reads what was written since.
pub(super) async fn look_again(context: &Context, sight: &mut Sight) -> Result<(), Error> {
    let census = mem::take(&mut sight.found.census);
    sight.see(context.narinfos(census).await?);
    Ok(())
}

/// Returns what roots, pins and lists name, as far as the rules keep them.
pub(super) fn named(context: &Context, living: &Living, now: SystemTime) -> Vec<HashPart> {
    let settings = &context.request.settings;
    let fates = retention::apply(settings, &living.roots, now);
    let roots = living.roots.iter().zip(&fates);
    let roots = roots
        .filter(|(_, fate)| fate.is_kept())
        .flat_map(|(root, _)| &root.parts);
    let pins = living.pins.iter();
    let pins = pins
        .filter(|pin| !is_over(context, pin.until, now))
        .flat_map(|pin| &pin.parts);
    let imported = context.request.imported.iter().flat_map(|list| &list.parts);
    let named: BTreeSet<HashPart> = roots.chain(pins).chain(imported).copied().collect();
    named.into_iter().collect()
}

/// Whether a pin's end has passed, as the planner sees it.
pub(super) fn is_over(context: &Context, until: Option<SystemTime>, now: SystemTime) -> bool {
    let since = until.and_then(|until| now.duration_since(until).ok());
    since.is_some_and(|since| since >= context.request.settings.margin)
}

/// S3, S4: decides, judges, and passes or refuses.
fn plan(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
    known: &Known,
) -> Result<Planned, Error> {
    // Shared with the report, so that whoever reads it can ask why.
    let census = Arc::new(sight.found.census.clone());
    let mut settings = context.request.settings.clone();
    let percent = settings.config.guard_percent;
    if context.is_dry_run() {
        // What a guard would stop is what somebody wants to look at.
        settings.config.guard_percent = 100;
    }
    let scene = Scene {
        now: report.began,
        census: &census,
        is_readable: sight.is_readable(),
        settings: &settings,
        config: context.known.config.as_ref(),
        roots: &sight.living.roots,
        pins: &sight.living.pins,
        imported: &context.request.imported,
        intents: &sight.living.intents,
        known,
        expiries: &context.known.expiries,
    };
    let plan = Judged::sweep(&scene, crate::plan::sweep::plan(&scene)?)?;
    if context.is_dry_run() && plan.totals.is_over(percent) {
        report.warnings.push(Warning::OverGuard(percent));
    }
    let kept = sight.living.roots.iter().zip(&plan.fates);
    let kept = kept
        .filter(|(_, fate)| fate.is_kept())
        .map(|(root, _)| root.clone());
    let kept = Living {
        roots: kept.collect(),
        ..sight.living.clone()
    };
    sight.named = named(context, &kept, report.began);
    let planned = Planned {
        plan: Arc::new(plan),
        roots: sight.living.roots.clone(),
        pins: sight.living.pins.clone(),
        intents: sight.living.intents.clone(),
        census,
    };
    report.plan = Some(planned.clone());
    Ok(planned)
}

/// S5 to S7: condemns, looks again, buries, and heals what was published meanwhile.
async fn bury(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
    planned: &Planned,
) -> Result<(), Error> {
    report.rehearsal.has_new_settings = context.write_config().await?;
    let condemned: Vec<(Node, Reason)> = planned
        .plan
        .condemned()
        .filter_map(|node| match planned.plan.verdict(node) {
            Verdict::Condemn(reason) => Some((node, reason)),
            Verdict::Keep(_) | Verdict::Absent => None,
        })
        .collect();
    if condemned.is_empty() {
        return Ok(());
    }
    report.journal = Some(context.request.run.clone());
    report.rehearsal.n_condemned = count(condemned.len());
    report.rehearsal.n_batches = n_batches(&planned.plan);
    let Timing {
        linger, run_beat, ..
    } = context.timing();
    let n_beats = linger.as_millis() / run_beat.as_millis().max(1);
    report.rehearsal.n_beats = u64::try_from(n_beats).unwrap_or(u64::MAX);
    if context.is_dry_run() {
        foresee_burial(report, sight, planned, &condemned);
        return Ok(());
    }
    let run = context.request.run.clone();
    let journal = context.condemn(run, &planned.census, &condemned).await?;
    report.has_begun = true;
    let fates = carry_out(context, report, sight, planned, &journal).await;
    tell_condemned(&planned.census, &condemned, fates.as_ref().ok(), report);
    fates?;
    context.wait(context.timing().linger).await?;
    look_again(context, sight).await?;
    let books = context.books().await?;
    let healing = heal(context, report, sight, &books).await?;
    if !healing.healed.is_empty() {
        look_again(context, sight).await?;
    }
    Ok(())
}

/// S6.
async fn carry_out(
    context: &Context,
    report: &mut Report,
    sight: &mut Sight,
    planned: &Planned,
    journal: &Journal,
) -> Result<BTreeMap<Node, Fate>, Error> {
    let living = context.living(&mut sight.records).await?;
    look_again(context, sight).await?;
    let nothing = Known::default();
    let scene = Scene {
        now: report.began,
        census: &planned.census,
        is_readable: true,
        settings: &context.request.settings,
        config: context.known.config.as_ref(),
        roots: &planned.roots,
        pins: &planned.pins,
        imported: &context.request.imported,
        intents: &planned.intents,
        known: &nothing,
        expiries: &context.known.expiries,
    };
    let second = (living, &sight.found);
    let burial = context.bury(&scene, &planned.plan, journal, second).await?;
    report.not_deleted.extend(burial.left);
    let mut fates = burial.fates;
    fates.extend(journal.left_out.iter().cloned());
    Ok(fates)
}

/// What burying would come to, for a run that writes nothing.
fn foresee_burial(
    report: &mut Report,
    sight: &mut Sight,
    planned: &Planned,
    condemned: &[(Node, Reason)],
) {
    let census = &planned.census;
    let buried = condemned.iter().map(|(node, _)| (*node, Fate::Buried));
    tell_condemned(census, condemned, Some(&buried.collect()), report);
    let entries = condemned.iter().filter_map(|&(node, reason)| {
        Some(Entry {
            part: census.part(node),
            body: census.body(node)?,
            birth: census.birth(node),
            reason,
            text: 0..0,
        })
    });
    let index = Index {
        entries: entries.collect(),
    };
    let mut builder = mem::take(&mut sight.found.census).amend();
    for entry in &index.entries {
        builder.remove(&entry.part);
    }
    sight.found.census = builder.build();
    sight.foreseen = Some((index, report.began));
}

fn tell_condemned(
    census: &Census,
    condemned: &[(Node, Reason)],
    fates: Option<&BTreeMap<Node, Fate>>,
    report: &mut Report,
) {
    let tell = |&(node, reason): &(Node, Reason)| {
        let fate = fates.and_then(|fates| fates.get(&node).cloned());
        Some(Condemned {
            part: census.part(node),
            body: census.body(node)?,
            file_size: census.file_size(node),
            reason,
            fate: fate.unwrap_or(Fate::Left),
        })
    };
    report.condemned = condemned.iter().filter_map(tell).collect();
    report.condemned.sort_by_key(|condemned| condemned.part);
}

fn tell_found(sight: &Sight, report: &mut Report) {
    report.seen = sight.bulk.totals(&sight.found.census);
    let (bulk, found) = (&sight.bulk, &sight.found);
    report.rehearsal = Rehearsal {
        n_narinfo_pages: found.n_pages,
        n_narinfo_keys: report.seen.n_narinfos + count(found.ls.len()),
        n_bulk_pages: bulk.n_pages,
        n_bulk_keys: count(bulk.bodies.len() + bulk.families.len()),
        n_roots: count(sight.living.roots.len()),
        n_pins: count(sight.living.pins.len()),
        n_healed: count(report.healed.len()),
        ..report.rehearsal
    };
    report.unknown = sight.found.unknown.clone();
    report.unknown.n_keys += sight.bulk.n_foreign;
}

fn tell_missing(sight: &Sight, healing: &Healing, report: &mut Report) {
    let census = &sight.found.census;
    let upstream = sight.living.roots.iter().flat_map(|root| &root.upstream);
    let upstream: HashSet<HashPart> = upstream.copied().collect();
    let tell = |missing: heal::Missing| {
        let part = census.part(missing.node);
        if sight.found.wrecks.contains(&part) {
            return None;
        }
        let why = match missing.place {
            heal::Place::Upstream => return None,
            heal::Place::Lost if sight.unread.contains_key(&part) => WhyMissing::Unreadable,
            heal::Place::Lost => WhyMissing::Unknown,
            heal::Place::Buried => match healing.lost.get(&part)? {
                Lost::Doomed => WhyMissing::Doomed,
                Lost::Unknown | Lost::Changed => WhyMissing::Unknown,
                Lost::Unreadable => WhyMissing::Unreadable,
                Lost::BodyGone | Lost::Needs(_) => WhyMissing::BodyGone,
            },
        };
        let needed_by = missing.referrer.map(|node| census.part(node));
        Some(Missing {
            part,
            needed_by,
            why,
        })
    };
    let missing = heal::missing(census, &sight.named, &upstream);
    report.missing = missing.into_iter().filter_map(tell).collect();
    report.missing.sort_by_key(|missing| missing.part);
}
