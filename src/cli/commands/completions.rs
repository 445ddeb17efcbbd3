//! `narhaul completions`: the script that lets a shell complete narhaul's commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::{
    Context,
    args::Cli,
    error::{Exit, Failure},
};

/// Print a shell's completion script
///
/// Example: narhaul completions bash > ~/.local/share/bash-completion/completions/narhaul
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn run(context: &Context, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "narhaul", &mut script);
    context.ui.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
