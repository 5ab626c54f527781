//! A guarded commit on a disk that fails: at each operation of its own write, of its end, of its rollback.

use super::confirmed::{Device, MINUTE, at_each_point};
use super::disk::Fault;
use super::*;
use crate::datastore::Datastore;
use crate::datastore::confirm::Request;
use crate::datastore::guard::GUARD_KEY;
use crate::datastore::tests::line::{PORT, Tunnel};
use crate::model::error::ErrorTag;

const TIMEOUT: &str = "/cloud-management:cloud-management/commit-guard/timeout";

/// A device whose tunnel stands and whose commits are guarded for a minute.
async fn guarded() -> (Device, Tunnel) {
    let tunnel = Tunnel::default();
    let device = Device::start_with(tunnel.parts()).await;
    device
        .commit_leaf(TIMEOUT, "60", Request::default())
        .await
        .unwrap();
    tunnel.comes_up();
    (device, tunnel)
}

async fn cut(device: &Device) -> bool {
    let done = device.commit_leaf(PORT, "2", Request::default()).await;
    done.is_ok()
}

/// Whether running has the other port; the same on the disk; whether a start would take something back.
async fn is_other(device: &Device) -> (bool, bool, bool) {
    let running = device.handle.read(|datastore| {
        let running = datastore.config(crate::datastore::Target::Running);
        running.value(PORT)
    });
    let is_other = |port: Option<String>| port.as_deref() == Some("2");
    let (tree, meta) = device.tree_on_disk();
    let running = running.await.unwrap();
    (
        is_other(running),
        is_other(tree.value(PORT)),
        meta.contains_key(GUARD_KEY),
    )
}

#[tokio::test(start_paused = true)]
async fn a_guarded_commit_that_cannot_be_stored_arms_nothing() {
    at_each_point(async |fault| {
        let (device, _) = guarded().await;
        device.disk.inject(fault);
        let done = cut(&device).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(done, !failed);
        assert_eq!(is_other(&device).await, (done, done, done));
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(is_other(&device).await, (false, false, false));
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_of_the_guard_that_cannot_be_stored_is_done_when_it_can() {
    at_each_point(async |fault| {
        let (device, tunnel) = guarded().await;
        assert!(cut(&device).await);
        device.disk.inject(fault);
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        if failed {
            // Nothing half done: running, the disk, and what a start falls back to are what they were.
            assert_eq!(is_other(&device).await, (true, true, true));
            let late = device.commit_leaf(PORT, "3", Request::default()).await;
            assert_eq!(late.unwrap_err()[0].tag, ErrorTag::InUse);
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(is_other(&device).await, (false, false, false));
        assert_eq!(tunnel.0.lock().unwrap().rolled_back, 1);
        device
            .commit_leaf(PORT, "3", Request::default())
            .await
            .unwrap();
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_establishment_that_cannot_be_stored_takes_nothing_back_and_is_stored_when_it_can() {
    at_each_point(async |fault| {
        let (device, tunnel) = guarded().await;
        assert!(cut(&device).await);
        device.disk.inject(fault);
        tunnel.comes_up();
        // Whoever owns the datastores looks after each thing that it is asked.
        device.handle.read(|_| ()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(is_other(&device).await, (true, true, failed));
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(is_other(&device).await, (true, true, false));
        failed
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_that_cannot_be_stored_leaves_it_armed() {
    at_each_point(async |fault| {
        let (device, _) = guarded().await;
        assert!(cut(&device).await);
        device.disk.inject(fault);
        let accept = |datastore: &mut Datastore| {
            let by = super::confirmed::author();
            Ok((datastore.accept_guarded_commit(&by)?, ()))
        };
        let done = device.handle.write(accept).await;
        let failed = device.disk.has_failed();
        device.disk.inject(Fault::None);
        assert_eq!(done.is_err(), failed);
        assert_eq!(is_other(&device).await, (true, true, failed));
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(is_other(&device).await, (!failed, !failed, false));
        failed
    })
    .await;
}
