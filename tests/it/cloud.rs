//! The whole agent against a cloud that refuses, misbehaves, restarts or stays silent.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tether::sim::cloud::{Channel, Flaw, Misbehaviour, Step, What};

use crate::support::{
    Device, PASSWORD, PATIENCE, SERIAL, host, open, options, registered, soon, start_agent,
    trust_anchor,
};

/// Seconds from now until the next attempt.
async fn wait(device: &mut Device) -> f64 {
    let state = device.state().await;
    let next = state.get("next-attempt-at").expect("no attempt is planned");
    let next = chrono::DateTime::parse_from_rfc3339(next).unwrap();
    (next.to_utc() - chrono::Utc::now()).as_seconds_f64()
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_the_cloud_in_order_is_met_again() {
    use Misbehaviour::*;
    let refusals = [
        (Step::Connect, Reset, "tls-failed"),
        (Step::Tls, NotTls, "tls-failed"),
        (Step::Tls, Certificate(Flaw::OtherName), "tls-failed"),
        (Step::Tls, Certificate(Flaw::Expired), "tls-failed"),
        (Step::Tls, Certificate(Flaw::UnknownAuthority), "tls-failed"),
        (Step::Authentication, WrongRspauth, "cloud-not-authentic"),
        (Step::Authentication, NoRspauth, "cloud-not-authentic"),
        (Step::Authentication, AlwaysStale, "protocol"),
        (Step::Authentication, BadJson, "protocol"),
        (Step::Authentication, Status(404), "protocol"),
        (Step::Authentication, Status(500), "protocol"),
        (
            Step::Authentication,
            Answer(403, r#"{"result":"failure","reason":"other"}"#.into()),
            "authentication-failed",
        ),
        (
            Step::Authentication,
            Redirect("https://other.com/".into()),
            "protocol",
        ),
        (Step::Authentication, Huge(1 << 30), "protocol"),
        (Step::Registration, Status(403), "registration-failed"),
        (Step::Registration, Status(500), "registration-failed"),
        (Step::Registration, BadJson, "protocol"),
        (Step::Registration, Huge(1 << 30), "protocol"),
        (Step::Upgrade, Status(404), "handshake-failed"),
        (Step::Upgrade, WrongSubprotocol, "handshake-failed"),
        (Step::Upgrade, WrongAccept, "handshake-failed"),
        (Step::List, Huge(1 << 30), "protocol"),
        (Step::List, DoubledService, "protocol"),
        (Step::List, InvalidUtf8, "protocol"),
        (Step::List, Misbehaviour::Binary(vec![1]), "protocol"),
    ];
    let mut device = Device::connected().await;
    for (step, misbehaviour, reason) in refusals {
        let name = format!("{misbehaviour:?} at {step}");
        device.cloud.set_misbehaviour(step, misbehaviour);
        device.cloud.forget_nonces();
        device.act("<reset-tunnel/>").await;
        let state = device
            .wait_state(|state| {
                state.is("device-state", "waiting") && state.get("failure-reason").is_some()
            })
            .await;
        assert_eq!(state.get("failure-reason"), Some(reason), "{name}");
        device.cloud.clear_misbehaviour(None);
        device.act("<reset-tunnel/>").await;
        assert_eq!(device.up().await.get("failure-reason"), None, "{name}");
    }
    device.stop().await;
}

#[tokio::test]
async fn the_certificate_in_use_is_in_the_state_and_so_is_one_that_is_refused() {
    let mut device = Device::connected().await;
    let subject = Some("CN=tether reference cloud");
    let state = device.state().await;
    assert_eq!(state.get("server-certificate/subject"), subject);
    let end = "2090-01-01T00:00:00Z";
    assert!(state.is("server-certificate/not-after", end));
    let expired = Misbehaviour::Certificate(Flaw::Expired);
    device.cloud.set_misbehaviour(Step::Tls, expired);
    device.act("<reset-tunnel/>").await;
    let state = device.failed("tls-failed").await;
    assert_eq!(state.get("server-certificate/subject"), subject);
    let end = state.get("server-certificate/not-after").unwrap();
    assert!(end < "2026", "{end}");
    device.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_for_a_challenge_weaker_than_sha_256() {
    for weak in [Misbehaviour::OnlyMd5, Misbehaviour::OnlyBasic] {
        let mut device = Device::start().await;
        device.cloud.set_misbehaviour(Step::Authentication, weak);
        device.configure_cloud().await;
        device.failed("protocol").await;
        assert_eq!(device.cloud.counters().authentications, 1);
        device.stop().await;
    }
}

#[tokio::test]
async fn an_answer_in_an_unusual_form_is_an_answer() {
    use Misbehaviour::*;
    let forms = [
        (Step::Authentication, ConnectionClose),
        (Step::Authentication, Chunked),
        (Step::Authentication, EarlyHints),
        (Step::Authentication, ManyChallenges),
        (Step::Registration, ConnectionClose),
        (Step::Registration, Chunked),
        (Step::Registration, EarlyHints),
    ];
    let mut device = Device::connected().await;
    for (step, form) in forms {
        device.cloud.clear_misbehaviour(None);
        device.cloud.set_misbehaviour(step, form);
        let mark = device.cloud.mark();
        device.act("<reset-tunnel/>").await;
        assert_eq!(
            device.reconnected(mark).await.as_deref(),
            Some("reset-by-operator")
        );
        device.up().await;
    }
    device.stop().await;
}

#[tokio::test]
async fn a_silent_cloud_is_given_up_after_ten_seconds() {
    let mut device = Device::start().await;
    device
        .cloud
        .set_misbehaviour(Step::Registration, Misbehaviour::Silent);
    device.configure_cloud().await;
    let begun = Instant::now();
    let state = device.failed("timeout").await;
    assert!(state.is("process-state", "message-not-received"));
    assert!(begun.elapsed() > Duration::from_secs(9));
    device.stop().await;
}

#[tokio::test]
async fn a_refused_password_is_tried_again_slowly() {
    let mut device = Device::start().await;
    device.commit(&device.whole_configuration("wrong")).await;
    device.failed("password-refused").await;
    let wait = wait(&mut device).await;
    assert!((28.0..=60.0).contains(&wait), "{wait}");
    device.stop().await;
}

#[tokio::test]
async fn an_unknown_serial_number_is_let_in_once_the_cloud_knows_it() {
    let mut device = Device::start().await;
    device.cloud.remove_serial(SERIAL);
    device.configure_cloud().await;
    device.failed("serial-number-not-registered").await;
    device.cloud.add_serial(&registered());
    device.act("<reset-tunnel/>").await;
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn an_unbinding_code_lifts_a_foreign_binding_however_it_comes() {
    for by_action in [false, true] {
        let entry = registered().bound_to("someone").unbinding_code("4711");
        let mut device = Device::start_with(entry).await;
        device.configure_cloud().await;
        device.failed("bound-to-another-user").await;
        let refused = if by_action {
            device.act("<unbind><code>4712</code></unbind>").await;
            device
                .wait_state(|state| state.is("unbinding/status", "refused"))
                .await
        } else {
            device
                .commit_cloud("<unbinding-code>4712</unbinding-code>")
                .await;
            device
                .wait_state(|state| state.is("unbinding/status", "refused"))
                .await
        };
        assert!(refused.is("unbinding/reason", "code-invalid"));
        assert_eq!(device.cloud.bound_to(SERIAL).as_deref(), Some("someone"));
        if by_action {
            device.act("<unbind><code>4711</code></unbind>").await;
        } else {
            device
                .commit_cloud("<unbinding-code>4711</unbinding-code>")
                .await;
        }
        let state = device.up().await;
        assert!(state.is("unbinding/status", "accepted"));
        assert_eq!(device.cloud.bound_to(SERIAL), None);
        device.stop().await;
    }
}

#[tokio::test]
async fn a_busy_cloud_is_not_asked_before_its_time() {
    for status in [429, 503] {
        let mut device = Device::start().await;
        let busy = Misbehaviour::Busy {
            status,
            retry_after: Some("600".into()),
        };
        device.cloud.set_misbehaviour(Step::Authentication, busy);
        device.configure_cloud().await;
        device.failed("busy").await;
        let wait = wait(&mut device).await;
        assert!((598.0..=900.0).contains(&wait), "{wait}");
        // A wake-up does not lift it.
        device.commit(&host("other.com", "127.0.0.1")).await;
        device.cloud.clear_misbehaviour(None);
        assert!(device.state().await.is("device-state", "waiting"));
        device.act("<reset-tunnel/>").await;
        device.up().await;
        device.stop().await;
    }
}

#[tokio::test]
async fn a_cloud_that_restarts_is_met_again() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    device.cloud.restart().await.unwrap();
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("connection-lost"));
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn reset_tunnel_makes_a_new_tunnel() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    device.act("<reset-tunnel/>").await;
    device.cloud_sees_close(mark, 1000).await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("reset-by-operator"));
    let state = device.up().await;
    assert!(state.is("last-down/reason", "reset-by-operator"));
    device.stop().await;
}

#[tokio::test]
async fn a_device_that_another_one_evicts_keeps_away() {
    let mut device = Device::connected().await;
    let directory = TempDir::new().unwrap();
    let twin = start_agent(options(directory.path())).await.unwrap();
    let mut session = open(&twin).await;
    let whole = device.whole_configuration(PASSWORD);
    session.edit_config("running", &whole).await.unwrap();
    let state = device
        .wait_state(|state| state.is("last-down/reason", "evicted"))
        .await;
    assert!(state.is("device-state", "waiting"));
    let wait = wait(&mut device).await;
    assert!((28.0..=60.0).contains(&wait), "{wait}");
    drop(session);
    soon(twin.stop()).await;
    device.stop().await;
}

#[tokio::test]
async fn a_cloud_that_drains_is_left_alone_as_long_as_it_asks() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    let pause = Duration::from_secs(300);
    device
        .cloud
        .disconnect(SERIAL, "maintenance", pause)
        .unwrap();
    device.cloud_sees_close(mark, 1000).await;
    let state = device
        .wait_state(|state| state.is("device-state", "waiting"))
        .await;
    assert!(state.is("last-down/reason", "closed-by-cloud"));
    let wait = wait(&mut device).await;
    assert!((298.0..=460.0).contains(&wait), "{wait}");
    device.stop().await;
}

#[tokio::test]
async fn notifications_arrive_at_the_cloud_as_json() {
    let mut device = Device::connected().await;
    device.act("<unbind><code>4712</code></unbind>").await;
    device
        .cloud_sees(0, |what| {
            matches!(what, What::Telemetry { notification } if notification == "cloud-management:unbinding-answered")
        })
        .await;
    let told = device.cloud.telemetry(SERIAL);
    let find = |name: &str| {
        let found = told.iter().rfind(|one| one.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {told:#?}"))
    };
    let answered = &find("cloud-management:unbinding-answered").content;
    assert_eq!(answered["result"], "refused");
    assert_eq!(answered["reason"], "code-invalid");
    let changed = &find("cloud-management:connection-state-changed").content;
    assert_eq!(changed["connection-state"], "established");
    let update = &find("ietf-yang-push:push-update").content;
    let text = update.to_string();
    assert!(text.contains("cloud-management:cloud-management"), "{text}");
    for one in &told {
        assert!(!one.content.to_string().contains(PASSWORD));
        assert!(!one.content.to_string().contains("4712"));
    }
    device.stop().await;
}

#[tokio::test]
async fn a_stopping_agent_says_goodbye() {
    let device = Device::connected().await;
    let mark = device.cloud.mark();
    let (cloud, _directory) = device.stop().await;
    for channel in [Channel::Main, Channel::Service("telemetry".into())] {
        let closed = cloud.wait_after(
            mark,
            |event| {
                matches!(&event.what, What::PeerClosed { channel: other, code: 1001, .. } if *other == channel)
            },
            PATIENCE,
        );
        closed.await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_stops_within_five_seconds_whatever_the_cloud_does() {
    for step in [
        Step::Connect,
        Step::Tls,
        Step::Authentication,
        Step::Upgrade,
        Step::Established,
        Step::Service,
    ] {
        let mut device = Device::start().await;
        device.cloud.set_misbehaviour(step, Misbehaviour::Silent);
        device.configure_cloud().await;
        device
            .cloud_sees(0, |what| matches!(what, What::Misbehaved { .. }))
            .await;
        let begun = Instant::now();
        device.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{step}");
    }
}

#[tokio::test]
async fn a_cloud_with_an_ipv6_address_alone_is_reached() {
    let mut device = Device::start().await;
    let six = device.cloud.listen("[::1]:0".parse().unwrap()).await;
    // A machine without IPv6 cannot show this.
    let Ok(six) = six else { return };
    let server = format!(
        "<server><ipv6><domain>::1</domain></ipv6><port>{}</port><password>$0${PASSWORD}</password></server>",
        six.port()
    );
    let trust = trust_anchor("reference", device.cloud.ca_pem());
    device.commit_cloud(&format!("{server}{trust}")).await;
    let state = device.up().await;
    assert!(state.is("server-address", "::1"));
    assert!(state.is("server-domain", "::1"));
    device.stop().await;
}

#[tokio::test]
async fn ipv6_is_tried_when_ipv4_fails() {
    let mut device = Device::start().await;
    let six = device.cloud.listen("[::1]:0".parse().unwrap()).await;
    let Ok(six) = six else { return };
    let server = format!(
        "<server><domain>127.77.0.1</domain><ipv6><domain>::1</domain></ipv6><port>{}</port><password>$0${PASSWORD}</password></server>",
        six.port()
    );
    let trust = trust_anchor("reference", device.cloud.ca_pem());
    device.commit_cloud(&format!("{server}{trust}")).await;
    let state = device.up().await;
    assert!(state.is("server-address", "::1"));
    device.stop().await;
}

#[tokio::test]
async fn every_address_of_a_static_host_is_tried() {
    let mut device = Device::start().await;
    let whole = device.whole_configuration(PASSWORD).replace(
        "<address>127.0.0.1</address>",
        "<address>127.77.0.1</address><address>127.77.0.2</address><address>127.0.0.1</address>",
    );
    device.commit(&whole).await;
    let state = device.up().await;
    assert!(state.is("server-address", "127.0.0.1"));
    device.stop().await;
}

#[tokio::test]
async fn a_source_address_that_the_device_does_not_have_is_named() {
    let mut device = Device::connected().await;
    device
        .commit_cloud("<server><source-ip>192.0.2.1</source-ip></server>")
        .await;
    device.failed("source-ip-missing").await;
    let removed = r#"<server><source-ip xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/></server>"#;
    device.commit_cloud(removed).await;
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn without_its_trust_anchor_the_cloud_is_not_trusted() {
    let mut device = Device::connected().await;
    let removed =
        r#"<trust xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#;
    device.commit_cloud(removed).await;
    let state = device.failed("tls-failed").await;
    assert!(state.is("last-down/reason", "configuration-changed"));
    device.stop().await;
}

#[tokio::test]
async fn all_of_cloud_management_may_go_and_come_back() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    let gone = r#"<cloud-management xmlns="urn:tether:yang:cloud-management" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#;
    device.commit(gone).await;
    device.cloud_sees_close(mark, 1000).await;
    device
        .wait_state(|state| state.is("device-state", "idle"))
        .await;
    let mark = device.cloud.mark();
    device.configure_cloud().await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("configuration-changed"));
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn a_cold_start_takes_six_round_trips_and_a_reconnect_five() {
    let mut device = Device::connected().await;
    let trips = |what: &What| match what {
        What::MainUp { round_trips, .. } => Some(*round_trips),
        _ => None,
    };
    let first = device
        .cloud_sees(0, |what| matches!(what, What::MainUp { .. }))
        .await;
    assert_eq!(trips(&first.what), Some(6));
    device.act("<reset-tunnel/>").await;
    let second = device
        .cloud_sees(first.number, |what| matches!(what, What::MainUp { .. }))
        .await;
    assert_eq!(trips(&second.what), Some(5));
    device.up().await;
    device.stop().await;
}
