//! Settles flags, cache URL, environment and configuration file into what an engine is asked for.
//!
//! This is the second of the face's steps. Texts come in with their origins, typed values go out; a
//! value that makes no sense is an error that says where it stands. Each default is in the table of
//! `config`, and is made here.

use std::{num::NonZero, path::Path};

use crate::{
    backend::s3::ClientChoice,
    cli::{
        Context,
        commands::key,
        config::Layers,
        error::{self, Failure},
        machine,
        units::{ParseSizeError, Size, parse_size},
        wanted::{Spans, Wanted},
    },
    copy::budget,
    ledger::root::Group,
    nix::{
        cache_url::{CacheUrl, PART_BYTES},
        compression::Compression,
        signature::SecretKey,
    },
    plan::recipe::{Recipe, RecipeError},
};

/// The requests under way at once where nobody says how many. At 10 ms each that is 6,400 a second,
/// more than the servers bear that we have measured; what a server bears is found out below that.
const DEFAULT_REQUESTS: u32 = 64;

/// How a copy is to be made.
#[derive(Debug)]
pub struct CopySettings {
    /// The keys that sign.
    pub keys: Vec<SecretKey>,
    /// How bodies are made.
    pub recipe: Recipe,
    /// Bytes of memory for what is under way.
    pub memory: u64,
    /// Threads that hash and compress.
    pub jobs: usize,
    /// Requests under way at once, at most.
    pub requests: u32,
    /// Bytes in a part of a large body.
    pub part_size: usize,
    /// Bytes that may be sent in a second.
    pub limit_upload: Option<u64>,
    /// The group of the root record.
    pub group: Group,
}

/// Adds what a cache URL says about settings that can stand elsewhere too.
pub fn add_url(layers: &mut Layers<'_>, url: &CacheUrl) {
    let params = &url.params;
    let keys = params.secret_key.iter().chain(&params.secret_keys);
    layers.set_parameter("key-file", keys.cloned());
    let compression = params.compression.as_ref();
    layers.set_parameter("compression", compression.map(ToString::to_string));
    let level = params.compression_level;
    layers.set_parameter("level", level.map(|level| level.to_string()));
    let part_size = params.multipart_chunk_size;
    layers.set_parameter("part-size", part_size.map(|size| size.to_string()));
}

/// Settles how a copy is to be made.
pub fn copy(context: &Context, layers: &Layers<'_>) -> Result<CopySettings, Failure> {
    let mut keys = Vec::new();
    for file in layers
        .get("key-file")
        .iter()
        .flat_map(|picked| &picked.values)
    {
        keys.push(key::read_secret_key(Path::new(file))?);
    }
    let settings = CopySettings {
        keys,
        ..without_keys(layers)?
    };
    context.ui.detail(&settings.words());
    for name in [
        "key-file",
        "compression",
        "level",
        "memory",
        "jobs",
        "requests",
        "part-size",
        "limit-upload",
        "group",
    ] {
        if let Some(picked) = layers.get(name) {
            context.ui.detail(&format!("setting: {picked}"));
        }
    }
    Ok(settings)
}

/// Finds out whether every value makes sense, as a copy and a sweep do, but opens no file of a key.
pub fn check(layers: &Layers<'_>) -> Result<(), Failure> {
    without_keys(layers)?;
    Wanted::of(layers, Spans::Days)?;
    Ok(())
}

fn without_keys(layers: &Layers<'_>) -> Result<CopySettings, Failure> {
    let recipe = recipe(layers)?;
    let jobs = count(layers, "jobs")?.unwrap_or_else(machine::cores);
    let part_size = number(layers, "part-size", parse_part_size)?.unwrap_or(budget::PART_SIZE);
    let least = budget::for_all_threads(&recipe, jobs, part_size);
    let default_memory = || machine::default_memory(least);
    Ok(CopySettings {
        keys: Vec::new(),
        memory: number(layers, "memory", parse_size)?.unwrap_or_else(default_memory),
        jobs,
        requests: requests(layers)?,
        part_size,
        limit_upload: number(layers, "limit-upload", parse_rate)?,
        group: match layers.get("group") {
            Some(picked) => picked.parse(str::parse)?,
            None => machine::host_label().parse().map_err(|error| {
                Failure::new("cannot make a group of this host's name")
                    .because(&error)
                    .hint("choose one by `--group NAME`")
            })?,
        },
        recipe,
    })
}

/// Settles how many requests may be under way at once.
pub fn requests(layers: &Layers<'_>) -> Result<u32, Failure> {
    Ok(count(layers, "requests")?.unwrap_or(DEFAULT_REQUESTS))
}

/// Settles what sends small requests to a bucket.
pub fn s3_client(layers: &Layers<'_>) -> Result<ClientChoice, Failure> {
    match layers.get("s3-client") {
        None => Ok(ClientChoice::default()),
        Some(picked) => picked.parse(|text| match text {
            "thin" => Ok(ClientChoice::Thin),
            "sdk" => Ok(ClientChoice::Sdk),
            _ => Err(NoClientError),
        }),
    }
}

/// A name that no client has.
#[derive(Debug, thiserror::Error)]
#[error("want `thin` or `sdk`")]
struct NoClientError;

impl CopySettings {
    fn words(&self) -> String {
        let names: Vec<_> = self.keys.iter().map(|key| key.name().as_str()).collect();
        let signed = match names.len() {
            0 => "not signed by us".to_owned(),
            _ => format!("signed as {}", names.join(", ")),
        };
        format!(
            "{} at level {}, {signed}; {} of memory, {} threads, at most {} requests at once; group `{}`",
            self.recipe.compression(),
            self.recipe.level(),
            Size(self.memory),
            self.jobs,
            self.requests,
            self.group,
        )
    }
}

fn recipe(layers: &Layers<'_>) -> Result<Recipe, Failure> {
    let picked = layers.get("compression");
    let compression = picked.as_ref().map_or(Compression::Zstd, |picked| {
        Compression::from_name(picked.text())
    });
    let level = number(layers, "level", parse_level)?;
    Recipe::new(compression, level).map_err(|error| match &error {
        RecipeError::Compression(_) => {
            let known: Vec<_> = Compression::WRITABLE
                .iter()
                .map(Compression::name)
                .collect();
            let Some(picked) = picked else {
                return Failure::from_error(&error);
            };
            let failure = picked.failure(&error);
            match error::nearest(picked.text(), &known) {
                Some(near) => failure.hint(format!("did you mean `{near}`?")),
                None => failure,
            }
        }
        RecipeError::Level { .. } => {
            let picked = layers.get("level");
            picked.map_or_else(
                || Failure::from_error(&error),
                |picked| picked.failure(&error),
            )
        }
    })
}

/// Reads a setting that is a number of some kind.
fn number<T, E: std::error::Error + 'static>(
    layers: &Layers<'_>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    layers
        .get(name)
        .map(|picked| picked.parse(parse))
        .transpose()
}

/// A text that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a level, which is a whole number such as 9", .0.escape_debug())]
struct NoLevel(String);

fn parse_level(text: &str) -> Result<i32, NoLevel> {
    text.parse().map_err(|_digits| NoLevel(text.to_owned()))
}

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoRate {
    #[error(transparent)]
    Size(#[from] ParseSizeError),
    #[error("`{}` is not a rate from 1 byte a second", .0.escape_debug())]
    Zero(String),
}

/// Reads a rate. With none at all, no body would ever be sent.
fn parse_rate(text: &str) -> Result<u64, NoRate> {
    match parse_size(text)? {
        0 => Err(NoRate::Zero(text.to_owned())),
        rate => Ok(rate),
    }
}

/// A text that is no size of a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoPart {
    #[error(transparent)]
    Size(#[from] ParseSizeError),
    #[error("`{}` is not a size from 5 MiB to 5 GiB, which are S3's bounds for parts", .0.escape_debug())]
    Range(String),
}

/// Reads the size of a part.
fn parse_part_size(text: &str) -> Result<usize, NoPart> {
    let size = parse_size(text)?;
    let size = PART_BYTES.contains(&size).then_some(size);
    let size = size.and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| NoPart::Range(text.to_owned()))
}

/// A text that counts nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a whole number from 1", .0.escape_debug())]
struct NoCount(String);

/// Reads a setting that counts something of which there must be one at least.
fn count<T>(layers: &Layers<'_>, name: &str) -> Result<Option<T>, Failure>
where
    T: TryFrom<u32>,
{
    let parse = |text: &str| match text.parse::<NonZero<u32>>() {
        Ok(n) => Ok(n),
        Err(_digits) => Err(NoCount(text.to_owned())),
    };
    let counted = number(layers, name, parse)?;
    Ok(counted.and_then(|n| T::try_from(n.get()).ok()))
}
