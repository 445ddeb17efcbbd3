//! What the tests of the program share: a world of its own for each, and what was said in it.

pub(crate) mod daemon;
pub(crate) mod faults;
pub(crate) mod minio_tls;
pub(crate) mod nix_daemon;
pub(crate) mod nix_store;
pub(crate) mod output;
pub(crate) mod real;
pub(crate) mod s3;
pub(crate) mod web;
pub(crate) mod world;
