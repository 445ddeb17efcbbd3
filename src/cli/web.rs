//! Opens caches behind web servers: who we are to them, by URL or `netrc` file.
//!
//! As in Nix, the file is that of `netrc-file`, or else `netrc` in Nix's folder of settings; then, where
//! Nix looks no further, `~/.netrc`. A file that was named must be there and readable; the others are
//! passed over if they are not. Nix's own is often readable by root alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    backend::http::{self, Address, HttpConfig, Login, Web, find_login},
    cli::{
        Context,
        cache::{ca_bundle, proxies},
        config::Layers,
        env,
        error::{self, Failure},
    },
    nix::cache_url::CacheUrl,
};

/// Opens the cache at `address`, which is the one of `url`.
pub(super) fn open(
    context: &Context,
    url: &CacheUrl,
    address: &str,
    layers: &Layers<'_>,
) -> Result<Web, Failure> {
    let place = url.show_place();
    let base = Address::parse(address).map_err(|problem| {
        Failure::usage(format!("cannot use the cache URL `{place}`")).because(&problem)
    })?;
    let config = HttpConfig {
        login: login(context, &base, layers)?,
        ca_bundles: ca_bundle(context, layers)?.into_iter().collect(),
        proxies: proxies(context),
        ..HttpConfig::new(place.clone(), base)
    };
    http::open(config).map_err(|error| error::of_backend("cannot open", &place, &error))
}

/// Opens what lies at a URL as somebody does who has no login there.
pub(super) fn open_anonymous(
    context: &Context,
    url: &str,
    layers: &Layers<'_>,
) -> Result<Web, Failure> {
    let base = Address::parse(url).map_err(|problem| {
        Failure::usage(format!("cannot use the URL `{url}`")).because(&problem)
    })?;
    let config = HttpConfig {
        ca_bundles: ca_bundle(context, layers)?.into_iter().collect(),
        proxies: proxies(context),
        ..HttpConfig::new(url, base)
    };
    http::open(config).map_err(|error| error::of_backend("cannot open", url, &error))
}

/// Returns who we are to a server: as its URL says, or the first `netrc` file that knows it.
fn login(context: &Context, base: &Address, layers: &Layers<'_>) -> Result<Option<Login>, Failure> {
    if let Some(user_info) = &base.user_info {
        let (name, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        return Ok(Some(Login {
            name: decoded(name),
            password: decoded(password),
        }));
    }
    if let Some(named) = layers.get("netrc-file") {
        let text = fs::read_to_string(named.text()).map_err(|error| {
            Failure::new(format!(
                "cannot read the logins in `{}`, named by {named}",
                named.text()
            ))
            .because(&error)
        })?;
        return Ok(find_login(&text, base.host()));
    }
    Ok(usual_files(&context.env).into_iter().find_map(|file| {
        // Whoever is not asked to look there does not mind that it cannot be read.
        let text = fs::read_to_string(&file).ok()?;
        let login = find_login(&text, base.host())?;
        let shown = file.display();
        context
            .ui
            .detail(&format!("login: `{}`, from `{shown}`", login.name));
        Some(login)
    }))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

/// Returns where logins are when nobody says otherwise.
fn usual_files(env: &env::Env) -> Vec<PathBuf> {
    let nix = env.get(&env::NIX_CONF_DIR).unwrap_or("/etc/nix");
    let home = env.get(&env::HOME);
    let home = home.map(|home| Path::new(home).join(".netrc"));
    [Some(Path::new(nix).join("netrc")), home]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nixs_own_file_comes_before_the_users() {
        let files = usual_files(&env::Env::of(&[("HOME", "/h")]));
        assert_eq!(files, [Path::new("/etc/nix/netrc"), Path::new("/h/.netrc")]);
        let files = usual_files(&env::Env::of(&[("NIX_CONF_DIR", "/n")]));
        assert_eq!(files, [Path::new("/n/netrc")]);
    }
}
