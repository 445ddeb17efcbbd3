//! What a back end owes whose keeper copies objects by itself, and what one owes that does not.

use bytes::Bytes;
use narhaul::{
    backend::{Kind, Origin, PutOptions},
    nix::object_key::ObjectKey,
};

use super::Case;

impl Case<'_> {
    /// Names an object that is there, as its keeper finds it.
    async fn origin(&self, rest: &str) -> Option<Origin> {
        let key = self.key(rest);
        let meta = self.backend.head(&key).await.unwrap();
        self.backend.origin(&key, meta.etag.as_deref().unwrap())
    }

    async fn copy(&self, from: &Origin, to: &ObjectKey) -> Result<(), Kind> {
        let options = PutOptions {
            content_type: Some("text/x-copied".to_owned()),
            user: [("by".to_owned(), "its keeper".to_owned())].into(),
            ..PutOptions::default()
        };
        let copied = self.backend.copy(to, from, &options).await;
        copied.map_err(|error| error.kind)
    }
}

pub(super) async fn a_keeper_copies_whole_objects(case: &Case<'_>) {
    // Names that a header must have in other characters.
    for name in ["nar/x", "a+b c%20d/é", "empty"] {
        let body = if name == "empty" { "" } else { name };
        case.put(name, body).await;
        let Some(from) = case.origin(name).await else {
            assert!(!case.traits.copies);
            return;
        };
        assert!(case.traits.copies);
        let to = case.key("to");
        case.copy(&from, &to).await.unwrap();
        assert_eq!(case.read("to").await, body);
        assert_eq!(case.read(name).await, body);
        let meta = case.backend.head(&to).await.unwrap();
        assert_eq!(meta.size, body.len() as u64);
        if case.traits.keeps_user {
            assert_eq!(meta.user.get("by").map(String::as_str), Some("its keeper"));
        }
    }
}

pub(super) async fn a_keeper_copies_what_was_seen_and_nothing_else(case: &Case<'_>) {
    case.put("from", "first").await;
    let Some(from) = case.origin("from").await else {
        return;
    };
    let (to, upload_key) = (case.key("to"), case.key("parts"));
    let options = PutOptions::default();
    let upload = case
        .backend
        .begin_upload(&upload_key, &options)
        .await
        .unwrap();
    let part = async || {
        let copied = case.backend.copy_part(&upload, 1, &from, 0..5).await;
        copied.map_err(|error| error.kind)
    };
    case.put("from", "second").await;
    assert_eq!(case.copy(&from, &to).await, Err(Kind::Exists));
    assert_eq!(part().await, Err(Kind::Exists));
    let key = case.key("from");
    case.backend.delete(&[key], None).await.unwrap();
    assert_eq!(case.copy(&from, &to).await, Err(Kind::NotFound));
    assert_eq!(part().await, Err(Kind::NotFound));
    let elsewhere = Origin {
        keeper: narhaul::backend::Keeper {
            endpoint: "https://another.example.org".to_owned(),
            ..from.keeper.clone()
        },
        ..from.clone()
    };
    assert_eq!(case.copy(&elsewhere, &to).await, Err(Kind::Unsupported));
    case.backend.abort_upload(&upload).await.unwrap();
    assert_eq!(case.names("").await, [""; 0]);
}

pub(super) async fn parts_are_copied_by_their_keeper(case: &Case<'_>) {
    let body = Bytes::from([case.part(1), case.part(2), Bytes::from("the rest")].concat());
    case.put("from", body.clone()).await;
    let Some(from) = case.origin("from").await else {
        return;
    };
    let (backend, to) = (case.backend, case.key("to"));
    let options = PutOptions::default();
    let upload = backend.begin_upload(&to, &options).await.unwrap();
    let (cut, end) = (2 * case.part(1).len() as u64, body.len() as u64);
    let second = backend
        .copy_part(&upload, 2, &from, cut..end)
        .await
        .unwrap();
    let first = backend.copy_part(&upload, 1, &from, 0..cut).await.unwrap();
    assert_eq!((first.number, first.size), (1, cut));
    assert_eq!((second.number, second.size), (2, end - cut));
    backend
        .complete_upload(&upload, &[first, second])
        .await
        .unwrap();
    assert_eq!(case.read("to").await, body);
}
