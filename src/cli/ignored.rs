//! The parameters of a cache URL that Nix obeys and a copy does not.
//!
//! They are no mistakes: the same URL is given to Nix. But somebody who sets one expects something from
//! it, so each that is set and changes nothing is said, with the reason.
//!
//! Not here: names that nobody knows (`cache`), and parameters that only readers obey, such as `trusted`.

use std::fmt;

use crate::nix::cache_url::Params;

/// Why a parameter changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What it asks for cannot be had here.
    NotDone,
    /// What it sets is found out by narhaul.
    OwnChoice,
    /// It is a property of the cache, which `init` writes down.
    OfInit,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDone => "not done yet",
            Self::OwnChoice => "narhaul decides this itself",
            Self::OfInit => "`narhaul init` sets this, copies leave it alone",
        })
    }
}

/// Lists what is set and changes nothing about a copy, in the order of the fields.
#[must_use]
pub fn by_a_copy(params: &Params) -> Vec<(&'static str, Reason)> {
    // All fields and no `..`: whoever adds one decides here what becomes of it.
    let Params {
        // Obeyed.
        profile: _,
        region: _,
        scheme: _,
        endpoint: _,
        addressing_style: _,
        storage_class: _,
        retry_attempts: _,
        retry_delay: _,
        retry_max_delay: _,
        multipart_chunk_size: _,
        compression: _,
        compression_level: _,
        write_nar_listing: _,
        index_debug_info: _,
        narinfo_compression: _,
        ls_compression: _,
        log_compression: _,
        secret_key: _,
        secret_keys: _,
        store: _,
        // For readers alone.
        path_info_cache_size: _,
        trusted: _,
        system_features: _,
        // Not obeyed.
        multipart_upload,
        multipart_threshold,
        tls_certificate,
        tls_private_key,
        retry_delay_rate_limited,
        parallel_compression,
        local_nar_cache,
        priority,
        want_mass_query,
    } = params;
    [
        (
            "multipart-upload",
            multipart_upload.is_some(),
            Reason::OwnChoice,
        ),
        (
            "multipart-threshold",
            multipart_threshold.is_some(),
            Reason::OwnChoice,
        ),
        (
            "tls-certificate",
            tls_certificate.is_some(),
            Reason::NotDone,
        ),
        (
            "tls-private-key",
            tls_private_key.is_some(),
            Reason::NotDone,
        ),
        (
            "retry-delay-rate-limited",
            retry_delay_rate_limited.is_some(),
            Reason::OwnChoice,
        ),
        (
            "parallel-compression",
            parallel_compression.is_some(),
            Reason::OwnChoice,
        ),
        (
            "local-nar-cache",
            local_nar_cache.is_some(),
            Reason::NotDone,
        ),
        ("priority", priority.is_some(), Reason::OfInit),
        ("want-mass-query", want_mass_query.is_some(), Reason::OfInit),
    ]
    .into_iter()
    .filter_map(|(name, is_set, reason)| is_set.then_some((name, reason)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::cache::tests::VALUES, nix::cache_url::CacheUrl};

    /// What a copy obeys, or only readers do.
    const SILENT: [&str; 23] = [
        "profile",
        "region",
        "scheme",
        "endpoint",
        "addressing-style",
        "storage-class",
        "retry-attempts",
        "retry-delay",
        "retry-max-delay",
        "multipart-chunk-size",
        "compression",
        "compression-level",
        "write-nar-listing",
        "index-debug-info",
        "narinfo-compression",
        "ls-compression",
        "log-compression",
        "secret-key",
        "secret-keys",
        "store",
        "path-info-cache-size",
        "trusted",
        "system-features",
    ];

    #[test]
    fn every_parameter_is_either_obeyed_or_said_to_be_ignored() {
        for (name, value) in VALUES {
            let url: CacheUrl = format!("s3://b?{name}={value}").parse().expect(name);
            let ignored: Vec<_> = by_a_copy(&url.params)
                .into_iter()
                .map(|(ignored, _)| ignored)
                .collect();
            if SILENT.contains(name) {
                assert_eq!(ignored, [""; 0], "{name}");
            } else {
                assert_eq!(ignored, [*name]);
            }
        }
    }
}
