//! Judges the way to the bucket: server, TLS, address, credentials, region, clocks.

use std::time::Duration;

use super::super::{
    facts::{Address, Clocks, Facts, Login},
    finding::{Finding, Skew},
};
use crate::{
    backend::{
        Kind,
        s3::{CredentialSource, Handshake, Provider, Secure},
    },
    nix::cache_url::Scheme,
};

/// Answers tell whole seconds and take a while: clocks that differ by less may be the same.
const SAME: Duration = Duration::from_secs(5);

/// Servers refuse requests that are signed a quarter of an hour beside their own clock; Garage takes them
/// (2.5 was asked with clocks that were wrong by up to 25 hours).
const REFUSED: Duration = Duration::from_secs(15 * 60);

/// A certificate of a self-hosted server is seldom renewed later than this before its end.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![server(facts)];
    found.extend(tls(facts));
    found.extend(facts.address.as_ref().into_iter().flat_map(address));
    if let Some(login) = &facts.login {
        found.extend(credentials(facts, login));
        found.extend(region(facts, login));
    }
    found.extend(facts.clock.as_ref().map(|clocks| clock(facts, clocks)));
    found
}

fn server(facts: &Facts) -> Finding {
    let server = match &facts.login {
        Some(login) => login.provider.name(),
        None => "a folder",
    };
    let Err(error) = &facts.contact else {
        return Finding::Answers { server };
    };
    let scheme = facts.address.as_ref().map(|address| address.scheme);
    match (&error.kind, scheme) {
        (Kind::NoBucket, _) => Finding::NoBucket,
        // It has answered; what is wrong is said elsewhere.
        (Kind::Denied | Kind::Credentials | Kind::Region(_), _) => Finding::Answers { server },
        (_, Some(scheme)) if facts.other_scheme => Finding::WrongScheme {
            speaks: match scheme {
                Scheme::Http => Scheme::Https,
                Scheme::Https => Scheme::Http,
            },
        },
        // Somebody is there; why we do not get on is said by what is found about TLS.
        _ if matches!(facts.handshake, Some(Handshake::Distrusted(_))) => {
            Finding::Answers { server }
        }
        _ if facts
            .clock
            .is_some_and(|clocks| skew(&clocks).amount() > REFUSED) =>
        {
            Finding::Answers { server }
        }
        _ => Finding::Unreachable(error.clone()),
    }
}

fn tls(facts: &Facts) -> Option<Finding> {
    let address = facts.address.as_ref()?;
    if address.scheme == Scheme::Http {
        return Some(Finding::Plain);
    }
    match facts.handshake.as_ref()? {
        Handshake::Secure(secure) => Some(secured(secure, facts.clock.as_ref())),
        Handshake::Distrusted(why) => Some(Finding::Distrusted(why.clone())),
        Handshake::ByProxy => Some(Finding::BehindProxy),
        Handshake::NotTls | Handshake::Nobody(_) => None,
    }
}

fn secured(secure: &Secure, clocks: Option<&Clocks>) -> Finding {
    let (Some(ends), Some(clocks)) = (secure.ends, clocks) else {
        return Finding::Secure(secure.clone());
    };
    let left = ends.duration_since(clocks.theirs).unwrap_or_default();
    if left < SOON {
        Finding::EndsSoon { ends, left }
    } else {
        Finding::Secure(secure.clone())
    }
}

fn address(address: &Address) -> Vec<Finding> {
    let mut found = Vec::new();
    let scheme = match address.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let full = format!("{scheme}://{}", address.authority);
    match &address.typed_endpoint {
        Some(typed) if !typed.contains("://") => found.push(if looks_like_a_scheme(typed) {
            Finding::BareHostAndPort { full }
        } else {
            Finding::BareEndpoint { full }
        }),
        _ => found.push(Finding::Address {
            is_path_style: address.is_path_style,
        }),
    }
    if address.has_prefix {
        found.push(Finding::Prefix);
    }
    found
}

/// Returns whether `host:port` reads as `scheme:path`: a scheme begins with a letter (RFC 3986, 3.1).
fn looks_like_a_scheme(endpoint: &str) -> bool {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    endpoint.split_once(':').is_some_and(|(host, _)| {
        host.starts_with(|c: char| c.is_ascii_alphabetic()) && host.chars().all(is_of_scheme)
    })
}

fn credentials(facts: &Facts, login: &Login) -> Option<Finding> {
    let source = login.source.clone();
    let is_anonymous = source == CredentialSource::Anonymous;
    match &facts.contact {
        Ok(()) if is_anonymous => Some(Finding::NoCredentials { is_refused: false }),
        Ok(()) => Some(Finding::Known(source)),
        Err(error) => match error.kind {
            Kind::Denied | Kind::Credentials if is_anonymous => {
                Some(Finding::NoCredentials { is_refused: true })
            }
            Kind::Credentials => Some(Finding::BadKey {
                source,
                error: error.clone(),
            }),
            Kind::Denied => Some(Finding::NotYours(error.clone())),
            _ => None,
        },
    }
}

fn region(facts: &Facts, login: &Login) -> Option<Finding> {
    let region = login.region.clone();
    match &facts.contact {
        Err(error) => match &error.kind {
            Kind::Region(region) => Some(Finding::RegionElsewhere {
                said: login.first_region.clone(),
                region: region.clone(),
            }),
            _ => None,
        },
        Ok(()) if login.region != login.first_region => Some(Finding::RegionElsewhere {
            said: login.first_region.clone(),
            region,
        }),
        // Nix takes the oldest region where the URL says none, whatever profile and environment say.
        Ok(()) if login.typed_region.is_none() && region != "us-east-1" => {
            Some(Finding::RegionUnsaid(region))
        }
        Ok(()) => Some(Finding::Region(region)),
    }
}

fn clock(facts: &Facts, clocks: &Clocks) -> Finding {
    let skew = skew(clocks);
    if skew.amount() <= SAME {
        return Finding::Clock { skew };
    }
    let minds = |login: &Login| login.provider != Provider::Garage;
    Finding::ClockOff {
        skew,
        is_refused: skew.amount() > REFUSED && facts.login.as_ref().is_none_or(minds),
    }
}

fn skew(clocks: &Clocks) -> Skew {
    match clocks.theirs.duration_since(clocks.ours) {
        Ok(ahead) => Skew::Ahead(ahead),
        Err(behind) => Skew::Behind(behind.duration()),
    }
}
