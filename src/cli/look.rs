//! A look at a whole cache, without touching it: what is there, what stays and why.
//!
//! It is the sweep's own reading and planning, as a dry run that nothing may refuse: the settings are the
//! cache's own, so that what is told is what the next sweep would decide. What has not changed since the
//! last sweep is taken from its snapshot and not read again.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use crate::{
    cli::{
        Context,
        bars::Bars,
        config::Layers,
        error::Failure,
        explain::Seen,
        holes::Gone,
        site::{Desk, Site},
        sweep_errors, sweep_request,
        wanted::Wanted,
    },
    ledger::{Timing, config::Config},
    nix::store_path::StoreDir,
    plan::sweep::{Imported, Settings},
    sweep::{self, Options, Request, report::Planned},
};

/// What was seen.
#[derive(Clone, Debug)]
pub struct Look {
    /// The server's time.
    pub now: SystemTime,
    /// What is there and what is decided about it.
    pub planned: Planned,
    /// By what it is decided: what the cache's sweeps go by.
    pub settings: Settings,
    /// The lists that the settings name.
    pub imported: Vec<Imported>,
    /// What is gone for good.
    pub gone: Gone,
}

impl Look {
    /// Looks at a cache.
    pub async fn at(
        context: &Arc<Context>,
        layers: &Layers<'_>,
        site: &Site,
        desk: &Desk,
        store_dir: &StoreDir,
    ) -> Result<Self, Failure> {
        let found = sweep_request::config(site, desk).await?;
        let config = Wanted::default().over(found.as_ref());
        let timing = Timing::default();
        let run = sweep_request::run_id(site, desk).await?;
        let now = run.time();
        let settings = Settings {
            config: Config {
                guard_percent: 100,
                ..config.clone()
            },
            margin: timing.margin,
            is_age_only: true,
            may_lists_be_absent: true,
            may_end_groups: false,
            may_change: true,
        };
        let imported = sweep_request::imported(context, layers, store_dir)?;
        let given: BTreeSet<&str> = imported.iter().map(|list| list.label.as_str()).collect();
        let known = found.map(|found| found.lists).unwrap_or_default();
        for label in known.iter().filter(|label| !given.contains(label.as_str())) {
            context.ui.warn(&format!(
                "the sweeps of this cache keep also what `{label}` names, which is not looked at here; \
                 `roots-from` in a configuration file names it"
            ));
        }
        let request = Request {
            run,
            clock: context.clock.clone(),
            timing: Timing {
                window: config.window,
                grace: config.grace,
                ..timing
            },
            settings: settings.clone(),
            imported: imported.clone(),
            n_requests: sweep_request::n_requests(layers)?,
            options: Options {
                is_dry_run: true,
                ..Options::default()
            },
        };
        let (dest, meter) = (Arc::clone(&desk.dest), Arc::clone(&desk.meter));
        let bars = Bars::start(context, &desk.meter);
        let looked = Box::pin(sweep::run(dest, request, meter, desk.stop.clone())).await;
        drop(bars);
        let report = looked.map_err(|error| sweep_errors::of_sweep(site, &error))?;
        let gone = Gone::of(&report);
        match report.plan {
            Some(planned) => Ok(Self {
                now,
                planned,
                settings,
                imported,
                gone,
            }),
            None => Err(Failure::new(format!(
                "the look at `{}` was not finished",
                site.place
            ))),
        }
    }

    /// Returns what can be asked why.
    #[must_use]
    pub fn seen(&self) -> Seen<'_> {
        Seen {
            now: self.now,
            planned: &self.planned,
            settings: &self.settings,
            imported: &self.imported,
            gone: &self.gone,
        }
    }
}
