//! The commit history over NETCONF: who did what, and the way back.

use tether::protocol::client::ReportedError;

use crate::support::{Device, SshSession, cloud_management, refused, system};

const MANAGEMENT: &str = "urn:tether:yang:device-management";
const INTERVAL: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval/></cloud-management>"#;

fn interval(seconds: u16) -> String {
    cloud_management(&format!(
        "<keepalive-interval>{seconds}</keepalive-interval>"
    ))
}

fn filter(inside: &str) -> String {
    format!(
        r#"<device-management xmlns="{MANAGEMENT}"><commit>{inside}</commit></device-management>"#
    )
}

fn rollback(id: &str, comment: &str) -> String {
    format!(
        r#"<action xmlns="urn:ietf:params:xml:ns:yang:1"><device-management xmlns="{MANAGEMENT}">
        <rollback-to><commit-id>{id}</commit-id>{comment}</rollback-to></device-management></action>"#
    )
}

fn comment(text: &str) -> String {
    format!(r#"<comment xmlns="{MANAGEMENT}">{text}</comment>"#)
}

fn edit(target: &str, config: &str, more: &str) -> String {
    format!(
        "<edit-config><target><{target}/></target><config>{config}</config>{more}</edit-config>"
    )
}

/// One commit of the list.
async fn commit(device: &mut Device, id: u64) -> String {
    let filter = filter(&format!("<id>{id}</id>"));
    device.session.get(Some(&filter)).await.unwrap()
}

async fn running(device: &mut Device) -> String {
    let config = device.session.get_config("running", Some(INTERVAL)).await;
    config.unwrap()
}

#[tokio::test]
async fn the_list_begins_with_the_first_start() {
    let mut device = Device::start().await;
    let first = commit(&mut device, 1).await;
    for part in [
        "<source>factory-default</source>",
        "<name>admin</name>",
        ":operation=\"create\"",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(
        first.starts_with(&format!(
            "<device-management xmlns=\"{MANAGEMENT}\"><commit><id>1</id><at>"
        )),
        "{first}"
    );
    assert!(
        first.contains("</at><source>"),
        "no user, no session: {first}"
    );
    device.stop().await;
}

#[tokio::test]
async fn a_commit_tells_who_made_it_from_where_why_and_what_it_changed() {
    let mut device = Device::start().await;
    let address = device.agent().ssh_addresses()[0];
    let mut ssh = SshSession::open(address, "admin", crate::support::ADMIN_PASSWORD)
        .await
        .unwrap();
    let edited = ssh.session.edit_config("candidate", &interval(60)).await;
    edited.unwrap();
    let why = comment("ticket 7 &lt;urgent&gt;");
    ssh.session
        .rpc(&format!("<commit>{why}</commit>"))
        .await
        .unwrap();
    let told = commit(&mut device, 2).await;
    let id = ssh.session.session_id();
    for part in [
        "<user>admin</user>",
        &format!("<session-id>{id}</session-id>"),
        "<source>netconf</source>",
        ":netconf-ssh</transport>",
        "<source-host>127.0.0.1</source-host>",
        "<comment>ticket 7 &lt;urgent&gt;</comment>",
        ":operation=\"create\">60</keepalive-interval>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let why = comment("by hand");
    let edit = edit("running", &interval(70), &why);
    device.session.rpc(&edit).await.unwrap();
    let told = commit(&mut device, 3).await;
    for part in [
        ">netconf-local</transport>",
        "<comment>by hand</comment>",
        ":operation=\"replace\">70</keepalive-interval>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let heads = device.session.get(Some(&filter("<user/>"))).await.unwrap();
    assert_eq!(heads.matches("<user>admin</user>").count(), 2, "{heads}");
    assert!(!heads.contains("<diff"), "{heads}");
    device.stop().await;
}

#[tokio::test]
async fn the_list_survives_a_restart() {
    let mut device = Device::start().await;
    device.commit(&interval(60)).await;
    let before = device.session.get(Some(&filter(""))).await.unwrap();
    let mut device = device.restart().await;
    let after = device.session.get(Some(&filter(""))).await.unwrap();
    assert_eq!(after, before);
    device.commit(&interval(70)).await;
    device.session.rpc(&rollback("2", "")).await.unwrap();
    assert!(running(&mut device).await.contains(">60<"));
    device.stop().await;
}

#[tokio::test]
async fn running_goes_back_to_what_it_was_after_a_commit_as_a_commit_of_its_own() {
    let mut device = Device::start().await;
    for seconds in [60, 70, 80] {
        device.commit(&interval(seconds)).await;
    }
    let why = "<comment>it was better</comment>";
    device.session.rpc(&rollback("2", why)).await.unwrap();
    assert!(running(&mut device).await.contains(">60<"));
    let told = commit(&mut device, 5).await;
    for part in [
        "<source>rollback-to</source>",
        "<rolled-back-to>2</rolled-back-to>",
        "<comment>it was better</comment>",
        ">60<",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    device.session.rpc(&rollback("1", "")).await.unwrap();
    assert!(!running(&mut device).await.contains("keepalive"));
    device.stop().await;
}

#[tokio::test]
async fn a_way_back_that_is_none_is_refused_and_changes_nothing() {
    let mut device = Device::start().await;
    for seconds in [60, 70] {
        device.commit(&interval(seconds)).await;
    }
    let tags = |errors: &[ReportedError]| errors[0].tag.clone();
    for (id, tag) in [
        ("9", "invalid-value"),
        ("0", "invalid-value"),
        ("x", "invalid-value"),
    ] {
        let errors = refused(device.session.rpc(&rollback(id, "")).await);
        assert_eq!(tags(&errors), tag, "{id}: {errors:?}");
    }
    let mut other = device.open().await;
    other.lock("running").await.unwrap();
    let errors = refused(device.session.rpc(&rollback("2", "")).await);
    assert_eq!(tags(&errors), "in-use", "{errors:?}");
    other.unlock("running").await.unwrap();
    other.edit_config("candidate", &interval(75)).await.unwrap();
    other.rpc("<commit><confirmed/></commit>").await.unwrap();
    let errors = refused(device.session.rpc(&rollback("2", "")).await);
    assert_eq!(tags(&errors), "in-use", "{errors:?}");
    assert!(running(&mut device).await.contains(">75<"));
    device.stop().await;
}

#[tokio::test]
async fn a_confirmed_commit_that_goes_back_is_in_the_list_as_the_agents_own() {
    let mut device = Device::start().await;
    device.commit(&interval(60)).await;
    let mut other = device.open().await;
    other.edit_config("candidate", &interval(75)).await.unwrap();
    other.rpc("<commit><confirmed/></commit>").await.unwrap();
    other.close().await.unwrap();
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !running(&mut device).await.contains(">60<") {
        assert!(tokio::time::Instant::now() < until);
        tokio::task::yield_now().await;
    }
    let told = commit(&mut device, 4).await;
    assert!(told.contains("<source>confirmed-commit</source>"), "{told}");
    assert!(!told.contains("<user>"), "{told}");
    device.stop().await;
}

#[tokio::test]
async fn access_control_shows_of_a_difference_what_it_shows_of_the_data_and_guards_the_way_back() {
    let mut device = Device::start().await;
    let bob = system(
        "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>",
    );
    let group = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>operator</name>
        <user-name>bob</user-name></group></groups></nacm>"#;
    device.commit(&[bob.as_str(), group].concat()).await;
    let secrets = cloud_management(
        "<server><domain>cloud.com</domain><password>$0$hush</password></server><unbinding-code>4711</unbinding-code>",
    );
    device.commit(&secrets).await;
    let address = device.agent().ssh_addresses()[0];
    let mut bob = SshSession::open(address, "bob", "secret").await.unwrap();
    let seen = bob.session.get(Some(&filter("<id>3</id>"))).await.unwrap();
    assert!(seen.contains("cloud.com"), "{seen}");
    for hidden in ["4711", "password", "$1$"] {
        assert!(!seen.contains(hidden), "{hidden}: {seen}");
    }
    let whole = bob.session.get(None).await.unwrap();
    assert!(!whole.contains("4711"), "{whole}");
    let seen = commit(&mut device, 3).await;
    assert!(seen.contains("4711") && seen.contains("$1$"), "{seen}");
    assert!(!seen.contains("hush"), "{seen}");
    let errors = refused(bob.session.rpc(&rollback("2", "")).await);
    assert_eq!(errors[0].tag, "access-denied", "{errors:?}");
    device.stop().await;
}

#[tokio::test]
async fn nothing_names_an_entry_that_access_control_hides() {
    let mut device = Device::start().await;
    let bob = system(
        "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>",
    );
    let rules = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>operator</name>
        <user-name>bob</user-name></group></groups><rule-list xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="first">
        <name>bob</name><group>operator</group>
        <rule><name>hide</name><path xmlns:cm="urn:tether:yang:cloud-management">/cm:cloud-management/cm:backup-server[cm:address-family='ipv4'][cm:domain='hidden.example']</path>
        <access-operations>*</access-operations><action>deny</action></rule>
        <rule><name>back</name><path xmlns:dm="urn:tether:yang:device-management">/dm:device-management/dm:rollback-to</path>
        <access-operations>exec</access-operations><action>permit</action></rule>
        <rule><name>action</name><module-name>ietf-netconf</module-name><access-operations>*</access-operations><action>permit</action></rule>
        <rule><name>write</name><module-name>cloud-management</module-name><access-operations>*</access-operations><action>permit</action></rule>
        </rule-list></nacm>"#;
    device.commit(&[bob.as_str(), rules].concat()).await;
    let backup = |domain: &str| {
        cloud_management(&format!(
            "<backup-server><address-family>ipv4</address-family><domain>{domain}</domain></backup-server>"
        ))
    };
    device.commit(&backup("hidden.example")).await;
    device.commit(&backup("seen.example")).await;
    let address = device.agent().ssh_addresses()[0];
    let mut bob = SshSession::open(address, "bob", "secret").await.unwrap();
    let seen = bob.session.get(Some(&filter(""))).await.unwrap();
    assert!(seen.contains("seen.example"), "{seen}");
    assert!(!seen.contains("hidden.example"), "{seen}");
    let errors = refused(bob.session.rpc(&rollback("2", "")).await);
    assert_eq!(errors[0].tag, "access-denied", "{errors:?}");
    let told = format!("{errors:?}");
    assert!(
        told.contains("cloud-management") && !told.contains("hidden.example"),
        "{told}"
    );
    let whole = commit(&mut device, 4).await;
    assert!(whole.contains("hidden.example"), "{whole}");
    device.stop().await;
}

#[tokio::test]
async fn a_comment_belongs_to_a_commit_and_is_not_too_long() {
    let mut device = Device::start().await;
    let long = "x".repeat(256);
    for (rpc, tag) in [
        (
            edit("candidate", &interval(60), &comment("x")),
            "unknown-element",
        ),
        (
            format!("<commit>{}</commit>", comment(&long)),
            "invalid-value",
        ),
        (format!("<commit>{}</commit>", comment("")), "invalid-value"),
        (
            "<commit><comment>x</comment></commit>".to_owned(),
            "unknown-namespace",
        ),
    ] {
        let errors = refused(device.session.rpc(&rpc).await);
        assert_eq!(errors[0].tag, tag, "{rpc}: {errors:?}");
    }
    let rpc = rollback("1", &format!("<comment>{long}</comment>"));
    let errors = refused(device.session.rpc(&rpc).await);
    assert_eq!(errors[0].tag, "invalid-value", "{errors:?}");
    device.stop().await;
}
