//! The one cache that a command is about: found, opened, worked on.
//!
//! The commands beside `copy` name their cache last or by `--to`, or leave it to the setting `to`. Here
//! that becomes an open back end behind its wrappers, with Ctrl-C looked after, and what the cache was asked is
//! told at the end. Progress is shown by those whose work takes long.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use crate::{
    backend::{self, Backend, s3::S3, wrap::count::Counts},
    cli::{
        Context,
        cache::{self, Limits, Named, Traffic},
        config::Layers,
        error::{self, Exit, Failure},
        resolve,
        run::{self, Ended, Workers},
    },
    meter::Meter,
    nix::cache_url::CacheUrl,
    stop::Stop,
};

/// A cache, by its URL.
#[derive(Clone, Debug)]
pub struct Site {
    /// The URL as it was typed, for hints that can be pasted.
    pub typed: String,
    /// The same, understood.
    pub url: CacheUrl,
    /// The same without parameters, for sentences.
    pub place: String,
}

/// What a command may do with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it only: a write is an error.
    Read,
    /// Write it too.
    Write,
}

/// What work on an open cache is given.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The cache, behind its wrappers.
    pub dest: Arc<dyn Backend>,
    /// The same where it is a bucket, with nothing in front of it.
    pub bucket: Option<S3>,
    /// What was asked of it so far.
    pub counts: Arc<Counts>,
    /// Where work is counted, for those who watch.
    pub meter: Arc<Meter>,
    /// Whether the work is to end.
    pub stop: Stop,
}

impl Site {
    /// Finds the cache that the setting `to` names; `command` is how to name it for a hint.
    pub fn find(context: &Context, layers: &Layers<'_>, command: &str) -> Result<Self, Failure> {
        let Some(to) = layers.get("to") else {
            return Err(Failure::usage("no cache is named").hint(format!(
                "say which: `narhaul {command} 's3://bucket?endpoint=…'`, or `file://$PWD/cache`"
            )));
        };
        let Named { typed, url } = cache::find_to(context, layers, &to)?;
        let place = url.show_place();
        Ok(Self { typed, url, place })
    }

    /// Opens the cache and does `work` with it, as far as `access` goes.
    pub fn visit<T>(
        &self,
        context: &Arc<Context>,
        layers: &Layers<'_>,
        access: Access,
        work: impl AsyncFnOnce(Desk) -> Result<T, Failure>,
    ) -> Result<(T, Traffic), Failure> {
        let limits = Limits {
            requests: resolve::requests(layers)?,
            upload_bytes_per_s: None,
            is_read_only: access == Access::Read,
        };
        let (meter, stop) = (Arc::new(Meter::default()), Stop::default());
        let ended = run::with_interrupts(context, &stop, Workers::ForAllCores, async {
            let cache = match access {
                Access::Read => cache::open_to_read(context, &self.url, layers).await?,
                Access::Write => cache::open(context, &self.url, layers).await?,
            };
            let desk = Desk {
                dest: cache.limited(limits, &meter, &stop)?,
                bucket: cache.bucket.clone(),
                counts: Arc::clone(&cache.counts),
                meter: Arc::clone(&meter),
                stop: stop.clone(),
            };
            let done = work(desk).await;
            cache.tell(context);
            Ok((done?, cache.traffic()))
        })?;
        match ended {
            Ended::ByItself(done) => done,
            Ended::ByForce => Err(Failure {
                exit: Exit::Interrupted,
                ..Failure::new("interrupted: ended at once")
            }
            .hint("the cache is closed; run the same command again to continue")),
        }
    }

    /// A request that failed: `act` is what was attempted as a whole, such as "cannot list the pins of".
    #[must_use]
    pub fn failure(&self, act: &str, error: &backend::Error) -> Failure {
        let failure = Failure::new(format!("{act} `{}`", self.place)).because(error);
        match error::backend_hint(&self.typed, error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// How a cache is asked: what every command on one cache takes.
#[derive(Debug, Default, Args)]
pub struct HowArgs {
    /// Requests under way at once, at most [default: 64]
    #[arg(long, value_name = "N", help_heading = "How", hide_short_help = true)]
    requests: Option<String>,

    /// Trust these certificate authorities [env: NARHAUL_CA_FILE]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "How",
        hide_short_help = true
    )]
    ca_file: Option<PathBuf>,
}

impl HowArgs {
    /// Begins the layers of settings with these flags, and with the cache's URL if one was given.
    pub fn layers<'a>(
        &self,
        context: &'a Context,
        url: Option<&str>,
    ) -> Result<Layers<'a>, Failure> {
        let mut layers = Layers::new(context)?;
        layers.set_flag("to", url.map(str::to_owned));
        layers.set_flag("requests", self.requests.clone());
        let ca_file = self.ca_file.as_ref();
        layers.set_flag("ca-file", ca_file.map(|file| file.display().to_string()));
        Ok(layers)
    }
}
