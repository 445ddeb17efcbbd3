//! First contact: address, credentials, region, clock, TLS; and if nothing works, why.

use super::{
    Facts, Patient, Request,
    facts::{Address, Clocks, Login},
};
use crate::{
    backend::{
        Backend as _, Error, Kind, ListQuery,
        s3::{self, CredentialChoice, CredentialSource, Handshake, S3, S3Config},
    },
    nix::{
        cache_url::{Endpoint, Scheme},
        object_key::ObjectKey,
    },
};

/// A server that is busy is asked again; one that is not there need not be asked often.
const MAX_TRIES: usize = 3;

pub(super) async fn look(patient: &Patient, request: &Request) -> Facts {
    match &patient.bucket {
        Some(bucket) => look_at_bucket(bucket, request).await,
        None => nothing_but(patient.dest.list(&shallow()).await.map(drop)),
    }
}

/// What is known of a place that has no address, no credentials and no clock of its own.
fn nothing_but(contact: Result<(), Error>) -> Facts {
    Facts {
        address: None,
        contact,
        other_scheme: false,
        handshake: None,
        login: None,
        clock: None,
        is_read_only: false,
        bucket: None,
        cache: None,
        writes: None,
        left: Vec::new(),
        before: None,
    }
}

async fn look_at_bucket(bucket: &S3, request: &Request) -> Facts {
    let (config, first_region) = (bucket.config(), bucket.region());
    let contact = first_request(bucket).await;
    // Refusals are dated too. Ours is asked at the same moment: theirs is that of the last answer, and
    // what has elapsed since.
    let clock = bucket.now().await.ok().map(|theirs| Clocks {
        ours: request.clock.now(),
        theirs,
    });
    let is_tls = config.is_tls();
    let is_lost = contact
        .as_ref()
        .is_err_and(|error| error.kind.is_of_the_way());
    let handshake = if is_tls || is_lost {
        bucket.handshake().await.ok()
    } else {
        None
    };
    let other_scheme = is_lost
        && clock.is_none()
        && match &handshake {
            Some(Handshake::Secure(_) | Handshake::Distrusted(_)) => !is_tls,
            _ => is_tls && answers_plainly(config).await,
        };
    Facts {
        address: Some(address(config, request)),
        other_scheme,
        handshake: handshake.filter(|_| is_tls),
        login: Some(Login {
            source: bucket.credential_source(),
            typed_region: request.typed_region.clone(),
            first_region,
            region: bucket.region(),
            provider: bucket.provider(),
        }),
        clock,
        ..nothing_but(contact)
    }
}

/// Asks for a list, or where that is denied for the cache's description.
async fn first_request(bucket: &S3) -> Result<(), Error> {
    let mut last = Ok(());
    for _ in 0..MAX_TRIES {
        last = match bucket.list(&shallow()).await {
            Err(error) if error.kind == Kind::Denied && !is_anonymous(bucket) => {
                match bucket.get(&ObjectKey::cache_info()).await {
                    Ok(_) => Ok(()),
                    Err(other) if other.kind == Kind::NotFound => Ok(()),
                    Err(_) => Err(error),
                }
            }
            other => other.map(drop),
        };
        match &last {
            Err(error) if error.kind.has_no_answer() || error.kind == Kind::Throttled => {}
            _ => break,
        }
    }
    last
}

fn is_anonymous(bucket: &S3) -> bool {
    bucket.credential_source() == CredentialSource::Anonymous
}

fn shallow() -> ListQuery {
    ListQuery {
        is_shallow: true,
        ..ListQuery::default()
    }
}

/// Returns whether an HTTP server without TLS is where TLS was wanted.
async fn answers_plainly(config: &S3Config) -> bool {
    let Some(endpoint) = &config.endpoint else {
        return false;
    };
    let plain = S3Config {
        endpoint: Some(Endpoint {
            scheme: Scheme::Http,
            ..endpoint.clone()
        }),
        credentials: CredentialChoice::Anonymous,
        ..config.clone()
    };
    match s3::open(plain).await {
        Ok(plain) => plain.now().await.is_ok(),
        Err(_) => false,
    }
}

fn address(config: &S3Config, request: &Request) -> Address {
    let endpoint = config.endpoint.as_ref();
    Address {
        typed_endpoint: request.typed_endpoint.clone(),
        scheme: if config.is_tls() {
            Scheme::Https
        } else {
            Scheme::Http
        },
        authority: endpoint.map_or_else(
            || "s3.amazonaws.com".to_owned(),
            |endpoint| endpoint.authority.clone(),
        ),
        is_path_style: config.is_path_style(),
        has_prefix: request.has_prefix,
    }
}
