//! The unbinding code over its whole life, as leaf and as action (cloud-protocol.md, "Unbinding").

use tether::sim::cloud::{self, Authentication, Misbehaviour, Step, What};

use crate::support::{Device, PASSWORD, cloud_management, options, registered};

fn code(code: &str) -> String {
    format!("<unbinding-code>{code}</unbinding-code>")
}

/// Waits until the cloud has judged the code of this number.
async fn is_judged(device: &Device, number: u64) {
    let judged = |what: &What| matches!(what, What::Unbind { id, .. } if *id == number);
    device.cloud_sees(0, judged).await;
}

#[tokio::test]
async fn a_code_without_an_answer_is_sent_again_after_a_restart_under_its_number() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device
        .cloud
        .set_misbehaviour(Step::Unbind, Misbehaviour::Silent);
    device.configure_cloud().await;
    device.up().await;
    device.commit_cloud(&code("4711")).await;
    device
        .cloud_sees(0, |what| matches!(what, What::Misbehaved { .. }))
        .await;
    assert!(device.state().await.is("unbinding/status", "sent"));
    let mut device = device.restart().await;
    device.cloud.clear_misbehaviour(None);
    device.act("<reset-tunnel/>").await;
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
    assert_eq!(device.judged(), [1, 1]);
    device.stop().await;
}

#[tokio::test]
async fn an_answered_code_that_running_still_holds_is_not_sent_after_a_restart() {
    let mut device = Device::connected().await;
    device.commit_cloud(&code("4712")).await;
    device
        .wait_state(|state| state.is("unbinding/status", "refused"))
        .await;
    let mut device = device.restart().await;
    device.up().await;
    device.act("<unbind><code>4713</code></unbind>").await;
    is_judged(&device, 2).await;
    assert_eq!(device.judged(), [1, 2]);
    device.stop().await;
}

#[tokio::test]
async fn a_code_of_the_device_before_is_not_sent_under_another_serial_number() {
    for answered in [true, false] {
        let mut device = Device::start().await;
        if answered {
            device.configure_cloud().await;
            device.up().await;
        }
        device.commit_cloud(&code("4712")).await;
        let status = if answered { "refused" } else { "pending" };
        device
            .wait_state(|state| state.is("unbinding/status", status))
            .await;
        let other = cloud::Device::new("OTHER").password(PASSWORD);
        device.cloud.add_serial(&other);
        let mut options = options(device.directory());
        options.serial_number = Some("OTHER".to_owned());
        let mut device = device.restart_with(options).await;
        device.configure_cloud().await;
        let state = device.up().await;
        assert!(state.is("unbinding/status", "none"));
        device.round_trip().await;
        assert_eq!(device.judged().len(), 1 + usize::from(answered));
        device.stop().await;
    }
}

#[tokio::test]
async fn a_foreign_binding_is_lifted_within_the_authentication_and_on_its_connection() {
    let entry = registered().bound_to("someone").unbinding_code("4711");
    let mut device = Device::start_with(entry).await;
    device.commit_cloud(&code("4711")).await;
    device.configure_cloud().await;
    device.up().await;
    let events = device.cloud.events();
    let answers = events.iter().filter_map(|event| match &event.what {
        What::Authentication(answer) => Some((event.connection, answer.clone())),
        _ => None,
    });
    let (connections, answers): (Vec<_>, Vec<_>) = answers.unzip();
    assert_eq!(
        answers,
        [
            Authentication::Challenged,
            Authentication::BoundToAnotherUser,
            Authentication::CodeAccepted
        ]
    );
    assert!(connections.iter().all(|one| *one == connections[0]));
    assert_eq!(device.main_connection(), connections[0]);
    // It was answered there, so it is not sent once more.
    device.round_trip().await;
    assert_eq!(device.judged().len(), 1, "the probe alone");
    device.stop().await;
}

#[tokio::test]
async fn a_code_committed_while_the_tunnel_is_down_goes_out_when_it_is_up() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device.commit_cloud(&code("4711")).await;
    device
        .wait_state(|state| state.is("unbinding/status", "pending"))
        .await;
    device.configure_cloud().await;
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
    assert_eq!(device.judged(), [1]);
    device.stop().await;
}

#[tokio::test]
async fn a_code_that_is_withdrawn_before_it_was_sent_is_not_sent() {
    let mut device = Device::start().await;
    device.commit_cloud(&code("4711")).await;
    let withdrawn = r#"<unbinding-code xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#;
    device.commit_cloud(withdrawn).await;
    device
        .wait_state(|state| state.is("unbinding/status", "none"))
        .await;
    device.configure_cloud().await;
    device.up().await;
    device.round_trip().await;
    assert_eq!(device.judged().len(), 1, "the probe alone");
    device.stop().await;
}

#[tokio::test]
async fn a_code_removed_and_set_again_is_sent_again() {
    let mut device = Device::connected().await;
    for round in 1..=2 {
        device.commit_cloud(&code("4712")).await;
        is_judged(&device, round).await;
        let withdrawn = r#"<unbinding-code xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#;
        device.commit_cloud(withdrawn).await;
    }
    device.stop().await;
}

#[tokio::test]
async fn the_same_code_committed_again_is_not_sent_again_but_the_action_is() {
    let mut device = Device::connected().await;
    device.commit_cloud(&code("4712")).await;
    device.commit_cloud(&code("4712")).await;
    device.act("<unbind><code>4712</code></unbind>").await;
    is_judged(&device, 2).await;
    assert_eq!(device.judged(), [1, 2]);
    device.stop().await;
}

#[tokio::test]
async fn a_later_code_takes_the_place_of_one_without_an_answer() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device
        .cloud
        .set_misbehaviour_times(Step::Unbind, Misbehaviour::Silent, 1);
    device.configure_cloud().await;
    device.up().await;
    device.commit_cloud(&code("4712")).await;
    device.commit_cloud(&code("4711")).await;
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
    assert_eq!(device.judged(), [1, 2]);
    device.stop().await;
}

#[tokio::test]
async fn a_code_outside_its_range_is_refused() {
    let mut device = Device::start().await;
    for text in [String::new(), "x".repeat(128)] {
        let edit = cloud_management(&code(&text));
        let refused = crate::support::refused(device.session.edit_config("candidate", &edit).await);
        assert_eq!(refused[0].tag, "invalid-value");
        let action = format!(
            r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{}</action>"#,
            cloud_management(&format!("<unbind><code>{text}</code></unbind>"))
        );
        let refused = crate::support::refused(device.session.rpc(&action).await);
        assert_eq!(refused[0].tag, "invalid-value");
    }
    assert!(device.state().await.is("unbinding/status", "none"));
    device.stop().await;
}
