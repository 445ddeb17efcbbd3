//! `narhaul serve`: the embedded S3 server as a process of its own.
//!
//! Hidden, because it is a thing to try and to measure with: it keeps everything in memory, and its one
//! key is in the documentation. It ends with Ctrl-C.

use std::{io, net::SocketAddr, sync::Arc, thread};

use clap::Args;

use crate::{
    cli::{
        Context,
        error::{Exit, Failure},
        run::{self, Ended, Workers},
        shaping::ShapingArgs,
        ui::Format,
    },
    clock::Clock,
    serve::{self, Config},
    stop::Stop,
};

/// Serve S3 from memory, to try narhaul and to measure it
///
/// Prints its URL. The access key is `narhaul`, its secret `narhaul-secret`. Everything is forgotten at
/// the end.
///
/// Example: narhaul serve --bucket nix-cache
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Listen here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    address: SocketAddr,

    /// Make this bucket at the start; may be repeated
    #[arg(long, value_name = "NAME")]
    bucket: Vec<String>,

    /// Let everybody read without a signature
    #[arg(long)]
    anonymous_reads: bool,

    /// Let everybody write and list without a signature, too
    #[arg(long)]
    anonymous_writes: bool,

    /// Decides what goes wrong when, and how each delay scatters
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// End when standard input does: with the process that holds its other end
    #[arg(long)]
    while_stdin: bool,

    /// What stands between it and its clients.
    #[command(flatten)]
    shaping: ShapingArgs,
}

impl ServeArgs {
    /// Returns how the server is set up.
    fn config(&self, clock: Clock) -> Result<Config, Failure> {
        let (line, faults) = self.shaping.shape(self.seed)?;
        Ok(Config {
            address: self.address,
            allows_anonymous_reads: self.anonymous_reads,
            allows_anonymous_writes: self.anonymous_writes,
            line,
            faults,
            clock,
            ..Config::default()
        })
    }
}

/// Serves until it is interrupted.
pub fn run(context: &Arc<Context>, args: &ServeArgs) -> Result<Exit, Failure> {
    let stop = Stop::default();
    let config = args.config(context.clock.clone())?;
    if args.while_stdin {
        let stop = stop.clone();
        // A thread of its own, since a read of standard input cannot be given up; it ends with the process.
        thread::spawn(move || {
            io::copy(&mut io::stdin().lock(), &mut io::sink()).unwrap_or_default();
            stop.set();
        });
    }
    let mut told = Ok(());
    let ended = run::with_interrupts(
        context,
        &stop,
        Workers::ForAllCores,
        serve::run(config, &stop, |server| {
            for bucket in &args.bucket {
                server.add_memory_bucket(bucket);
            }
            let url = server.endpoint();
            told = match context.ui.format() {
                Format::Words => context.ui.data(&format!("{url}\n")),
                Format::Json => context
                    .ui
                    .event("listening", serde_json::json!({ "url": url })),
            };
        }),
    )?;
    told?;
    match ended {
        Ended::ByItself(Ok(())) | Ended::ByForce => Ok(Exit::Done),
        Ended::ByItself(Err(error)) => {
            Err(Failure::new(format!("cannot listen at `{}`", args.address)).because(&error))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn config(args: &[&str]) -> Config {
        let line = Line::try_parse_from([&["serve"], args].concat()).unwrap();
        line.args.config(Clock::system()).unwrap()
    }

    #[test]
    fn one_seed_decides_about_faults_and_about_delays() {
        let shaped = ["--latency", "20ms±5ms", "--errors", "503:1%"];
        let usual = config(&shaped);
        assert_eq!((usual.faults.seed, usual.line.seed), (1, 1));
        let other = config(&[&shaped[..], &["--seed", "7"]].concat());
        assert_eq!((other.faults.seed, other.line.seed), (7, 7));
    }

    #[test]
    fn nothing_is_open_to_everybody_unasked() {
        let open = |args: &[&str]| {
            let config = config(args);
            (
                config.allows_anonymous_reads,
                config.allows_anonymous_writes,
            )
        };
        assert_eq!(open(&[]), (false, false));
        assert_eq!(open(&["--anonymous-reads"]), (true, false));
        assert_eq!(open(&["--anonymous-writes"]), (false, true));
    }
}
