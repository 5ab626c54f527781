//! An agent and a reference cloud in one process, both on free ports, and NETCONF clients to drive them.
//!
//! Nothing here sleeps to let something happen: the cloud's events are awaited, the state of the agent is asked until
//! it is the one that is waited for, and everything has [`PATIENCE`].

mod plain;
pub mod served;
mod ssh;
mod state;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tether::agent::options::Options;
use tether::agent::{Agent, AgentError};
use tether::protocol::client::{Client, ClientError, ReportedError};
use tether::sim::cloud::{self, Channel, Cloud, CloudConfig, Event, What};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

pub use plain::{Plain, example, example_files};
pub use ssh::{Shell, SshSession};
pub use state::State;

/// The device's serial number.
pub const SERIAL: &str = "210235A1XXX000000001";
/// Its password at the cloud.
pub const PASSWORD: &str = "cloud-Pa55";
/// The password of `admin` on the device.
pub const ADMIN_PASSWORD: &str = "device-Pa55";
/// The longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

const CLOUD: &str = "urn:tether:yang:cloud-management";
const STATE_FILTER: &str =
    r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><state/></cloud-management>"#;

/// A session over the local socket, whose user is `admin`.
pub type Session = Client<UnixStream>;

/// The element `cloud-management` with this in it.
pub fn cloud_management(content: &str) -> String {
    format!(r#"<cloud-management xmlns="{CLOUD}">{content}</cloud-management>"#)
}

/// The element `system` of ietf-system with this in it.
pub fn system(content: &str) -> String {
    format!(r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system">{content}</system>"#)
}

/// A static host.
pub fn host(name: &str, address: &str) -> String {
    system(&format!(
        r#"<dns-resolver><host xmlns="urn:tether:yang:device-hosts"><name>{name}</name><address>{address}</address></host></dns-resolver>"#
    ))
}

/// A trust anchor.
pub fn trust_anchor(name: &str, pem: &str) -> String {
    format!(
        "<trust><trust-anchor><name>{name}</name><certificate>{pem}</certificate></trust-anchor></trust>"
    )
}

/// The errors of a refusal.
pub fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Vec<ReportedError> {
    match answer {
        Err(ClientError::Refused(errors)) => errors,
        other => panic!("not refused: {other:?}"),
    }
}

/// Fails instead of waiting for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("still waiting")
}

/// Options of an agent whose state is in this directory.
pub fn options(directory: &Path) -> Options {
    Options {
        state_dir: Some(directory.to_owned()),
        ssh: vec!["127.0.0.1:0".parse().unwrap()],
        serial_number: Some(SERIAL.to_owned()),
        program: Some(env!("CARGO_BIN_EXE_tether").into()),
        ..Options::default()
    }
}

/// The cloud's entry of the device.
pub fn registered() -> cloud::Device {
    cloud::Device::new(SERIAL).password(PASSWORD)
}

/// A device, its cloud, and a session of its administrator.
pub struct Device {
    pub cloud: Cloud,
    pub session: Session,
    agent: Agent,
    directory: TempDir,
}

impl Device {
    /// A device that knows no cloud, and a cloud that knows the device.
    pub async fn start() -> Self {
        Self::start_with(registered()).await
    }

    /// The same; the cloud knows the device so.
    pub async fn start_with(entry: cloud::Device) -> Self {
        Self::start_at(CloudConfig::with_devices([entry])).await
    }

    /// The same; each byte between them is so much later, in each direction.
    pub async fn start_far_away(entry: cloud::Device, latency: Duration) -> Self {
        Self::start_at(CloudConfig {
            latency,
            ..CloudConfig::with_devices([entry])
        })
        .await
    }

    /// The same at a cloud with these rules.
    pub async fn start_at(rules: CloudConfig) -> Self {
        let cloud = Cloud::start(CloudConfig {
            names: vec![
                "cloud.com".into(),
                "other.com".into(),
                "127.0.0.1".into(),
                "::1".into(),
            ],
            netconf_listen: Some(Ipv4Addr::LOCALHOST.into()),
            ..rules
        });
        let directory = TempDir::new().unwrap();
        let agent = start_agent(options(directory.path())).await.unwrap();
        Self {
            cloud: cloud.await.unwrap(),
            session: open(&agent).await,
            agent,
            directory,
        }
    }

    /// A device whose tunnel and telemetry are up.
    pub async fn connected() -> Self {
        let mut device = Self::start().await;
        device.configure_cloud().await;
        device.up().await;
        device
    }

    /// Commits all it takes to reach the cloud.
    pub async fn configure_cloud(&mut self) {
        let whole = self.whole_configuration(PASSWORD);
        self.commit(&whole).await;
    }

    /// All it takes to reach the cloud, with this password.
    pub fn whole_configuration(&self, password: &str) -> String {
        let server = format!(
            "<server><domain>cloud.com</domain><port>{}</port><password>$0${password}</password></server>",
            self.cloud.addr().port()
        );
        let trust = trust_anchor("reference", self.cloud.ca_pem());
        [
            cloud_management(&format!("{server}{trust}")),
            host("cloud.com", "127.0.0.1"),
        ]
        .concat()
    }

    /// Edits the candidate and commits it.
    pub async fn commit(&mut self, config: &str) {
        self.session.edit_config("candidate", config).await.unwrap();
        self.session.commit().await.unwrap();
    }

    /// Commits a change below `cloud-management`.
    pub async fn commit_cloud(&mut self, content: &str) {
        self.commit(&cloud_management(content)).await;
    }

    /// Calls an action of `cloud-management`.
    pub async fn act(&mut self, action: &str) {
        let action = cloud_management(action);
        let rpc = format!(r#"<action xmlns="urn:ietf:params:xml:ns:yang:1">{action}</action>"#);
        self.session.rpc(&rpc).await.unwrap();
    }

    /// One more session of `admin`.
    pub async fn open(&self) -> Session {
        open(&self.agent).await
    }

    /// A session over SSH.
    pub async fn ssh(&self, user: &str, password: &str) -> SshSession {
        SshSession::open(self.agent.ssh_addresses()[0], user, password)
            .await
            .expect("the login is refused")
    }

    /// Where the agent keeps its state.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The state container as it is now.
    pub async fn state(&mut self) -> State {
        State::parse(&self.session.get(Some(STATE_FILTER)).await.unwrap())
    }

    /// Asks for the state until it is wanted.
    pub async fn wait_state(&mut self, wanted: impl Fn(&State) -> bool) -> State {
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        loop {
            pace.tick().await;
            let state = self.state().await;
            if wanted(&state) {
                return state;
            }
            assert!(
                tokio::time::Instant::now() < until,
                "never came; now {state:#?}\nthe cloud saw: {:#?}",
                self.cloud.events()
            );
        }
    }

    /// Waits until the device has failed for this reason and waits for its next attempt.
    pub async fn failed(&mut self, reason: &str) -> State {
        self.wait_state(|state| {
            state.is("device-state", "waiting") && state.is("failure-reason", reason)
        })
        .await
    }

    /// Waits until the tunnel and all its subconnections are up, telemetry among them.
    pub async fn up(&mut self) -> State {
        self.wait_state(|state| {
            let stands = |service: &str| {
                let entry = format!("subconnection[{service}]");
                state.is(&format!("{entry}/state"), "established") || !state.has_entry(&entry)
            };
            state.is("device-state", "request-success")
                && state.has_entry("subconnection[telemetry]")
                && stands("telemetry")
                && stands("netconf")
        })
        .await
    }

    /// Waits until the cloud has seen something after `mark`.
    pub async fn cloud_sees(&self, mark: u64, matches: impl Fn(&What) -> bool) -> Event {
        let seen = self
            .cloud
            .wait_after(mark, |event| matches(&event.what), PATIENCE);
        seen.await.unwrap()
    }

    /// The numbers of the unbinding codes that the cloud has judged, in order, whether or not its answer went out.
    pub fn judged(&self) -> Vec<u64> {
        let events = self.cloud.events();
        let ids = events.iter().filter_map(|event| match event.what {
            What::Unbind { id, .. } => Some(id),
            _ => None,
        });
        ids.collect()
    }

    /// Waits until the device has closed its main connection with this code.
    pub async fn cloud_sees_close(&self, mark: u64, expected: u16) {
        self.cloud_sees(mark, |what| {
            matches!(what, What::PeerClosed { channel: Channel::Main, code, .. } if *code == expected)
        })
        .await;
    }

    /// Waits until a new main connection is up, and says what its registration gave as reason for the last loss.
    pub async fn reconnected(&self, mark: u64) -> Option<String> {
        let registered = self
            .cloud_sees(mark, |what| matches!(what, What::Registered { .. }))
            .await;
        self.cloud_sees(registered.number, |what| {
            matches!(what, What::MainUp { .. })
        })
        .await;
        match registered.what {
            What::Registered {
                last_down_reason, ..
            } => last_down_reason,
            _ => None,
        }
    }

    /// The TCP connection on which the cloud has the device's newest main connection.
    pub fn main_connection(&self) -> u64 {
        let events = self.cloud.events();
        let mains = events
            .iter()
            .rev()
            .find(|event| matches!(event.what, What::MainUp { .. }));
        mains.expect("there is no main connection").connection
    }

    /// Everything that was committed before has reached the tunnel once this returns: an unbinding code follows it
    /// on the same way, and the cloud's answer to it comes on the tunnel that there is then. Returns the TCP connection.
    pub async fn round_trip(&mut self) -> u64 {
        let mark = self.cloud.mark();
        self.act("<unbind><code>probe</code></unbind>").await;
        self.cloud_sees(mark, |what| matches!(what, What::Unbind { .. }))
            .await
            .connection
    }

    /// Stops the agent and starts it on the same directory.
    pub async fn restart(self) -> Self {
        let directory = self.directory.path().to_owned();
        self.restart_with(options(&directory)).await
    }

    /// The same, with other options.
    pub async fn restart_with(self, options: Options) -> Self {
        let Self {
            cloud,
            session,
            agent,
            directory,
        } = self;
        drop(session);
        soon(agent.stop()).await;
        let agent = start_agent(options).await.unwrap();
        Self {
            cloud,
            session: open(&agent).await,
            agent,
            directory,
        }
    }

    /// The same device, started anew with metrics, once its tunnel stands.
    pub async fn measured(self) -> Self {
        let options = Options {
            metrics: Some("127.0.0.1:0".parse().unwrap()),
            ..options(self.directory())
        };
        let mut device = self.restart_with(options).await;
        device.up().await;
        device
    }

    /// The lines of its metrics without comments.
    pub async fn metrics(&self) -> Vec<String> {
        let address = self.agent.metrics_address().unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: device\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    /// Stops the agent; what is left is the cloud and the directory.
    pub async fn stop(self) -> (Cloud, TempDir) {
        drop(self.session);
        soon(self.agent.stop()).await;
        (self.cloud, self.directory)
    }
}

/// Starts an agent.
pub async fn start_agent(options: Options) -> Result<Agent, AgentError> {
    soon(Agent::start(options, Some(ADMIN_PASSWORD.to_owned()))).await
}

/// A session over the local socket.
pub async fn open(agent: &Agent) -> Session {
    let stream = UnixStream::connect(agent.socket()).await.unwrap();
    Client::connect(stream, PATIENCE).await.unwrap()
}
