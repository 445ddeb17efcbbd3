//! The files that narhaul itself keeps in a bucket: their names, and how they are written and read.
//!
//! All lie under `narhaul/`, where no Nix client looks. Each begins with a line that says what it is
//! and in which version; a reader refuses versions that it does not know, since what it would take for
//! absent may be what keeps a path alive.
//!
//! | file | version | written by | read by |
//! |---|--:|---|---|
//! | `config` | 1 | sweep | sweep |
//! | `intents/<id>/closure`, `…/beat`, `…/ended` | 1 | copy; whoever puts narinfos back | sweep |
//! | `roots/<group>/<time>-<id>` | 1 | copy, when it has finished | sweep |
//! | `pins/<name>` | 1 | pin | sweep |
//! | `journal/<run>/index`, `…/text`, `…/doom-<n>` and markers | 1 | sweep | copy, sweep |
//! | `snapshot/<run>` | 1 | sweep | sweep |
//! | `lease` | 1 | sweep | sweep |
//! | `capabilities` | 1 | doctor | doctor |
//! | `doctor/<id>/<name>` | – | doctor, which removes them again | nobody |
//!
//! What a version does with files that only a newer one knows: `doctor/` is looked into by no sweep and
//! no copy, so what an examination that was killed has left there disturbs nobody; the next one removes
//! it after a day.
//!
//! Beside the files: the [durations](timing) of the protocol that they serve, and its
//! [states and steps](state).
//!
//! Pure: encode and decode only.

pub mod capabilities;
mod columns;
pub mod config;
pub mod doom;
pub mod file;
pub mod intent;
pub mod journal;
pub mod mark;
pub mod name;
mod packed;
pub mod pin;
pub mod properties;
pub mod retention;
pub mod root;
pub mod snapshot;
pub mod state;
#[cfg(test)]
mod tests;
pub mod timing;

pub use name::{IntentFile, IntentId, JournalFile, Name, PinName, RunId, ScratchFile};
pub use timing::Timing;
