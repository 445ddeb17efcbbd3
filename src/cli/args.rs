//! The command line as it was typed: the top of the tree, and what commands share.
//!
//! Each command's own arguments stand in its file in `commands/`. Nothing is decided here: what flags,
//! URL, environment and configuration file mean together is settled in `resolve`. So no argument has a
//! default, and an environment variable is named in the help but read elsewhere.

use std::path::PathBuf;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use crate::cli::{
    commands::{
        bench, completions, config, copy, doctor, du, init, key, man, pin, reference, roots, runs,
        serve, sign, sweep, why,
    },
    ui::{Format, Loudness},
};

/// Move Nix closures into S3 binary caches
///
/// narhaul takes the closure of Nix store paths to a binary cache in an S3 bucket or in a folder, where
/// every Nix client finds it. Caches are named by Nix's own URLs: `s3://bucket?endpoint=…&profile=…`,
/// `file:///path`.
#[derive(Debug, Parser)]
#[command(
    name = "narhaul",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(after_help = "Documentation of every flag: `narhaul COMMAND --help`")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// What applies to every command.
    #[command(flatten)]
    pub output: Output,
}

/// What applies to every command.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Say nothing but warnings and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say where each choice came from
    #[arg(long, short, global = true)]
    pub verbose: bool,

    /// Write JSON lines to standard output, one event each
    #[arg(long, global = true)]
    pub json: bool,

    /// Read this configuration file instead of `narhaul.toml` [env: NARHAUL_CONFIG]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub config: Option<PathBuf>,

    /// What sends small requests to a bucket: thin, or sdk if that fails [env: NARHAUL_S3_CLIENT]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub s3_client: Option<String>,
}

impl Output {
    /// Returns how much is to be said.
    #[must_use]
    pub const fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (false, true) => Loudness::Verbose,
            (false, false) => Loudness::Normal,
        }
    }

    /// Returns for whom standard output is.
    #[must_use]
    pub const fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Words
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "the words stand at each command's arguments, where clap reads them"
)]
pub enum Command {
    #[command(visible_alias = "push")]
    Copy(Box<copy::CopyArgs>),
    Init(init::InitArgs),
    Key(key::KeyArgs),
    Sign(Box<sign::SignArgs>),
    Doctor(doctor::DoctorArgs),
    Sweep(Box<sweep::SweepArgs>),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Pins(pin::PinsArgs),
    Roots(roots::RootsArgs),
    Why(why::WhyArgs),
    Du(du::DuArgs),
    Runs(runs::RunsArgs),
    Diff(runs::DiffArgs),
    Bench(Box<bench::BenchArgs>),
    Config(config::ConfigArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Serve(serve::ServeArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Joins a value that begins with a minus and a digit to the flag before it: `--grace -1d` becomes
/// `--grace=-1d`, so that whoever knows the flag says what is wrong with it. No flag of ours is a digit.
pub fn joined(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_over = false;
    for argument in arguments {
        is_over |= argument == "--";
        let text = argument.to_str().unwrap_or_default();
        let is_negative =
            text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_digit());
        let is_flag = |flag: &&mut OsString| {
            let flag = flag.to_str().unwrap_or_default();
            flag.starts_with("--") && !flag.contains('=')
        };
        match joined.last_mut().filter(is_flag) {
            Some(flag) if is_negative && !is_over => {
                flag.push("=");
                flag.push(&argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_value_belongs_to_the_flag_before_it() {
        let given = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (typed, wanted) in [
            ("sweep --grace -1d url", "sweep --grace=-1d url"),
            ("copy --level -5 -v", "copy --level=-5 -v"),
            ("sweep --grace=1d -1", "sweep --grace=1d -1"),
            ("sweep --dry-run -v", "sweep --dry-run -v"),
            ("copy -- --grace -1d", "copy -- --grace -1d"),
        ] {
            assert_eq!(joined(given(typed)), given(wanted), "{typed}");
        }
    }
}
