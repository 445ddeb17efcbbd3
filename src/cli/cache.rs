//! Opens the cache that a URL names.
//!
//! A URL as it was typed comes in, a back end behind its wrappers goes out. What the URL leaves open
//! is taken from the environment (region, endpoint, certificate authorities, proxies); what it says and
//! nobody knows is warned about, as Nix does, with the name that was probably meant.

use std::{path::PathBuf, sync::Arc};

use crate::{
    backend::{Backend, file::Folder},
    cli::{
        Context,
        error::{self, Failure},
    },
    nix::cache_url::{CacheUrl, Location, ParseError},
};

/// The parameters that are worth suggesting to somebody who has mistyped one.
const PARAMETERS: &[&str] = &[
    "profile",
    "region",
    "scheme",
    "endpoint",
    "addressing-style",
    "multipart-upload",
    "multipart-chunk-size",
    "multipart-threshold",
    "storage-class",
    "narinfo-compression",
    "ls-compression",
    "log-compression",
    "tls-certificate",
    "tls-private-key",
    "retry-attempts",
    "compression",
    "compression-level",
    "parallel-compression",
    "write-nar-listing",
    "index-debug-info",
    "secret-key",
    "secret-keys",
    "store",
    "priority",
    "want-mass-query",
];

/// Parses a cache URL and warns about parameters that nobody knows.
pub fn parse_url(context: &Context, text: &str) -> Result<CacheUrl, Failure> {
    let url: CacheUrl = text.parse().map_err(|error| explain_url(text, &error))?;
    for name in &url.unknown {
        let place = url.show_place();
        let meant = match error::nearest(name, PARAMETERS) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        context.ui.warn(&format!(
            "unknown parameter `{name}` of `{place}` is ignored{meant}"
        ));
    }
    Ok(url)
}

fn explain_url(text: &str, error: &ParseError) -> Failure {
    let failure = Failure::new(format!(
        "cannot use the cache URL `{}`",
        without_password(text)
    ))
    .because(error);
    match error {
        ParseError::NoUrl(place) => failure.hint(format!(
            "a bucket is `s3://{place}?endpoint=…`, a folder `file://$PWD/{place}`"
        )),
        ParseError::RelativeFile(path) => {
            failure.hint(format!("for this folder: `file://$PWD/{path}`"))
        }
        _ => failure,
    }
}

/// Hides who a URL says that we are: `https://user:password@host` is a habit of web clients.
fn without_password(text: &str) -> String {
    let hidden = text.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = rest[..end].rsplit_once('@')?.1;
        Some(format!("{scheme}://…@{host}{}", &rest[end..]))
    });
    hidden.unwrap_or_else(|| text.to_owned())
}

/// Opens the cache of a URL.
pub fn open(context: &Context, url: &CacheUrl) -> Result<Arc<dyn Backend>, Failure> {
    match &url.location {
        Location::File(path) => Ok(Arc::new(Folder::new(
            PathBuf::from(path),
            context.clock.clone(),
        ))),
        Location::S3 { .. } => Err(Failure::new(format!(
            "cannot open `{}`: buckets come with the next slice",
            url.show_place()
        ))),
        Location::Http(_) => Err(Failure::new(format!(
            "cannot write to `{}`: a web server is read only",
            url.show_place()
        ))
        .hint("name the bucket behind it: `s3://bucket?endpoint=…`")),
    }
}

/// Runs what waits, on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    runtime.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_that_is_suggested_exists() {
        for name in PARAMETERS {
            if let Ok(url) = format!("s3://b?{name}=").parse::<CacheUrl>() {
                assert!(url.unknown.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let shown = without_password("https://me:hush@h/x?a=b@c");
        assert_eq!(shown, "https://…@h/x?a=b@c");
        assert_eq!(without_password("s3://b/x@y"), "s3://b/x@y");
    }
}
