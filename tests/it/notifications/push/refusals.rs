//! What makes no sense is refused, with an identity and with hints, and changes nothing.

use super::*;

fn refusal(parameters: &str, tag: &'static str, identity: Option<&'static str>) -> Case {
    Case {
        parameters: parameters.to_owned(),
        tag,
        identity,
    }
}

struct Case {
    parameters: String,
    tag: &'static str,
    identity: Option<&'static str>,
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_with_the_identity_for_it() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let running = datastore("running");
    let state = subtree(
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><state><duration/></state></cloud-management>"#,
    );
    let cases = [
        refusal(
            &(running.clone() + &periodic(0)),
            "invalid-value",
            Some("period-unsupported"),
        ),
        refusal(
            &(running.clone() + &periodic(99)),
            "invalid-value",
            Some("period-unsupported"),
        ),
        refusal(
            &(running.clone() + &periodic(4_294_967_296)),
            "invalid-value",
            None,
        ),
        refusal(
            &(datastore("candidate") + &on_change("")),
            "invalid-value",
            Some("datastore-not-subscribable"),
        ),
        refusal(
            &(datastore("intended") + &periodic(100)),
            "invalid-value",
            Some("datastore-not-subscribable"),
        ),
        refusal(
            &(running.clone() + &state + &on_change("")),
            "operation-failed",
            Some("unchanging-selection"),
        ),
        refusal(&running, "missing-element", None),
        refusal(&on_change(""), "missing-element", None),
        refusal(
            &(running.clone() + &on_change("") + &periodic(100)),
            "bad-element",
            None,
        ),
        refusal(
            &(running.clone() + &on_change("<dampening-period>soon</dampening-period>")),
            "invalid-value",
            None,
        ),
        refusal(
            &(running.clone() + &on_change("<excluded-change>merge</excluded-change>")),
            "invalid-value",
            None,
        ),
        refusal(
            &(running.clone() + &on_change("<other/>")),
            "unknown-element",
            None,
        ),
        refusal(
            &(running.clone() + &on_change("") + "<stream>NETCONF</stream>"),
            "unknown-element",
            None,
        ),
        refusal(
            &(running.clone() + &push("periodic", "")),
            "missing-element",
            None,
        ),
    ];
    for case in cases {
        let error = refused(&mut session, &establish_operation(&case.parameters)).await;
        let expected = case.identity.map(|name| format!("ietf-yang-push:{name}"));
        assert_eq!(
            (error.tag.as_str(), error.app_tag),
            (case.tag, expected),
            "{}",
            case.parameters
        );
    }
    for filter in [
        xpath("/["),
        xpath("/nowhere:a"),
        push("selection-filter-ref", "none"),
    ] {
        let parameters = running.clone() + &filter + &on_change("");
        let error = refused(&mut session, &establish_operation(&parameters)).await;
        let tag = error.app_tag.unwrap();
        assert!(
            tag.starts_with("ietf-subscribed-notifications:filter-un"),
            "{tag}"
        );
    }
    let filter = format!(r#"<subscriptions xmlns="{SUBSCRIBED}"/>"#);
    let state = session.get(Some(&filter)).await.unwrap();
    assert!(!state.contains("<subscription>"), "{state}");
}

#[tokio::test(start_paused = true)]
async fn resynchronization_is_for_own_subscriptions_on_change() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let id = establish(&mut session, &(datastore("running") + &periodic(6000))).await;
    let resync = |id: u32| push("resync-subscription", &format!("<id>{id}</id>"));
    let error = refused(&mut session, &resync(id)).await;
    let tag = "ietf-yang-push:on-change-sync-unsupported";
    assert_eq!(error.app_tag.as_deref(), Some(tag));
    let mut other = device.login("admin").await;
    let error = refused(&mut other, &resync(id)).await;
    let tag = "ietf-yang-push:no-such-subscription-resync";
    assert_eq!(error.app_tag.as_deref(), Some(tag));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_keeps_its_datastore_and_its_kind_of_trigger() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let id = establish(&mut session, &(datastore("running") + &periodic(6000))).await;
    for parameters in [
        datastore("operational"),
        datastore("running") + &on_change(""),
        datastore("running") + &periodic(1),
        "<stream-xpath-filter>/a</stream-xpath-filter>".to_owned(),
    ] {
        let modify = operation("modify-subscription", &format!("<id>{id}</id>{parameters}"));
        let error = refused(&mut session, &modify).await;
        assert_eq!(error.tag, "invalid-value", "{parameters}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_has_no_more_subscriptions_than_its_limit() {
    let device = Served::start();
    device.limits.send_modify(|limits| {
        std::sync::Arc::make_mut(limits).subscriptions = 1;
    });
    let mut session = device.login("admin").await;
    let parameters = datastore("running") + &on_change("");
    establish(&mut session, &parameters).await;
    let error = refused(&mut session, &establish_operation(&parameters)).await;
    assert_eq!(error.tag, "resource-denied");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_would_be_too_big_is_refused_at_once() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let long = "x".repeat(9 << 20);
    for leaf in ["location", "contact"] {
        let config = system(&format!("<{leaf}>{long}</{leaf}>"));
        change(&mut session, &config).await;
    }
    let running = datastore("running") + &system_filter();
    for (trigger, identity) in [
        (on_change(""), "sync-too-big"),
        (periodic(100), "update-too-big"),
    ] {
        let parameters = running.clone() + &trigger;
        let error = refused(&mut session, &establish_operation(&parameters)).await;
        assert_eq!(error.tag, "too-big");
        let expected = format!("ietf-yang-push:{identity}");
        assert_eq!(error.app_tag, Some(expected));
    }
    let changes = "<sync-on-start>false</sync-on-start>";
    establish(&mut session, &(running + &on_change(changes))).await;
}
