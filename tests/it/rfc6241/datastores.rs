//! RFC 8526, sections 3.1.2 and 3.2: edit-data, and operations that name a datastore by its identity; RFC 6243, section
//! 4.5.1: defaults in a copy.

use super::*;
use crate::support::{Device, options};

const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
const DATASTORES: &str = r#"xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores""#;

fn edit_data(datastore: &str, options: &str, config: &str) -> String {
    format!(
        r#"<edit-data xmlns="{NMDA}" {DATASTORES}><datastore>{datastore}</datastore>{options}<config>{config}</config></edit-data>"#
    )
}

fn by_identity(operation: &str, parameter: &str, datastore: &str) -> String {
    format!(
        r#"<{operation}><{parameter}><datastore xmlns="{NMDA}" {DATASTORES}>{datastore}</datastore></{parameter}></{operation}>"#
    )
}

async fn start() -> (Served, Session) {
    let device = Served::start();
    let mut session = device.login("admin").await;
    edit(&mut session, "running", 100).await;
    (device, session)
}

#[tokio::test(start_paused = true)]
async fn running_and_the_candidate_are_edited_as_edit_config_does() {
    let (_device, mut session) = start().await;
    for datastore in ["candidate", "running"] {
        let edit = edit_data(&format!("ds:{datastore}"), "", &keepalive(200));
        ok(&mut session, &edit).await;
        assert_eq!(interval(&mut session, datastore).await, 200);
    }
    session.discard_changes().await.unwrap();
    let bad = edit_data("ds:running", "", &keepalive(9));
    let error = refused(&mut session, &bad).await;
    assert_eq!(error.tag, "invalid-value");
    assert!(error.path.unwrap().ends_with("keepalive-interval"));
    assert_eq!(interval(&mut session, "running").await, 200);
}

#[tokio::test(start_paused = true)]
async fn its_default_operation_is_merge_replace_or_none() {
    let (_device, mut session) = start().await;
    let with = |operation: &str, config: &str| {
        let operation = format!("<default-operation>{operation}</default-operation>");
        edit_data("ds:candidate", &operation, config)
    };
    let domain = cloud_management("<server><domain>a.example</domain></server>");
    ok(&mut session, &with("merge", &domain)).await;
    assert_eq!(interval(&mut session, "candidate").await, 100);
    ok(&mut session, &with("none", &keepalive(200))).await;
    assert_eq!(interval(&mut session, "candidate").await, 100);
    ok(&mut session, &with("replace", &keepalive(300))).await;
    let left = session.get_config("candidate", None).await.unwrap();
    assert!(left.contains(">300<") && !left.contains("a.example") && !left.contains("<nacm"));
    for wrong in ["create", "", "x"] {
        let error = refused(&mut session, &with(wrong, "")).await;
        assert_eq!(error.tag, "invalid-value");
    }
}

#[tokio::test(start_paused = true)]
async fn a_datastore_that_is_not_there_or_cannot_be_written_is_an_invalid_value() {
    let (_device, mut session) = start().await;
    let read = |datastore: &str| {
        format!(
            r#"<get-data xmlns="{NMDA}" {DATASTORES}><datastore>{datastore}</datastore></get-data>"#
        )
    };
    let mut operations = vec![read("ds:startup"), read("ds:intended")];
    for datastore in [
        "ds:operational",
        "ds:intended",
        "ds:startup",
        "running",
        "x:running",
        "",
    ] {
        operations.extend([
            edit_data(datastore, "", &keepalive(200)),
            by_identity("lock", "target", datastore),
            by_identity("unlock", "target", datastore),
            by_identity("validate", "source", datastore),
        ]);
    }
    for operation in operations {
        let error = refused(&mut session, &operation).await;
        assert_eq!(
            (error.error_type.as_str(), error.tag.as_str()),
            ("protocol", "invalid-value"),
            "{operation}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_edit_data_lacks_or_does_not_know_is_named() {
    let (_device, mut session) = start().await;
    let whole = edit_data("ds:running", "", &keepalive(200));
    let content = format!("<config>{}</config>", keepalive(200));
    for (operation, tag, element) in [
        (
            whole.replace("<datastore>ds:running</datastore>", ""),
            "missing-element",
            "datastore",
        ),
        (whole.replace(&content, ""), "missing-element", "config"),
        (
            whole.replace(&content, "<url>file:///x</url>"),
            "unknown-element",
            "url",
        ),
        (
            edit_data(
                "ds:running",
                "<test-option>set</test-option>",
                &keepalive(200),
            ),
            "unknown-element",
            "test-option",
        ),
    ] {
        let error = refused(&mut session, &operation).await;
        assert_eq!(error.tag, tag, "{operation}");
        assert_eq!(error.info, [("bad-element".to_owned(), element.to_owned())]);
    }
    assert_eq!(interval(&mut session, "running").await, 100);
}

#[tokio::test(start_paused = true)]
async fn locks_confirmed_commits_and_access_control_hold_for_edit_data() {
    let (device, mut session) = start().await;
    let mut other = device.login("admin").await;
    let edit = |datastore: &str| edit_data(&format!("ds:{datastore}"), "", &keepalive(200));
    for datastore in ["candidate", "running"] {
        ok(
            &mut session,
            &by_identity("lock", "target", &format!("ds:{datastore}")),
        )
        .await;
        assert_eq!(refused(&mut other, &edit(datastore)).await.tag, "in-use");
        let denied = refused(
            &mut other,
            &format!("<lock><target><{datastore}/></target></lock>"),
        )
        .await;
        assert_eq!(denied.tag, "lock-denied");
        ok(
            &mut session,
            &by_identity("unlock", "target", &format!("ds:{datastore}")),
        )
        .await;
    }
    ok(&mut session, "<commit><confirmed/></commit>").await;
    assert_eq!(refused(&mut other, &edit("running")).await.tag, "in-use");
    ok(&mut session, "<commit/>").await;
    let mut nobody = device.login("nobody").await;
    let denied = refused(&mut nobody, &edit("running")).await;
    assert_eq!(denied.tag, "access-denied");
    let rules = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>g</name><user-name>nobody</user-name></group></groups><rule-list><name>z</name><group>g</group>
        <rule><name>no</name><module-name>ietf-netconf-nmda</module-name><rpc-name>edit-data</rpc-name><access-operations>exec</access-operations><action>deny</action></rule></rule-list></nacm>"#;
    session.edit_config("running", rules).await.unwrap();
    let denied = refused(&mut nobody, &edit("candidate")).await;
    assert_eq!(
        (denied.error_type.as_str(), denied.tag.as_str()),
        ("protocol", "access-denied")
    );
}

#[tokio::test(start_paused = true)]
async fn a_datastore_is_validated_by_its_identity() {
    let (_device, mut session) = start().await;
    for datastore in ["ds:running", "ds:candidate"] {
        ok(&mut session, &by_identity("validate", "source", datastore)).await;
    }
    let incomplete = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><rule-list><name>x</name><rule><name>y</name></rule></rule-list></nacm>"#;
    ok(&mut session, &edit_data("ds:candidate", "", incomplete)).await;
    let error = refused(
        &mut session,
        &by_identity("validate", "source", "ds:candidate"),
    )
    .await;
    assert_eq!(error.error_type, "application");
}

#[tokio::test]
async fn startup_is_edited_and_kept() {
    let device = Device::start().await;
    let with_startup = tether::agent::options::Options {
        startup_datastore: true,
        ..options(device.directory())
    };
    let mut device = device.restart_with(with_startup.clone()).await;
    ok(
        &mut device.session,
        &edit_data("ds:startup", "", &keepalive(200)),
    )
    .await;
    assert_eq!(interval(&mut device.session, "startup").await, 200);
    assert_eq!(interval(&mut device.session, "running").await, 0);
    ok(
        &mut device.session,
        &by_identity("lock", "target", "ds:startup"),
    )
    .await;
    ok(
        &mut device.session,
        &by_identity("validate", "source", "ds:startup"),
    )
    .await;
    let mut device = device.restart_with(with_startup).await;
    assert_eq!(interval(&mut device.session, "running").await, 200);
    device.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_treats_defaults_as_it_is_asked_to() {
    let (_device, mut session) = start().await;
    let copy = |mode: &str| {
        format!(
            r#"<copy-config><target><candidate/></target><source><running/></source><with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{mode}</with-defaults></copy-config>"#
        )
    };
    // 180 is the default.
    edit(&mut session, "running", 180).await;
    let enabled = "<enabled>true</enabled>";
    let service = cloud_management("<service><name>telemetry</name></service>");
    session.edit_config("running", &service).await.unwrap();
    for (mode, explicit, default) in [
        ("explicit", 180, false),
        ("report-all-tagged", 180, false),
        ("trim", 0, false),
        ("report-all", 180, true),
    ] {
        session.discard_changes().await.unwrap();
        ok(&mut session, &copy(mode)).await;
        assert_eq!(
            interval(&mut session, "candidate").await,
            explicit,
            "{mode}"
        );
        let candidate = session.get_config("candidate", None).await.unwrap();
        assert_eq!(candidate.contains(enabled), default, "{mode}");
        assert!(candidate.contains("<name>telemetry</name>"));
        ok(
            &mut session,
            "<validate><source><candidate/></source></validate>",
        )
        .await;
    }
    ok(&mut session, "<commit/>").await;
    let running = session.get_config("running", None).await.unwrap();
    assert!(running.contains(enabled));
}
