//! The face: the only room that prints, reads the environment or asks the time.
//!
//! [`main`] goes through four steps, and every command through the same ones: the command line is
//! parsed (`args`), settled together with environment and configuration file into a request
//! (`resolve`), carried out by an engine, and its report or error put into words (`ui`, `error`).
//!
//! No format and no plan is known here beyond what an engine's request and report hold.

pub mod args;
pub mod bars;
pub mod bench_clean;
pub mod bench_diff;
pub mod bench_page;
pub mod bench_place;
pub mod bench_words;
mod beside;
pub mod cache;
pub mod commands;
pub mod config;
pub mod copy_page;
pub mod doctor_words;
pub mod env;
pub mod error;
pub mod explain;
pub mod from;
pub mod holes;
pub mod hook;
pub mod ignored;
pub mod init_words;
pub mod keep;
pub mod look;
pub mod machine;
pub mod metrics;
pub mod names;
pub mod nix_conf;
pub mod notes;
pub mod page;
pub mod paths;
pub mod plot;
pub mod provider;
pub mod reference;
pub mod resolve;
pub mod rival_words;
pub mod rivals;
pub mod roots_from;
pub mod run;
pub mod scratch;
pub mod settle;
pub mod shaping;
pub mod sign_words;
pub mod site;
pub mod store;
pub mod sweep_errors;
pub mod sweep_page;
pub mod sweep_request;
pub mod sweep_unread;
pub mod sweep_words;
pub mod times;
pub mod timing;
pub mod trace;
pub mod tune_page;
pub mod tune_words;
pub mod ui;
pub mod units;
pub mod wanted;
mod web;
pub mod words;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use clap::Parser as _;

use crate::{
    cli::{
        args::{Cli, Command},
        env::Env,
        error::{Exit, Failure},
        ui::{Format, Loudness, Ui},
    },
    clock::Clock,
};

/// What every command is given: the world as it was at the start, and the way to speak.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub env: Env,
    /// The time.
    pub clock: Clock,
    /// The way to speak.
    pub ui: Ui,
    /// `--config`, as it was typed.
    pub config: Option<std::path::PathBuf>,
    /// `--s3-client`, as it was typed.
    pub s3_client: Option<String>,
}

/// Runs the program, and returns the code that it ends with.
#[must_use]
pub fn main() -> ExitCode {
    let env = Env::read();
    let arguments = args::joined(std::env::args_os());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&env, &arguments, &error).into(),
    };
    let ui = Ui::new(&env, cli.output.loudness(), cli.output.format());
    log_to_stderr(&env, &ui);
    let context = Arc::new(Context {
        env,
        clock: Clock::system(),
        ui,
        config: cli.output.config,
        s3_client: cli.output.s3_client,
    });
    match error::catch_panic(|| run(&context, cli.command)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.ui.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Tells help, or what is wrong with the arguments: a mistake in a hook's script fails no builds.
fn not_understood(env: &Env, arguments: &[OsString], error: &clap::Error) -> Exit {
    let ui = Ui::new(env, Loudness::Normal, Format::Words);
    ui.usage(error);
    if !error.use_stderr() {
        Exit::Done
    } else if hook::is_lenient(arguments) {
        hook::warn_of_gap(env, &ui);
        Exit::Done
    } else {
        Exit::Usage
    }
}

fn run(context: &Arc<Context>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Copy(args) => commands::copy::run(context, &args),
        Command::Init(args) => commands::init::run(context, &args),
        Command::Key(args) => commands::key::run(context, args),
        Command::Sign(args) => commands::sign::run(context, &args),
        Command::Doctor(args) => commands::doctor::run(context, &args),
        Command::Sweep(args) => commands::sweep::run(context, &args),
        Command::Pin(args) => commands::pin::pin(context, &args),
        Command::Unpin(args) => commands::pin::unpin(context, &args),
        Command::Pins(args) => commands::pin::pins(context, &args),
        Command::Why(args) => commands::why::run(context, &args),
        Command::Du(args) => commands::du::run(context, &args),
        Command::Runs(args) => commands::runs::runs(context, &args),
        Command::Diff(args) => commands::runs::diff(context, &args),
        Command::Roots(args) => commands::roots::run(context, &args),
        Command::Bench(args) => commands::bench::run(context, &args),
        Command::Config(args) => commands::config::run(context, &args),
        Command::Completions(args) => commands::completions::run(context, &args),
        Command::Serve(args) => commands::serve::run(context, &args),
        Command::Man(args) => commands::man::run(context, &args),
        Command::Reference(_) => commands::reference::run(context),
    }
}

/// Turns on developers' logs, if somebody asked for them.
fn log_to_stderr(env: &Env, ui: &Ui) {
    let Some(wanted) = env.get(&env::NARHAUL_LOG) else {
        return;
    };
    match tracing_subscriber::EnvFilter::try_new(wanted) {
        Ok(filter) => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init(),
        Err(error) => ui.warn(&format!("NARHAUL_LOG is ignored: {error}")),
    }
}
