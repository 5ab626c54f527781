//! `test-connection`: says at which step the way to a server ends, and leaves the tunnel alone.

use std::time::Duration;

use tether::protocol::client::ReportedError;

use crate::support::{Device, State, cloud_management, refused, registered};

const ACTION: &str = "<test-connection/>";
const STEPS: [&str; 4] = ["dns", "tcp", "tls", "authentication"];

async fn tested(device: &mut Device) -> State {
    device.act(ACTION).await;
    let done = |state: &State| state.get("connection-test/ended-at").is_some();
    device.wait_state(done).await
}

async fn refuse(device: &mut Device) -> Vec<ReportedError> {
    let action = cloud_management(ACTION);
    let rpc = format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{action}</action>"#);
    refused(device.session.rpc(&rpc).await)
}

fn step(name: &str, leaf: &str) -> String {
    format!("connection-test/server[1]/step[{name}]/{leaf}")
}

/// All before the last of `STEPS` up to `failed` passed, that one failed, and nothing was tried after it.
fn assert_fails_at(state: &State, failed: &str, reason: &str) {
    let mut names = STEPS.iter();
    for name in names.by_ref().take_while(|name| **name != failed) {
        assert!(state.get(&step(name, "duration")).is_some(), "{name}");
        assert_eq!(state.get(&step(name, "failure-reason")), None, "{name}");
    }
    assert_eq!(state.get(&step(failed, "failure-reason")), Some(reason));
    for name in names {
        assert_eq!(state.get(&step(name, "duration")), None, "{name}");
    }
}

#[tokio::test]
async fn a_test_walks_to_the_server_and_the_tunnel_stays() {
    let mut device = Device::connected().await;
    let before = device.up().await;
    let state = tested(&mut device).await;
    for name in STEPS {
        assert!(state.get(&step(name, "duration")).is_some(), "{name}");
        assert_eq!(state.get(&step(name, "failure-reason")), None, "{name}");
    }
    assert_eq!(
        state.get("connection-test/server[1]/server-address"),
        Some("127.0.0.1")
    );
    let found = |leaf: &str| state.get(&format!("connection-test/server[1]/{leaf}"));
    assert_eq!(found("resolved-address"), Some("127.0.0.1"));
    let subject = found("server-certificate/subject");
    assert_eq!(subject, Some("CN=tether reference cloud"));
    assert!(found("server-certificate/not-after").is_some());
    for unchanged in ["connected-at", "attempts", "connection-state"] {
        assert_eq!(state.get(unchanged), before.get(unchanged), "{unchanged}");
    }
    device.round_trip().await;
}

#[tokio::test]
async fn a_test_says_which_step_fails_and_why() {
    let mut device = Device::start().await;
    let wrong = device.whole_configuration("wrong");
    device.commit(&wrong).await;
    let state = tested(&mut device).await;
    assert_fails_at(&state, "authentication", "password-refused");

    device
        .commit_cloud(
            "<trust xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\" nc:operation=\"delete\"/>",
        )
        .await;
    let state = tested(&mut device).await;
    assert_fails_at(&state, "tls", "tls-failed");
    let explanation = state.get(&step("tls", "explanation")).unwrap();
    assert!(explanation.contains("certificate"), "{explanation}");
    let shown = "connection-test/server[1]/server-certificate/subject";
    assert_eq!(state.get(shown), Some("CN=tether reference cloud"));

    device
        .commit_cloud("<server><domain>127.0.0.1</domain><port>1</port></server>")
        .await;
    let state = tested(&mut device).await;
    assert_fails_at(&state, "tcp", "connect-failed");
}

#[tokio::test]
async fn one_test_at_a_time() {
    let mut device = Device::start_far_away(registered(), Duration::from_millis(100)).await;
    device.configure_cloud().await;
    device.act(ACTION).await;
    let errors = refuse(&mut device).await;
    assert_eq!(errors[0].tag, "in-use");
    let done = |state: &State| state.get("connection-test/ended-at").is_some();
    device.wait_state(done).await;
    tested(&mut device).await;
}

#[tokio::test]
async fn without_a_server_there_is_nothing_to_test() {
    let mut device = Device::start().await;
    let errors = refuse(&mut device).await;
    assert_eq!(errors[0].tag, "operation-failed");
    assert_eq!(device.state().await.get("connection-test/started-at"), None);
}
