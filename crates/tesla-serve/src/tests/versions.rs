//! What is served, as files come, change, break and go.

use std::path::Path;
use std::task::Poll;

use super::*;

fn store(config: Config) -> Store {
    Store::new(Device::open(DeviceChoice::Flex).unwrap(), config)
}

fn keeping(versions: usize) -> Store {
    store(Config {
        versions,
        ..Default::default()
    })
}

/// A folder with a model file for each path; a path with `!` before it is that of a broken one.
fn lay(folder: &Path, paths: &[&str]) {
    let good = golden().to_bytes().unwrap();
    let mut broken = good.clone();
    broken[1000] ^= 1;
    for path in paths {
        let (path, bytes) = match path.strip_prefix('!') {
            Some(path) => (path, &broken),
            None => (*path, &good),
        };
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn looks(store: &Store) {
    (0..4).for_each(|_| store.refresh());
}

fn current(store: &Store, name: &str) -> Option<u64> {
    store.find(name, None).map(|model| model.version).ok()
}

#[test]
fn uploads_that_are_broken_take_no_good_version_down() {
    for versions in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let store = keeping(versions);
        lay(folder.path(), &["n/1/model.tesla", "n/2/model.tesla"]);
        store.add(folder.path(), None).unwrap();
        lay(folder.path(), &["!n/3/model.tesla", "!n/4/model.tesla"]);
        looks(&store);
        assert_eq!(current(&store, "n"), Some(2));
        assert!(store.list()[0].reason.contains("altered"));
        // A version that is broken afterwards goes on as it was, and makes no room for older ones.
        lay(folder.path(), &["!n/2/model.tesla"]);
        looks(&store);
        assert_eq!(current(&store, "n"), Some(2));
        assert_eq!(store.versions("n").len(), versions);
        // What is mended is loaded, and pushes out what is old.
        lay(folder.path(), &["n/4/model.tesla"]);
        looks(&store);
        assert_eq!(current(&store, "n"), Some(4));
        assert_eq!(store.versions("n").len(), versions);
        assert_eq!(store.list()[0].reason, "");
    }
}

#[test]
fn a_version_that_was_rolled_back_to_stays_until_a_good_one_comes() {
    let folder = tempfile::tempdir().unwrap();
    let store = keeping(2);
    lay(folder.path(), &["n/1/model.tesla", "n/2/model.tesla"]);
    store.add(folder.path(), None).unwrap();
    assert_eq!(store.roll_back("n").unwrap(), 1);
    lay(folder.path(), &["!n/4/model.tesla"]);
    looks(&store);
    assert_eq!(current(&store, "n"), Some(1));
    assert!(store.load("n").is_err());
    assert_eq!(current(&store, "n"), Some(1));
    lay(folder.path(), &["n/3/model.tesla"]);
    looks(&store);
    assert_eq!(current(&store, "n"), Some(3));
    assert_eq!(store.versions("n"), ["2", "3"]);
}

#[test]
fn broken_files_hide_no_good_one_when_a_server_starts() {
    for versions in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let all = ["n/1/model.tesla", "!n/2/model.tesla", "!n/3/model.tesla", "m.tesla"];
        lay(folder.path(), &all);
        lay(folder.path(), &["!m/7/model.tesla"]);
        let store = keeping(versions);
        store.add(folder.path(), None).unwrap();
        assert_eq!(current(&store, "n"), Some(1));
        // A file without a number is for want of one that has a number and can be loaded.
        assert_eq!(current(&store, "m"), Some(1));
        looks(&store);
        assert_eq!(store.versions("n"), ["1"]);
        lay(folder.path(), &["m/8/model.tesla"]);
        looks(&store);
        assert_eq!(current(&store, "m"), Some(8));
    }
}

#[test]
fn who_loads_one_model_does_not_delay_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = keeping(2);
    lay(folder.path(), &["a.tesla"]);
    store.add(folder.path(), None).unwrap();
    lay(folder.path(), &["b.tesla", "c.tesla"]);
    store.refresh();
    store.load("c").unwrap();
    assert_eq!(current(&store, "b"), None);
    store.refresh();
    assert_eq!(current(&store, "b"), Some(1));
    assert_eq!(current(&store, "c"), Some(1));
}

#[test]
fn no_number_is_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = keeping(2);
    lay(folder.path(), &["a.tesla"]);
    store.add(folder.path(), None).unwrap();
    store.unload("a").unwrap();
    store.load("a").unwrap();
    assert_eq!(current(&store, "a"), Some(2));
    std::fs::remove_file(folder.path().join("a.tesla")).unwrap();
    looks(&store);
    assert_eq!(current(&store, "a"), None);
    lay(folder.path(), &["a.tesla"]);
    looks(&store);
    assert_eq!(current(&store, "a"), Some(3));
}

#[test]
fn models_of_a_folder_that_is_away_are_served_on() {
    let home = tempfile::tempdir().unwrap();
    let (disk, away) = (home.path().join("disk"), home.path().join("away"));
    lay(&disk, &["a.tesla", "n/1/model.tesla"]);
    let store = keeping(2);
    store.add(&disk, None).unwrap();
    std::fs::rename(&disk, &away).unwrap();
    looks(&store);
    let failure = store.load("b").unwrap_err();
    assert!(failure.message.starts_with("cannot read `"), "{}", failure.message);
    assert_eq!((current(&store, "a"), current(&store, "n")), (Some(1), Some(1)));
    std::fs::rename(&away, &disk).unwrap();
    looks(&store);
    assert_eq!((current(&store, "a"), current(&store, "n")), (Some(1), Some(1)));
    std::fs::remove_file(disk.join("a.tesla")).unwrap();
    looks(&store);
    assert_eq!((current(&store, "a"), current(&store, "n")), (None, Some(1)));
}

#[test]
fn a_version_is_freed_by_who_changes_the_store_once_no_request_has_it() {
    let store = keeping(1);
    store.insert("a", predictor()).unwrap();
    let request = store.find("a", None).unwrap();
    let version = Arc::downgrade(&request);
    store.insert("a", predictor()).unwrap();
    assert_eq!(store.versions("a"), ["2"]);
    assert!(store.sweep());
    // The request does not free it: it is not the last that has it.
    drop(request);
    assert!(version.upgrade().is_some());
    assert!(!store.sweep());
    assert!(version.upgrade().is_none());
}

#[test]
fn changes_go_on_after_one_that_panics() {
    let store = Arc::new(keeping(1));
    let loader = crate::loader::Loader::start(store.clone());
    runtime().block_on(async {
        let failed = loader.run(|_| panic!("expected here")).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.status, 500);
        assert!(failed.message.starts_with("the change was not made"), "{}", failed.message);
        let added = loader.run(|store| store.insert("a", predictor())).await;
        added.unwrap().unwrap();
    });
    assert_eq!(current(&store, "a"), Some(1));
}

#[test]
fn changes_whose_client_has_gone_are_not_made() {
    let store = Arc::new(keeping(1));
    let loader = Arc::new(crate::loader::Loader::start(store.clone()));
    runtime().block_on(async {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let loader = loader.clone();
            let change = move |_: &Store| {
                begun.send(()).unwrap();
                let _ = ends.recv();
            };
            async move { loader.run(change).await }
        });
        begins.await.unwrap();
        {
            let mut gone = Box::pin(loader.run(|store| store.insert("gone", predictor())));
            let polled =
                std::future::poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending()));
            assert!(polled.await);
        }
        end.send(()).unwrap();
        first.await.unwrap().unwrap();
        let added = loader.run(|store| store.insert("a", predictor())).await;
        added.unwrap().unwrap();
    });
    assert_eq!((current(&store, "a"), current(&store, "gone")), (Some(1), None));
}

#[test]
fn a_version_that_two_folders_hold_is_served_until_both_are_gone() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folders = [one.path(), two.path()];
    let store = keeping(2);
    for folder in folders {
        lay(folder, &["n/1/model.tesla"]);
        store.add(folder, None).unwrap();
    }
    let stays = |looks: usize| {
        for _ in 0..looks {
            store.refresh();
            assert_eq!(current(&store, "n"), Some(1));
        }
    };
    stays(4);
    let last = folders.iter().max().unwrap();
    std::fs::remove_dir_all(last.join("n")).unwrap();
    stays(4);
    let first = folders.iter().min().unwrap();
    std::fs::remove_dir_all(first.join("n")).unwrap();
    looks(&store);
    assert_eq!(current(&store, "n"), None);
}
