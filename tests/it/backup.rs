//! Backup servers: an agent between two reference clouds, of which the primary goes and comes back.

use std::time::Duration;

use tether::sim::cloud::{Channel, Cloud, CloudConfig, Misbehaviour, Step, What};

use crate::support::{
    Device, PASSWORD, PATIENCE, SERIAL, State, cloud_management, host, refused, registered,
    trust_anchor,
};

/// A device whose primary does not register it, and the backup that carries its tunnel.
async fn on_the_backup() -> (Device, Cloud) {
    let mut device = Device::start().await;
    let backup = Cloud::start(CloudConfig {
        names: vec!["backup.com".into()],
        devices: vec![registered()],
        ..CloudConfig::default()
    });
    let backup = backup.await.unwrap();
    let unable = Misbehaviour::Status(500);
    device.cloud.set_misbehaviour(Step::Registration, unable);
    let whole = device.whole_configuration(PASSWORD);
    let trust = trust_anchor("backup", backup.ca_pem());
    let entry = entry("backup.com", Some(backup.addr().port()));
    let more = cloud_management(&format!(
        "<server><primary-return>1</primary-return></server>{trust}{entry}"
    ));
    let session = &mut device.session;
    let configured = [whole, host("backup.com", "127.0.0.1"), more];
    for part in configured {
        session.edit_config("candidate", &part).await.unwrap();
    }
    session.commit().await.unwrap();
    up_at(&mut device, "backup.com").await;
    (device, backup)
}

fn entry(domain: &str, port: Option<u16>) -> String {
    let port = port.map_or(String::new(), |port| format!("<port>{port}</port>"));
    format!(
        "<backup-server><address-family>ipv4</address-family><domain>{domain}</domain>{port}</backup-server>"
    )
}

async fn up_at(device: &mut Device, domain: &str) -> State {
    device
        .wait_state(|state| {
            state.is("device-state", "request-success")
                && state.is("server-domain", domain)
                && state.is("subconnection[telemetry]/state", "established")
        })
        .await
}

/// Lets the longest wait for a probe pass.
async fn pass_a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
}

async fn sees(cloud: &Cloud, mark: u64, matches: impl Fn(&What) -> bool) {
    let seen = cloud.wait_after(mark, |event| matches(&event.what), PATIENCE);
    seen.await.unwrap();
}

#[tokio::test]
async fn a_backup_stands_in_until_the_primary_registers_the_device_again() {
    let (mut device, backup) = on_the_backup().await;
    let before = device.state().await;
    assert_eq!(
        before.get("server-port"),
        Some(backup.addr().port().to_string().as_str())
    );

    pass_a_minute().await;
    let probed = device
        .wait_state(|state| state.is("primary-probe/failure-reason", "registration-failed"))
        .await;
    assert!(probed.get("primary-probe/next-at").is_some());
    assert_eq!(backup.counters().mains, 1, "the tunnel stays");
    assert_eq!(probed.get("failure-reason"), None);
    assert!(backup.is_connected(SERIAL) && !device.cloud.is_connected(SERIAL));

    device.cloud.clear_misbehaviour(None);
    let (mark, backup_mark) = (device.cloud.mark(), backup.mark());
    pass_a_minute().await;
    let after = up_at(&mut device, "cloud.com").await;
    assert_eq!(after.get("last-down/reason"), Some("primary-return"));
    assert!(!after.has_entry("primary-probe"));
    for (channel, code) in [
        (Channel::Main, 1000),
        (Channel::Service("telemetry".into()), 1001),
    ] {
        sees(&backup, backup_mark, |what| {
            matches!(what, What::PeerClosed { channel: closed, code: with, .. } if *closed == channel && *with == code)
        })
        .await;
    }
    // The probe's own connection was upgraded, after the backup had taken its leave.
    let events = device.cloud.events();
    let upgraded = events
        .iter()
        .find(|event| event.number > mark && matches!(event.what, What::MainUp { .. }))
        .unwrap();
    let probe = events
        .iter()
        .find(|event| event.number > mark && matches!(event.what, What::Registered { .. }))
        .unwrap();
    assert_eq!(upgraded.connection, probe.connection);
    let events = backup.events();
    let closed = events
        .iter()
        .find(|event| {
            matches!(
                event.what,
                What::PeerClosed {
                    channel: Channel::Main,
                    ..
                }
            )
        })
        .unwrap();
    assert!(closed.at <= upgraded.at);
    device.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_lost_gives_the_primary_its_turn() {
    let (mut device, mut backup) = on_the_backup().await;
    device.cloud.clear_misbehaviour(None);
    backup.stop(false).await;
    let state = up_at(&mut device, "cloud.com").await;
    assert_eq!(state.get("last-down/reason"), Some("connection-lost"));
    device.stop().await;
}

#[tokio::test]
async fn other_backup_servers_keep_the_tunnel_and_its_own_removal_ends_it() {
    let (mut device, backup) = on_the_backup().await;
    let before = device.state().await;
    let first = r#"<backup-server xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="first"><address-family>ipv6</address-family><domain>six.com</domain></backup-server>"#;
    device.commit_cloud(first).await;
    device.commit_cloud(&entry("another.com", Some(1))).await;
    // What was committed has reached the tunnel once the cloud has answered what follows on the same way.
    let mark = backup.mark();
    device.act("<unbind><code>probe</code></unbind>").await;
    sees(&backup, mark, |what| matches!(what, What::Unbind { .. })).await;
    let after = device.state().await;
    assert_eq!(after.get("connected-at"), before.get("connected-at"));

    device.cloud.clear_misbehaviour(None);
    let removed = r#"<backup-server xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"><address-family>ipv4</address-family><domain>backup.com</domain></backup-server>"#;
    device.commit_cloud(removed).await;
    let state = up_at(&mut device, "cloud.com").await;
    assert_eq!(state.get("last-down/reason"), Some("configuration-changed"));
    device.stop().await;
}

#[tokio::test]
async fn what_cannot_be_dialled_is_refused_where_it_stands() {
    let mut device = Device::start().await;
    let backup = |family: &str, domain: &str, more: &str| {
        format!(
            "<backup-server><address-family>{family}</address-family><domain>{domain}</domain>{more}</backup-server>"
        )
    };
    let many: String = (0..9).map(|n| entry(&format!("b{n}.com"), None)).collect();
    for (content, leaf) in [
        (backup("ipv4", "2001:db8::1", ""), ":domain"),
        (backup("ipv6", "10.1.1.1", ""), ":domain"),
        (
            backup("ipv4", "a.com", "<source-ip>2001:db8::2</source-ip>"),
            ":source-ip",
        ),
        (
            backup("ipv6", "a.com", "<source-ip>10.0.0.2</source-ip>"),
            ":source-ip",
        ),
        (
            backup(
                "ipv6",
                "a.com",
                "<vpn-instance>a-name-of-16-chr</vpn-instance>",
            ),
            ":vpn-instance",
        ),
        (many, ":backup-server"),
    ] {
        let edit = cloud_management(&content);
        let answer = match device.session.edit_config("candidate", &edit).await {
            Ok(()) => device.session.commit().await,
            refused => refused,
        };
        device.session.discard_changes().await.unwrap();
        let errors = refused(answer);
        let path = errors[0].path.clone().unwrap_or_default();
        assert!(path.ends_with(leaf), "{content}: {errors:?}");
    }
    device.stop().await;
}
