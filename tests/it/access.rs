//! "Users, keys, NACM: from the next rpc on; sessions of a removed user are ended. Limits: taken over live" (model.md),
//! over SSH as the users themselves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use russh::keys::{Algorithm, PrivateKey};

use crate::support::{ADMIN_PASSWORD, Device, SshSession, cloud_management, refused, soon, system};

const NETCONF: &str = r#"xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0""#;

fn user(name: &str, content: &str) -> String {
    system(&format!(
        "<authentication><user><name>{name}</name>{content}</user></authentication>"
    ))
}

/// Takes a user away.
fn removal(name: &str) -> String {
    system(&format!(
        r#"<authentication><user {NETCONF} nc:operation="delete"><name>{name}</name></user></authentication>"#
    ))
}

/// Makes a user a member of a group.
fn member(group: &str, user: &str) -> String {
    format!(
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>{group}</name><user-name>{user}</user-name></group></groups></nacm>"#
    )
}

fn limit(name: &str, value: u32) -> String {
    format!(
        r#"<device-management xmlns="urn:tether:yang:device-management"><limits><{name}>{value}</{name}></limits></device-management>"#
    )
}

async fn login(device: &Device, user: &str, password: &str) -> Option<SshSession> {
    SshSession::open(device.agent().ssh_addresses()[0], user, password).await
}

async fn login_with_key(device: &Device, user: &str, key: &PrivateKey) -> Option<SshSession> {
    SshSession::open_with_key(device.agent().ssh_addresses()[0], user, key).await
}

#[tokio::test]
async fn a_committed_user_logs_in_and_a_removed_one_is_put_out() {
    let mut device = Device::start().await;
    assert!(login(&device, "bob", "secret").await.is_none());
    device
        .commit(&user("bob", "<password>$0$secret</password>"))
        .await;
    let bob = login(&device, "bob", "secret").await.unwrap();
    let mut admin = device.ssh("admin", ADMIN_PASSWORD).await;
    device.commit(&removal("bob")).await;
    bob.ended().await;
    assert!(login(&device, "bob", "secret").await.is_none());
    admin.session.get(None).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_new_password_counts_from_the_next_login_on() {
    let mut device = Device::start().await;
    let bob = user("bob", "<password>$0$old</password>");
    device
        .commit(&[bob, member("operator", "bob")].concat())
        .await;
    let mut before = login(&device, "bob", "old").await.unwrap();
    device
        .commit(&user("bob", "<password>$0$new</password>"))
        .await;
    assert!(login(&device, "bob", "old").await.is_none());
    assert!(login(&device, "bob", "new").await.is_some());
    before.session.get(None).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_key_that_is_taken_away_opens_no_more() {
    let mut device = Device::start().await;
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let data = STANDARD.encode(key.public_key().to_bytes().unwrap());
    let entry = format!(
        "<authorized-key><name>laptop</name><algorithm>ssh-ed25519</algorithm><key-data>{data}</key-data></authorized-key>"
    );
    device.commit(&user("bob", &entry)).await;
    assert!(login_with_key(&device, "bob", &key).await.is_some());
    assert!(login_with_key(&device, "admin", &key).await.is_none());
    let gone = format!(
        r#"<authorized-key {NETCONF} nc:operation="delete"><name>laptop</name></authorized-key>"#
    );
    device.commit(&user("bob", &gone)).await;
    assert!(login_with_key(&device, "bob", &key).await.is_none());
    device.stop().await;
}

#[tokio::test]
async fn access_control_counts_from_the_next_rpc_on() {
    let mut device = Device::start().await;
    let bob = user("bob", "<password>$0$secret</password>");
    device
        .commit(&[bob, member("operator", "bob")].concat())
        .await;
    let mut bob = login(&device, "bob", "secret").await.unwrap();
    let edit = cloud_management("<keepalive-interval>20</keepalive-interval>");
    let denied = refused(bob.session.edit_config("candidate", &edit).await);
    assert_eq!(denied[0].tag, "access-denied");
    let reset = format!(
        r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{}</action>"#,
        cloud_management("<reset-tunnel/>")
    );
    assert_eq!(
        refused(bob.session.rpc(&reset).await)[0].tag,
        "access-denied"
    );
    device.commit(&member("admin", "bob")).await;
    bob.session.edit_config("candidate", &edit).await.unwrap();
    bob.session.commit().await.unwrap();
    bob.session.rpc(&reset).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn an_operator_reads_but_sees_no_secret() {
    let mut device = Device::start().await;
    device.configure_cloud().await;
    let bob = user("bob", "<password>$0$secret</password>");
    let code = cloud_management("<unbinding-code>4711</unbinding-code>");
    device
        .commit(&[bob, member("operator", "bob"), code].concat())
        .await;
    let mut bob = login(&device, "bob", "secret").await.unwrap();
    for seen in [
        bob.session.get(None).await.unwrap(),
        bob.session.get_config("running", None).await.unwrap(),
    ] {
        assert!(seen.contains("<domain>cloud.com</domain>"));
        assert!(!seen.contains("4711") && !seen.contains("$1$") && !seen.contains("$6$"));
    }
    device.stop().await;
}

#[tokio::test]
async fn a_smaller_limit_of_sessions_counts_for_the_next_one() {
    let mut device = Device::start().await;
    let mut second = device.open().await;
    device.commit(&limit("sessions-per-user", 2)).await;
    let stream = tokio::net::UnixStream::connect(device.agent().socket());
    let third =
        tether::protocol::client::Client::connect(stream.await.unwrap(), crate::support::PATIENCE);
    assert!(third.await.is_err());
    second.get(None).await.unwrap();
    device.commit(&limit("sessions-per-user", 3)).await;
    device.open().await.get(None).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_smaller_message_size_ends_the_session_that_exceeds_it() {
    let mut device = Device::start().await;
    let mut other = device.open().await;
    device.commit(&limit("message-size", 65536)).await;
    let long = format!("<get><!--{}--></get>", "x".repeat(70_000));
    assert!(other.rpc(&long).await.is_err());
    assert!(soon(other.get(None)).await.is_err(), "the session is over");
    device.session.get(None).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn an_idle_limit_ends_sessions_that_were_open_before() {
    let mut device = Device::start().await;
    let mut other = device.open().await;
    device.commit(&limit("idle-timeout", 1)).await;
    // Only a session that is used stays: asking for the state all the time keeps the administrator's open.
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
    let filter = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>"#;
    loop {
        pace.tick().await;
        let sessions = device.session.get(Some(filter)).await.unwrap();
        if sessions.matches("<session>").count() == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{sessions}");
    }
    assert!(other.get(None).await.is_err());
    device.stop().await;
}

#[tokio::test]
async fn a_users_password_typed_again_is_no_change() {
    let mut device = Device::start().await;
    let bob = user("bob", "<password>$0$secret</password>");
    device.commit(&bob).await;
    let before = device.session.get_config("running", None).await.unwrap();
    device.commit(&bob).await;
    let after = device.session.get_config("running", None).await.unwrap();
    assert_eq!(before, after);
    assert!(before.contains("$6$") && !before.contains("secret"));
    device.stop().await;
}

#[tokio::test]
async fn a_rule_for_one_leaf_opens_that_leaf_alone() {
    let mut device = Device::connected().await;
    let rules = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm" xmlns:cm="urn:tether:yang:cloud-management">
        <groups><group><name>tuner</name><user-name>bob</user-name></group></groups>
        <rule-list><name>tuner</name><group>tuner</group>
          <rule><name>rpcs</name><module-name>ietf-netconf</module-name><rpc-name>*</rpc-name><access-operations>exec</access-operations><action>permit</action></rule>
          <rule><name>interval</name><path>/cm:cloud-management/cm:keepalive-interval</path><access-operations>*</access-operations><action>permit</action></rule>
          <rule><name>reset</name><path>/cm:cloud-management/cm:reset-tunnel</path><access-operations>*</access-operations><action>permit</action></rule>
        </rule-list></nacm>"#;
    let bob = user("bob", "<password>$0$secret</password>");
    device.commit(&[bob, rules.to_owned()].concat()).await;
    let mut bob = login(&device, "bob", "secret").await.unwrap();
    let interval = cloud_management("<keepalive-interval>42</keepalive-interval>");
    bob.session
        .edit_config("candidate", &interval)
        .await
        .unwrap();
    bob.session.commit().await.unwrap();
    for closed in [
        cloud_management("<server><password>$0$taken-over</password></server>"),
        cloud_management("<unbinding-code>4711</unbinding-code>"),
        cloud_management("<server><port>1</port></server>"),
        member("admin", "bob"),
        user("bob", "<password>$0$other</password>"),
    ] {
        for target in ["candidate", "running"] {
            let denied = refused(bob.session.edit_config(target, &closed).await);
            assert_eq!(denied[0].tag, "access-denied", "{closed}");
        }
    }
    // What another has put into the candidate is not his to commit.
    let edit = cloud_management("<server><password>$0$of-admin</password></server>");
    device
        .session
        .edit_config("candidate", &edit)
        .await
        .unwrap();
    assert_eq!(refused(bob.session.commit().await)[0].tag, "access-denied");
    device.session.discard_changes().await.unwrap();
    let action = |inside: &str| {
        format!(
            r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{}</action>"#,
            cloud_management(inside)
        )
    };
    bob.session.rpc(&action("<reset-tunnel/>")).await.unwrap();
    let unbind = action("<unbind><code>x</code></unbind>");
    assert_eq!(
        refused(bob.session.rpc(&unbind).await)[0].tag,
        "access-denied"
    );
    let running = device.session.get_config("running", None).await.unwrap();
    assert!(running.contains(">42<"));
    device.stop().await;
}

#[tokio::test]
async fn a_smaller_number_of_attempts_counts_for_the_next_login() {
    let mut device = Device::start().await;
    device.commit(&limit("login-attempts", 1)).await;
    let address = device.agent().ssh_addresses()[0];
    let tries = SshSession::attempts(address, "admin", &["wrong", ADMIN_PASSWORD]).await;
    assert_eq!(tries, 0);
    device.commit(&limit("login-attempts", 3)).await;
    let tries = SshSession::attempts(address, "admin", &["wrong", ADMIN_PASSWORD]).await;
    assert_eq!(tries, 1);
    device.stop().await;
}
