//! S0 and the last of S10: looks at the cache and its ledger, shows that a sweep lives, and takes leave.
//!
//! Everything that must be readable is read before the first write, so that a refusal leaves no trace.
//! The lease only saves double work: nothing hangs on who has it.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU32},
};

use tokio::sync::Mutex;

use super::{
    Context, Error, Request,
    context::Readers,
    report::{Report, Warning},
};
use crate::{
    backend::{Backend, Kind, Rules, Versioning},
    ledger::{Name, RunId, config::Config, mark},
    meter::Meter,
    nix::{cache_info::CacheInfo, object_key::ObjectKey, store_path::StoreDir},
    plan::sweep::Expiry,
    stop::Stop,
    tomb::RunBeat,
};

/// What is known of a cache before it is looked into.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What its sweeps go by; none before the first.
    pub(super) config: Option<Config>,
    /// The rules by which the bucket itself removes things.
    pub(super) expiries: Vec<Expiry>,
}

/// Returns the rights that would be needed to know what the bucket did not tell.
fn rights_lacking(rules: &Rules) -> Vec<&'static str> {
    let asked = [
        (rules.lifecycle.is_denied(), "s3:GetLifecycleConfiguration"),
        (rules.versioning.is_denied(), "s3:GetBucketVersioning"),
        (
            rules.has_object_lock.is_denied(),
            "s3:GetBucketObjectLockConfiguration",
        ),
    ];
    let denied = asked.into_iter().filter(|(is_denied, _)| *is_denied);
    denied.map(|(_, right)| right).collect()
}

impl Context {
    pub(super) fn new(
        dest: Arc<dyn Backend>,
        request: Request,
        meter: Arc<Meter>,
        stop: Stop,
    ) -> Self {
        Self {
            dest,
            request,
            meter,
            stop,
            store_dir: StoreDir::default(),
            known: Known::default(),
            beat: None,
            readers: Mutex::new(Readers::default()),
            n_intents: AtomicU32::new(0),
        }
    }

    /// Looks at what must be readable, then takes beat and lease.
    pub(super) async fn begin(&mut self) -> Result<Report, Error> {
        self.go_on()?;
        self.store_dir = self.read_store_dir().await?;
        let mut warnings = Vec::new();
        self.known = Known {
            config: self.read_config().await?,
            expiries: self.read_rules(&mut warnings).await?,
        };
        let books = self.books().await?;
        let owner = self.request.run.owner();
        let alive = books.runs.iter().filter(|book| book.is_alive);
        let alive: BTreeSet<RunId> = alive.map(|book| book.run.owner()).collect();
        for other in alive.into_iter().filter(|run| *run != owner) {
            // A dry run disturbs nobody, and says what it sees.
            if !self.request.options.ignore_lease && !self.is_dry_run() {
                return Err(Error::Busy(other));
            }
            warnings.push(Warning::OtherRun(other));
        }
        let mut began = books.now;
        if !self.is_dry_run() {
            began = self.take().await?;
        }
        let mut report = Report::new(self.request.run.clone(), began);
        report.warnings = warnings;
        Ok(report)
    }

    /// Writes the first beat, whose date is the server's time, and the lease.
    async fn take(&mut self) -> Result<std::time::SystemTime, Error> {
        let (dest, clock) = (Arc::clone(&self.dest), self.clock().clone());
        let beat = RunBeat::start(dest, clock, *self.timing(), self.request.run.clone()).await?;
        let began = beat.began();
        self.beat = Some(beat);
        let lease = mark::lease(&self.request.run);
        self.put(&Name::Lease.key(), lease).await?;
        match began {
            Some(time) => Ok(time),
            None => self.dest.now().await.map_err(|error| self.fail(error)),
        }
    }

    /// Gives lease and beat back.
    ///
    /// The beat of a run that was ended in the middle of something stays while a DELETE of it may still
    /// land: until it has died nobody relies on that being over.
    pub(super) async fn leave(&mut self, is_complete: bool) -> Result<(), Error> {
        let Some(beat) = self.beat.take() else {
            return Ok(());
        };
        let lease = Name::Lease.key();
        let kept = match self.dest.get(&lease).await {
            Ok(object) => mark::decode_lease(&object.body).ok(),
            Err(_) => None,
        };
        if kept.as_ref() == Some(&self.request.run) && !beat.is_lapsed() {
            // It is overwritten by the next sweep, whether it is there or not.
            self.dest.delete(&[lease], None).await.ok();
        }
        if is_complete {
            return Ok(beat.end().await?);
        }
        if beat.fence().doubted().is_none() {
            beat.end().await.ok();
        }
        Ok(())
    }

    pub(super) async fn read_store_dir(&self) -> Result<StoreDir, Error> {
        let Some(object) = self.get(&ObjectKey::cache_info()).await? else {
            return Ok(StoreDir::default());
        };
        let info = CacheInfo::parse(&String::from_utf8_lossy(&object.body));
        let info = info.map_err(|source| Error::CacheInfo {
            place: self.dest.place().to_owned(),
            source,
        })?;
        Ok(info.store_dir.unwrap_or_default())
    }

    pub(super) async fn read_config(&self) -> Result<Option<Config>, Error> {
        let key = Name::Config.key();
        let Some(object) = self.get(&key).await? else {
            return Ok(None);
        };
        let config = Config::decode(&object.body);
        config
            .map(Some)
            .map_err(|source| Error::Ledger { key, source })
    }

    async fn read_rules(&self, warnings: &mut Vec<Warning>) -> Result<Vec<Expiry>, Error> {
        let rules = match self.dest.rules().await {
            Ok(rules) => rules,
            // A server that cannot be asked is no reason not to sweep; that it was asked is told.
            Err(error) if matches!(error.kind, Kind::Unsupported | Kind::Denied) => {
                warnings.push(Warning::RulesUnseen);
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.fail(error)),
        };
        let lifecycle = rules.lifecycle.told().cloned();
        let rights = rights_lacking(&rules);
        if !rights.is_empty() {
            warnings.push(Warning::RightsLacking(rights));
        } else if lifecycle.is_none() {
            warnings.push(Warning::RulesUnseen);
        }
        let lifecycle = lifecycle.unwrap_or_default();
        if matches!(
            rules.versioning.told(),
            Some(Versioning::On | Versioning::Suspended)
        ) {
            let frees = lifecycle.noncurrent.iter().any(|rule| rule.is_enabled);
            warnings.push(if frees {
                Warning::Versioned
            } else {
                Warning::VersionedForEver
            });
        }
        if rules.has_object_lock.told() == Some(&true) {
            warnings.push(Warning::ObjectLock);
        }
        // A rule for tagged objects never meets one of ours.
        let expiries = lifecycle
            .expiries
            .into_iter()
            .filter(|rule| !rule.wants_tags);
        Ok(expiries
            .map(|rule| Expiry {
                id: rule.id,
                prefix: rule.prefix,
                days: rule.days,
                is_enabled: rule.is_enabled,
            })
            .collect())
    }
}
