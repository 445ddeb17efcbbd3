//! Opens the store that is copied from: chosen as Nix does, by flag, settings and environment.
//!
//! What `--store` may be stands in `source::choice`. Nix's own `nix.conf` and `NIX_REMOTE` are the weakest
//! places that name one.

use std::{path::Path, sync::Arc};

use crate::{
    cli::{
        Context,
        config::{Layers, Picked},
        env,
        error::Failure,
        words,
    },
    source::{
        Error, Source,
        choice::{Choice, Surroundings, choose},
        logs::LogDir,
        nix_daemon::{Daemon, Endpoint},
        nix_db::{NixDb, SpecError},
    },
};

/// Returns which store is meant.
pub fn chosen(context: &Context, layers: &Layers<'_>) -> Result<Choice, Failure> {
    let picked = layers.get("store");
    let env = &context.env;
    let around = Surroundings {
        store_dir: env
            .first(&[&env::NIX_STORE_DIR, &env::NIX_STORE])
            .map(|(_, dir)| dir),
        state_dir: env.get(&env::NIX_STATE_DIR),
        socket: env.get(&env::NIX_DAEMON_SOCKET_PATH),
        data_home: env.data_home(),
        is_root: rustix::process::getuid().is_root(),
    };
    let spec = picked.as_ref().map(Picked::text);
    choose(spec, &around).map_err(|error| match (&picked, &error) {
        (Some(picked), SpecError::Kind(kind)) => picked.failure(&error).hint(instead_of(kind)),
        _ => Failure::from_error(&error),
    })
}

/// Says what to do where a store is of another kind.
fn instead_of(kind: &str) -> String {
    let scheme = kind.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "s3" | "http" | "https" | "file" => {
            format!("this is a binary cache: `narhaul copy --from '{kind}'` copies from it")
        }
        "ssh" | "ssh-ng" => {
            "stores on other machines are not read: run narhaul there, or take this \
             machine's own by `--store auto`"
                .to_owned()
        }
        _ => "`--store auto` is this machine's own".to_owned(),
    }
}

/// Opens a store.
pub fn open(context: &Context, choice: &Choice) -> Result<Arc<dyn Source>, Failure> {
    let logs = match context.env.get(&env::NIX_LOG_DIR) {
        Some(dir) => LogDir(dir.into()),
        None => choice.config.log_dir(),
    };
    match &choice.socket {
        Some(_) => Ok(Arc::new(daemon(choice)?.with_logs(logs))),
        None => match NixDb::open(choice.config.clone()) {
            Ok(db) => Ok(Arc::new(db.with_logs(logs))),
            Err(error) => Err(no_database(&error)),
        },
    }
}

/// Connects to the daemon of a store, also where its database would be read otherwise.
pub fn daemon(choice: &Choice) -> Result<Daemon, Failure> {
    let usual = || choice.config.state_dir().join("daemon-socket/socket");
    let endpoint = Endpoint {
        socket: choice.socket.clone().unwrap_or_else(usual),
        store_dir: choice.config.store_dir.clone(),
        physical_dir: choice.config.physical_dir.clone(),
    };
    Daemon::connect(&endpoint).map_err(|error| words::of_source(&error))
}

fn no_database(error: &Error) -> Failure {
    let failure = Failure::new("cannot open the Nix store").because(error);
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    match error {
        Error::Read { path, .. } if !is_missing(path) => {
            failure.hint("`--store daemon` asks its daemon instead; `--store ROOT` names another")
        }
        _ => failure.hint(
            "name another by `--store ROOT`; a folder is copied without any store by `--add DIR`",
        ),
    }
}
