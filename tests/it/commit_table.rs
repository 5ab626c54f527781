//! "Which change does what, at commit" (model.md), line by line, seen on both sides: in the agent's state and in what
//! the cloud has seen.

use std::time::Duration;

use tether::sim::cloud::{Cloud, CloudConfig, Misbehaviour, Step, What};

use crate::support::{Device, PASSWORD, State, host, registered, system, trust_anchor};

/// Commits a change that makes another target, and checks that the tunnel goes down for it. The state is that of the
/// tunnel that follows.
async fn replaces(device: &mut Device, change: &str) -> State {
    let mark = device.cloud.mark();
    device.commit(change).await;
    device.cloud_sees_close(mark, 1000).await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("configuration-changed"));
    let state = device.up().await;
    assert_eq!(state.get("last-down/reason"), Some("configuration-changed"));
    state
}

/// Commits a change and checks that nothing happens to the tunnel: same connected-at, no new connection at the cloud.
async fn keeps(device: &mut Device, change: &str) {
    let before = device.state().await;
    let (main, counters) = (device.main_connection(), device.cloud.counters());
    device.commit(change).await;
    assert_eq!(device.round_trip().await, main, "{change}");
    let (after, now) = (device.state().await, device.cloud.counters());
    assert_eq!(now.connections, counters.connections, "{change}");
    assert_eq!(after.get("connected-at"), before.get("connected-at"));
    assert_eq!(
        after.get("last-down/reason"),
        before.get("last-down/reason")
    );
}

fn server(content: &str) -> String {
    crate::support::cloud_management(&format!("<server>{content}</server>"))
}

fn cloud(content: &str) -> String {
    crate::support::cloud_management(content)
}

#[tokio::test]
async fn another_domain_makes_another_tunnel() {
    let mut device = Device::connected().await;
    device.commit(&host("other.com", "127.0.0.1")).await;
    let state = replaces(&mut device, &server("<domain>other.com</domain>")).await;
    assert!(state.is("server-domain", "other.com"));
    device.stop().await;
}

#[tokio::test]
async fn another_port_makes_another_tunnel() {
    let mut device = Device::connected().await;
    let second = device
        .cloud
        .listen("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let port = second.port().to_string();
    let state = replaces(&mut device, &server(&format!("<port>{port}</port>"))).await;
    assert_eq!(state.get("server-port"), Some(port.as_str()));
    device.stop().await;
}

#[tokio::test]
async fn another_source_address_makes_another_tunnel() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    replaces(&mut device, &server("<source-ip>127.0.0.2</source-ip>")).await;
    let accepted = device
        .cloud_sees(mark, |what| matches!(what, What::Accepted { .. }))
        .await;
    let What::Accepted { peer, .. } = accepted.what else {
        panic!("not accepted")
    };
    assert_eq!(peer.ip().to_string(), "127.0.0.2");
    device.stop().await;
}

#[tokio::test]
async fn another_password_makes_another_tunnel() {
    let mut device = Device::connected().await;
    device
        .cloud
        .set_password(crate::support::SERIAL, Some("next"));
    replaces(&mut device, &server("<password>$0$next</password>")).await;
    device.stop().await;
}

#[tokio::test]
async fn one_more_trust_anchor_makes_another_tunnel() {
    let mut device = Device::connected().await;
    let foreign = Cloud::start(CloudConfig::default()).await.unwrap();
    let anchor = trust_anchor("second", foreign.ca_pem());
    replaces(&mut device, &cloud(&anchor)).await;
    device.stop().await;
}

#[tokio::test]
async fn a_vpn_instance_that_does_not_exist_takes_the_tunnel_down() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    device
        .commit(&server("<vpn-instance>no-such-vrf</vpn-instance>"))
        .await;
    device.cloud_sees_close(mark, 1000).await;
    let state = device.failed("vpn-instance-missing").await;
    assert!(state.is("last-down/reason", "configuration-changed"));
    device.stop().await;
}

#[tokio::test]
async fn without_a_domain_there_is_no_tunnel() {
    let mut device = Device::connected().await;
    let mark = device.cloud.mark();
    let removal =
        r#"<domain xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#;
    device.commit(&server(removal)).await;
    device.cloud_sees_close(mark, 1000).await;
    let state = device
        .wait_state(|state| state.is("device-state", "idle"))
        .await;
    assert_eq!(state.get("server-domain"), None);
    assert_eq!(state.get("failure-reason"), None);
    assert!(state.is("last-down/reason", "configuration-changed"));
    device.stop().await;
}

#[tokio::test]
async fn the_same_target_in_other_words_keeps_the_tunnel() {
    let mut device = Device::connected().await;
    keeps(&mut device, &server("<domain>CLOUD.com</domain>")).await;
    keeps(&mut device, &server("<domain>cloud.com.</domain>")).await;
    keeps(
        &mut device,
        &server(&format!("<password>$0${PASSWORD}</password>")),
    )
    .await;
    // The same certificate under one more name is refused by YANG; under another name it is the same set.
    let remove =
        r#"<trust xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="replace">"#;
    let renamed = trust_anchor("renamed", device.cloud.ca_pem()).replace("<trust>", remove);
    keeps(&mut device, &cloud(&renamed)).await;
    device.stop().await;
}

#[tokio::test]
async fn a_password_typed_again_is_no_change_at_all() {
    let mut device = Device::connected().await;
    let filter = server("<password/>");
    let before = device.session.get_config("running", Some(&filter)).await;
    let again = server(&format!("<password>$0${PASSWORD}</password>"));
    keeps(&mut device, &again).await;
    let after = device.session.get_config("running", Some(&filter)).await;
    let (before, after) = (before.unwrap(), after.unwrap());
    assert_eq!(before, after);
    assert!(before.contains("$1$") && !before.contains(PASSWORD));
    device.stop().await;
}

#[tokio::test]
async fn the_default_port_and_the_same_port_set_are_one_target() {
    // Nothing listens on port 443 of this address: what counts is that the attempt goes on as it was.
    let mut device = Device::start().await;
    let edit = server("<domain>127.77.0.1</domain><password>$0$x</password>");
    device.commit(&edit).await;
    let before = device.failed("connect-failed").await;
    assert!(before.is("server-port", "443"));
    device.commit(&server("<port>443</port>")).await;
    let after = device.state().await;
    assert!(after.is("device-state", "waiting"));
    assert_eq!(after.get("next-attempt-at"), before.get("next-attempt-at"));
    assert_eq!(after.get("attempts"), before.get("attempts"));
    device.stop().await;
}

#[tokio::test]
async fn another_keepalive_interval_keeps_the_tunnel_and_counts_from_now() {
    let mut device = Device::connected().await;
    keeps(
        &mut device,
        &cloud("<keepalive-interval>600</keepalive-interval>"),
    )
    .await;
    let main = device.main_connection();
    let mark = device.cloud.mark();
    device
        .commit_cloud("<keepalive-interval>10</keepalive-interval>")
        .await;
    let keepalive = device
        .cloud_sees(mark, |what| matches!(what, What::Keepalive { .. }))
        .await;
    assert_eq!(keepalive.connection, main);
    device
        .wait_state(|state| state.is("keepalives/answered", "1"))
        .await;
    device.stop().await;
}

#[tokio::test]
async fn an_unbinding_code_is_sent_once_for_each_commit_that_changes_it() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device.configure_cloud().await;
    device.up().await;
    let main = device.main_connection();
    for (code, answer) in [("4712", "refused"), ("4711", "accepted")] {
        let mark = device.cloud.mark();
        device
            .commit_cloud(&format!("<unbinding-code>{code}</unbinding-code>"))
            .await;
        let seen = device
            .cloud_sees(mark, |what| matches!(what, What::Unbind { .. }))
            .await;
        assert_eq!(seen.connection, main);
        device
            .wait_state(|state| state.is("unbinding/status", answer))
            .await;
        device
            .cloud_sees(mark, |what| {
                matches!(what, What::Telemetry { notification }
                    if notification == "cloud-management:unbinding-answered")
            })
            .await;
    }
    // The commit of something else does not send it again.
    device
        .commit_cloud("<keepalive-interval>200</keepalive-interval>")
        .await;
    device.round_trip().await;
    assert_eq!(unbindings(&device), 3);
    device.stop().await;
}

fn unbindings(device: &Device) -> usize {
    let events = device.cloud.events();
    let answered = events
        .iter()
        .filter(|event| matches!(event.what, What::Unbind { .. }));
    answered.count()
}

#[tokio::test]
async fn an_answered_code_is_not_sent_again_after_a_restart() {
    let mut device = Device::start_with(registered().unbinding_code("4711")).await;
    device.configure_cloud().await;
    device.up().await;
    device
        .commit_cloud("<unbinding-code>4711</unbinding-code>")
        .await;
    device
        .wait_state(|state| state.is("unbinding/status", "accepted"))
        .await;
    let mut device = device.restart().await;
    let state = device.up().await;
    assert!(state.is("unbinding/status", "accepted"));
    device.round_trip().await;
    assert_eq!(unbindings(&device), 2, "the code and the probe");
    device.stop().await;
}

#[tokio::test]
async fn another_static_host_wakes_a_waiting_retry() {
    let mut device = Device::start().await;
    let whole = device
        .whole_configuration("wrong")
        .replace("<name>cloud.com<", "<name>elsewhere.com<");
    device.commit(&whole).await;
    device.failed("dns-failed").await;
    device.commit(&host("cloud.com", "127.0.0.1")).await;
    // The wait of a slow retry is half a minute at least: only a wake-up can end it in time.
    device.failed("password-refused").await;
    device
        .cloud
        .set_password(crate::support::SERIAL, Some("wrong"));
    device.commit(&host("unrelated.com", "127.0.0.1")).await;
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn static_hosts_and_resolvers_leave_an_established_tunnel_alone() {
    let mut device = Device::connected().await;
    keeps(&mut device, &host("cloud.com", "127.0.0.9")).await;
    let resolver = "<dns-resolver><server><name>a</name><udp-and-tcp><address>127.0.0.53</address></udp-and-tcp></server>\
        <options><timeout>1</timeout></options></dns-resolver>";
    keeps(&mut device, &system(resolver)).await;
    device.stop().await;
}

#[tokio::test]
async fn a_disabled_service_ends_alone_and_comes_back() {
    let mut device = Device::connected().await;
    let main = device.main_connection();
    let mark = device.cloud.mark();
    device
        .commit_cloud("<service><name>telemetry</name><enabled>false</enabled></service>")
        .await;
    device
        .cloud_sees(mark, |what| {
            matches!(
                what,
                What::PeerClosed {
                    channel: tether::sim::cloud::Channel::Service(_),
                    code: 1000,
                    ..
                }
            )
        })
        .await;
    device
        .wait_state(|state| !state.has_entry("subconnection[telemetry]"))
        .await;
    assert_eq!(device.round_trip().await, main);
    device
        .commit_cloud("<service><name>telemetry</name><enabled>true</enabled></service>")
        .await;
    device
        .cloud_sees(mark, |what| matches!(what, What::ServiceUp(_)))
        .await;
    device.up().await;
    assert_eq!(device.round_trip().await, main);
    device.stop().await;
}

/// The places at which an attempt can hang.
const PHASES: [(Step, &str); 4] = [
    (Step::Tls, "connecting"),
    (Step::Authentication, "authenticating"),
    (Step::Registration, "registering"),
    (Step::Upgrade, "handshaking"),
];

#[tokio::test]
async fn a_new_target_ends_an_attempt_in_any_phase_at_once() {
    let mut device = Device::start().await;
    for (step, phase) in PHASES {
        device.cloud.set_misbehaviour(step, Misbehaviour::Silent);
        device
            .commit(&device.whole_configuration(&format!("not at {step}")))
            .await;
        device
            .cloud
            .set_password(crate::support::SERIAL, Some(&format!("not at {step}")));
        device
            .commit_cloud("<server><domain>127.0.0.1</domain></server>")
            .await;
        device
            .wait_state(|state| state.is("device-state", phase))
            .await;
        device.cloud.clear_misbehaviour(None);
        let mark = device.cloud.mark();
        device
            .commit_cloud("<server><domain>cloud.com</domain></server>")
            .await;
        // The attempt that hung has lost its connection long before its deadline.
        device
            .cloud_sees(mark, |what| matches!(what, What::Ended))
            .await;
        let state = device.up().await;
        assert!(state.is("server-domain", "cloud.com"), "{phase}");
        device
            .commit_cloud("<server><password>$0$other</password></server>")
            .await;
    }
    device.stop().await;
}

#[tokio::test]
async fn the_same_target_lets_an_attempt_in_any_phase_go_on() {
    for (step, phase) in PHASES {
        let mut device = Device::start().await;
        let late = Misbehaviour::Delay(Duration::from_millis(400));
        device.cloud.set_misbehaviour_times(step, late, 1);
        device.configure_cloud().await;
        device
            .wait_state(|state| state.is("device-state", phase))
            .await;
        device
            .commit(&server(&format!(
                "<domain>Cloud.Com</domain><password>$0${PASSWORD}</password>"
            )))
            .await;
        device.up().await;
        let counters = device.cloud.counters();
        assert_eq!(counters.mains, 1, "{phase}");
        assert_eq!(
            counters.connections, 3,
            "{phase}: main, netconf and telemetry"
        );
        device.stop().await;
    }
}

#[tokio::test]
async fn a_new_target_while_the_list_is_awaited_makes_a_new_tunnel() {
    let mut device = Device::start().await;
    device
        .cloud
        .set_misbehaviour(Step::List, Misbehaviour::Silent);
    device.configure_cloud().await;
    device
        .wait_state(|state| state.is("device-state", "request-subconnections"))
        .await;
    device.cloud.clear_misbehaviour(None);
    let change = server("<source-ip>127.0.0.3</source-ip>");
    replaces(&mut device, &change).await;
    device.stop().await;
}

#[tokio::test]
async fn the_last_of_many_commits_in_a_row_wins() {
    let mut device = Device::connected().await;
    let mut second = device.open().await;
    for password in ["first", "second", "third"] {
        let edit = server(&format!("<password>$0${password}</password>"));
        second.edit_config("running", &edit).await.unwrap();
    }
    device
        .cloud
        .set_password(crate::support::SERIAL, Some("last"));
    let edit = server("<password>$0$last</password>");
    second.edit_config("running", &edit).await.unwrap();
    let last = device.round_trip().await;
    assert_eq!(device.main_connection(), last);
    device.up().await;
    device.stop().await;
}
