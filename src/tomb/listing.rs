//! A listing of one part of the ledger.

use std::time::SystemTime;

use super::Error;
use crate::{
    backend::{Backend, ListQuery, ObjectMeta},
    ledger::name::Name,
    nix::object_key::{LEDGER_PREFIX, ObjectKey},
};

/// The files of one part of the ledger, in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) named: Vec<(Name, ObjectMeta)>,
    /// Keys that no file of this version has.
    pub(super) unknown: Vec<ObjectKey>,
}

/// Lists what lies below `narhaul/<part>/`.
pub(super) async fn list(dest: &dyn Backend, part: &str) -> Result<Files, Error> {
    let mut query = ListQuery {
        prefix: format!("{LEDGER_PREFIX}{part}/"),
        ..ListQuery::default()
    };
    let mut files = Files::default();
    loop {
        let page = dest.list(&query).await;
        let page = page.map_err(|error| Error::cache(dest, error))?;
        for (key, meta) in page.objects {
            match Name::parse(&key) {
                Some(name) => files.named.push((name, meta)),
                None => files.unknown.push(key),
            }
        }
        match page.token {
            Some(token) => query.token = Some(token),
            None => return Ok(files),
        }
    }
}

/// Returns when a file was written; one without a date is as new as can be, since doubt keeps.
pub(super) fn written(meta: &ObjectMeta, now: SystemTime) -> SystemTime {
    meta.last_modified.unwrap_or(now)
}
