//! A commit that is taken back asks for no unbinding: what it restores is sent by nobody, what it had set no more.

use tether::sim::cloud::Device as Registered;

use super::*;
use crate::support::registered;

const CODE: &str = "<unbinding-code>4711</unbinding-code>";
const OTHER: &str = "<unbinding-code>4712</unbinding-code>";

fn without_code() -> String {
    format!("<unbinding-code {REMOVE}/>")
}

/// A guarded device whose code the cloud has accepted.
async fn unbound() -> Device {
    let entry: Registered = registered().unbinding_code("4711");
    let mut device = Device::start_with(entry).await;
    device.configure_cloud().await;
    device.up().await;
    device.commit_cloud(GUARD).await;
    device.commit_cloud(CODE).await;
    accepted(&mut device).await;
    device
}

async fn accepted(device: &mut Device) {
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
}

/// Once the tunnel is up: the accepted answer is still there, and no code went to the cloud but the accepted one.
async fn nothing_was_sent(device: &mut Device) {
    let state = device.up().await;
    assert!(state.is("unbinding/status", "accepted"), "{state:?}");
    // Whatever was on its way before this probe has arrived with it.
    device.round_trip().await;
    assert_eq!(device.judged(), [1, 2], "the first, and the probe");
}

#[tokio::test]
async fn a_code_that_the_guard_restores_is_not_sent_and_its_answer_stays() {
    let mut device = unbound().await;
    let before = server(&mut device.session).await;
    device
        .commit_cloud(&format!("{}{WRONG}", without_code()))
        .await;
    device.failed("password-refused").await;
    pass(61).await;
    restored(&mut device, &before).await;
    nothing_was_sent(&mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_code_that_a_start_restores_is_not_sent_then_nor_at_the_next_one() {
    let mut device = unbound().await;
    device
        .commit_cloud(&format!("{}{WRONG}", without_code()))
        .await;
    device.failed("password-refused").await;
    let mut device = device.restart().await;
    let state = device.up().await;
    assert!(state.is("last-down/reason", "commit-rolled-back"));
    let mut device = device.restart().await;
    nothing_was_sent(&mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_code_that_a_cancelled_commit_restores_is_not_sent() {
    let mut device = unbound().await;
    let edit = cloud_management(&without_code());
    device
        .session
        .edit_config("candidate", &edit)
        .await
        .unwrap();
    device
        .session
        .rpc("<commit><confirmed/></commit>")
        .await
        .unwrap();
    device.session.rpc("<cancel-commit/>").await.unwrap();
    nothing_was_sent(&mut device).await;
    device.stop().await;
}

#[tokio::test]
async fn a_code_that_was_taken_back_with_its_commit_is_not_sent() {
    for restarts in [false, true] {
        let mut device = unbound().await;
        let before = server(&mut device.session).await;
        device.commit_cloud(&format!("{OTHER}{WRONG}")).await;
        device.failed("password-refused").await;
        if restarts {
            device = device.restart().await;
        } else {
            pass(61).await;
        }
        restored(&mut device, &before).await;
        device.up().await;
        device.round_trip().await;
        let judged = device.judged();
        assert_eq!(judged, [1, 3], "the first, and the probe");
        device.stop().await;
    }
}

#[tokio::test]
async fn a_restored_code_is_sent_when_somebody_sets_it_anew() {
    let mut device = unbound().await;
    let before = server(&mut device.session).await;
    device.commit_cloud(&format!("{OTHER}{WRONG}")).await;
    device.failed("password-refused").await;
    pass(61).await;
    restored(&mut device, &before).await;
    device.up().await;
    device.commit_cloud(&without_code()).await;
    device.commit_cloud(CODE).await;
    accepted(&mut device).await;
    assert_eq!(device.judged(), [1, 3]);
    device.stop().await;
}
