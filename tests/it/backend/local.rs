//! The suite over the back ends that need nothing: memory, its wrappers, folders.

use std::sync::Arc;

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Created, Kind, PutOptions,
        file::Folder,
        memory::{Memory, Modes},
        wrap::count::{Counting, Counts},
    },
    clock::Clock,
    nix::object_key::ObjectKey,
};

use super::{Traits, conformance};

/// The traits of a memory back end.
fn memory_traits(memory: &Memory) -> Traits {
    let memory = memory.clone();
    Traits {
        copies: false,
        keeps_user: true,
        has_queries: false,
        finds_uploads: true,
        keeps_versions: memory.modes().is_versioned,
        missing: Some(Arc::new(Memory::without_bucket(
            Clock::system(),
            Modes::aws(),
        ))),
        plant: Some(Box::new(move |name| memory.plant(name, "x"))),
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let memory = Memory::new(Clock::system());
    let traits = memory_traits(&memory);
    conformance(Arc::new(memory), traits).await;
}

#[tokio::test]
async fn memory_keeps_the_contract_in_every_mode_and_with_small_pages() {
    for mut modes in [Modes::garage(), Modes::r2(), Modes::versioned()] {
        modes.page_size = 3;
        let memory = Memory::with_modes(Clock::system(), modes);
        let traits = memory_traits(&memory);
        conformance(Arc::new(memory), traits).await;
    }
}

#[tokio::test]
async fn a_counted_back_end_keeps_the_contract() {
    let (memory, counts) = (Memory::new(Clock::system()), Arc::new(Counts::default()));
    let traits = memory_traits(&memory);
    let counting = Counting::new(Arc::new(memory.clone()), Arc::clone(&counts));
    conformance(Arc::new(counting), traits).await;
    assert_eq!(counts.requests(), memory.counts().requests());
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    for page_size in [3, 10_000] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        let backend = Folder::with_page_size(root.clone(), Clock::system(), page_size);
        assert_eq!(backend.create().await.unwrap(), Created::Made);
        assert!(root.join("nar").is_dir());
        let traits = Traits {
            copies: false,
            keeps_user: false,
            has_queries: false,
            finds_uploads: true,
            keeps_versions: false,
            missing: Some(Arc::new(Folder::new(
                folder.path().join("none"),
                Clock::system(),
            ))),
            plant: Some(Box::new(move |name| {
                std::fs::write(root.join(name), "x").unwrap();
            })),
        };
        conformance(Arc::new(backend), traits).await;
        assert!(
            !folder.path().join("none").exists(),
            "only `create` makes the folder"
        );
    }
}

/// Two copies may go on with the same upload; what the other has put there is not what was told.
#[tokio::test]
async fn a_folder_joins_no_part_that_was_put_in_place_of_the_one_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = ObjectKey::parse("nar/body").unwrap();
    let cache = Folder::new(folder.path().to_owned(), Clock::system());
    cache.create().await.unwrap();
    let upload = cache.begin_upload(&key, &PutOptions::default()).await;
    let upload = upload.unwrap();
    let ours = cache
        .put_part(&upload, 1, Bytes::from_static(b"right"))
        .await;
    let theirs = cache
        .put_part(&upload, 1, Bytes::from_static(b"wrong"))
        .await;
    assert_eq!(theirs.unwrap().size, 5);
    let error = cache.complete_upload(&upload, &[ours.unwrap()]).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("complete"), "{error}");
    assert_eq!(cache.head(&key).await.unwrap_err().kind, Kind::NotFound);
}
