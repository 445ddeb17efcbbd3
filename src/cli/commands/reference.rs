//! `narhaul reference`: the reference of the command line, for `docs/`. Hidden, since nobody else
//! needs it.

use clap::Args;

use crate::cli::{
    Context,
    error::{Exit, Failure},
    reference,
};

/// Print the reference of all commands as Markdown
///
/// Example: narhaul reference > docs/cli-reference.md
#[derive(Debug, Args)]
pub struct ReferenceArgs {}

/// Prints it.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    context.ui.data(&reference::markdown())?;
    Ok(Exit::Done)
}
