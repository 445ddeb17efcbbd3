//! The first look at a cache: is it there, and is it for our store?
//!
//! Reads nix-cache-info. One that is for another store dir refuses the copy, since references are
//! absolute paths. Where there is none, one is written, but only when the copy is about to begin: a
//! copy that is refused writes nothing at all. Without it every client fails with "does not appear to be
//! a binary cache", and without a priority this cache would be asked before cache.nixos.org.

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

/// What the first look has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A cache for our store.
    Cache,
    /// A place that does not let us see what it is.
    Unseen,
    /// A place that has no nix-cache-info yet.
    Place,
    /// Nothing: bucket or folder are still to be made.
    Nothing,
}

/// Looks at the cache, and writes nothing.
pub(super) async fn look(
    source: &dyn Source,
    dest: &dyn Backend,
    options: Options,
) -> Result<Found, Error> {
    let place = || dest.place().to_owned();
    match dest.get(&ObjectKey::cache_info()).await {
        Ok(object) => {
            let text = String::from_utf8_lossy(&object.body);
            let info = CacheInfo::parse(&text);
            let info = info.map_err(|source| Error::CacheInfo {
                place: place(),
                source,
            })?;
            check_store_dir(dest, info.store_dir, source.store_dir())?;
            Ok(Found::Cache)
        }
        Err(error) => match error.kind {
            Kind::NotFound => Ok(Found::Place),
            Kind::NoBucket if options.create_cache => Ok(Found::Nothing),
            // A writer that may not list gets 403 for what is not there; `presence` finds out whether
            // that is so here. An existing file must not be overwritten on a mere suspicion.
            Kind::Denied => Ok(Found::Unseen),
            _ => Err(Error::Cache {
                place: place(),
                source: error,
            }),
        },
    }
}

/// Makes the bucket or folder, where there was nothing.
pub(super) async fn create(found: Found, dest: &dyn Backend) -> Result<(), Error> {
    if found == Found::Nothing {
        dest.create().await.map_err(|source| Error::Cache {
            place: dest.place().to_owned(),
            source,
        })?;
    }
    Ok(())
}

/// Writes the nix-cache-info that the first look has not found; returns what a person should know of it.
pub(super) async fn prepare(
    found: Found,
    store_dir: &StoreDir,
    dest: &dyn Backend,
) -> Result<Option<Warning>, Error> {
    let fail = |source| Error::Cache {
        place: dest.place().to_owned(),
        source,
    };
    match found {
        Found::Cache => return Ok(None),
        Found::Unseen => return Ok(Some(Warning::CacheInfoUnseen)),
        Found::Place | Found::Nothing => {}
    }
    match write_cache_info(store_dir, dest).await {
        Ok(()) => Ok(Some(Warning::WroteCacheInfo)),
        // Somebody else has written one since the first look.
        Err(error) if error.kind == Kind::Exists => Ok(None),
        Err(error) => Err(fail(error)),
    }
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
        if_absent: dest.limits().has_conditional_put,
        ..PutOptions::default()
    };
    dest.put(&ObjectKey::cache_info(), info.to_string().into(), &options)
        .await
}
