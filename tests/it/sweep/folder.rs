//! A cache in a folder is swept like a bucket: the time of a file is its date.

use std::{path::Path, sync::Arc, time::Duration};

use narhaul::{
    backend::{Backend, ListQuery, PutOptions, file::Folder},
    nix::object_key::ObjectKey,
};

use super::world::{DAY, World, body_key, narinfo_key};

/// Writes all objects of a made-up cache into a folder, now.
async fn pour(world: &World, folder: &Folder) {
    for name in world.memory.names() {
        let key = ObjectKey::parse(&name).unwrap();
        let body = world.memory.stored(&name).unwrap().body.clone();
        folder
            .put(&key, body, &PutOptions::default())
            .await
            .unwrap();
    }
}

fn has(root: &Path, name: &str) -> (bool, bool) {
    (
        root.join(narinfo_key(name)).is_file(),
        root.join(body_key(name)).is_file(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_folder_is_swept_by_the_times_of_its_files() {
    let temp = tempfile::tempdir().unwrap();
    let world = World::new();
    world.push("sys -> glibc; glibc; old -> lib; lib");
    world.root("web", &["sys"]);
    let folder = Folder::new(temp.path().join("cache"), world.clock.clone());
    folder.create().await.unwrap();
    pour(&world, &folder).await;
    let root = temp.path().join("cache");
    let sweep = || world.sweep_over(Arc::new(folder.clone()), world.request());

    assert!(
        sweep().await.unwrap().condemned.is_empty(),
        "all of it is young"
    );
    tokio::time::sleep(32 * DAY).await;
    let report = sweep().await.unwrap();
    assert_eq!(report.condemned.len(), 2);
    assert_eq!(
        (has(&root, "old"), has(&root, "sys")),
        ((false, true), (true, true))
    );
    tokio::time::sleep(32 * DAY + Duration::from_secs(1)).await;
    sweep().await.unwrap();
    assert_eq!(
        (has(&root, "old"), has(&root, "lib")),
        ((false, false), (false, false))
    );
    assert_eq!(
        (has(&root, "glibc"), has(&root, "sys")),
        ((true, true), (true, true))
    );
    tokio::time::sleep(9 * DAY).await;
    sweep().await.unwrap();
    let query = ListQuery {
        prefix: "narhaul/journal/".to_owned(),
        ..ListQuery::default()
    };
    let left = folder.list(&query).await.unwrap().objects;
    assert!(
        left.is_empty(),
        "journals, beats and doom lists are gone: {left:?}"
    );
}
