//! The parts of a sweep's request that every command which looks at a whole cache needs.

use crate::{
    backend::Kind,
    cli::{
        Context,
        config::Layers,
        error::Failure,
        resolve, roots_from,
        run::{self},
        site::{Desk, Site},
        units::Count,
    },
    ledger::{Name, RunId, config::Config},
    nix::{
        object_key::ObjectKey,
        store_path::{StoreDir, StorePath},
    },
    plan::sweep::Imported,
};

/// How many requests may be under way at once.
pub fn n_requests(layers: &Layers<'_>) -> Result<usize, Failure> {
    Ok(usize::try_from(resolve::requests(layers)?).unwrap_or(usize::MAX))
}

/// Reads every list of roots that was named.
pub fn imported(
    context: &Context,
    layers: &Layers<'_>,
    store_dir: &StoreDir,
) -> Result<Vec<Imported>, Failure> {
    let picked = layers.get("roots-from");
    let named = picked.iter().flat_map(|picked| &picked.values);
    let lists = named.map(|text| {
        let list = roots_from::read(store_dir, text)?;
        let n = Count::of(list.paths.len(), "root");
        context.ui.detail(&format!("{n} from `{}`", list.label));
        Ok(Imported {
            label: list.label,
            parts: list.paths.iter().map(StorePath::hash_part).collect(),
        })
    });
    lists.collect()
}

/// Refuses to sweep by age alone what is no binary cache: whatever lies there may be anything.
pub async fn is_cache(site: &Site, desk: &Desk) -> Result<(), Failure> {
    match desk.dest.head(&ObjectKey::cache_info()).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::NoBucket) => {
            Err(Failure::refused(format!(
                "refusing to sweep `{}` by age alone: it has no `nix-cache-info`, so it may be no binary cache",
                site.place
            ))
            .hint("see whether the URL is right")
            .hint(format!(
                "if it is a cache, say so: `narhaul init '{}'`",
                site.typed
            )))
        }
        Err(error) => Err(site.failure("cannot look for `nix-cache-info` in", &error)),
    }
}

/// What the sweeps of this cache go by, if there was one.
pub async fn config(site: &Site, desk: &Desk) -> Result<Option<Config>, Failure> {
    let key = Name::Config.key();
    match desk.dest.get(&key).await {
        Ok(object) => Config::decode(&object.body).map(Some).map_err(|error| {
            Failure::refused(format!("cannot understand `{key}` of `{}`", site.place))
                .because(&error)
                .hint("it may be of a newer version: sweep with the newest narhaul")
        }),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(site.failure("cannot read the settings of", &error)),
    }
}

/// A name for this sweep, by the server's time.
pub async fn run_id(site: &Site, desk: &Desk) -> Result<RunId, Failure> {
    let now = desk.dest.now().await;
    let now = now.map_err(|error| site.failure("cannot ask the time of", &error))?;
    RunId::new(now, &run::id()?)
        .map_err(|error| Failure::new("cannot name this sweep").because(&error))
}
