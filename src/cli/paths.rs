//! What a person means by a path on the command line.
//!
//! A text comes in, a store path goes out. Meant may be a store path, a link that leads to one
//! (`./result`, `/run/current-system`) or something inside one, as in Nix. Everything else is an error
//! that says what it was taken for: an installable, a path that is missing or in another store, or an
//! ordinary file, which is never published unless `--add` says so.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
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
        Some(path) if is_missing_inside(store, &path, &file) => {
            let whole = store.store_dir.show(&path);
            Err(Failure::new(format!("`{text}` does not exist"))
                .hint(format!("for the whole store path: `{whole}`")))
        }
        Some(path) => Ok(path),
        None => Err(explain(store, text, &file)),
    }
}

/// Returns whether a file is missing in a store path that is there. Asked is only where the store lies at
/// its own place: below a root, links between its paths lead elsewhere, as does what has `..`.
fn is_missing_inside(store: &StoreConfig, path: &StorePath, file: &Path) -> bool {
    let store_dir = Path::new(store.store_dir.as_str());
    store.physical_dir == store_dir
        && file.starts_with(store_dir)
        && file.components().all(|part| part != Component::ParentDir)
        && fs::symlink_metadata(store_dir.join(path.to_string())).is_ok()
        && fs::symlink_metadata(file).is_err_and(|error| is_absent(&error))
}

/// Returns whether an error means that nothing is there; below a file there is nothing either.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn absolute(text: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(text)
        .map_err(|error| Failure::new(format!("`{text}` is no path")).because(&error))
}

fn explain(store: &StoreConfig, text: &str, file: &Path) -> Failure {
    let store_dir = &store.store_dir;
    let is_there = fs::symlink_metadata(file);
    let is_missing = matches!(&is_there, Err(error) if is_absent(error));
    if is_missing && looks_like_installable(text) {
        return Failure::new(format!("`{text}` is an installable, a store path is wanted")).hint(
            format!(
                "build it first: `nix build --no-link --print-out-paths '{text}' | narhaul copy --to … --stdin`"
            ),
        );
    }
    if let Ok(inside) = file.strip_prefix(store_dir.as_str()) {
        if inside.as_os_str().is_empty() {
            return Failure::new(format!(
                "`{text}` is the store itself, a path in it is wanted"
            ))
            .hint("for all that it has: `nix path-info --all | narhaul copy --to … --stdin`");
        }
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
        Err(_missing) if is_missing => {
            let failure = Failure::new(format!("`{text}` does not exist"));
            if text.contains(['/', '.']) {
                return failure;
            }
            failure.hint(format!(
                "if a package is meant, build it first: `nix build --no-link --print-out-paths 'nixpkgs#{text}' | narhaul copy --to … --stdin`"
            ))
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
    fn what_is_missing_inside_a_store_path_does_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let hello = format!("{dir}/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12");
        fs::create_dir_all(format!("{hello}/bin")).unwrap();
        fs::write(format!("{hello}/bin/hello"), "x").unwrap();
        let store = StoreConfig {
            store_dir: dir.parse().unwrap(),
            physical_dir: dir.into(),
            db_dir: dir.into(),
        };
        for inside in ["", "/bin", "/bin/hello"] {
            assert!(store_path(&store, &format!("{hello}{inside}")).is_ok());
        }
        for missing in ["/bin/nope", "/bin/hello/nope"] {
            let text = format!("{hello}{missing}");
            let failure = store_path(&store, &text).unwrap_err();
            assert_eq!(failure.message, format!("`{text}` does not exist"));
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
