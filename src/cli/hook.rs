//! A copy as Nix's `post-build-hook`: what was built comes from the environment, and a cache that is away
//! does not fail builds.
//!
//! Nix runs the hook as root after each build, often with no `HOME`, and before 2.35 waits for it. So
//! every failure, wrong usage included, is told on standard error, which Nix shows, and the exit code is 0
//! unless `--hook-strict` is given; and everything has an end. What was not copied is copied by whatever refers
//! to it next, or by hand.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use crate::{
    backend::{Backend, Kind},
    cli::{
        Context,
        env::{self, Env},
        error::{Exit, Failure},
        times::{Span, parse_span},
        ui::Ui,
    },
    nix::object_key::ObjectKey,
};

/// How long a copy may take where nobody says: Nix waits for it, and a build that has waited longer is
/// taken for stuck. In this time a line of 50 Mbit/s takes 1.8 GB; what is cut off is sent by the next.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long the cache may take to say anything at all. A slow line's first answer, with a connection, TLS
/// and credentials, takes less than three seconds; and hundreds of builds wait for one that is away.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// How long an end that was asked for may take: narinfos that are under way are waited for.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A copy as Nix's hook.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "As Nix's post-build-hook")]
pub struct HookArgs {
    /// Copy what Nix has just built (`OUT_PATHS`); a failure is told, and does not fail the build
    #[arg(
        long,
        conflicts_with_all = ["paths", "from", "add", "stdin", "json_input", "all", "dry_run"]
    )]
    hook: bool,

    /// Fail, and with that the build, if the copy fails
    #[arg(long, requires = "hook", hide_short_help = true)]
    hook_strict: bool,

    /// Give up after this time, such as `90s` [default: 5m]
    #[arg(long, value_name = "TIME", requires = "hook", hide_short_help = true)]
    hook_timeout: Option<String>,
}

/// How long a hook waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// In all.
    total: Duration,
}

impl HookArgs {
    /// Returns whether this is a hook.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.hook
    }

    /// Returns how long it waits; none if it is no hook.
    pub fn patience(&self) -> Result<Option<Patience>, Failure> {
        if !self.hook {
            return Ok(None);
        }
        let total = match &self.hook_timeout {
            None => DEFAULT_TIMEOUT,
            Some(text) => parse_span(text).map_err(|error| {
                Failure::usage(format!("cannot use `--hook-timeout {text}`")).because(&error)
            })?,
        };
        Ok(Some(Patience { total }))
    }

    /// Ends a hook as its exit code may tell.
    pub fn end(&self, context: &Context, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
        match done {
            Err(failure) if !self.hook_strict => {
                context.ui.failure(&failure);
                warn_of_gap(&context.env, &context.ui);
                Ok(Exit::Done)
            }
            done => done,
        }
    }
}

/// Returns whether arguments that cannot be understood are those of a hook that fails no builds.
#[must_use]
pub fn is_lenient(arguments: &[OsString]) -> bool {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    has("--hook") && !has("--hook-strict")
}

/// Says what a hook that failed leaves undone.
pub fn warn_of_gap(env: &Env, ui: &Ui) {
    let built = env.get(&env::DRV_PATH).unwrap_or("this build");
    ui.warn(&format!(
        "the outputs of `{built}` are not all in the cache; the build goes on"
    ));
}

/// Returns what Nix has built.
pub fn out_paths(context: &Context) -> Result<Vec<String>, Failure> {
    match context.env.get(&env::OUT_PATHS) {
        Some(paths) => Ok(paths.split_whitespace().map(str::to_owned).collect()),
        None => Err(Failure::usage(
            "there is no `OUT_PATHS` in the environment: `--hook` is for Nix to call",
        )
        .hint("set `post-build-hook` in `nix.conf` to a script that calls it, or name paths")),
    }
}

impl Patience {
    /// Waits for the first answer of the cache.
    pub async fn greet(self, dest: &dyn Backend, place: &str) -> Result<(), Failure> {
        let limit = FIRST_ANSWER.min(self.total / 2);
        let key = ObjectKey::cache_info();
        match tokio::time::timeout(limit, dest.head(&key)).await {
            Ok(Err(error)) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => {
                Err(Failure::new(format!("`{place}` cannot be reached")).because(&error))
            }
            // Whatever it says, it is there; the copy tells what is wrong with it.
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(Failure::new(format!(
                "no answer from `{place}` within {}",
                Span(limit)
            ))),
        }
    }

    /// Waits for `work`, asks for its end by `stop` when its time is over, and then leaves it.
    pub async fn wait<T>(
        self,
        stop: &crate::stop::Stop,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = Box::pin(work);
        if let Ok(done) = tokio::time::timeout(self.total, &mut work).await {
            return done;
        }
        stop.set();
        let over = || {
            Failure::new(format!("the copy was not done after {}", Span(self.total)))
                .hint("give it longer by `--hook-timeout`")
        };
        match tokio::time::timeout(LAST_WRITES, work).await {
            Ok(Err(failure)) => Err(over().cause(failure.message)),
            Ok(Ok(_)) | Err(_) => Err(over()),
        }
    }
}
