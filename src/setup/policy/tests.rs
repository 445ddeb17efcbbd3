//! What the least policies are about, judged by the reader of policies that the embedded server has.

use super::*;
use crate::backend::policy::{Policy, Verdict};

fn identity(role: Role, prefix: &str) -> Policy {
    let text = to_json(&least(role, "b", prefix), &Form::Identity);
    Policy::of_key(&text).unwrap()
}

fn may(policy: &Policy, action: &str, key: &str) -> bool {
    policy.judge(&format!("s3:{action}"), &format!("arn:aws:s3:::b/{key}")) == Verdict::Allowed
}

const PART: &str = "3n58xw4373jp0ljirf06d8077j15pc4j";

#[test]
fn a_reader_sees_what_nix_reads_and_nothing_of_the_ledger() {
    let reader = identity(Role::Reader, "");
    for key in [
        &*format!("{PART}.narinfo"),
        &*format!("{PART}.ls"),
        "nar/a.nar.zst",
        "nix-cache-info",
        "log/x.drv",
        "debuginfo/x.debug",
        "realisations/sha256:x!out.doi",
        "build-trace-v2/x/out.doi",
    ] {
        assert!(may(&reader, "GetObject", key), "{key}");
        assert!(!may(&reader, "PutObject", key), "{key}");
    }
    for key in [
        "narhaul/config",
        "narhaul/pins/a.narinfo",
        "narhaul/journal/20261123T003000Z-k3f9/index",
        &format!("narhaul/roots/g/{PART}.narinfo"),
        &format!("other/{PART}.narinfo"),
        "letters.txt",
    ] {
        assert!(!may(&reader, "GetObject", key), "{key}");
    }
}

#[test]
fn a_writer_deletes_its_own_intents_only_and_a_sweeper_writes_no_bodies() {
    let writer = identity(Role::Writer, "a/b/");
    assert!(may(&writer, "PutObject", "a/b/nar/x.nar.zst"));
    assert!(may(&writer, "DeleteObject", "a/b/narhaul/intents/x/beat"));
    for key in ["a/b/nar/x", "a/b/narhaul/roots/g/x", "a/b/nix-cache-info"] {
        assert!(!may(&writer, "DeleteObject", key), "{key}");
    }
    for key in [
        "nar/x",
        "a/nar/x",
        "a/b/narhaul/journal/x/index",
        "a/b/narhaul/config",
    ] {
        assert!(!may(&writer, "PutObject", key), "{key}");
    }
    let sweeper = identity(Role::Sweeper, "");
    assert!(!may(&sweeper, "PutObject", "nar/x"));
    assert!(!may(&sweeper, "PutObject", "nix-cache-info"));
    assert!(!may(&sweeper, "DeleteObject", "nix-cache-info"));
    assert!(!may(&sweeper, "DeleteObject", "letters.txt"));
    assert!(may(&sweeper, "PutObject", &format!("{PART}.narinfo")));
}

#[test]
fn both_forms_are_policies_of_their_kind() {
    insta::assert_snapshot!(
        to_json(&least(Role::Reader, "b", "p"), &Form::everybody()).lines().take(14).collect::<Vec<_>>().join("\n"),
        @r#"
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "NarhaulRead",
          "Effect": "Allow",
          "Principal": {
            "AWS": [
              "*"
            ]
          },
          "Action": [
            "s3:GetObject"
          ],
    "#
    );
    for role in Role::ALL {
        let statements = least(role, "b", "");
        assert!(Policy::of_key(&to_json(&statements, &Form::Identity)).is_ok());
        assert!(Policy::of_bucket(&to_json(&statements, &Form::everybody())).is_ok());
        let is_plain = |sid: &str| sid.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(statements.iter().all(|one| is_plain(&one.sid)));
    }
    let sid = |prefix| anonymous_read("b", prefix).sid;
    assert_eq!(sid("/"), "NarhaulAnonymousRead");
    assert_eq!(sid("a/b-Z"), "NarhaulAnonymousReadaZ2fbZ2dZ5a");
}

#[test]
fn a_policy_keeps_every_statement_that_is_not_ours() {
    let ours = anonymous_read("b", "");
    let Merged::Text(fresh) = merge(None, &ours).unwrap() else {
        panic!("nothing was there");
    };
    assert_eq!(merge(Some(&fresh), &ours).unwrap(), Merged::AlreadySo);
    let foreign = r#"{"Version": "2008-10-17", "Id": "x", "Statement":
        {"Sid": "theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}"#;
    let Merged::Text(merged) = merge(Some(foreign), &ours).unwrap() else {
        panic!("ours was not there");
    };
    let (merged, theirs): (Value, Value) = (
        serde_json::from_str(&merged).unwrap(),
        serde_json::from_str(foreign).unwrap(),
    );
    assert_eq!(merged["Statement"][0], theirs["Statement"]);
    assert_eq!(merged["Statement"][1]["Sid"], ours.sid);
    assert_eq!(
        (&merged["Version"], &merged["Id"]),
        (&theirs["Version"], &theirs["Id"])
    );
    assert_eq!(
        merge(Some(&merged.to_string()), &ours).unwrap(),
        Merged::AlreadySo
    );
}

#[test]
fn a_server_may_write_a_statement_in_its_own_way_but_not_another_one() {
    let mut ours = anonymous_read("b", "");
    ours.resources.truncate(1);
    let told = |resource: &str| {
        format!(
            r#"{{"Statement": [{{"Sid": "{}", "Effect": "Allow", "Principal": "*",
                "Action": "s3:GetObject", "Resource": "{resource}"}}]}}"#,
            ours.sid
        )
    };
    let same = told(&ours.resources[0]);
    assert_eq!(merge(Some(&same), &ours).unwrap(), Merged::AlreadySo);
    let other = told("arn:aws:s3:::b/*");
    assert_eq!(merge(Some(&other), &ours).unwrap(), Merged::Conflict);
    assert!(merge(Some("Priority: 40"), &ours).is_err());
    assert!(merge(Some(r#"{"Statement": 3}"#), &ours).is_err());
}
