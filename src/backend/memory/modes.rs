//! What a memory back end allows: the limits and habits of real servers, as data.

use crate::backend::Limits;

/// What a memory back end allows, so that it can stand in for a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// The limits that it states and enforces. Without conditional puts, `if_absent` and
    /// `if_same` are refused.
    pub limits: Limits,
    /// How many names one page of a listing has at most.
    pub page_size: usize,
    /// Whether all parts but the last must be equally long.
    pub wants_equal_parts: bool,
    /// Whether listing is allowed. Who may not list is told 403 for what is not there, as on AWS.
    pub may_list: bool,
    /// Whether a deletion leaves a marker over what it hides, and an overwritten object is kept.
    pub is_versioned: bool,
    /// What a bucket can be told as a whole.
    pub settable: Settable,
    /// How unfinished uploads are listed.
    pub uploads: Uploads,
}

/// How unfinished uploads are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploads {
    /// All whose keys begin with what was asked for.
    ByPrefix,
    /// Those of the key that was asked for.
    ByKey,
}

/// What a bucket can be told as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settable {
    /// A policy.
    pub policy: bool,
    /// A rule that drops unfinished uploads.
    pub upload_rule: bool,
    /// Whether it is served as a website.
    pub website: bool,
}

impl Modes {
    /// S3 as AWS has it.
    #[must_use]
    pub const fn aws() -> Self {
        Self {
            limits: Limits {
                max_parts: 10_000,
                min_part_size: 5 << 20,
                max_put_size: 5 << 30,
                has_conditional_put: true,
                has_conditional_overwrite: true,
            },
            page_size: 1000,
            wants_equal_parts: false,
            may_list: true,
            is_versioned: false,
            settable: Settable {
                policy: true,
                upload_rule: true,
                website: true,
            },
            uploads: Uploads::ByPrefix,
        }
    }

    /// S3 with a bucket that keeps versions.
    #[must_use]
    pub const fn versioned() -> Self {
        let mut modes = Self::aws();
        modes.is_versioned = true;
        modes
    }

    /// Garage: parts of any size, and neither conditional puts nor policies.
    #[must_use]
    pub const fn garage() -> Self {
        let mut modes = Self::aws();
        modes.limits.min_part_size = 1;
        modes.limits.has_conditional_put = false;
        modes.settable.policy = false;
        modes.limits.has_conditional_overwrite = false;
        modes
    }

    /// MinIO: it lists unfinished uploads by whole keys, drops them after a day, takes no rule for that, and
    /// has no websites.
    #[must_use]
    pub const fn minio() -> Self {
        let mut modes = Self::aws();
        modes.settable.upload_rule = false;
        modes.settable.website = false;
        modes.uploads = Uploads::ByKey;
        modes
    }

    /// Cloudflare's R2: parts of one size, neither policies nor websites.
    #[must_use]
    pub const fn r2() -> Self {
        let mut modes = Self::aws();
        modes.wants_equal_parts = true;
        modes.settable.policy = false;
        modes.settable.website = false;
        modes
    }
}

impl Default for Modes {
    fn default() -> Self {
        Self::aws()
    }
}
