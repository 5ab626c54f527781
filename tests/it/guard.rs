//! The commit guard in the whole agent: a commit that cuts the device off from its server is taken back by the device.

mod races;
mod unbinding;

use std::time::Duration;

use tether::protocol::client::{Client, ClientError};
use tether::sim::cloud::{Authentication, What};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::{Device, PASSWORD, PATIENCE, Session, State, cloud_management, refused, soon};

const WRONG: &str = "<server><password>$0$wrong</password></server>";
const GUARD: &str = "<commit-guard><timeout>60</timeout></commit-guard>";
const REMOVE: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove""#;
const ACCEPT: &str = "<accept-guarded-commit/>";

fn action(name: &str) -> String {
    let inside = cloud_management(name);
    format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{inside}</action>"#)
}

/// A device whose tunnel is up and whose commits are guarded for a minute.
async fn guarded() -> Device {
    let mut device = Device::connected().await;
    device.commit_cloud(GUARD).await;
    let state = device.state().await;
    assert!(!state.has_entry("commit-guard/deadline"), "{state:?}");
    device
}

/// Lets time pass in which nothing is on its way: the tunnel waits for its next attempt.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// A session that hears of everything.
async fn listener(device: &Device) -> Session {
    let mut session = device.open().await;
    let create =
        r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>"#;
    session.rpc(create).await.unwrap();
    session
}

/// The next notification with this name.
async fn told<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, name: &str) -> String {
    let hearing = async {
        loop {
            let told = session.notification().await.unwrap();
            if told.contains(&format!("<{name} ")) {
                return told;
            }
        }
    };
    soon(hearing).await
}

fn is_armed(state: &State) -> bool {
    state.get("commit-guard/deadline").is_some()
}

/// `server` as it is configured, password and all.
async fn server(session: &mut Session) -> String {
    let filter = cloud_management("<server/>");
    session.get_config("running", Some(&filter)).await.unwrap()
}

/// Waits until running has this again.
async fn restored(device: &mut Device, before: &str) {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while server(&mut device.session).await != before {
        assert!(tokio::time::Instant::now() < until, "never restored");
        pace.tick().await;
    }
}

/// By the telemetry service, as of every notification of cloud-management.
async fn the_cloud_hears_of_it(device: &mut Device, mark: u64) {
    let heard = |what: &What| matches!(what, What::Telemetry { notification } if notification == "cloud-management:commit-rolled-back");
    device.cloud_sees(mark, heard).await;
}

#[tokio::test]
async fn a_wrong_password_is_taken_back_and_everybody_is_told_why() {
    let mut device = guarded().await;
    let before = server(&mut device.session).await;
    let mut listener = listener(&device).await;
    device.commit_cloud(WRONG).await;
    let state = device.failed("password-refused").await;
    assert!(is_armed(&state), "{state:?}");
    assert!(state.is("commit-guard/base-commit-id", "3"));
    let mark = device.cloud.mark();
    pass(61).await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("commit-rolled-back"));
    let state = device.up().await;
    assert_eq!(server(&mut device.session).await, before);
    assert!(state.is("last-down/reason", "commit-rolled-back"));
    assert!(!is_armed(&state));
    for (leaf, value) in [
        ("commit-id", "5"),
        ("rolled-back-commit-id", "4"),
        ("server-domain", "cloud.com"),
        ("failure-reason", "password-refused"),
    ] {
        assert!(
            state.is(&format!("commit-guard/last-rollback/{leaf}"), value),
            "{state:?}"
        );
    }
    let change = told(&mut listener, "netconf-config-change").await;
    assert!(change.contains("<username>admin</username>"), "{change}");
    let change = told(&mut listener, "netconf-config-change").await;
    assert!(
        change.contains("<server/>") && change.contains("password"),
        "{change}"
    );
    let rolled_back = told(&mut listener, "commit-rolled-back").await;
    for part in [
        "<commit-id>5</commit-id>",
        "<rolled-back-commit-id>4</rolled-back-commit-id>",
        "<server-domain>cloud.com</server-domain>",
        "<failure-reason>password-refused</failure-reason>",
    ] {
        assert!(rolled_back.contains(part), "{rolled_back}");
    }
    the_cloud_hears_of_it(&mut device, mark).await;
    // It stays so, and a restart finds the same.
    pass(120).await;
    let mut device = device.restart().await;
    assert_eq!(server(&mut device.session).await, before);
    let state = device.up().await;
    assert!(state.is(
        "commit-guard/last-rollback/failure-reason",
        "password-refused"
    ));
    device.stop().await;
}

#[tokio::test]
async fn a_good_change_disarms_it_for_good_and_durably() {
    let mut device = guarded().await;
    device
        .cloud
        .set_password(crate::support::SERIAL, Some("new"));
    let mark = device.cloud.mark();
    device
        .commit_cloud("<server><password>$0$new</password></server>")
        .await;
    let reason = device.reconnected(mark).await;
    assert_eq!(reason.as_deref(), Some("configuration-changed"));
    let state = device
        .wait_state(|state| state.is("device-state", "request-success") && !is_armed(state))
        .await;
    assert!(!state.has_entry("commit-guard/last-rollback"));
    let now = server(&mut device.session).await;
    let mut device = device.restart().await;
    device.up().await;
    assert_eq!(server(&mut device.session).await, now);
    device.stop().await;
}

#[tokio::test]
async fn a_restart_while_it_is_armed_restores_before_anything_is_dialled_and_tells_of_it() {
    let mut device = guarded().await;
    let before = server(&mut device.session).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let mark = device.cloud.mark();
    let mut device = device.restart().await;
    let state = device.up().await;
    assert_eq!(server(&mut device.session).await, before);
    assert!(state.is("last-down/reason", "commit-rolled-back"));
    assert!(state.is("commit-guard/last-rollback/rolled-back-commit-id", "4"));
    assert!(!is_armed(&state));
    let events = device.cloud.events();
    let refused = events.iter().filter(|event| {
        event.number > mark
            && matches!(
                event.what,
                What::Authentication(Authentication::WrongPassword)
            )
    });
    assert_eq!(
        refused.count(),
        0,
        "it was never dialled with what was taken back"
    );
    let replay = r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><startTime>2020-01-01T00:00:00Z</startTime></create-subscription>"#;
    let mut listener = device.open().await;
    listener.rpc(replay).await.unwrap();
    let rolled_back = told(&mut listener, "commit-rolled-back").await;
    assert!(
        rolled_back.contains("<commit-id>5</commit-id>"),
        "{rolled_back}"
    );
    let mut listener = device.open().await;
    listener.rpc(replay).await.unwrap();
    let by_server = async {
        while !told(&mut listener, "netconf-config-change")
            .await
            .contains("<server/>")
        {}
    };
    soon(by_server).await;
    the_cloud_hears_of_it(&mut device, mark).await;
    // Once is enough.
    let mut device = device.restart().await;
    device.up().await;
    assert_eq!(server(&mut device.session).await, before);
    device.stop().await;
}

#[tokio::test]
async fn an_accepted_commit_stays_although_the_device_is_cut_off() {
    let mut device = guarded().await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let now = server(&mut device.session).await;
    device.act(ACCEPT).await;
    assert!(!is_armed(&device.state().await));
    let nothing = refused(device.session.rpc(&action(ACCEPT)).await).remove(0);
    assert_eq!(nothing.tag, "operation-failed");
    pass(120).await;
    let mut device = device.restart().await;
    assert_eq!(server(&mut device.session).await, now);
    device.stop().await;
}

#[tokio::test]
async fn without_an_armed_guard_there_is_nothing_to_accept() {
    let mut device = guarded().await;
    let nothing = refused(device.session.rpc(&action(ACCEPT)).await).remove(0);
    assert_eq!(nothing.tag, "operation-failed");
    assert_eq!(nothing.message.as_deref(), Some("no commit guard is armed"));
    device.stop().await;
}

#[tokio::test]
async fn whoever_may_not_execute_the_action_accepts_nothing() {
    let mut device = guarded().await;
    let operator = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>operator</name><user-name>olga</user-name></group></groups></nacm>"#;
    let user = crate::support::system(
        "<authentication><user><name>olga</name><password>$0$olga</password></user></authentication>",
    );
    device.commit(&[operator, &user].concat()).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let mut olga = device.ssh("olga", "olga").await;
    let denied = match olga.session.rpc(&action(ACCEPT)).await {
        Err(ClientError::Refused(errors)) => errors,
        other => panic!("{other:?}"),
    };
    assert_eq!(denied[0].tag, "access-denied");
    assert!(is_armed(&device.state().await));
    device.stop().await;
}

#[tokio::test]
async fn what_leaves_the_tunnel_alone_arms_nothing() {
    let mut device = guarded().await;
    for change in [
        "<keepalive-interval>100</keepalive-interval>",
        "<commit-guard><timeout>70</timeout></commit-guard>",
        "<server><domain>CLOUD.COM.</domain></server>",
        &format!("<server><password>$0${PASSWORD}</password></server>"),
        "<backup-server><address-family>ipv4</address-family><domain>other.com</domain></backup-server>",
        "<service><name>telemetry</name><enabled>false</enabled></service>",
    ] {
        device.commit_cloud(change).await;
        assert!(!is_armed(&device.state().await), "{change}");
    }
    let mark = device.cloud.mark();
    device.act("<reset-tunnel/>").await;
    device.reconnected(mark).await;
    assert!(!is_armed(&device.state().await));
    device.stop().await;
}

#[tokio::test]
async fn without_commit_guard_or_without_a_tunnel_nothing_is_guarded() {
    let mut device = Device::connected().await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    assert!(!is_armed(&device.state().await));
    // It is guarded now, but nothing stands that could be lost.
    device.commit_cloud(GUARD).await;
    device
        .commit_cloud("<server><password>$0$worse</password></server>")
        .await;
    device.failed("password-refused").await;
    assert!(!is_armed(&device.state().await));
    device.stop().await;
}

#[tokio::test]
async fn a_commit_that_takes_the_server_away_or_brings_the_guard_is_guarded_too() {
    let mut device = Device::connected().await;
    let before = server(&mut device.session).await;
    let none = format!("{GUARD}<server><domain {REMOVE}/></server>");
    device.commit_cloud(&none).await;
    let state = device
        .wait_state(|state| state.is("device-state", "idle"))
        .await;
    assert!(is_armed(&state));
    pass(61).await;
    restored(&mut device, &before).await;
    device.up().await;
    let whole = device.session.get_config("running", None).await.unwrap();
    assert!(!whole.contains("commit-guard"), "{whole}");
    device.stop().await;
}
