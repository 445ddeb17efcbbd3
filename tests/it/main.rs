//! The one integration-test binary; each module says what it is about.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests are tests too, which clippy does not see"
)]
#![expect(
    clippy::duplicate_mod,
    reason = "the tests of S3 run once for each client that small requests go by"
)]

mod support;

mod backend;
mod beside;
mod beside_real;
mod copy;
mod copy_beside_sweeps;
mod copy_by_server;
mod copy_from;
mod daemon;
mod daemon_copy;
mod daemon_real;
mod endurance;
mod guide_real;
mod interop;
mod large;
mod model;
mod move_real;
mod nights;
mod nix_conf_real;
mod s3;
#[path = "s3/mod.rs"]
mod s3_by_sdk;
mod seeds;
mod serve;
mod siege;
mod sign_real;
mod sim;
mod source;
mod sweep;
mod tidy;
mod vectors;
mod wrap;

// Commands as a person meets them.
mod bench;
mod bench_compare;
mod cli;
mod config;
mod copy_cli;
mod copy_resume;
mod copy_resume_real;
mod docs;
mod doctor;
mod doctor_real;
mod hook_cli;
mod init;
mod init_s3_cli;
mod key;
mod pin_cli;
mod policies;
mod sign_cli;
mod sweep_cli;
mod sweep_faults_cli;
mod sweep_s3_cli;
mod undo_cli;
