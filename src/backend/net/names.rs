//! Finds the addresses of host names.
//!
//! The machine is asked, but for names below `localhost`: those are this machine by definition
//! (RFC 6761, section 6.3), and browsers, curl and with that Nix ask nobody. Garage serves each website
//! under a host name of its own, which in its examples is below `localhost`, and the C library
//! of most machines knows `localhost` alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

/// The resolver of every client here.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend) struct Names;

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        if let Some(own) = own(name) {
            return DnsFuture::ready(Ok(own.to_vec()));
        }
        DnsFuture::new(async move {
            // A port has to be named, and the caller has its own.
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(ResolveDnsError::new)?;
            Ok(found.map(|address| address.ip()).collect::<Vec<IpAddr>>())
        })
    }
}

/// Returns the addresses of this machine, if the name is below `localhost`.
pub(in crate::backend) fn own(name: &str) -> Option<[IpAddr; 2]> {
    let own = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    is_below_localhost(name).then_some(own)
}

fn is_below_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = name.rsplit_once('.').map(|(_, last)| last);
    label.is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_localhost_are_known_without_asking() {
        for name in ["cache.localhost", "a.web.LOCALHOST", "a.localhost."] {
            assert!(is_below_localhost(name), "{name}");
        }
        // The machine's own word about its own name counts.
        for name in [
            "localhost",
            "localhost.",
            "mylocalhost",
            "a.localhost.example.org",
            "",
        ] {
            assert!(!is_below_localhost(name), "{name}");
        }
    }
}
