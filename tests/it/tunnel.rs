//! The tunnel with its driver against the reference cloud: commits and actions go in at the face that the datastore
//! sees, and both ends are asked what became of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tether::datastore::subscriber::{Change, ConfigSubscriber, Direction, StateProvider};
use tether::model::network::{Interface, Network};
use tether::model::paths;
use tether::model::schema::Schema;
use tether::model::secret::SecretKey;
use tether::model::status::{
    CloudStatus, ConnectionState, DeviceState, FailureReason, LastDownReason, SubconnectionState,
    UnbindingState,
};
use tether::model::tree::Tree;
use tether::sim::cloud::{
    Channel, Cloud, CloudConfig, Device, Event, Flaw, Misbehaviour, Step, What,
};
use tether::tunnel::CloudConnection;
use tether::tunnel::driver::{self, Handle, Identity, Setup};
use tether::tunnel::net::Surroundings;
use tether::tunnel::record::{Record, TunnelStore};
use tether::tunnel::service::Modules;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const SERIAL: &str = "210235A1XXX000000001";
const PASSWORD: &str = "cloud-Pa55";
const WAIT: Duration = Duration::from_secs(10);

/// Keeps the last record, on a disk that takes so long.
#[derive(Default)]
pub struct Memory(Mutex<Vec<u8>>, Duration);

impl TunnelStore for Memory {
    fn save(&self, record: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        std::thread::sleep(self.1);
        *self.0.lock().unwrap() = record.to_vec();
        Ok(())
    }
}

/// What the test configures; the rest stays as it is.
#[derive(Clone)]
pub struct Settings {
    password: &'static str,
    interval: u16,
    code: Option<&'static str>,
    port: u16,
}

/// A device with its cloud.
pub struct Pair {
    pub cloud: Cloud,
    schema: Schema,
    key: Arc<SecretKey>,
    connection: CloudConnection,
    pub handle: Handle,
    store: Arc<Memory>,
    stop: watch::Sender<bool>,
    network: watch::Sender<Arc<Network>>,
    task: JoinHandle<()>,
    running: Tree,
    settings: Settings,
    changes: u64,
}

impl Pair {
    pub async fn start(device: Device) -> Self {
        Self::with_record(device, Arc::default()).await
    }

    /// Each byte between them is so much later, in each direction.
    pub async fn far_away(device: Device, latency: Duration) -> Self {
        Self::with(device, latency, Arc::default()).await
    }

    async fn with_record(device: Device, store: Arc<Memory>) -> Self {
        Self::with(device, Duration::ZERO, store).await
    }

    async fn with(device: Device, latency: Duration, store: Arc<Memory>) -> Self {
        let cloud = Cloud::start(CloudConfig {
            names: vec!["cloud.com".into(), "127.0.0.1".into()],
            devices: vec![device],
            latency,
            ..CloudConfig::default()
        });
        let cloud = cloud.await.unwrap();
        let schema = Schema::load(&[]).unwrap();
        let key = Arc::new(SecretKey::new(&[7; 32]));
        let record = Record::from_bytes(&store.0.lock().unwrap(), SERIAL);
        let (stop, stopped) = watch::channel(false);
        let network = watch::Sender::new(Arc::default());
        let setup = Setup {
            seed: 1,
            identity: Identity {
                serial_number: SERIAL.into(),
                model: "unknown".into(),
                software: "tether/0.1.0".into(),
            },
            surroundings: Surroundings::default(),
            findings: watch::channel(Arc::default()).1,
            network: network.subscribe(),
            record,
            store: store.clone(),
            announce: CloudConnection::announce(schema, |_, _| {}),
            print_state: CloudConnection::print_state(schema),
            modules: Modules::default(),
            answered: Box::new(|| Box::pin(std::future::ready(()))),
        };
        let (handle, task) = driver::start(setup, stopped);
        let connection = CloudConnection::new(handle.clone(), schema, key.clone());
        let settings = Settings {
            password: PASSWORD,
            interval: 180,
            code: None,
            port: cloud.addr().port(),
        };
        Self {
            cloud,
            schema,
            key,
            connection,
            handle,
            store,
            stop,
            network,
            task,
            running: Tree::new(schema),
            settings,
            changes: 0,
        }
    }

    /// Commits the settings.
    pub fn commit(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.changes += 1;
        let settings = &self.settings;
        let password = self.key.seal(settings.password, [1; 12]).unwrap();
        let code = settings.code.map_or(String::new(), |code| {
            format!("<unbinding-code>{code}</unbinding-code>")
        });
        let xml = format!(
            r#"<cloud-management xmlns="urn:tether:yang:cloud-management">
                 <server><domain>cloud.com</domain><port>{}</port><password>{password}</password></server>
                 <keepalive-interval>{}</keepalive-interval>{code}
                 <trust><trust-anchor><name>test</name><certificate>{}</certificate></trust-anchor></trust>
               </cloud-management>
               <system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver>
                 <host xmlns="urn:tether:yang:device-hosts"><name>cloud.com</name><address>127.0.0.1</address></host>
               </dns-resolver></system>"#,
            settings.port,
            settings.interval,
            self.cloud.ca_pem(),
        );
        let new = Tree::parse_config(self.schema, &xml).unwrap();
        let diff = self.running.diff(&new).unwrap();
        let change = Change {
            old: &self.running,
            new: &new,
            diff: &diff,
            at_start: false,
            number: self.changes,
            direction: Direction::Onward,
        };
        self.connection.prepare(&change).unwrap().apply();
        self.running = new;
    }

    fn act(&self, path: &str, input: &[(&str, &str)]) {
        let mut tree = Tree::new(self.schema);
        tree.set(path, None).unwrap();
        for (leaf, value) in input {
            tree.set(&format!("{path}/{leaf}"), Some(value)).unwrap();
        }
        let mut actions = self.connection.actions();
        let action = actions.iter_mut().find(|(other, _)| *other == path);
        action.unwrap().1.act(&tree).unwrap();
    }

    pub async fn until(&self, wanted: impl Fn(&CloudStatus) -> bool) -> Arc<CloudStatus> {
        let waiting = self.handle.wait_for(|status| wanted(status));
        match tokio::time::timeout(WAIT, waiting).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("never came: {:#?}", self.handle.status()),
        }
    }

    pub async fn up(&self) -> Arc<CloudStatus> {
        self.until(|status| {
            status.device == DeviceState::RequestSuccess
                && status
                    .subconnections
                    .iter()
                    .any(|one| one.state == SubconnectionState::Established)
        })
        .await
    }

    pub async fn cloud_sees(&self, mark: u64, matches: impl Fn(&What) -> bool) -> Event {
        let seen = self
            .cloud
            .wait_after(mark, |event| matches(&event.what), WAIT);
        seen.await.unwrap()
    }

    fn state(&self, leaf: &str) -> Option<String> {
        let mut tree = Tree::new(self.schema);
        self.connection.state(&mut tree);
        tree.value(&format!("{}/{leaf}", paths::CLOUD_STATE))
    }

    fn record(&self) -> Record {
        Record::from_bytes(&self.store.0.lock().unwrap(), SERIAL)
    }

    pub async fn end(self) -> Arc<Memory> {
        self.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .unwrap()
            .unwrap();
        self.store
    }
}

pub fn device() -> Device {
    Device::new(SERIAL).password(PASSWORD)
}

#[tokio::test]
async fn a_commit_brings_the_tunnel_up_and_the_state_tells_of_it() {
    let mut pair = Pair::start(device()).await;
    assert_eq!(pair.state("device-state").as_deref(), Some("idle"));
    pair.commit(|_| {});
    pair.up().await;
    for (leaf, expected) in [
        ("connection-state", "established"),
        ("device-state", "request-success"),
        ("process-state", "message-received"),
        ("server-domain", "cloud.com"),
        ("server-address", "127.0.0.1"),
        ("password-origin", "configured"),
        ("subconnection[service='telemetry']/state", "established"),
    ] {
        assert_eq!(pair.state(leaf).as_deref(), Some(expected), "{leaf}");
    }
    assert_eq!(pair.state("failure-reason"), None);
    // Both ends count the same: one connection for steps 1 to 6, one for the subconnection.
    assert_eq!(pair.cloud.counters().mains, 1);
    pair.cloud_sees(0, |what| {
        matches!(what, What::Telemetry { notification } if notification == "ietf-yang-push:push-update")
    })
    .await;
    pair.cloud_sees(0, |what| {
        matches!(what, What::Telemetry { notification }
            if notification == "cloud-management:connection-state-changed")
    })
    .await;
    pair.end().await;
}

#[tokio::test]
async fn a_changed_interval_keeps_the_tunnel_and_a_changed_password_does_not() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.commit(|settings| settings.interval = 10);
    pair.commit(|settings| settings.interval = 20);
    let mark = pair.cloud.mark();
    pair.cloud.set_password(SERIAL, Some("another"));
    assert_eq!(pair.handle.status().connected_at, before.connected_at);
    pair.commit(|settings| settings.password = "another");
    let registered = pair
        .cloud_sees(mark, |what| matches!(what, What::Registered { .. }))
        .await;
    let What::Registered {
        last_down_reason, ..
    } = registered.what
    else {
        panic!("not registered")
    };
    assert_eq!(last_down_reason.as_deref(), Some("configuration-changed"));
    pair.until(|status| status.connected_at > before.connected_at)
        .await;
    assert_eq!(pair.cloud.counters().mains, 2);
    pair.end().await;
}

#[tokio::test]
async fn a_wrong_password_waits_and_the_right_one_wakes() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|settings| settings.password = "wrong");
    let refused = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(refused.failure, Some(FailureReason::PasswordRefused));
    assert!(pair.state("next-attempt-at").is_some());
    pair.commit(|settings| settings.password = PASSWORD);
    pair.up().await;
    pair.end().await;
}

#[tokio::test]
async fn an_establishment_bears_the_number_of_the_change_whose_target_it_has() {
    let mut pair = Pair::start(device()).await;
    let mut standing = pair.handle.standing();
    let mut reaches = async |number| {
        let reached = standing.wait_for(|standing| standing.reached >= number);
        let reached = tokio::time::timeout(WAIT, reached).await.unwrap().unwrap();
        assert_eq!(reached.reached, number);
    };
    pair.commit(|_| {});
    reaches(1).await;
    // The tunnel stays, so it is established under this one, too.
    pair.commit(|settings| settings.interval = 170);
    reaches(2).await;
    pair.commit(|settings| settings.password = "wrong");
    let waiting = |status: &CloudStatus| status.failure == Some(FailureReason::PasswordRefused);
    pair.until(waiting).await;
    let standing_now = pair.handle.standing().borrow().clone();
    assert_eq!((standing_now.tunnel, standing_now.reached), (None, 2));
    pair.commit(|settings| settings.password = PASSWORD);
    reaches(4).await;
    pair.end().await;
}

#[tokio::test]
async fn reset_tunnel_makes_a_new_tunnel() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.act(paths::RESET_TUNNEL, &[]);
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::ResetByOperator));
    pair.end().await;
}

#[tokio::test]
async fn a_tunnel_whose_address_leaves_the_device_is_made_anew_at_once() {
    let mut pair = Pair::start(device()).await;
    let with_address = |address: [u8; 4]| {
        let interface = Interface {
            addresses: vec![address.into()],
            ..Interface::default()
        };
        Arc::new(Network {
            interfaces: [("lo".to_owned(), interface)].into(),
            route_changes: 0,
        })
    };
    pair.network.send_replace(with_address([127, 0, 0, 1]));
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.network.send_replace(with_address([192, 0, 2, 1]));
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::NetworkChanged));
    pair.cloud_sees(mark, |what| {
        matches!(
            what,
            What::PeerClosed {
                channel: Channel::Main,
                code: 1001,
                ..
            }
        )
    })
    .await;
    pair.end().await;
}

#[tokio::test]
async fn a_code_given_while_the_tunnel_is_down_is_kept_and_sent_after_a_restart() {
    let device = || device().bound_to("someone").unbinding_code("4711");
    let pair = Pair::start(device()).await;
    pair.act(paths::UNBIND, &[("code", "4711")]);
    pair.until(|status| status.unbinding.state == UnbindingState::Pending)
        .await;
    let store = pair.end().await;
    let mut pair = Pair::with_record(device(), store).await;
    assert_eq!(pair.record().unbinding.state, UnbindingState::Pending);
    pair.commit(|_| {});
    let up = pair.up().await;
    assert_eq!(up.unbinding.state, UnbindingState::Accepted);
    assert_eq!(up.unbinding.id, 1);
    assert_eq!(pair.cloud.bound_to(SERIAL), None);
    let store = pair.end().await;
    let record = Record::from_bytes(&store.0.lock().unwrap(), SERIAL);
    assert_eq!(record.unbinding.state, UnbindingState::Accepted);
}

#[tokio::test]
async fn a_code_leaves_once_it_is_stored_with_its_number() {
    let disk = Memory(Mutex::default(), Duration::from_millis(300));
    let device = device().bound_to("someone").unbinding_code("4711");
    let mut pair = Pair::with_record(device, Arc::new(disk)).await;
    // Within the authentication, since the device is another user's.
    pair.commit(|settings| settings.code = Some("4711"));
    pair.up().await;
    // And on the live tunnel.
    let mark = pair.cloud.mark();
    pair.act(paths::UNBIND, &[("code", "4712")]);
    pair.cloud_sees(mark, |what| matches!(what, What::Unbind { .. }))
        .await;
    let stored = pair.record().unbinding;
    assert_eq!(stored.id, 2, "the cloud has it and the disk has not");
    pair.end().await;
}

#[tokio::test]
async fn a_code_in_a_commit_is_sent_on_the_live_tunnel() {
    let mut pair = Pair::start(device().unbinding_code("4711")).await;
    pair.commit(|_| {});
    pair.up().await;
    let mark = pair.cloud.mark();
    pair.commit(|settings| settings.code = Some("4712"));
    let answered = pair
        .until(|status| status.unbinding.state == UnbindingState::Refused)
        .await;
    assert_eq!(answered.unbinding.reason.as_deref(), Some("code-invalid"));
    pair.commit(|settings| settings.code = Some("4711"));
    pair.until(|status| status.unbinding.state == UnbindingState::Accepted)
        .await;
    pair.cloud_sees(mark, |what| {
        matches!(what, What::Telemetry { notification } if notification == "cloud-management:unbinding-answered")
    })
    .await;
    assert_eq!(pair.cloud.counters().mains, 1);
    pair.end().await;
}

#[tokio::test]
async fn the_end_of_the_agent_is_told_to_the_cloud_and_remembered() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    pair.up().await;
    let mark = pair.cloud.mark();
    pair.stop.send(true).unwrap();
    for channel in [Channel::Main, Channel::Service("telemetry".into())] {
        pair.cloud_sees(mark, |what| {
            matches!(what, What::PeerClosed { channel: closed, code: 1001, .. } if *closed == channel)
        })
        .await;
    }
    tokio::time::timeout(WAIT, &mut pair.task)
        .await
        .unwrap()
        .unwrap();
    let down = pair.record().last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::Shutdown));
    assert_eq!(
        pair.handle.status().connection,
        ConnectionState::Unconnected
    );
}

#[tokio::test]
async fn a_lost_subconnection_comes_back_alone() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.cloud.close_service(SERIAL, "telemetry", 1013).unwrap();
    pair.cloud_sees(mark, |what| matches!(what, What::ServiceUp(_)))
        .await;
    let after = pair.up().await;
    assert_eq!(after.connected_at, before.connected_at);
    pair.end().await;
}

#[tokio::test]
async fn a_cloud_that_breaks_the_protocol_is_closed_with_1002_and_met_again() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    let mark = pair.cloud.mark();
    pair.cloud.send_to(SERIAL, "not JSON").unwrap();
    pair.cloud_sees(mark, |what| {
        matches!(
            what,
            What::PeerClosed {
                channel: Channel::Main,
                code: 1002,
                ..
            }
        )
    })
    .await;
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::Protocol));
    pair.end().await;
}

#[tokio::test]
async fn a_url_on_another_host_is_dialled_under_its_own_name() {
    let mut pair = Pair::start(device()).await;
    let elsewhere = pair.cloud.addr().to_string();
    pair.cloud.set_advertised(Some(&elsewhere));
    pair.commit(|_| {});
    let up = pair.up().await;
    // A connection for steps 1 to 4, one for the rest, one for the subconnection.
    assert_eq!(pair.cloud.counters().tls, 3);
    assert_eq!(up.server.as_ref().unwrap().domain, "cloud.com");
    pair.end().await;
}

#[tokio::test]
async fn a_busy_cloud_is_left_alone_until_the_operator_resets() {
    let mut pair = Pair::start(device()).await;
    let busy = Misbehaviour::Busy {
        status: 503,
        retry_after: Some("600".into()),
    };
    pair.cloud
        .set_misbehaviour_times(Step::Registration, busy, 1);
    pair.commit(|_| {});
    let waiting = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(waiting.failure, Some(FailureReason::Busy));
    let wait = waiting.next_attempt_at.unwrap() - std::time::Instant::now();
    assert!(wait > Duration::from_secs(590), "{wait:?}");
    pair.act(paths::RESET_TUNNEL, &[]);
    pair.up().await;
    pair.end().await;
}

#[tokio::test]
async fn a_cloud_that_restarts_is_met_again() {
    let mut pair = Pair::start(device()).await;
    pair.commit(|_| {});
    let before = pair.up().await;
    pair.cloud.kill_connections();
    let after = pair
        .until(|status| status.connected_at > before.connected_at)
        .await;
    let down = after.last_down.map(|down| down.reason);
    assert_eq!(down, Some(LastDownReason::ConnectionLost));
    pair.end().await;
}

#[tokio::test]
async fn a_refused_certificate_is_tls_failed() {
    let mut pair = Pair::start(device()).await;
    pair.cloud
        .set_misbehaviour(Step::Tls, Misbehaviour::Certificate(Flaw::OtherName));
    pair.commit(|_| {});
    let waiting = pair
        .until(|status| status.device == DeviceState::Waiting)
        .await;
    assert_eq!(waiting.failure, Some(FailureReason::TlsFailed));
    pair.end().await;
}

/// More notifications than the queue of telemetry holds while the cloud does not list it.
const NOTIFICATIONS: u64 = 300;

#[tokio::test]
async fn what_telemetry_dropped_is_in_the_state_and_the_cloud_gets_the_newest() {
    let mut pair = Pair::start(device()).await;
    pair.cloud.set_services([]);
    pair.commit(|_| {});
    pair.until(|status| status.device == DeviceState::RequestSuccess)
        .await;
    for number in 1..=NOTIFICATIONS {
        pair.act(paths::UNBIND, &[("code", "4712")]);
        pair.until(|status| {
            status.unbinding.id == number && status.unbinding.state == UnbindingState::Refused
        })
        .await;
    }
    let telemetry = tether::sim::cloud::ServiceOffer::new("telemetry");
    pair.cloud.set_services([telemetry]);
    pair.up().await;
    let is_last = |told: &tether::sim::cloud::Notification| {
        told.name == "cloud-management:unbinding-answered"
            && told
                .content
                .to_string()
                .contains(&NOTIFICATIONS.to_string())
    };
    let mut mark = 0;
    while !pair.cloud.telemetry(SERIAL).iter().any(is_last) {
        let told = |what: &What| matches!(what, What::Telemetry { .. });
        mark = pair.cloud_sees(mark, told).await.number;
    }
    let dropped = pair.state("subconnection[service='telemetry']/dropped");
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    assert!(dropped >= NOTIFICATIONS - 256, "{dropped}");
    pair.end().await;
}
