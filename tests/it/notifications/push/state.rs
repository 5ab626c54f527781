//! On change, on the operational datastore; what is said of subscriptions and of what they can be to.

use super::*;

const MONITORING: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring";

fn operational(filter: &str) -> String {
    datastore("operational") + &subtree(filter) + &on_change("")
}

#[tokio::test]
async fn the_state_of_the_tunnel_is_pushed_as_it_changes() {
    let mut device = Device::start().await;
    let mut listener = device.open().await;
    establish(&mut listener, &operational(&cloud_management("<state/>"))).await;
    let first = update(&mut listener).await;
    let state = "<connection-state>unconnected</connection-state>";
    assert!(first.contains(state), "{first}");
    assert!(!first.contains("<attempts>"), "never settles: {first}");
    device.configure_cloud().await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|state| state != "established") {
        let told = soon(listener.notification()).await.unwrap();
        for edit in edits(&told) {
            for hidden in ["duration", "attempts", "keepalives", "octets"] {
                assert!(!edit.target.contains(hidden), "{told}");
                let value = edit.value.as_deref().unwrap_or_default();
                assert!(!value.contains(&format!("<{hidden}")), "{told}");
            }
            if edit.target.ends_with("/state/connection-state") {
                assert_eq!(edit.operation, "replace", "{told}");
                seen.push(inside(&edit.value.unwrap(), "connection-state"));
            }
        }
    }
    assert_eq!(
        seen.first().map(String::as_str),
        Some("request"),
        "{seen:?}"
    );
}

#[tokio::test]
async fn configuration_and_state_of_one_container_come_in_one_subscription() {
    let mut device = Device::start().await;
    let mut listener = device.open().await;
    establish(&mut listener, &operational(&cloud_management(""))).await;
    assert!(update(&mut listener).await.contains("<device-state>idle<"));
    device
        .commit_cloud("<keepalive-interval>60</keepalive-interval>")
        .await;
    let target = "/cloud-management:cloud-management/keepalive-interval";
    assert_eq!(changes(&mut listener).await, pairs(&[("create", target)]));
}

#[tokio::test(start_paused = true)]
async fn sessions_and_locks_are_pushed_as_they_come_and_go() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let filter =
        format!(r#"<netconf-state xmlns="{MONITORING}"><sessions/><datastores/></netconf-state>"#);
    establish(&mut listener, &operational(&filter)).await;
    assert!(!update(&mut listener).await.contains("<in-rpcs>"));
    let mut manager = device.login("admin").await;
    let base = "/ietf-netconf-monitoring:netconf-state";
    let session = format!("{base}/sessions/session={}", manager.session_id());
    assert_eq!(changes(&mut listener).await, pairs(&[("create", &session)]));
    manager
        .rpc("<lock><target><running/></target></lock>")
        .await
        .unwrap();
    let lock = format!("{base}/datastores/datastore=running/locks");
    let locked = changes(&mut listener).await;
    assert!(
        locked
            .iter()
            .all(|(operation, target)| operation == "create" && target.starts_with(&lock)),
        "{locked:?}"
    );
    // Its end releases the lock.
    manager.close().await.unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.extend(changes(&mut listener).await);
    }
    assert!(
        gone.iter().all(|(operation, _)| operation == "delete"),
        "{gone:?}"
    );
    assert!(
        gone.iter().any(|(_, target)| *target == session),
        "{gone:?}"
    );
    assert!(
        gone.iter().any(|(_, target)| target.starts_with(&lock)),
        "{gone:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_state_that_can_be_subscribed_to() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let filter = format!(r#"<subscriptions xmlns="{SUBSCRIBED}"/>"#);
    let own = establish(&mut listener, &operational(&filter)).await;
    let first = update(&mut listener).await;
    assert!(first.contains(&format!("<id>{own}</id>")), "{first}");
    assert!(!first.contains("event-records"), "{first}");
    let mut other = device.login("admin").await;
    let id = establish(&mut other, &(datastore("running") + &periodic(1000))).await;
    let target = format!("/ietf-subscribed-notifications:subscriptions/subscription={id}");
    assert_eq!(changes(&mut listener).await, pairs(&[("create", &target)]));
    drop(other);
    assert_eq!(changes(&mut listener).await, pairs(&[("delete", &target)]));
}

#[tokio::test(start_paused = true)]
async fn the_terms_of_a_subscription_are_in_the_state() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let trigger = "<dampening-period>250</dampening-period><excluded-change>move</excluded-change>";
    let parameters = datastore("running") + &xpath("/sys:system") + &on_change(trigger);
    establish(&mut listener, &parameters).await;
    update(&mut listener).await;
    let filter = format!(r#"<subscriptions xmlns="{SUBSCRIBED}"/>"#);
    let state = listener.get(Some(&filter)).await.unwrap();
    for part in [
        ":running</datastore>",
        "<dampening-period>250</dampening-period>",
        "<sync-on-start>true</sync-on-start>",
        "<excluded-change>move</excluded-change>",
        ":system</datastore-xpath-filter>",
        "<sent-event-records>1</sent-event-records>",
    ] {
        assert!(state.contains(part), "{part}: {state}");
    }
}

#[tokio::test]
async fn what_can_be_subscribed_to_is_told_and_what_is_left_out() {
    let mut device = Device::start().await;
    let filter =
        r#"<system-capabilities xmlns="urn:ietf:params:xml:ns:yang:ietf-system-capabilities"/>"#;
    let told = device.session.get(Some(filter)).await.unwrap();
    for part in [
        "<minimum-update-period>100<",
        "<minimum-dampening-period>0<",
        "<on-change-supported>config-changes state-changes<",
        "<supported-excluded-change-type>all<",
        ":running</datastore>",
        ":operational</datastore>",
        "/cm:state/cm:duration</node-selector>",
        ":keepalives</node-selector>",
        ":octets-in</node-selector>",
        ":current-datetime</node-selector>",
        ":sent-event-records</node-selector>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[tokio::test]
async fn a_selection_of_nothing_but_what_never_settles_is_refused() {
    let mut device = Device::start().await;
    let counters = cloud_management("<state><duration/><keepalives/></state>");
    let refused = refused(
        &mut device.session,
        &establish_operation(&operational(&counters)),
    )
    .await;
    assert_eq!(refused.tag, "operation-not-supported");
    let tag = "ietf-yang-push:on-change-unsupported";
    assert_eq!(refused.app_tag.as_deref(), Some(tag));
    let periodic = datastore("operational") + &subtree(&counters) + &periodic(100);
    establish(&mut device.session, &periodic).await;
}

#[tokio::test]
async fn a_configured_filter_is_used_by_its_name() {
    let mut device = Plain::start().await;
    let filter = subtree(&system("<location/>"));
    let filters = format!(
        r#"<filters xmlns="{SUBSCRIBED}"><selection-filter xmlns="{NAMESPACE}"><filter-id>where</filter-id>{filter}</selection-filter></filters>"#
    );
    device.commit(&filters).await;
    let mut listener = device.open().await;
    let parameters = datastore("running") + &push("selection-filter-ref", "where") + &on_change("");
    establish(&mut listener, &parameters).await;
    update(&mut listener).await;
    device
        .commit(&system("<contact>me</contact><location>attic</location>"))
        .await;
    let expected = pairs(&[("create", "/ietf-system:system/location")]);
    assert_eq!(changes(&mut listener).await, expected);
}
