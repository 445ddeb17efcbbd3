//! The programs that `bench --compare` knows: how each is found, and how it is called.
//!
//! Nix copies the closure itself, with the codec and level of our copy, one key, and neither its memory of
//! buckets nor the user's settings: its home is an empty folder for each call. s5cmd knows no closures: it
//! sends the cache that was made before as files, which is a ceiling of sending alone.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use crate::{
    backend::Backend,
    bench::compare::{CACHE, Call, EMPTY, PLACE, Rival},
    cli::{Context, env, error::Failure},
    nix::{
        cache_url::{CacheUrl, Location},
        compression::Compression,
    },
    plan::recipe::Recipe,
};

/// How a bucket is reached by other programs.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Its name.
    pub bucket: String,
    /// What stands in front of our keys in it: nothing, or with a slash at its end.
    pub prefix: String,
    /// The parameters of its URL for Nix, but for compression and keys.
    pub params: Vec<String>,
    /// The server's URL; without one, AWS.
    pub endpoint: Option<String>,
    /// The region, where one is named.
    pub region: Option<String>,
    /// The profile whose credentials are used, where one is named.
    pub profile: Option<String>,
    /// What is set in the environment of each program.
    pub env: Vec<(String, String)>,
    /// A bucket for those that can write to no folder, and its name; only the embedded server has one.
    pub bare: Option<(String, Arc<dyn Backend>)>,
}

/// Parameters that are ours to choose in a comparison.
const CHOSEN: [&str; 5] = [
    "compression",
    "compression-level",
    "parallel-compression",
    "secret-key",
    "secret-keys",
];

impl Reach {
    /// Returns how the bucket of a URL is reached, as it was typed and as it was understood.
    pub fn of(context: &Context, typed: &str, url: &CacheUrl) -> Result<Self, Failure> {
        let Location::S3 { bucket, prefix } = &url.location else {
            return Err(Failure::usage("`--compare` wants a bucket, or no URL"));
        };
        let params = typed.split_once('?').map_or("", |(_, params)| params);
        let params = params.split('&').filter(|param| {
            let name = param.split('=').next().unwrap_or_default();
            !name.is_empty() && !CHOSEN.contains(&name)
        });
        Ok(Self {
            bucket: bucket.clone(),
            prefix: prefix
                .as_ref()
                .map_or_else(String::new, |prefix| format!("{prefix}/")),
            params: params.map(str::to_owned).collect(),
            endpoint: url.params.endpoint().map(|endpoint| endpoint.to_string()),
            region: url.params.region.clone(),
            profile: url.params.profile.clone(),
            env: credential_files(context),
            bare: None,
        })
    }
}

/// Where credentials lie, for programs whose home is another.
fn credential_files(context: &Context) -> Vec<(String, String)> {
    let home = context.env.get(&env::HOME);
    let file = |variable: &env::Variable, name: &str| {
        if context.env.get(variable).is_some() {
            return None;
        }
        Some((variable.name.to_owned(), format!("{}/.aws/{name}", home?)))
    };
    [
        file(&env::AWS_SHARED_CREDENTIALS_FILE, "credentials"),
        file(&env::AWS_CONFIG_FILE, "config"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is copied, and how.
#[derive(Clone, Debug)]
pub struct Work {
    /// How bodies are made.
    pub recipe: Recipe,
    /// The file of the key that signs.
    pub key_file: PathBuf,
    /// The Nix store, where one is named.
    pub store: Option<String>,
    /// The paths whose closure is copied; none where it is made up, and in no store.
    pub roots: Vec<String>,
}

/// Returns the programs that a list names, such as `nix,s5cmd=/opt/s5cmd`.
pub fn find(list: &[String], reach: &Reach, work: &Work) -> Result<Vec<Rival>, Failure> {
    let found = list.iter().map(|named| {
        let (name, program) = named.split_once('=').unwrap_or((named, named));
        let program = Path::new(program);
        match name {
            "nix" => nix(program, reach, work),
            "s5cmd" => s5cmd(program, reach),
            _ => Err(Failure::usage(format!("cannot compare with `{name}`"))
                .hint("the programs are nix and s5cmd; `nix=/path/to/nix` names a file")),
        }
    });
    found.collect()
}

/// Asks a program for its version: the last word that it says.
fn version(name: &str, program: &Path, arg: &str) -> Result<String, Failure> {
    let mut command = Command::new(program);
    let output = command.arg(arg).stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(format!("`{name}` is not installed")).hint(
            format!("name its file by `--compare {name}=FILE`, or leave it out"),
        ),
        _ => Failure::new(format!("cannot start `{name}`")).because(&error),
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.split_whitespace().last() {
        Some(version) if output.status.success() => Ok(version.to_owned()),
        _ => Err(Failure::new(format!("`{name}` does not say its version"))),
    }
}

/// The first Nix that writes below a prefix of a bucket.
const WITH_PREFIXES: (u32, u32) = (2, 33);

fn has_prefixes(version: &str) -> bool {
    // `2.34pre2025` is what will be 2.34.
    let number = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse().unwrap_or(0)
    };
    let mut numbers = version.split('.').map(number);
    let (major, minor) = (numbers.next(), numbers.next());
    (major.unwrap_or(0), minor.unwrap_or(0)) >= WITH_PREFIXES
}

fn nix(program: &Path, reach: &Reach, work: &Work) -> Result<Rival, Failure> {
    let version = version("nix", program, "--version")?;
    if work.roots.is_empty() {
        return Err(
            Failure::usage("Nix copies what is in a store, and no made-up closure")
                .hint("name a path by `--closure`, such as `--closure /run/current-system`"),
        );
    }
    let (place, own) = match &reach.bare {
        _ if has_prefixes(&version) => (format!("{}/{}{PLACE}", reach.bucket, reach.prefix), None),
        Some((name, bucket)) => (name.clone(), Some(Arc::clone(bucket))),
        None => {
            let refused = format!("refusing to run Nix {version} in this bucket");
            let why = "it writes below no prefix, so its objects would lie among yours";
            return Err(Failure::refused(refused).cause(why).hint(
                "Nix 2.33 or later writes below a prefix; without a URL, the embedded server has a bucket for any Nix",
            ));
        }
    };
    let mut params = reach.params.clone();
    params.push(format!("compression={}", work.recipe.compression()));
    if *work.recipe.compression() != Compression::None {
        params.push(format!("compression-level={}", work.recipe.level()));
        params.push("parallel-compression=true".to_owned());
    }
    params.push(format!("secret-key={}", work.key_file.display()));
    let mut args = ["--extra-experimental-features", "nix-command", "copy"]
        .map(str::to_owned)
        .to_vec();
    if let Some(store) = &work.store {
        args.extend(["--store".to_owned(), store.clone()]);
    }
    args.extend([
        "--to".to_owned(),
        format!("s3://{place}?{}", params.join("&")),
    ]);
    args.extend(work.roots.iter().cloned());
    let homes = [
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
    ];
    let mut env = reach.env.clone();
    env.extend(homes.map(|name| (name.to_owned(), EMPTY.to_owned())));
    let call = Call {
        program: program.to_owned(),
        args,
        env,
    };
    Ok(Rival {
        name: "nix".to_owned(),
        version,
        cold: call.clone(),
        again: call,
        has_files: false,
        own,
    })
}

fn s5cmd(program: &Path, reach: &Reach) -> Result<Rival, Failure> {
    let version = version("s5cmd", program, "version")?;
    let mut env = reach.env.clone();
    let region = reach.region.as_deref().unwrap_or("us-east-1");
    env.push((env::AWS_REGION.name.to_owned(), region.to_owned()));
    let call = |verb: &str| {
        let mut args = vec!["--log".to_owned(), "error".to_owned()];
        for (flag, value) in [
            ("--endpoint-url", &reach.endpoint),
            ("--profile", &reach.profile),
        ] {
            args.extend(
                value
                    .iter()
                    .flat_map(|value| [flag.to_owned(), value.clone()]),
            );
        }
        args.extend([
            verb.to_owned(),
            format!("{CACHE}/"),
            format!("s3://{}/{}{PLACE}/", reach.bucket, reach.prefix),
        ]);
        Call {
            program: program.to_owned(),
            args,
            env: env.clone(),
        }
    };
    Ok(Rival {
        name: "s5cmd".to_owned(),
        version,
        cold: call("cp"),
        // `cp` would send everything again.
        again: call("sync"),
        has_files: true,
        own: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nix_writes_below_a_prefix_from_2_33_on() {
        for (version, can) in [
            ("2.8.1", false),
            ("2.32.4", false),
            ("2.33.0", true),
            ("2.34pre2025", true),
            ("3.0", true),
            ("words", false),
        ] {
            assert_eq!(has_prefixes(version), can, "{version}");
        }
    }

    #[test]
    fn what_is_not_installed_or_not_known_is_named() {
        let work = Work {
            recipe: Recipe::new(Compression::Zstd, None).unwrap(),
            key_file: PathBuf::new(),
            store: None,
            roots: Vec::new(),
        };
        let find = |named: &str| {
            let found = find(&[named.to_owned()], &Reach::default(), &work);
            found.unwrap_err().message
        };
        assert_eq!(find("nix=/nonexistent/nix"), "`nix` is not installed");
        assert_eq!(find("rclone"), "cannot compare with `rclone`");
    }
}
