//! Signing again changes signatures and nothing else:
//!
//! 1. Without its `Sig` lines the new text is the old one, byte for byte.
//! 2. The new text is a narinfo of the same path.

use super::Broken;
use crate::nix::{narinfo::NarInfo, store_path::StoreDir};

/// Judges the text that a narinfo is to get.
pub fn rewrite(
    store_dir: &StoreDir,
    old: &NarInfo,
    old_text: &str,
    new_text: &str,
) -> Result<(), Broken> {
    let broken = || Broken::Rewritten(old.path_info.path.clone());
    if unsigned(old_text) != unsigned(new_text) {
        return Err(broken());
    }
    match NarInfo::parse(store_dir, new_text) {
        Ok(new) if new.path_info.path == old.path_info.path => Ok(()),
        Ok(_) | Err(_) => Err(broken()),
    }
}

/// Returns a text's lines but for its signatures.
fn unsigned(text: &str) -> Vec<&str> {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("Sig:")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_anything_but_a_signature_is_noticed() {
        let old = include_str!("../../../tests/vectors/narinfo/2.34-xz-top.narinfo");
        let dir = StoreDir::default();
        let narinfo = NarInfo::parse(&dir, old).unwrap();
        let judge = |new: &str| rewrite(&dir, &narinfo, old, new);
        let first = old.lines().find(|line| line.starts_with("Sig: ")).unwrap();
        assert_eq!(judge(&old.replace(&format!("{first}\n"), "")), Ok(()));
        assert_eq!(judge(old), Ok(()));
        for (from, to) in [("NarSize: 744", "NarSize: 745"), ("URL: ", "URL:  ")] {
            assert!(judge(&old.replace(from, to)).is_err(), "{to}");
        }
        assert!(judge(&format!("{old}Sig: x\n")).is_err());
        assert!(judge(&format!("{old}CA: \n")).is_err());
    }
}
