//! Writes settings into `narhaul.toml`, and leaves everything else in it as it is.
//!
//! Comments, order and spacing stay. The file is put in the place of the old one in one step; what is
//! written, and what stood there before, is told to whoever asked for it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item, Value};

use crate::cli::{
    Context, env,
    error::{self, Failure},
    metrics,
};

/// A setting and what it is to be, as `--NAME` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// A setting that was written, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is now.
    pub setting: Setting,
    /// What stood there before.
    pub was: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { name, value } = &self.setting;
        write!(f, "{name} = {}", value_of(value))?;
        match &self.was {
            Some(was) => write!(f, " (was {was})"),
            None => Ok(()),
        }
    }
}

/// Returns the file that settings are read from, or would be.
pub fn file(context: &Context) -> Result<PathBuf, Failure> {
    let named = context
        .config
        .clone()
        .or_else(|| context.env.get(&env::NARHAUL_CONFIG).map(PathBuf::from));
    let file = named.or_else(|| context.env.config_file()).ok_or_else(|| {
        Failure::new("no file for the settings is known").hint("name one by `--config FILE`")
    })?;
    // Not the link to it, which somebody has laid on purpose.
    Ok(fs::canonicalize(&file).unwrap_or(file))
}

/// Writes settings into a file, or says only what would be written.
pub fn write(file: &Path, settings: &[Setting], is_dry_run: bool) -> Result<Vec<Change>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error::of_file("read", file, &error)),
    };
    let (text, changes) = edit(&text, settings).map_err(|error| {
        Failure::new(format!("cannot understand `{}`", file.display())).because(&error)
    })?;
    if is_dry_run || changes.is_empty() {
        return Ok(changes);
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| error::of_file("make", folder, &error))?;
    }
    metrics::write(file, &text).map_err(|error| error::of_file("write", file, &error))?;
    Ok(changes)
}

/// Returns a text with settings in it, and what has changed.
fn edit(text: &str, settings: &[Setting]) -> Result<(String, Vec<Change>), toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let mut changes = Vec::new();
    for setting in settings {
        let old = document.get_mut(setting.name);
        let was = old.as_deref().and_then(Item::as_value).map(bare);
        let is_same = was.as_ref().is_some_and(|was| {
            *was == value_of(&setting.value).to_string() || *was == format!("'{}'", setting.value)
        });
        if is_same {
            continue;
        }
        let mut new = value_of(&setting.value);
        match old.and_then(Item::as_value_mut) {
            // In the place of the old value, with the comment behind it.
            Some(old) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => {
                document.insert(setting.name, Item::Value(new));
            }
        }
        changes.push(Change {
            setting: setting.clone(),
            was,
        });
    }
    Ok((document.to_string(), changes))
}

/// Numbers stand in the file as numbers, everything else as texts.
fn value_of(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| text.into(), Value::from)
}

/// Returns a value without what stands around it.
fn bare(value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(of: &[(&'static str, &str)]) -> Vec<Setting> {
        of.iter()
            .map(|(name, value)| Setting {
                name,
                value: (*value).to_owned(),
            })
            .collect()
    }

    #[test]
    fn comments_and_everything_else_stay() {
        let text = "# mine\nto = 's3://b' # the cache\n\nlevel = 3 # fast\nkeep = ['web:last=3']\n";
        let wanted = settings(&[("level", "7"), ("part-size", "32M")]);
        let (text, changes) = edit(text, &wanted).unwrap();
        assert_eq!(
            text,
            "# mine\nto = 's3://b' # the cache\n\nlevel = 7 # fast\nkeep = ['web:last=3']\npart-size = \"32M\"\n"
        );
        let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["level = 7 (was 3)", "part-size = \"32M\""]);
    }

    #[test]
    fn what_says_the_same_is_not_touched() {
        let text = "level = '7'\nrequests=32\n";
        let wanted = settings(&[("level", "7"), ("requests", "32")]);
        assert_eq!(edit(text, &wanted).unwrap(), (text.to_owned(), vec![]));
        let (text, _) = edit("", &settings(&[("level", "1")])).unwrap();
        assert_eq!(text, "level = 1\n");
        assert!(edit("level = ", &wanted).is_err());
    }

    #[test]
    fn a_dry_run_and_a_real_one_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/narhaul.toml");
        let wanted = settings(&[("requests", "128")]);
        let told = write(&file, &wanted, true).unwrap();
        assert!(!file.exists());
        assert_eq!(write(&file, &wanted, false).unwrap(), told);
        assert_eq!(fs::read_to_string(&file).unwrap(), "requests = 128\n");
        assert_eq!(write(&file, &wanted, false).unwrap(), []);
    }
}
