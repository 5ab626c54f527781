//! A confirmed commit on a disk that fails: at each operation of its own write, of its confirmation, of its rollback.

use std::sync::Arc;

use nix::libc::{EIO, ENOSPC};

use super::disk::{Disk, Fault};
use super::*;
use crate::datastore::confirm::{BASE_KEY, Confirmed, Request};
use crate::datastore::driver::Handle;
use crate::datastore::edit::Sealer;
use crate::datastore::{Author, Datastore, Parts, Target};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Tree};

const KEEPALIVE: &str = "/cloud-management:cloud-management/keepalive-interval";
pub(super) const MINUTE: Duration = Duration::from_secs(60);

struct NoSecrets;
impl Sealer for NoSecrets {
    fn seal(&mut self, _: &str, _: &str, _: Option<&str>) -> Result<Option<String>, RpcError> {
        Ok(None)
    }
}

/// An owner of a datastore whose running has 100, on a disk that holds the same.
pub(super) struct Device {
    pub(super) disk: Disk,
    pub(super) handle: Handle,
}

pub(super) fn author() -> Author {
    Author {
        session: 1,
        user: "root".to_owned(),
        groups: Vec::new(),
        recovery: true,
        host: None,
        transport: None,
        source: "netconf",
        back_to: None,
        comment: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

impl Device {
    async fn start() -> Self {
        Self::start_with(Parts::default()).await
    }

    pub(super) async fn start_with(parts: Parts) -> Self {
        let disk = Disk::default();
        let store = make(&disk);
        store.snapshot(0, b"").unwrap();
        let running = Tree::new(Schema::load(&[]).unwrap());
        let datastore = Datastore::start(running, 1, Box::new(NoSecrets), parts);
        let (handle, _) = Handle::start(datastore.unwrap(), Arc::new(store));
        let device = Self { disk, handle };
        device.commit("100", Request::default()).await.unwrap();
        device
    }

    async fn commit(&self, value: &'static str, request: Request) -> Result<(), Errors> {
        self.commit_leaf(KEEPALIVE, value, request).await
    }

    pub(super) async fn commit_leaf(
        &self,
        leaf: &'static str,
        value: &'static str,
        request: Request,
    ) -> Result<(), Errors> {
        let commit = move |datastore: &mut Datastore| {
            let mut tree = datastore.config(Target::Candidate).duplicate();
            tree.set(leaf, Some(value))?;
            datastore.set_candidate(tree, &author())?;
            Ok((datastore.commit(&author(), &request)?, ()))
        };
        self.handle.write(commit).await
    }

    async fn confirmed(&self, value: &'static str) -> Result<(), Errors> {
        let confirmed = Some(Confirmed {
            timeout: MINUTE,
            persist: None,
        });
        let request = Request {
            confirmed,
            persist_id: None,
        };
        self.commit(value, request).await
    }

    async fn cancel(&self) -> Result<(), Errors> {
        let cancel =
            |datastore: &mut Datastore| Ok((datastore.cancel_commit(&author(), None)?, ()));
        self.handle.write(cancel).await
    }

    async fn running(&self) -> String {
        let value = self
            .handle
            .read(|datastore| datastore.config(Target::Running).value(KEEPALIVE));
        value.await.unwrap().unwrap_or_default()
    }

    /// What a start from the disk as it is now would find: running, and whether a commit is pending.
    fn on_disk(&self) -> (String, bool) {
        let (tree, meta) = self.tree_on_disk();
        let value = tree.value(KEEPALIVE).unwrap_or_default();
        (value, meta.contains_key(BASE_KEY))
    }

    /// The same: running, and what lies beside it.
    pub(super) fn tree_on_disk(&self) -> (Tree, BTreeMap<String, Vec<u8>>) {
        let loaded = on_disk(&self.disk);
        let mut tree = Tree::new(Schema::load(&[]).unwrap());
        assert!(loaded.snapshot.as_deref().is_none_or(<[u8]>::is_empty));
        for diff in &loaded.diffs {
            let text = std::str::from_utf8(diff).unwrap();
            tree.apply(&Diff::parse(tree.schema(), text).unwrap())
                .unwrap();
        }
        (tree, loaded.meta)
    }
}

/// Lets a step meet a failure of the disk at its first operation, its second and so on, until one comes too late.
pub(super) async fn at_each_point<F: Future<Output = bool>>(step: impl Fn(Fault) -> F) {
    for errno in [ENOSPC, EIO] {
        let mut points = 0;
        while step(Fault::Once {
            after: points,
            errno,
        })
        .await
        {
            points += 1;
        }
        assert!(points > 3, "only {points} points");
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_commit_that_cannot_be_stored_arms_nothing() {
    at_each_point(async |fault| {
        let device = Device::start().await;
        device.disk.inject(fault);
        let done = device.confirmed("200").await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(done.is_err(), failed);
        if failed {
            assert_eq!(device.running().await, "100");
            assert_eq!(device.on_disk(), ("100".to_owned(), false));
            let nothing = device.cancel().await.unwrap_err();
            assert_eq!(nothing[0].tag, ErrorTag::OperationFailed);
            tokio::time::sleep(2 * MINUTE).await;
            device.commit("300", Request::default()).await.unwrap();
            assert_eq!(device.on_disk(), ("300".to_owned(), false));
        } else {
            assert_eq!(device.on_disk(), ("200".to_owned(), true));
        }
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_cannot_be_stored_leaves_it_pending() {
    at_each_point(async |fault| {
        let device = Device::start().await;
        device.confirmed("200").await.unwrap();
        device.disk.inject(fault);
        let done = device.commit("200", Request::default()).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(done.is_err(), failed);
        assert_eq!(device.on_disk(), ("200".to_owned(), failed));
        tokio::time::sleep(2 * MINUTE).await;
        let left = if failed { "100" } else { "200" };
        assert_eq!(device.running().await, left);
        assert_eq!(device.on_disk(), (left.to_owned(), false));
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_cannot_be_stored_is_done_when_it_can() {
    at_each_point(async |fault| {
        let device = Device::start().await;
        device.confirmed("200").await.unwrap();
        device.disk.inject(fault);
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        if failed {
            // Running is what it is, on the disk too; and what a start falls back to is there.
            assert_eq!(device.running().await, "200");
            assert_eq!(device.on_disk(), ("200".to_owned(), true));
            let late = device.commit("300", Request::default()).await;
            assert_eq!(late.unwrap_err()[0].tag, ErrorTag::InUse);
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(device.running().await, "100");
        assert_eq!(device.on_disk(), ("100".to_owned(), false));
        device.commit("300", Request::default()).await.unwrap();
        assert_eq!(device.on_disk(), ("300".to_owned(), false));
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_cannot_be_stored_leaves_it_pending() {
    at_each_point(async |fault| {
        let device = Device::start().await;
        device.confirmed("200").await.unwrap();
        device.disk.inject(fault);
        let done = device.cancel().await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(done.is_err(), failed);
        if failed {
            assert_eq!(device.running().await, "200");
            assert_eq!(device.on_disk(), ("200".to_owned(), true));
            device.cancel().await.unwrap();
        }
        assert_eq!(device.running().await, "100");
        assert_eq!(device.on_disk(), ("100".to_owned(), false));
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_snapshot_is_taken_over_what_may_be_taken_back() {
    let device = Device::start().await;
    for _ in 0..COMMITS_PER_SNAPSHOT {
        device.confirmed("200").await.unwrap();
        device.confirmed("201").await.unwrap();
    }
    assert_eq!(device.on_disk(), ("201".to_owned(), true));
    device.commit("201", Request::default()).await.unwrap();
    // A write waits for the snapshot that follows the commit before it.
    device.commit("300", Request::default()).await.unwrap();
    let loaded = on_disk(&device.disk);
    assert_eq!(loaded.diffs.len(), 1);
    assert!(loaded.snapshot.is_some_and(|snapshot| !snapshot.is_empty()));
}

/// A start that finds a pending commit and a disk that fails: it goes on with what is restored, and makes it good.
#[test]
fn a_rollback_at_a_start_that_cannot_be_stored_is_owed_and_paid_before_anything_else() {
    for errno in [ENOSPC, EIO] {
        for after in 0.. {
            let disk = Disk::default();
            let store = make(&disk);
            store.snapshot(0, b"").unwrap();
            store
                .commit(&record(1, b"a"), &[meta(BASE_KEY, b"0")])
                .unwrap();
            let back = record(2, b"back");
            let gone = [(BASE_KEY.to_owned(), None)];
            disk.inject(Fault::From { after, errno });
            if store.commit(&back, &gone).is_ok() {
                assert!(after > 3, "only {after} points");
                break;
            }
            store.owe(Some(back), gone.to_vec());
            store.commit(&record(3, b"c"), &[]).unwrap_err();
            store.settle().unwrap_err();
            assert!(store.is_unsettled());
            disk.inject(Fault::None);
            // A start from this disk finds the same to fall back to, or that it was done.
            let found = on_disk(&disk);
            let is_pending = found.meta.contains_key(BASE_KEY);
            assert_eq!(found.diffs.len(), if is_pending { 1 } else { 2 });
            store.commit(&record(3, b"c"), &[]).unwrap();
            assert!(!store.is_unsettled());
            let found = on_disk(&disk);
            assert_eq!(found.diffs, [b"a".as_slice(), b"back", b"c"]);
            assert!(found.meta.is_empty());
            assert_eq!(store.history().unwrap().len(), 3);
        }
    }
}
