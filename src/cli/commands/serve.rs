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
        run::{self, Ended},
        shaping::ShapingArgs,
        ui::Format,
    },
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

    /// End when standard input does: with the process that holds its other end
    #[arg(long)]
    while_stdin: bool,

    /// What stands between it and its clients.
    #[command(flatten)]
    shaping: ShapingArgs,
}

/// Where draws begin: the same server twice is slow and faulty alike.
const SEED: u64 = 1;

/// Serves until it is interrupted.
pub fn run(context: &Arc<Context>, args: &ServeArgs) -> Result<Exit, Failure> {
    let stop = Stop::default();
    let (line, faults) = args.shaping.shape(SEED)?;
    let config = Config {
        address: args.address,
        allows_anonymous_reads: args.anonymous_reads,
        line,
        faults,
        clock: context.clock.clone(),
        ..Config::default()
    };
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
