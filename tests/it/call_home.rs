//! NETCONF call home over SSH (RFC 8071): an agent and managers that listen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{
    ADMIN_PASSWORD, Device, PATIENCE, Session, SshSession, host, options, refused, soon,
    start_agent, system,
};

const NC: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// `device-management` with this in it.
fn management(content: &str) -> String {
    format!(
        r#"<device-management xmlns="urn:tether:yang:device-management" xmlns:nc="{NC}">{content}</device-management>"#
    )
}

/// `call-home` with this in it.
fn call_home(content: &str) -> String {
    management(&format!("<call-home>{content}</call-home>"))
}

fn endpoint_at(name: &str, address: &str, port: u16) -> String {
    format!(
        "<endpoint><name>{name}</name><address>{address}</address><port>{port}</port></endpoint>"
    )
}

/// A manager that waits for calls.
struct Manager {
    listener: TcpListener,
    at: SocketAddr,
}

impl Manager {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        Self { listener, at }
    }

    fn endpoint(&self, name: &str) -> String {
        endpoint_at(name, "127.0.0.1", self.at.port())
    }

    async fn called(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// A session of `admin` with whoever calls.
    async fn session(&self) -> SshSession {
        let session = SshSession::answer(self.called().await, "admin", ADMIN_PASSWORD).await;
        session.expect("the login is refused")
    }
}

/// A port that nobody else gets and that refuses every connection until it listens.
fn deaf_port() -> (TcpSocket, SocketAddr) {
    let port = TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = port.local_addr().unwrap();
    (port, at)
}

/// A device that has called its manager, who has logged in; with more of `call-home`.
async fn connected(more: &str) -> (Manager, Device, SshSession) {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    device
        .commit(&call_home(&(manager.endpoint("nms") + more)))
        .await;
    let session = manager.session().await;
    (manager, device, session)
}

/// The leaves of the state, by name; those of `last-failure` after its own.
async fn state(session: &mut Session) -> BTreeMap<String, String> {
    let filter = call_home("<state/>");
    let data = session.get(Some(&filter)).await.unwrap();
    let leaf = |text: &str| {
        let (name, rest) = text.split_once('>')?;
        let (value, _) = rest.split_once("</")?;
        let has_value = !name.contains(['/', ' ']) && !value.contains('<');
        has_value.then(|| (name.to_owned(), value.to_owned()))
    };
    let (own, last) = data.split_once("<last-failure>").unwrap_or((&data, ""));
    let own = own.split('<').filter_map(|part| leaf(&format!("{part}</")));
    let last = last
        .split('<')
        .filter_map(|part| leaf(&format!("{part}</")));
    own.chain(last.map(|(name, value)| (format!("last-failure/{name}"), value)))
        .filter(|(_, value)| !value.trim().is_empty())
        .collect()
}

/// Asks for the state until a leaf has this value.
async fn until(device: &mut Device, leaf: &str, value: &str) -> BTreeMap<String, String> {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        loop {
            pace.tick().await;
            let state = state(&mut device.session).await;
            if state.get(leaf).is_some_and(|found| found == value) {
                return state;
            }
        }
    };
    soon(waiting).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_calls_its_manager_who_logs_in_as_any_other() {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    assert_eq!(state(&mut device.session).await["connection-state"], "idle");
    device.commit(&call_home(&manager.endpoint("nms"))).await;
    let mut called = manager.session().await;
    let monitoring = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>"#;
    let sessions = called.session.get(Some(monitoring)).await.unwrap();
    assert!(
        sessions.contains("netconf-ssh</transport>")
            && sessions.contains("<source-host>127.0.0.1<"),
        "{sessions}"
    );
    let shown = until(&mut device, "connection-state", "connected").await;
    assert_eq!(shown["endpoint"], "nms");
    assert_eq!(shown["address"], "127.0.0.1");
    assert_eq!(shown["user"], "admin");
    assert_eq!(shown["attempts"], "0");
    assert!(shown.contains_key("connected-at"), "{shown:?}");
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_not_there_is_told_why_and_called_again() {
    let (port, at) = deaf_port();
    let mut device = Device::start().await;
    device
        .commit(&call_home(&endpoint_at("nms", "127.0.0.1", at.port())))
        .await;
    let shown = until(&mut device, "connection-state", "waiting").await;
    assert_eq!(shown["last-failure/endpoint"], "nms");
    assert_eq!(shown["last-failure/reason"], "connect-failed");
    assert!(
        shown["last-failure/message"].contains("refused"),
        "{shown:?}"
    );
    assert!(shown.contains_key("next-attempt-at"), "{shown:?}");
    let manager = Manager {
        listener: port.listen(8).unwrap(),
        at,
    };
    let _session = manager.session().await;
    let shown = until(&mut device, "connection-state", "connected").await;
    assert!(!shown.contains_key("last-failure/reason"), "{shown:?}");
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_is_called_when_one_has_had_its_attempts() {
    let ((_port, at), manager) = (deaf_port(), Manager::listen().await);
    let gone = endpoint_at("gone", "127.0.0.1", at.port());
    let both = gone + &manager.endpoint("nms") + "<max-attempts>1</max-attempts>";
    let mut device = Device::start().await;
    device.commit(&call_home(&both)).await;
    let _session = manager.session().await;
    assert_eq!(
        until(&mut device, "connection-state", "connected").await["endpoint"],
        "nms"
    );
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_moves_the_device_is_answered_before_his_connection_ends() {
    let (old, new) = (Manager::listen().await, Manager::listen().await);
    let mut device = Device::start().await;
    device.commit(&call_home(&old.endpoint("nms"))).await;
    let mut called = old.session().await;
    until(&mut device, "connection-state", "connected").await;
    let moved = call_home(&new.endpoint("nms"));
    called
        .session
        .edit_config("candidate", &moved)
        .await
        .unwrap();
    called.session.commit().await.unwrap();
    called.ended().await;
    let _session = new.session().await;
    until(&mut device, "connection-state", "connected").await;
    let none = management(r#"<call-home nc:operation="delete"/>"#);
    device.commit(&none).await;
    let shown = until(&mut device, "connection-state", "idle").await;
    assert!(!shown.contains_key("endpoint"), "{shown:?}");
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_when_others_than_its_endpoint_change() {
    let (_, mut device, mut called) = connected("").await;
    let change = call_home(&format!(
        "{}<max-attempts>9</max-attempts>",
        endpoint_at("other", "192.0.2.1", 4334)
    ));
    device.commit(&change).await;
    device.commit(&system("<contact>x</contact>")).await;
    called.session.get(None).await.unwrap();
    assert_eq!(
        state(&mut device.session).await["connection-state"],
        "connected"
    );
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again() {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    device.commit(&call_home(&manager.endpoint("nms"))).await;
    for _ in 0..2 {
        drop(manager.session().await);
    }
    let _again = manager.session().await;
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_periodic_connection_ends_when_it_is_idle_but_not_with_a_subscription() {
    let periodic = "<periodic><period>1000</period><idle-timeout>1</idle-timeout></periodic>";
    let (manager, mut device, mut called) = connected(periodic).await;
    called
        .session
        .rpc(r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>"#)
        .await
        .unwrap();
    // Ended by a device that calls again: the first connection is in the way of nothing.
    tokio::time::timeout(Duration::from_millis(1500), manager.listener.accept())
        .await
        .unwrap_err();
    assert_eq!(
        state(&mut device.session).await["connection-state"],
        "connected"
    );
    drop(called);
    until(&mut device, "connection-state", "waiting").await;
    // Another period is from the end of the last connection on.
    device
        .commit(&management(
            "<call-home><periodic><period>65535</period></periodic></call-home>",
        ))
        .await;
    assert!(
        !state(&mut device.session)
            .await
            .contains_key("last-failure/reason")
    );
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_periodic_connection_is_ended_by_the_device() {
    let periodic = "<periodic><idle-timeout>1</idle-timeout></periodic>";
    let (_, mut device, mut called) = connected(periodic).await;
    called.session.get(None).await.unwrap();
    called.ended().await;
    let shown = until(&mut device, "connection-state", "waiting").await;
    assert!(!shown.contains_key("last-failure/reason"), "{shown:?}");
    device.stop().await;
}

/// What a peer does with the stream of a call.
async fn misbehave(manner: &str, mut stream: TcpStream) -> Option<TcpStream> {
    match manner {
        "silent" => Some(stream),
        "resets" => {
            stream.set_zero_linger().unwrap();
            None
        }
        "speaks http" => {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            Some(stream)
        }
        _ => {
            // Ends with an error when the device has had enough.
            let flood = vec![b'x'; 1 << 16];
            let flooding = async { while stream.write_all(&flood).await.is_ok() {} };
            soon(flooding).await;
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_no_manager_is_left_and_the_manager_is_called() {
    for (manner, reasons) in [
        ("silent", &["login-timeout"][..]),
        // The reset may come before the connection is handed on.
        ("resets", &["closed", "connect-failed"]),
        ("speaks http", &["closed", "login-timeout"]),
        ("floods", &["closed", "login-timeout"]),
    ] {
        let (stranger, manager) = (Manager::listen().await, Manager::listen().await);
        let mut device = Device::start().await;
        let both = stranger.endpoint("stranger") + &manager.endpoint("nms");
        let config = format!(
            "<limits><login-timeout>1</login-timeout></limits><call-home>{both}<max-attempts>1</max-attempts></call-home>"
        );
        device.commit(&management(&config)).await;
        let stream = stranger.called().await;
        let misbehaving = tokio::spawn(misbehave(manner, stream));
        let stream = manager.called().await;
        let shown = state(&mut device.session).await;
        assert_eq!(shown["last-failure/endpoint"], "stranger", "{manner}");
        let reason = shown["last-failure/reason"].as_str();
        assert!(reasons.contains(&reason), "{manner}: {shown:?}");
        let session = SshSession::answer(stream, "admin", ADMIN_PASSWORD).await;
        session.unwrap().session.get(None).await.unwrap();
        drop(soon(misbehaving).await);
        device.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_no_way_in_and_counts_as_no_manager() {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    device.commit(&call_home(&manager.endpoint("nms"))).await;
    let refused = SshSession::answer(manager.called().await, "admin", "wrong").await;
    assert!(refused.is_none());
    let shown = until(&mut device, "last-failure/reason", "closed").await;
    assert_eq!(shown["last-failure/endpoint"], "nms");
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_in_the_static_hosts_and_its_entry_has_a_failed_call_made_again() {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    // Nobody answers there.
    let resolver = "<dns-resolver><server><name>none</name><udp-and-tcp><address>127.0.0.1</address><port>9</port></udp-and-tcp></server><options><timeout>1</timeout><attempts>1</attempts></options></dns-resolver>";
    device.commit(&system(resolver)).await;
    device
        .commit(&call_home(&endpoint_at(
            "nms",
            "nms.example",
            manager.at.port(),
        )))
        .await;
    let failed = until(&mut device, "last-failure/reason", "dns-failed").await;
    assert!(
        failed["last-failure/message"].contains("resolved"),
        "{failed:?}"
    );
    device.commit(&host("NMS.example", "127.0.0.1")).await;
    let _session = manager.session().await;
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_connected_endpoint_is_remembered_over_a_restart() {
    let (first, second) = (Manager::listen().await, Manager::listen().await);
    let second_at = second.at;
    let directory = {
        let mut device = Device::start().await;
        let both = first.endpoint("first") + &second.endpoint("second");
        device
            .commit(&call_home(
                &(both + "<start-with>last-connected</start-with><max-attempts>1</max-attempts>"),
            ))
            .await;
        // The first does not let itself be called.
        drop(first.called().await);
        let _session = second.session().await;
        until(&mut device, "connection-state", "connected").await;
        device.stop().await.1
    };
    let second = Manager {
        at: second_at,
        ..second
    };
    let agent = start_agent(options(directory.path())).await.unwrap();
    tokio::select! {
        called = second.session() => drop(called),
        called = first.called() => panic!("the first was called: {called:?}"),
        () = tokio::time::sleep(PATIENCE) => panic!("nobody was called"),
    }
    soon(agent.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_stops_while_a_call_is_under_way_and_while_one_stands() {
    let manager = Manager::listen().await;
    let mut device = Device::start().await;
    device.commit(&call_home(&manager.endpoint("nms"))).await;
    let mut silent = manager.called().await;
    device.stop().await;
    let mut rest = Vec::new();
    // An error is an end, too.
    drop(soon(silent.read_to_end(&mut rest)).await);
    let mut device = Device::start().await;
    device.commit(&call_home(&manager.endpoint("nms"))).await;
    let called = manager.session().await;
    device.stop().await;
    called.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_is_refused_and_changes_nothing() {
    let mut device = Device::start().await;
    let nine: String = (0..9)
        .map(|n| endpoint_at(&format!("e{n}"), &format!("10.0.0.{n}"), 4334))
        .collect();
    let two = |one: &str, other: &str| endpoint_at("a", one, 4334) + &endpoint_at("b", other, 4334);
    let cases = [
        (endpoint_at("a", "0.0.0.0", 4334), "invalid-value", None),
        (endpoint_at("a", "ff02::1", 4334), "invalid-value", None),
        (
            endpoint_at("a", "fe80::1%eth0", 4334),
            "invalid-value",
            None,
        ),
        (endpoint_at("a", "10.0.0.1", 0), "invalid-value", None),
        (
            "<endpoint><name>a</name></endpoint>".to_owned(),
            "data-missing",
            None,
        ),
        (
            two("10.0.0.1", "10.0.0.1"),
            "operation-failed",
            Some("data-not-unique"),
        ),
        (
            two("nms.example", "NMS.example."),
            "operation-failed",
            Some("data-not-unique"),
        ),
        (nine, "operation-failed", Some("too-many-elements")),
        (
            "<max-attempts>0</max-attempts>".to_owned(),
            "invalid-value",
            None,
        ),
        (
            "<periodic><period>0</period></periodic>".to_owned(),
            "invalid-value",
            None,
        ),
    ];
    for (config, tag, app_tag) in cases {
        let edited = device
            .session
            .edit_config("candidate", &call_home(&config))
            .await;
        let errors = match edited {
            Ok(_) => refused(device.session.commit().await),
            refusal => refused(refusal),
        };
        assert_eq!(errors[0].tag, tag, "{config}: {errors:?}");
        assert_eq!(errors[0].app_tag.as_deref(), app_tag, "{config}");
        assert!(errors[0].path.is_some(), "{config}");
        device.session.rpc("<discard-changes/>").await.unwrap();
        assert_eq!(state(&mut device.session).await["connection-state"], "idle");
    }
    device.stop().await;
}
