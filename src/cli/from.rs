//! Another binary cache as the source of a copy: `--from URL`.
//!
//! The URL and the names of paths come in before there is a runtime; the cache is opened on the copy's
//! own runtime, behind the same wrappers as a destination, and never written to.

use std::{collections::HashSet, sync::Arc};

use crate::{
    backend::Kind,
    cli::{
        Context,
        cache::{self, Cache, Limits},
        config::Layers,
        error::{Exit, Failure, backend_hint},
        units::Count,
    },
    meter::Meter,
    nix::{
        cache_url::{CacheUrl, Location},
        path_info::PathInfo,
        store_path::{StoreDir, StorePath},
    },
    source::{
        self,
        binary_cache::{BinaryCache, LeftOut, Urls, WhyLeftOut},
    },
    stop::Stop,
};

/// How many narinfos that are left out are told; the others are counted.
const MAX_TOLD: usize = 10;

/// A cache to copy from, and what is wanted of it.
#[derive(Debug)]
pub struct FromCache {
    /// The URL as it was typed.
    pub typed: String,
    /// The same, read.
    pub url: CacheUrl,
    /// What its paths begin with.
    pub store_dir: StoreDir,
    /// The paths that were named.
    pub named: Vec<StorePath>,
    /// Whether everything in it is wanted.
    pub all: bool,
}

/// A cache that was opened to copy from.
#[derive(Debug)]
pub struct Opened {
    /// As the engine wants it.
    pub source: Arc<BinaryCache>,
    /// Whose closure is copied.
    pub roots: Vec<StorePath>,
    /// What was asked of it.
    pub cache: Cache,
}

impl FromCache {
    /// Opens the cache, and finds out what is to be copied.
    pub async fn open(
        &self,
        context: &Context,
        layers: &Layers<'_>,
        requests: u32,
        meter: &Arc<Meter>,
        stop: &Stop,
    ) -> Result<Opened, Failure> {
        let cache = cache::open_to_read(context, &self.url, layers).await?;
        let limits = Limits {
            requests,
            upload_bytes_per_s: None,
            is_read_only: true,
        };
        let backend = cache.limited(limits, meter, stop)?;
        let urls = match self.url.location {
            Location::Http(_) => Urls::Web,
            Location::S3 { .. } | Location::File(_) => Urls::Keys,
        };
        let n_requests = usize::try_from(requests).unwrap_or(usize::MAX);
        let wanted = Some(self.store_dir.clone());
        let source = BinaryCache::open(backend, urls, n_requests, wanted).await;
        let source = source.map_err(|error| self.failure(&error))?;
        let roots = if self.all {
            self.everything(context, &source).await?
        } else {
            self.named.clone()
        };
        Ok(Opened {
            source: Arc::new(source),
            roots,
            cache,
        })
    }

    /// Returns the paths that nothing else in the cache refers to: all others are in their closures.
    async fn everything(
        &self,
        context: &Context,
        source: &BinaryCache,
    ) -> Result<Vec<StorePath>, Failure> {
        let infos = source.whole().await.map_err(|error| self.failure(&error))?;
        tell_left_out(context, &source.left_out());
        Ok(tops(&infos))
    }

    /// Says why the cache cannot be copied from.
    pub fn failure(&self, error: &source::Error) -> Failure {
        let place = self.url.show_place();
        let failure = Failure::new(format!("cannot copy from `{place}`")).because(error);
        match error {
            source::Error::NoListing { .. } => failure.hint(format!(
                "a web server does not tell what it has: name the paths, or copy from the bucket \
                 behind `{place}`"
            )),
            source::Error::OtherStoreDir { .. } => Failure {
                exit: Exit::Refused,
                ..failure
            },
            // Nobody wants to make what was to be copied from.
            source::Error::Cache { source, .. } if source.kind == Kind::NoBucket => failure,
            source::Error::Cache { source, .. } => match backend_hint(&self.typed, source) {
                Some(hint) => failure.hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }
}

fn tops(infos: &[PathInfo]) -> Vec<StorePath> {
    let referred: HashSet<&StorePath> = infos
        .iter()
        .flat_map(|info| info.references.iter().filter(|r| **r != info.path))
        .collect();
    let paths = infos.iter().map(|info| &info.path);
    let mut tops: Vec<StorePath> = paths
        .filter(|path| !referred.contains(path))
        .cloned()
        .collect();
    tops.sort_unstable();
    tops
}

/// Says what cannot be copied: it would break at its readers.
fn tell_left_out(context: &Context, left_out: &[LeftOut]) {
    for LeftOut { key, why } in left_out.iter().take(MAX_TOLD) {
        context.ui.warn(&format!("`{key}` is left out: {why}"));
    }
    if left_out.len() > MAX_TOLD {
        let n_broken = left_out
            .iter()
            .filter(|left| left.why == WhyLeftOut::Broken)
            .count();
        context.ui.warn(&format!(
            "in all {} are left out, {n_broken} of them because something that they need is missing",
            Count::of(left_out.len(), "narinfo")
        ));
    }
}
