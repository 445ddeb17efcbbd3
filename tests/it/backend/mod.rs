//! One conformance suite for every back end: what `backend::Backend` promises, case by case.
//!
//! [`conformance`] runs all cases, one after the other, over one back end; a new back end is one test
//! more, as in `local`. Each case works below a prefix of its own and empties it first, so the
//! suite can be run again over a real server that still holds the last run's objects.

mod copies;
mod local;
mod sweep;
mod web;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use narhaul::{
    backend::{Backend, Created, Kind, ListPage, ListQuery, Part, PutOptions},
    nix::object_key::ObjectKey,
};

use self::{
    copies::{
        a_keeper_copies_what_was_seen_and_nothing_else, a_keeper_copies_whole_objects,
        parts_are_copied_by_their_keeper,
    },
    sweep::{
        a_listing_begins_behind_a_name, a_part_of_an_object_is_exactly_what_was_asked_for,
        behind_its_fence_nothing_is_written_or_deleted, what_the_bucket_does_by_itself_is_told,
        what_was_deleted_is_visible_again_where_versions_are_kept,
    },
};

/// Puts an object behind the back end's back.
pub(crate) type Plant = Box<dyn Fn(&str) + Send + Sync>;

/// What a back end has beyond the contract.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a trait of its own, and none excludes another"
)]
pub(crate) struct Traits {
    /// Whether its keeper copies objects by itself.
    pub(crate) copies: bool,
    /// Whether metadata that a writer gives comes back.
    pub(crate) keeps_user: bool,
    /// Whether an unfinished upload can be had by its key.
    pub(crate) finds_uploads: bool,
    /// Whether what is deleted is kept below a marker.
    pub(crate) keeps_versions: bool,
    /// Whether a question mark in a name begins something else than a name.
    pub(crate) has_queries: bool,
    /// The same kind of back end where there is no bucket or folder.
    pub(crate) missing: Option<Arc<dyn Backend>>,
    /// Puts an object under a name that no key can have, here with a control character.
    pub(crate) plant: Option<Plant>,
}

struct Case<'a> {
    backend: &'a dyn Backend,
    traits: &'a Traits,
    /// Ends in a slash.
    prefix: String,
}

type Run = for<'a> fn(&'a Case<'a>) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), (|case| Box::pin($name(case))) as Run)),*]
    };
}

/// Holds a back end to the contract.
pub(crate) async fn conformance(backend: Arc<dyn Backend>, traits: Traits) {
    let cases = cases![
        what_was_put_is_what_is_read,
        a_second_put_replaces_the_first,
        an_empty_object_is_an_object,
        what_is_missing_is_not_found,
        strange_names_are_kept_apart,
        metadata_comes_back_where_it_is_kept,
        times_are_those_of_the_back_ends_clock,
        a_listing_is_in_the_order_of_bytes,
        a_listing_goes_on_where_its_page_ended,
        a_shallow_listing_folds_at_the_next_slash,
        a_prefix_need_not_end_at_a_slash,
        foreign_names_are_counted_and_skipped,
        deleting_what_is_missing_succeeds,
        more_than_a_thousand_keys_are_deleted_at_once,
        a_conditional_put_has_one_winner,
        what_has_changed_is_not_written_over,
        concurrent_puts_never_mix_their_bytes,
        parts_become_one_object_when_completed,
        the_last_part_sent_of_a_number_counts,
        completing_twice_leaves_the_object_as_it_is,
        aborting_twice_succeeds,
        uploads_are_found_by_their_key,
        a_part_of_an_object_is_exactly_what_was_asked_for,
        behind_its_fence_nothing_is_written_or_deleted,
        a_listing_begins_behind_a_name,
        what_the_bucket_does_by_itself_is_told,
        what_was_deleted_is_visible_again_where_versions_are_kept,
        a_keeper_copies_whole_objects,
        a_keeper_copies_what_was_seen_and_nothing_else,
        parts_are_copied_by_their_keeper,
        what_was_never_sent_cannot_be_completed,
        without_a_bucket_nothing_is_merely_not_found,
        making_what_is_there_changes_nothing,
    ];
    for (name, run) in cases {
        eprintln!("{}: {name}", backend.place());
        let case = Case {
            backend: &*backend,
            traits: &traits,
            prefix: format!("conformance/{name}/"),
        };
        case.empty().await;
        run(&case).await;
    }
}

impl Case<'_> {
    fn key(&self, rest: &str) -> ObjectKey {
        ObjectKey::parse(&format!("{}{rest}", self.prefix)).unwrap()
    }

    async fn put(&self, rest: &str, body: impl Into<Bytes>) {
        let options = PutOptions::default();
        self.backend
            .put(&self.key(rest), body.into(), &options)
            .await
            .unwrap();
    }

    async fn read(&self, rest: &str) -> Bytes {
        let object = self.backend.get(&self.key(rest)).await.unwrap();
        assert_eq!(object.meta.size, object.body.len() as u64);
        object.body
    }

    async fn pages(&self, rest: &str, is_shallow: bool) -> Vec<ListPage> {
        let prefix = format!("{}{rest}", self.prefix);
        let mut query = ListQuery {
            prefix,
            is_shallow,
            ..ListQuery::default()
        };
        let mut pages = Vec::new();
        loop {
            let page = self.backend.list(&query).await.unwrap();
            query.token = page.token.clone();
            pages.push(page);
            if query.token.is_none() {
                return pages;
            }
        }
    }

    /// Lists to the end; keys without this case's prefix.
    async fn names(&self, rest: &str) -> Vec<String> {
        let pages = self.pages(rest, false).await;
        let keys = pages.iter().flat_map(|page| &page.objects);
        keys.map(|(key, _)| key.as_str()[self.prefix.len()..].to_owned())
            .collect()
    }

    async fn empty(&self) {
        let names = self.names("").await;
        let keys: Vec<_> = names.iter().map(|name| self.key(name)).collect();
        if !keys.is_empty() {
            assert_eq!(self.backend.delete(&keys, None).await.unwrap(), []);
        }
    }

    /// A part that need not be the last.
    fn part(&self, byte: u8) -> Bytes {
        let size = usize::try_from(self.backend.limits().min_part_size.max(7)).unwrap();
        Bytes::from(vec![byte; size])
    }
}

async fn what_was_put_is_what_is_read(case: &Case<'_>) {
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    case.put("nar/x", body.clone()).await;
    assert_eq!(case.read("nar/x").await, body);
    let head = case.backend.head(&case.key("nar/x")).await.unwrap();
    assert_eq!(head.size, 400_000);
    let listed = &case.pages("", false).await[0].objects[0].1;
    assert_eq!(listed.size, 400_000);
    assert_eq!(
        listed.etag, head.etag,
        "a listing and a look tell the same entity tag"
    );
}

async fn a_second_put_replaces_the_first(case: &Case<'_>) {
    case.put("a", "a long first text").await;
    let first = case.backend.head(&case.key("a")).await.unwrap();
    case.put("a", "second").await;
    assert_eq!(case.read("a").await, "second");
    let second = case.backend.head(&case.key("a")).await.unwrap();
    assert_ne!(first.etag, second.etag);
    assert_eq!(case.names("").await, ["a"]);
}

async fn an_empty_object_is_an_object(case: &Case<'_>) {
    case.put("empty", "").await;
    assert_eq!(case.read("empty").await, "");
    assert_eq!(case.backend.head(&case.key("empty")).await.unwrap().size, 0);
    assert_eq!(case.names("").await, ["empty"]);
}

async fn what_is_missing_is_not_found(case: &Case<'_>) {
    case.put("a/b", "").await;
    // `a` and `a/b/c` lie where a folder has something else.
    for missing in ["x", "x/y", "a", "a/b/c"] {
        let key = case.key(missing);
        assert_eq!(
            case.backend.get(&key).await.unwrap_err().kind,
            Kind::NotFound,
            "{key}"
        );
        assert_eq!(
            case.backend.head(&key).await.unwrap_err().kind,
            Kind::NotFound,
            "{key}"
        );
    }
    assert_eq!(case.names("nothing/here/").await, [""; 0]);
}

async fn strange_names_are_kept_apart(case: &Case<'_>) {
    let mut names = vec![
        "sha256:abc!out.doi",
        "a+b",
        "a b",
        "a=b",
        "a?b",
        "a?b=c&d#e",
        "a%2Fb",
        "a%20b",
        "ümlaut→日本.narinfo",
        "~'()*,;@$[]{}|^`\"<>\\",
        "...",
        ".hidden",
        "UPPER",
        "upper",
    ];
    names.retain(|name| !(case.traits.has_queries && name.contains('?')));
    for name in &names {
        case.put(name, (*name).to_owned()).await;
    }
    for name in &names {
        assert_eq!(case.read(name).await, *name);
    }
    names.sort_unstable();
    assert_eq!(case.names("").await, names);
    let keys: Vec<_> = names.iter().map(|name| case.key(name)).collect();
    assert_eq!(case.backend.delete(&keys, None).await.unwrap(), []);
    assert_eq!(case.names("").await, [""; 0]);
}

async fn metadata_comes_back_where_it_is_kept(case: &Case<'_>) {
    let user: BTreeMap<_, _> = [("file-hash", "sha256:1/+="), ("n", "1 2")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let options = PutOptions {
        content_type: Some("text/x-nix-narinfo".to_owned()),
        cache_control: Some("public, max-age=31536000, immutable".to_owned()),
        user: user.clone(),
        ..PutOptions::default()
    };
    case.backend
        .put(&case.key("a"), Bytes::from("x"), &options)
        .await
        .unwrap();
    let upload = case
        .backend
        .begin_upload(&case.key("b"), &options)
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&upload, 1, Bytes::from("x"))
        .await
        .unwrap();
    case.backend
        .complete_upload(&upload, &[part])
        .await
        .unwrap();
    let wanted = if case.traits.keeps_user {
        user
    } else {
        BTreeMap::new()
    };
    for name in ["a", "b"] {
        assert_eq!(
            case.backend.head(&case.key(name)).await.unwrap().user,
            wanted
        );
        assert_eq!(
            case.backend.get(&case.key(name)).await.unwrap().meta.user,
            wanted
        );
    }
}

async fn times_are_those_of_the_back_ends_clock(case: &Case<'_>) {
    // Servers tell whole seconds in some answers, so a second to either side is no difference.
    let slack = Duration::from_secs(2);
    let before = case.backend.now().await.unwrap() - slack;
    case.put("a", "x").await;
    let after = case.backend.now().await.unwrap() + slack;
    let told = case
        .backend
        .head(&case.key("a"))
        .await
        .unwrap()
        .last_modified
        .unwrap();
    assert!(
        before <= told && told <= after,
        "{before:?} <= {told:?} <= {after:?}"
    );
    let listed = case.pages("", false).await[0].objects[0]
        .1
        .last_modified
        .unwrap();
    assert!(
        before <= listed && listed <= after,
        "{before:?} <= {listed:?} <= {after:?}"
    );
}

async fn a_listing_is_in_the_order_of_bytes(case: &Case<'_>) {
    // `-` and `.` are less than `/`, `0` is more: a folder's own order would be another.
    let names = ["A", "a-b", "a.c", "a/b", "a/c/d", "a0", "b/a", "z", "ä"];
    for name in names.iter().rev() {
        case.put(name, "").await;
    }
    assert_eq!(case.names("").await, names);
}

async fn a_listing_goes_on_where_its_page_ended(case: &Case<'_>) {
    let names: Vec<_> = (0..25).map(|n| format!("{}/{n:04}", n / 10)).collect();
    join_all(names.iter().map(|name| case.put(name, ""))).await;
    assert_eq!(case.names("").await, names);

    // What was deleted between two pages is no reason to lose the rest.
    let prefix = case.prefix.clone();
    let mut query = ListQuery {
        prefix,
        ..ListQuery::default()
    };
    let first = case.backend.list(&query).await.unwrap();
    let keys: Vec<_> = first.objects.iter().map(|(key, _)| key.clone()).collect();
    case.backend.delete(&keys, None).await.unwrap();
    query.token = first.token;
    let mut n_seen = keys.len();
    while query.token.is_some() {
        let page = case.backend.list(&query).await.unwrap();
        n_seen += page.objects.len();
        query.token = page.token;
    }
    assert_eq!(n_seen, names.len());
}

async fn a_shallow_listing_folds_at_the_next_slash(case: &Case<'_>) {
    let names = [
        "a",
        "nar-x",
        "nar/1",
        "nar/2",
        "nar/deep/3",
        "nar0",
        "narhaul/x/y",
        "z/1",
    ];
    join_all(names.iter().map(|name| case.put(name, ""))).await;
    case.put("gone/x", "").await;
    case.backend
        .delete(&[case.key("gone/x")], None)
        .await
        .unwrap();

    let seen = async |rest: &str| {
        let pages = case.pages(rest, true).await;
        let own = |name: &str| name[case.prefix.len()..].to_owned();
        let keys = pages.iter().flat_map(|page| &page.objects);
        let keys: Vec<_> = keys.map(|(key, _)| own(key.as_str())).collect();
        let folders = pages.iter().flat_map(|page| &page.folders);
        (keys, folders.map(|folder| own(folder)).collect::<Vec<_>>())
    };
    let (keys, mut folders) = seen("").await;
    if case.traits.keeps_versions {
        // MinIO folds what lies below the markers of deletions, too.
        folders.retain(|folder| folder != "gone/");
    }
    assert_eq!(keys, ["a", "nar-x", "nar0"]);
    assert_eq!(folders, ["nar/", "narhaul/", "z/"]);
    let (keys, folders) = seen("nar/").await;
    assert_eq!(keys, ["nar/1", "nar/2"]);
    assert_eq!(folders, ["nar/deep/"]);
    let (keys, folders) = seen("n").await;
    assert_eq!(keys, ["nar-x", "nar0"]);
    assert_eq!(folders, ["nar/", "narhaul/"]);
}

async fn a_prefix_need_not_end_at_a_slash(case: &Case<'_>) {
    for name in ["ab/1", "abc", "abd/2", "ac"] {
        case.put(name, "").await;
    }
    assert_eq!(case.names("ab").await, ["ab/1", "abc", "abd/2"]);
    assert_eq!(case.names("ab/").await, ["ab/1"]);
    assert_eq!(case.names("abc").await, ["abc"]);
    assert_eq!(case.names("abcd").await, [""; 0]);
    assert_eq!(case.names("../").await, [""; 0]);
    assert_eq!(case.names("/").await, [""; 0]);
}

async fn foreign_names_are_counted_and_skipped(case: &Case<'_>) {
    let Some(plant) = &case.traits.plant else {
        return;
    };
    case.put("a", "").await;
    case.put("z", "").await;
    plant(&format!("{}b\u{1}", case.prefix));
    let pages = case.pages("", false).await;
    let keys: usize = pages.iter().map(|page| page.objects.len()).sum();
    let foreign: u64 = pages.iter().map(|page| page.n_foreign).sum();
    assert_eq!((keys, foreign), (2, 1));
}

async fn deleting_what_is_missing_succeeds(case: &Case<'_>) {
    case.put("a", "").await;
    let keys = [case.key("a"), case.key("b"), case.key("a/b/c")];
    assert_eq!(case.backend.delete(&keys, None).await.unwrap(), []);
    assert_eq!(case.backend.delete(&keys, None).await.unwrap(), []);
    assert_eq!(case.backend.delete(&[], None).await.unwrap(), []);
    assert_eq!(case.names("").await, [""; 0]);
}

async fn more_than_a_thousand_keys_are_deleted_at_once(case: &Case<'_>) {
    // One more than S3's DeleteObjects takes; written a few at a time, as a client would.
    let names: Vec<_> = (0..1001).map(|n| format!("{n:04}")).collect();
    for some in names.chunks(50) {
        join_all(some.iter().map(|name| case.put(name, "x"))).await;
    }
    case.put("stays", "x").await;
    let keys: Vec<_> = names.iter().map(|name| case.key(name)).collect();
    assert_eq!(case.backend.delete(&keys, None).await.unwrap(), []);
    assert_eq!(case.names("").await, ["stays"]);
}

async fn a_conditional_put_has_one_winner(case: &Case<'_>) {
    let options = PutOptions {
        if_absent: true,
        ..PutOptions::default()
    };
    let key = case.key("once");
    let bodies = (0..16_u8).map(|n| Bytes::from(vec![n; 1000]));
    let puts = bodies.map(|body| case.backend.put(&key, body, &options));
    let kinds: Vec<_> = join_all(puts)
        .await
        .into_iter()
        .map(|done| done.err().map(|e| e.kind))
        .collect();
    if !case.backend.limits().has_conditional_put {
        assert!(
            kinds.iter().all(|kind| *kind == Some(Kind::Unsupported)),
            "{kinds:?}"
        );
        assert_eq!(case.names("").await, [""; 0]);
        return;
    }
    let winner = kinds.iter().position(Option::is_none).unwrap();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == Some(Kind::Exists))
            .count(),
        15,
        "{kinds:?}"
    );
    assert_eq!(
        case.read("once").await,
        vec![u8::try_from(winner).unwrap(); 1000]
    );
}

async fn what_has_changed_is_not_written_over(case: &Case<'_>) {
    let key = case.key("read");
    let (plain, old) = (PutOptions::default(), Bytes::from_static(b"old"));
    case.backend.put(&key, old, &plain).await.unwrap();
    let read = case.backend.head(&key).await.unwrap();
    let over = PutOptions {
        if_same: read.etag,
        ..PutOptions::default()
    };
    let put = |body: &'static str| case.backend.put(&key, Bytes::from(body), &over);
    if !case.backend.limits().has_conditional_overwrite {
        assert_eq!(put("new").await.unwrap_err().kind, Kind::Unsupported);
        assert_eq!(case.read("read").await, "old");
        return;
    }
    put("new").await.unwrap();
    assert_eq!(put("newer").await.unwrap_err().kind, Kind::Exists);
    assert_eq!(case.read("read").await, "new");
    let left = case.backend.delete(std::slice::from_ref(&key), None).await;
    assert_eq!(left.unwrap(), []);
    assert_eq!(put("newest").await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(
        case.backend.head(&key).await.unwrap_err().kind,
        Kind::NotFound
    );
}

async fn concurrent_puts_never_mix_their_bytes(case: &Case<'_>) {
    let key = case.key("contended");
    let options = PutOptions::default();
    let whole = |body: &Bytes| !body.is_empty() && body.iter().all(|byte| *byte == body[0]);
    let puts = join_all((1..=8_u8).map(|n| {
        let body = Bytes::from(vec![n; 200_000 + usize::from(n)]);
        case.backend.put(&key, body, &options)
    }));
    let gets = join_all((0..8).map(|_| case.backend.get(&key)));
    let (puts, gets) = futures::join!(puts, gets);
    for put in puts {
        put.unwrap();
    }
    for got in gets {
        match got {
            Ok(object) => {
                assert!(whole(&object.body));
                assert_eq!(object.body.len(), 200_000 + usize::from(object.body[0]));
            }
            Err(error) => assert_eq!(error.kind, Kind::NotFound),
        }
    }
    let last = case.read("contended").await;
    assert!(whole(&last) && last.len() == 200_000 + usize::from(last[0]));
}

async fn parts_become_one_object_when_completed(case: &Case<'_>) {
    let key = case.key("nar/big");
    let upload = case
        .backend
        .begin_upload(&key, &PutOptions::default())
        .await
        .unwrap();
    let (first, second, third) = (case.part(1), case.part(2), Bytes::from("end"));
    // Out of order, at once, and with a shorter last part.
    let (c, b, a) = futures::join!(
        case.backend.put_part(&upload, 7, third.clone()),
        case.backend.put_part(&upload, 2, second.clone()),
        case.backend.put_part(&upload, 1, first.clone()),
    );
    let parts = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(parts.each_ref().map(|part| part.number), [1, 2, 7]);
    assert_eq!(parts[2].size, 3);
    assert_eq!(
        case.backend.get(&key).await.unwrap_err().kind,
        Kind::NotFound
    );
    assert_eq!(
        case.names("").await,
        [""; 0],
        "nothing is visible before completion"
    );
    case.backend.complete_upload(&upload, &parts).await.unwrap();
    let wanted = [first, second, third].concat();
    assert!(case.read("nar/big").await == wanted);
    assert_eq!(case.names("").await, ["nar/big"]);
    let size = case.backend.head(&key).await.unwrap().size;
    assert_eq!(size, wanted.len() as u64);
}

async fn the_last_part_sent_of_a_number_counts(case: &Case<'_>) {
    let upload = case
        .backend
        .begin_upload(&case.key("a"), &PutOptions::default())
        .await
        .unwrap();
    case.backend
        .put_part(&upload, 1, Bytes::from("first"))
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&upload, 1, Bytes::from("other"))
        .await
        .unwrap();
    let known = case.backend.parts(&upload).await.unwrap();
    let seen: Vec<_> = known.iter().map(|part| (part.number, part.size)).collect();
    assert_eq!(seen, [(1, 5)]);
    case.backend
        .complete_upload(&upload, &[part])
        .await
        .unwrap();
    assert_eq!(case.read("a").await, "other");
}

async fn completing_twice_leaves_the_object_as_it_is(case: &Case<'_>) {
    let upload = case
        .backend
        .begin_upload(&case.key("a"), &PutOptions::default())
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&upload, 1, Bytes::from("x"))
        .await
        .unwrap();
    case.backend
        .complete_upload(&upload, std::slice::from_ref(&part))
        .await
        .unwrap();
    // Servers differ: the upload is gone, or was completed like this already.
    if let Err(error) = case.backend.complete_upload(&upload, &[part]).await {
        assert_eq!(error.kind, Kind::NotFound);
    }
    assert_eq!(case.read("a").await, "x");
}

async fn aborting_twice_succeeds(case: &Case<'_>) {
    let upload = case
        .backend
        .begin_upload(&case.key("a"), &PutOptions::default())
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&upload, 1, Bytes::from("x"))
        .await
        .unwrap();
    case.backend.abort_upload(&upload).await.unwrap();
    case.backend.abort_upload(&upload).await.unwrap();
    let late = case
        .backend
        .complete_upload(&upload, &[part])
        .await
        .unwrap_err();
    assert_eq!(late.kind, Kind::NotFound);
    let late = case
        .backend
        .put_part(&upload, 2, Bytes::from("x"))
        .await
        .unwrap_err();
    assert_eq!(late.kind, Kind::NotFound);
    assert_eq!(case.names("").await, [""; 0]);
}

async fn uploads_are_found_by_their_key(case: &Case<'_>) {
    if !case.traits.finds_uploads {
        return;
    }
    let (key, longer) = (case.key("a"), case.key("ab"));
    for old in case.backend.uploads(key.as_str()).await.unwrap() {
        case.backend.abort_upload(&old).await.unwrap();
    }
    let first = case
        .backend
        .begin_upload(&key, &PutOptions::default())
        .await
        .unwrap();
    let other = case
        .backend
        .begin_upload(&longer, &PutOptions::default())
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&first, 3, Bytes::from("xyz"))
        .await
        .unwrap();
    let found = case.backend.uploads(key.as_str()).await.unwrap();
    let found: Vec<_> = found.into_iter().filter(|one| one.key == key).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].key, &found[0].id), (&key, &first.id));
    assert!(found[0].begun.is_some());
    let known: Vec<Part> = case.backend.parts(&found[0]).await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].number, known[0].size, &known[0].etag),
        (3, 3, &part.etag)
    );
    // What was found can be completed by somebody who did not begin it.
    case.backend
        .complete_upload(&found[0], &known)
        .await
        .unwrap();
    assert_eq!(case.read("a").await, "xyz");
    let left = case.backend.uploads(key.as_str()).await.unwrap();
    assert!(left.iter().all(|one| one.key == longer), "{left:?}");
    case.backend.abort_upload(&other).await.unwrap();
}

async fn what_was_never_sent_cannot_be_completed(case: &Case<'_>) {
    let upload = case
        .backend
        .begin_upload(&case.key("a"), &PutOptions::default())
        .await
        .unwrap();
    let part = case
        .backend
        .put_part(&upload, 1, case.part(1))
        .await
        .unwrap();
    let never = Part {
        number: 2,
        ..part.clone()
    };
    assert!(
        case.backend
            .complete_upload(&upload, &[part, never])
            .await
            .is_err()
    );
    assert!(case.backend.complete_upload(&upload, &[]).await.is_err());
    assert_eq!(case.names("").await, [""; 0]);
    case.backend.abort_upload(&upload).await.unwrap();
}

async fn without_a_bucket_nothing_is_merely_not_found(case: &Case<'_>) {
    let Some(missing) = &case.traits.missing else {
        return;
    };
    let (key, options) = (case.key("a"), PutOptions::default());
    let kinds = [
        missing.get(&key).await.unwrap_err().kind,
        missing.list(&ListQuery::default()).await.unwrap_err().kind,
        missing
            .put(&key, Bytes::new(), &options)
            .await
            .unwrap_err()
            .kind,
        missing
            .delete(std::slice::from_ref(&key), None)
            .await
            .unwrap_err()
            .kind,
        missing.begin_upload(&key, &options).await.unwrap_err().kind,
    ];
    assert_eq!(kinds, [const { Kind::NoBucket }; 5]);
    // S3 answers a HEAD without a body, so it cannot tell what is missing.
    let kind = missing.head(&key).await.unwrap_err().kind;
    assert!(matches!(kind, Kind::NoBucket | Kind::NotFound), "{kind:?}");
}

async fn making_what_is_there_changes_nothing(case: &Case<'_>) {
    case.put("a", "x").await;
    assert_eq!(case.backend.create().await.unwrap(), Created::AlreadyThere);
    assert_eq!(case.read("a").await, "x");
}
