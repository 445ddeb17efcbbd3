//! `narhaul man`: the manual pages of all commands, one file each. Hidden: packages call it, nobody else
//! needs it.

use std::{fs, path::PathBuf};

use clap::{Arg, Args, CommandFactory as _};

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
    let mut cli = Cli::command();
    // Global flags belong to each command only then.
    cli.build();
    fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(with_values(cli), &args.folder))
        .map_err(|error| error::of_file(act, &args.folder, &error))?;
    context.ui.say(&format!(
        "wrote manual pages into `{}`",
        args.folder.display()
    ));
    Ok(Exit::Done)
}

/// Gives each command a synopsis in which flags have their values, which the generator leaves out.
fn with_values(command: clap::Command) -> clap::Command {
    let mut words = vec![command.get_bin_name().unwrap_or("narhaul").to_owned()];
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    words.extend(shown().filter(|arg| !arg.is_positional()).map(flag));
    // A place shows by itself whether it must be filled.
    words.extend(
        shown()
            .filter(|arg| arg.is_positional())
            .map(Arg::to_string),
    );
    if command.has_subcommands() {
        words.push("<COMMAND>".to_owned());
    }
    command
        .override_usage(words.join(" "))
        .mut_subcommands(with_values)
}

fn flag(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}|"));
    let text = format!("{}{arg}", short.unwrap_or_default());
    if arg.is_required_set() {
        text
    } else {
        format!("[{text}]")
    }
}
