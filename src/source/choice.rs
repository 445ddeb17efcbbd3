//! Which store is meant, and whether it is read by its daemon or from its database: as Nix chooses.
//!
//! | `--store`, `NIX_REMOTE` | store |
//! |---|---|
//! | nothing, `auto` | the database if the state dir can be written; else the daemon if its socket is there; else, for users on a Linux without `/nix`, the store below `~/.local/share/nix/root`; else the database |
//! | `daemon`, `unix://` | the daemon at the usual socket |
//! | `unix:///path` | the daemon at that socket |
//! | `local`, `/mnt`, `local?root=…` | the database, of this machine or below a root |
//!
//! Parameters (`root`, `store`, `state`, `real`) may follow a `?`, and say of a daemon's store too where
//! its files are. Not handled: stores on other machines. What else may name the store, `nix.conf` for
//! one, is the face's business.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::nix_db::{SpecError, StoreConfig, resolve_store};

/// What is looked at beside the store's name.
#[derive(Clone, Debug, Default)]
pub struct Surroundings<'a> {
    /// The value of `NIX_STORE_DIR`.
    pub store_dir: Option<&'a str>,
    /// The value of `NIX_STATE_DIR`.
    pub state_dir: Option<&'a str>,
    /// The value of `NIX_DAEMON_SOCKET_PATH`.
    pub socket: Option<&'a str>,
    /// The user's folder for data, such as `~/.local/share`.
    pub data_home: Option<PathBuf>,
    /// Whether the user is root.
    pub is_root: bool,
}

/// A store, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where it is.
    pub config: StoreConfig,
    /// The socket of the daemon that is asked; none if the database is read.
    pub socket: Option<PathBuf>,
}

/// Returns the store that `spec` means.
pub fn choose(spec: Option<&str>, around: &Surroundings<'_>) -> Result<Choice, SpecError> {
    let spec = spec.unwrap_or("auto");
    let (kind, query) = spec.split_once('?').unwrap_or((spec, ""));
    let local = |spec: &str| resolve_store(Some(spec), around.store_dir, around.state_dir);
    let by_daemon = |socket: PathBuf| {
        Ok(Choice {
            config: local(&format!("local?{query}"))?,
            socket: Some(socket),
        })
    };
    match kind {
        "daemon" | "unix://" => by_daemon(usual_socket(around)),
        "auto" | "" => {
            let config = local(&format!("local?{query}"))?;
            if is_writable(config.state_dir()) {
                return Ok(Choice {
                    config,
                    socket: None,
                });
            }
            let socket = usual_socket(around);
            if socket.symlink_metadata().is_ok() {
                return by_daemon(socket);
            }
            let config = match own_root(&config, query, around) {
                Some(root) => local(&root)?,
                None => config,
            };
            Ok(Choice {
                config,
                socket: None,
            })
        }
        other => match other.strip_prefix("unix://") {
            Some(socket) => by_daemon(PathBuf::from(socket)),
            None => Ok(Choice {
                config: local(spec)?,
                socket: None,
            }),
        },
    }
}

/// Where the daemon of this machine listens.
fn usual_socket(around: &Surroundings<'_>) -> PathBuf {
    if let Some(socket) = around.socket {
        return PathBuf::from(socket);
    }
    let state_dir = Path::new(around.state_dir.unwrap_or("/nix/var/nix"));
    state_dir.join("daemon-socket/socket")
}

/// Returns whether the files of a folder can be read and changed.
pub(super) fn is_writable(folder: &Path) -> bool {
    access(folder, Access::READ_OK | Access::WRITE_OK).is_ok()
}

/// The root of a user's own store, where there is no other.
fn own_root(config: &StoreConfig, query: &str, around: &Surroundings<'_>) -> Option<String> {
    let is_bare = query.is_empty() && around.store_dir.is_none() && around.state_dir.is_none();
    let is_missing = !config.state_dir().exists();
    if !cfg!(target_os = "linux") || around.is_root || !is_bare || !is_missing {
        return None;
    }
    let root = around.data_home.as_ref()?.join("nix/root");
    let root = root.exists().then_some(root)?;
    Some(root.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is chosen, in a word: a socket, or a database's folder.
    fn chosen(spec: Option<&str>, around: &Surroundings<'_>) -> String {
        let choice = choose(spec, around).unwrap();
        match choice.socket {
            Some(socket) => format!("daemon {}", socket.display()),
            None => format!("database {}", choice.config.db_dir.display()),
        }
    }

    #[test]
    fn a_daemon_is_named_by_its_socket() {
        let around = Surroundings {
            state_dir: Some("/v"),
            ..Surroundings::default()
        };
        for (spec, wanted) in [
            ("daemon", "daemon /v/daemon-socket/socket"),
            ("unix://", "daemon /v/daemon-socket/socket"),
            ("unix:///run/s", "daemon /run/s"),
            ("unix:///run/s?root=/mnt", "daemon /run/s"),
            ("local", "database /v/db"),
            ("/mnt", "database /mnt/nix/var/nix/db"),
            ("local?root=/mnt", "database /mnt/nix/var/nix/db"),
            ("local?root=/mnt&state=/s", "database /s/db"),
            ("local:///mnt", "database /mnt/nix/var/nix/db"),
        ] {
            assert_eq!(chosen(Some(spec), &around), wanted, "{spec}");
        }
        let named = Surroundings {
            socket: Some("/run/t"),
            ..around
        };
        assert_eq!(chosen(Some("daemon"), &named), "daemon /run/t");
        let choice = choose(Some("unix:///run/s?root=/mnt"), &named).unwrap();
        assert_eq!(choice.config.physical_dir, Path::new("/mnt/nix/store"));
        for foreign in [
            "ssh-ng://host",
            "ssh://host",
            "https://cache",
            "s3://b",
            "dummy://",
            "nonsense",
        ] {
            let chosen = choose(Some(foreign), &named);
            assert!(matches!(chosen, Err(SpecError::Kind(_))), "{foreign}");
        }
    }

    #[test]
    fn auto_is_the_database_where_it_can_be_written_and_else_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let (text, home) = (state_dir.to_str().unwrap(), folder.path().join("home"));
        let around = Surroundings {
            state_dir: Some(text),
            data_home: Some(home.clone()),
            ..Surroundings::default()
        };
        // No state dir, no socket: what would be there.
        let database = format!("database {text}/db");
        assert_eq!(chosen(None, &around), database);
        fs::create_dir_all(state_dir.join("daemon-socket")).unwrap();
        fs::write(state_dir.join("daemon-socket/socket"), "").unwrap();
        assert_eq!(chosen(None, &around), database, "it can be written");
        // A state dir elsewhere cannot be written, but the socket of this machine is there.
        let daemon = format!("daemon {text}/daemon-socket/socket");
        assert_eq!(chosen(Some("auto?state=/nowhere"), &around), daemon);
        assert_eq!(chosen(Some("?state=/nowhere"), &around), daemon);
    }

    #[test]
    fn a_user_without_any_store_has_one_at_home() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("nix/root");
        let config = StoreConfig {
            store_dir: "/nix/store".parse().unwrap(),
            physical_dir: PathBuf::from("/nix/store"),
            db_dir: folder.path().join("nowhere/db"),
        };
        let user = Surroundings {
            data_home: Some(folder.path().to_owned()),
            ..Surroundings::default()
        };
        assert_eq!(own_root(&config, "", &user), None);
        fs::create_dir_all(&root).unwrap();
        assert_eq!(own_root(&config, "", &user).as_deref(), root.to_str());
        assert_eq!(own_root(&config, "real=/x", &user), None);
        let root_user = Surroundings {
            is_root: true,
            ..user
        };
        assert_eq!(own_root(&config, "", &root_user), None);
    }
}
