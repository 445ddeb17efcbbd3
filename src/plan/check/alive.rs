//! What is alive by itself, as the judge reads the rules: by its age, or because something names it.

use std::time::SystemTime;

use crate::{
    nix::store_path::HashPart,
    plan::sweep::{PinSeen, Scene, SweepPlan},
};

/// Returns whether something born then is as old as the window and the margin together.
pub(super) fn is_old(scene: &Scene<'_>, birth: SystemTime) -> bool {
    birth + scene.settings.config.window + scene.settings.margin <= scene.now
}

pub(super) fn has_ended(scene: &Scene<'_>, pin: &PinSeen) -> bool {
    pin.until
        .is_some_and(|until| until + scene.settings.margin <= scene.now)
}

/// Returns every path that something names as alive.
pub(super) fn names<'a>(
    scene: &'a Scene<'a>,
    plan: &'a SweepPlan,
) -> impl Iterator<Item = &'a HashPart> {
    let roots = scene.roots.iter().zip(&plan.fates);
    let roots = roots.filter(|(_, fate)| fate.is_kept());
    let pins = scene.pins.iter().filter(|pin| !has_ended(scene, pin));
    let intents = scene.intents.iter().flat_map(|intent| &intent.parts);
    roots
        .flat_map(|(root, _)| &root.parts)
        .chain(pins.flat_map(|pin| &pin.parts))
        .chain(scene.imported.iter().flat_map(|list| &list.parts))
        .chain(intents)
}
