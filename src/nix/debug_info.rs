//! Where debugging symbols lie: one small file for each build id, as `index-debug-info` asks for.
//!
//! A path that holds `lib/debug/.build-id/<2 digits>/<38 digits>.debug` gives `debuginfo/<40 digits>.debug`
//! with the JSON `{"archive":"../nar/…","member":"lib/debug/.build-id/…"}`, so that a debugger's server
//! (dwarffs, nixseparatedebuginfod) finds the NAR of a build id. Digits are hexadecimal, in lower case;
//! anything else in that folder is passed over, as Nix does.
//!
//! In comes a NAR's listing; out go keys and texts.

use crate::nix::{
    nar::listing::{Listing, Node},
    object_key::ObjectKey,
};

/// The folder in a path that holds them.
const FOLDER: [&[u8]; 3] = [b"lib", b"debug", b".build-id"];

/// A file of debugging symbols in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugFile {
    /// The first two digits of its build id.
    head: String,
    /// The other 38, and `.debug`.
    tail: String,
}

impl DebugFile {
    /// Returns where it is looked up.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::debug_info(&self.head, &self.tail)
    }

    /// Returns what is found there, where the path's body is `body`.
    #[must_use]
    pub fn to_json(&self, body: &ObjectKey) -> String {
        let Self { head, tail } = self;
        // No field has a character that JSON escapes, but a body's key may come from elsewhere.
        serde_json::json!({
            "archive": format!("../{body}"),
            "member": format!("lib/debug/.build-id/{head}/{tail}"),
        })
        .to_string()
    }
}

/// Returns the files of debugging symbols in a path, in the order of their build ids.
#[must_use]
pub fn debug_files(listing: &Listing) -> Vec<DebugFile> {
    let mut folder = &listing.root;
    for name in FOLDER {
        let Node::Directory { entries } = folder else {
            return Vec::new();
        };
        let Some(inner) = entries.get(name) else {
            return Vec::new();
        };
        folder = inner;
    }
    let mut found = Vec::new();
    for (head, node) in entries(folder) {
        let Some(head) = digits(head, 2) else {
            continue;
        };
        for (name, node) in entries(node) {
            let stem = name.strip_suffix(b".debug");
            let is_regular = matches!(node, Node::Regular { .. });
            if let Some(stem) = stem.and_then(|stem| digits(stem, 38))
                && is_regular
            {
                found.push(DebugFile {
                    head: head.to_owned(),
                    tail: format!("{stem}.debug"),
                });
            }
        }
    }
    found
}

/// Returns what a directory holds; nothing if it is none.
fn entries(node: &Node) -> impl Iterator<Item = (&[u8], &Node)> {
    let entries = match node {
        Node::Directory { entries } => Some(entries),
        Node::Regular { .. } | Node::Symlink { .. } => None,
    };
    let entries = entries.into_iter().flatten();
    entries.map(|(name, node)| (name.as_slice(), node))
}

/// Returns a name of so many digits as text.
fn digits(name: &[u8], n_digits: usize) -> Option<&str> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if name.len() == n_digits && name.iter().all(is_digit) {
        str::from_utf8(name).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "0123456789abcdef0123456789abcdef012345";

    fn listing(build_ids: &str) -> Listing {
        let json = format!(
            r#"{{"version":1,"root":{{"type":"directory","entries":{{"lib":{{"type":"directory","entries":{{"debug":
            {{"type":"directory","entries":{{".build-id":{build_ids}}}}}}}}}}}}}}}"#
        );
        Listing::parse(&json).unwrap()
    }

    fn folder(entries: &str) -> String {
        format!(r#"{{"type":"directory","entries":{{{entries}}}}}"#)
    }

    const FILE: &str = r#"{"type":"regular","size":3}"#;

    #[test]
    fn a_build_id_is_indexed_as_nix_does_it() {
        let files = folder(&format!(r#""{TAIL}.debug":{FILE}"#));
        let found = debug_files(&listing(&folder(&format!(r#""ab":{files}"#))));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key().as_str(), format!("debuginfo/ab{TAIL}.debug"));
        let body = ObjectKey::parse("nar/x.nar.zst").unwrap();
        assert_eq!(
            found[0].to_json(&body),
            format!(
                r#"{{"archive":"../nar/x.nar.zst","member":"lib/debug/.build-id/ab/{TAIL}.debug"}}"#
            )
        );
    }

    #[test]
    fn what_is_no_build_id_is_passed_over() {
        let link = r#"{"type":"symlink","target":"../../../bin/x"}"#;
        let files = folder(&format!(
            r#""{TAIL}":{FILE},"{TAIL}.debug":{link},"0{TAIL}.debug":{FILE},"{}.debug":{FILE}"#,
            TAIL.to_uppercase()
        ));
        let build_ids = folder(&format!(r#""ab":{files},"abc":{files},"cd":{FILE}"#));
        assert_eq!(debug_files(&listing(&build_ids)), []);
        assert_eq!(debug_files(&listing(FILE)), []);
        let root = Listing::parse(&format!(r#"{{"version":1,"root":{FILE}}}"#)).unwrap();
        assert_eq!(debug_files(&root), []);
    }
}
