//! NETCONF over SSH (RFC 6242), the server side.
//!
//! [`SshServer`] accepts connections and lets clients log in as users of ietf-system; each subsystem `netconf` they ask
//! for becomes a stream handed to the injected session. One file for each part: `connection` is the life of one
//! connection, `call` what is different when the agent has opened it, `handler` answers what its client asks for, `login` says who may come in and `throttle` how fast they
//! may guess, `inbox` and `channel` carry one session's data, `line` makes sure that everything can be ended,
//! `admission` that there are not too many.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::Config;
use russh::{Preferred, SshId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::warn;

use self::admission::{Admission, Admitted};
use self::connection::End;
use self::line::Hangup;
use self::throttle::Throttle;
use self::tunnelled::Tunnelled;
use super::{ByteStream, Leavers, Serve, stopped};
use crate::model::settings::Limits;

mod admission;
mod call;
mod channel;
mod command_line;
mod connection;
mod counters;
mod handler;
mod host_key;
mod inbox;
mod line;
mod login;
mod places;
mod shell;
#[cfg(test)]
mod tests;
mod throttle;
mod tunnelled;

pub use call::{Call, CallEnd, Terms};
pub use counters::Counters;
pub use host_key::{FILE_NAME as HOST_KEY_FILE, HostKey, HostKeyError};
pub use login::Users;

/// What a client may send on one channel before its session has read any of it.
const WINDOW: u32 = 1 << 20;
/// Connections beyond the sessions there may be: those that log in, or have nothing open.
const CONNECTIONS_BESIDE_SESSIONS: usize = 128;
/// Refusals of any kind, wrong keys among them, before the library ends a connection. Wrong passwords have a limit of
/// their own (`login_attempts`): a client may have to offer some keys before it comes to the right one.
const REFUSALS: usize = 20;
/// File descriptors that strangers do not get: the tunnel, the disk and the local socket need some, too.
const DESCRIPTORS_BESIDE_CONNECTIONS: usize = 384;
/// Passwords compared at once: hashing is slow, and others need the processor too.
const HASHING: usize = 4;
/// A wait after the system refuses a connection (out of descriptors, memory).
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// What the server is made of.
pub struct SshParts {
    /// The server's key.
    pub host_key: HostKey,
    /// Who may log in, as last committed.
    pub users: watch::Receiver<Arc<Users>>,
    /// The limits of the interface; each holds for what begins after a change.
    pub limits: watch::Receiver<Arc<Limits>>,
    /// Serves a session.
    pub serve: Serve,
    /// The program of the agent, whose command line is the shell.
    pub program: PathBuf,
    /// True when the agent stops.
    pub shutdown: watch::Receiver<bool>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This address.
    Address(IpAddr),
    /// The cloud tunnel: who is at its other end only the cloud knows.
    CloudTunnel,
}

/// As a host of RFC 6022 (`source-host`).
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::CloudTunnel => f.write_str("cloud-tunnel"),
        }
    }
}

/// The SSH server; clones are the same server.
#[derive(Clone)]
pub struct SshServer(Arc<Shared>);

/// What all connections share.
struct Shared {
    config: Arc<Config>,
    users: watch::Receiver<Arc<Users>>,
    limits: watch::Receiver<Arc<Limits>>,
    serve: Serve,
    program: PathBuf,
    /// Places for command lines.
    places: Arc<command_line::CommandLines>,
    shutdown: watch::Receiver<bool>,
    counters: Arc<Counters>,
    throttle: Mutex<Throttle>,
    hashing: Semaphore,
    admission: Admission,
    tunnelled: Tunnelled,
    /// File descriptors that the process may have.
    descriptors: usize,
}

impl Shared {
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection ended before its peer wanted.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    #[error("too many failed logins")]
    TooManyAttempts,
}

impl SshServer {
    /// Makes a server that serves nobody yet.
    pub fn new(parts: SshParts) -> Self {
        Self(Arc::new(Shared {
            config: Arc::new(config(&parts.host_key)),
            users: parts.users,
            limits: parts.limits,
            serve: parts.serve,
            program: parts.program,
            places: Arc::default(),
            shutdown: parts.shutdown,
            counters: Arc::default(),
            throttle: Mutex::default(),
            hashing: Semaphore::new(HASHING),
            admission: Admission::default(),
            tunnelled: Tunnelled::default(),
            descriptors: descriptors(),
        }))
    }

    /// What the server has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.0.counters.clone()
    }

    /// Serves all who connect to any of the listeners, until shutdown; then waits for the connections to end, at most
    /// three seconds.
    pub async fn run(&self, listeners: Vec<TcpListener>) {
        let mut doors = JoinSet::new();
        for listener in listeners {
            let server = self.clone();
            doors.spawn(async move { server.accept(listener).await });
        }
        while doors.join_next().await.is_some() {}
    }

    /// Serves one connection that exists already, to its end.
    pub async fn serve_stream(&self, stream: impl ByteStream + 'static, source: Source) {
        // Whoever came by himself is not told why he has to go.
        let _ = self.admit(stream, source, None).await;
    }

    /// Serves a connection that the agent has opened to a manager (RFC 8071), to its end; who the peer is, and what he may
    /// do, is found out as for those who come by themselves.
    pub async fn serve_call(
        &self,
        stream: impl ByteStream + 'static,
        address: IpAddr,
        call: Call,
    ) -> CallEnd {
        let source = Source::Address(address.to_canonical());
        match self.admit(stream, source, Some(call)).await {
            None => CallEnd::Refused,
            Some(End::LoginTimeout) => CallEnd::LoginTimeout,
            Some(End::Gone(Err(error))) => CallEnd::Over(Some(error.to_string())),
            Some(_) => CallEnd::Over(None),
        }
    }

    /// Serves a connection if there is room for it.
    async fn admit(
        &self,
        stream: impl ByteStream + 'static,
        source: Source,
        call: Option<Call>,
    ) -> Option<End> {
        let limit = most_connections(self.0.limits.borrow().sessions, self.0.descriptors);
        let refused = &self.0.counters.connections_refused;
        let hangup = Hangup::new();
        let slot = match self.0.admission.admit(limit, &hangup) {
            Admitted::Yes(slot) => slot,
            Admitted::InsteadOf(slot) => {
                refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                slot
            }
            Admitted::No => {
                refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                warn!(%source, limit, "ssh connection refused: too many");
                return None;
            }
        };
        let place = (hangup, slot);
        Some(connection::serve(self.0.clone(), stream, source, place, call).await)
    }

    /// Serves all connections that come out of the cloud tunnel, until shutdown or until no more can come.
    pub async fn run_tunnelled<S>(&self, mut streams: mpsc::Receiver<S>)
    where
        S: ByteStream + 'static,
    {
        let shutdown = &self.0.shutdown;
        let mut connections = JoinSet::new();
        let mut leavers = Leavers::default();
        loop {
            tokio::select! {
                () = stopped(shutdown) => break,
                Some(_) = connections.join_next() => leavers.left(connections.is_empty()),
                stream = streams.recv() => match stream {
                    Some(stream) => {
                        let server = self.clone();
                        connections.spawn(async move {
                            server.serve_stream(stream, Source::CloudTunnel).await;
                        });
                    }
                    None => break,
                },
            }
        }
        drop(streams);
        while connections.join_next().await.is_some() {}
    }

    /// Ends once managers who came through the cloud tunnel have every reply to what they have asked.
    pub async fn tunnel_answered(&self) {
        self.0.tunnelled.answered().await;
    }

    async fn accept(&self, listener: TcpListener) {
        let shutdown = &self.0.shutdown;
        let mut connections = JoinSet::new();
        let mut leavers = Leavers::default();
        loop {
            tokio::select! {
                () = stopped(shutdown) => break,
                Some(_) = connections.join_next() => leavers.left(connections.is_empty()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let server = self.clone();
                        connections.spawn(async move { server.serve_tcp(stream, from).await });
                    }
                    Err(error) if is_the_peers(&error) => {}
                    Err(error) => {
                        warn!(%error, "ssh cannot accept a connection");
                        // A shutdown is seen again at the head of the loop.
                        let _ = tokio::time::timeout(ACCEPT_BACK_OFF, stopped(shutdown)).await;
                    }
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn serve_tcp(&self, stream: TcpStream, from: SocketAddr) {
        // Requests and replies are small and answered at once; without it each would wait for the last one's ACK.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "ssh cannot set TCP_NODELAY");
        }
        let source = Source::Address(from.ip().to_canonical());
        self.serve_stream(stream, source).await;
    }
}

/// How many connections there may be. Beyond, one that has not logged in gives way; the system would refuse all alike.
fn most_connections(sessions: usize, descriptors: usize) -> usize {
    let room = descriptors.saturating_sub(DESCRIPTORS_BESIDE_CONNECTIONS);
    (sessions + CONNECTIONS_BESIDE_SESSIONS).min(room.max(descriptors / 2))
}

fn descriptors() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    limit.map_or(usize::MAX, |(soft, _)| {
        usize::try_from(soft).unwrap_or(usize::MAX)
    })
}

/// Whether it was only this one connection that failed while it waited to be accepted.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn config(host_key: &HostKey) -> Config {
    Config {
        server_id: SshId::Standard(concat!("SSH-2.0-tether_", env!("CARGO_PKG_VERSION")).into()),
        methods: handler::methods(),
        auth_rejection_time: Duration::from_millis(300),
        // OpenSSH begins with `none` to learn the methods: that is no guess.
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key.private()],
        window_size: WINDOW,
        channel_buffer_size: 32,
        event_buffer_size: 16,
        preferred: Preferred {
            key: SIGNATURES.to_vec().into(),
            ..Preferred::default()
        },
        max_auth_attempts: REFUSALS,
        // Sessions may be idle for ever; dead peers are noticed by the keepalives.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    }
}

/// What clients are told they may sign with (RFC 8308, section 3.1): all but SHA-1.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];
