//! What a bucket in memory was told as a whole: its policy, its rule for unfinished uploads, whether it
//! is a website. Nothing here is enforced; the embedded server reads the policy and does that.

use super::{Memory, versions};
use crate::backend::{Change, Known};

/// What a bucket was told as a whole.
#[derive(Debug, Default)]
pub(super) struct Admin {
    policy: Option<String>,
    is_website: bool,
}

impl Memory {
    /// Returns the policy that the bucket was given. Not logged.
    #[must_use]
    pub fn bucket_policy(&self) -> Option<String> {
        self.lock().admin.policy.clone()
    }

    /// Gives the bucket a policy, or takes it away. Not logged.
    pub fn set_bucket_policy(&self, policy: Option<String>) {
        self.lock().admin.policy = policy;
    }

    pub(super) fn told_policy(&self) -> Known<Option<String>> {
        if self.modes().settable.policy {
            Known::Told(self.bucket_policy())
        } else {
            Known::Unsupported
        }
    }

    pub(super) fn take_policy(&self, policy: &str) -> Change {
        if !self.modes().settable.policy {
            return lacking("policies");
        }
        self.set_bucket_policy(Some(policy.to_owned()));
        Change::Made
    }

    pub(super) fn take_upload_rule(&self, days: u32) -> Change {
        if !self.modes().settable.upload_rule {
            return lacking("such rules");
        }
        let mut state = self.lock();
        let usual = || versions::rules(self.modes());
        let rules = state.rules.get_or_insert_with(usual);
        match &mut rules.lifecycle {
            Known::Denied => Change::Denied("AccessDenied".to_owned()),
            Known::Unsupported => lacking("rules"),
            Known::Told(lifecycle) => {
                if lifecycle
                    .abort_uploads_after
                    .is_some_and(|told| told <= days)
                {
                    return Change::AlreadySo;
                }
                lifecycle.abort_uploads_after = Some(days);
                Change::Made
            }
        }
    }

    pub(super) fn told_website(&self) -> Known<bool> {
        if self.modes().settable.website {
            Known::Told(self.lock().admin.is_website)
        } else {
            Known::Unsupported
        }
    }

    pub(super) fn become_website(&self) -> Change {
        if !self.modes().settable.website {
            return lacking("websites");
        }
        let was_website = std::mem::replace(&mut self.lock().admin.is_website, true);
        if was_website {
            Change::AlreadySo
        } else {
            Change::Made
        }
    }
}

fn lacking(what: &str) -> Change {
    Change::Unsupported(format!("NotImplemented: no {what} in this mode"))
}
