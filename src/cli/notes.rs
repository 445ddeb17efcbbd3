//! What the ledger of a cache says about its roots and pins, for the commands that show or change them.
//!
//! One listing and one GET per record; nothing is decided here. A record that cannot be read is an error
//! that names it: what it keeps alive must not be left out of a list in silence.

use std::{sync::Arc, time::SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    backend::{self, Backend, Kind, ListQuery, Object},
    cli::{error::Failure, site::Site},
    ledger::{
        file::DecodeError,
        name::{Name, PinName},
        pin::Pin,
        root::{Group, RootRecord},
    },
    nix::object_key::{LEDGER_PREFIX, ObjectKey},
};

/// Records asked for at once. They are small, and there are as many as copies within the rules.
const AT_ONCE: usize = 32;

/// A root record, with what its key says.
#[derive(Clone, Debug)]
pub struct Root {
    /// Where it lies.
    pub key: ObjectKey,
    /// Its group.
    pub group: Group,
    /// When it was written.
    pub time: SystemTime,
    /// What it holds.
    pub record: RootRecord,
}

/// A pin, with its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// What it is called.
    pub name: PinName,
    /// When it was written, by the server's clock.
    pub written: Option<SystemTime>,
    /// What it holds.
    pub pin: Pin,
}

/// What a pin does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinState {
    /// It keeps its paths, for good.
    Holds,
    /// It keeps them until then.
    HoldsUntil(SystemTime),
    /// Its end has come.
    Over(SystemTime),
    /// It was taken off.
    TakenOff,
}

/// The end of a pin that was taken off: no person can have meant that date.
pub const TAKEN_OFF: SystemTime = SystemTime::UNIX_EPOCH;

/// Returns what a pin does at `now`.
#[must_use]
pub fn state(pin: &Pin, now: SystemTime) -> PinState {
    match pin.until {
        None => PinState::Holds,
        Some(until) if until == TAKEN_OFF => PinState::TakenOff,
        Some(until) if until <= now => PinState::Over(until),
        Some(until) => PinState::HoldsUntil(until),
    }
}

/// Reads all root records, by group and time.
pub async fn roots(site: &Site, dest: &Arc<dyn Backend>) -> Result<Vec<Root>, Failure> {
    let mut roots = Vec::new();
    for (key, object) in records(site, dest, "roots/").await? {
        let Some(Name::Root { group, time, .. }) = Name::parse(&key) else {
            continue;
        };
        let record = RootRecord::decode(&object.body).map_err(|e| unreadable(site, &key, &e))?;
        roots.push(Root {
            key,
            group,
            time,
            record,
        });
    }
    Ok(roots)
}

/// Reads all pins, by name.
pub async fn pins(site: &Site, dest: &Arc<dyn Backend>) -> Result<Vec<Named>, Failure> {
    let mut pins = Vec::new();
    for (key, object) in records(site, dest, "pins/").await? {
        let Some(Name::Pin(name)) = Name::parse(&key) else {
            continue;
        };
        let pin = Pin::decode(&object.body).map_err(|e| unreadable(site, &key, &e))?;
        pins.push(Named {
            name,
            written: object.meta.last_modified,
            pin,
        });
    }
    Ok(pins)
}

/// Reads one pin, if it is there.
pub async fn pin(
    site: &Site,
    dest: &Arc<dyn Backend>,
    name: &PinName,
) -> Result<Option<Pin>, Failure> {
    let key = Name::Pin(name.clone()).key();
    match dest.get(&key).await {
        Ok(object) => Pin::decode(&object.body)
            .map(Some)
            .map_err(|error| unreadable(site, &key, &error)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(site.failure("cannot read the pins of", &error)),
    }
}

fn unreadable(site: &Site, key: &ObjectKey, error: &DecodeError) -> Failure {
    Failure::new(format!("cannot understand `{key}` of `{}`", site.place)).because(error)
}

/// Reads everything below one folder of the ledger, in the order of the keys.
async fn records(
    site: &Site,
    dest: &Arc<dyn Backend>,
    folder: &str,
) -> Result<Vec<(ObjectKey, Object)>, Failure> {
    let failed = |error: backend::Error| site.failure("cannot read the ledger of", &error);
    let keys = keys(site, dest, folder).await?;
    let got: Vec<_> = stream::iter(keys)
        .map(async |key| match dest.get(&key).await {
            Ok(object) => Ok(Some((key, object))),
            // A sweep may take off what has run out between the listing and this.
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(got.into_iter().flatten().collect())
}

/// Lists one folder of the ledger, in order.
pub async fn keys(
    site: &Site,
    dest: &Arc<dyn Backend>,
    folder: &str,
) -> Result<Vec<ObjectKey>, Failure> {
    let failed = |error: backend::Error| site.failure("cannot read the ledger of", &error);
    let mut query = ListQuery {
        prefix: format!("{LEDGER_PREFIX}{folder}"),
        ..ListQuery::default()
    };
    let mut keys = Vec::new();
    loop {
        let page = dest.list(&query).await.map_err(failed)?;
        keys.extend(page.objects.into_iter().map(|(key, _)| key));
        query.token = page.token;
        if query.token.is_none() {
            break;
        }
    }
    Ok(keys)
}
