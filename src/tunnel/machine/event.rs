//! What the machine hears and what it orders: the whole interface between the cloud connection and the network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::network::Network;
use crate::model::settings::Secret;
use crate::model::status::{
    ConnectionState, DeviceState, FailureReason, LastDown, LastDownReason, ServerCertificate,
    ServerStatus, SubconnectionState, Unbinding, UnbindingState,
};
use crate::tunnel::target::{Family, Origins, Path, Target, Way};
use crate::tunnel::wire::{
    CloudMessage, CloudUrl, DeviceMessage, Host, RegistrationAnswer, UpgradeRefusal,
};

/// Names one thing asked of the network. Each reply echoes the number of the action it answers; the machine knows
/// which number it waits for and drops every other, so a late, repeated or reordered reply has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attempt(pub u64);

/// A close code of RFC 6455, section 7.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// Going away; also what ends a connection on which nothing was heard for three intervals.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A frame of a kind that is not accepted here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// From the cloud: a subconnection without its main connection.
    pub const POLICY: Self = Self(1008);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// From the cloud: more subconnections than it allows.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// From the cloud: another main connection of this serial number took over (cloud-protocol.md).
    pub const EVICTED: Self = Self(4001);
}

/// Why a new target is announced; becomes the reason of the teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A commit.
    Configuration,
    /// DHCP found or lost a value.
    Discovery,
    /// The commit guard restored the configuration before.
    RolledBack,
}

impl From<Cause> for LastDownReason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Configuration => Self::ConfigurationChanged,
            Cause::Discovery => Self::DiscoveryChanged,
            Cause::RolledBack => Self::CommitRolledBack,
        }
    }
}

/// Everything that can happen to the cloud connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The effective target after a commit or a discovery; an equal one keeps the tunnel.
    Target {
        /// Whom to dial; `None` when no domain is known.
        target: Option<Target>,
        /// For the state container; a change of these alone is no change of the target.
        origins: Origins,
        /// Who changed it.
        cause: Cause,
    },
    /// The keepalive interval after a commit; the tunnel stays.
    KeepaliveInterval(Duration),
    /// How often the primary is probed while a backup server carries the tunnel; `None` is never, as before the first
    /// such event.
    PrimaryReturn(Option<Duration>),
    /// The services whose modules are registered here and enabled.
    Services(BTreeSet<String>),
    /// The leaf `unbinding-code` after the start and after each commit; sent once for each value it takes.
    ConfiguredCode(Option<Secret>),
    /// The same leaf after a commit was taken back: nobody sets a code by that, so none is sent.
    RestoredCode(Option<Secret>),
    /// Action `unbind`.
    Unbind(Secret),
    /// Action `reset-tunnel`.
    Reset,
    /// Static hosts or resolvers changed.
    HostsChanged,
    /// A link, an address or a route changed; what the network is like now.
    NetworkChanged(Arc<Network>),
    /// The main connection's answer to the action with this number.
    Reply(Attempt, Reply),
    /// A subconnection's answer to the action with this number.
    SubconnectionReply(Attempt, SubconnectionReply),
    /// A deadline of `poll_timeout` has come (harmless when it has not).
    Tick,
    /// The agent ends.
    Shutdown,
}

/// What the network says about the main connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To `Resolve`: the addresses in the order to try; none is `dns-failed`.
    Resolved(Vec<IpAddr>),
    /// To `Connect`, on the way, before `TcpConnected`: the device's own address of the connection.
    LocalAddress(IpAddr),
    /// To `Connect`, on the way: TCP stands, TLS begins.
    TcpConnected(IpAddr),
    /// To `Connect`, on the way: the server has shown this certificate, which TLS may still refuse.
    Certificate(ServerCertificate),
    /// To `Connect`: TLS stands.
    Connected {
        /// The device's clock is earlier than the build date and the certificate was judged accordingly.
        clock_unset: bool,
    },
    /// To `Authenticate`.
    Authentication {
        /// What the cloud said.
        outcome: AuthenticationOutcome,
        /// Another request may follow on this connection (no `Connection: close`).
        reusable: bool,
    },
    /// To `Register`.
    Registration {
        /// What the cloud said.
        answer: RegistrationAnswer,
        /// Another request may follow on this connection.
        reusable: bool,
    },
    /// To `Upgrade`: 101 with the right subprotocol, the WebSocket stands.
    Upgraded,
    /// To `Upgrade`: anything else.
    UpgradeRefused {
        /// What the cloud said.
        refusal: UpgradeRefusal,
        /// Another request may follow on this connection.
        reusable: bool,
    },
    /// A message on the established connection (its number is that of `Upgrade`).
    Message(CloudMessage),
    /// Any other frame on it: ping, pong. The established connection may leave out all but one a second.
    Alive,
    /// The cloud broke the protocol on it: bad JSON, wrong frame kind, too large. The code is to be sent back.
    Violation(CloseCode),
    /// The cloud closed it with this code (1005 when it gave none).
    Closed(CloseCode),
    /// TCP or TLS ended without a close frame, or the cloud takes nothing any more.
    Lost,
    /// The step could not be done at all. No connection is left.
    Failed(StepError),
}

/// Why a step before the 101 came to no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepError {
    /// No such name, or no resolver answered.
    Dns,
    /// No address accepted TCP, or the connection ended before the answer.
    Connect,
    /// The certificate or the handshake failed.
    Tls,
    /// The VRF does not exist on this device.
    VpnInstanceMissing,
    /// The source address is not on this device.
    SourceIpMissing,
    /// What came back is not the protocol: not HTTP/1.1, a redirect, a body too large, bad JSON, a missing member.
    Protocol,
}

impl StepError {
    /// The reason shown in the state container.
    pub fn reason(self) -> FailureReason {
        match self {
            Self::Dns => FailureReason::DnsFailed,
            Self::Connect => FailureReason::ConnectFailed,
            Self::Tls => FailureReason::TlsFailed,
            Self::VpnInstanceMissing => FailureReason::VpnInstanceMissing,
            Self::SourceIpMissing => FailureReason::SourceIpMissing,
            Self::Protocol => FailureReason::Protocol,
        }
    }
}

/// The outcome of steps 1 and 2, with Digest already worked out: challenge, nonce, `stale` and `rspauth` stay below. A
/// second `stale`, a challenge with MD5 or Basic alone, a redirect or a bad body is `Failed(StepError::Protocol)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationOutcome {
    /// 200, and the cloud proved that it knows the password (or none is configured).
    Granted {
        /// Bearer token of registration and handshake.
        token: Secret,
    },
    /// The challenge came with `Connection: close`: the nonce is kept, the same is to be asked on a new connection.
    AskAgain,
    /// 401 after credentials were sent, or a challenge without a configured password.
    PasswordRefused,
    /// Wrong or missing `rspauth`, or 200 without a challenge although a password is configured.
    CloudNotAuthentic,
    /// 403 `serial-number-not-registered`.
    SerialNumberNotRegistered,
    /// 403 `bound-to-another-user`.
    BoundToAnotherUser,
    /// 403 `code-invalid`: the answer to an unbinding code.
    CodeInvalid,
    /// 403 with any other reason.
    Refused,
    /// 429 or 503.
    Busy {
        /// `Retry-After`, counted from now.
        retry_after: Option<Duration>,
    },
}

impl AuthenticationOutcome {
    /// Why the device got no token.
    pub fn refusal(&self) -> FailureReason {
        match self {
            Self::PasswordRefused => FailureReason::PasswordRefused,
            Self::CloudNotAuthentic => FailureReason::CloudNotAuthentic,
            Self::SerialNumberNotRegistered => FailureReason::SerialNumberNotRegistered,
            Self::BoundToAnotherUser => FailureReason::BoundToAnotherUser,
            Self::Busy { .. } => FailureReason::Busy,
            Self::Granted { .. } | Self::AskAgain => FailureReason::Protocol,
            // "403 with any other reason": `code-invalid` too, when no code was sent.
            Self::CodeInvalid | Self::Refused => FailureReason::AuthenticationFailed,
        }
    }
}

/// What the network says about a subconnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubconnectionReply {
    /// This step has begun; each has its own deadline.
    Step(Step),
    /// 101: the WebSocket stands.
    Upgraded,
    /// The handshake was answered by anything else.
    Refused(UpgradeRefusal),
    /// A frame was heard. May leave out all but one a second.
    Alive,
    /// The cloud closed it.
    Closed(CloseCode),
    /// The cloud broke the rules of the service; the code is to be sent back.
    Violation(CloseCode),
    /// TCP or TLS ended without a close frame.
    Lost,
    /// A step before the handshake failed.
    Failed(StepError),
}

/// The steps by which a subconnection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The URL's host is looked up.
    Resolve,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
    /// The WebSocket handshake.
    Upgrade,
}

/// What it takes to dial: where, from where, and whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host the certificate must bear and `Host:` names.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// Records to ask for.
    pub family: Family,
    /// Source address and VRF.
    pub path: Path,
    /// Trust anchors (DER); empty means the platform's roots.
    pub trust: Arc<BTreeSet<Vec<u8>>>,
}

impl Endpoint {
    /// Where a way of a target leads.
    pub fn of(target: &Target, way: &Way) -> Self {
        Self {
            host: way.host.clone(),
            port: way.port,
            family: way.family,
            path: way.path.clone(),
            trust: target.trust.clone(),
        }
    }
}

/// The connections that there may be at a time, apart from the subconnections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// The main connection, or the attempt in its place.
    Main,
    /// The probe of the primary while a backup server carries the main connection; never upgraded as such.
    Probe,
}

/// A way to a server that came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Whether it was to be the tunnel, or a probe.
    pub line: Line,
    /// Whose way it was; the address as far as it was known.
    pub server: ServerStatus,
    /// Why.
    pub reason: FailureReason,
}

/// What the machine orders. At most one main connection exists: each `Connect` is preceded by the `Close` or `Abort`
/// of the one before on its line, unless the network itself reported its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Looks the host up: static hosts, then the resolvers, over the endpoint's path. Reply: `Resolved` or `Failed`.
    Resolve {
        /// To be echoed.
        attempt: Attempt,
        /// On which line.
        line: Line,
        /// Whose host; never a literal.
        endpoint: Endpoint,
    },
    /// Dials (RFC 8305 order among the addresses), then TLS. Replies: `TcpConnected`, `Connected`, or `Failed`.
    Connect {
        /// To be echoed.
        attempt: Attempt,
        /// On which line.
        line: Line,
        /// Whom.
        endpoint: Endpoint,
        /// Never empty.
        addresses: Vec<IpAddr>,
    },
    /// Steps 1 and 2 on the connection. Reply: `Authentication` or `Failed`.
    Authenticate {
        /// To be echoed.
        attempt: Attempt,
        /// On which line.
        line: Line,
        /// The nonce is kept for (host, port, realm, password).
        password: Option<Secret>,
        /// Asks, with this code, to be released from the user it is bound to.
        unbinding_code: Option<Secret>,
    },
    /// Steps 3 and 4 on the connection. Reply: `Registration` or `Failed`.
    Register {
        /// To be echoed.
        attempt: Attempt,
        /// On which line.
        line: Line,
        /// Bearer token.
        token: Secret,
        /// In alphabetical order.
        services: Vec<String>,
        /// Absent before the first loss.
        last_down: Option<LastDownReason>,
    },
    /// Steps 5 and 6 on the connection. Reply: `Upgraded`, `UpgradeRefused` or `Failed`; after the
    /// first `Message`, `Alive`, … follow with the same number.
    Upgrade {
        /// To be echoed, for as long as the connection lives.
        attempt: Attempt,
        /// From the registration.
        url: CloudUrl,
        /// Bearer token.
        token: Secret,
    },
    /// Sends a message on the established connection.
    Send(DeviceMessage),
    /// Ends the established connection with a close frame, in the background and within a bound; nothing more of it is
    /// reported.
    Close(CloseCode),
    /// The probe's connection becomes the main connection, whose `Close` came before; `Upgrade` follows.
    Promote,
    /// Drops whatever the line is at: a lookup, a dial, a request.
    Abort(Line),
    /// Opens a subconnection: resolve, TCP, TLS, handshake. Replies: `Step` as each
    /// begins, then `Upgraded`, `Refused` or `Failed`.
    OpenSubconnection {
        /// To be echoed, for as long as it lives.
        attempt: Attempt,
        /// Its service.
        service: String,
        /// From the list.
        url: CloudUrl,
        /// Path and trust of the main connection, host and port of the URL.
        endpoint: Endpoint,
        /// Bearer token.
        token: Secret,
    },
    /// Sends a WebSocket ping on it.
    PingSubconnection(Attempt),
    /// Ends it with a close frame once it stands, else drops it; nothing more of it is reported.
    CloseSubconnection(Attempt, CloseCode),
    /// Stores the unbinding record.
    SaveUnbinding(Unbinding),
    /// Stores the last loss.
    SaveLastDown(LastDown),
    /// Tells subscribers and the telemetry service.
    Notify(Notification),
}

/// The notifications of the module, as far as the machine knows what is in them.
#[derive(Clone, Debug, PartialEq)]
pub enum Notification {
    /// `connection-state-changed`
    ConnectionStateChanged {
        /// The phase before.
        previous: ConnectionState,
        /// The phase now.
        state: ConnectionState,
        /// The step now.
        device: DeviceState,
        /// Whom it is about; absent when idle.
        server: Option<ServerStatus>,
        /// Why the last attempt failed; absent from the 101 on.
        failure: Option<FailureReason>,
        /// Why the tunnel ended, when that is what happened.
        down: Option<LastDownReason>,
    },
    /// `subconnection-state-changed`
    SubconnectionStateChanged {
        /// Its service.
        service: String,
        /// Its state before; absent if it is new.
        previous: Option<SubconnectionState>,
        /// Its state now.
        state: SubconnectionState,
        /// Its URL.
        url: String,
        /// Why its last attempt failed; absent from the 101 on.
        failure: Option<FailureReason>,
    },
    /// `unbinding-answered`
    UnbindingAnswered {
        /// Number of the code.
        id: u64,
        /// Accepted or refused.
        state: UnbindingState,
        /// The cloud's word, when refused.
        reason: Option<String>,
    },
    /// `all-servers-failed`, once for each outage.
    AllServersFailed {
        /// Attempts since the last establishment.
        attempts: u64,
        /// The next attempt.
        next_attempt_at: Instant,
        /// Those tried in the cycle, in order.
        servers: Vec<(ServerStatus, FailureReason)>,
    },
}
