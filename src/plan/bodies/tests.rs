//! Which bodies may go, by hand.

use super::*;
use crate::{
    graph::{Node, Seconds},
    ledger::journal::{Entry, Reason},
    plan::sweep::tests::world::{body, census, days_ago, intent, now, part, parts},
};

const AGES: Ages = Ages {
    grace: Duration::from_secs(31 * 24 * 3600),
    orphans: Duration::from_secs(7 * 24 * 3600),
    margin: Duration::from_secs(3600),
};

/// A journal by hand: `a b=other`, paths with their bodies.
pub(super) struct Journal {
    run: RunId,
    index: Index,
    condemned: SystemTime,
    buried: Option<SystemTime>,
}

pub(super) fn journal(days: u32, entries: &str) -> Journal {
    let entry = |text: &str| {
        let (own, of) = text.split_once('=').unwrap_or((text, text));
        Entry {
            part: part(own),
            body: body(of),
            birth: Seconds::from(days_ago(100)),
            reason: Reason::Dead,
            text: 0..0,
        }
    };
    Journal {
        run: RunId::new(days_ago(days), "k3f9").unwrap(),
        index: Index {
            entries: entries.split_whitespace().map(entry).collect(),
        },
        condemned: days_ago(days),
        buried: Some(days_ago(days)),
    }
}

impl Journal {
    fn seen(&self) -> JournalSeen<'_> {
        JournalSeen {
            run: &self.run,
            index: &self.index,
            condemned: Some(self.condemned),
            buried: self.buried,
        }
    }
}

/// Everything that a look needs to own.
struct Books {
    census: Census,
    is_readable: bool,
    intents: Vec<IntentSeen>,
    journals: Vec<Journal>,
    named: Vec<HashPart>,
    orphans: BTreeMap<ObjectKey, Seconds>,
}

fn books(cache: &str, journals: Vec<Journal>) -> Books {
    Books {
        census: census(cache),
        is_readable: true,
        intents: Vec::new(),
        journals,
        named: Vec::new(),
        orphans: BTreeMap::new(),
    }
}

impl Books {
    fn look<T>(&self, use_it: impl FnOnce(&Look<'_>) -> T) -> T {
        let journals: Vec<_> = self.journals.iter().map(Journal::seen).collect();
        let due = due(&journals, AGES, now());
        use_it(&Look {
            now: now(),
            census: &self.census,
            is_readable: self.is_readable,
            intents: &self.intents,
            journals: &journals,
            due: &due,
            named: &self.named,
            orphans: &self.orphans,
            ages: AGES,
        })
    }

    /// Decides about the due journals where each body was written so many days ago.
    fn decide(&self, names: &str, days: u32) -> String {
        self.look(|look| {
            let all = candidates(look, |_| {
                Some(BodySeen {
                    size: 1,
                    modified: days_ago(days),
                })
            });
            let line = |name: &str| {
                let own = body(name);
                let verdict = all.iter().find(|item| item.body == own);
                format!("{name}: {:?}\n", verdict.map(|item| item.verdict))
            };
            names.split_whitespace().map(line).collect()
        })
    }
}

const GONE: &str = "gone: Some(Doom)\n";

#[test]
fn a_body_goes_a_grace_after_its_narinfo() {
    let journals = |days| books("", vec![journal(days, "gone")]);
    assert_eq!(journals(32).decide("gone", 99), GONE);
    assert_eq!(journals(31).decide("gone", 99), "gone: None\n");
    let mut unburied = journal(99, "gone");
    unburied.buried = None;
    assert_eq!(
        books("", vec![unburied]).decide("gone", 200),
        "gone: None\n"
    );
}

#[test]
fn whoever_names_a_body_holds_it() {
    let entries = "gone back shared needed far relied byname other";
    let mut books = books(
        "back; new=shared; new2 -> needed; -needed -> far; -far",
        vec![journal(40, entries), journal(3, "x=other")],
    );
    books.intents = vec![intent(0, "relied"), intent(1, "")];
    // A copy that would write another body of the same path may put this one back.
    books.intents[1].parts = parts("byname");
    let decided = books.decide(entries, 99);
    let held = |name: &str, hold: Hold| format!("{name}: {:?}\n", Some(Verdict::Keep(hold)));
    let wanted = [
        GONE.to_owned(),
        held("back", Hold::Narinfo(part("back"))),
        held("shared", Hold::Narinfo(part("new"))),
        held("needed", Hold::Needed(part("needed"))),
        held("far", Hold::Needed(part("far"))),
        held("relied", Hold::Intent(0)),
        held("byname", Hold::Intent(1)),
        held("other", Hold::Journal(1)),
    ];
    assert_eq!(decided, wanted.concat());

    books.named = parts("gone");
    books.census = census("-gone");
    assert_eq!(
        books.decide("gone", 99),
        held("gone", Hold::Needed(part("gone")))
    );
    books.is_readable = false;
    assert_eq!(books.decide("gone", 99), held("gone", Hold::Doubt));
}

#[test]
fn a_body_that_was_written_after_it_was_condemned_is_another_one() {
    let world = books("", vec![journal(40, "gone")]);
    let newer = format!("gone: {:?}\n", Some(Verdict::Keep(Hold::Newer)));
    assert_eq!(world.decide("gone", 40), newer);
    assert_eq!(world.decide("gone", 39), newer);
    assert_eq!(world.decide("gone", 41), GONE);
    // Condemned again since: then it is the one that was meant.
    let twice = books("", vec![journal(40, "gone"), journal(33, "gone")]);
    assert_eq!(twice.decide("gone", 38), GONE);
}

#[test]
fn a_journal_waits_for_what_is_needed_and_for_nothing_else() {
    let books = books(
        "-b; new -> b; c",
        vec![journal(50, "a b"), journal(40, "c d")],
    );
    books.look(|look| {
        let found = |key: &ObjectKey| {
            let modified = days_ago(99);
            (*key != body("d")).then_some(BodySeen { size: 7, modified })
        };
        let items = candidates(look, found);
        assert_eq!(doomed(&items).len(), 1);
        // `b` is needed; `c` is visible again and `d` is gone, so the second journal is done with.
        let done = finished(look, &items, |_| false);
        assert_eq!(done, [look.due[1].clone()]);
        assert_eq!(finished(look, &items[..0], |_| false).len(), 2);
    });
}

#[test]
fn a_journal_whose_bodies_are_gone_does_not_stay_for_as_long_as_a_root_wants_them() {
    // A foreign writer took the path from the root: there is nothing to be put back.
    let mut books = books("-a", vec![journal(50, "a")]);
    books.named = parts("a");
    books.look(|look| {
        let items = candidates(look, |_| None);
        assert_eq!(items[0].verdict, Verdict::Keep(Hold::Gone));
        assert_eq!(finished(look, &items, |_| false), look.due);
    });
}

#[test]
fn a_journal_waits_for_a_body_that_could_not_be_deleted() {
    let one = books("", vec![journal(50, "a")]);
    one.look(|look| {
        let seen = BodySeen {
            size: 7,
            modified: days_ago(99),
        };
        let items = candidates(look, |_| Some(seen));
        assert_eq!(finished(look, &items, |_| true), []);
        assert_eq!(finished(look, &items, |_| false), look.due);
    });
}

#[test]
fn a_body_of_two_paths_is_doomed_under_both() {
    books("", vec![journal(40, "a b=a")]).look(|look| {
        let seen = BodySeen {
            size: 7,
            modified: days_ago(99),
        };
        let items = candidates(look, |_| Some(seen));
        let lines = doomed(&items);
        let named: Vec<_> = lines.iter().map(|line| line.part.unwrap()).collect();
        let mut both = parts("a b");
        both.sort();
        assert_eq!(named, both);
        assert!(lines.iter().all(|line| line.body == body("a")));
    });
}

#[test]
fn the_second_look_strikes_what_it_finds_named_or_needed() {
    let mut second = books(
        "back; new -> b; -b",
        vec![journal(40, "a b back c d"), journal(1, "c")],
    );
    second.intents = vec![intent(0, "d")];
    let line = |name: &str| Doomed {
        body: body(name),
        part: Some(part(name)),
    };
    let orphan = Doomed {
        body: body("orphan"),
        part: None,
    };
    let list = [
        line("a"),
        line("b"),
        line("back"),
        line("c"),
        line("d"),
        orphan,
    ];
    let struck = second.look(|look| strike(look, &list));
    let mut wanted = vec![
        (body("b"), Hold::Needed(part("b"))),
        (body("back"), Hold::Narinfo(part("back"))),
        (body("c"), Hold::Journal(1)),
        (body("d"), Hold::Intent(0)),
    ];
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(struck, wanted);
    second.is_readable = false;
    assert_eq!(second.look(|look| strike(look, &list)).len(), 6);
}

#[test]
fn narinfos_without_bodies_are_condemned_referrers_first() {
    let mut books = books("app -> lib; lib; busy; fine", Vec::new());
    books.intents = vec![intent(0, "busy")];
    let listing = [body("fine"), body("stranger")];
    let present = BodySet::new(&books.census, listing.iter());
    let missing = bodiless(&books.census, &present);
    let node = |name: &str| books.census.node(&part(name)).unwrap();
    let mut wanted: Vec<Node> = ["app", "lib", "busy"].map(node).into();
    wanted.sort_unstable();
    assert_eq!(missing, wanted);

    let plan = books.look(|look| dangling(look, &missing, 50));
    assert_eq!(plan.levels, [vec![node("app")], vec![node("lib")]]);
    assert_eq!(plan.spared, [(node("busy"), 0)]);
    let plan = books.look(|look| dangling(look, &missing, 49));
    assert!(plan.is_over_guard && plan.levels.is_empty());
    books.is_readable = false;
    let plan = books.look(|look| dangling(look, &missing, 100));
    assert!(plan.is_held && plan.levels.is_empty());
}

#[test]
fn an_old_body_that_nobody_names_is_an_orphan() {
    let mut books = books("a; -b", vec![journal(3, "c")]);
    books.intents = vec![intent(0, "d")];
    let keys: Vec<ObjectKey> = ["a", "b", "c", "d", "e"].map(body).into();
    let unknown = ObjectKey::parse("nar/readme.txt").unwrap();
    let decide = |books: &Books, days: u32| {
        let modified = days_ago(days);
        let seen = BodySeen { size: 1, modified };
        let listing = keys.iter().chain([&unknown]).map(|key| (key, seen));
        books.look(|look| orphans(look, listing))
    };
    // Whether readers have seen a narinfo that named it a moment ago, its own age does not say.
    for (noted, verdict) in [
        (None, OrphanVerdict::Waiting),
        (Some(31), OrphanVerdict::Waiting),
        (Some(32), OrphanVerdict::Doom),
    ] {
        let noted = noted.map(|days| (body("e"), Seconds::from(days_ago(days))));
        books.orphans = noted.iter().cloned().collect();
        let old = decide(&books, 99);
        assert_eq!(old.items[0].verdict, verdict);
        let since = noted.map_or_else(|| Seconds::from(now()), |(_, since)| since);
        assert_eq!(old.found, BTreeMap::from([(body("e"), since)]));
    }
    let old = decide(&books, 8);
    assert_eq!(old.n_named, 4);
    let verdicts: Vec<_> = old.items.iter().map(|item| item.verdict).collect();
    assert_eq!(verdicts, [OrphanVerdict::Doom, OrphanVerdict::Unknown]);
    let line = Doomed {
        body: body("e"),
        part: None,
    };
    assert_eq!(old.doomed(), [line]);
    assert_eq!(decide(&books, 7).items[0].verdict, OrphanVerdict::Young);
}

#[test]
fn a_night_in_doubt_does_not_begin_the_grace_of_an_orphan_anew() {
    let mut books = books("a", Vec::new());
    books.is_readable = false;
    let keys = ["known", "new"].map(body);
    let decide = |books: &Books, days: u32| {
        let modified = days_ago(days);
        let seen = BodySeen { size: 1, modified };
        books.look(|look| orphans(look, keys.iter().map(|key| (key, seen))))
    };
    let noted = BTreeMap::from([(body("known"), Seconds::from(days_ago(40)))]);
    books.orphans.clone_from(&noted);
    let doubted = decide(&books, 99);
    let verdicts: Vec<_> = doubted.items.iter().map(|item| item.verdict).collect();
    assert_eq!(verdicts, [OrphanVerdict::Doubt, OrphanVerdict::Doubt]);
    assert_eq!(doubted.found, noted);
    // One that was written anew is another.
    assert!(decide(&books, 3).found.is_empty());
    books.orphans = doubted.found;
    books.is_readable = true;
    let verdicts: Vec<_> = decide(&books, 99)
        .items
        .iter()
        .map(|item| item.verdict)
        .collect();
    assert_eq!(verdicts, [OrphanVerdict::Doom, OrphanVerdict::Waiting]);
}

#[test]
fn keys_are_told_apart_by_their_names_alone() {
    let part = "3n58xw4373jp0ljirf06d8077j15pc4j";
    let digits = "0".repeat(52);
    let id = "a".repeat(40);
    let show = |key: String| format!("{:?}", kind(&ObjectKey::parse(&key).unwrap()));
    for (key, wanted) in [
        (format!("{part}.narinfo"), format!("Narinfo({part})")),
        (format!("{part}.ls"), format!("Listing({part})")),
        (format!("nar/{digits}.nar"), "Body".to_owned()),
        (format!("nar/{digits}.nar.xz"), "Body".to_owned()),
        (format!("nar/{digits}-zstd3.nar.zst"), "Body".to_owned()),
        (format!("nar/{digits}.txt"), "Unknown".to_owned()),
        (format!("nar/{digits}/x.nar"), "Unknown".to_owned()),
        ("nix-cache-info".to_owned(), "CacheInfo".to_owned()),
        ("narhaul/anything".to_owned(), "Ledger".to_owned()),
        (format!("debuginfo/{id}.debug"), "Debug".to_owned()),
        (format!("debuginfo/{id}"), "Debug".to_owned()),
        ("debuginfo/readme".to_owned(), "Unknown".to_owned()),
        (format!("log/{part}-hello.drv"), format!("Log({part})")),
        ("log/today".to_owned(), "Unknown".to_owned()),
        (
            "realisations/sha256:ab!out.doi".to_owned(),
            "Realisation".to_owned(),
        ),
        (
            format!("build-trace-v2/{part}-x.drv/out.doi"),
            format!("BuildTrace({part})"),
        ),
        ("index.html".to_owned(), "Unknown".to_owned()),
    ] {
        assert_eq!(show(key), wanted);
    }
}

#[test]
fn companions_follow_what_they_belong_to() {
    let mut books = books("here", vec![journal(3, "buried")]);
    books.intents = vec![intent(0, "coming")];
    let companion = |days: u32, belongs: &[Belongs]| Companion {
        key: ObjectKey::parse("x").unwrap(),
        modified: days_ago(days),
        belongs: belongs.to_vec(),
    };
    let path = |name: &str| Belongs::Path(part(name));
    let of_body = |name: &str| Belongs::Body(body(name));
    let all = [
        companion(99, &[path("here")]),
        companion(99, &[path("buried")]),
        companion(99, &[path("coming")]),
        companion(99, &[of_body("here")]),
        companion(99, &[of_body("buried")]),
        companion(99, &[path("gone"), path("here")]),
        companion(99, &[path("gone")]),
        companion(99, &[of_body("gone")]),
        companion(7, &[path("gone")]),
        companion(99, &[]),
    ];
    let verdicts = books.look(|look| companions(look, &all));
    let rest = [
        CompanionVerdict::Delete,
        CompanionVerdict::Delete,
        CompanionVerdict::Young,
        CompanionVerdict::Unknown,
    ];
    assert_eq!(verdicts[..6], [CompanionVerdict::Belongs; 6]);
    assert_eq!(verdicts[6..], rest);
    books.is_readable = false;
    assert_eq!(
        books.look(|look| companions(look, &all))[6],
        CompanionVerdict::Doubt
    );
}
