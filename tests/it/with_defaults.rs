//! The four ways to report defaults (RFC 6243), over the wire.

use crate::support::{Plain, Session, example, refused};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults";
const NMDA: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda";
const DATASTORES: &str = "urn:ietf:params:xml:ns:yang:ietf-datastores";
const TAG: &str = " xmlns:wd=\"urn:ietf:params:xml:ns:netconf:default:1.0\" wd:default=\"true\"";

/// `number` is set to its default by hand; `colours` and `interval` are not set.
async fn device() -> Plain {
    let mut device = Plain::start().await;
    device
        .commit(&example("defaults", "<number>7</number>"))
        .await;
    device
}

fn parameter(mode: Option<&str>) -> String {
    mode.map(|mode| format!("<with-defaults xmlns=\"{NAMESPACE}\">{mode}</with-defaults>"))
        .unwrap_or_default()
}

fn filter() -> String {
    format!("<filter>{}</filter>", example("defaults", ""))
}

async fn inside(session: &mut Session, operation: &str) -> String {
    let reply = session.rpc(operation).await.unwrap();
    let inside = reply.split_once("<data").and_then(|(_, rest)| {
        let (_, rest) = rest.split_once('>')?;
        Some(rest.split_once("</data>")?.0)
    });
    let inside = inside.unwrap_or_else(|| panic!("{reply}"));
    inside.replace(" xmlns=\"urn:example:all\"", "")
}

async fn get_config(session: &mut Session, datastore: &str, mode: Option<&str>) -> String {
    let (filter, mode) = (filter(), parameter(mode));
    let source = format!("<source><{datastore}/></source>");
    inside(
        session,
        &format!("<get-config>{source}{filter}{mode}</get-config>"),
    )
    .await
}

async fn get(session: &mut Session, mode: Option<&str>) -> String {
    let (filter, mode) = (filter(), parameter(mode));
    inside(session, &format!("<get>{filter}{mode}</get>")).await
}

async fn get_data(session: &mut Session, datastore: &str, mode: Option<&str>) -> String {
    let mode = mode.map(|mode| format!("<with-defaults>{mode}</with-defaults>"));
    inside(session, &format!(
        "<get-data xmlns=\"{NMDA}\"><datastore xmlns:ds=\"{DATASTORES}\">ds:{datastore}</datastore><subtree-filter>{}</subtree-filter>{}</get-data>",
        example("defaults", ""),
        mode.unwrap_or_default()
    ))
    .await
}

fn explicit() -> String {
    "<defaults><number>7</number></defaults>".to_owned()
}

fn all(tag: &str) -> String {
    format!(
        "<defaults><number>7</number><colours{tag}>green</colours><colours{tag}>red</colours><interval{tag}>60</interval></defaults>"
    )
}

/// Entries that no user orders may come in any order.
fn sorted(xml: &str) -> Vec<&str> {
    let mut parts: Vec<_> = xml.split_inclusive('>').collect();
    parts.sort_unstable();
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_reports_what_its_section_says() {
    let mut device = device().await;
    let session = &mut device.session;
    let modes = [
        (None, explicit()),
        (Some("explicit"), explicit()),
        (Some("trim"), String::new()),
        (Some("report-all"), all("")),
        (Some("report-all-tagged"), all(TAG)),
    ];
    for (mode, expected) in modes {
        let found = [
            get(session, mode).await,
            get_config(session, "running", mode).await,
            get_config(session, "candidate", mode).await,
            get_data(session, "running", mode).await,
            get_data(session, "candidate", mode).await,
        ];
        for found in found {
            assert_eq!(sorted(&found), sorted(&expected), "{mode:?}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operational_datastore_shows_the_values_in_use() {
    // RFC 8342, section 5.3, and the capability :with-operational-defaults of RFC 8526.
    let mut device = device().await;
    let session = &mut device.session;
    assert_eq!(
        sorted(&get_data(session, "operational", None).await),
        sorted(&all(""))
    );
    assert_eq!(
        get_data(session, "operational", Some("explicit")).await,
        explicit()
    );
    assert_eq!(get_data(session, "operational", Some("trim")).await, "");
    let tagged = get_data(session, "operational", Some("report-all-tagged")).await;
    assert_eq!(sorted(&tagged), sorted(&all(TAG)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_edited_and_not_committed_has_its_defaults_too() {
    let mut device = device().await;
    let session = &mut device.session;
    let edit = example("defaults", "<step>3</step>");
    session.edit_config("candidate", &edit).await.unwrap();
    let found = get_config(session, "candidate", Some("report-all")).await;
    assert!(found.contains("<step>3</step><size>5</size>"), "{found}");
    assert!(!found.contains("interval"), "of the other case: {found}");
    let found = get_config(session, "candidate", None).await;
    assert!(
        found.contains("<step>3</step>") && !found.contains("size"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_mode_is_refused() {
    let mut device = device().await;
    for operation in ["<get>", "<get-config><source><running/></source>"] {
        let name = &operation[1..operation.find('>').unwrap()];
        let rpc = format!("{operation}{}</{name}>", parameter(Some("some")));
        let errors = refused(device.session.rpc(&rpc).await);
        assert_eq!(
            (errors.len(), errors[0].tag.as_str()),
            (1, "invalid-value"),
            "{errors:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hello_announces_the_modes() {
    let device = device().await;
    let capabilities = device.session.server().capabilities.clone();
    for capability in [
        "urn:ietf:params:netconf:capability:with-defaults:1.0?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim",
        "urn:ietf:params:netconf:capability:with-operational-defaults:1.0?basic-mode=report-all&also-supported=explicit,report-all-tagged,trim",
        "urn:ietf:params:netconf:capability:xpath:1.0",
    ] {
        assert!(
            capabilities.iter().any(|own| own == capability),
            "{capability}"
        );
    }
}

/// RFC 6243, section 4.5.3: what a copy leaves in its target.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_over_what_its_mode_reports() {
    for (mode, expected) in [
        (None, explicit()),
        (Some("explicit"), explicit()),
        (Some("trim"), String::new()),
        (Some("report-all"), all("")),
        // Tagged values count as not set (section 4.5.2); what was set is not tagged.
        (Some("report-all-tagged"), explicit()),
    ] {
        let mut device = device().await;
        let session = &mut device.session;
        let copy = format!(
            "<copy-config><target><candidate/></target><source><running/></source>{}</copy-config>",
            parameter(mode)
        );
        session.rpc(&copy).await.unwrap();
        let found = get_config(session, "candidate", None).await;
        assert_eq!(sorted(&found), sorted(&expected), "{mode:?}: {found}");
        session.commit().await.unwrap();
        let found = get_config(session, "running", None).await;
        assert_eq!(sorted(&found), sorted(&expected), "{mode:?}: {found}");
    }
}
