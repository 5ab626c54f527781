use nix::libc::{EIO, ENOSPC};

use super::*;
use crate::datastore::store::tests::disk::{Disk, Fault};
use crate::datastore::store::tests::{make, reopen};

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";

fn with(schema: Schema, interval: &str) -> Tree {
    let mut tree = Tree::new(schema);
    tree.set(KEEPALIVE, Some(interval)).unwrap();
    tree
}

/// A disk on which a guarded commit was made, and others after it.
fn guarded(schema: Schema, intervals: &[&str]) -> Disk {
    let disk = Disk::default();
    let store = make(&disk);
    let mut before = Tree::new(schema);
    for (id, interval) in (1..).zip(intervals) {
        let after = with(schema, interval);
        let record = commit_record(id, "netconf", &before.diff(&after).unwrap());
        let mark = (GUARD_KEY.to_owned(), Some(b"1".to_vec()));
        let beside = if id == 2 { vec![mark] } else { Vec::new() };
        store.commit(&record, &beside).unwrap();
        before = after;
    }
    disk
}

/// Both with something to restore and, when that was done by hand already, without.
#[test]
fn a_disk_that_cannot_be_written_keeps_no_start_from_taking_back() {
    let schema = Schema::load(&[]).unwrap();
    for (intervals, commits) in [(&["100", "200"][..], 3), (&["100", "200", "100"], 3)] {
        for errno in [ENOSPC, EIO] {
            let disk = guarded(schema, intervals);
            let (store, mut loaded) = reopen(&disk).unwrap();
            disk.inject(Fault::From { after: 0, errno });
            let taken_back = take_back(schema, &store, &mut loaded).unwrap().unwrap();
            assert!(disk.has_failed() && store.is_unsettled());
            assert_eq!(taken_back.diff.is_empty(), intervals.len() == 3);
            let restored = running(schema, &loaded).unwrap();
            assert_eq!(restored.value(KEEPALIVE).as_deref(), Some("100"));
            disk.inject(Fault::None);
            store.settle().unwrap();
            drop(store);
            let (_, found) = reopen(&disk).unwrap();
            assert!(!found.meta.contains_key(GUARD_KEY));
            assert!(found.meta.contains_key(LAST_KEY));
            assert_eq!(found.next_commit, commits + 1);
            let restored = running(schema, &found).unwrap();
            assert_eq!(restored.value(KEEPALIVE).as_deref(), Some("100"));
        }
    }
}
