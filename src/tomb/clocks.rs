//! Whether a server's two clocks agree: the one that dates what it stores, and the one that dates answers.
//!
//! Ages are the difference of the two (`docs/sweep-protocol.md`, assumption 4). Behind a proxy that puts
//! its own date on answers, a run that lives looks dead, or the window is wrong by as much. So whoever
//! writes its first file asks for its date, between two looks at the clock.

use std::time::{Duration, SystemTime};

use super::Error;
use crate::{
    backend::{Backend, Kind},
    nix::object_key::ObjectKey,
};

/// How far the clocks may lie apart. Dates are told in whole seconds, and a server's machines are kept
/// together by NTP, which makes seconds at most; a sweep's beat is trusted for five minutes longer than
/// it goes by it itself, so one minute loses nothing.
const MAX_APART: Duration = Duration::from_secs(60);

/// Returns the date of what was just written under `key`, if the server tells it; `before` is the
/// server's time before that. One request.
///
/// # Errors
///
/// Fails, too, where the date lies outside of the time in which it was written.
pub(super) async fn agree(
    dest: &dyn Backend,
    key: &ObjectKey,
    before: SystemTime,
) -> Result<Option<SystemTime>, Error> {
    let stored = match dest.head(key).await {
        Ok(meta) => meta.last_modified,
        // Who may write and not read learns no date.
        Err(error) if error.kind == Kind::Denied => None,
        Err(error) if error.kind == Kind::NotFound => {
            return Err(Error::Vanished {
                place: dest.place().to_owned(),
                key: key.clone(),
            });
        }
        Err(error) => return Err(Error::cache(dest, error)),
    };
    let Some(stored) = stored else {
        return Ok(None);
    };
    let after = now(dest).await?;
    let told = if stored + MAX_APART < before {
        before
    } else if after + MAX_APART < stored {
        after
    } else {
        return Ok(Some(stored));
    };
    Err(Error::Clocks {
        place: dest.place().to_owned(),
        stored,
        told,
    })
}

/// Returns the server's time.
pub(super) async fn now(dest: &dyn Backend) -> Result<SystemTime, Error> {
    dest.now().await.map_err(|error| Error::cache(dest, error))
}
