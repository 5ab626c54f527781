//! RFC 5277 and 6470: subscriptions to the stream of events, and what comes in it.

mod accounting;
mod cloud;
mod ends;
mod load;
mod push;
mod subscribed;

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tether::netconf::session::Peer;
use tether::protocol::client::{Client, ClientError, ReportedError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::served::{Served, Session, peer};
use crate::support::{Device, Plain, cloud_management, soon};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";
const NOTICES: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications";

fn create(parameters: &str) -> String {
    format!(r#"<create-subscription xmlns="{NAMESPACE}">{parameters}</create-subscription>"#)
}

async fn subscribe<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, parameters: &str) {
    let reply = session.rpc(&create(parameters)).await.unwrap();
    assert!(reply.starts_with("<ok"), "{reply}");
}

async fn refused<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    operation: &str,
) -> ReportedError {
    match session.rpc(operation).await {
        Err(ClientError::Refused(mut errors)) if errors.len() == 1 => errors.remove(0),
        other => panic!("{operation}: {other:?}"),
    }
}

/// The next notification with this name; those before it are of no interest.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, name: &str) -> String {
    loop {
        let told = session.notification().await.unwrap();
        assert!(told.starts_with("<eventTime"), "{told}");
        if told.contains(&format!("<{name} ")) {
            return told;
        }
    }
}

async fn edit<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, seconds: u16) {
    let config = keepalive(seconds);
    session.edit_config("running", &config).await.unwrap();
}

fn keepalive(seconds: u16) -> String {
    let leaf = format!("<keepalive-interval>{seconds}</keepalive-interval>");
    cloud_management(&leaf)
}

fn only(name: &str, content: &str) -> String {
    format!(r#"<filter type="subtree"><{name} xmlns="{NOTICES}">{content}</{name}></filter>"#)
}

fn date(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

fn start(time: DateTime<Utc>) -> String {
    format!("<startTime>{}</startTime>", date(time))
}

fn stop(time: DateTime<Utc>) -> String {
    format!("<stopTime>{}</stopTime>", date(time))
}

/// A device with a session that subscribes and one that does things.
async fn both(parameters: &str) -> (Served, Session, Session) {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    subscribe(&mut listener, parameters).await;
    let manager = device.login("admin").await;
    (device, listener, manager)
}

#[tokio::test(start_paused = true)]
async fn it_is_announced() {
    let device = Served::start();
    let session = device.login("admin").await;
    for capability in ["notification:1.0", "interleave:1.0"] {
        let uri = format!("urn:ietf:params:netconf:capability:{capability}");
        assert!(session.server().capabilities.contains(&uri), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_told_with_its_edits_and_with_who_made_it() {
    let (_device, mut listener, mut manager) = both("").await;
    edit(&mut manager, 60).await;
    let told = next(&mut listener, "netconf-config-change").await;
    let number = manager.session_id();
    let by = format!("<username>admin</username><session-id>{number}</session-id>");
    for part in [
        &by,
        "<operation>create</operation>",
        ":cloud-management/",
        ":keepalive-interval</target>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(told.matches("<edit>").count(), 1, "{told}");
    assert!(
        !told.contains("<datastore"),
        "running is the default: {told}"
    );
    edit(&mut manager, 61).await;
    let told = next(&mut listener, "netconf-config-change").await;
    assert!(told.contains("<operation>replace</operation>"), "{told}");
    let delete = cloud_management(
        r#"<keepalive-interval xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="delete"/>"#,
    );
    manager.edit_config("running", &delete).await.unwrap();
    let told = next(&mut listener, "netconf-config-change").await;
    assert!(told.contains("<operation>delete</operation>"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_is_not_told() {
    let (_device, mut listener, mut manager) = both("").await;
    edit(&mut manager, 60).await;
    edit(&mut manager, 60).await;
    manager.commit().await.unwrap();
    edit(&mut manager, 61).await;
    next(&mut listener, "netconf-config-change").await;
    let second = next(&mut listener, "netconf-config-change").await;
    assert!(
        second.contains("<operation>replace</operation>"),
        "{second}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_very_many_nodes_names_what_they_have_in_common() {
    let (_device, mut listener, mut manager) = both("").await;
    let hosts: String = (0..1001)
        .map(|n| format!(r#"<host xmlns="urn:tether:yang:device-hosts"><name>h{n}</name><address>10.0.0.1</address></host>"#))
        .collect();
    let config = format!(
        r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver>{hosts}</dns-resolver></system>"#
    );
    manager.edit_config("running", &config).await.unwrap();
    let told = next(&mut listener, "netconf-config-change").await;
    assert_eq!(told.matches("<edit>").count(), 1);
    assert!(told.contains(":system</target><operation>merge<"), "{told}");
}

#[tokio::test]
async fn a_filter_picks_events_and_leaves_them_whole() {
    let inside = r#"<changed-by><username>admin</username></changed-by>"#;
    let xpath = format!(
        r#"<filter type="xpath" xmlns:n="{NOTICES}" select="/n:netconf-config-change[n:edit/n:operation='create']"/>"#
    );
    for filter in [only("netconf-config-change", inside), xpath] {
        let (device, mut listener, mut manager) = both(&filter).await;
        device.login("admin").await.close().await.unwrap();
        edit(&mut manager, 60).await;
        let told = listener.notification().await.unwrap();
        assert!(told.contains("<netconf-config-change"), "{told}");
        assert!(told.contains("<edit>"), "{told}");
    }
    let nobody = r#"<changed-by><username>nobody</username></changed-by>"#;
    let filters = only("netconf-config-change", nobody).replace("</filter>", "")
        + &format!(r#"<netconf-session-end xmlns="{NOTICES}"/></filter>"#);
    let (device, mut listener, mut manager) = both(&filters).await;
    edit(&mut manager, 60).await;
    device.login("admin").await.close().await.unwrap();
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-session-end"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let device = Served::start();
    let mut session = device.login("admin").await;
    let hour = TimeDelta::hours(1);
    let (past, future) = (now() - hour, now() + hour);
    let cases = [
        (
            "<stream>OTHER</stream>".to_owned(),
            "invalid-value",
            "stream",
        ),
        (start(future), "bad-element", "startTime"),
        (stop(future), "missing-element", "startTime"),
        (start(past) + &stop(past - hour), "bad-element", "stopTime"),
        (
            "<startTime>yesterday</startTime>".to_owned(),
            "invalid-value",
            "startTime",
        ),
        ("<until/>".to_owned(), "unknown-element", "until"),
    ];
    for (parameters, tag, element) in cases {
        let error = refused(&mut session, &create(&parameters)).await;
        assert_eq!(error.tag, tag, "{parameters}");
        let bad = ("bad-element".to_owned(), element.to_owned());
        assert!(error.info.contains(&bad), "{parameters}: {error:?}");
    }
    let filter = r#"<filter type="xpath" select="/["/>"#;
    let error = refused(&mut session, &create(filter)).await;
    assert_eq!(error.tag, "invalid-value");
}

#[tokio::test(start_paused = true)]
async fn a_session_has_one_subscription_and_does_all_else_meanwhile() {
    let (_device, mut listener, _manager) = both("").await;
    let error = refused(&mut listener, &create("")).await;
    assert_eq!(error.tag, "operation-failed");
    edit(&mut listener, 60).await;
    let told = next(&mut listener, "netconf-config-change").await;
    assert!(told.contains("<operation>create</operation>"));
    listener.get(None).await.unwrap();
    listener.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sessions_come_and_go_with_a_reason() {
    let (device, mut listener, mut manager) = both("").await;
    let told = next(&mut listener, "netconf-session-start").await;
    let number = manager.session_id();
    assert!(told.contains(&format!("<session-id>{number}</session-id>")));
    let other = device.login("admin").await;
    let killed = other.session_id();
    let kill = format!("<kill-session><session-id>{killed}</session-id></kill-session>");
    manager.rpc(&kill).await.unwrap();
    let told = next(&mut listener, "netconf-session-end").await;
    let by = format!("<killed-by>{number}</killed-by>");
    assert!(told.contains(&by), "{told}");
    assert!(told.contains("<termination-reason>killed<"), "{told}");
    manager.close().await.unwrap();
    let told = next(&mut listener, "netconf-session-end").await;
    assert!(told.contains("<termination-reason>closed<"), "{told}");
    drop(device.login("admin").await);
    let told = next(&mut listener, "netconf-session-end").await;
    assert!(told.contains("<termination-reason>dropped<"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_no_address_is_left_out() {
    let device = Served::start();
    let mut listener = device.login("admin").await;
    subscribe(&mut listener, "").await;
    for (source, host) in [
        ("192.0.2.7", Some("<source-host>192.0.2.7</source-host>")),
        ("cloud-tunnel", None),
    ] {
        let peer = Peer {
            source: Some(source.to_owned()),
            ..peer("admin")
        };
        let _session = device.login_as(peer).await;
        let told = next(&mut listener, "netconf-session-start").await;
        assert_eq!(told.contains("<source-host>"), host.is_some(), "{told}");
        assert!(told.contains(host.unwrap_or_default()), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_confirmed_commit_is_told() {
    let (_device, mut listener, mut manager) = both("").await;
    let confirmed = "<commit><confirmed/><confirm-timeout>10</confirm-timeout></commit>";
    let candidate = |seconds| keepalive(seconds);
    manager
        .edit_config("candidate", &candidate(60))
        .await
        .unwrap();
    manager.rpc(confirmed).await.unwrap();
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(
        told.contains("<confirm-event>start</confirm-event><timeout>10</timeout>"),
        "{told}"
    );
    manager.rpc(confirmed).await.unwrap();
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(told.contains("<confirm-event>extend<"), "{told}");
    manager.commit().await.unwrap();
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(told.contains("<confirm-event>complete<"), "{told}");

    manager
        .edit_config("candidate", &candidate(61))
        .await
        .unwrap();
    manager.rpc(confirmed).await.unwrap();
    manager.rpc("<cancel-commit/>").await.unwrap();
    next(&mut listener, "netconf-confirmed-commit").await;
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(told.contains("<confirm-event>cancel<"), "{told}");
    assert!(told.contains("<username>admin<"), "{told}");

    manager
        .edit_config("candidate", &candidate(62))
        .await
        .unwrap();
    manager.rpc(confirmed).await.unwrap();
    next(&mut listener, "netconf-confirmed-commit").await;
    let told = next(&mut listener, "netconf-config-change").await;
    assert!(
        told.contains("<server/>"),
        "the agent itself takes it back: {told}"
    );
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(told.contains("<confirm-event>timeout<"), "{told}");
    assert!(!told.contains("<username>"), "{told}");

    manager
        .edit_config("candidate", &candidate(63))
        .await
        .unwrap();
    manager.rpc(confirmed).await.unwrap();
    next(&mut listener, "netconf-confirmed-commit").await;
    drop(manager);
    let told = next(&mut listener, "netconf-confirmed-commit").await;
    assert!(
        told.contains("<confirm-event>cancel<"),
        "its session is over: {told}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_comes_first_and_says_where_it_ends() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let begun = now() - TimeDelta::milliseconds(1);
    edit(&mut manager, 60).await;
    let mut listener = device.login("admin").await;
    let filter = only("netconf-config-change", "");
    // The change is put in words after it was answered.
    let mut waiting = device.login("admin").await;
    subscribe(&mut waiting, &(start(begun) + &filter)).await;
    next(&mut waiting, "netconf-config-change").await;
    subscribe(&mut listener, &(filter + &start(begun))).await;
    edit(&mut manager, 61).await;
    let past = listener.notification().await.unwrap();
    assert!(past.contains("<operation>create<"), "{past}");
    let complete = listener.notification().await.unwrap();
    assert!(complete.contains("<replayComplete "), "{complete}");
    let new = listener.notification().await.unwrap();
    assert!(new.contains("<operation>replace<"), "{new}");
}

#[tokio::test]
async fn a_subscription_ends_at_its_stop_time() {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let begun = now() - TimeDelta::hours(1);
    let past = start(begun) + &stop(begun + TimeDelta::minutes(1));
    subscribe(&mut manager, &past).await;
    let told = manager.notification().await.unwrap();
    assert!(told.contains("<replayComplete "), "{told}");
    let told = manager.notification().await.unwrap();
    assert!(told.contains("<notificationComplete "), "{told}");
    // The session is an ordinary one again.
    let soon = start(begun) + &stop(now() + TimeDelta::milliseconds(300));
    subscribe(&mut manager, &soon).await;
    next(&mut manager, "replayComplete").await;
    next(&mut manager, "notificationComplete").await;
    edit(&mut manager, 60).await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_too_slowly_loses_his_subscription_and_nothing_else() {
    let (_device, mut listener, mut manager) = both("").await;
    // The log holds 100 events and the stream to the listener so many octets.
    for seconds in 10..600 {
        edit(&mut manager, seconds).await;
    }
    let mut told = 0;
    loop {
        let event = soon(listener.notification()).await.unwrap();
        if event.contains("<notificationComplete ") {
            break;
        }
        told += 1;
    }
    assert!(told < 590, "{told}");
    edit(&mut listener, 10).await;
    subscribe(&mut listener, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_subscription_is_never_idle() {
    let (device, mut listener, manager) = both("").await;
    drop(manager);
    device.limits.send_modify(|limits| {
        let limits = std::sync::Arc::make_mut(limits);
        limits.idle_timeout = std::time::Duration::from_secs(5);
    });
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    listener.get(None).await.unwrap();
}

fn nacm(rules: &str) -> String {
    format!(
        r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><groups><group><name>ops</name><user-name>bob</user-name></group></groups><rule-list><name>ops</name><group>ops</group>{rules}</rule-list></nacm>"#
    )
}

fn rule(name: &str, content: &str, action: &str) -> String {
    format!("<rule><name>{name}</name>{content}<action>{action}</action></rule>")
}

/// A device on which these rules go for `bob`.
async fn with_rules(rules: &str) -> Served {
    let device = Served::start();
    let mut manager = device.login("admin").await;
    let edited = manager.edit_config("running", &nacm(rules)).await;
    edited.unwrap();
    manager.close().await.unwrap();
    device
}

#[tokio::test(start_paused = true)]
async fn access_control_says_who_hears_what() {
    let module = "<module-name>ietf-netconf-notifications</module-name>";
    let denied = rule(
        "no-sessions",
        &format!("{module}<notification-name>netconf-session-start</notification-name>"),
        "deny",
    );
    let device = with_rules(&denied).await;
    let mut listener = device.login("bob").await;
    subscribe(&mut listener, "").await;
    let mut manager = device.login("admin").await;
    edit(&mut manager, 60).await;
    let told = listener.notification().await.unwrap();
    assert!(told.contains("<netconf-config-change"), "{told}");
    let filter = r#"<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"><denied-notifications/></nacm>"#;
    let counted = manager.get(Some(filter)).await.unwrap();
    assert!(counted.contains("<denied-notifications>1<"), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_subscribe_is_told_so() {
    let content =
        "<module-name>notifications</module-name><rpc-name>create-subscription</rpc-name>";
    let device = with_rules(&rule("no-subscription", content, "deny")).await;
    let mut listener = device.login("bob").await;
    let error = refused(&mut listener, &create("")).await;
    assert_eq!(error.tag, "access-denied");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_a_user_may_not_read_is_kept_from_him() {
    let path =
        r#"<path xmlns:s="urn:ietf:params:xml:ns:yang:ietf-system">/s:system/s:contact</path>"#;
    let device = with_rules(&rule("no-contact", path, "deny")).await;
    let mut listener = device.login("bob").await;
    let filter = only("netconf-config-change", "");
    subscribe(&mut listener, &filter).await;
    let mut manager = device.login("admin").await;
    let system = |content: &str| {
        format!(r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">{content}</system>"#)
    };
    let hidden = system("<contact>a</contact>");
    manager.edit_config("running", &hidden).await.unwrap();
    let both = system("<contact>b</contact><location>c</location>");
    manager.edit_config("running", &both).await.unwrap();
    let told = listener.notification().await.unwrap();
    assert_eq!(told.matches("<edit>").count(), 1, "{told}");
    assert!(told.contains(":location</target>"), "{told}");
    assert!(!told.contains("contact"), "{told}");
}

#[tokio::test]
async fn the_log_survives_a_restart() {
    let mut device = Plain::start().await;
    let begun = now() - TimeDelta::milliseconds(1);
    edit(&mut device.session, 60).await;
    let mut device = device.restart().await;
    let filter = only("netconf-config-change", "");
    subscribe(&mut device.session, &(filter + &start(begun))).await;
    let told = device.session.notification().await.unwrap();
    assert!(told.contains(":keepalive-interval</target>"), "{told}");
    next(&mut device.session, "replayComplete").await;
}

#[tokio::test]
async fn the_stream_and_its_log_are_in_the_state() {
    let mut device = Plain::start().await;
    let filter = r#"<netconf xmlns="urn:ietf:params:xml:ns:netmod:notification"/>"#;
    let state = device.session.get(Some(filter)).await.unwrap();
    for part in [
        "<name>NETCONF</name>",
        "<replaySupport>true<",
        "<replayLogCreationTime>",
    ] {
        assert!(state.contains(part), "{part}: {state}");
    }
    assert!(!state.contains("replayLogAgedTime"), "{state}");
    let losses = r#"<device-management xmlns="urn:tether:yang:device-management"><notifications/></device-management>"#;
    let losses = device.session.get(Some(losses)).await.unwrap();
    for part in [
        "<newest-event>1<",
        "<lost-subscriptions>0<",
        "<lost-events>0<",
        "<untold-changes>0<",
    ] {
        assert!(losses.contains(part), "{part}: {losses}");
    }
    device
        .commit(r#"<device-management xmlns="urn:tether:yang:device-management"><limits><replay-events>1</replay-events></limits></device-management>"#)
        .await;
    let aged = async {
        while !device
            .session
            .get(Some(filter))
            .await
            .unwrap()
            .contains("replayLogAgedTime")
        {}
    };
    soon(aged).await;
}

#[tokio::test]
async fn what_happens_to_the_cloud_connection_is_told() {
    let mut device = Device::start().await;
    let mut listener = device.open().await;
    subscribe(&mut listener, "").await;
    device.configure_cloud().await;
    let told = next(&mut listener, "connection-state-changed").await;
    assert!(told.contains("<connection-state>request<"), "{told}");
    let told = next(&mut listener, "connection-state-changed").await;
    assert!(told.contains("<connection-state>established<"), "{told}");
}

#[tokio::test]
async fn a_start_with_other_modules_tells_of_them() {
    let device = Plain::start().await;
    let begun = now() - TimeDelta::milliseconds(1);
    let mut device = device.restart().await;
    let same = start(begun) + &only("netconf-capability-change", "");
    subscribe(&mut device.session, &same).await;
    let told = device.session.notification().await.unwrap();
    assert!(told.contains("<replayComplete "), "nothing changed: {told}");
    let directory = device.stop().await;
    let options = crate::support::options(directory.path());
    let mut device = Plain::start_in(directory, options).await.unwrap();
    subscribe(&mut device.session, &start(begun)).await;
    let told = next(&mut device.session, "netconf-capability-change").await;
    assert!(
        told.contains("<modified-capability>urn:ietf:params:netconf:capability:yang-library:1.1?"),
        "{told}"
    );
    let told = next(&mut device.session, "yang-library-update").await;
    assert!(told.contains("<content-id>"), "{told}");
}
