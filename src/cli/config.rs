//! The settings that have more than one source, and the configuration file.
//!
//! A setting is taken from the first of these that has it: the flag, the cache URL's parameters, the
//! environment, `narhaul.toml`, the default; before its default, `store` is also what Nix goes by: its
//! own `nix.conf`, and then `NIX_REMOTE`. [`SETTINGS`] is the one table of them; `narhaul config` prints
//! it with every value's origin.
//!
//! The file is TOML with one key per setting, at the top level. An unknown key is refused with the name
//! that was probably meant: a limit that is silently not obeyed is worse than a run that does not begin.
//! Secrets stand in it as file names only. Its table `caches` gives names to cache URLs, and such a name
//! can stand wherever a cache is named.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{
    cli::{
        Context,
        env::{self, Variable},
        error::{self, Failure},
        nix_conf,
    },
    nix::cache_url::{CacheUrl, ParseError},
};

/// The table of names for caches in the file.
const CACHES: &str = "caches";

/// One setting: its name, and where it can come from.
#[derive(Debug)]
pub struct Setting {
    /// Its name: that of the flag, and the key in `narhaul.toml`.
    pub name: &'static str,
    /// The environment variable, if there is one.
    pub variable: Option<&'static Variable>,
    /// The cache URL's parameter, for settings that Nix has too.
    pub parameter: Option<&'static str>,
    /// Its default in words, for the reference and for `narhaul config`.
    pub default: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// All settings, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "to",
        variable: Some(&env::NARHAUL_TO),
        parameter: None,
        default: "none",
        what: "the cache: where `copy` writes to, and what `sweep` and its kin are about",
    },
    Setting {
        name: "store",
        variable: Some(&env::NARHAUL_STORE),
        parameter: None,
        default: "auto: the local store, or its daemon for those who may not write the store's state",
        what: "the Nix store to copy from",
    },
    Setting {
        name: "key-file",
        variable: Some(&env::NARHAUL_KEY_FILE),
        parameter: Some("secret-key"),
        default: "none",
        what: "secret key files to sign with",
    },
    Setting {
        name: "compression",
        variable: Some(&env::NARHAUL_COMPRESSION),
        parameter: Some("compression"),
        default: "zstd",
        what: "how bodies are compressed: zstd, xz, none, gzip, bzip2 or br",
    },
    Setting {
        name: "level",
        variable: Some(&env::NARHAUL_LEVEL),
        parameter: Some("compression-level"),
        default: "the codec's own",
        what: "the compression level",
    },
    Setting {
        name: "memory",
        variable: Some(&env::NARHAUL_MEMORY),
        parameter: None,
        default: "48 MiB per core, at least 256 MiB and enough for all encoders, at most 4 GiB and a quarter of the memory",
        what: "the memory for bodies under way",
    },
    Setting {
        name: "jobs",
        variable: Some(&env::NARHAUL_JOBS),
        parameter: None,
        default: "one per core",
        what: "the number of threads that hash and compress",
    },
    Setting {
        name: "requests",
        variable: Some(&env::NARHAUL_REQUESTS),
        parameter: None,
        default: "64",
        what: "the most requests under way at once",
    },
    Setting {
        name: "part-size",
        variable: Some(&env::NARHAUL_PART_SIZE),
        parameter: Some("multipart-chunk-size"),
        default: "16M, or what a very large body needs",
        what: "the size of the parts in which large bodies are sent",
    },
    Setting {
        name: "limit-upload",
        variable: Some(&env::NARHAUL_LIMIT_UPLOAD),
        parameter: None,
        default: "none",
        what: "the most bytes sent in a second",
    },
    Setting {
        name: "group",
        variable: Some(&env::NARHAUL_GROUP),
        parameter: None,
        default: "the host's name",
        what: "the group that the copy's root record belongs to",
    },
    Setting {
        name: "ca-file",
        variable: Some(&env::NARHAUL_CA_FILE),
        parameter: None,
        default: "AWS_CA_BUNDLE, NIX_SSL_CERT_FILE, SSL_CERT_FILE, the system's",
        what: "certificate authorities to trust",
    },
    Setting {
        name: "s3-client",
        variable: Some(&env::NARHAUL_S3_CLIENT),
        parameter: None,
        default: "thin",
        what: "what sends small requests to a bucket: thin, or sdk for Amazon's SDK, which sends all others",
    },
    Setting {
        name: "netrc-file",
        variable: Some(&env::NARHAUL_NETRC_FILE),
        parameter: None,
        default: "`netrc` in Nix's folder of settings, then ~/.netrc",
        what: "names and passwords for caches behind web servers",
    },
    Setting {
        name: "window",
        variable: Some(&env::NARHAUL_WINDOW),
        parameter: None,
        default: "the cache's own, from its first sweep; 30d",
        what: "sweep: what is younger is kept",
    },
    Setting {
        name: "grace",
        variable: Some(&env::NARHAUL_GRACE),
        parameter: None,
        default: "the cache's own, from its first sweep; 31d",
        what: "sweep: how long bodies stay after their narinfos",
    },
    Setting {
        name: "guard",
        variable: Some(&env::NARHAUL_GUARD),
        parameter: None,
        default: "the cache's own, from its first sweep; 20%",
        what: "sweep: the largest share of the paths, or of the bytes, that one sweep takes",
    },
    Setting {
        name: "max-size",
        variable: Some(&env::NARHAUL_MAX_SIZE),
        parameter: None,
        default: "the cache's own, from its first sweep; none",
        what: "sweep: the oldest roots expire until the cache fits into this",
    },
    Setting {
        name: "keep-sources",
        variable: None,
        parameter: None,
        default: "the cache's own, from its first sweep; false",
        what: "sweep: what is content-addressed is kept, whatever its age",
    },
    Setting {
        name: "keep-last",
        variable: None,
        parameter: None,
        default: "the cache's own, from its first sweep; 1",
        what: "sweep: this many of the newest roots of each group are kept",
    },
    Setting {
        name: "keep-within",
        variable: None,
        parameter: None,
        default: "none",
        what: "sweep: roots of each group that are younger than this are kept, counted from its newest",
    },
    Setting {
        name: "keep-hourly",
        variable: None,
        parameter: None,
        default: "none",
        what: "sweep: the newest root of each of this many hours is kept",
    },
    Setting {
        name: "keep-daily",
        variable: None,
        parameter: None,
        default: "none",
        what: "the same for days",
    },
    Setting {
        name: "keep-weekly",
        variable: None,
        parameter: None,
        default: "none",
        what: "the same for weeks",
    },
    Setting {
        name: "keep-monthly",
        variable: None,
        parameter: None,
        default: "none",
        what: "the same for months",
    },
    Setting {
        name: "keep-yearly",
        variable: None,
        parameter: None,
        default: "none",
        what: "the same for years",
    },
    Setting {
        name: "keep",
        variable: None,
        parameter: None,
        default: "the cache's own, from its first sweep; `hook:`",
        what: "sweep: rules of single groups, such as `web:last=3,within=30d`",
    },
    Setting {
        name: "roots-from",
        variable: None,
        parameter: None,
        default: "none",
        what: "sweep: more roots: lists, profiles, folders of links",
    },
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of this run.
    Flag,
    /// A parameter of the cache URL.
    Url,
    /// This environment variable.
    Variable(&'static str),
    /// This configuration file.
    File(PathBuf),
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The name of the setting.
    pub name: &'static str,
    /// The value as it was written; several where the setting is a list.
    pub values: Vec<String>,
    /// Where it came from.
    pub origin: Origin,
}

impl Picked {
    /// Returns the value of a setting that has one; of several the last counts.
    #[must_use]
    pub fn text(&self) -> &str {
        self.values.last().map_or("", String::as_str)
    }

    /// Parses the value.
    pub fn parse<T, E: std::error::Error + 'static>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        parse(self.text()).map_err(|error| self.failure(&error))
    }

    /// Says that the value cannot be used: wrong usage where it is this run's own flag.
    #[must_use]
    pub fn failure(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        let message = format!("cannot use {self}");
        let failure = match self.origin {
            Origin::Flag => Failure::usage(message),
            Origin::Url | Origin::Variable(_) | Origin::File(_) => Failure::new(message),
        };
        failure.because(error)
    }
}

impl fmt::Display for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (self.name, self.values.join(":"));
        match &self.origin {
            Origin::Flag => write!(f, "`--{name} {value}`"),
            Origin::Url => write!(f, "`{name}` `{value}` from the cache URL"),
            Origin::Variable(variable) => write!(f, "`{variable}={value}` from the environment"),
            Origin::File(file) => write!(f, "`{name} = {value}` from `{}`", file.display()),
        }
    }
}

/// The four places that a setting can come from, the strongest first.
#[derive(Debug)]
pub struct Layers<'a> {
    context: &'a Context,
    flags: BTreeMap<&'static str, Vec<String>>,
    parameters: BTreeMap<&'static str, Vec<String>>,
    file: File,
}

impl<'a> Layers<'a> {
    /// Reads the configuration file; flags and parameters are added as they become known.
    pub fn new(context: &'a Context) -> Result<Self, Failure> {
        let mut layers = Self {
            context,
            flags: BTreeMap::new(),
            parameters: BTreeMap::new(),
            file: File::find(context)?,
        };
        layers.set_flag("s3-client", context.s3_client.clone());
        Ok(layers)
    }

    /// Adds a flag; an empty list is a flag that was not given.
    pub fn set_flag(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        self.flags.insert(name, values.into_iter().collect());
    }

    /// Adds a parameter of the cache URL, under the setting's name.
    pub fn set_parameter(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        self.parameters.insert(name, values.into_iter().collect());
    }

    /// Returns the setting's value from the strongest place that has one; none means the default.
    #[must_use]
    pub fn pick(&self, setting: &Setting) -> Option<Picked> {
        let given = |values: Option<&Vec<String>>| values.filter(|v| !v.is_empty()).cloned();
        let from_variable = || {
            let variable = setting.variable?;
            let text = self.context.env.get(variable)?;
            let values = match setting.name {
                "key-file" => text.split(':').map(str::to_owned).collect(),
                _ => vec![text.to_owned()],
            };
            Some((values, Origin::Variable(variable.name)))
        };
        let name = setting.name;
        let (values, origin) = if let Some(values) = given(self.flags.get(name)) {
            (values, Origin::Flag)
        } else if let Some(values) = given(self.parameters.get(name)) {
            (values, Origin::Url)
        } else if let Some(found) = from_variable() {
            found
        } else if let Some(values) = given(self.file.values.get(name)) {
            (values, Origin::File(self.file.path.clone()))
        } else {
            // Nix's own name for the store is weaker than all that was said to us.
            let (text, origin) = (name == "store").then(|| self.store_of_nix())??;
            (vec![text], origin)
        };
        Some(Picked {
            name,
            values,
            origin,
        })
    }

    /// Returns the URL that a cache's name stands for; what is no such name is a URL already.
    #[must_use]
    pub fn url_of<'t>(&'t self, typed: &'t str) -> &'t str {
        self.file.caches.get(typed).map_or(typed, String::as_str)
    }

    /// Returns the caches that have names, and the file that gives them.
    #[must_use]
    pub fn caches(&self) -> (&BTreeMap<String, String>, &Path) {
        (&self.file.caches, &self.file.path)
    }

    /// Returns the store that Nix itself would take: its settings win over its variable.
    fn store_of_nix(&self) -> Option<(String, Origin)> {
        let env = &self.context.env;
        nix_conf::store(env).or_else(|| {
            let text = env.get(&env::NIX_REMOTE)?.to_owned();
            Some((text, Origin::Variable(env::NIX_REMOTE.name)))
        })
    }

    /// Returns the value of the setting called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Picked> {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .and_then(|setting| self.pick(setting))
    }
}

/// A configuration file, or none.
#[derive(Debug, Default)]
struct File {
    path: PathBuf,
    values: BTreeMap<&'static str, Vec<String>>,
    /// URLs of caches, by their names.
    caches: BTreeMap<String, String>,
}

impl File {
    /// Reads the file that was named, or the one in its usual place if there is one.
    fn find(context: &Context) -> Result<Self, Failure> {
        let named = context
            .config
            .clone()
            .or_else(|| context.env.get(&env::NARHAUL_CONFIG).map(PathBuf::from));
        let Some(path) = named.clone().or_else(|| context.env.config_file()) else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text),
            // No file in the usual place is no configuration; a named file must be there.
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error::of_file("read the configuration", &path, &error)),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let in_file = |what: String| Failure::new(format!("{what} in `{}`", path.display()));
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| not_toml(&path, text, &error))?;
        let mut values = BTreeMap::new();
        let mut caches = BTreeMap::new();
        for (key, value) in &table {
            if key == CACHES {
                caches = named_caches(value).map_err(|error| error.in_file(&path))?;
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
                let names = SETTINGS.iter().map(|setting| setting.name);
                let names: Vec<_> = names.chain([CACHES]).collect();
                let failure = in_file(format!("unknown setting `{key}`"));
                return Err(failure.hint(match error::nearest(key, &names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("the settings are {}", names.join(", ")),
                }));
            };
            let found = texts(value).ok_or_else(|| {
                in_file(format!(
                    "`{key}` is {}, a text, a number, true or false is wanted",
                    value.type_str()
                ))
            })?;
            values.insert(setting.name, found);
        }
        Ok(Self {
            path,
            values,
            caches,
        })
    }
}

/// What is wrong with a name for a cache.
#[derive(Debug, thiserror::Error)]
enum CacheNameError {
    #[error("`caches` is {0}, a table of names and URLs is wanted")]
    NoTable(&'static str),
    #[error("`caches.{0}` is {1}, the cache's URL is wanted")]
    NoText(String, &'static str),
    #[error("`{0}` cannot name a cache: letters, digits, `-`, `_` and `.` can")]
    Name(String),
    #[error("`caches.{0}` is no cache URL")]
    Url(String, #[source] ParseError),
}

impl CacheNameError {
    fn in_file(&self, path: &Path) -> Failure {
        let failure = Failure::from_error(self);
        let message = format!("{} in `{}`", failure.message, path.display());
        Failure { message, ..failure }
    }
}

/// Reads the table of names for caches. A URL that is none is refused here, where its place is known.
fn named_caches(value: &Value) -> Result<BTreeMap<String, String>, CacheNameError> {
    let Value::Table(table) = value else {
        return Err(CacheNameError::NoTable(value.type_str()));
    };
    let mut caches = BTreeMap::new();
    for (name, url) in table {
        // What looks like a URL or a path is one, so no name hides any of these.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(CacheNameError::Name(name.clone()));
        }
        let Value::String(url) = url else {
            return Err(CacheNameError::NoText(name.clone(), url.type_str()));
        };
        if let Err(error) = url.parse::<CacheUrl>() {
            return Err(CacheNameError::Url(name.clone(), error));
        }
        caches.insert(name.clone(), url.clone());
    }
    Ok(caches)
}

/// Returns a value as texts: one, or those of an array.
fn texts(value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(choice) => Some(choice.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        _ => Some(vec![one(value)?]),
    }
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let line = error.span().map_or(1, |span| {
        text.get(..span.start).unwrap_or(text).matches('\n').count() + 1
    });
    Failure::new(format!(
        "cannot read the configuration `{}`",
        path.display()
    ))
    .cause(format!("line {line}: {}", error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{
            env::Env,
            ui::{Format, Loudness, Ui},
        },
        clock::Clock,
    };

    fn parse(text: &str) -> Result<File, Failure> {
        File::parse("narhaul.toml".into(), text)
    }

    #[test]
    fn texts_numbers_and_lists_are_read() {
        let file = parse("memory = '1G'\njobs = 3\nkey-file = ['a', 'b']\n").unwrap();
        assert_eq!(file.values["memory"], ["1G"]);
        assert_eq!(file.values["jobs"], ["3"]);
        assert_eq!(file.values["key-file"], ["a", "b"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_name_that_was_meant() {
        let failure = parse("compresion = 'xz'").unwrap_err();
        assert_eq!(
            failure.message,
            "unknown setting `compresion` in `narhaul.toml`"
        );
        assert_eq!(failure.hints, ["did you mean `compression`?"]);
        let failure = parse("jobs = 1.5").unwrap_err();
        assert_eq!(
            failure.message,
            "`jobs` is float, a text, a number, true or false is wanted in `narhaul.toml`"
        );
    }

    #[test]
    fn caches_have_names_that_hide_no_url_and_urls_that_are_some() {
        let file =
            parse("[caches]\nhome = 's3://c?region=garage'\nold-1 = 'file:///srv'\n").unwrap();
        assert_eq!(file.caches["home"], "s3://c?region=garage");
        assert_eq!(file.caches["old-1"], "file:///srv");
        for (text, message) in [
            (
                "caches = 's3://c'",
                "`caches` is string, a table of names and URLs is wanted in `narhaul.toml`",
            ),
            (
                "[caches]\n'a/b' = 's3://c'",
                "`a/b` cannot name a cache: letters, digits, `-`, `_` and `.` can in `narhaul.toml`",
            ),
            (
                "[caches.home]\nurl = 's3://c'",
                "`caches.home` is table, the cache's URL is wanted in `narhaul.toml`",
            ),
            (
                "[caches]\nhome = 'old'",
                "`caches.home` is no cache URL in `narhaul.toml`",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        let failure = parse("jobs = 1\nmemory = \n").unwrap_err();
        assert!(failure.causes[0].starts_with("line 2: "), "{failure:?}");
    }

    #[test]
    fn flag_url_environment_file_in_this_order() {
        let env = Env::of(&[("NARHAUL_COMPRESSION", "gzip")]);
        let context = Context {
            ui: Ui::new(&env, Loudness::Normal, Format::Words),
            env,
            clock: Clock::system(),
            config: None,
            s3_client: None,
        };
        let mut layers = Layers::new(&context).unwrap();
        layers.file = parse("compression = 'br'\nlevel = 3").unwrap();
        let picked = |layers: &Layers<'_>, name| layers.get(name).map(|p| p.to_string());
        assert_eq!(picked(&layers, "memory"), None);
        assert_eq!(
            picked(&layers, "level").unwrap(),
            "`level = 3` from `narhaul.toml`"
        );
        assert_eq!(
            picked(&layers, "compression").unwrap(),
            "`NARHAUL_COMPRESSION=gzip` from the environment"
        );
        layers.set_parameter("compression", ["xz".to_owned()]);
        assert_eq!(
            picked(&layers, "compression").unwrap(),
            "`compression` `xz` from the cache URL"
        );
        layers.set_flag("compression", ["zstd".to_owned()]);
        assert_eq!(
            picked(&layers, "compression").unwrap(),
            "`--compression zstd`"
        );
    }
}
