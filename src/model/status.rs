//! The state of the cloud connection as types, and how each value is spelt: in YANG and on the command line.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::model::settings::Secret;

/// What stands where a value is absent (manual, `display cloud-management state`).
pub const NOT_APPLICABLE: &str = "N/A";

macro_rules! spelt {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $yang:literal, $display:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$value_doc])* $value),+ }

        impl $name {
            /// Every value, in the order of the YANG module.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The value in the YANG module.
            pub fn as_yang(self) -> &'static str {
                match self { $(Self::$value => $yang),+ }
            }
            /// The value as `display cloud-management state` prints it.
            pub fn as_display(self) -> &'static str {
                match self { $(Self::$value => $display),+ }
            }
            /// The value of a word of the YANG module.
            pub fn from_yang(word: &str) -> Option<Self> {
                match word { $($yang => Some(Self::$value),)+ _ => None }
            }
        }
    };
}

mod connection_test;

pub use connection_test::{ConnectionTest, TestFailure, TestStep, TestedServer, TestedStep};

spelt! {
    /// `connection-state`: the phase of the main connection.
    ConnectionState {
        /// Nothing stands and nothing is asked for at the moment.
        Unconnected = "unconnected", "Unconnected";
        /// Between the lookup of the name and the 101.
        Request = "request", "Request";
        /// From the 101 on.
        Established = "established", "Established";
    }
}

spelt! {
    /// `subconnection/state`
    SubconnectionState {
        /// Being made.
        Connecting = "connecting", "Connecting";
        /// From the 101 on.
        Established = "established", "Established";
        /// Until its next attempt.
        Waiting = "waiting", "Waiting";
        /// There is none any more; seen in notifications alone.
        Closed = "closed", "Closed";
    }
}

spelt! {
    /// `device-state`: the step that the device is at.
    DeviceState {
        /// No server is known.
        Idle = "idle", "Idle";
        /// The name is looked up.
        Resolving = "resolving", "Resolving";
        /// TCP and TLS.
        Connecting = "connecting", "Connecting";
        /// Steps 1 and 2 of the manual.
        Authenticating = "authenticating", "Authenticating";
        /// Steps 3 and 4.
        Registering = "registering", "Registering";
        /// Steps 5 and 6.
        Handshaking = "handshaking", "Handshaking";
        /// Step 7: the list of subconnections is asked for.
        RequestSubconnections = "request-subconnections", "Request_subconnections";
        /// From step 8 on.
        RequestSuccess = "request-success", "Request_success";
        /// Until the next attempt.
        Waiting = "waiting", "Waiting";
    }
}

spelt! {
    /// `process-state`: how far the step is.
    ProcessState {
        /// The name is not looked up yet.
        DnsNotParsed = "dns-not-parsed", "DNS not parsed";
        /// The addresses are known; TCP is being set up.
        DnsParsed = "dns-parsed", "DNS parsed";
        /// TCP stands; TLS is being set up.
        MessageNotSent = "message-not-sent", "Message not sent";
        /// The request of the step is out.
        MessageSent = "message-sent", "Message sent";
        /// The deadline of the step passed without an answer.
        MessageNotReceived = "message-not-received", "Message not received";
        /// The answer is in.
        MessageReceived = "message-received", "Message received";
    }
}

spelt! {
    /// `failure-reason`: why the last attempt failed.
    FailureReason {
        /// The name has no address, or no resolver answered.
        DnsFailed = "dns-failed", "DNS failed";
        /// No address accepted the connection, or it ended before the answer.
        ConnectFailed = "connect-failed", "Connect failed";
        /// Certificate or handshake.
        TlsFailed = "tls-failed", "TLS failed";
        /// The cloud does not know the password.
        CloudNotAuthentic = "cloud-not-authentic", "Cloud not authentic";
        /// The cloud refuses the password, or asks for one when none is configured.
        PasswordRefused = "password-refused", "Password refused";
        /// The cloud must be told this serial number first.
        SerialNumberNotRegistered = "serial-number-not-registered", "Serial number not registered";
        /// Another user registered the device; an unbinding code lifts it.
        BoundToAnotherUser = "bound-to-another-user", "Bound to another user";
        /// Refused for any other reason.
        AuthenticationFailed = "authentication-failed", "Authentication failed";
        /// Step 3 was refused.
        RegistrationFailed = "registration-failed", "Registration failed";
        /// Step 5 was refused.
        HandshakeFailed = "handshake-failed", "Handshake failed";
        /// The cloud asks to come back later.
        Busy = "busy", "Busy";
        /// The cloud broke the protocol.
        Protocol = "protocol", "Protocol";
        /// A step was not done within 10 s.
        Timeout = "timeout", "Timeout";
        /// The VRF does not exist on this device.
        VpnInstanceMissing = "vpn-instance-missing", "VPN instance missing";
        /// The source address is not on this device.
        SourceIpMissing = "source-ip-missing", "Source IP missing";
    }
}

impl FailureReason {
    /// Whether time alone will not help, so that the retry is a slow one (cloud-protocol.md, "Retry").
    pub fn is_slow(self) -> bool {
        matches!(
            self,
            Self::CloudNotAuthentic
                | Self::PasswordRefused
                | Self::SerialNumberNotRegistered
                | Self::BoundToAnotherUser
                | Self::AuthenticationFailed
        )
    }
}

spelt! {
    /// `last-down/reason`: why the last tunnel ended.
    LastDownReason {
        /// Nothing was heard for three intervals.
        KeepaliveExpired = "keepalive-expired", "Keepalive expired";
        /// A commit changed the target.
        ConfigurationChanged = "configuration-changed", "Configuration changed";
        /// DHCP found or lost a value.
        DiscoveryChanged = "discovery-changed", "Discovery changed";
        /// The cloud closed it.
        ClosedByCloud = "closed-by-cloud", "Closed by cloud";
        /// TCP or TLS ended without a word.
        ConnectionLost = "connection-lost", "Connection lost";
        /// Another main connection of this serial number took over.
        Evicted = "evicted", "Evicted";
        /// The cloud broke the protocol.
        Protocol = "protocol", "Protocol";
        /// `reset-tunnel`.
        ResetByOperator = "reset-by-operator", "Reset by operator";
        /// The network under it went away.
        NetworkChanged = "network-changed", "Network changed";
        /// The commit guard restored the configuration before.
        CommitRolledBack = "commit-rolled-back", "Commit rolled back";
        /// From a backup server back to the primary, which is there again.
        PrimaryReturn = "primary-return", "Primary return";
        /// The agent ended.
        Shutdown = "shutdown", "Shutdown";
    }
}

spelt! {
    /// `unbinding/status`: where the unbinding code is.
    UnbindingState {
        /// There was never one.
        None = "none", "None";
        /// To be sent when the connection allows it.
        Pending = "pending", "Pending";
        /// Sent, not answered.
        Sent = "sent", "Sent";
        /// The cloud released the device.
        Accepted = "accepted", "Accepted";
        /// The cloud did not.
        Refused = "refused", "Refused";
    }
}

spelt! {
    /// `domain-origin`, `password-origin`: where the effective value comes from.
    Origin {
        /// The configuration.
        Configured = "configured", "Configured";
        /// DHCP option 252 or 253.
        Dhcp = "dhcp", "DHCP";
    }
}

/// A point in time of this run, or one read back from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In this run.
    Run(Instant),
    /// In a run before.
    Stored(SystemTime),
}

/// One reading of both clocks at once; turns instants into dates.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The monotonic clock.
    pub instant: Instant,
    /// The date at the same moment.
    pub date: SystemTime,
}

impl Clocks {
    /// The date of an instant before or after the reading.
    pub fn date_of(self, instant: Instant) -> SystemTime {
        let date = match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.date.checked_add(ahead),
            None => self.date.checked_sub(self.instant - instant),
        };
        date.unwrap_or(self.date)
    }
    /// The date of a moment.
    pub fn date_of_moment(self, moment: Moment) -> SystemTime {
        match moment {
            Moment::Run(instant) => self.date_of(instant),
            Moment::Stored(date) => date,
        }
    }
}

/// `last-down`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDown {
    /// Why.
    pub reason: LastDownReason,
    /// When.
    pub at: Moment,
}

/// The unbinding code and what became of it; survives a restart. Only `state`, `reason` and `at` are in the state container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbinding {
    /// Where the code is.
    pub state: UnbindingState,
    /// The cloud's word when it refused.
    pub reason: Option<String>,
    /// When `state` last changed; absent with `none`.
    pub at: Option<Moment>,
    /// Number of the code, rising with each commit or action that sets one; 0 before the first.
    pub id: u64,
    /// The code while it is pending or sent.
    pub code: Option<Secret>,
    /// The value of the leaf `unbinding-code` that was last taken over, so that a restart does not send it again.
    pub configured: Option<Secret>,
}

impl Unbinding {
    /// The leaf has again the value of before a commit that is taken back. Nobody asks for an unbinding by that: what became
    /// of an earlier code stays as it is, and the code of that commit is sent no more. An answer to it, if it has left
    /// already, still counts.
    pub fn restore(&mut self, configured: Option<Secret>) {
        let taken_back = std::mem::replace(&mut self.configured, configured);
        if taken_back == self.configured || taken_back.is_none() || self.code != taken_back {
            return;
        }
        self.code = None;
        if self.state == UnbindingState::Pending {
            self.state = UnbindingState::None;
            self.at = None;
        }
    }
}

impl Default for Unbinding {
    fn default() -> Self {
        Self {
            state: UnbindingState::None,
            reason: None,
            at: None,
            id: 0,
            code: None,
            configured: None,
        }
    }
}

/// The server that is in use or was last tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// `server-address`, known once the name is looked up.
    pub address: Option<IpAddr>,
    /// `server-domain` as it is compared: lower case, without a trailing dot, or an address literal.
    pub domain: String,
    /// `server-port`
    pub port: u16,
}

/// `server-certificate`: the certificate that the server showed, accepted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// Its subject (RFC 4514); empty where the names stand in the subject alternative name alone.
    pub subject: String,
    /// Who signed it (RFC 4514).
    pub issuer: String,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// `keepalives` of the current connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalives {
    /// Sent on this connection.
    pub sent: u64,
    /// Answered with their own sequence number before the next was sent.
    pub answered: u64,
    /// Not answered when the next was due.
    pub missed: u64,
    /// Of the last one answered.
    pub round_trip_time: Option<Duration>,
}

/// `primary-probe`, while a backup server carries the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrimaryProbe {
    /// When the last one ended; absent before the first.
    pub at: Option<Instant>,
    /// Why it came to nothing.
    pub failure: Option<FailureReason>,
    /// The next one; absent while one is made, and when there is to be none.
    pub next_at: Option<Instant>,
}

/// `discovered` of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredStatus {
    /// Interface name.
    pub interface: String,
    /// Option 253.
    pub domain: Option<String>,
    /// Whether option 252 came.
    pub password_present: bool,
    /// When.
    pub at: Moment,
}

/// `subconnection` of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubconnectionStatus {
    /// Name of the service.
    pub service: String,
    /// How far it is.
    pub state: SubconnectionState,
    /// From the last list.
    pub url: String,
    /// When the 101 came.
    pub connected_at: Option<Instant>,
    /// Attempts since its last establishment.
    pub attempts: u64,
    /// Why the last attempt failed; absent from the 101 on.
    pub failure: Option<FailureReason>,
}

/// The state container, but for the octet counters, which those who carry the octets keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudStatus {
    /// `connection-state`
    pub connection: ConnectionState,
    /// `device-state`
    pub device: DeviceState,
    /// `process-state`
    pub process: ProcessState,
    /// `failure-reason`; absent from the 101 on.
    pub failure: Option<FailureReason>,
    /// `server-address`, `server-domain`, `server-port`; absent when idle.
    pub server: Option<ServerStatus>,
    /// `domain-origin`
    pub domain_origin: Option<Origin>,
    /// `password-origin`
    pub password_origin: Option<Origin>,
    /// `connected-at`, from which `duration` counts.
    pub connected_at: Option<Instant>,
    /// `server-certificate` of the connection in use or last tried, once the server has shown it.
    pub certificate: Option<ServerCertificate>,
    /// `clock-unset`: the certificate was judged although the device's clock is earlier than the build.
    pub clock_unset: bool,
    /// `last-down`
    pub last_down: Option<LastDown>,
    /// `attempts` since the last establishment.
    pub attempts: u64,
    /// `next-attempt-at`, while waiting.
    pub next_attempt_at: Option<Instant>,
    /// `primary-probe`, while a backup server carries the tunnel.
    pub primary_probe: Option<PrimaryProbe>,
    /// `keepalives` of the current connection.
    pub keepalives: Keepalives,
    /// `unbinding`
    pub unbinding: Unbinding,
    /// `discovered`
    pub discovered: Vec<DiscoveredStatus>,
    /// `subconnection`, in alphabetical order of the services.
    pub subconnections: Vec<SubconnectionStatus>,
    /// Messages of the cloud that nobody asked for or knows; not in the YANG module.
    pub ignored_messages: u64,
}

impl Default for CloudStatus {
    /// As long as no server is known.
    fn default() -> Self {
        Self {
            connection: ConnectionState::Unconnected,
            device: DeviceState::Idle,
            process: ProcessState::DnsNotParsed,
            failure: None,
            server: None,
            domain_origin: None,
            password_origin: None,
            connected_at: None,
            certificate: None,
            clock_unset: false,
            last_down: None,
            attempts: 0,
            next_attempt_at: None,
            primary_probe: None,
            keepalives: Keepalives::default(),
            unbinding: Unbinding::default(),
            discovered: Vec::new(),
            subconnections: Vec::new(),
            ignored_messages: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_spells_as_the_manual_prints() {
        assert_eq!(ConnectionState::Established.as_display(), "Established");
        assert_eq!(DeviceState::RequestSuccess.as_display(), "Request_success");
        assert_eq!(
            ProcessState::MessageReceived.as_display(),
            "Message received"
        );
    }

    #[test]
    fn every_word_of_the_module_is_read_back() {
        for &reason in FailureReason::ALL {
            assert_eq!(FailureReason::from_yang(reason.as_yang()), Some(reason));
        }
        for &reason in LastDownReason::ALL {
            assert_eq!(LastDownReason::from_yang(reason.as_yang()), Some(reason));
        }
        assert_eq!(ConnectionState::from_yang("Established"), None);
    }

    #[test]
    fn dates_run_both_ways_from_the_reading() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let start = Instant::now();
        let clocks = Clocks {
            instant: start + Duration::from_secs(100),
            date,
        };
        assert_eq!(clocks.date_of(start), date - Duration::from_secs(100));
        let later = start + Duration::from_secs(130);
        assert_eq!(clocks.date_of(later), date + Duration::from_secs(30));
    }
}
