//! Managers reach the device's own SSH server through the cloud: service `netconf`, yamux, SSH, NETCONF.

use std::time::Duration;

use tether::sim::cloud::What;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    ADMIN_PASSWORD, Device, SERIAL, SshSession, cloud_management, refused, registered, soon, system,
};

const SESSIONS: &str = r#"<netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/></netconf-state>"#;
const NETCONF: &str = "netconf";

impl Device {
    /// A session of `admin` through the cloud.
    async fn through_cloud(&self) -> SshSession {
        self.through_cloud_as("admin", ADMIN_PASSWORD)
            .await
            .expect("the login is refused")
    }

    async fn through_cloud_as(&self, user: &str, password: &str) -> Option<SshSession> {
        let address = self.cloud.netconf_address(SERIAL).unwrap();
        SshSession::open(address, user, password).await
    }

    /// Waits for a new subconnection `netconf`.
    async fn netconf_comes_back(&self, mark: u64) {
        self.cloud_sees(
            mark,
            |what| matches!(what, What::ServiceUp(service) if service == NETCONF),
        )
        .await;
    }
}

#[tokio::test]
async fn a_manager_reads_and_commits_through_the_cloud() {
    let mut device = Device::connected().await;
    let mut manager = device.through_cloud().await;
    let contact = system("<contact>through the tunnel</contact>");
    manager
        .session
        .edit_config("candidate", &contact)
        .await
        .unwrap();
    manager.session.commit().await.unwrap();
    let filter = system("");
    let local = device.session.get_config("running", Some(&filter)).await;
    assert!(local.unwrap().contains("through the tunnel"));
    // The server knows by which door he came, and both ends count what he says.
    let sessions = manager.session.get(Some(SESSIONS)).await.unwrap();
    assert!(
        sessions.contains("<source-host>cloud-tunnel</source-host>"),
        "{sessions}"
    );
    let state = device.state().await;
    let octets = |leaf: &str| -> u64 {
        let path = format!("subconnection[{NETCONF}]/{leaf}");
        state.get(&path).unwrap().parse().unwrap()
    };
    assert!(octets("octets-in") > 2_000 && octets("octets-out") > 2_000);
    device.stop().await;
}

#[tokio::test]
async fn sessions_through_one_tunnel_do_not_wait_for_each_other() {
    let device = Device::connected().await;
    let mut managers = Vec::new();
    for _ in 0..8 {
        managers.push(device.through_cloud().await);
    }
    for manager in managers.iter_mut().rev() {
        let sessions = manager.session.get(Some(SESSIONS)).await.unwrap();
        assert_eq!(sessions.matches("cloud-tunnel").count(), 8);
    }
    device.stop().await;
}

#[tokio::test]
async fn access_control_holds_for_those_who_come_through_the_tunnel() {
    let mut device = Device::connected().await;
    device
        .commit(&system(
            "<authentication><user><name>carol</name><password>$0$carol-Pa55</password></user></authentication>",
        ))
        .await;
    assert!(device.through_cloud_as("carol", "wrong").await.is_none());
    let mut carol = device
        .through_cloud_as("carol", "carol-Pa55")
        .await
        .unwrap();
    let contact = system("<contact>x</contact>");
    let edit = carol.session.edit_config("candidate", &contact);
    let errors = refused(edit.await);
    assert_eq!(errors[0].tag, "access-denied");
    device.stop().await;
}

#[tokio::test]
async fn a_tunnel_that_is_lost_ends_its_sessions_and_comes_back() {
    let mut device = Device::connected().await;
    let mut manager = device.through_cloud().await;
    let lock = "<lock><target><running/></target></lock>";
    manager.session.rpc(lock).await.unwrap();
    let mark = device.cloud.mark();
    device.cloud.kill_connections();
    manager.ended().await;
    device.netconf_comes_back(mark).await;
    device.up().await;
    // What the session held is free: its end was seen by the server too.
    let mut again = device.through_cloud().await;
    again.session.rpc(lock).await.unwrap();
    device.stop().await;
}

#[tokio::test]
async fn a_go_away_ends_the_sessions_and_only_this_subconnection_is_made_anew() {
    let mut device = Device::connected().await;
    let main = device.main_connection();
    let manager = device.through_cloud().await;
    let mark = device.cloud.mark();
    device.cloud.go_away(SERIAL).unwrap();
    manager.ended().await;
    device.netconf_comes_back(mark).await;
    device.up().await;
    device.through_cloud().await;
    assert_eq!(device.round_trip().await, main);
    device.stop().await;
}

#[tokio::test]
async fn with_the_service_disabled_nobody_comes_through() {
    let mut device = Device::connected().await;
    let manager = device.through_cloud().await;
    let disabled = "<service><name>netconf</name><enabled>false</enabled></service>";
    device.commit(&cloud_management(disabled)).await;
    manager.ended().await;
    let state = device
        .wait_state(|state| !state.has_entry("subconnection[netconf]"))
        .await;
    assert!(state.is("subconnection[telemetry]/state", "established"));
    let address = device.cloud.netconf_address(SERIAL).unwrap();
    let mut refused = tokio::net::TcpStream::connect(address).await.unwrap();
    let read = soon(refused.read(&mut [0; 64])).await;
    assert_eq!(read.unwrap_or(0), 0);
    device.stop().await;
}

/// Messages of one session, the whole at once, with the framing of base:1.0.
fn messages(operations: &[&str]) -> String {
    let mut messages = format!(
        r#"<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>]]>]]>"#
    );
    for (number, operation) in operations.iter().enumerate() {
        messages.push_str(&format!(
            r#"<rpc xmlns="{BASE}" message-id="m{number}">{operation}</rpc>]]>]]>"#
        ));
    }
    messages
}

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// The reply is the last of some 100 KiB that are on their way to a cloud 25 ms away when the commit is done: without
/// waiting the teardown comes before it each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_moves_the_tunnel_it_came_through_is_answered_after_all_that_was_asked_before()
 {
    let latency = Duration::from_millis(25);
    let mut device = Device::start_far_away(registered(), latency).await;
    device.configure_cloud().await;
    device.up().await;
    let address = device.cloud.netconf_address(SERIAL).unwrap();
    let mut manager = SshSession::by_hand(address, "admin", ADMIN_PASSWORD).await;
    let mark = device.cloud.mark();
    let interval = cloud_management("<server><source-ip>127.0.0.1</source-ip></server>");
    let edit = format!(
        "<edit-config><target><candidate/></target><config>{interval}</config></edit-config>"
    );
    let asked = messages(&[&edit, "<get/>", "<get/>", "<get/>", "<get/>", "<commit/>"]);
    manager.stream.write_all(asked.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // The end of the connection may well be an error: what counts is what came before.
    let _ = soon(manager.stream.read_to_end(&mut said)).await;
    let said = String::from_utf8(said).unwrap();
    assert!(said.len() > 100_000, "{}", said.len());
    let last = said.trim_end_matches("]]>]]>").rsplit("]]>]]>").next();
    let last = last.unwrap();
    assert!(last.contains("\"m5\"") && last.contains("<ok/>"), "{last}");
    device.netconf_comes_back(mark).await;
    let state = device.up().await;
    assert!(state.is("last-down/reason", "configuration-changed"));
    device.stop().await;
}

/// How often a reply meets the teardown that it announces.
const TIMES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_moves_the_tunnel_it_came_through_is_answered_first() {
    let mut device = Device::connected().await;
    let first = device.cloud.addr().port();
    let address = "127.0.0.1:0".parse().unwrap();
    let second = device.cloud.listen(address).await.unwrap().port();
    for time in 0..TIMES {
        let mut manager = device.through_cloud().await;
        let mark = device.cloud.mark();
        let port = [second, first][time % 2];
        let server = cloud_management(&format!("<server><port>{port}</port></server>"));
        let edit = manager.session.edit_config("candidate", &server);
        edit.await.unwrap();
        // An error of the transport here is the reply that was lost.
        let commit = manager.session.commit().await;
        commit.unwrap_or_else(|error| panic!("commit {time}: {error}"));
        manager.ended().await;
        device.netconf_comes_back(mark).await;
        let state = device.up().await;
        assert!(state.is("server-port", &port.to_string()));
        assert!(state.is("last-down/reason", "configuration-changed"));
    }
    device.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_the_tunnel_it_came_through_is_answered_first() {
    let mut device = Device::connected().await;
    let reset = cloud_management("<reset-tunnel/>");
    let rpc = format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{reset}</action>"#);
    for time in 0..10 {
        let mut manager = device.through_cloud().await;
        let mark = device.cloud.mark();
        let done = manager.session.rpc(&rpc).await;
        done.unwrap_or_else(|error| panic!("reset {time}: {error}"));
        manager.ended().await;
        device.netconf_comes_back(mark).await;
        device.up().await;
    }
    device.stop().await;
}
