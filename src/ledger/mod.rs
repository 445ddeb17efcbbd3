//! The files that narhaul itself keeps in a bucket: their names, and how they are written and read.
//!
//! All lie under `narhaul/`, where no Nix client looks. Each begins with a line that says what it is
//! and in which version; a reader refuses versions that it does not know, since what it would take for
//! absent may be what keeps a path alive.
//!
//! | file | version | written by | read by |
//! |---|--:|---|---|
//! | `roots/<group>/<time>-<run>` | 1 | copy, when it has finished | nobody yet |
//!
//! Pure: encode and decode only.

pub mod root;
