//! Signatures put into and taken out of a narinfo's text, and not one other byte touched.
//!
//! A narinfo that is signed again is somebody's published text: fields that nobody here knows, an order
//! of its own, blanks at the ends of lines all stay. So this cuts and pastes lines; what a narinfo means
//! is [`narinfo`](super::narinfo)'s. The text must be one that parses there.

use crate::nix::signature::Signature;

/// How such a line begins.
const SIG: &str = "Sig: ";

/// Returns the text without the signatures for which `is_unwanted` holds, and with those of `new`.
///
/// A new line goes before the first `Sig` that is greater, or behind the last; where there is none
/// before the `CA`, which Nix writes last, or to the end. What Nix has sorted stays sorted.
#[must_use]
pub fn with_signatures(
    text: &str,
    is_unwanted: impl Fn(&Signature) -> bool,
    new: impl IntoIterator<Item = Signature>,
) -> String {
    let is_kept = |line: &&str| !signature(line).is_some_and(|signature| is_unwanted(&signature));
    let mut lines: Vec<&str> = text.split_inclusive('\n').filter(is_kept).collect();
    let new: Vec<String> = new.into_iter().map(|sig| format!("{SIG}{sig}\n")).collect();
    for line in &new {
        if !lines.contains(&line.as_str()) {
            lines.insert(place(&lines, line), line);
        }
    }
    lines.concat()
}

/// Returns the signature that a line holds.
fn signature(line: &str) -> Option<Signature> {
    line.strip_prefix(SIG)?.strip_suffix('\n')?.parse().ok()
}

/// Returns where a new line belongs.
fn place(lines: &[&str], line: &str) -> usize {
    let is_sig = |at: &usize| lines[*at].starts_with(SIG);
    let mut sigs = (0..lines.len()).filter(is_sig);
    let greater = sigs
        .clone()
        .find(|&at| signature(lines[at]) > signature(line));
    let behind = || sigs.next_back().map(|at| at + 1);
    let before_ca = || lines.iter().position(|line| line.starts_with("CA: "));
    greater
        .or_else(behind)
        .or_else(before_ca)
        .unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sig(name: &str, byte: u8) -> Signature {
        let digits = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [byte; 64]);
        format!("{name}:{digits}").parse().unwrap()
    }

    const HEAD: &str = "StorePath: x\nURL: nar/x \nNovelty: 1 2\nReferences: \n";

    fn text(sigs: &[Signature], tail: &str) -> String {
        let sigs: String = sigs.iter().map(|sig| format!("Sig: {sig}\n")).collect();
        format!("{HEAD}{sigs}{tail}")
    }

    #[test]
    fn a_signature_is_added_where_nix_would_have_sorted_it() {
        let (a, b, c) = (sig("a-1", 1), sig("b-1", 2), sig("c-1", 3));
        let ca = "CA: fixed:r:sha256:x\n";
        for tail in ["", ca] {
            let add = |sigs: &[Signature], new: &Signature| {
                with_signatures(&text(sigs, tail), |_| false, [new.clone()])
            };
            assert_eq!(add(&[], &b), text(std::slice::from_ref(&b), tail));
            assert_eq!(
                add(std::slice::from_ref(&a), &b),
                text(&[a.clone(), b.clone()], tail)
            );
            assert_eq!(
                add(std::slice::from_ref(&b), &a),
                text(&[a.clone(), b.clone()], tail)
            );
            let both = [a.clone(), c.clone()];
            assert_eq!(
                add(&both, &b),
                text(&[a.clone(), b.clone(), c.clone()], tail)
            );
            assert_eq!(add(&both, &a), text(&both, tail), "it is there");
        }
    }

    #[test]
    fn what_is_unwanted_goes_and_all_else_stays_as_it_was() {
        let (a, b) = (sig("a-1", 1), sig("b-1", 2));
        let old = text(&[b.clone(), a.clone()], "Novelty: 3\n");
        let rotated = with_signatures(&old, |sig| *sig == b, [sig("c-1", 3)]);
        assert_eq!(rotated, text(&[a, sig("c-1", 3)], "Novelty: 3\n"));
        assert_eq!(with_signatures(&old, |_| false, []), old);
    }

    #[test]
    fn narinfos_of_real_nix_stay_as_they_are_but_for_the_new_line() {
        let old = include_str!("../../tests/vectors/narinfo/2.34-xz-top.narinfo");
        let new = with_signatures(old, |_| false, [sig("a-new", 9)]);
        let line = format!("Sig: {}\n", sig("a-new", 9));
        assert_eq!(new.replace(&line, ""), old);
        let back = with_signatures(&new, |found| *found == sig("a-new", 9), []);
        assert_eq!(back, old);
    }
}
