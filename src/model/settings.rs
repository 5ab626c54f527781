//! What the configuration says, parsed into types: no reader of these ever sees an invalid value.
//!
//! The readers from the tree are in `settings/read.rs`; the defaults here are those of the YANG modules.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

pub mod call_home;
pub mod logging;
mod read;

/// A clear-text secret: wiped on drop, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the clear text over.
    pub fn new(clear: impl Into<String>) -> Self {
        Self(Zeroizing::new(clear.into()))
    }
    /// The clear text; for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One address family's way to the cloud server (`server`, `server/ipv6`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings<A> {
    /// Domain name or IP literal as configured.
    pub domain: Option<String>,
    /// The VRF, absent for the public network.
    pub vpn_instance: Option<String>,
    /// Source address.
    pub source_ip: Option<A>,
}

impl<A> Default for ServerSettings<A> {
    fn default() -> Self {
        Self {
            domain: None,
            vpn_instance: None,
            source_ip: None,
        }
    }
}

/// The family of the addresses that a name is resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A records.
    Ipv4,
    /// AAAA records.
    Ipv6,
}

/// An entry of `backup-server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupServer {
    /// In which family it is reached.
    pub family: Family,
    /// Domain name, or an address of the family.
    pub domain: String,
    /// TCP port; absent means that of the primary.
    pub port: Option<u16>,
    /// The VRF, absent for the public network.
    pub vpn_instance: Option<String>,
    /// Source address, of the family.
    pub source_ip: Option<IpAddr>,
}

/// `/cloud-management` as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudSettings {
    /// `server`: A records or a literal.
    pub ipv4: ServerSettings<Ipv4Addr>,
    /// `server/ipv6`: AAAA records or a literal.
    pub ipv6: ServerSettings<Ipv6Addr>,
    /// TCP port, 443 by default.
    pub port: u16,
    /// The password in clear text, if configured.
    pub password: Option<Secret>,
    /// Backup servers, in the order to try them.
    pub backups: Vec<BackupServer>,
    /// How often the primary is probed while a backup carries the tunnel, 30 min by default; absent means never.
    pub primary_return: Option<Duration>,
    /// Interval of keepalives, 10 s to 600 s, 180 s by default.
    pub keepalive_interval: Duration,
    /// The unbinding code, if configured.
    pub unbinding_code: Option<Secret>,
    /// Trust anchors (DER, in no order); empty means the platform's roots.
    pub trust: Arc<BTreeSet<Vec<u8>>>,
    /// Interfaces on which domain and password are discovered (`discovery/dhcp`); the first that has a value wins.
    pub discovery: Vec<String>,
    /// Services that are switched off (`service/enabled` = false); those not named are on.
    pub disabled_services: BTreeSet<String>,
}

impl Default for CloudSettings {
    fn default() -> Self {
        Self {
            ipv4: ServerSettings::default(),
            ipv6: ServerSettings::default(),
            port: 443,
            password: None,
            backups: Vec::new(),
            primary_return: Some(Duration::from_secs(30 * 60)),
            keepalive_interval: Duration::from_secs(180),
            unbinding_code: None,
            trust: Arc::default(),
            discovery: Vec::new(),
            disabled_services: BTreeSet::new(),
        }
    }
}

/// How names are resolved (ietf-system dns-resolver and device-hosts).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Static host map: name in lower case without a trailing dot, addresses in the user's order.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Configured resolvers (address, port); empty means the system's.
    pub servers: Vec<(IpAddr, u16)>,
    /// Search list.
    pub search: Vec<String>,
    /// Seconds before a query is repeated.
    pub timeout: Duration,
    /// Attempts for each resolver.
    pub attempts: u8,
}

/// A user of ietf-system (RFC 7317, section 3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEntry {
    /// Login name.
    pub name: String,
    /// iana-crypt-hash form: `$1$…` (MD5, never accepted at login), `$5$…` or `$6$…`.
    pub password: Option<String>,
    /// Authorized keys: (algorithm, key blob).
    pub authorized_keys: Vec<(String, Vec<u8>)>,
}

/// The limits table of the interface; each row is a leaf of `/device-management/limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message_size: usize,
    /// Elements nested in one message.
    pub message_depth: usize,
    /// Key exchange and authentication.
    pub login_timeout: Duration,
    /// Authentication attempts on one connection.
    pub login_attempts: u32,
    /// From the start of the session to the client's hello.
    pub hello_timeout: Duration,
    /// Without a request; zero is for ever.
    pub idle_timeout: Duration,
    /// Without progress in writing to a client.
    pub write_timeout: Duration,
    /// Requests waiting in one session.
    pub pipelined_requests: usize,
    /// Octets waiting in one session.
    pub pipelined_octets: usize,
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one user.
    pub sessions_per_user: usize,
    /// Channels on one SSH connection.
    pub channels: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Events in the replay log.
    pub replay_events: usize,
    /// Octets in the replay log.
    pub replay_octets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 16 << 20,
            message_depth: 256,
            login_timeout: Duration::from_secs(30),
            login_attempts: 3,
            hello_timeout: Duration::from_secs(30),
            idle_timeout: Duration::ZERO,
            write_timeout: Duration::from_secs(60),
            pipelined_requests: 1024,
            pipelined_octets: 16 << 20,
            sessions: 1024,
            sessions_per_user: 256,
            channels: 32,
            subscriptions: 64,
            replay_events: 10_000,
            replay_octets: 16 << 20,
        }
    }
}
