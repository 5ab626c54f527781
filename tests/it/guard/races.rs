//! What comes between a guarded commit and its end (the table of `datastore/guard.rs`).

use tether::agent::options::Options;
use tether::model::settings::Secret;
use tether::transport::control::{self, Request};

use super::*;
use crate::support::{SERIAL, host, options};

const WORSE: &str = "<server><password>$0$worse</password></server>";

const INTERVAL: &str = "<keepalive-interval>77</keepalive-interval>";

fn timeout(seconds: u16) -> String {
    format!("<commit-guard><timeout>{seconds}</timeout></commit-guard>")
}

async fn confirmed(device: &mut Device, config: &str, seconds: u32, token: &str) {
    let config = cloud_management(config);
    device
        .session
        .edit_config("candidate", &config)
        .await
        .unwrap();
    let commit =
        format!("<commit><confirmed/><confirm-timeout>{seconds}</confirm-timeout>{token}</commit>");
    device.session.rpc(&commit).await.unwrap();
}

/// A guarded device that is cut off, and its server before.
async fn cut_off() -> (Device, String) {
    let mut device = guarded().await;
    let before = server(&mut device.session).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    (device, before)
}

/// A guarded device with a confirmed commit that changes the interval, followed up by one that cuts it off; and its server
/// before.
async fn both_pending() -> (Device, String) {
    let mut device = guarded().await;
    let before = server(&mut device.session).await;
    confirmed(&mut device, INTERVAL, 600, "<persist>t</persist>").await;
    confirmed(&mut device, WRONG, 600, "<persist-id>t</persist-id>").await;
    (device, before)
}

async fn whole(device: &mut Device) -> String {
    device.session.get_config("running", None).await.unwrap()
}

#[tokio::test]
async fn a_second_commit_keeps_the_base_and_gets_the_time_of_its_own() {
    let (mut device, before) = cut_off().await;
    pass(40).await;
    device.commit_cloud(WORSE).await;
    device.failed("password-refused").await;
    let state = device.state().await;
    assert!(state.is("commit-guard/base-commit-id", "3"), "{state:?}");
    // What changes no target has no time of its own, and goes with the rest.
    device.commit_cloud(INTERVAL).await;
    pass(40).await;
    assert!(is_armed(&device.state().await));
    pass(25).await;
    restored(&mut device, &before).await;
    let state = device.up().await;
    assert!(
        state.is("commit-guard/last-rollback/commit-id", "7"),
        "{state:?}"
    );
    let whole = whole(&mut device).await;
    assert!(!whole.contains(">77<"));
    device.stop().await;
}

#[tokio::test]
async fn the_first_target_committed_again_by_hand_disarms_once_its_tunnel_stands() {
    let (mut device, before) = cut_off().await;
    let right = format!("<server><password>$0${PASSWORD}</password></server>");
    device.commit_cloud(&right).await;
    device.up().await;
    device.wait_state(|state| !is_armed(state)).await;
    pass(100).await;
    let mut device = device.restart().await;
    let state = device.up().await;
    assert!(!state.has_entry("commit-guard/last-rollback"));
    // Sealed anew, so the text is another one.
    assert_ne!(server(&mut device.session).await, before);
    device.stop().await;
}

#[tokio::test]
async fn a_new_timeout_counts_from_its_commit_on() {
    let (mut device, before) = cut_off().await;
    pass(40).await;
    device.commit_cloud(&timeout(300)).await;
    pass(200).await;
    assert!(is_armed(&device.state().await));
    device.commit_cloud(&timeout(10)).await;
    pass(11).await;
    restored(&mut device, &before).await;
    let whole = whole(&mut device).await;
    assert!(whole.contains("<timeout>60</timeout>"), "{whole}");
    device.stop().await;
}

#[tokio::test]
async fn without_commit_guard_any_more_the_guard_is_over() {
    let (mut device, before) = cut_off().await;
    device
        .commit_cloud(&format!("<commit-guard {REMOVE}/>"))
        .await;
    assert!(!is_armed(&device.state().await));
    pass(120).await;
    let mut device = device.restart().await;
    assert_ne!(server(&mut device.session).await, before);
    device.stop().await;
}

#[tokio::test]
async fn of_a_guard_and_a_confirmed_commit_the_earlier_deadline_wins_and_both_are_over() {
    for (seconds, reason, event) in [
        (
            600,
            "commit-rolled-back",
            "<confirm-event>cancel</confirm-event>",
        ),
        (
            30,
            "configuration-changed",
            "<confirm-event>timeout</confirm-event>",
        ),
    ] {
        let mut device = guarded().await;
        let before = server(&mut device.session).await;
        // Pending before the guard is armed: of both bases the older counts.
        confirmed(&mut device, INTERVAL, seconds, "").await;
        confirmed(&mut device, WRONG, seconds, "").await;
        device.failed("password-refused").await;
        let mut listener = listener(&device).await;
        pass(u64::from(seconds.min(60)) + 1).await;
        let told = told(&mut listener, "netconf-confirmed-commit").await;
        assert!(told.contains(event), "{told}");
        restored(&mut device, &before).await;
        let state = device.up().await;
        assert!(!is_armed(&state));
        assert!(state.is("last-down/reason", reason), "{state:?}");
        let whole = whole(&mut device).await;
        assert!(!whole.contains(">77<"), "{whole}");
        let cancel = refused(device.session.rpc("<cancel-commit/>").await);
        assert_eq!(cancel[0].tag, "operation-failed");
        device.stop().await;
    }
}

#[tokio::test]
async fn a_confirmation_leaves_the_guard_armed_with_a_base_of_its_own() {
    let (mut device, before) = both_pending().await;
    device.failed("password-refused").await;
    let confirm = "<commit><persist-id>t</persist-id></commit>";
    device.open().await.rpc(confirm).await.unwrap();
    assert!(is_armed(&device.state().await));
    pass(61).await;
    restored(&mut device, &before).await;
    let whole = whole(&mut device).await;
    assert!(
        whole.contains(">77<"),
        "confirmed before the guarded one: {whole}"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_cancelled_commit_takes_the_guarded_one_before_it_back_too() {
    let (mut device, before) = cut_off().await;
    confirmed(&mut device, INTERVAL, 600, "<persist>t</persist>").await;
    let cancel = "<cancel-commit><persist-id>t</persist-id></cancel-commit>";
    device.open().await.rpc(cancel).await.unwrap();
    assert_eq!(server(&mut device.session).await, before);
    let state = device.up().await;
    assert!(!is_armed(&state));
    assert!(!state.has_entry("commit-guard/last-rollback"), "{state:?}");
    device.stop().await;
}

#[tokio::test]
async fn an_established_tunnel_ends_the_guard_and_a_confirmed_commit_goes_on_with_its_own_base() {
    let (mut device, _) = cut_off().await;
    confirmed(&mut device, INTERVAL, 600, "<persist>t</persist>").await;
    device.cloud.set_password(SERIAL, Some("wrong"));
    device.act("<reset-tunnel/>").await;
    device.up().await;
    device.wait_state(|state| !is_armed(state)).await;
    let now = server(&mut device.session).await;
    let cancel = "<cancel-commit><persist-id>t</persist-id></cancel-commit>";
    device.session.rpc(cancel).await.unwrap();
    assert_eq!(
        server(&mut device.session).await,
        now,
        "that was no part of it"
    );
    let whole = whole(&mut device).await;
    assert!(!whole.contains(">77<"), "{whole}");
    device.stop().await;
}

#[tokio::test]
async fn a_restart_with_both_pending_restores_the_older_base() {
    let (device, before) = both_pending().await;
    let mut device = device.restart().await;
    let state = device.up().await;
    assert_eq!(server(&mut device.session).await, before);
    let whole = whole(&mut device).await;
    assert!(!whole.contains(">77<"), "{whole}");
    assert!(state.is("last-down/reason", "commit-rolled-back"));
    device.stop().await;
}

#[tokio::test]
async fn locks_of_others_do_not_keep_the_device_from_taking_back_and_their_candidate_stays() {
    let (mut device, before) = cut_off().await;
    let mut other = device.open().await;
    other.lock("running").await.unwrap();
    other.lock("candidate").await.unwrap();
    let work = cloud_management(INTERVAL);
    other.edit_config("candidate", &work).await.unwrap();
    let draft = other.get_config("candidate", None).await.unwrap();
    pass(61).await;
    restored(&mut device, &before).await;
    assert_eq!(other.get_config("candidate", None).await.unwrap(), draft);
    // It is the whole that he sees, what was taken back included: his commit is guarded like the first.
    device.up().await;
    other.commit().await.unwrap();
    device.failed("password-refused").await;
    assert!(is_armed(&device.state().await));
    pass(61).await;
    restored(&mut device, &before).await;
    device.stop().await;
}

#[tokio::test]
async fn up_and_down_again_before_the_deadline_is_established_for_good() {
    let mut device = guarded().await;
    device.cloud.set_password(SERIAL, Some("new"));
    let mark = device.cloud.mark();
    device
        .commit_cloud("<server><password>$0$new</password></server>")
        .await;
    device.reconnected(mark).await;
    device.cloud.set_password(SERIAL, Some("another"));
    device.cloud.kill_connections();
    device.failed("password-refused").await;
    let now = server(&mut device.session).await;
    pass(61).await;
    assert!(!is_armed(&device.state().await));
    assert_eq!(server(&mut device.session).await, now);
    device.stop().await;
}

#[tokio::test]
async fn neither_a_reset_nor_an_eviction_arms_or_disarms() {
    let mut device = guarded().await;
    device.cloud.close(SERIAL, 4001).unwrap();
    let state = device
        .wait_state(|state| state.is("last-down/reason", "evicted"))
        .await;
    assert!(!is_armed(&state));
    device.act("<reset-tunnel/>").await;
    device.up().await;
    let before = server(&mut device.session).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let mark = device.cloud.mark();
    device.act("<reset-tunnel/>").await;
    device
        .cloud_sees(mark, |what| {
            matches!(what, tether::sim::cloud::What::Authentication(_))
        })
        .await;
    device.failed("password-refused").await;
    assert!(is_armed(&device.state().await));
    pass(61).await;
    restored(&mut device, &before).await;
    device.stop().await;
}

#[tokio::test]
async fn what_is_discovered_meanwhile_counts_with_the_new_configuration() {
    let mut device = guarded().await;
    let discovery = "<discovery><dhcp><interface>wan0</interface></dhcp></discovery>";
    device.commit_cloud(discovery).await;
    device.commit(&host("other.com", "127.0.0.1")).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let hook = Request::DhcpEvent {
        interface: "wan0".to_owned(),
        domain: Some("other.com".to_owned()),
        password: Some(Secret::new(PASSWORD)),
    };
    control::ask(device.agent().control_socket(), &hook)
        .await
        .unwrap();
    let state = device.up().await;
    assert!(state.is("server-domain", "other.com"), "{state:?}");
    device.wait_state(|state| !is_armed(state)).await;
    let now = server(&mut device.session).await;
    pass(61).await;
    assert_eq!(server(&mut device.session).await, now);
    // Both come from discovery now, so a configured password is none of the target.
    device.commit_cloud(WORSE).await;
    assert!(!is_armed(&device.state().await));
    device.stop().await;
}

#[tokio::test]
async fn a_backup_server_keeps_the_tunnel_and_its_own_removal_is_guarded() {
    let mut device = Device::start().await;
    let whole = device.whole_configuration(PASSWORD);
    let backup = format!(
        "{GUARD}<backup-server><address-family>ipv4</address-family><domain>cloud.com</domain></backup-server>\
         <server><domain>other.com</domain></server>"
    );
    // The primary has no address, the backup is the cloud.
    for part in [whole, cloud_management(&backup)] {
        device
            .session
            .edit_config("candidate", &part)
            .await
            .unwrap();
    }
    device.session.commit().await.unwrap();
    let state = device.up().await;
    assert!(state.is("server-domain", "cloud.com"));
    let entry = |operation: &str| {
        format!(
            r#"<backup-server xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="{operation}"><address-family>ipv4</address-family><domain>cloud.com</domain></backup-server>"#
        )
    };
    let another = "<backup-server><address-family>ipv4</address-family><domain>third.com</domain></backup-server>";
    device.commit_cloud(another).await;
    assert!(!is_armed(&device.state().await));
    device.commit_cloud(&entry("delete")).await;
    assert!(is_armed(&device.state().await));
    device.failed("dns-failed").await;
    pass(61).await;
    device.up().await;
    device.wait_state(|state| !is_armed(state)).await;
    device.stop().await;
}

#[tokio::test]
async fn where_running_is_not_durable_the_guard_takes_back_and_a_restart_begins_with_startup() {
    let device = Device::start().await;
    let options = Options {
        startup_datastore: true,
        ..options(device.directory())
    };
    let mut device = device.restart_with(options.clone()).await;
    device.configure_cloud().await;
    device.up().await;
    device.commit_cloud(GUARD).await;
    let keep = "<copy-config><target><startup/></target><source><running/></source></copy-config>";
    device.session.rpc(keep).await.unwrap();
    let before = server(&mut device.session).await;
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    pass(61).await;
    restored(&mut device, &before).await;
    let state = device.up().await;
    assert!(state.has_entry("commit-guard/last-rollback/at"));
    assert!(!state.has_entry("commit-guard/last-rollback/commit-id"));
    device.commit_cloud(WRONG).await;
    device.failed("password-refused").await;
    let mut device = device.restart_with(options).await;
    device.up().await;
    assert_eq!(server(&mut device.session).await, before);
    device.stop().await;
}
