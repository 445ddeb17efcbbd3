//! The lines that make a Nix client use a cache: for `nix.conf`, for NixOS, for a flake, and the files of
//! credentials where it needs some.
//!
//! A cache's URL and public keys come in, text goes out. The URL is cut down to what a reader needs:
//! what only a writer needs (compression, keys, multipart) would be noise in a thousand machines'
//! configuration, and older clients warn about names that they do not know.

use std::fmt;

use crate::nix::{
    cache_url::{CacheUrl, Endpoint, Location, Params, Scheme},
    signature::PublicKey,
};

/// What a client has to be told about a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The URL for readers that have credentials, or need none.
    pub substituter: String,
    /// The URL under which a bucket is read without credentials, once its owner allows that.
    pub anonymous: Option<String>,
    /// The bucket, where it is one of Garage, which has a port of its own for such readers.
    pub garage_bucket: Option<String>,
    /// The keys to trust.
    pub public_keys: Vec<String>,
    /// Whose keys readers of the bucket sign with, where it is one that not everybody reads.
    pub profile: Option<String>,
}

impl Snippet {
    /// Cuts the URL down to what a reader needs.
    #[must_use]
    pub fn new(url: &CacheUrl, public_keys: &[PublicKey]) -> Self {
        let params = Params {
            profile: url.params.profile.clone(),
            region: url.params.region.clone(),
            scheme: url.params.scheme,
            endpoint: url.params.endpoint.clone(),
            addressing_style: url.params.addressing_style,
            store: url.params.store.clone(),
            ..Params::default()
        };
        let reader = CacheUrl {
            location: url.location.clone(),
            params,
            unknown: Vec::new(),
        };
        let snippet = Self {
            substituter: reader.to_string(),
            anonymous: anonymous_url(url),
            garage_bucket: None,
            public_keys: public_keys.iter().map(ToString::to_string).collect(),
            profile: match &url.location {
                Location::S3 { .. } => {
                    let profile = url.params.profile.as_deref();
                    Some(profile.unwrap_or("default").to_owned())
                }
                Location::File(_) | Location::Http(_) => None,
            },
        };
        // Garage's own name for its region, which nobody else has.
        if url.params.region.as_deref() == Some("garage") {
            snippet.of_garage(url)
        } else {
            snippet
        }
    }

    /// Says that the server is Garage: its S3 port knows no readers without credentials.
    #[must_use]
    pub fn of_garage(self, url: &CacheUrl) -> Self {
        let Location::S3 { bucket, .. } = &url.location else {
            return self;
        };
        Self {
            anonymous: None,
            garage_bucket: Some(bucket.clone()),
            ..self
        }
    }

    /// Says that everybody reads it at this URL.
    #[must_use]
    pub fn of_everybody(self, url: &str) -> Self {
        Self {
            substituter: url.to_owned(),
            anonymous: None,
            garage_bucket: None,
            profile: None,
            ..self
        }
    }

    /// Returns the lines for `nix.conf`.
    #[must_use]
    pub fn nix_conf(&self) -> String {
        let mut lines = format!("extra-substituters = {}\n", self.substituter);
        if !self.public_keys.is_empty() {
            let keys = self.public_keys.join(" ");
            lines.push_str("extra-trusted-public-keys = ");
            lines.push_str(&keys);
            lines.push('\n');
        }
        lines
    }

    /// Returns the lines for a NixOS configuration.
    #[must_use]
    pub fn nixos(&self) -> String {
        format!("nix.settings = {};\n", self.attributes())
    }

    /// Returns the lines for a `flake.nix`, whose users are asked whether they trust them.
    #[must_use]
    pub fn flake(&self) -> String {
        format!("nixConfig = {};\n", self.attributes())
    }

    fn attributes(&self) -> String {
        let list = |values: &[String]| {
            let quoted: Vec<_> = values.iter().map(|value| nix_string(value)).collect();
            format!("[ {} ]", quoted.join(" "))
        };
        let substituters = list(std::slice::from_ref(&self.substituter));
        let keys = if self.public_keys.is_empty() {
            String::new()
        } else {
            format!(
                "  extra-trusted-public-keys = {};\n",
                list(&self.public_keys)
            )
        };
        format!("{{\n  extra-substituters = {substituters};\n{keys}}}")
    }

    /// Returns the files of credentials that a private cache needs, as comments.
    fn credentials(&self) -> String {
        let Some(profile) = &self.profile else {
            return String::new();
        };
        let mut lines = format!(
            "\n# as long as not everybody can read the bucket, in ~root/.aws/credentials of each client\n\
             # (the nix-daemon reads, and is root)\n\
             # [{profile}]\n# aws_access_key_id = …\n# aws_secret_access_key = …\n"
        );
        if let Some(host) = self.anonymous.as_deref().and_then(host) {
            lines.push_str("# or, behind a web server that asks for a name, in /etc/nix/netrc\n");
            lines.extend(["# machine ", host, " login … password …\n"]);
        }
        lines
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# nix.conf of each client")?;
        write!(f, "{}", self.nix_conf())?;
        if let Some(url) = &self.anonymous {
            writeln!(f, "# or, once the bucket can be read without credentials:")?;
            writeln!(f, "# extra-substituters = {url}")?;
        }
        if let Some(bucket) = &self.garage_bucket {
            writeln!(
                f,
                "# Garage serves readers without credentials on its website port, not on this one, after\n\
                 # `garage bucket website --allow {bucket}`; if the bucket was made through S3, first\n\
                 # `garage bucket alias ID {bucket}`"
            )?;
        }
        write!(f, "\n# the same for NixOS\n{}", self.nixos())?;
        write!(f, "\n# the same in a flake.nix\n{}", self.flake())?;
        write!(f, "{}", self.credentials())
    }
}

/// Returns the host of a web URL, without its port, as netrc files have it.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some(match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    })
}

/// Returns the URL of a bucket for plain web clients: in the path for a server of one's own, as the
/// host on AWS.
#[must_use]
pub fn anonymous_url(url: &CacheUrl) -> Option<String> {
    let Location::S3 { bucket, prefix } = &url.location else {
        return None;
    };
    let web = match url.params.endpoint() {
        Some(endpoint) => format!("{endpoint}/{bucket}"),
        None => {
            let region = url.params.region.as_deref().unwrap_or("us-east-1");
            let aws = Endpoint {
                scheme: Scheme::Https,
                authority: format!("{bucket}.s3.{region}.amazonaws.com"),
                base_path: String::new(),
            };
            aws.to_string()
        }
    };
    Some(match prefix {
        Some(prefix) => format!("{web}/{prefix}"),
        None => web,
    })
}

/// Quotes a text as the Nix language does.
fn nix_string(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(url: &str) -> String {
        let key = "s3.homelab.local-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=";
        Snippet::new(&url.parse().unwrap(), &[key.parse().unwrap()]).to_string()
    }

    #[test]
    fn a_reader_gets_what_a_reader_needs() {
        insta::assert_snapshot!(snippet(
            "s3://nix-cache?profile=nixbuilder&endpoint=s3.homelab.local&compression=xz&secret-key=/k"
        ), @r#"
        # nix.conf of each client
        extra-substituters = s3://nix-cache?profile=nixbuilder&endpoint=s3.homelab.local
        extra-trusted-public-keys = s3.homelab.local-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=
        # or, once the bucket can be read without credentials:
        # extra-substituters = https://s3.homelab.local/nix-cache

        # the same for NixOS
        nix.settings = {
          extra-substituters = [ "s3://nix-cache?profile=nixbuilder&endpoint=s3.homelab.local" ];
          extra-trusted-public-keys = [ "s3.homelab.local-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=" ];
        };

        # the same in a flake.nix
        nixConfig = {
          extra-substituters = [ "s3://nix-cache?profile=nixbuilder&endpoint=s3.homelab.local" ];
          extra-trusted-public-keys = [ "s3.homelab.local-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=" ];
        };

        # as long as not everybody can read the bucket, in ~root/.aws/credentials of each client
        # (the nix-daemon reads, and is root)
        # [nixbuilder]
        # aws_access_key_id = …
        # aws_secret_access_key = …
        # or, behind a web server that asks for a name, in /etc/nix/netrc
        # machine s3.homelab.local login … password …
        "#);
    }

    #[test]
    fn a_bucket_of_garage_is_read_through_its_website_port() {
        let text = snippet("s3://b?endpoint=s3.example.org&region=garage");
        assert!(text.contains("garage bucket website --allow b`"), "{text}");
        assert!(!text.contains("https://s3.example.org/b"), "{text}");
        let url = "s3://b?endpoint=s3.example.org".parse().unwrap();
        let snippet = Snippet::new(&url, &[]);
        assert_eq!(snippet.garage_bucket, None);
        assert_eq!(snippet.of_garage(&url).garage_bucket.as_deref(), Some("b"));
    }

    #[test]
    fn a_bucket_of_aws_is_a_host() {
        let text = snippet("s3://b/pre/fix?region=eu-west-1");
        assert!(
            text.contains("# extra-substituters = https://b.s3.eu-west-1.amazonaws.com/pre/fix\n"),
            "{text}"
        );
        assert!(!snippet("file:///srv/cache").contains("https://"));
    }
}
