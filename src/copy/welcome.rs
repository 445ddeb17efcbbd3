//! The first look at a cache: is it there, and is it for our store?
//!
//! Reads nix-cache-info. One that is for another store dir refuses the copy, since references are
//! absolute paths. Where there is none, one is written: without it every client fails with "does not
//! appear to be a binary cache", and without a priority this cache would be asked before
//! cache.nixos.org.

use super::{Error, Options, Warning};
use crate::{
    backend::{self, Backend, Kind, PutOptions},
    nix::{
        cache_info::{CacheInfo, DEFAULT_PRIORITY},
        object_key::ObjectKey,
        store_path::StoreDir,
    },
    source::Source,
};

/// Greets the cache; returns what a person should know of it.
pub(super) async fn run(
    source: &dyn Source,
    dest: &dyn Backend,
    options: Options,
) -> Result<Vec<Warning>, Error> {
    let fail = |source| Error::Cache {
        place: dest.place().to_owned(),
        source,
    };
    if options.create_cache && !options.is_dry_run {
        dest.create().await.map_err(fail)?;
    }
    match dest.get(&ObjectKey::cache_info()).await {
        Ok(object) => {
            let text = String::from_utf8_lossy(&object.body);
            let info = CacheInfo::parse(&text).map_err(|source| Error::CacheInfo {
                place: dest.place().to_owned(),
                source,
            })?;
            check_store_dir(dest, info.store_dir, source.store_dir())?;
            Ok(Vec::new())
        }
        // A dry run may look at a folder that is still to be made.
        Err(error) if is_missing(&error, options) && options.is_dry_run => Ok(Vec::new()),
        Err(error) if error.kind == Kind::NotFound => {
            write_cache_info(source.store_dir(), dest)
                .await
                .map_err(fail)?;
            Ok(vec![Warning::WroteCacheInfo])
        }
        // A writer that may not list gets 403 for what is not there; `presence` finds out whether
        // that is so here. An existing file must not be overwritten on a mere suspicion.
        Err(error) if error.kind == Kind::Denied => Ok(Vec::new()),
        Err(error) => Err(fail(error)),
    }
}

fn is_missing(error: &backend::Error, options: Options) -> bool {
    error.kind == Kind::NotFound || (error.kind == Kind::NoBucket && options.create_cache)
}

fn check_store_dir(
    dest: &dyn Backend,
    theirs: Option<StoreDir>,
    ours: &StoreDir,
) -> Result<(), Error> {
    match theirs {
        Some(theirs) if theirs != *ours => {
            let place = dest.place().to_owned();
            Err(Error::OtherStoreDir {
                place,
                theirs,
                ours: ours.clone(),
            })
        }
        _ => Ok(()),
    }
}

async fn write_cache_info(store_dir: &StoreDir, dest: &dyn Backend) -> Result<(), backend::Error> {
    let info = CacheInfo {
        store_dir: Some(store_dir.clone()),
        want_mass_query: true,
        priority: Some(DEFAULT_PRIORITY),
    };
    let options = PutOptions {
        content_type: Some("text/x-nix-cache-info".to_owned()),
        ..PutOptions::default()
    };
    dest.put(&ObjectKey::cache_info(), info.to_string().into(), &options)
        .await
}
