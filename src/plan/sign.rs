//! What is to be done with the signatures of one path, and whether a client would trust them.
//!
//! In comes a narinfo with its text, and a [`Wish`]; out comes a [`Verdict`]: it is as wanted, it is to
//! have this text, or it is left alone and why. Signatures count only if they verify, so a wrong one
//! under the right name is no signature, and is neither dropped nor counted on.

use std::collections::BTreeSet;

use crate::nix::{
    narinfo::NarInfo,
    path_info::PathInfo,
    sig_lines::with_signatures,
    signature::{KeyName, PublicKey, SecretKey, Signature},
    store_path::StoreDir,
};

/// Which signatures are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    add: Vec<(SecretKey, PublicKey)>,
    drop: BTreeSet<KeyName>,
    vouchers: Option<Vec<PublicKey>>,
    allow_unsigned: bool,
}

/// What is to be done with a narinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is as wanted.
    AsWanted,
    /// It gets this text.
    Rewrite(String),
    /// Nothing, though it is not as wanted.
    Leave(Unwilling),
}

/// Why a narinfo that is not as wanted is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwilling {
    /// Nobody could trust it afterwards.
    #[error("it would have no signature left, and is not content-addressed")]
    LastSignature,
    /// None of those has signed it who vouch for what is signed.
    #[error("none of the trusted keys has signed it")]
    NotVouched,
}

/// Whether a client with certain keys would trust a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// One of the keys has signed it.
    Signed,
    /// None has, and none is needed.
    ContentAddressed,
    /// It has a signature in the name of one of the keys, which does not verify.
    Forged,
    /// Others have signed it.
    OtherKeys,
    /// Nobody has signed it.
    Unsigned,
}

impl Trust {
    /// Returns whether a client would take it.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        matches!(self, Self::Signed | Self::ContentAddressed)
    }
}

impl Wish {
    /// Wishes for nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds signatures of these keys.
    #[must_use]
    pub fn adding(mut self, keys: impl IntoIterator<Item = SecretKey>) -> Self {
        let pairs = keys.into_iter().map(|key| {
            let public = key.to_public();
            (key, public)
        });
        self.add.extend(pairs);
        self
    }

    /// Takes away signatures in these names, but for those by the keys that are added.
    #[must_use]
    pub fn dropping(mut self, names: impl IntoIterator<Item = KeyName>) -> Self {
        self.drop.extend(names);
        self
    }

    /// Signs only what one of these keys has signed.
    #[must_use]
    pub fn vouched_by(mut self, keys: Vec<PublicKey>) -> Self {
        self.vouchers = Some(keys);
        self
    }

    /// Lets paths go without any signature.
    #[must_use]
    pub const fn allow_unsigned(mut self, is_allowed: bool) -> Self {
        self.allow_unsigned = is_allowed;
        self
    }

    /// Returns whether nothing would ever change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.drop.is_empty()
    }

    /// Returns the names that are to go, whoever has signed in them.
    #[must_use]
    pub const fn unwanted(&self) -> &BTreeSet<KeyName> {
        &self.drop
    }

    /// Decides what is to be done with a narinfo, whose text is `text`.
    #[must_use]
    pub fn judge(&self, store_dir: &StoreDir, narinfo: &NarInfo, text: &str) -> Verdict {
        let info = &narinfo.path_info;
        let fingerprint = info.fingerprint(store_dir);
        let is_by = |key: &PublicKey| {
            let mut signatures = info.signatures.iter();
            signatures.any(|signature| key.has_signed(&fingerprint, signature))
        };
        let missing = self.add.iter().filter(|(_, public)| !is_by(public));
        let new: BTreeSet<Signature> = missing.map(|(key, _)| key.sign(&fingerprint)).collect();
        let is_unwanted = |signature: &Signature| {
            self.drop.contains(signature.key_name())
                && !self
                    .add
                    .iter()
                    .any(|(_, public)| public.has_signed(&fingerprint, signature))
        };
        let n_unwanted = info
            .signatures
            .iter()
            .filter(|sig| is_unwanted(sig))
            .count();
        if new.is_empty() && n_unwanted == 0 {
            return Verdict::AsWanted;
        }
        let is_vouched = |keys: &Vec<PublicKey>| keys.iter().any(is_by);
        if !new.is_empty() && !self.vouchers.as_ref().is_none_or(is_vouched) {
            return Verdict::Leave(Unwilling::NotVouched);
        }
        let n_left = info.signatures.len() - n_unwanted + new.len();
        if n_left == 0 && info.ca.is_none() && !self.allow_unsigned {
            return Verdict::Leave(Unwilling::LastSignature);
        }
        Verdict::Rewrite(with_signatures(text, is_unwanted, new))
    }
}

/// Says whether a client that trusts `keys` would trust a path.
#[must_use]
pub fn trust(store_dir: &StoreDir, info: &PathInfo, keys: &[PublicKey]) -> Trust {
    let fingerprint = info.fingerprint(store_dir);
    let by = |key: &PublicKey, signature: &Signature| key.has_signed(&fingerprint, signature);
    let mut signatures = info.signatures.iter();
    if signatures.any(|signature| keys.iter().any(|key| by(key, signature))) {
        return Trust::Signed;
    }
    if info.ca.is_some() {
        return Trust::ContentAddressed;
    }
    let is_named =
        |signature: &Signature| keys.iter().any(|key| key.name() == signature.key_name());
    if info.signatures.iter().any(is_named) {
        Trust::Forged
    } else if info.signatures.is_empty() {
        Trust::Unsigned
    } else {
        Trust::OtherKeys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../tests/vectors/narinfo/2.34-xz-top.narinfo");
    const ADDED: &str = include_str!("../../tests/vectors/narinfo/2.34-xz-add.narinfo");

    fn parse(text: &str) -> NarInfo {
        NarInfo::parse(&StoreDir::default(), text).unwrap()
    }

    fn key(name: &str) -> SecretKey {
        let seed = name.bytes().fold(0, u8::wrapping_add);
        SecretKey::from_seed(name.parse().unwrap(), [seed; 32])
    }

    fn judge(wish: &Wish, text: &str) -> Verdict {
        wish.judge(&StoreDir::default(), &parse(text), text)
    }

    fn rewritten(wish: &Wish, text: &str) -> String {
        match judge(wish, text) {
            Verdict::Rewrite(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn trust_of(text: &str, keys: &[PublicKey]) -> Trust {
        trust(&StoreDir::default(), &parse(text).path_info, keys)
    }

    fn names() -> Vec<KeyName> {
        let signatures = parse(TEXT).path_info.signatures;
        signatures
            .iter()
            .map(|sig| sig.key_name().clone())
            .collect()
    }

    #[test]
    fn a_rotation_changes_a_narinfo_once() {
        let wish = Wish::nothing().adding([key("new-1")]).dropping(names());
        let new = rewritten(&wish, TEXT);
        let signatures = parse(&new).path_info.signatures;
        assert_eq!(signatures.len(), 1);
        assert_eq!(trust_of(&new, &[key("new-1").to_public()]), Trust::Signed);
        assert_eq!(judge(&wish, &new), Verdict::AsWanted);
        let back = Wish::nothing().dropping(["new-1".parse().unwrap()]);
        assert_eq!(judge(&back, &new), Verdict::Leave(Unwilling::LastSignature));
        let bare = rewritten(&back.clone().allow_unsigned(true), &new);
        assert_eq!(trust_of(&bare, &[]), Trust::Unsigned);
    }

    #[test]
    fn a_content_addressed_path_needs_no_signature() {
        let signed = rewritten(&Wish::nothing().adding([key("new-1")]), ADDED);
        let wish = Wish::nothing().dropping(["new-1".parse().unwrap()]);
        assert_eq!(rewritten(&wish, &signed), ADDED);
        assert_eq!(trust_of(ADDED, &[]), Trust::ContentAddressed);
    }

    #[test]
    fn a_wrong_signature_in_the_name_of_a_key_is_none() {
        let other = SecretKey::from_seed("new-1".parse().unwrap(), [9; 32]);
        let wrong = rewritten(&Wish::nothing().adding([other.clone()]), TEXT);
        let keys = [key("new-1").to_public()];
        assert_eq!(trust_of(&wrong, &keys), Trust::Forged);
        let both = rewritten(&Wish::nothing().adding([key("new-1")]), &wrong);
        assert_eq!(trust_of(&both, &keys), Trust::Signed);
        assert_eq!(trust_of(&both, &[other.to_public()]), Trust::Signed);
        // A key that is replaced under its old name.
        let wish = Wish::nothing()
            .adding([key("new-1")])
            .dropping(["new-1".parse().unwrap()]);
        let renewed = rewritten(&wish, &wrong);
        assert_eq!(trust_of(&renewed, &[other.to_public()]), Trust::Forged);
        assert_eq!(judge(&wish, &renewed), Verdict::AsWanted);
    }

    #[test]
    fn only_what_a_trusted_key_has_signed_is_signed_where_that_is_asked() {
        let old = rewritten(&Wish::nothing().adding([key("old-1")]), TEXT);
        let wish = Wish::nothing()
            .adding([key("new-1")])
            .dropping(["old-1".parse().unwrap()])
            .vouched_by(vec![key("old-1").to_public()]);
        assert_eq!(judge(&wish, TEXT), Verdict::Leave(Unwilling::NotVouched));
        let new = rewritten(&wish, &old);
        assert_eq!(
            judge(&wish, &new),
            Verdict::AsWanted,
            "nothing to vouch for"
        );
        assert_eq!(
            trust_of(TEXT, &[key("old-1").to_public()]),
            Trust::OtherKeys
        );
    }
}
