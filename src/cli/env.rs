//! Every environment variable that narhaul looks at, once.
//!
//! The environment is read at the start into an [`Env`]; nothing else in this program asks for it. The
//! SDK reads its own variables for credentials (`AWS_ACCESS_KEY_ID` and its kin, profiles, SSO,
//! container and instance roles); they are listed with [`Reader::Sdk`] so that the list is whole.

use std::{collections::BTreeMap, path::PathBuf};

/// A variable, with what it does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does, as a clause without a full stop.
    pub what: &'static str,
    /// Who looks at it.
    pub reader: Reader,
}

/// Who looks at a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// narhaul itself.
    Ours,
    /// The AWS SDK, when it looks for credentials.
    Sdk,
}

macro_rules! variables {
    ($($id:ident $reader:ident $what:literal;)*) => {
        $(
            #[doc = $what]
            pub const $id: Variable =
                Variable { name: stringify!($id), what: $what, reader: Reader::$reader };
        )*
        /// All of them, in the order of the reference.
        pub const ALL: &[Variable] = &[$($id),*];
    };
}

variables! {
    NARHAUL_CONFIG Ours "the configuration file, instead of `narhaul.toml` in `narhaul/` below the configuration home";
    NARHAUL_TO Ours "the cache, where no URL and no `--to` is given";
    NARHAUL_STORE Ours "the Nix store to copy from, as `--store`";
    NARHAUL_KEY_FILE Ours "secret key files to sign with, separated by colons, as `--key-file`";
    NARHAUL_COMPRESSION Ours "how bodies are compressed, as `--compression`";
    NARHAUL_LEVEL Ours "the compression level, as `--level`";
    NARHAUL_MEMORY Ours "the memory for bodies under way, as `--memory`";
    NARHAUL_JOBS Ours "the number of threads that compress, as `--jobs`";
    NARHAUL_REQUESTS Ours "the number of requests under way at once, as `--requests`";
    NARHAUL_PART_SIZE Ours "the size of the parts in which large bodies are sent, as `--part-size`";
    NARHAUL_LIMIT_UPLOAD Ours "the most bytes that are sent in a second, as `--limit-upload`";
    NARHAUL_GROUP Ours "the group that the copy's root record belongs to, as `--group`";
    NARHAUL_WINDOW Ours "what a sweep keeps for its age alone, as `--window`";
    NARHAUL_GRACE Ours "how long a sweep leaves bodies after their narinfos, as `--grace`";
    NARHAUL_GUARD Ours "the largest share that a sweep takes, as `--guard`";
    NARHAUL_MAX_SIZE Ours "the size that a sweep fits the cache into, as `--max-size`";
    NARHAUL_CA_FILE Ours "certificate authorities to trust, as `--ca-file`";
    NARHAUL_S3_CLIENT Ours "what sends small requests to a bucket, as `--s3-client`";
    NARHAUL_NETRC_FILE Ours "the file with names and passwords for web servers";
    NARHAUL_LOG Ours "logs for developers on standard error, in the syntax of `RUST_LOG`: `narhaul=debug`";
    XDG_CONFIG_HOME Ours "the configuration home; `~/.config` where it is not set";
    HOME Ours "the home folder, for the configuration home and `~/.netrc`";
    NO_COLOR Ours "no colors, if it is set and not empty";
    COLUMNS Ours "the width that messages are wrapped to on a terminal";
    AWS_REGION Ours "the region, where the cache URL names none";
    AWS_DEFAULT_REGION Ours "the same, where `AWS_REGION` is not set either";
    AWS_ENDPOINT_URL_S3 Ours "the S3 endpoint, where the cache URL names none";
    AWS_ENDPOINT_URL Ours "the same, where `AWS_ENDPOINT_URL_S3` is not set either";
    AWS_CA_BUNDLE Ours "certificate authorities to trust, where no `--ca-file` is given";
    NIX_SSL_CERT_FILE Ours "the same, where `AWS_CA_BUNDLE` is not set";
    SSL_CERT_FILE Ours "the same, where `NIX_SSL_CERT_FILE` is not set either";
    HTTPS_PROXY Ours "the proxy for `https` (`https_proxy` too)";
    HTTP_PROXY Ours "the proxy for `http` (`http_proxy` too)";
    ALL_PROXY Ours "the proxy where neither of the two is set (`all_proxy` too)";
    NO_PROXY Ours "hosts that are reached without a proxy (`no_proxy` too)";
    NIX_REMOTE Ours "the Nix store to copy from, where neither we nor `nix.conf` name one";
    NIX_STORE_DIR Ours "the store dir, instead of `/nix/store`";
    NIX_STORE Ours "the same, where `NIX_STORE_DIR` is not set";
    NIX_STATE_DIR Ours "where the Nix database lies, instead of `/nix/var/nix`";
    NIX_LOG_DIR Ours "where the logs of builds lie, instead of `/nix/var/log/nix`";
    NIX_DAEMON_SOCKET_PATH Ours "the Nix daemon's socket, instead of `daemon-socket/socket` in the state dir";
    XDG_DATA_HOME Ours "the user's folder for data, where a store of one's own may lie; `~/.local/share` where it is not set";
    NIX_CONF_DIR Ours "where Nix's own `nix.conf` and `netrc` lie, instead of `/etc/nix`";
    NIX_USER_CONF_FILES Ours "the user's `nix.conf` files, separated by colons, instead of those below the configuration home; if it is set to nothing, there are none";
    NIX_CONFIG_HOME Ours "where the user's `nix.conf` lies, instead of `nix/` below the configuration home (Nix 2.26 and later)";
    NIX_CONFIG Ours "further lines of `nix.conf`; of all its settings narhaul reads `store` alone";
    XDG_CONFIG_DIRS Ours "further folders in which a `nix/nix.conf` may lie; `/etc/xdg` where it is not set";
    OUT_PATHS Ours "with `copy --hook`: what Nix has built, separated by blanks";
    DRV_PATH Ours "with `copy --hook`: what it was built from, for messages";
    AWS_ACCESS_KEY_ID Sdk "the access key; with the secret it wins over `profile=` in the URL, as in Nix since 2.33";
    AWS_SECRET_ACCESS_KEY Sdk "the secret of the access key";
    AWS_SESSION_TOKEN Sdk "the token that belongs to a temporary access key";
    AWS_PROFILE Sdk "the profile, where the cache URL names none";
    AWS_SHARED_CREDENTIALS_FILE Sdk "instead of `~/.aws/credentials`";
    AWS_CONFIG_FILE Sdk "instead of `~/.aws/config`";
}

/// Variables that are read under a second, lower-case name, which is the older one for proxies.
const LOWER_CASE_TOO: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Lists that may be empty: set to nothing, they say that there is nothing, as Nix has it.
const LISTS: [&str; 2] = ["NIX_USER_CONF_FILES", "XDG_CONFIG_DIRS"];

/// The environment as it was at the start.
///
/// A variable that is set to nothing counts as not set, except for lists: that is how scripts switch
/// one off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<&'static str, String>);

impl Env {
    /// Reads the environment. What is not UTF-8 is read with replacement characters, and will then be
    /// named in an error where it matters.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn read() -> Self {
        let read = |name: &str| {
            let value = std::env::var_os(name)?;
            (!value.is_empty() || LISTS.contains(&name))
                .then(|| value.to_string_lossy().into_owned())
        };
        let ours = ALL.iter().filter(|v| v.reader == Reader::Ours);
        Self(
            ours.filter_map(|variable| {
                let lower = || {
                    LOWER_CASE_TOO
                        .contains(&variable.name)
                        .then(|| read(&variable.name.to_ascii_lowercase()))
                        .flatten()
                };
                Some((variable.name, read(variable.name).or_else(lower)?))
            })
            .collect(),
        )
    }

    /// Returns the value of a variable.
    #[must_use]
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        self.0.get(variable.name).map(String::as_str)
    }

    /// Returns the first of `variables` that is set.
    #[must_use]
    pub fn first<'a>(&self, variables: &[&'a Variable]) -> Option<(&'a Variable, &str)> {
        variables
            .iter()
            .find_map(|variable| Some((*variable, self.get(variable)?)))
    }

    /// Returns where the configuration file is when nobody says otherwise.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        let home = self.folder(&XDG_CONFIG_HOME, ".config")?;
        Some(home.join("narhaul").join("narhaul.toml"))
    }

    /// Returns where the user's data lie.
    #[must_use]
    pub fn data_home(&self) -> Option<PathBuf> {
        self.folder(&XDG_DATA_HOME, ".local/share")
    }

    /// A folder that a variable names, or that has its usual place below the home folder.
    fn folder(&self, variable: &Variable, usual: &str) -> Option<PathBuf> {
        match (self.get(variable), self.get(&HOME)) {
            (Some(folder), _) => Some(PathBuf::from(folder)),
            (None, Some(home)) => Some(PathBuf::from(home).join(usual)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
impl Env {
    /// Makes an environment of these variables.
    pub(crate) fn of(values: &[(&'static str, &str)]) -> Self {
        Self(values.iter().map(|(k, v)| (*k, (*v).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_home_wins_over_the_home_folder() {
        let both = Env::of(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]);
        assert_eq!(
            both.config_file().unwrap().to_str(),
            Some("/c/narhaul/narhaul.toml")
        );
        let home = Env::of(&[("HOME", "/h")]);
        assert_eq!(
            home.config_file().unwrap().to_str(),
            Some("/h/.config/narhaul/narhaul.toml")
        );
        assert_eq!(Env::default().config_file(), None);
    }

    #[test]
    fn no_variable_is_listed_twice() {
        let mut names: Vec<_> = ALL.iter().map(|v| v.name).collect();
        names.sort_unstable();
        let n = names.len();
        names.dedup();
        assert_eq!(names.len(), n);
    }
}
