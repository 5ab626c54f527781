//! Section 8.7: a device whose running is kept only by a copy to startup.

use tether::agent::options::Options;
use tether::datastore::store::Store;

use super::*;
use crate::support::{Device, SshSession, options, refused as all_refused};

const SAVE: &str =
    "<copy-config><target><startup/></target><source><running/></source></copy-config>";
const DELETE: &str = "<delete-config><target><startup/></target></delete-config>";

fn with_startup(device: &Device) -> Options {
    Options {
        startup_datastore: true,
        ..options(device.directory())
    }
}

/// A device with the option, which has been used without it: running had 100.
async fn start() -> Device {
    let mut device = Device::start().await;
    device.commit(&keepalive(100)).await;
    let options = with_startup(&device);
    device.restart_with(options).await
}

async fn restart(device: Device) -> Device {
    let options = with_startup(&device);
    device.restart_with(options).await
}

async fn value(device: &mut Device, datastore: &str) -> u16 {
    interval(&mut device.session, datastore).await
}

async fn save(device: &mut Device) {
    ok(&mut device.session, SAVE).await;
}

#[tokio::test]
async fn it_is_announced_with_the_option_alone() {
    let uri = "urn:ietf:params:netconf:capability:startup:1.0";
    let device = start().await;
    let has = |device: &Device| device.session.server().has(uri);
    assert!(has(&device));
    let without = options(device.directory());
    let mut device = device.restart_with(without).await;
    assert!(!has(&device));
    for operation in [
        SAVE,
        DELETE,
        "<lock><target><startup/></target></lock>",
        "<validate><source><startup/></source></validate>",
    ] {
        let error = refused(&mut device.session, operation).await;
        assert_eq!(error.tag, "unknown-element", "{operation}");
        let startup = ("bad-element".to_owned(), "startup".to_owned());
        assert_eq!(error.info, [startup]);
    }
    device.stop().await;
}

#[tokio::test]
async fn running_is_kept_by_a_copy_and_by_nothing_else() {
    let mut device = start().await;
    device.commit(&keepalive(200)).await;
    edit(&mut device.session, "running", 300).await;
    assert_eq!(value(&mut device, "startup").await, 100);
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 100);
    device.commit(&keepalive(400)).await;
    save(&mut device).await;
    assert_eq!(value(&mut device, "startup").await, 400);
    edit(&mut device.session, "running", 500).await;
    let mut device = restart(device).await;
    for datastore in ["running", "candidate", "startup"] {
        assert_eq!(value(&mut device, datastore).await, 400);
    }
    device.stop().await;
}

#[tokio::test]
async fn what_was_saved_a_hundred_times_is_still_startup_and_not_running() {
    let mut device = start().await;
    for seconds in 201..=300 {
        edit(&mut device.session, "running", seconds).await;
        save(&mut device).await;
        edit(&mut device.session, "running", 500).await;
    }
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 300);
    device.stop().await;
}

#[tokio::test]
async fn the_option_finds_what_the_last_start_would_have_found() {
    let mut device = start().await;
    assert_eq!(value(&mut device, "startup").await, 100);
    device.commit(&keepalive(200)).await;
    // Switched off: running is startup, and what is committed then is kept by itself.
    let without = options(device.directory());
    let mut device = device.restart_with(without).await;
    assert_eq!(value(&mut device, "running").await, 100);
    device.commit(&keepalive(300)).await;
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "startup").await, 300);
    device.stop().await;
}

#[tokio::test]
async fn a_copy_goes_from_and_to_startup_in_every_combination() {
    let mut device = start().await;
    let inline = format!("<config>{}</config>", keepalive(200));
    let copy = |source: &str, target: &str| {
        format!("<copy-config><target><{target}/></target><source>{source}</source></copy-config>")
    };
    ok(&mut device.session, &copy("<startup/>", "candidate")).await;
    edit(&mut device.session, "candidate", 300).await;
    ok(&mut device.session, &copy("<candidate/>", "startup")).await;
    assert_eq!(value(&mut device, "startup").await, 300);
    assert_eq!(value(&mut device, "running").await, 100);
    ok(&mut device.session, &copy("<startup/>", "running")).await;
    assert_eq!(value(&mut device, "running").await, 300);
    ok(&mut device.session, &copy(&inline, "startup")).await;
    let startup = device.session.get_config("startup", None).await.unwrap();
    assert!(startup.contains(">200<") && !startup.contains("<nacm"));
    let itself = refused(&mut device.session, &copy("<startup/>", "startup")).await;
    assert_eq!(itself.tag, "invalid-value");
    device.stop().await;
}

#[tokio::test]
async fn what_the_agent_could_not_start_with_does_not_become_startup() {
    let mut device = start().await;
    let long = "<server><vpn-instance>sixteen-octets-1</vpn-instance></server>";
    let incomplete = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><rule-list><name>x</name><rule><name>y</name></rule></rule-list></nacm>"#;
    for bad in [&cloud_management(long), incomplete] {
        let copy = format!(
            "<copy-config><target><startup/></target><source><config>{bad}</config></source></copy-config>"
        );
        all_refused(device.session.rpc(&copy).await);
        assert_eq!(value(&mut device, "startup").await, 100);
    }
    device
        .session
        .edit_config("candidate", incomplete)
        .await
        .unwrap();
    let copy =
        "<copy-config><target><startup/></target><source><candidate/></source></copy-config>";
    all_refused(device.session.rpc(copy).await);
    ok(
        &mut device.session,
        "<validate><source><startup/></source></validate>",
    )
    .await;
    let edit = format!(
        "<edit-config><target><startup/></target><config>{}</config></edit-config>",
        keepalive(300)
    );
    let error = refused(&mut device.session, &edit).await;
    assert_eq!(error.tag, "unknown-element");
    device.stop().await;
}

#[tokio::test]
async fn it_has_a_lock_of_its_own() {
    let mut device = start().await;
    let mut other = device.open().await;
    ok(
        &mut device.session,
        "<lock><target><startup/></target></lock>",
    )
    .await;
    for operation in [SAVE, DELETE] {
        let error = refused(&mut other, operation).await;
        assert_eq!(error.tag, "in-use", "{operation}");
    }
    let denied = refused(&mut other, "<lock><target><startup/></target></lock>").await;
    assert_eq!(denied.tag, "lock-denied");
    edit(&mut other, "running", 200).await;
    let monitoring = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><datastores/></netconf-state>"#;
    let state = other.get(Some(monitoring)).await.unwrap();
    let (_, startup) = state.split_once("<name>startup</name>").unwrap();
    let holder = format!(
        "<locked-by-session>{}</locked-by-session>",
        device.session.session_id()
    );
    assert!(startup.contains(&holder), "{state}");
    save(&mut device).await;
    device.session = device.open().await;
    let freed = async { while other.lock("startup").await.is_err() {} };
    crate::support::soon(freed).await;
    device.stop().await;
}

#[tokio::test]
async fn once_it_is_deleted_the_next_start_is_a_first_one() {
    let mut device = start().await;
    let bob = crate::support::system(
        "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>",
    );
    device.commit(&bob).await;
    save(&mut device).await;
    for _ in 0..2 {
        ok(&mut device.session, DELETE).await;
        let startup = device.session.get_config("startup", None).await.unwrap();
        assert_eq!(startup, "");
        assert_eq!(value(&mut device, "running").await, 100);
    }
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 0);
    let address = device.agent().ssh_addresses()[0];
    let admin = SshSession::open(address, "admin", crate::support::ADMIN_PASSWORD).await;
    assert!(admin.is_some());
    assert!(SshSession::open(address, "bob", "secret").await.is_none());
    // That is kept, and what is saved over a deleted one too.
    device.commit(&keepalive(200)).await;
    ok(&mut device.session, DELETE).await;
    save(&mut device).await;
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 200);
    let (_, directory) = device.stop().await;
    let (store, _) = Store::open(directory.path()).unwrap();
    let history = store.history().unwrap();
    let sources: Vec<_> = history
        .iter()
        .map(|record| record.source.as_str())
        .collect();
    let expected = [
        "factory-default", // the first start
        "netconf",         // 100, before the option
        "netconf",         // saved with bob
        "netconf",         // deleted
        "factory-default", // the start after
        "netconf",         // deleted
        "netconf",         // saved with 200
    ];
    assert_eq!(sources, expected);
    let ids: Vec<_> = history.iter().map(|record| record.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn secrets_are_stored_as_they_are_in_running() {
    let mut device = start().await;
    device.configure_cloud().await;
    save(&mut device).await;
    let password = cloud_management("<server><password/></server>");
    let before = device.session.get_config("startup", Some(&password)).await;
    assert!(before.as_ref().unwrap().contains("<password>$1$"));
    let mut device = restart(device).await;
    let after = device.session.get_config("running", Some(&password)).await;
    assert_eq!(after.unwrap(), before.unwrap());
    device.up().await;
    device.stop().await;
}

#[tokio::test]
async fn access_control_lets_those_save_who_may_execute_it_and_nobody_write_past_it() {
    let mut device = start().await;
    let bob = crate::support::system(
        "<authentication><user><name>bob</name><password>$0$secret</password></user></authentication>",
    );
    let copies = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>savers</name><user-name>bob</user-name></group></groups>
        <rule-list><name>savers</name><group>savers</group><rule><name>copy</name><module-name>ietf-netconf</module-name><rpc-name>copy-config</rpc-name><access-operations>exec</access-operations><action>permit</action></rule></rule-list></nacm>"#;
    device.commit(&[bob, copies.to_owned()].concat()).await;
    let mut bob = device.ssh("bob", "secret").await;
    // RFC 8341, section 3.2.5: a copy from running to startup needs no right to read or write.
    bob.session.rpc(SAVE).await.unwrap();
    let startup = device.session.get_config("startup", None).await.unwrap();
    let running = device.session.get_config("running", None).await.unwrap();
    assert_eq!(startup, running);
    let inline = format!(
        "<copy-config><target><startup/></target><source><config>{}</config></source></copy-config>",
        keepalive(300)
    );
    for operation in [inline.as_str(), DELETE] {
        let error = all_refused(bob.session.rpc(operation).await).remove(0);
        assert_eq!(error.tag, "access-denied", "{operation}");
    }
    assert_eq!(value(&mut device, "startup").await, 100);
    device.stop().await;
}

#[tokio::test]
async fn a_confirmed_commit_is_taken_back_and_startup_has_no_part_in_it() {
    let mut device = start().await;
    let pending = "<commit><confirmed/></commit>";
    edit(&mut device.session, "candidate", 200).await;
    ok(&mut device.session, pending).await;
    ok(&mut device.session, "<cancel-commit/>").await;
    assert_eq!(value(&mut device, "running").await, 100);
    edit(&mut device.session, "candidate", 300).await;
    ok(&mut device.session, pending).await;
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 100);
    edit(&mut device.session, "candidate", 400).await;
    ok(&mut device.session, pending).await;
    ok(&mut device.session, "<commit/>").await;
    save(&mut device).await;
    let mut device = restart(device).await;
    assert_eq!(value(&mut device, "running").await, 400);
    device.stop().await;
}
