//! What a person means by a path on the command line.
//!
//! A text comes in, a store path goes out. Meant may be a store path, a link that leads to one
//! (`./result`, `/run/current-system`) or something inside one, as in Nix. Everything else is an error
//! that says what it was taken for: an installable, a path that is missing or in another store, or an
//! ordinary file, which is never published unless `--add` says so.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::error::{self, Failure},
    nix::store_path::StorePath,
    source::nix_db::{StoreConfig, store_path_of_file},
};

/// Returns the store path that a text means.
pub fn store_path(store: &StoreConfig, text: &str) -> Result<StorePath, Failure> {
    let file = absolute(text)?;
    match store_path_of_file(store, &file) {
        Some(path) => Ok(path),
        None => Err(explain(store, text, &file)),
    }
}

fn absolute(text: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(text)
        .map_err(|error| Failure::new(format!("`{text}` is no path")).because(&error))
}

fn explain(store: &StoreConfig, text: &str, file: &Path) -> Failure {
    let store_dir = &store.store_dir;
    let is_there = fs::symlink_metadata(file);
    if let Err(error) = &is_there
        && error.kind() == io::ErrorKind::NotFound
        && looks_like_installable(text)
    {
        return Failure::new(format!("`{text}` is an installable, a store path is wanted")).hint(
            format!(
                "build it first: `nix build --no-link --print-out-paths '{text}' | narhaul copy --to … --stdin`"
            ),
        );
    }
    if file.starts_with(store_dir.as_str()) {
        let shape = store_dir.parse_path(text).err();
        let failure = Failure::new(format!("`{text}` is not a store path"));
        return match shape {
            Some(error) => failure.because(&error),
            None => failure,
        };
    }
    if let Some(other) = other_store(file) {
        return Failure::new(format!("`{text}` is not in the store `{store_dir}`")).hint(format!(
            "it seems to be in `{}`; name that store by `--store`, as for `nix --store`",
            other.display()
        ));
    }
    match is_there {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Failure::new(format!("`{text}` does not exist"))
        }
        Err(error) => error::of_file("look at", file, &error),
        Ok(meta) if meta.is_symlink() && !file.exists() => {
            let target = fs::read_link(file).unwrap_or_default();
            let target = target.display();
            Failure::new(format!(
                "`{text}` leads to `{target}`, which does not exist"
            ))
        }
        Ok(meta) => {
            let kind = if meta.is_dir() { "directory" } else { "file" };
            Failure::new(format!("`{text}` is an ordinary {kind}, not a store path"))
                .hint(format!(
                    "to publish its contents as a new store path: `--add {text}`"
                ))
                .hint("to copy what was built from it: pass the result, such as `./result`")
        }
    }
}

/// Returns whether a text is how Nix names what is to be built.
fn looks_like_installable(text: &str) -> bool {
    let schemes = [
        "flake:",
        "github:",
        "gitlab:",
        "sourcehut:",
        "git+",
        "path:",
        "nixpkgs.",
    ];
    text.contains('#') || schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// Returns the store that a file seems to be in: the folder above a name of a store path's form.
fn other_store(file: &Path) -> Option<&Path> {
    let above = file.ancestors().find(|folder| {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.parse::<StorePath>().is_ok())
    })?;
    above.parent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installables_are_recognized() {
        for text in [
            ".#hello",
            "nixpkgs#hello",
            "github:a/b",
            "path:.",
            "nixpkgs.hello",
        ] {
            assert!(looks_like_installable(text), "{text}");
        }
        for text in ["./result", "/run/current-system", "docs"] {
            assert!(!looks_like_installable(text), "{text}");
        }
    }

    #[test]
    fn another_store_is_recognized_by_the_names_in_it() {
        let hello = "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12";
        let file = format!("/home/u/nix/store/{hello}/bin/hello");
        assert_eq!(
            other_store(Path::new(&file)),
            Some(Path::new("/home/u/nix/store"))
        );
        assert_eq!(other_store(Path::new("/home/u/nix")), None);
    }
}
