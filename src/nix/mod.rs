//! The formats of Nix binary caches and of the daemon's protocol, and nothing else.
//!
//! Text and bytes come in, values go out, and back. The formats are those of the Nix manual ("Store
//! path", "Nix archive", "narinfo", "Content-addressing store objects") as the releases 2.3 to 2.35
//! of the client read and write them; where releases differ, the file in question says which one is
//! followed. [`wire`] is what a daemon speaks on its socket.
//!
//! Level 0: pure. No file, no clock, no environment, no randomness, no other room of this crate.
//! Left out on purpose: derivations, the Nix language.

pub mod base32;
pub mod cache_info;
mod cache_params;
pub mod cache_url;
pub mod compression;
pub mod content_address;
pub mod debug_info;
pub mod encoding;
pub mod hash;
pub mod nar;
pub mod narinfo;
pub mod object_key;
pub mod path_info;
#[doc(hidden)]
pub mod properties;
pub mod realisation;
pub mod sig_lines;
pub mod signature;
pub mod store_path;
pub mod wire;

#[cfg(test)]
mod tests;
