//! A cache of made-up paths with made-up dates: what the tests of the sweep push, sweep and look at.
//!
//! Time is tokio's, paused: `days` costs nothing, and the cache's clock moves with it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use narhaul::{
    backend::{
        Backend,
        memory::{Memory, Modes},
    },
    clock::Clock,
    ledger::{Name, RunId, Timing, config::Config, root::RootRecord},
    nix::{
        base32,
        hash::Sha256,
        narinfo::NarInfo,
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::sweep::Settings,
    stop::Stop,
    sweep::{self, Error, Options, Report, Request, UndoReport, UndoRequest},
};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A Monday in November 2026; any would do.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000)
}

/// A cache, its clock, and how it is swept.
pub(super) struct World {
    pub(super) memory: Memory,
    pub(super) clock: Clock,
    n_runs: Mutex<u32>,
}

/// Returns the store path of that name; its hash part is made from the name.
pub(super) fn path(name: &str) -> StorePath {
    let hash = base32::encode(Sha256::of(name.as_bytes()).as_bytes());
    format!("{}-{name}", &hash[..32]).parse().unwrap()
}

pub(super) fn part(name: &str) -> HashPart {
    path(name).hash_part()
}

pub(super) fn narinfo_key(name: &str) -> String {
    format!("{}.narinfo", part(name))
}

/// Where the body of a path lies that was pushed by hand.
pub(super) fn body_key(name: &str) -> String {
    let hash = base32::encode(Sha256::of(format!("body of {name}").as_bytes()).as_bytes());
    format!("nar/{hash}.nar.xz")
}

/// The narinfo of a path, as `nix copy` would write it.
pub(super) fn narinfo_text(name: &str, references: &[&str]) -> String {
    let body = body_of(name);
    let hash = Sha256::of(body.as_bytes()).to_base32();
    let mut references: Vec<String> = references.iter().map(|r| path(r).to_string()).collect();
    references.sort();
    format!(
        "StorePath: /nix/store/{}\nURL: {}\nCompression: xz\nFileHash: sha256:{hash}\nFileSize: {}\n\
         NarHash: sha256:{hash}\nNarSize: {}\nReferences: {}\n",
        path(name),
        body_key(name),
        body.len(),
        body.len(),
        references.join(" "),
    )
}

fn body_of(name: &str) -> String {
    format!("contents of {name}").repeat(3)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_modes(Modes::aws())
    }

    pub(super) fn with_modes(modes: Modes) -> Self {
        let clock = Clock::paused(start());
        let memory = Memory::with_modes(clock.clone(), modes);
        memory.plant(
            "nix-cache-info",
            "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n",
        );
        Self {
            memory,
            clock,
            n_runs: Mutex::new(0),
        }
    }

    /// Returns the usual request for a new sweep; the guard lets everything pass.
    pub(super) fn request(&self) -> Request {
        let mut n_runs = self.n_runs.lock().unwrap();
        *n_runs += 1;
        Request {
            run: RunId::new(self.clock.now(), &format!("run{n_runs}")).unwrap(),
            clock: self.clock.clone(),
            timing: Timing::default(),
            settings: Settings {
                config: Config {
                    guard_percent: 100,
                    ..Config::default()
                },
                ..Settings::default()
            },
            imported: Vec::new(),
            n_requests: 8,
            options: Options::default(),
        }
    }

    /// Sweeps as usual, to the end.
    pub(super) async fn sweep(&self) -> Report {
        self.sweep_as(self.request()).await.unwrap()
    }

    pub(super) async fn sweep_as(&self, request: Request) -> Result<Report, Error> {
        self.sweep_over(Arc::new(self.memory.clone()), request)
            .await
    }

    /// Sweeps through something that stands before the cache.
    pub(super) async fn sweep_over(
        &self,
        dest: Arc<dyn Backend>,
        request: Request,
    ) -> Result<Report, Error> {
        let report = sweep::run(dest, request, Arc::default(), Stop::default()).await?;
        match report.stopped {
            None => Ok(report),
            Some(sweep::Stopped::Asked) => Err(Error::Stopped),
            Some(sweep::Stopped::Failed(error)) => Err(*error),
        }
    }

    pub(super) async fn dry_run(&self) -> Report {
        let mut request = self.request();
        request.options.is_dry_run = true;
        self.sweep_as(request).await.unwrap()
    }

    pub(super) async fn undo(&self, run: &RunId) -> UndoReport {
        let request = UndoRequest {
            run: run.clone(),
            id: format!("undo-{run}").parse().unwrap(),
            clock: self.clock.clone(),
            timing: Timing::default(),
            n_requests: 8,
            is_dry_run: false,
        };
        let dest = Arc::new(self.memory.clone());
        sweep::undo(dest, request, Arc::default(), Stop::default())
            .await
            .unwrap()
    }

    pub(super) async fn days(&self, days: u32) {
        tokio::time::sleep(DAY * days).await;
    }

    /// Pushes paths as a foreign writer does that knows nothing of us: `a -> b c; b; c`.
    ///
    /// Bodies first, then narinfos in the order of the text turned round, so write referrers first.
    pub(super) fn push(&self, text: &str) {
        for item in text.split(';').rev() {
            let (name, references) = item.split_once("->").unwrap_or((item, ""));
            let references: Vec<&str> = references.split_whitespace().collect();
            self.push_one(name.trim(), &references);
        }
    }

    fn push_one(&self, name: &str, references: &[&str]) {
        if self.memory.stored(&body_key(name)).is_none() {
            self.memory.plant(&body_key(name), body_of(name));
        }
        self.publish(name, references);
    }

    /// Publishes a narinfo alone, as a writer does that believes the body to be there.
    pub(super) fn publish(&self, name: &str, references: &[&str]) {
        let text = narinfo_text(name, references);
        self.memory.plant(&narinfo_key(name), text);
    }

    /// Leaves the root record of a finished copy of our own.
    pub(super) fn root(&self, group: &str, names: &[&str]) {
        let (key, bytes) = self.root_record(group, names, &[]);
        self.memory.plant(&key, bytes);
    }

    /// Leaves the root record of a copy that left `upstream` to another cache.
    pub(super) fn root_beside(&self, group: &str, names: &[&str], upstream: &[&str]) {
        let (key, bytes) = self.root_record(group, names, upstream);
        self.memory.plant(&key, bytes);
    }

    /// Returns key and contents of a root record of now.
    pub(super) fn root_record(
        &self,
        group: &str,
        names: &[&str],
        upstream: &[&str],
    ) -> (String, Vec<u8>) {
        let mut roots: Vec<StorePath> = names.iter().map(|name| path(name)).collect();
        roots.sort();
        let mut upstream: Vec<HashPart> = upstream.iter().map(|name| part(name)).collect();
        upstream.sort();
        let record = RootRecord {
            store_dir: StoreDir::default(),
            roots,
            writer: "0.1.0".to_owned(),
            upstream,
        };
        let name = Name::Root {
            group: group.parse().unwrap(),
            time: self.clock.now(),
            id: "made".parse().unwrap(),
        };
        (name.key().to_string(), record.encode())
    }

    /// Names of everything but the ledger.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = self.memory.names().into_iter();
        names.filter(|name| !name.starts_with("narhaul/")).collect()
    }

    pub(super) fn ledger(&self) -> Vec<String> {
        let names = self.memory.names().into_iter();
        names.filter(|name| name.starts_with("narhaul/")).collect()
    }

    /// What a cache holds that has these closures and nothing else: `a -> b; b`.
    pub(super) fn names_of(names: &[&str]) -> BTreeSet<String> {
        let both = names
            .iter()
            .flat_map(|name| [narinfo_key(name), body_key(name)]);
        both.chain(["nix-cache-info".to_owned()]).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.memory.stored(&narinfo_key(name)).is_some()
    }

    pub(super) fn has_body(&self, name: &str) -> bool {
        self.memory.stored(&body_key(name)).is_some()
    }

    /// Every visible narinfo's references that are not visible, and bodies that are not there.
    pub(super) fn holes(&self) -> Vec<String> {
        let mut holes = Vec::new();
        for name in self.memory.names() {
            let Some(part) = name.strip_suffix(".narinfo") else {
                continue;
            };
            let stored = self.memory.stored(&name).unwrap();
            let text = str::from_utf8(&stored.body).unwrap();
            let Ok(narinfo) = NarInfo::parse(&StoreDir::default(), text) else {
                continue;
            };
            if self.memory.stored(&narinfo.url).is_none() {
                holes.push(format!("{part} has no body"));
            }
            for reference in &narinfo.path_info.references {
                let key = format!("{}.narinfo", reference.hash_part());
                if self.memory.stored(&key).is_none() {
                    holes.push(format!("{part} wants {reference}"));
                }
            }
        }
        holes
    }
}
