//! `narhaul man`: the manual pages of all commands, one file each. Hidden: packages call it, nobody else
//! needs it.

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory as _};

use crate::cli::{
    Context,
    args::Cli,
    error::{self, Exit, Failure},
};

/// Write the manual pages of all commands into a folder
///
/// Example: narhaul man share/man/man1
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; it is made if it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes them.
pub fn run(context: &Context, args: &ManArgs) -> Result<Exit, Failure> {
    let act = "write manual pages into";
    fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.folder))
        .map_err(|error| error::of_file(act, &args.folder, &error))?;
    context.ui.say(&format!(
        "wrote manual pages into `{}`",
        args.folder.display()
    ));
    Ok(Exit::Done)
}
