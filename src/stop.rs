//! "Please end": one token that is handed down to whatever takes long.
//!
//! Engines look at it between items. When it is set, requests for bodies are dropped, writes of
//! narinfos under way are awaited, and the run ends with its cache closed. The face sets it on Ctrl-C.

use tokio_util::sync::CancellationToken;

/// Whether the run should end. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks everything that holds a clone to end.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Returns whether the end was asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}
