//! The NETCONF server on a real datastore and store, over an in-memory stream.

use std::sync::Arc;
use std::time::Duration;

use tether::model::settings::Limits;
use tether::protocol::client::{Client, ClientError, ReportedError};

use crate::support::served::{Served as Device, Session};

fn cloud(content: &str) -> String {
    format!(
        "<cloud-management xmlns=\"urn:tether:yang:cloud-management\">{content}</cloud-management>"
    )
}

fn refusals(result: Result<impl std::fmt::Debug, ClientError>) -> Vec<ReportedError> {
    match result {
        Err(ClientError::Refused(errors)) => errors,
        other => panic!("not refused: {other:?}"),
    }
}

fn refusal(result: Result<impl std::fmt::Debug, ClientError>) -> ReportedError {
    let mut errors = refusals(result);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

async fn domain(session: &mut Session, datastore: &str) -> Option<String> {
    let filter = cloud("<server><domain/></server>");
    let data = session.get_config(datastore, Some(&filter)).await.unwrap();
    let (_, rest) = data.split_once("<domain>")?;
    Some(rest.split_once("</domain>")?.0.to_owned())
}

#[tokio::test]
async fn an_edit_of_the_candidate_reaches_running_with_the_commit() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    let edit = cloud("<server><domain>a.example</domain></server>");
    session.edit_config("candidate", &edit).await.unwrap();
    assert_eq!(
        domain(&mut session, "candidate").await.as_deref(),
        Some("a.example")
    );
    assert_eq!(domain(&mut session, "running").await, None);
    session.commit().await.unwrap();
    assert_eq!(
        domain(&mut session, "running").await.as_deref(),
        Some("a.example")
    );
    session.close().await.unwrap();
}

#[tokio::test]
async fn discarded_changes_are_gone() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    let edit = cloud("<server><domain>a.example</domain></server>");
    session.edit_config("candidate", &edit).await.unwrap();
    session.discard_changes().await.unwrap();
    assert_eq!(domain(&mut session, "candidate").await, None);
}

#[tokio::test]
async fn bad_values_are_refused_with_their_place() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    for value in ["9", "601", "abc"] {
        let edit = cloud(&format!("<keepalive-interval>{value}</keepalive-interval>"));
        let error = refusal(session.edit_config("candidate", &edit).await);
        assert_eq!(
            (error.error_type.as_str(), error.tag.as_str()),
            ("application", "invalid-value"),
            "{error:?}"
        );
        assert!(
            error
                .path
                .unwrap_or_default()
                .ends_with("keepalive-interval"),
            "{value}"
        );
    }
    let error = refusal(session.edit_config("candidate", &cloud("<nothing/>")).await);
    assert_eq!(error.tag, "unknown-element");
    assert_eq!(
        error.info,
        [("bad-element".to_owned(), "nothing".to_owned())]
    );
    let error = refusal(
        session
            .edit_config("candidate", "<a xmlns=\"urn:nobody\"/>")
            .await,
    );
    assert_eq!(error.tag, "unknown-namespace");
}

#[tokio::test]
async fn operations_on_what_is_there_or_not_have_their_tags() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    let with = |operation: &str| {
        let nc = "xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\"";
        cloud(&format!(
            "<server><domain {nc} nc:operation=\"{operation}\">a.example</domain></server>"
        ))
    };
    assert_eq!(
        refusal(session.edit_config("running", &with("delete")).await).tag,
        "data-missing"
    );
    session
        .edit_config("running", &with("remove"))
        .await
        .unwrap();
    session
        .edit_config("running", &with("create"))
        .await
        .unwrap();
    assert_eq!(
        refusal(session.edit_config("running", &with("create")).await).tag,
        "data-exists"
    );
    session
        .edit_config("running", &with("delete"))
        .await
        .unwrap();
    assert_eq!(domain(&mut session, "running").await, None);
}

#[tokio::test]
async fn a_lock_keeps_others_out_until_its_session_ends() {
    let device = Device::start();
    let mut holder = device.login("admin").await;
    let mut other = device.login("admin").await;
    holder.lock("running").await.unwrap();
    let error = refusal(other.lock("running").await);
    assert_eq!(error.tag, "lock-denied");
    assert_eq!(
        error.info,
        [("session-id".to_owned(), holder.session_id().to_string())]
    );
    let edit = cloud("<keepalive-interval>60</keepalive-interval>");
    assert_eq!(
        refusal(other.edit_config("running", &edit).await).tag,
        "in-use"
    );
    // However the session ends, the lock goes.
    drop(holder);
    let freed = async { while other.lock("running").await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), freed)
        .await
        .unwrap();
    other.edit_config("running", &edit).await.unwrap();
}

#[tokio::test]
async fn a_killed_session_leaves_no_lock_and_no_candidate() {
    let device = Device::start();
    let mut victim = device.login("admin").await;
    victim.lock("candidate").await.unwrap();
    let edit = cloud("<server><domain>a.example</domain></server>");
    victim.edit_config("candidate", &edit).await.unwrap();
    let mut killer = device.login("admin").await;
    let kill = |id: u32| format!("<kill-session><session-id>{id}</session-id></kill-session>");
    assert_eq!(
        refusal(killer.rpc(&kill(killer.session_id())).await).tag,
        "invalid-value"
    );
    assert_eq!(refusal(killer.rpc(&kill(999)).await).tag, "invalid-value");
    killer.rpc(&kill(victim.session_id())).await.unwrap();
    assert!(victim.get(None).await.is_err());
    killer.lock("candidate").await.unwrap();
    assert_eq!(domain(&mut killer, "candidate").await, None);
}

#[tokio::test]
async fn what_is_not_announced_is_refused() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    for (operation, tag) in [
        ("<make-coffee/>", "operation-not-supported"),
        (
            "<delete-config><target><running/></target></delete-config>",
            "operation-not-supported",
        ),
        (
            "<copy-config><target><startup/></target><source><running/></source></copy-config>",
            "unknown-element",
        ),
    ] {
        assert_eq!(
            refusal(session.rpc(operation).await).tag,
            tag,
            "{operation}"
        );
    }
}

#[tokio::test]
async fn schemas_can_be_fetched_and_sessions_seen() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    let monitoring = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";
    let get = |name: &str| {
        format!("<get-schema xmlns=\"{monitoring}\"><identifier>{name}</identifier></get-schema>")
    };
    let schema = session.rpc(&get("cloud-management")).await.unwrap();
    assert!(
        schema.contains("module cloud-management"),
        "{:.100}",
        schema
    );
    assert_eq!(
        refusal(session.rpc(&get("nothing")).await).tag,
        "invalid-value"
    );
    let filter = format!("<netconf-state xmlns=\"{monitoring}\"><sessions/></netconf-state>");
    let sessions = session.get(Some(&filter)).await.unwrap();
    let id = format!("<session-id>{}</session-id>", session.session_id());
    assert!(
        sessions.contains(&id) && sessions.contains("<username>admin</username>"),
        "{sessions}"
    );
}

#[tokio::test]
async fn sessions_beyond_the_limits_are_refused() {
    let device = Device::start();
    device.limits.send_replace(Arc::new(Limits {
        sessions_per_user: 2,
        ..Limits::default()
    }));
    let _first = device.login("admin").await;
    let second = device.login("admin").await;
    let third = Client::connect(device.dial("admin"), Duration::from_secs(20)).await;
    assert!(matches!(third, Err(ClientError::Stream(_))), "{third:?}");
    device.login("other").await;
    second.close().await.unwrap();
    let again = async {
        while Client::connect(device.dial("admin"), Duration::from_secs(20))
            .await
            .is_err()
        {}
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .unwrap();
}

#[tokio::test]
async fn users_without_rules_may_look_and_not_touch() {
    let device = Device::start();
    let mut session = device.login("nobody").await;
    let edit = cloud("<keepalive-interval>60</keepalive-interval>");
    assert_eq!(
        refusal(session.edit_config("running", &edit).await).tag,
        "access-denied"
    );
    assert_eq!(
        refusal(
            session
                .rpc("<kill-session><session-id>9</session-id></kill-session>")
                .await
        )
        .tag,
        "access-denied"
    );
    let data = session.get_config("running", None).await.unwrap();
    assert!(!data.contains("<nacm"), "{data}");
}

#[tokio::test]
async fn an_rpc_that_no_module_has_is_named_in_the_error() {
    let device = Device::start();
    let mut session = device.login("admin").await;
    let unknown = refusal(
        session
            .rpc(r#"<nothing xmlns="urn:example:nothing"/>"#)
            .await,
    );
    assert_eq!(unknown.tag, "unknown-namespace");
    let missing = refusal(
        session
            .rpc(r#"<nothing xmlns="urn:tether:yang:cloud-management"/>"#)
            .await,
    );
    assert_eq!(missing.tag, "operation-not-supported");
}
