//! Where S3 servers differ, as data.
//!
//! Who the server is is told by its host name, or else by the `Server` header of its first answer; who
//! is neither is given the least that S3 promises. Figures are the providers' documented limits, and
//! what conditional requests do was tried with many writers at once: Garage answers 200 and overwrites.

use super::config::S3Config;
use crate::backend::Limits;

/// S3's own limit on parts, and nearly everyone's.
const MAX_PARTS: u32 = 10_000;

/// S3's own smallest part, 5 MiB. Garage takes less, but nothing here gains by it.
const MIN_PART_SIZE: u64 = 5 << 20;

/// S3's own largest single put, 5 GiB.
const MAX_PUT_SIZE: u64 = 5 << 30;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3.
    Aws,
    /// Cloudflare R2.
    R2,
    /// Google Cloud Storage, by its XML interface.
    Gcs,
    /// Scaleway.
    Scaleway,
    /// Backblaze B2.
    B2,
    /// Tigris.
    Tigris,
    /// Garage.
    Garage,
    /// MinIO.
    MinIo,
    /// Ceph's gateway.
    Ceph,
    /// SeaweedFS.
    SeaweedFs,
    /// Anyone else.
    Unknown,
}

/// Host names of providers, by their ends.
const HOSTS: [(&str, Provider); 9] = [
    (".amazonaws.com", Provider::Aws),
    (".amazonaws.com.cn", Provider::Aws),
    (".r2.cloudflarestorage.com", Provider::R2),
    ("storage.googleapis.com", Provider::Gcs),
    (".scw.cloud", Provider::Scaleway),
    (".backblazeb2.com", Provider::B2),
    (".tigris.dev", Provider::Tigris),
    (".your-objectstorage.com", Provider::Ceph),
    (".digitaloceanspaces.com", Provider::Ceph),
];

impl Provider {
    /// Tells from the endpoint alone.
    #[must_use]
    pub fn of_config(config: &S3Config) -> Self {
        let Some(endpoint) = &config.endpoint else {
            return Self::Aws;
        };
        let host = host(&endpoint.authority);
        HOSTS
            .iter()
            .find(|(end, _)| host.ends_with(end))
            .map_or(Self::Unknown, |(_, provider)| *provider)
    }

    /// Tells from the `Server` header of an answer.
    #[must_use]
    pub fn of_server_header(value: &str) -> Option<Self> {
        let value = value.to_ascii_lowercase();
        [
            ("minio", Self::MinIo),
            ("amazons3", Self::Aws),
            ("ceph", Self::Ceph),
            ("seaweedfs", Self::SeaweedFs),
            ("garage", Self::Garage),
        ]
        .into_iter()
        .find(|(name, _)| value.contains(name))
        .map(|(_, provider)| provider)
    }

    /// Tells from the name of the server's region, which Garage's own documents all call so.
    #[must_use]
    pub fn of_region(region: &str) -> Option<Self> {
        (region == "garage").then_some(Self::Garage)
    }

    /// Returns the name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "Amazon S3",
            Self::R2 => "Cloudflare R2",
            Self::Gcs => "Google Cloud Storage",
            Self::Scaleway => "Scaleway",
            Self::B2 => "Backblaze B2",
            Self::Tigris => "Tigris",
            Self::Garage => "Garage",
            Self::MinIo => "MinIO",
            Self::Ceph => "Ceph",
            Self::SeaweedFs => "SeaweedFS",
            Self::Unknown => "an S3 server",
        }
    }

    /// Returns what it can and cannot do.
    #[must_use]
    pub fn limits(self) -> Limits {
        Limits {
            max_parts: if self == Self::Scaleway {
                1_000
            } else {
                MAX_PARTS
            },
            min_part_size: MIN_PART_SIZE,
            max_put_size: match self {
                // R2 takes 5 MiB less than S3.
                Self::R2 => MAX_PUT_SIZE - MIN_PART_SIZE,
                _ => MAX_PUT_SIZE,
            },
            has_conditional_put: match self {
                Self::Aws | Self::R2 | Self::MinIo | Self::Ceph | Self::SeaweedFs => true,
                // Garage ignores the condition; the others were not tried.
                Self::Gcs
                | Self::Scaleway
                | Self::B2
                | Self::Tigris
                | Self::Garage
                | Self::Unknown => false,
            },
            // Amazon and Cloudflare say so, MinIO was tried.
            has_conditional_overwrite: matches!(self, Self::Aws | Self::R2 | Self::MinIo),
        }
    }

    /// Returns a header that every request needs for reads to see the latest write.
    #[must_use]
    pub fn consistency_header(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Tigris).then_some(("x-tigris-consistent", "true"))
    }
}

/// Returns a host without its port, in lower case.
fn host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}
