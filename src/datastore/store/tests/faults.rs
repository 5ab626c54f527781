//! Every operation of the disk fails once, or from there on, under every kind of write.

use nix::libc::{EIO, ENOSPC, EROFS};

use super::disk::{Disk, Fault};
use super::*;
use crate::model::error::ErrorTag;

type Act = fn(&Store) -> Result<(), StoreError>;

fn commit(store: &Store) -> Result<(), StoreError> {
    store.commit(
        &record(3, &[7; 9000]),
        &[meta("base", b"new"), meta("armed", b"1")],
    )
}

fn put_meta(store: &Store) -> Result<(), StoreError> {
    store.put_meta(&[meta("base", b"new"), ("gone".to_owned(), None)])
}

fn snapshot(store: &Store) -> Result<(), StoreError> {
    store.snapshot(2, b"ab")
}

/// Two commits and something beside them.
fn some_past(disk: &Disk) -> Store {
    let store = make(disk);
    store.snapshot(0, b"").unwrap();
    store.commit(&record(1, b"a"), &[]).unwrap();
    store
        .commit(
            &record(2, b"b"),
            &[meta("base", b"old"), meta("gone", b"x")],
        )
        .unwrap();
    store
}

/// Walks `fault` over the operations of the disk until one more leaves `act` untouched. Returns how many there were.
fn at_each_point(
    act: Act,
    fault: impl Fn(usize) -> Fault,
    check: impl Fn(&Disk, &Store, StoreError),
) -> usize {
    for after in 0.. {
        let disk = Disk::default();
        let store = some_past(&disk);
        disk.inject(fault(after));
        match act(&store) {
            Ok(()) => {
                assert!(!disk.has_failed(), "a failure at {after} was acknowledged");
                return after;
            }
            Err(error) => check(&disk, &store, error),
        }
    }
    unreachable!()
}

/// The acceptable states after a refusal: a snapshot changes nothing that a start computes.
fn assert_untouched(loaded: &Loaded) {
    match &loaded.snapshot {
        Some(whole) if whole == b"ab" => assert!(loaded.diffs.is_empty()),
        other => {
            assert_eq!(other.as_deref(), Some(b"".as_slice()));
            assert_eq!(loaded.diffs, [b"a", b"b"]);
        }
    }
    assert_eq!(loaded.next_commit, 3);
    assert_eq!(loaded.meta.len(), 2);
    assert_eq!(loaded.meta["base"], b"old");
    assert_eq!(loaded.meta["gone"], b"x");
}

fn assert_works(disk: &Disk, store: &Store) {
    assert_eq!(store.get_meta("base").unwrap(), b"old");
    store.commit(&record(3, b"c"), &[]).unwrap();
    assert_eq!(store.history().unwrap().len(), 3);
    let loaded = on_disk(disk);
    assert_eq!(loaded.next_commit, 4);
    assert_eq!(loaded.diffs.last().unwrap(), b"c");
    assert_eq!(loaded.meta["base"], b"old");
}

#[test]
fn one_failure_anywhere_refuses_the_write_and_leaves_no_trace() {
    for errno in [ENOSPC, EIO] {
        for act in [commit as Act, put_meta, snapshot] {
            let points = at_each_point(
                act,
                |after| Fault::Once { after, errno },
                |disk, store, _| {
                    assert_untouched(&on_disk(disk));
                    assert_eq!(store.history().unwrap().len(), 2);
                    assert_works(disk, store);
                },
            );
            assert!(points > 3, "only {points} points");
        }
    }
}

#[test]
fn a_disk_that_stays_broken_refuses_everything_until_it_works_again() {
    for errno in [ENOSPC, EIO, EROFS] {
        for act in [commit as Act, put_meta, snapshot] {
            at_each_point(
                act,
                |after| Fault::From { after, errno },
                |disk, store, _| {
                    store.commit(&record(3, b"c"), &[]).unwrap_err();
                    store.put_meta(&[meta("base", b"c")]).unwrap_err();
                    store.settle().unwrap_err();
                    assert_eq!(store.get_meta("base").unwrap(), b"old");
                    disk.inject(Fault::None);
                    store.settle().unwrap();
                    assert_untouched(&on_disk(disk));
                    assert_works(disk, store);
                },
            );
        }
    }
}

#[test]
fn a_failure_while_the_refused_commit_is_taken_out_is_tried_again() {
    let first = at_each_point(
        commit,
        |after| Fault::Once { after, errno: EIO },
        |_, _, _| {},
    );
    for point in 0..first {
        for again in 0..40 {
            let disk = Disk::default();
            let store = some_past(&disk);
            disk.inject(Fault::From {
                after: point,
                errno: EIO,
            });
            commit(&store).unwrap_err();
            disk.inject(Fault::Once {
                after: again,
                errno: ENOSPC,
            });
            let settled = store.settle();
            let met = disk.has_failed();
            disk.inject(Fault::None);
            assert!(settled.is_err() || !met);
            store.settle().unwrap();
            assert_untouched(&on_disk(&disk));
            if !met {
                break;
            }
        }
    }
}

#[test]
fn a_store_that_is_closed_after_a_failure_leaves_no_trace_either() {
    for after in 0.. {
        let disk = Disk::default();
        let store = some_past(&disk);
        disk.inject(Fault::From { after, errno: EIO });
        if commit(&store).is_ok() {
            return;
        }
        disk.inject(Fault::None);
        drop(store);
        assert_untouched(&on_disk(&disk));
    }
}

#[test]
fn a_manager_reads_what_is_wrong_with_the_disk() {
    let refusals = [
        (ENOSPC, ErrorTag::ResourceDenied, "no space left on device"),
        (
            EROFS,
            ErrorTag::OperationFailed,
            "the file system is read-only",
        ),
        (EIO, ErrorTag::OperationFailed, "Input/output error"),
    ];
    for (errno, tag, words) in refusals {
        at_each_point(
            commit,
            |after| Fault::Once { after, errno },
            |_, _, error| {
                let told = error.to_rpc_error();
                assert_eq!(told.tag, tag);
                assert!(
                    told.message
                        .starts_with("the configuration could not be stored: ")
                );
                assert!(told.message.contains(words), "{}", told.message);
            },
        );
    }
}
