//! The guide's trap: an expiry rule breaks what a sweep leaves whole.

use std::time::Duration;

use narhaul::{
    backend::{Expiry, Lifecycle},
    plan::sweep::Refusal,
    sweep::Error,
};

use super::world::{DAY, World};

/// A glibc that was pushed eight days ago, needed by a system that was pushed yesterday.
async fn shared() -> World {
    let world = World::new();
    world.push("glibc");
    world.days(7).await;
    world.push("sys -> glibc");
    world.root("web", &["sys"]);
    world.days(1).await;
    world
}

fn seven_days() -> Lifecycle {
    Lifecycle {
        expiries: vec![Expiry {
            id: "expire-7".to_owned(),
            prefix: String::new(),
            days: Some(7),
            is_enabled: true,
            wants_tags: false,
        }],
        ..Lifecycle::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_expiry_rule_takes_the_glibc_from_under_yesterdays_system() {
    let world = shared().await;
    world.memory.set_lifecycle(seven_days());
    let error = world.sweep_as(world.request()).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(Refusal::Expiry { .. })),
        "{error:?}"
    );
    world.memory.expire(world.clock.now());
    assert!(world.has("sys") && !world.has("glibc"));
    assert!(!world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_with_the_same_window_does_not() {
    let world = shared().await;
    world.push("garbage");
    world.days(8).await;
    let mut request = world.request();
    request.settings.config.window = 7 * DAY;
    request.timing.window = 7 * DAY;
    world.sweep_as(request).await.unwrap();
    assert!(world.has("sys") && world.has("glibc") && !world.has("garbage"));
    assert!(world.holes().is_empty());
    tokio::time::sleep(Duration::from_secs(1)).await;
}
