//! The store on a disk that fails at every point, loses power at every point, is full, is read-only.

mod confirmed;
mod crash;
pub(crate) mod disk;
mod faults;
mod files;
mod guarded;
mod sync;

use std::time::{Duration, SystemTime};

use disk::Disk;

use super::*;

fn record(id: u64, diff: &[u8]) -> CommitRecord {
    CommitRecord {
        id,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + id),
        user: "admin".to_owned(),
        session: Some(7),
        transport: None,
        source: "netconf".to_owned(),
        host: None,
        rolled_back_to: None,
        comment: None,
        diff: diff.to_vec(),
    }
}

fn meta(key: &str, value: &[u8]) -> MetaChange {
    (key.to_owned(), Some(value.to_vec()))
}

/// A new store on a disk in memory.
pub(crate) fn make(disk: &Disk) -> Store {
    let database = builder().create_with_backend(disk.clone()).unwrap();
    initialise(&database).unwrap();
    database.close().unwrap();
    reopen(disk).unwrap().0
}

pub(crate) fn reopen(disk: &Disk) -> Result<(Store, Loaded), StoreError> {
    let disk = disk.clone();
    Store::with(Box::new(move || {
        builder().create_with_backend(disk.clone())
    }))
}

/// What a start from this disk would read.
fn on_disk(disk: &Disk) -> Loaded {
    reopen(&disk.copy()).unwrap().1
}

#[test]
fn a_start_reads_the_snapshot_and_the_differences_since_in_order() {
    let disk = Disk::default();
    let store = make(&disk);
    assert!(on_disk(&disk).is_first_start());
    store.snapshot(0, b"factory").unwrap();
    store.commit(&record(1, b"a"), &[]).unwrap();
    store.commit(&record(2, b"b"), &[]).unwrap();
    store.snapshot(2, b"ab").unwrap();
    store
        .commit(&record(3, b"c"), &[meta("base", b"2")])
        .unwrap();
    store.commit(&record(4, b"d"), &[]).unwrap();
    let loaded = on_disk(&disk);
    assert_eq!(loaded.snapshot.as_deref(), Some(b"ab".as_slice()));
    assert_eq!(loaded.diffs, [b"c", b"d"]);
    assert_eq!(loaded.next_commit, 5);
    assert_eq!(loaded.meta["base"], b"2");
}

#[test]
fn commits_bear_the_next_number() {
    let store = make(&Disk::default());
    for given in [0, 2, 1_000_000] {
        let refused = store.commit(&record(given, b"a"), &[]);
        assert!(matches!(
            refused,
            Err(StoreError::OutOfOrder { expected: 1, .. })
        ));
    }
    assert!(store.snapshot(1, b"").is_err());
}

#[test]
fn the_history_is_the_last_fifty_commits() {
    let disk = Disk::default();
    let store = make(&disk);
    for id in 1..=70 {
        store.commit(&record(id, &id.to_be_bytes()), &[]).unwrap();
        if id == 30 || id == 60 {
            store.snapshot(id, b"so far").unwrap();
        }
    }
    let history = store.history().unwrap();
    let expected: Vec<_> = (21..=70).map(|id| record(id, &id.to_be_bytes())).collect();
    assert_eq!(history, expected);
    assert_eq!(on_disk(&disk).diffs.len(), 10);
}

#[test]
fn a_snapshot_is_due_when_the_differences_are_many_or_heavy() {
    let store = make(&Disk::default());
    store.snapshot(0, &vec![0; LIGHT * 2]).unwrap();
    store.commit(&record(1, &vec![0; LIGHT * 2]), &[]).unwrap();
    assert!(!store.is_snapshot_due());
    store.commit(&record(2, b"x"), &[]).unwrap();
    assert!(store.is_snapshot_due());
    store.snapshot(2, b"x").unwrap();
    assert!(!store.is_snapshot_due());
    for id in 3..3 + COMMITS_PER_SNAPSHOT {
        assert!(!store.is_snapshot_due());
        store.commit(&record(id, b"x"), &[]).unwrap();
    }
    assert!(store.is_snapshot_due());
}

#[test]
fn a_large_snapshot_is_replaced_more_seldom_than_a_small_one() {
    let store = make(&Disk::default());
    let commits = COMMITS_PER_SNAPSHOT + 10;
    let size = SNAPSHOT_PER_COMMIT * usize::try_from(commits).unwrap();
    store.snapshot(0, &vec![0; size]).unwrap();
    for id in 1..=commits {
        assert!(!store.is_snapshot_due(), "{id}");
        store.commit(&record(id, b"x"), &[]).unwrap();
    }
    assert!(store.is_snapshot_due());
}

#[test]
fn what_lies_beside_the_configuration_is_changed_and_removed() {
    let disk = Disk::default();
    let store = make(&disk);
    store.put_meta(&[meta("a", b"1"), meta("b", b"2")]).unwrap();
    store.put_meta(&[("a".to_owned(), None)]).unwrap();
    assert_eq!(store.get_meta("a"), None);
    assert_eq!(store.get_meta("b").unwrap(), b"2");
    assert_eq!(on_disk(&disk).meta.len(), 1);
}
