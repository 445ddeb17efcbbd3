//! Which provider a cache is at, by the host's name, for prices and habits.

use crate::{
    backend::wrap::count::{Counts, Verb},
    cli::{Context, env},
    nix::cache_url::{CacheUrl, Location},
    plan::cost::{AWS, B2, Cost, HETZNER, Provider, R2, SELF_HOSTED, WASABI},
};

/// Returns what was asked so far, by the kinds that providers bill.
///
/// The time costs nothing, since other answers tell it; a bucket's own rules are asked for three times at
/// most. Bytes are those of objects.
#[must_use]
pub fn spent(counts: &Counts) -> Cost {
    let of = |verbs: &[Verb]| {
        let readings = verbs.iter().map(|verb| counts.read(*verb));
        readings.fold((0, 0), |(n, bytes), reading| {
            (n + reading.requests, bytes + reading.bytes)
        })
    };
    let (n_puts, bytes_in) = of(&[
        Verb::Put,
        Verb::Begin,
        Verb::PutPart,
        Verb::Complete,
        Verb::Copy,
        Verb::CopyPart,
    ]);
    let (n_gets, bytes_out) = of(&[Verb::Get, Verb::Head]);
    Cost {
        n_puts,
        n_lists: of(&[Verb::List, Verb::Uploads, Verb::Parts]).0,
        n_gets: n_gets + Verb::Rules.n_requests() * of(&[Verb::Rules]).0,
        n_deletes: of(&[Verb::Delete, Verb::Abort]).0,
        bytes_in,
        bytes_out,
        ..Cost::default()
    }
}

/// What hosts' names end in.
const HOSTS: [(&str, Provider); 5] = [
    ("amazonaws.com", AWS),
    ("r2.cloudflarestorage.com", R2),
    ("backblazeb2.com", B2),
    ("wasabisys.com", WASABI),
    ("your-objectstorage.com", HETZNER),
];

/// Returns the provider of a bucket; none for a folder.
#[must_use]
pub fn of(context: &Context, url: &CacheUrl) -> Option<Provider> {
    let Location::S3 { .. } = url.location else {
        return None;
    };
    let variables = [&env::AWS_ENDPOINT_URL_S3, &env::AWS_ENDPOINT_URL];
    let named = url.params.endpoint.as_deref();
    let endpoint = named.or_else(|| context.env.first(&variables).map(|(_, endpoint)| endpoint));
    Some(endpoint.map_or(AWS, of_endpoint))
}

/// Returns the provider of an endpoint: `https://host:port/path`, or a part of that.
fn of_endpoint(endpoint: &str) -> Provider {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or(rest);
    let found = HOSTS.iter().find(|(end, _)| {
        let before = host.strip_suffix(end);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    found.map_or(SELF_HOSTED, |(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_known_by_their_hosts() {
        for (endpoint, name) in [
            ("https://s3.eu-central-003.backblazeb2.com", "Backblaze B2"),
            ("a1b2.r2.cloudflarestorage.com", "Cloudflare R2"),
            ("https://s3.wasabisys.com:443/", "Wasabi"),
            ("s3.eu-west-1.amazonaws.com", "AWS S3"),
            ("nbg1.your-objectstorage.com", "Hetzner"),
            ("http://s3.homelab.local:9000", "self-hosted"),
            ("https://notwasabisys.com", "self-hosted"),
        ] {
            assert_eq!(of_endpoint(endpoint).name, name, "{endpoint}");
        }
    }
}
