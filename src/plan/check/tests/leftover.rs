//! The judge of what goes because something else has gone, against planted wrong plans.

use super::*;
use crate::{
    graph::Node,
    plan::bodies::{Belongs, Companion, DanglingPlan},
};

/// A cache of which everything but `fine` has lost its body.
fn wreck() -> Deletion {
    Deletion {
        cache: "app -> lib; lib; fine; -hole",
        ..Deletion::default()
    }
}

/// Judges a plan of levels, in which what is behind a `|` goes later; all but `fine` was asked about.
fn judge(scene: &Deletion, levels: &str, guard: u8) -> Result<(), Broken> {
    scene.look(|look| {
        let node = |name: &str| look.census.node(&part(name)).unwrap();
        let level = |text: &str| text.split_whitespace().map(node).collect::<Vec<Node>>();
        let plan = DanglingPlan {
            levels: levels.split('|').map(level).collect(),
            ..DanglingPlan::default()
        };
        let asked = ["app", "lib", "hole"].map(node);
        dangling(look, &asked, guard, &plan)
    })
}

#[test]
fn what_has_lost_its_body_goes_only_if_it_is_what_was_asked_about() {
    let good = wreck();
    assert_eq!(judge(&good, "app | lib", 67), Ok(()));
    assert_eq!(judge(&good, "app | lib", 66), Err(Broken::Guard));
    assert_eq!(
        judge(&good, "lib | app |", 100),
        Err(Broken::OutOfOrder(part("app")))
    );
    assert_eq!(
        judge(&good, "app lib |", 100),
        Err(Broken::OutOfOrder(part("app")))
    );
    assert_eq!(
        judge(&good, "app | app", 100),
        Err(Broken::OutOfOrder(part("app")))
    );
    for unknown in ["fine", "hole"] {
        assert_eq!(
            judge(&good, unknown, 100),
            Err(Broken::Unknown(part(unknown)))
        );
    }
    let copied = Deletion {
        intents: vec![intent(0, "lib")],
        ..wreck()
    };
    assert_eq!(
        judge(&copied, "app | lib", 100),
        Err(Broken::Named(part("lib")))
    );
    assert_eq!(judge(&copied, "app", 100), Ok(()));
    let unread = Deletion {
        is_readable: false,
        ..wreck()
    };
    assert_eq!(judge(&unread, "app | lib", 100), Err(Broken::Unreadable));
    assert_eq!(judge(&unread, "", 100), Ok(()));
}

fn listing() -> ObjectKey {
    ObjectKey::listing(part("lost"))
}

fn beside(key: &ObjectKey, days: u32, belongs: &[Belongs]) -> Vec<Companion> {
    vec![Companion {
        key: key.clone(),
        modified: days_ago(days),
        belongs: belongs.to_vec(),
    }]
}

#[test]
fn what_lies_beside_a_path_goes_only_after_it() {
    let copied = Deletion {
        intents: vec![intent(0, "coming")],
        ..Deletion::default()
    };
    let judge = |belongs: Belongs| {
        let also = Belongs::Path(part("lost"));
        copied.look(|look| companions(look, &beside(&listing(), 8, &[also, belongs])))
    };
    type Refusal = fn(ObjectKey) -> Broken;
    let refusals: [(&str, Refusal); 3] = [
        ("else", Broken::BodyNamed),
        ("other", Broken::BodyInJournal),
        ("coming", Broken::BodyReliedOn),
    ];
    for (name, broken) in refusals {
        let wanted = Err(broken(listing()));
        assert_eq!(judge(Belongs::Path(part(name))), wanted, "{name}");
        assert_eq!(judge(Belongs::Body(body(name))), wanted, "{name}");
    }
    assert_eq!(judge(Belongs::Body(body("lost"))), Ok(()));
}

#[test]
fn what_lies_beside_a_path_goes_only_if_it_is_old_and_known() {
    let lost = [Belongs::Path(part("lost"))];
    let good = Deletion::default();
    let judge = |scene: &Deletion, going: &[Companion]| scene.look(|look| companions(look, going));
    assert_eq!(judge(&good, &beside(&listing(), 8, &lost)), Ok(()));
    let young = judge(&good, &beside(&listing(), 7, &lost));
    assert_eq!(young, Err(Broken::BodyEarly(listing())));
    let unknown = judge(&good, &beside(&listing(), 8, &[]));
    assert_eq!(unknown, Err(Broken::BodyUnknown(listing())));
    for key in [body("lost"), ObjectKey::narinfo(part("lost"))] {
        let other = judge(&good, &beside(&key, 8, &lost));
        assert_eq!(other, Err(Broken::BodyUnknown(key)));
    }
    let unread = Deletion {
        is_readable: false,
        ..Deletion::default()
    };
    let refused = judge(&unread, &beside(&listing(), 8, &lost));
    assert_eq!(refused, Err(Broken::Unreadable));
}
