//! Discovery by DHCP, from the hook of a DHCP client over the control socket to the tunnel: "The domain name obtained
//! through DHCP has a higher priority than the domain name configured manually", and so has the password.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tether::model::settings::Secret;
use tether::sim::cloud::{Misbehaviour, Step, What};
use tether::transport::control::{self, Request};

use crate::support::{Device, PASSWORD, SERIAL, State, cloud_management, host, soon};

/// There is no such interface: what is handed over for it comes from hooks alone.
const WAN: &str = "wan0";
const OTHER: &str = "wan1";

/// What the hook says of an interface.
async fn hook(
    device: &Device,
    interface: &str,
    domain: Option<&str>,
    password: Option<&str>,
) -> Result<(), String> {
    let request = Request::DhcpEvent {
        interface: interface.to_owned(),
        domain: domain.map(str::to_owned),
        password: password.map(Secret::new),
    };
    let answer = control::ask(device.agent().control_socket(), &request).await;
    answer.map(|_| ()).map_err(|error| error.to_string())
}

fn interfaces(interfaces: &[&str]) -> String {
    let leaf = |interface| format!("<interface>{interface}</interface>");
    let leaves: String = interfaces.iter().map(leaf).collect();
    format!("<discovery><dhcp>{leaves}</dhcp></discovery>")
}

/// Where it discovers and where the other name is; then all it takes to reach the cloud under the configured one.
async fn configure(device: &mut Device) {
    let discovery = cloud_management(&interfaces(&[WAN]));
    let other = host("other.com", "127.0.0.1");
    device.commit(&[discovery, other].concat()).await;
    device.configure_cloud().await;
}

/// A device with a configured domain and password that discovers on one interface, and knows where both names are.
async fn discovering() -> Device {
    let mut device = Device::start().await;
    configure(&mut device).await;
    device
}

async fn connected() -> Device {
    let mut device = discovering().await;
    device.up().await;
    device
}

/// The same without a configured domain, so that there is nobody to dial.
async fn without_domain() -> Device {
    let mut device = discovering().await;
    device.up().await;
    let none = r#"<server><domain xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/></server>"#;
    device.commit_cloud(none).await;
    device
        .wait_state(|state| state.is("device-state", "idle"))
        .await;
    device
}

async fn up_at(device: &mut Device, domain: &str) -> State {
    let is_up = |state: &State| {
        state.is("device-state", "request-success") && state.is("server-domain", domain)
    };
    device.wait_state(is_up).await
}

#[tokio::test]
async fn an_identical_domain_retains_the_tunnel_and_so_does_its_loss() {
    let mut device = connected().await;
    let before = device.main_connection();
    hook(&device, WAN, Some("CLOUD.com."), None).await.unwrap();
    let found = device
        .wait_state(|state| state.is("domain-origin", "dhcp"))
        .await;
    assert!(found.is("discovered[wan0]/domain", "CLOUD.com."));
    assert!(found.is("discovered[wan0]/password-present", "false"));
    assert!(found.get("discovered[wan0]/at").is_some());
    assert!(found.is("password-origin", "configured"));
    assert_eq!(device.round_trip().await, before);
    hook(&device, WAN, None, None).await.unwrap();
    let lost = device
        .wait_state(|state| state.is("domain-origin", "configured"))
        .await;
    assert!(!lost.has_entry("discovered"));
    assert_eq!(device.round_trip().await, before);
    assert_eq!(device.cloud.counters().mains, 1);
}

#[tokio::test]
async fn a_different_domain_replaces_the_tunnel_and_its_loss_brings_the_configured_one_back() {
    let mut device = connected().await;
    let mark = device.cloud.mark();
    hook(&device, WAN, Some("other.com"), None).await.unwrap();
    device.cloud_sees_close(mark, 1000).await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("discovery-changed"));
    let state = up_at(&mut device, "other.com").await;
    assert!(state.is("domain-origin", "dhcp"));
    assert!(state.is("last-down/reason", "discovery-changed"));
    let mark = device.cloud.mark();
    hook(&device, WAN, None, None).await.unwrap();
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("discovery-changed"));
    let state = up_at(&mut device, "cloud.com").await;
    assert!(state.is("domain-origin", "configured"));
}

#[tokio::test]
async fn an_identical_password_retains_the_tunnel_and_so_does_its_loss() {
    let mut device = connected().await;
    let before = device.main_connection();
    hook(&device, WAN, None, Some(PASSWORD)).await.unwrap();
    let found = device
        .wait_state(|state| state.is("password-origin", "dhcp"))
        .await;
    assert!(found.is("discovered[wan0]/password-present", "true"));
    assert!(found.is("domain-origin", "configured"));
    assert_eq!(device.round_trip().await, before);
    hook(&device, WAN, None, None).await.unwrap();
    device
        .wait_state(|state| state.is("password-origin", "configured"))
        .await;
    assert_eq!(device.round_trip().await, before);
}

#[tokio::test]
async fn a_different_password_replaces_the_tunnel_and_its_loss_brings_the_configured_one_back() {
    let mut device = connected().await;
    let mark = device.cloud.mark();
    device.cloud.set_password(SERIAL, Some("by DHCP"));
    hook(&device, WAN, None, Some("by DHCP")).await.unwrap();
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("discovery-changed"));
    let state = device.up().await;
    assert!(state.is("password-origin", "dhcp"));
    let mark = device.cloud.mark();
    device.cloud.set_password(SERIAL, Some(PASSWORD));
    hook(&device, WAN, None, None).await.unwrap();
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("discovery-changed"));
    let state = device.up().await;
    assert!(state.is("password-origin", "configured"));
}

#[tokio::test]
async fn while_connecting_an_identical_domain_changes_nothing_and_a_different_one_aborts_at_once() {
    let mut device = Device::start().await;
    device
        .cloud
        .set_misbehaviour_times(Step::Authentication, Misbehaviour::Silent, 1);
    configure(&mut device).await;
    device
        .cloud_sees(0, |what| matches!(what, What::Misbehaved { .. }))
        .await;
    let began = std::time::Instant::now();

    hook(&device, WAN, Some("cloud.com"), None).await.unwrap();
    let going_on = device
        .wait_state(|state| state.is("domain-origin", "dhcp"))
        .await;
    assert!(
        going_on.is("device-state", "authenticating"),
        "{going_on:?}"
    );
    assert!(going_on.is("attempts", "1"), "{going_on:?}");

    hook(&device, WAN, Some("other.com"), None).await.unwrap();
    up_at(&mut device, "other.com").await;
    let deadline = tether::tunnel::machine::STEP_DEADLINE;
    assert!(
        began.elapsed() < deadline,
        "the attempt was not aborted but came to its end"
    );
    assert_eq!(device.cloud.counters().mains, 1);
}

#[tokio::test]
async fn discovery_alone_is_enough_and_its_loss_ends_the_tunnel() {
    let mut device = without_domain().await;
    hook(&device, WAN, Some("other.com"), None).await.unwrap();
    up_at(&mut device, "other.com").await;
    hook(&device, WAN, None, None).await.unwrap();
    let state = device
        .wait_state(|state| state.is("device-state", "idle"))
        .await;
    assert_eq!(state.get("domain-origin"), None);
    assert!(state.is("last-down/reason", "discovery-changed"));
}

#[tokio::test]
async fn of_several_interfaces_the_first_listed_that_has_a_value_wins() {
    let mut device = without_domain().await;
    let order = |first, second| interfaces(&[first, second]);
    device.commit_cloud(&order(WAN, OTHER)).await;
    hook(&device, OTHER, Some("other.com"), None).await.unwrap();
    up_at(&mut device, "other.com").await;
    hook(&device, WAN, Some("cloud.com"), None).await.unwrap();
    let state = up_at(&mut device, "cloud.com").await;
    assert!(state.is("discovered[wan1]/domain", "other.com"));
    hook(&device, WAN, None, None).await.unwrap();
    up_at(&mut device, "other.com").await;
}

#[tokio::test]
async fn what_an_interface_brought_goes_with_its_listing() {
    let mut device = connected().await;
    hook(&device, WAN, Some("other.com"), None).await.unwrap();
    up_at(&mut device, "other.com").await;
    let mark = device.cloud.mark();
    let none =
        r#"<discovery xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/>"#;
    device.commit_cloud(none).await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("discovery-changed"));
    let state = up_at(&mut device, "cloud.com").await;
    assert!(!state.has_entry("discovered"));
    device.commit_cloud(&interfaces(&[WAN])).await;
    let state = device.state().await;
    assert!(
        !state.has_entry("discovered"),
        "it came back without being handed over"
    );
}

#[tokio::test]
async fn listing_an_interface_no_more_keeps_a_tunnel_to_the_same_server() {
    let mut device = connected().await;
    let before = device.main_connection();
    hook(&device, WAN, Some("cloud.com"), None).await.unwrap();
    device
        .wait_state(|state| state.is("domain-origin", "dhcp"))
        .await;
    let none =
        r#"<discovery xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/>"#;
    device.commit_cloud(none).await;
    device
        .wait_state(|state| state.is("domain-origin", "configured"))
        .await;
    assert_eq!(device.round_trip().await, before);
}

#[tokio::test]
async fn an_interface_that_is_not_listed_is_refused() {
    let device = connected().await;
    let refused = hook(&device, "eth7", Some("other.com"), None)
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        "refused: eth7 is no interface of discovery/dhcp in the configuration"
    );
}

#[tokio::test]
async fn a_value_against_the_rules_is_told_and_the_other_counts() {
    let mut device = connected().await;
    let url = Some("http://wpad.example/wpad.dat");
    let refused = hook(&device, WAN, Some("other.com"), url)
        .await
        .unwrap_err();
    assert!(
        refused.contains("option 252") && !refused.contains("wpad.example"),
        "{refused}"
    );
    let state = up_at(&mut device, "other.com").await;
    assert!(state.is("discovered[wan0]/password-present", "false"));
    let refused = hook(&device, WAN, Some("not a name"), None)
        .await
        .unwrap_err();
    assert!(refused.contains("option 253"), "{refused}");
    up_at(&mut device, "cloud.com").await;
}

#[tokio::test]
async fn a_restart_forgets_what_was_discovered() {
    let mut device = connected().await;
    hook(&device, WAN, Some("other.com"), None).await.unwrap();
    up_at(&mut device, "other.com").await;
    let mut device = device.restart().await;
    let state = up_at(&mut device, "cloud.com").await;
    assert!(!state.has_entry("discovered"));
}

#[tokio::test]
async fn a_discovered_password_is_nowhere_in_the_state() {
    let mut device = connected().await;
    let secret = "never-to-be-seen";
    device.cloud.set_password(SERIAL, Some(secret));
    hook(&device, WAN, None, Some(secret)).await.unwrap();
    device
        .wait_state(|state| state.is("password-origin", "dhcp"))
        .await;
    device.up().await;
    let all = device.session.get(None).await.unwrap();
    assert!(all.contains("password-present") && !all.contains(secret));
    let telemetry = device.cloud.telemetry(SERIAL);
    assert!(!telemetry.is_empty() && !format!("{telemetry:?}").contains(secret));
}

/// Runs `tether dhcp-event` with these arguments and this on its standard input: its exit code and what it says.
async fn run(device: &Device, arguments: &[&str], input: &'static [u8]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tether"));
    command.arg("dhcp-event").args(arguments);
    command
        .arg("--control")
        .arg(device.agent().control_socket());
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = soon(ran).await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn the_command_hands_over_what_hooks_call_it_with() {
    let mut device = connected().await;
    let done = (Some(0), String::new());
    let both = ["wan0", "--domain=cloud.com", "--password-stdin"];
    assert_eq!(run(&device, &both, b"cloud-Pa55\nmore\n").await, done);
    let state = device.state().await;
    assert!(state.is("discovered[wan0]/domain", "cloud.com"));
    assert!(state.is("discovered[wan0]/password-present", "true"));
    let neither = ["wan0", "--domain=", "--password-stdin"];
    assert_eq!(run(&device, &neither, b"").await, done);
    assert!(!device.state().await.has_entry("discovered"));
}

#[tokio::test]
async fn the_command_fails_in_one_line_with_what_to_do() {
    let device = connected().await;
    let (code, words) = run(&device, &["eth7"], b"").await;
    assert_eq!(code, Some(1));
    assert_eq!(
        words,
        "tether: refused: eth7 is no interface of discovery/dhcp in the configuration\n"
    );
    let (code, words) = run(&device, &["wan0", "--password-stdin"], &[b'x'; 256]).await;
    assert_eq!(code, Some(1));
    assert_eq!(words, "tether: the password is longer than 255 octets\n");
    let (code, _) = run(&device, &[], b"").await;
    assert_eq!(code, Some(2));
}
