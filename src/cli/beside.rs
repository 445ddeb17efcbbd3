//! What a copy writes beside narinfos and bodies: the flags, and the URL's parameters for it.
//!
//! Nix chooses these things by parameters of the cache's URL alone (`index-debug-info`,
//! `write-nar-listing`, `narinfo-compression`, `ls-compression`, `log-compression`); they are obeyed, and
//! what has a flag too is done if either asks for it.

use clap::Args;

use crate::{
    cli::{Context, error::Failure},
    copy::Options,
    nix::{cache_url::CacheUrl, compression::Compression, encoding::Encoding},
};

/// What is written beside narinfos and bodies.
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and none excludes another"
)]
pub(super) struct BesideArgs {
    /// Write a listing (`.ls`) beside each narinfo that this run writes
    #[arg(long, help_heading = "What is written")]
    write_listing: bool,

    /// Write where debugging symbols lie (`debuginfo/`), for each path that this run publishes
    #[arg(long, help_heading = "What is written", hide_short_help = true)]
    index_debug_info: bool,

    /// Copy the logs of the builds that made these paths too, as far as this machine has them
    #[arg(long, help_heading = "What is written", hide_short_help = true)]
    logs: bool,

    /// Copy what the store knows about the outputs of derivations, which clients with content-addressed
    /// derivations look for
    #[arg(long, help_heading = "What is written", hide_short_help = true)]
    realisations: bool,
}

impl BesideArgs {
    /// Adds what flags and URL ask for to `options`.
    pub(super) fn add_to(
        &self,
        context: &Context,
        url: &CacheUrl,
        options: Options,
    ) -> Result<Options, Failure> {
        let params = &url.params;
        let encoding =
            |name: &str, given: &Option<Compression>| encoding(context, name, given.as_ref());
        Ok(Options {
            write_listing: self.write_listing || params.write_nar_listing == Some(true),
            index_debug_info: self.index_debug_info || params.index_debug_info == Some(true),
            narinfo_encoding: encoding("narinfo-compression", &params.narinfo_compression)?,
            listing_encoding: encoding("ls-compression", &params.ls_compression)?,
            log_encoding: encoding("log-compression", &params.log_compression)?,
            copy_logs: self.logs,
            copy_realisations: self.realisations,
            ..options
        })
    }
}

/// Settles one of the encodings, and warns of one that new clients do not read.
fn encoding(
    context: &Context,
    name: &str,
    given: Option<&Compression>,
) -> Result<Option<Encoding>, Failure> {
    let Some(given) = given else {
        return Ok(None);
    };
    let encoding = Encoding::of(given)
        .map_err(|error| Failure::usage(format!("cannot use `{name}={given}`")).because(&error))?;
    if encoding.is_some_and(|encoding| !encoding.is_common()) {
        context.ui.warn(&format!(
            "`{name}={given}`: Nix from 2.34 on cannot read what is written with it; gzip, br and zstd can be read"
        ));
    }
    Ok(encoding)
}
