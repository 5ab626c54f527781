//! RFC 8639 and 8640: subscriptions that a session establishes, modifies and deletes, each with a number.

use super::*;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications";

fn operation(name: &str, parameters: &str) -> String {
    format!(r#"<{name} xmlns="{NAMESPACE}">{parameters}</{name}>"#)
}

pub async fn establish<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    parameters: &str,
) -> u32 {
    let parameters = format!("<stream>NETCONF</stream>{parameters}");
    let establish = operation("establish-subscription", &parameters);
    let reply = session.rpc(&establish).await.unwrap();
    number(&reply)
}

/// Establishes one with a subtree filter of these elements.
pub async fn with_filter<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, filter: &str) {
    let filter = format!("<stream-subtree-filter>{filter}</stream-subtree-filter>");
    establish(session, &filter).await;
}

/// The number in an element `<id>`.
fn number(xml: &str) -> u32 {
    let (_, after) = xml.split_once("<id").unwrap();
    let (_, after) = after.split_once('>').unwrap();
    after.split('<').next().unwrap().parse().unwrap()
}

fn subtree(name: &str) -> String {
    format!(r#"<stream-subtree-filter><{name} xmlns="{NOTICES}"/></stream-subtree-filter>"#)
}

fn with_id(name: &str, id: u32, more: &str) -> String {
    operation(name, &format!("<id>{id}</id>{more}"))
}

async fn ok<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, operation: &str) {
    let reply = session.rpc(operation).await.unwrap();
    assert!(reply.starts_with("<ok"), "{reply}");
}

async fn state<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>) -> String {
    let filter = format!(r#"<subscriptions xmlns="{NAMESPACE}"/>"#);
    session.get(Some(&filter)).await.unwrap()
}

#[tokio::test]
async fn a_session_has_several_subscriptions_each_with_its_filter() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let changes = establish(&mut listener, &subtree("netconf-config-change")).await;
    let xpath = format!(
        r#"<stream-xpath-filter xmlns:n="{NOTICES}">/n:netconf-session-start</stream-xpath-filter>"#
    );
    let sessions = establish(&mut listener, &xpath).await;
    assert_ne!(changes, sessions);
    let mut manager = device.login("admin").await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-session-start"), "{told}");
    edit(&mut manager, 60).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-config-change"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_state_shows_who_subscribed_to_what_and_counts() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &subtree("netconf-config-change")).await;
    let mut manager = device.login("admin").await;
    edit(&mut manager, 60).await;
    listener.notification().await.unwrap();
    let state = state(&mut manager).await;
    let session = listener.session_id();
    for part in [
        format!("<id>{id}</id>"),
        "<stream>NETCONF</stream>".to_owned(),
        ">encode-xml</encoding>".to_owned(),
        format!("<name>NETCONF session {session}</name>"),
        "<sent-event-records>1<".to_owned(),
        // The login of the manager.
        "<excluded-event-records>1<".to_owned(),
        "<state>active</state>".to_owned(),
    ] {
        assert!(state.contains(&part), "{part}: {state}");
    }
    let filter = format!(r#"<streams xmlns="{NAMESPACE}"/>"#);
    let streams = manager.get(Some(&filter)).await.unwrap();
    assert!(
        !streams.contains("<replay-support"),
        "the stream is shown by the agent: {streams}"
    );
    drop(listener);
    let gone = async {
        while super::subscribed::state(&mut manager)
            .await
            .contains("<subscription>")
        {}
    };
    soon(gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_modified_subscription_says_what_it_has_become() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &subtree("netconf-config-change")).await;
    let modify = with_id("modify-subscription", id, &subtree("netconf-session-end"));
    ok(&mut listener, &modify).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<subscription-modified "), "{told}");
    assert_eq!(number(&told), id);
    assert!(
        told.contains("<stream-subtree-filter><netconf-session-end"),
        "{told}"
    );
    let mut manager = device.login("admin").await;
    edit(&mut manager, 60).await;
    manager.close().await.unwrap();
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-session-end"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_subscription_is_silent_at_once() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let first = establish(&mut listener, "").await;
    let second = establish(&mut listener, &subtree("netconf-config-change")).await;
    ok(&mut listener, &with_id("delete-subscription", first, "")).await;
    let mut manager = device.login("admin").await;
    edit(&mut manager, 60).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-config-change"), "{told}");
    ok(&mut listener, &with_id("delete-subscription", second, "")).await;
    let error = refused(&mut listener, &with_id("delete-subscription", second, "")).await;
    assert_eq!(error.tag, "invalid-value");
    let app_tag = error.app_tag.unwrap();
    assert_eq!(
        app_tag,
        "ietf-subscribed-notifications:no-such-subscription"
    );
}

#[tokio::test(start_paused = true)]
async fn another_session_can_only_kill_a_subscription() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let id = establish(&mut listener, &subtree("netconf-config-change")).await;
    let mut other = device.login("admin").await;
    for name in ["delete-subscription", "modify-subscription"] {
        let error = refused(&mut other, &with_id(name, id, "")).await;
        assert_eq!(error.tag, "invalid-value", "{name}");
    }
    let mut bob = device.login("bob").await;
    let error = refused(&mut bob, &with_id("kill-subscription", id, "")).await;
    assert_eq!(error.tag, "access-denied");
    ok(&mut other, &with_id("kill-subscription", id, "")).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<subscription-terminated "), "{told}");
    assert!(told.contains("<reason>no-such-subscription<"), "{told}");
    // The session itself goes on.
    establish(&mut listener, "").await;
}

#[tokio::test]
async fn a_replay_ends_with_a_word_and_says_from_when_on_there_are_events() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    edit(&mut manager, 60).await;
    let mut listener = device.login("admin").await;
    let early = now() - TimeDelta::days(1);
    let parameters = format!(
        "<stream>NETCONF</stream><replay-start-time>{}</replay-start-time>",
        date(early)
    );
    let establish = operation("establish-subscription", &parameters);
    let reply = listener.rpc(&establish).await.unwrap();
    assert!(reply.contains("<replay-start-time-revision"), "{reply}");
    next(&mut listener, "netconf-session-start").await;
    let told = next(&mut listener, "replay-completed").await;
    assert_eq!(number(&told), number(&reply));
}

#[tokio::test]
async fn a_subscription_ends_silently_at_its_stop_time() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    let stop = date(now() + TimeDelta::milliseconds(200));
    establish(&mut listener, &format!("<stop-time>{stop}</stop-time>")).await;
    let mut manager = device.login("admin").await;
    let gone = async { while state(&mut manager).await.contains("<subscription>") {} };
    soon(gone).await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_with_the_identity_for_it() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let stream = "<stream>NETCONF</stream>";
    let (past, future) = (
        date(now() - TimeDelta::hours(1)),
        date(now() + TimeDelta::hours(1)),
    );
    let of_module = |name: &str| Some(format!("ietf-subscribed-notifications:{name}"));
    let cases = [
        (String::new(), "missing-element", None),
        ("<stream>OTHER</stream>".to_owned(), "invalid-value", None),
        (
            format!("{stream}<encoding>encode-json</encoding>"),
            "invalid-value",
            of_module("encoding-unsupported"),
        ),
        (
            format!("{stream}<stream-xpath-filter>/[</stream-xpath-filter>"),
            "invalid-value",
            of_module("filter-unsupported"),
        ),
        (
            format!("{stream}<stream-filter-name>none</stream-filter-name>"),
            "invalid-value",
            of_module("filter-unavailable"),
        ),
        (
            format!("{stream}<replay-start-time>{future}</replay-start-time>"),
            "invalid-value",
            None,
        ),
        (
            format!("{stream}<stop-time>{past}</stop-time>"),
            "invalid-value",
            None,
        ),
        (format!("{stream}<dscp>4</dscp>"), "unknown-element", None),
        (
            format!(
                "{stream}<stream-filter-name>a</stream-filter-name><stream-xpath-filter>/a</stream-xpath-filter>"
            ),
            "bad-element",
            None,
        ),
    ];
    for (parameters, tag, app_tag) in cases {
        let error = refused(
            &mut session,
            &operation("establish-subscription", &parameters),
        )
        .await;
        assert_eq!(
            (error.tag.as_str(), error.app_tag),
            (tag, app_tag),
            "{parameters}"
        );
    }
    let error = refused(
        &mut session,
        &operation("resync-subscription", "<id>1</id>"),
    )
    .await;
    assert_eq!(error.tag, "operation-not-supported");
}

#[tokio::test(start_paused = true)]
async fn the_two_ways_to_subscribe_do_not_mix_in_one_session() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    establish(&mut session, "").await;
    let error = refused(&mut session, &create("")).await;
    assert_eq!(error.tag, "operation-not-supported");
    let mut other = device.login("admin").await;
    subscribe(&mut other, "").await;
    let establish = operation("establish-subscription", "<stream>NETCONF</stream>");
    let error = refused(&mut other, &establish).await;
    assert_eq!(error.tag, "operation-not-supported");
}

#[tokio::test(start_paused = true)]
async fn a_session_has_no_more_subscriptions_than_its_limit() {
    let device = Served::start();
    device.limits.send_modify(|limits| {
        std::sync::Arc::make_mut(limits).subscriptions = 2;
    });
    let mut session = device.login("admin").await;
    let first = establish(&mut session, "").await;
    establish(&mut session, "").await;
    let third = operation("establish-subscription", "<stream>NETCONF</stream>");
    let error = refused(&mut session, &third).await;
    assert_eq!(error.tag, "resource-denied");
    ok(&mut session, &with_id("delete-subscription", first, "")).await;
    establish(&mut session, "").await;
}

#[tokio::test]
async fn a_configured_filter_is_used_by_its_name() {
    let mut device = Plain::start().await;
    let filters = format!(
        r#"<filters xmlns="{NAMESPACE}"><stream-filter><name>changes</name><stream-xpath-filter xmlns:n="{NOTICES}">/n:netconf-config-change</stream-xpath-filter></stream-filter>
        <stream-filter><name>ends</name>{}</stream-filter></filters>"#,
        subtree("netconf-session-end")
    );
    device.commit(&filters).await;
    let mut listener = device.open().await;
    let named = |name: &str| format!("<stream-filter-name>{name}</stream-filter-name>");
    establish(&mut listener, &named("changes")).await;
    establish(&mut listener, &named("ends")).await;
    device.open().await.close().await.unwrap();
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-session-end"), "{told}");
    edit(&mut device.session, 60).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-config-change"), "{told}");
}

#[tokio::test]
async fn a_subscription_goes_on_with_what_becomes_of_its_configured_filter_and_ends_with_it() {
    let mut device = Plain::start().await;
    let filter = |name: &str, more: &str| {
        format!(
            r#"<filters xmlns="{NAMESPACE}"><stream-filter{more}><name>mine</name>{name}</stream-filter></filters>"#
        )
    };
    device
        .commit(&filter(&subtree("netconf-session-start"), ""))
        .await;
    let mut listener = device.open().await;
    let named = "<stream-filter-name>mine</stream-filter-name>";
    let id = establish(&mut listener, named).await;
    let replace = r#" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="replace""#;
    device
        .commit(&filter(&subtree("netconf-session-end"), replace))
        .await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<subscription-modified "), "{told}");
    assert!(told.contains("<stream-filter-name>mine<"), "{told}");
    assert_eq!(number(&told), id);
    device.open().await.close().await.unwrap();
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-session-end"), "{told}");
    let remove = r#" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete""#;
    device.commit(&filter("", remove)).await;
    let told = next(&mut listener, "subscription-terminated").await;
    assert!(told.contains("<reason>filter-unavailable<"), "{told}");
    assert!(!state(&mut listener).await.contains("<subscription>"));
}

#[tokio::test]
async fn a_configured_subscription_is_refused() {
    let mut device = Plain::start().await;
    let config = format!(
        r#"<subscriptions xmlns="{NAMESPACE}"><subscription><id>1</id><stream>NETCONF</stream><receivers><receiver><name>a</name></receiver></receivers></subscription></subscriptions>"#
    );
    let error = match device.session.edit_config("running", &config).await {
        Err(ClientError::Refused(mut errors)) => errors.remove(0),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(error.tag, "operation-not-supported");
    let path = error.path.unwrap();
    assert!(path.contains("subscription["), "{path}");
    let filter = format!(r#"<streams xmlns="{NAMESPACE}"/>"#);
    let streams = device.session.get(Some(&filter)).await.unwrap();
    for part in [
        "<name>NETCONF</name>",
        "<replay-support/>",
        "<replay-log-creation-time>",
    ] {
        assert!(streams.contains(part), "{part}: {streams}");
    }
}
