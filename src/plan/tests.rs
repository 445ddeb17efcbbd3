//! Plans of small closures, as text; and the judge against the planner over random ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    check,
    copy::{
        self, Bodies, CopyItem, CopyPlan, FoundBody, Grave, PassedBody, Policy, Presence, Refusal,
        SkipReason,
    },
    probe::{FirstPage, ProbePlan, Reason},
    recipe::Recipe,
};
use crate::{
    graph::Graph,
    nix::{
        compression::Compression,
        hash::{NarHash, Sha256},
        object_key::ObjectKey,
        path_info::PathInfo,
        store_path::{HashPart, StorePath},
    },
};

fn path(name: &str) -> StorePath {
    let hash = Sha256::of(name.as_bytes());
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&hash.as_bytes()[..20]);
    StorePath::new(HashPart::from_bytes(bytes), name.parse().unwrap())
}

/// Reads `hello -> glibc; glibc -> glibc`: paths with what they refer to.
fn closure(notation: &str) -> Vec<PathInfo> {
    notation
        .split(';')
        .map(|entry| {
            let (name, references) = entry.split_once("->").unwrap_or((entry, ""));
            PathInfo {
                path: path(name.trim()),
                nar_hash: NarHash(Sha256::of(name.trim().as_bytes())),
                nar_size: 1000,
                references: references.split_whitespace().map(path).collect(),
                deriver: None,
                signatures: BTreeSet::new(),
                ca: None,
            }
        })
        .collect()
}

fn graph(closure: &[PathInfo]) -> Graph {
    Graph::build(
        closure
            .iter()
            .map(|info| (&info.path, info.references.iter())),
    )
    .unwrap()
}

fn recipe() -> Recipe {
    Recipe::new(Compression::Zstd, None).unwrap()
}

/// Nothing is passed on.
static NOTHING: BTreeMap<HashPart, PassedBody> = BTreeMap::new();

fn made(recipe: &Recipe) -> Bodies<'_> {
    Bodies {
        recipe,
        passed: &NOTHING,
    }
}

fn signing(recipe: &Recipe) -> Policy<'_> {
    Policy {
        bodies: made(recipe),
        has_keys: true,
        allow_unsigned: false,
    }
}

fn plan(
    closure: &[PathInfo],
    presence: &[Presence],
    policy: Policy<'_>,
) -> Result<CopyPlan, Refusal> {
    let plan = copy::plan(&graph(closure), closure, presence, policy)?;
    assert_eq!(
        check::copy(&graph(closure), closure, presence, policy, &plan),
        Ok(())
    );
    Ok(plan)
}

#[test]
fn a_plan_says_what_and_why_in_the_order_of_publishing() {
    let closure = closure("hello -> glibc hello; curl -> openssl glibc; openssl -> glibc; glibc");
    let found = FoundBody {
        size: 9,
        file_hash: None,
    };
    let presence = [
        Presence::Absent,
        Presence::BodyOnly(found),
        Presence::Absent,
        Presence::Present,
    ];
    let plan = plan(&closure, &presence, signing(&recipe())).unwrap();
    insta::assert_snapshot!(plan.show(&closure), @"
    skip, present: 37x7nfi9nsgbsvwx5nx7hij26dypa48v-glibc (1000 bytes)
    upload, absent: bhg1c6wywawwaaivx0k0x8xhbyx4vwic-hello (1000 bytes)
    upload, absent: hvfvr99ll78x25c8mf89di4mkf9cmzs1-openssl (1000 bytes)
    reuse body: bf1wc7djjw94n1mydhq91z7hn5wlnzj2-curl (1000 bytes)
    ");
}

#[test]
fn unsigned_paths_refuse_the_whole_copy_and_are_counted() {
    let mut closure = closure("a; b -> a; c -> b");
    closure[0]
        .signatures
        .insert(format!("k:{}==", "A".repeat(86)).parse().unwrap());
    let recipe = recipe();
    let policy = Policy {
        bodies: made(&recipe),
        has_keys: false,
        allow_unsigned: false,
    };
    let presence = [Presence::Absent, Presence::Absent, Presence::Absent];
    let refusal = plan(&closure, &presence, policy).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::Unsigned {
            n_unsigned: 2,
            first: path("b")
        }
    );

    let allowed = Policy {
        allow_unsigned: true,
        ..policy
    };
    assert_eq!(
        plan(&closure, &presence, allowed)
            .unwrap()
            .counts()
            .n_upload,
        3
    );
    // What is there already does not go out again, signed or not.
    let presence = [Presence::Absent, Presence::Present, Presence::Present];
    assert_eq!(
        plan(&closure, &presence, policy).unwrap().counts().n_skip,
        2
    );
}

#[test]
fn the_judge_refuses_plans_that_break_a_rule() {
    let closure = closure("a; b -> a");
    let graph = graph(&closure);
    let recipe = recipe();
    let policy = signing(&recipe);
    let presence = [Presence::Absent, Presence::Absent];
    let good = copy::plan(&graph, &closure, &presence, policy).unwrap();
    let judge = |plan: &CopyPlan| check::copy(&graph, &closure, &presence, policy, plan);
    assert_eq!(judge(&good), Ok(()));

    let mut reversed = good.clone();
    reversed.order.reverse();
    assert_eq!(judge(&reversed), Err(check::Broken::Order(path("b"))));

    let mut skipping = good.clone();
    skipping.items[0] = CopyItem::Skip(SkipReason::Present);
    assert_eq!(judge(&skipping), Err(check::Broken::Skipped(path("a"))));

    let mut swapped = good.clone();
    swapped.items.swap(0, 1);
    assert!(matches!(judge(&swapped), Err(check::Broken::Key { .. })));

    let mut short = good;
    short.order.pop();
    assert!(matches!(judge(&short), Err(check::Broken::Shape { .. })));
}

#[test]
fn a_recipe_names_everything_that_changes_the_bytes() {
    let id = |compression, level| Recipe::new(compression, level).unwrap().id();
    let usual = id(Compression::Zstd, None);
    assert_eq!(usual, id(Compression::Zstd, Some(-1)));
    assert_eq!(usual, id(Compression::Zstd, Some(3)));
    assert_ne!(usual, id(Compression::Zstd, Some(4)));
    assert_ne!(usual, id(Compression::Xz, Some(3)));
    assert!(Recipe::new(Compression::Zstd, Some(20)).is_err());
    let error = Recipe::new(Compression::from_name("lz4"), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "compression `lz4` cannot be written; there are zstd, xz, none, gzip, bzip2 and br",
    );
}

/// A first page of a thousand narinfos, whose last begins so, from a server that answers in milliseconds.
fn first_page(last: &str, took: u64) -> FirstPage {
    FirstPage {
        n_narinfos: 1000,
        last: format!("{last:z<32}").parse().ok(),
        is_whole: false,
        took: Duration::from_millis(took),
    }
}

#[test]
fn a_small_closure_in_a_large_cache_is_asked_for_path_by_path() {
    let decide = |n_paths, last| ProbePlan::after_first_page(n_paths, 64, &first_page(last, 0));
    let each = ProbePlan::HeadEach(Reason::Cheaper);
    // The first of 1,024 pages; of 86; of 2.
    assert_eq!(decide(1000, "00"), each);
    assert_eq!(decide(30_000, "0b"), ProbePlan::ListAll(Reason::Cheaper));
    assert_eq!(decide(1000, "h"), ProbePlan::ListAll(Reason::Cheaper));
    assert_eq!(decide(20, "h"), each);
    let whole = FirstPage {
        is_whole: true,
        ..first_page("h", 0)
    };
    assert_eq!(
        ProbePlan::after_first_page(20, 64, &whole),
        ProbePlan::ListAll(Reason::OnePage)
    );
    assert_eq!(
        ProbePlan::before_listing(5),
        Some(ProbePlan::HeadEach(Reason::FewPaths))
    );
}

#[test]
fn a_cache_far_away_is_asked_in_the_way_that_waits_less() {
    let decide = |n_requests, took| {
        // 1,500 paths against 86 pages, which cost as much as 1,075 HEADs.
        ProbePlan::after_first_page(1500, n_requests, &first_page("0b", took))
    };
    assert_eq!(decide(64, 1), ProbePlan::ListAll(Reason::Cheaper));
    assert_eq!(decide(64, 100), ProbePlan::ListByLetter(Reason::Cheaper));
    // One request at a time: all that matters is that there are few.
    assert_eq!(decide(1, 100), ProbePlan::ListAll(Reason::Cheaper));
}

fn any_presence() -> impl Strategy<Value = Presence> {
    prop_oneof![
        Just(Presence::Absent),
        Just(Presence::Present),
        Just(Presence::PresentWithBody),
        Just(Presence::BodyOnly(FoundBody {
            size: 1,
            file_hash: None
        })),
        Just(Presence::Buried(Box::new(grave()))),
    ]
}

fn grave() -> Grave {
    Grave {
        run: "20261122T214500Z-a".parse().unwrap(),
        // Another writer's key, as plain Nix makes them.
        body: ObjectKey::parse("nar/x.nar.xz").unwrap(),
        text: "StorePath: …".to_owned(),
    }
}

#[test]
fn what_a_sweep_has_removed_is_put_back_unsigned_too_and_only_if_it_was_seen() {
    let closure = closure("app -> lib; lib");
    let recipe = recipe();
    let policy = Policy {
        bodies: made(&recipe),
        has_keys: false,
        allow_unsigned: false,
    };
    let presence = [Presence::Present, Presence::Buried(Box::new(grave()))];
    let good = plan(&closure, &presence, policy).unwrap();
    assert_eq!(good.counts().n_rescue, 1);
    insta::assert_snapshot!(good.show(&closure), @"
    rescue from a sweep: v137y81wxx44zx8nln1b4xhj75bs7dbn-lib (1000 bytes)
    skip, present: 68qfm3aav2ji1malbihlnis7mvfcwwm1-app (1000 bytes)
    ");

    let graph = graph(&closure);
    let judge = |presence: &[Presence], plan: &CopyPlan| {
        check::copy(&graph, &closure, presence, policy, plan)
    };
    let unseen = [Presence::Present, Presence::Absent];
    let refused = Err(check::Broken::Unseen(path("lib")));
    assert_eq!(judge(&unseen, &good), refused);
    let mut other = good;
    other.items[1] = CopyItem::Rescue {
        body: ObjectKey::parse("nar/y.nar.xz").unwrap(),
        run: grave().run,
    };
    assert_eq!(judge(&presence, &other), refused);
}

proptest! {
    #[test]
    fn every_plan_passes_the_judge(
        rows in proptest::collection::vec(
            (proptest::collection::vec(0usize..40, 0..5), any_presence()),
            1..40,
        )
    ) {
        let names: Vec<String> = (0..rows.len()).map(|number| format!("p{number}")).collect();
        let entries: Vec<String> = rows
            .iter()
            .enumerate()
            .map(|(own, (row, _))| {
                let earlier = row.iter().filter(|&&to| to <= own).map(|&to| names[to].as_str());
                format!("{} -> {}", names[own], earlier.collect::<Vec<_>>().join(" "))
            })
            .collect();
        let closure = closure(&entries.join(";"));
        let presence: Vec<Presence> = rows.into_iter().map(|(_, presence)| presence).collect();
        plan(&closure, &presence, signing(&recipe())).unwrap();
    }
}
