//! A folder for what a run makes on its way, which goes with it.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::cli::error::{self, Failure};

/// The folder; it is removed when this is dropped, and only its owner can look into it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a folder for a run that has a name no other has.
    pub fn new(run_id: &str) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("narhaul-{run_id}"));
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| error::of_file("make", &folder, &error))?;
        Ok(Self(folder))
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it that only its owner can read, also in its first instant.
    pub fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let file = self.0.join(name);
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&file);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| error::of_file("write", &file, &error))?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a folder for such things is removed by the system in its time.
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_all_that_is_in_it() {
        let scratch = Scratch::new(&format!("test-{}", std::process::id())).unwrap();
        let folder = scratch.path().to_owned();
        let file = scratch.write_secret("key", "x").unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "x");
        assert!(scratch.write_secret("key", "y").is_err());
        drop(scratch);
        assert!(!folder.exists());
    }
}
