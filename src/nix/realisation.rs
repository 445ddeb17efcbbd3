//! Realisations: which store path an output of a content-addressed derivation has become.
//!
//! There are two forms. Nix up to 2.34 names the output by a hash of the derivation and keeps it as
//! `realisations/<hash>!<output>.doi`; Nix from 2.35 on names the derivation itself and keeps it as
//! `build-trace-v2/<derivation>/<output>.doi`. Neither can be made of the other, so a realisation keeps
//! the form in which its store had it. All of this is experimental in Nix (`ca-derivations`).
//!
//! Signatures are over the realisation and not over a path; they are passed on and not made here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::nix::{
    object_key::{InvalidKey, ObjectKey},
    signature::Signature,
    store_path::StorePath,
};

/// What an output of a derivation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realisation {
    /// The output.
    pub of: Output,
    /// The path that it has become.
    pub out_path: StorePath,
    /// Who says so.
    pub signatures: BTreeSet<Signature>,
}

/// An output of a derivation, as one of the two forms names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Up to 2.34.
    Hashed {
        /// `sha256:<digits>!<output>`.
        id: String,
        /// The outputs that this one refers to, and what they are.
        dependents: BTreeMap<String, StorePath>,
    },
    /// From 2.35 on.
    Named {
        /// The derivation.
        derivation: StorePath,
        /// The output's name.
        output: String,
    },
}

impl Realisation {
    /// Returns where a cache keeps it.
    ///
    /// # Errors
    ///
    /// If the output has a name that no object can have.
    pub fn key(&self) -> Result<ObjectKey, InvalidKey> {
        let (folder, name) = match &self.of {
            Output::Hashed { id, .. } => ("realisations", id.clone()),
            Output::Named { derivation, output } => {
                ("build-trace-v2", format!("{derivation}/{output}"))
            }
        };
        ObjectKey::parse(&format!("{folder}/{name}.doi"))
    }

    /// Returns the text of the file.
    #[must_use]
    pub fn to_json(&self) -> String {
        let out_path = self.out_path.to_string();
        match &self.of {
            Output::Hashed { id, dependents } => {
                let dependents: BTreeMap<_, _> = dependents
                    .iter()
                    .map(|(id, path)| (id, path.to_string()))
                    .collect();
                let signatures: Vec<_> = self.signatures.iter().map(Signature::to_string).collect();
                json!({
                    "dependentRealisations": dependents,
                    "id": id,
                    "outPath": out_path,
                    "signatures": signatures,
                })
            }
            Output::Named { .. } => {
                let signatures: Vec<_> = self.signatures.iter().map(as_object).collect();
                json!({ "outPath": out_path, "signatures": signatures })
            }
        }
        .to_string()
    }

    /// Adds the signatures of the same realisation as a cache has it; of another path's, none.
    pub fn add_signatures_of(&mut self, text: &str) {
        let Ok(theirs) = serde_json::from_str::<Value>(text) else {
            return;
        };
        if theirs["outPath"].as_str() != Some(&self.out_path.to_string()) {
            return;
        }
        let signatures = theirs["signatures"].as_array().into_iter().flatten();
        self.signatures.extend(signatures.filter_map(signature));
    }
}

fn as_object(signature: &Signature) -> Value {
    let text = signature.to_string();
    let (name, digits) = text.split_once(':').unwrap_or((&text, ""));
    json!({ "keyName": name, "sig": digits })
}

/// Reads a signature in either form.
fn signature(value: &Value) -> Option<Signature> {
    match value.as_str() {
        Some(text) => text.parse().ok(),
        None => {
            let (name, digits) = (value["keyName"].as_str()?, value["sig"].as_str()?);
            format!("{name}:{digits}").parse().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::signature::SecretKey;

    fn path(name: &str) -> StorePath {
        format!("00bgd045z0d4icpbc2yyz4gx48ak44la-{name}")
            .parse()
            .unwrap()
    }

    fn signed_by(name: &str) -> Signature {
        SecretKey::from_seed(name.parse().unwrap(), [7; 32]).sign("x")
    }

    #[test]
    fn the_older_form_is_nix_s() {
        let mut one = Realisation {
            of: Output::Hashed {
                id: "sha256:12ab!out".to_owned(),
                dependents: [("sha256:34cd!lib".to_owned(), path("lib"))].into(),
            },
            out_path: path("x"),
            signatures: BTreeSet::new(),
        };
        assert_eq!(
            one.key().unwrap().as_str(),
            "realisations/sha256:12ab!out.doi"
        );
        assert_eq!(
            one.to_json(),
            r#"{"dependentRealisations":{"sha256:34cd!lib":"00bgd045z0d4icpbc2yyz4gx48ak44la-lib"},"id":"sha256:12ab!out","outPath":"00bgd045z0d4icpbc2yyz4gx48ak44la-x","signatures":[]}"#
        );
        let mut theirs = one.clone();
        theirs.signatures.insert(signed_by("them"));
        one.signatures.insert(signed_by("us"));
        one.add_signatures_of(&theirs.to_json());
        assert_eq!(one.signatures, [signed_by("us"), signed_by("them")].into());
    }

    #[test]
    fn the_newer_form_is_nix_s() {
        let mut one = Realisation {
            of: Output::Named {
                derivation: path("x.drv"),
                output: "out".to_owned(),
            },
            out_path: path("x"),
            signatures: BTreeSet::new(),
        };
        assert_eq!(
            one.key().unwrap().as_str(),
            "build-trace-v2/00bgd045z0d4icpbc2yyz4gx48ak44la-x.drv/out.doi"
        );
        let mut theirs = one.clone();
        theirs.signatures.insert(signed_by("them"));
        assert!(theirs.to_json().starts_with(
            r#"{"outPath":"00bgd045z0d4icpbc2yyz4gx48ak44la-x","signatures":[{"keyName":"them","sig":""#
        ));
        one.add_signatures_of(&theirs.to_json());
        assert_eq!(one, theirs);
        theirs.out_path = path("y");
        theirs.signatures.insert(signed_by("others"));
        one.add_signatures_of(&theirs.to_json());
        assert_eq!(one.signatures.len(), 1);
    }
}
