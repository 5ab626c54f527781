//! A tunnel with its driver, without an agent, and the reference cloud.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tether::datastore::subscriber::{Change, ConfigSubscriber, Direction, StateProvider};
use tether::model::network::Network;
use tether::model::paths;
use tether::model::schema::Schema;
use tether::model::secret::SecretKey;
use tether::model::status::{CloudStatus, DeviceState, SubconnectionState};
use tether::model::tree::Tree;
use tether::sim::cloud::{Cloud, CloudConfig, Device, Event, What};
use tether::tunnel::CloudConnection;
use tether::tunnel::driver::{self, Handle, Identity, Setup};
use tether::tunnel::net::Surroundings;
use tether::tunnel::record::{Record, TunnelStore};
use tether::tunnel::service::Modules;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const SERIAL: &str = "210235A1XXX000000001";
pub(super) const PASSWORD: &str = "cloud-Pa55";
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// Keeps the last record, on a disk that takes so long.
#[derive(Default)]
pub struct Memory(pub(super) Mutex<Vec<u8>>, pub(super) Duration);

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
    pub(super) password: &'static str,
    pub(super) interval: u16,
    pub(super) code: Option<&'static str>,
    pub(super) port: u16,
}

/// A device with its cloud.
pub struct Pair {
    pub cloud: Cloud,
    schema: Schema,
    key: Arc<SecretKey>,
    connection: CloudConnection,
    pub handle: Handle,
    store: Arc<Memory>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) network: watch::Sender<Arc<Network>>,
    pub(super) task: JoinHandle<()>,
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

    pub(super) async fn with_record(device: Device, store: Arc<Memory>) -> Self {
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

    pub(super) fn act(&self, path: &str, input: &[(&str, &str)]) {
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

    pub(super) fn state(&self, leaf: &str) -> Option<String> {
        let mut tree = Tree::new(self.schema);
        self.connection.state(&mut tree);
        tree.value(&format!("{}/{leaf}", paths::CLOUD_STATE))
    }

    pub(super) fn record(&self) -> Record {
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
