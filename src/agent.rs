//! Layer 4: builds every part of the agent and wires the channels; the only file that knows them all.

mod call_home;
mod command;
mod control;
mod device;
mod discovery;
mod events;
mod first_start;
mod guard;
mod logging;
mod metrics;
pub mod options;
mod restore;
mod sealer;
mod services;
mod watchdog;
mod watched;
mod yang_files;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::datastore::driver::Handle;
use crate::datastore::events::Stream;
use crate::datastore::store::{Loaded, Store, StoreError};
use crate::datastore::subscriber::{ActionHandler, StateProvider};
use crate::datastore::{Datastore, Parts};
use crate::log::Log;
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::paths;
use crate::model::schema::{Schema, SchemaError};
use crate::model::secret::SecretKey;
use crate::model::settings::Limits;
use crate::model::tree::Tree;
use crate::netconf::server::{Events, Server};
use crate::netconf::session;
use crate::system::{Device, HardwareState, SystemState};
use crate::transport::Serve;
use crate::transport::control::ControlServer;
use crate::transport::local::LocalServer;
use crate::transport::socket::SocketError;
use crate::transport::ssh::{HostKey, HostKeyError, SshParts, SshServer};

use crate::tunnel::driver::Identity;
use crate::tunnel::net::Surroundings;
use crate::tunnel::record::{Record, TunnelStore};
use crate::tunnel::{self, CloudConnection};

use call_home::CallHome;
use command::SystemCommand;
use discovery::Discovery;
use events::{EventStreams, Hearing, LossState, Streams, Subscribed};
use guard::CommitGuardState;
use logging::{Levels, ReadLog};
use options::{Options, OptionsError};
use sealer::DeviceSealer;
use services::Services;
use watched::Watched;

const SECRET_KEY_FILE: &str = "secret.key";
const SOCKET_FILE: &str = "tether.sock";
const CONTROL_FILE: &str = "control.sock";
const DEFAULT_SSH: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8830);
/// All parts together may take so long to end in order.
const SHUTDOWN: Duration = Duration::from_millis(4500);
/// Characters of the password that is made at the first start.
const PASSWORD_LENGTH: usize = 20;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The options are wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A YANG module cannot be loaded.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// There is no first configuration.
    #[error(transparent)]
    FirstStart(#[from] first_start::FirstStartError),
    /// What was stored is not what this agent understands.
    #[error(
        "the configuration to start with is refused: {0}; what is stored is from another version or damaged, or a module of --yang asks for what it lacks"
    )]
    Stored(RpcError),
    /// There are data of a module that is no longer given.
    #[error(
        "the stored configuration is refused: there are data of the namespace {0}, and no module for them: start with the --yang FILE that was there when they were stored"
    )]
    NoModule(String),
    /// The key file is damaged.
    #[error("the secret key in {path} is not 32 bytes long; restore it, or remove it and set every secret anew", path = .0.display())]
    SecretKey(PathBuf),
    /// The SSH host key cannot be used.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The local socket or the control socket cannot be made.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system hands out no signals.
    #[error("signals cannot be received")]
    Signals,
    /// An address cannot be listened on.
    #[error("cannot listen on {address} (--ssh): {source}; give another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address of the metrics cannot be used.
    #[error("no metrics on {address} (--metrics): {source}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// An agent that runs.
pub struct Agent {
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    socket: PathBuf,
    control: PathBuf,
    made_password: Option<Zeroizing<String>>,
    server: Server,
    shutdown: watch::Sender<bool>,
    parts: JoinSet<()>,
}

impl Agent {
    /// Starts every part. When this returns, all doors are open.
    ///
    /// `admin_password` is the password of the user that the first start makes; one is made up when there is none.
    ///
    /// # Errors
    /// What keeps it from running; nothing is left running then.
    pub async fn start(
        options: Options,
        admin_password: Option<String>,
    ) -> Result<Self, AgentError> {
        Self::start_with_log(options, admin_password, Log::default()).await
    }

    /// The same; the configuration has the levels of this log, and operators may read it.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_with_log(
        options: Options,
        admin_password: Option<String>,
        log: Log,
    ) -> Result<Self, AgentError> {
        let directory = options.state_directory()?;
        let (store, mut loaded) = Store::open(&directory)?;
        let store = Arc::new(store);
        let schema = schema(&options)?;
        let key = Arc::new(secret_key(&store, &directory)?);
        let first = FirstStart {
            options: &options,
            given: admin_password,
        };
        // Before anything is made or told: a start that is going to fail makes no password and dials no cloud.
        let doors = Doors::open(&options, &directory).await?;
        let taken_back = restore::take_back(schema, &store, &mut loaded)?;
        let (running, made_password) = running(schema, &loaded, &key, first)?;
        let device = device::find(options.serial_number.as_deref(), &store)?;

        let (shutdown, stopping) = watch::channel(false);
        let services = Services::new();
        let (hearing, announce) = Hearing::open(schema, &store)?;
        let discovery = Discovery::start(&stopping);
        let beside = (&services, &discovery, &hearing.events.stream);
        let setup = tunnel_setup(schema, &device, &loaded, &store, beside);
        let (tunnel, driver) = tunnel::driver::start(setup, stopping.clone());
        let standing = tunnel.standing();
        let cloud = CloudConnection::new(tunnel.clone(), schema, Arc::clone(&key));
        let mut announce = guard::heard_by_cloud(announce, cloud.clone(), schema);
        restore::tell(taken_back, &mut announce);

        let (users, known_users) = Watched::new(paths::AUTHENTICATION, watched::users);
        let (limits, known_limits) = Watched::new(paths::LIMITS, watched::limits);
        let (call_home, called, names) = CallHome::new(&store, &loaded);
        let (guarded, guard_state) = guard::open(&cloud, &loaded);
        let parts = Parts {
            announce: Some(announce),
            guarded: Some(guarded),
            history: std::mem::take(&mut loaded.history).into_iter().collect(),
            subscribers: vec![
                Box::new(users),
                Box::new(limits),
                Box::new(Subscribed(hearing.events.subscriptions.clone())),
                Box::new(cloud.clone()),
                Box::new(discovery.listed),
                Box::new(called),
                Box::new(names),
                Box::new(Levels(log.clone())),
            ],
            actions: actions(&cloud, &options, log),
            providers: providers(&device, (cloud, guard_state), &hearing.events, &call_home),
        };
        let sealer = Box::new(DeviceSealer(key));
        let started = Datastore::start(running, loaded.next_commit, sealer, parts);
        let kept = started
            .map_err(stored)
            .and_then(|datastore| restore::keep_first(&store, &loaded, datastore));
        let datastore = match kept {
            Ok(datastore) => datastore,
            Err(error) => {
                // The tunnel ends with its only means to be told otherwise.
                drop(shutdown);
                drop(driver.await);
                return Err(error);
            }
        };
        let (handle, owner) = Handle::start(datastore, Arc::clone(&store));
        let mut parts = JoinSet::new();
        parts.spawn(watchdog::run(handle.clone(), stopping.clone()));
        parts.spawn(guard::watch(standing, handle.clone(), stopping.clone()));
        let server = Server::new(handle, schema, known_limits.clone(), hearing.events.clone());
        hearing.tell_of_news(schema, &store, &loaded, server.capabilities());

        let serve = serve(&server, &known_limits);
        let ssh = SshServer::new(SshParts {
            host_key: doors.host_key,
            users: known_users,
            limits: known_limits.clone(),
            serve: Arc::clone(&serve),
            program: options.own_program(),
            shutdown: stopping.clone(),
        });

        parts.spawn(doors.local.run(serve, stopping.clone()));
        let modules = services.modules.clone();
        let handler = control::handler(discovery.reports, modules, stopping.clone());
        parts.spawn(doors.control.run(handler, stopping.clone()));
        parts.spawn(services.run(ssh.clone()));
        parts.spawn(call_home.run(ssh.clone(), stopping.clone()));
        parts.spawn(async move { ssh.run(doors.listeners).await });
        let measured = (&server, &hearing.events, tunnel);
        metrics::serve(doors.metrics, measured, &mut parts, &stopping);
        hearing.run(&mut parts, server.clone(), known_limits, &stopping);
        for task in discovery.tasks.into_iter().chain([driver, owner]) {
            parts.spawn(async move { drop(task.await) });
        }
        Ok(Self {
            addresses: doors.addresses,
            metrics: doors.metrics_address,
            socket: doors.socket,
            control: doors.control_socket,
            made_password,
            server,
            shutdown,
            parts,
        })
    }

    /// Where NETCONF over SSH is served, with the real ports.
    pub fn ssh_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the metrics are served, with the real port.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The local socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The control socket.
    pub fn control_socket(&self) -> &Path {
        &self.control
    }

    /// The password of `admin`, if this start made it up.
    pub fn made_password(&self) -> Option<&str> {
        self.made_password
            .as_ref()
            .map(|password| password.as_str())
    }

    /// Ends sessions and tunnel in order, at most five seconds long.
    pub async fn stop(self) {
        let Self {
            server,
            shutdown,
            mut parts,
            ..
        } = self;
        // Every part may have ended already.
        let _ = shutdown.send(true);
        server.end_all_sessions();
        drop(server);
        let ended = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN, ended).await.is_err() {
            tracing::warn!("some sessions did not end in time and were cut off");
        }
    }
}

/// Where managers come in; who knocks waits until somebody serves.
struct Doors {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    host_key: HostKey,
    local: LocalServer,
    socket: PathBuf,
    control: ControlServer,
    control_socket: PathBuf,
    metrics: Option<metrics::Door>,
    metrics_address: Option<SocketAddr>,
}

impl Doors {
    async fn open(options: &Options, directory: &Path) -> Result<Self, AgentError> {
        let (listeners, addresses) = listen(&options.ssh).await?;
        let path = |given: &Option<PathBuf>, file| {
            let by_default = || directory.join(file);
            given.clone().unwrap_or_else(by_default)
        };
        let socket = path(&options.socket, SOCKET_FILE);
        let control_socket = path(&options.control, CONTROL_FILE);
        let metrics = metrics::Door::open(options.metrics).await?;
        Ok(Self {
            listeners,
            addresses,
            host_key: HostKey::load_or_create(directory)?,
            local: LocalServer::bind(&socket).await?,
            socket,
            control: ControlServer::bind(&control_socket).await?,
            control_socket,
            metrics_address: metrics.as_ref().map(metrics::Door::address),
            metrics,
        })
    }
}

fn schema(options: &Options) -> Result<Schema, AgentError> {
    let extra = yang_files::read(&options.yang)?;
    Ok(match options.startup_datastore {
        true => Schema::load_with_startup(&extra)?,
        false => Schema::load(&extra)?,
    })
}

/// What the first start works with.
struct FirstStart<'a> {
    options: &'a Options,
    given: Option<String>,
}

/// The running configuration: what was stored, or that of the first start.
fn running(
    schema: Schema,
    loaded: &Loaded,
    key: &Arc<SecretKey>,
    first: FirstStart<'_>,
) -> Result<(Tree, Option<Zeroizing<String>>), AgentError> {
    if !restore::is_first_start(loaded) {
        return Ok((restore::running(schema, loaded)?, None));
    }
    let made = first.given.is_none();
    let password = Zeroizing::new(first.given.unwrap_or_else(made_up_password));
    let mut sealer = DeviceSealer(Arc::clone(key));
    let file = first.options.factory_default.as_deref();
    let (tree, has_admin) = first_start::configuration(schema, file, &password, &mut sealer)?;
    Ok((tree, (made && has_admin).then_some(password)))
}

fn stored(errors: Errors) -> AgentError {
    let none = || RpcError::application(ErrorTag::OperationFailed, "refused");
    let error = errors.into_iter().next().unwrap_or_else(none);
    let unknown = error.info.iter().find(|info| info.name == "bad-namespace");
    match unknown.filter(|_| error.tag == ErrorTag::UnknownNamespace) {
        Some(namespace) => AgentError::NoModule(namespace.value.clone()),
        None => AgentError::Stored(error),
    }
}

fn secret_key(store: &Store, directory: &Path) -> Result<SecretKey, AgentError> {
    let damaged = || AgentError::SecretKey(directory.join(SECRET_KEY_FILE));
    let files = store.directory().ok_or_else(damaged)?;
    let make = || Zeroizing::new(rand::random::<[u8; 32]>().to_vec());
    let bytes = files.secret_file(SECRET_KEY_FILE, make)?;
    let bytes: Zeroizing<[u8; 32]> =
        Zeroizing::new(bytes.as_slice().try_into().map_err(|_| damaged())?);
    Ok(SecretKey::new(&bytes))
}

/// Letters and digits that are not mistaken for one another.
fn made_up_password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; PASSWORD_LENGTH] = rand::random();
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

fn providers(
    device: &Device,
    (cloud, guard): (CloudConnection, CommitGuardState),
    events: &Events,
    call_home: &CallHome,
) -> Vec<Box<dyn StateProvider>> {
    vec![
        Box::new(Streams(events.stream.clone())),
        Box::new(EventStreams(events.stream.clone())),
        Box::new(LossState(events.stream.clone())),
        Box::new(events.subscriptions.clone()),
        Box::new(cloud),
        Box::new(call_home.state()),
        Box::new(guard),
        Box::new(SystemState(device.clone(), Utc::now)),
        Box::new(HardwareState(device.clone())),
    ]
}

/// Who does which action or rpc.
fn actions(
    cloud: &CloudConnection,
    options: &Options,
    log: Log,
) -> BTreeMap<String, Box<dyn ActionHandler>> {
    let mut actions: BTreeMap<String, Box<dyn ActionHandler>> = BTreeMap::new();
    actions.insert(paths::READ_LOG.to_owned(), Box::new(ReadLog(log)));
    for (path, handler) in cloud.actions() {
        actions.insert(path.to_owned(), handler);
    }
    let commands = [
        (paths::SYSTEM_RESTART, &options.restart_command),
        (paths::SYSTEM_SHUTDOWN, &options.shutdown_command),
    ];
    for (path, command) in commands {
        if let Some(command) = SystemCommand::new(command) {
            actions.insert(path.to_owned(), Box::new(command));
        }
    }
    actions
}

/// What the tunnel starts from: who the device is, and what was stored when it last ran.
fn tunnel_setup(
    schema: Schema,
    device: &Device,
    loaded: &Loaded,
    store: &Arc<Store>,
    (services, discovery, stream): (&Services, &Discovery, &Stream),
) -> tunnel::driver::Setup {
    let stored = loaded
        .meta
        .get(tunnel::RECORD_KEY)
        .map_or(&[][..], Vec::as_slice);
    let stream = stream.clone();
    tunnel::driver::Setup {
        seed: rand::random(),
        identity: Identity {
            serial_number: device.serial_number.clone(),
            model: device.model.clone().unwrap_or_else(|| "unknown".to_owned()),
            software: concat!("tether/", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        surroundings: Surroundings::default(),
        findings: discovery.findings.clone(),
        network: discovery.network.clone(),
        record: Record::from_bytes(stored, &device.serial_number),
        store: Arc::clone(store) as Arc<dyn TunnelStore>,
        announce: CloudConnection::announce(schema, move |at, told| {
            stream.publish(at, told.duplicate(), None);
        }),
        print_state: CloudConnection::print_state(schema),
        modules: services.modules.clone(),
        answered: services.answered(),
    }
}

/// Serves NETCONF on whatever stream a door hands over.
fn serve(server: &Server, limits: &watch::Receiver<Arc<Limits>>) -> Serve {
    let (server, limits) = (server.clone(), limits.clone());
    Arc::new(move |stream, peer| {
        let (server, limits) = (server.clone(), limits.clone());
        let (user, source) = (peer.user.clone(), peer.source.clone());
        Box::pin(async move {
            match session::serve(stream, peer, server, limits).await {
                Err(error) if error.is_departure() => {
                    tracing::info!(user, source, %error, "the client of a NETCONF session is gone");
                }
                Err(error) => {
                    tracing::warn!(user, source, %error, "a NETCONF session is refused or ended");
                }
                Ok(_) => {}
            }
        })
    })
}

async fn listen(wanted: &[SocketAddr]) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), AgentError> {
    let wanted = if wanted.is_empty() {
        &[DEFAULT_SSH][..]
    } else {
        wanted
    };
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for &address in wanted {
        let failed = |source| AgentError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

#[cfg(test)]
mod tests;
