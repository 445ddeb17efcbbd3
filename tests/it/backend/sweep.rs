//! The cases of the suite that a sweep relies on: ranges, fences, rules, and versions.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use narhaul::{
    backend::{Fence, Kind, Known, ListQuery, PutOptions, Versioning},
    clock::Clock,
};

use super::Case;

pub(super) async fn a_part_of_an_object_is_exactly_what_was_asked_for(case: &Case<'_>) {
    case.put("a", "0123456789").await;
    let part = async |range| case.backend.get_range(&case.key("a"), range).await;
    assert_eq!(part(0..10).await.unwrap(), "0123456789");
    assert_eq!(part(3..5).await.unwrap(), "34");
    assert_eq!(part(9..10).await.unwrap(), "9");
    assert_eq!(part(4..4).await.unwrap(), "");
    for beyond in [5..11, 10..11, 20..30] {
        let error = part(beyond.clone()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Other, "{beyond:?}: {error}");
    }
    let missing = case.backend.get_range(&case.key("b"), 0..1).await;
    assert_eq!(missing.unwrap_err().kind, Kind::NotFound);
}

pub(super) async fn behind_its_fence_nothing_is_written_or_deleted(case: &Case<'_>) {
    let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
    let fence = Fence::new(clock.clone(), Duration::from_secs(10));
    let (a, b) = (case.key("a"), case.key("b"));
    let options = PutOptions {
        fence: Some(fence.clone()),
        ..PutOptions::default()
    };
    let put = async |key, body| case.backend.put(key, Bytes::from(body), &options).await;
    put(&a, "first").await.unwrap();
    put(&b, "x").await.unwrap();
    let gone = case.backend.delete(std::slice::from_ref(&b), Some(&fence));
    assert_eq!(gone.await.unwrap(), []);
    clock.turn(Duration::from_secs(10));
    assert_eq!(put(&a, "second").await.unwrap_err().kind, Kind::TooLate);
    assert_eq!(put(&b, "new").await.unwrap_err().kind, Kind::TooLate);
    let keys: Vec<_> = std::iter::repeat_n(a, 1500).collect();
    let refused = case.backend.delete(&keys, Some(&fence)).await;
    assert_eq!(refused.unwrap_err().kind, Kind::TooLate);
    assert_eq!(case.names("").await, ["a"]);
    assert_eq!(case.read("a").await, "first");
    assert_eq!(fence.doubted(), None);
}

pub(super) async fn what_the_bucket_does_by_itself_is_told(case: &Case<'_>) {
    let rules = case.backend.rules().await.unwrap();
    if let Some(lifecycle) = rules.lifecycle.told() {
        assert_eq!(lifecycle.expiries, [], "nobody has set any");
    }
    if let Some(versioning) = rules.versioning.told() {
        assert_eq!(*versioning == Versioning::On, case.traits.keeps_versions);
    }
    assert_ne!(rules.has_object_lock, Known::Told(true));
}

pub(super) async fn what_was_deleted_is_visible_again_where_versions_are_kept(case: &Case<'_>) {
    let (key, never) = (case.key("a"), case.key("ab"));
    case.put("a", "first").await;
    case.put("a", "second").await;
    let keys = std::slice::from_ref(&key);
    for _ in 0..2 {
        // Deleting what is deleted puts a second marker on top of the first.
        assert_eq!(case.backend.delete(keys, None).await.unwrap(), []);
    }
    assert_eq!(case.names("").await, [""; 0]);
    let undone = case.backend.undelete(&key).await;
    if !case.traits.keeps_versions {
        // A server that could keep versions finds none; one that could not says so.
        let told = undone.unwrap_or_else(|error| {
            assert_eq!(error.kind, Kind::Unsupported);
            false
        });
        assert!(!told && case.names("").await.is_empty());
        return;
    }
    assert!(undone.unwrap());
    assert_eq!(case.read("a").await, "second");
    assert!(!case.backend.undelete(&key).await.unwrap(), "it is visible");
    assert!(
        !case.backend.undelete(&never).await.unwrap(),
        "it was never there"
    );
}

pub(super) async fn a_listing_begins_behind_a_name(case: &Case<'_>) {
    for name in ["a", "b", "b/1", "b/2", "bb", "c/1", "d"] {
        if name != "b" {
            case.put(name, "").await;
        }
    }
    let behind = async |name: &str, is_shallow| {
        let mut query = ListQuery {
            prefix: case.prefix.clone(),
            is_shallow,
            start_after: Some(format!("{}{name}", case.prefix)),
            token: None,
        };
        let own = |name: &str| name[case.prefix.len()..].to_owned();
        let mut names = Vec::new();
        loop {
            let page = case.backend.list(&query).await.unwrap();
            names.extend(page.objects.iter().map(|(key, _)| own(key.as_str())));
            names.extend(page.folders.iter().map(|folder| own(folder)));
            query.token = page.token;
            if query.token.is_none() {
                names.sort();
                return names;
            }
        }
    };
    assert_eq!(behind("a", false).await, ["b/1", "b/2", "bb", "c/1", "d"]);
    assert_eq!(behind("b/1", false).await, ["b/2", "bb", "c/1", "d"]);
    // The name need not be there.
    assert_eq!(behind("b", true).await, ["b/", "bb", "c/", "d"]);
    assert_eq!(behind("bbbb", true).await, ["c/", "d"]);
    assert_eq!(behind("z", true).await, [""; 0]);
}
