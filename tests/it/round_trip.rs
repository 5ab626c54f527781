//! What the agent gives out it takes back: configuration read, put back, and found to be no change.

use crate::support::{Device, PASSWORD, Session, cloud_management, host, refused, system};

const NETCONF: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;

async fn running(session: &mut Session) -> String {
    session.get_config("running", None).await.unwrap()
}

/// Something of every kind: secrets, hashes, lists, paths with prefixes, what the user orders.
async fn rich(device: &mut Device) {
    device.configure_cloud().await;
    let rest = [
        cloud_management(
            "<unbinding-code>a &amp; b &lt; c</unbinding-code><keepalive-interval>60</keepalive-interval>\
             <backup-server><address-family>ipv4</address-family><domain>b.com</domain></backup-server>\
             <backup-server><address-family>ipv4</address-family><domain>a.com</domain><port>8443</port></backup-server>\
             <discovery><dhcp><interface>eth1</interface><interface>eth0</interface></dhcp></discovery>\
             <commit-guard/><service><name>netconf</name><enabled>false</enabled></service>",
        ),
        host("z.com", "2001:db8::1"),
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:c="urn:tether:yang:cloud-management"><rule-list><name>more</name><group>*</group>
           <rule><name>p</name><path>/c:cloud-management/c:service[c:name='x']/c:enabled</path><access-operations>read</access-operations><action>deny</action></rule>
           </rule-list></nacm>"#
            .to_owned(),
    ];
    for part in rest {
        let edited = device.session.edit_config("candidate", &part).await;
        edited.unwrap();
    }
    let users = "<contact>  somebody\n at home </contact><authentication><user><name>bob</name><password>$0$x</password></user></authentication>";
    device.commit(&system(users)).await;
}

#[tokio::test]
async fn running_put_back_as_it_was_read_is_no_change() {
    let mut device = Device::start().await;
    rich(&mut device).await;
    device.up().await;
    let main = device.main_connection();
    let before = running(&mut device.session).await;
    for (target, operation) in [
        ("running", "replace"),
        ("running", "merge"),
        ("candidate", "replace"),
    ] {
        let edit = format!(
            "<edit-config><target><{target}/></target><default-operation>{operation}</default-operation><config>{before}</config></edit-config>"
        );
        device.session.rpc(&edit).await.unwrap();
        device.session.commit().await.unwrap();
        assert_eq!(running(&mut device.session).await, before, "{operation}");
    }
    let copy = format!(
        "<copy-config><target><running/></target><source><config>{before}</config></source></copy-config>"
    );
    device.session.rpc(&copy).await.unwrap();
    assert_eq!(running(&mut device.session).await, before);
    assert_eq!(device.round_trip().await, main);
    let mut device = device.restart().await;
    assert_eq!(running(&mut device.session).await, before);
    device.stop().await;
}

#[tokio::test]
async fn what_was_taken_out_can_be_put_back() {
    let mut device = Device::start().await;
    rich(&mut device).await;
    let before = running(&mut device.session).await;
    let gone = format!(
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management" {NETCONF} nc:operation="delete"/>"#
    );
    device.commit(&gone).await;
    assert_ne!(running(&mut device.session).await, before);
    // Its secrets are of this device, so it opens them still.
    device.commit(&before).await;
    assert_eq!(running(&mut device.session).await, before);
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn a_configuration_without_secrets_in_clear_never_shows_one() {
    let mut device = Device::start().await;
    rich(&mut device).await;
    let everything = device.session.get(None).await.unwrap();
    assert!(!everything.contains(PASSWORD));
    assert!(!everything.contains("$0$"));
    assert!(everything.contains("a &amp; b &lt; c"));
    device.stop().await;
}

#[tokio::test]
async fn a_thousand_hosts_are_one_commit() {
    let mut device = Device::connected().await;
    let main = device.main_connection();
    let hosts: String = (0..1000)
        .map(|n| format!(r#"<host xmlns="urn:tether:yang:device-hosts"><name>h{n}.com</name><address>10.0.{}.{}</address></host>"#, n / 250, n % 250 + 1))
        .collect();
    device
        .commit(&system(&format!("<dns-resolver>{hosts}</dns-resolver>")))
        .await;

    assert_eq!(device.round_trip().await, main);
    let before = running(&mut device.session).await;
    assert_eq!(before.matches("<host").count(), 1001);
    let mut device = device.restart().await;
    assert_eq!(running(&mut device.session).await, before);
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn a_commit_without_changes_is_ok_and_does_nothing() {
    let mut device = Device::connected().await;
    let main = device.main_connection();
    device.session.commit().await.unwrap();
    device.session.discard_changes().await.unwrap();
    device.session.commit().await.unwrap();
    assert_eq!(device.round_trip().await, main);
    device.stop().await;
}

#[tokio::test]
async fn an_administrator_who_removes_every_user_keeps_the_local_socket() {
    let mut device = Device::start().await;
    let gone = format!(r#"<authentication {NETCONF} nc:operation="delete"/>"#);
    device.commit(&system(&gone)).await;
    let mut device = device.restart().await;
    let seen = running(&mut device.session).await;
    assert!(!seen.contains("<authentication>"), "{seen}");
    device.stop().await;
}

#[tokio::test]
async fn values_outside_the_model_are_refused_with_their_place() {
    let mut device = Device::start().await;
    let long = "a".repeat(254);
    let bad = [
        (
            "<keepalive-interval>9</keepalive-interval>".to_owned(),
            "keepalive-interval",
        ),
        (
            "<keepalive-interval>601</keepalive-interval>".to_owned(),
            "keepalive-interval",
        ),
        (
            "<keepalive-interval>abc</keepalive-interval>".to_owned(),
            "keepalive-interval",
        ),
        ("<server><domain/></server>".to_owned(), "domain"),
        (
            format!("<server><domain>{long}</domain></server>"),
            "domain",
        ),
        ("<server><port>0</port></server>".to_owned(), "port"),
        ("<server><port>65536</port></server>".to_owned(), "port"),
        (
            "<server><source-ip>::1</source-ip></server>".to_owned(),
            "source-ip",
        ),
        (
            "<server><ipv6><source-ip>127.0.0.1</source-ip></ipv6></server>".to_owned(),
            "source-ip",
        ),
        (
            "<server><password>clear</password></server>".to_owned(),
            "password",
        ),
        (
            "<server><password>$0$</password></server>".to_owned(),
            "password",
        ),
        (
            format!(
                "<server><password>$0${}</password></server>",
                "x".repeat(64)
            ),
            "password",
        ),
        (
            "<server><vpn-instance/></server>".to_owned(),
            "vpn-instance",
        ),
        ("<service><name>UPPER</name></service>".to_owned(), "name"),
    ];
    for (content, leaf) in bad {
        let edit = cloud_management(&content);
        for target in ["candidate", "running"] {
            let error = refused(device.session.edit_config(target, &edit).await).remove(0);
            assert_eq!(error.tag, "invalid-value", "{content}");
            let path = error.path.unwrap_or_default();
            assert!(path.contains(leaf), "{content}: {path}");
        }
    }
    let unknown = device
        .session
        .edit_config("candidate", &cloud_management("<unknown/>"))
        .await;
    assert_eq!(refused(unknown)[0].tag, "unknown-element");
    device.stop().await;
}
