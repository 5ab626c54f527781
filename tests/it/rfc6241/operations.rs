//! Section 7.2 and RFC 7950: what each operation leaves behind, node by node. A case is what was there, the edit, and
//! what is there then, all inside one container of the module for tests.

use super::*;
use crate::support::{Plain, example, refused as all_refused};

struct Case {
    rule: &'static str,
    container: &'static str,
    before: &'static str,
    edit: &'static str,
    after: &'static str,
}

/// Declares the prefixes that the edits use.
fn declared(container: &str, content: &str) -> String {
    let whole = example(container, content);
    whole.replacen(
        '>',
        r#" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" xmlns:yang="urn:ietf:params:xml:ns:yang:1">"#,
        1,
    )
}

/// What a datastore holds inside a container, white space and declarations left out.
async fn inside(device: &mut Plain, datastore: &str, container: &str) -> String {
    let filter = example(container, "");
    let found = device.session.get_config(datastore, Some(&filter)).await;
    let found = found.unwrap();
    let start = format!("<{container} ");
    assert!(found.is_empty() || found.starts_with(&start), "{found}");
    let content = found.split_once('>').map_or("", |(_, rest)| rest);
    content
        .trim_end_matches(&format!("</{container}>"))
        .to_owned()
}

async fn replace(device: &mut Plain, datastore: &str, container: &str, content: &str) {
    let remove = declared(container, "").replacen('>', r#" nc:operation="remove">"#, 1);
    device
        .session
        .edit_config(datastore, &remove)
        .await
        .unwrap();
    if !content.is_empty() {
        let edit = example(container, content);
        device.session.edit_config(datastore, &edit).await.unwrap();
    }
}

async fn check(cases: &[Case]) {
    let mut device = Plain::start().await;
    for case in cases {
        for datastore in ["candidate", "running"] {
            replace(&mut device, datastore, case.container, case.before).await;
            let edit = declared(case.container, case.edit);
            let done = device.session.edit_config(datastore, &edit).await;
            let rule = case.rule;
            if let Some(tag) = case.after.strip_prefix("error ") {
                let errors = all_refused(done);
                assert_eq!(errors[0].tag, tag, "{rule}");
                let left = inside(&mut device, datastore, case.container).await;
                assert_eq!(left, case.before, "{rule} in {datastore}");
            } else {
                done.unwrap_or_else(|error| panic!("{rule} in {datastore}: {error:?}"));
                let left = inside(&mut device, datastore, case.container).await;
                assert_eq!(left, case.after, "{rule} in {datastore}");
            }
        }
        ok(&mut device.session, "<discard-changes/>").await;
    }
    device.stop().await;
}

macro_rules! cases {
    ($($rule:literal: $container:literal $before:literal + $edit:literal = $after:literal;)+) => {
        check(&[$(Case {
            rule: $rule,
            container: $container,
            before: $before,
            edit: $edit,
            after: $after,
        }),+])
        .await;
    };
}

#[tokio::test]
async fn merge_and_replace() {
    cases! {
        "merge creates": "lists"
            "" + "<pair><first>a</first><second>1</second></pair>"
            = "<pair><first>a</first><second>1</second></pair>";
        "merge of a part keeps the rest": "lists"
            "<pair><first>a</first><second>1</second><value>x</value></pair>"
            + "<pair><first>a</first><second>1</second><inner><id>1</id></inner></pair>"
            = "<pair><first>a</first><second>1</second><value>x</value><inner><id>1</id></inner></pair>";
        "merge overwrites a leaf": "lists"
            "<pair><first>a</first><second>1</second><value>x</value></pair>"
            + r#"<pair nc:operation="merge"><first>a</first><second>1</second><value>y</value></pair>"#
            = "<pair><first>a</first><second>1</second><value>y</value></pair>";
        "replace creates": "lists"
            "" + r#"<pair nc:operation="replace"><first>a</first><second>1</second></pair>"#
            = "<pair><first>a</first><second>1</second></pair>";
        "replace takes the place of an entry and of no other": "lists"
            "<pair><first>a</first><second>1</second><value>x</value></pair><pair><first>b</first><second>1</second></pair>"
            + r#"<pair nc:operation="replace"><first>a</first><second>1</second><inner><id>1</id></inner></pair>"#
            = "<pair><first>a</first><second>1</second><inner><id>1</id></inner></pair><pair><first>b</first><second>1</second></pair>";
        "replace of an entry that the user orders keeps its place": "lists"
            "<ordered><name>a</name><value>x</value></ordered><ordered><name>b</name></ordered>"
            + r#"<ordered nc:operation="replace"><name>a</name></ordered>"#
            = "<ordered><name>a</name></ordered><ordered><name>b</name></ordered>";
        "an operation inside another one counts there": "lists"
            "<pair><first>a</first><second>1</second><value>x</value></pair>"
            + r#"<pair><first>a</first><second>1</second><value nc:operation="delete"/></pair><pair nc:operation="create"><first>b</first><second>1</second></pair>"#
            = "<pair><first>a</first><second>1</second></pair><pair><first>b</first><second>1</second></pair>";
    }
}

#[tokio::test]
async fn create_delete_and_remove() {
    cases! {
        "create of what exists": "types"
            "<string>x</string>" + r#"<string nc:operation="create">x</string>"# = "error data-exists";
        "create of an entry that exists": "lists"
            "<ordered><name>a</name></ordered>" + r#"<ordered nc:operation="create"><name>a</name><value>x</value></ordered>"#
            = "error data-exists";
        "create of a value that exists in a leaf-list": "lists"
            "<words>a</words>" + r#"<words nc:operation="create">a</words>"# = "error data-exists";
        "delete of what is missing": "types"
            "<int8>1</int8>" + r#"<string nc:operation="delete"/>"# = "error data-missing";
        "delete of an entry that is missing": "lists"
            "<ordered><name>a</name></ordered>" + r#"<ordered nc:operation="delete"><name>b</name></ordered>"#
            = "error data-missing";
        "remove of what is missing": "types"
            "<int8>1</int8>" + r#"<string nc:operation="remove"/>"# = "<int8>1</int8>";
        "delete of the last child takes the container with it": "types"
            "<string>x</string>" + r#"<string nc:operation="delete"/>"# = "";
        "delete of a leaf without its value": "types"
            "<int8>1</int8><string>x</string>" + r#"<int8 nc:operation="delete"/>"# = "<string>x</string>";
        "delete of a value of a leaf-list": "lists"
            "<words>a</words><words>b</words>" + r#"<words nc:operation="delete">a</words>"# = "<words>b</words>";
        "delete of a key": "lists"
            "<ordered><name>a</name></ordered>" + r#"<ordered><name nc:operation="delete">a</name></ordered>"#
            = "error bad-element";
        "an entry without its key": "lists"
            "<words>a</words>" + "<ordered><value>x</value></ordered>" = "error missing-element";
        "an empty key is a key like any": "lists"
            "" + "<ordered><name/></ordered>" = "<ordered><name/></ordered>";
    }
}

#[tokio::test]
async fn a_presence_container_stays_without_its_last_child_and_goes_when_it_is_deleted() {
    let mut device = Plain::start().await;
    device.commit(&example("flag", "<level>1</level>")).await;
    device
        .commit(&declared("flag", r#"<level nc:operation="delete"/>"#))
        .await;
    assert!(device.running("flag").await.starts_with("<flag"));
    let delete = declared("flag", "").replacen('>', r#" nc:operation="delete">"#, 1);
    device.commit(&delete).await;
    assert_eq!(device.running("flag").await, "");
    device.stop().await;
}

#[tokio::test]
async fn defaults_choices_and_conditions() {
    cases! {
        "a default that nobody set is not there to be deleted": "defaults"
            "<colours>blue</colours>" + r#"<number nc:operation="delete"/>"# = "error data-missing";
        "a default that nobody set does not keep from creating it": "defaults"
            "" + r#"<number nc:operation="create">7</number>"# = "<number>7</number>";
        "a value that equals the default is there": "defaults"
            "<number>7</number>" + r#"<number nc:operation="create">7</number>"# = "error data-exists";
        "a deleted value is the default again, which is not set": "defaults"
            "<number>8</number>" + r#"<number nc:operation="delete"/>"# = "";
        "a node of a case deletes those of the others": "choices"
            "<tcp-port>1</tcp-port><tcp-window>2</tcp-window>" + "<udp-port>3</udp-port>" = "<udp-port>3</udp-port>";
        "and so it does in the choice of a case": "choices"
            "<serial>a</serial>" + "<pipe><name>p</name></pipe>" = "<pipe><name>p</name></pipe>";
        "nodes of one case stand together": "choices"
            "<tcp-port>1</tcp-port>" + "<tcp-window>2</tcp-window>" = "<tcp-port>1</tcp-port><tcp-window>2</tcp-window>";
    }
    let mut device = Plain::start().await;
    let special = example("constraints", "<kind>special</kind><detail>x</detail>");
    device.commit(&special).await;
    device
        .commit(&example("constraints", "<kind>plain</kind>"))
        .await;
    let left = inside(&mut device, "running", "constraints").await;
    assert_eq!(left, "<kind>plain</kind>", "a false when deletes");
    device.stop().await;
}

#[tokio::test]
async fn entries_that_the_user_orders() {
    cases! {
        "a new one is the last": "lists"
            "<steps>a</steps><steps>b</steps>" + "<steps>c</steps>" = "<steps>a</steps><steps>b</steps><steps>c</steps>";
        "first": "lists"
            "<steps>a</steps><steps>b</steps>" + r#"<steps yang:insert="first">c</steps>"#
            = "<steps>c</steps><steps>a</steps><steps>b</steps>";
        "last": "lists"
            "<steps>a</steps><steps>b</steps>" + r#"<steps yang:insert="last">a</steps>"#
            = "<steps>b</steps><steps>a</steps>";
        "before": "lists"
            "<steps>a</steps><steps>b</steps>" + r#"<steps yang:insert="before" yang:value="b">c</steps>"#
            = "<steps>a</steps><steps>c</steps><steps>b</steps>";
        "after": "lists"
            "<ordered><name>a</name></ordered><ordered><name>b</name></ordered>"
            + r#"<ordered yang:insert="after" yang:key="[name='a']"><name>c</name></ordered>"#
            = "<ordered><name>a</name></ordered><ordered><name>c</name></ordered><ordered><name>b</name></ordered>";
        "beside one that is missing": "lists"
            "<steps>a</steps>" + r#"<steps yang:insert="after" yang:value="z">c</steps>"# = "error bad-attribute";
    }
}

#[tokio::test]
async fn without_a_default_operation_nothing_happens_by_itself() {
    let mut device = Plain::start().await;
    device.commit(&example("types", "<string>x</string>")).await;
    let none = |content: &str| {
        format!(
            "<edit-config><target><running/></target><default-operation>none</default-operation><config>{}</config></edit-config>",
            declared("types", content)
        )
    };
    ok(&mut device.session, &none("<string>y</string>")).await;
    assert_eq!(
        inside(&mut device, "running", "types").await,
        "<string>x</string>"
    );
    let missing = refused(&mut device.session, &none("<int8>1</int8>")).await;
    assert_eq!(missing.tag, "data-missing");
    let create = none(r#"<int8 nc:operation="create">1</int8>"#);
    ok(&mut device.session, &create).await;
    assert_eq!(
        inside(&mut device, "running", "types").await,
        "<int8>1</int8><string>x</string>"
    );
    device.stop().await;
}
