//! The logs of builds that a Nix store keeps: `<log dir>/drvs/<2 characters>/<rest of the base name>`,
//! plain or with `.bz2` behind it.
//!
//! The log dir is `/nix/var/log/nix`, or what `NIX_LOG_DIR` says, or lies below the root of the store.
//! Nix compresses a log when its build has ended (`compress-build-log`); one that is being written is
//! plain. Anybody may read them.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use super::{Error, Log};
use crate::nix::store_path::StorePath;

/// Where the logs of builds lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir(pub PathBuf);

impl LogDir {
    /// Opens the log of a derivation's build, if there is one.
    pub fn open(&self, derivation: &StorePath) -> Result<Option<Log>, Error> {
        let name = derivation.to_string();
        let (head, rest) = name.split_at(2);
        let plain = self.0.join("drvs").join(head).join(rest);
        let mut packed = plain.clone().into_os_string();
        packed.push(".bz2");
        if let Some(file) = open(plain)? {
            return Ok(Some(Box::new(file)));
        }
        let file = open(packed.into())?;
        Ok(file.map(|file| -> Log { Box::new(bzip2::read::MultiBzDecoder::new(file)) }))
    }
}

fn open(path: PathBuf) -> Result<Option<impl Read + Send + 'static>, Error> {
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    #[test]
    fn a_log_is_found_plain_and_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let logs = LogDir(dir.path().to_owned());
        let derivation: StorePath = "00bgd045z0d4icpbc2yyz4gx48ak44la-x.drv".parse().unwrap();
        let read = || {
            let mut log = logs.open(&derivation).unwrap()?;
            let mut text = String::new();
            log.read_to_string(&mut text).unwrap();
            Some(text)
        };
        assert_eq!(read(), None);

        let folder = dir.path().join("drvs/00");
        fs::create_dir_all(&folder).unwrap();
        let file = File::create(folder.join("bgd045z0d4icpbc2yyz4gx48ak44la-x.drv.bz2")).unwrap();
        let mut encoder = bzip2::write::BzEncoder::new(file, bzip2::Compression::new(9));
        encoder.write_all(b"building\n").unwrap();
        encoder.finish().unwrap();
        assert_eq!(read().as_deref(), Some("building\n"));

        fs::write(
            folder.join("bgd045z0d4icpbc2yyz4gx48ak44la-x.drv"),
            "again\n",
        )
        .unwrap();
        assert_eq!(read().as_deref(), Some("again\n"));
    }
}
