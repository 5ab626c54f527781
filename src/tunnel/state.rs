//! The state container and the notifications of cloud-management as data trees.

mod connection_test;

use std::time::Instant;

use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths::{self, CLOUD_STATE};
use crate::model::schema::Schema;
use crate::model::status::{
    Clocks, CloudStatus, Moment, ServerCertificate, ServerStatus, SubconnectionStatus,
    UnbindingState,
};
use crate::model::tree::{Cursor, Tree};
use crate::tunnel::machine::Notification;

pub use connection_test::write_test;

/// `octets-in`, `octets-out` and `dropped` of a subconnection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Octets of messages that came.
    pub octets_in: u64,
    /// Octets of messages that went.
    pub octets_out: u64,
    /// Messages that were dropped.
    pub dropped: u64,
}

impl Traffic {
    /// This and another together.
    pub fn and(self, other: Self) -> Self {
        Self {
            octets_in: self.octets_in.saturating_add(other.octets_in),
            octets_out: self.octets_out.saturating_add(other.octets_out),
            dropped: self.dropped.saturating_add(other.dropped),
        }
    }
}

/// Writes leaves below one node; a value that the model refuses is left out rather than taking the rest with it, and the
/// first such error is kept.
struct Writer<'a> {
    at: Cursor<'a>,
    clocks: Clocks,
    error: Option<RpcError>,
}

impl<'a> Writer<'a> {
    fn new(tree: &'a mut Tree, base: &str, clocks: Clocks) -> Result<Self, RpcError> {
        Ok(Self {
            at: Cursor::at(tree, base)?,
            clocks,
            error: None,
        })
    }

    fn text(&mut self, leaf: &str, value: impl Into<Option<String>>) {
        let Some(value) = value.into() else { return };
        if let Err(error) = self.at.put(leaf, &value) {
            self.error.get_or_insert(error);
        }
    }

    fn word(&mut self, leaf: &str, word: &'static str) {
        self.text(leaf, word.to_owned());
    }

    fn number(&mut self, leaf: &str, value: u64) {
        self.text(leaf, value.to_string());
    }

    /// For the leaves of 32 bits.
    fn counter(&mut self, leaf: &str, value: u64) {
        self.number(leaf, value.min(u32::MAX.into()));
    }

    fn instant(&mut self, leaf: &str, at: Option<Instant>) {
        self.moment(leaf, at.map(Moment::Run));
    }

    fn moment(&mut self, leaf: &str, at: Option<Moment>) {
        let date = at.map(|at| date_and_time::seconds(self.clocks.date_of_moment(at)));
        self.text(leaf, date);
    }

    fn server(&mut self, server: &ServerStatus) {
        self.text("server-domain", server.domain.clone());
        self.text("server-address", server.address.map(|a| a.to_string()));
        self.number("server-port", server.port.into());
    }

    fn certificate(&mut self, shown: Option<&ServerCertificate>) {
        let Some(certificate) = shown else { return };
        self.text("server-certificate/subject", certificate.subject.clone());
        self.text("server-certificate/issuer", certificate.issuer.clone());
        let not_after = Some(Moment::Stored(certificate.not_after));
        self.moment("server-certificate/not-after", not_after);
    }

    fn done(self) -> Result<(), RpcError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Writes the state container.
///
/// # Errors
/// The first value that the model refuses; all others are written.
pub fn write(
    tree: &mut Tree,
    status: &CloudStatus,
    clocks: Clocks,
    traffic: &dyn Fn(&str) -> Option<Traffic>,
) -> Result<(), RpcError> {
    let mut to = Writer::new(tree, CLOUD_STATE, clocks)?;
    to.word("connection-state", status.connection.as_yang());
    to.word("device-state", status.device.as_yang());
    to.word("process-state", status.process.as_yang());
    to.text("failure-reason", status.failure.map(|f| f.as_yang().into()));
    if let Some(server) = &status.server {
        to.server(server);
    }
    to.text(
        "domain-origin",
        status.domain_origin.map(|o| o.as_yang().into()),
    );
    to.text(
        "password-origin",
        status.password_origin.map(|o| o.as_yang().into()),
    );
    to.instant("connected-at", status.connected_at);
    if let Some(since) = status.connected_at {
        let duration = clocks.instant.saturating_duration_since(since);
        to.counter("duration", duration.as_secs());
    }
    to.certificate(status.certificate.as_ref());
    to.text("clock-unset", status.clock_unset.to_string());
    if let Some(last_down) = status.last_down {
        to.word("last-down/reason", last_down.reason.as_yang());
        to.moment("last-down/at", Some(last_down.at));
    }
    to.counter("attempts", status.attempts);
    to.instant("next-attempt-at", status.next_attempt_at);
    if let Some(probe) = &status.primary_probe {
        to.instant("primary-probe/at", probe.at);
        let failure = probe.failure.map(|f| f.as_yang().into());
        to.text("primary-probe/failure-reason", failure);
        to.instant("primary-probe/next-at", probe.next_at);
    }
    if status.connected_at.is_some() {
        keepalives(&mut to, status);
    }
    to.word("unbinding/status", status.unbinding.state.as_yang());
    to.text("unbinding/reason", status.unbinding.reason.clone());
    to.moment("unbinding/at", status.unbinding.at);
    to.done()?;
    for discovered in &status.discovered {
        let base = format!(
            "{CLOUD_STATE}/discovered[interface='{}']",
            discovered.interface
        );
        let mut to = Writer::new(tree, &base, clocks)?;
        to.text("domain", discovered.domain.clone());
        to.text("password-present", discovered.password_present.to_string());
        to.moment("at", Some(discovered.at));
        to.done()?;
    }
    for one in &status.subconnections {
        let traffic = traffic(&one.service).unwrap_or_default();
        subconnection(tree, one, traffic, clocks)?;
    }
    Ok(())
}

fn keepalives(to: &mut Writer<'_>, status: &CloudStatus) {
    let keepalives = status.keepalives;
    to.counter("keepalives/sent", keepalives.sent);
    to.counter("keepalives/answered", keepalives.answered);
    to.counter("keepalives/missed", keepalives.missed);
    if let Some(time) = keepalives.round_trip_time {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        to.counter("keepalives/round-trip-time", microseconds);
    }
}

fn subconnection(
    tree: &mut Tree,
    one: &SubconnectionStatus,
    traffic: Traffic,
    clocks: Clocks,
) -> Result<(), RpcError> {
    // Only services that are known here have one, and their names hold no quotation mark.
    let base = format!("{CLOUD_STATE}/subconnection[service='{}']", one.service);
    let mut to = Writer::new(tree, &base, clocks)?;
    to.word("state", one.state.as_yang());
    to.text("url", one.url.clone());
    to.instant("connected-at", one.connected_at);
    to.counter("attempts", one.attempts);
    to.text("failure-reason", one.failure.map(|f| f.as_yang().into()));
    to.number("octets-in", traffic.octets_in);
    to.number("octets-out", traffic.octets_out);
    to.number("dropped", traffic.dropped);
    to.done()
}

/// A notification as the tree of its node.
///
/// # Errors
/// A value that the model refuses.
pub fn notification(schema: Schema, told: &Notification, clocks: Clocks) -> Result<Tree, RpcError> {
    let mut tree = Tree::new(schema);
    match told {
        Notification::ConnectionStateChanged {
            previous,
            state,
            device,
            server,
            failure,
            down,
        } => {
            let mut to = Writer::new(&mut tree, paths::CONNECTION_STATE_CHANGED, clocks)?;
            to.word("previous-connection-state", previous.as_yang());
            to.word("connection-state", state.as_yang());
            to.word("device-state", device.as_yang());
            if let Some(server) = server {
                to.server(server);
            }
            to.text("failure-reason", failure.map(|f| f.as_yang().into()));
            to.text("down-reason", down.map(|d| d.as_yang().into()));
            to.done()?;
        }
        Notification::SubconnectionStateChanged {
            service,
            previous,
            state,
            url,
            failure,
        } => {
            let mut to = Writer::new(&mut tree, paths::SUBCONNECTION_STATE_CHANGED, clocks)?;
            to.text("service", service.clone());
            to.text("previous-state", previous.map(|p| p.as_yang().into()));
            to.word("state", state.as_yang());
            to.text("url", url.clone());
            to.text("failure-reason", failure.map(|f| f.as_yang().into()));
            to.done()?;
        }
        Notification::UnbindingAnswered { id, state, reason } => {
            let mut to = Writer::new(&mut tree, paths::UNBINDING_ANSWERED, clocks)?;
            to.number("id", *id);
            let accepted = *state == UnbindingState::Accepted;
            to.word("result", if accepted { "accepted" } else { "refused" });
            to.text("reason", reason.clone());
            to.done()?;
        }
        Notification::AllServersFailed { .. } => all_servers_failed(&mut tree, told, clocks)?,
    }
    Ok(tree)
}

fn all_servers_failed(
    tree: &mut Tree,
    told: &Notification,
    clocks: Clocks,
) -> Result<(), RpcError> {
    let Notification::AllServersFailed {
        attempts,
        next_attempt_at,
        servers,
    } = told
    else {
        return Ok(());
    };
    let mut to = Writer::new(tree, paths::ALL_SERVERS_FAILED, clocks)?;
    to.counter("attempts", *attempts);
    to.instant("next-attempt-at", Some(*next_attempt_at));
    to.done()?;
    for (position, (server, failure)) in servers.iter().enumerate() {
        let base = format!("{}/server[{}]", paths::ALL_SERVERS_FAILED, position + 1);
        let mut to = Writer::new(tree, &base, clocks)?;
        to.server(server);
        to.word("failure-reason", failure.as_yang());
        to.done()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::model::settings::Secret;
    use crate::model::status::{
        ConnectionState, DeviceState, DiscoveredStatus, FailureReason, Keepalives, LastDown,
        LastDownReason, Origin, PrimaryProbe, ProcessState, ServerCertificate, SubconnectionState,
        Unbinding,
    };

    fn schema() -> Schema {
        Schema::load(&[]).unwrap()
    }

    fn clocks() -> Clocks {
        Clocks {
            instant: Instant::now(),
            date: SystemTime::UNIX_EPOCH + Duration::from_secs(1_548_598_720),
        }
    }

    fn server() -> ServerStatus {
        ServerStatus {
            address: Some([10, 1, 1, 1].into()),
            domain: "cloud.com".into(),
            port: 443,
        }
    }

    /// A status with every leaf of the container.
    fn full(now: Instant) -> CloudStatus {
        CloudStatus {
            connection: ConnectionState::Established,
            device: DeviceState::RequestSuccess,
            process: ProcessState::MessageReceived,
            failure: Some(FailureReason::Timeout),
            server: Some(server()),
            domain_origin: Some(Origin::Dhcp),
            password_origin: Some(Origin::Configured),
            connected_at: now.checked_sub(Duration::from_secs(121)),
            certificate: Some(ServerCertificate {
                subject: "CN=cloud".into(),
                issuer: "CN=authority".into(),
                not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_491_200),
            }),
            clock_unset: true,
            last_down: Some(LastDown {
                reason: LastDownReason::KeepaliveExpired,
                at: Moment::Run(now),
            }),
            attempts: 3,
            next_attempt_at: Some(now),
            primary_probe: Some(PrimaryProbe {
                at: Some(now),
                failure: Some(FailureReason::ConnectFailed),
                next_at: Some(now),
            }),
            keepalives: Keepalives {
                sent: 3,
                answered: 1,
                missed: 1,
                round_trip_time: Some(Duration::from_micros(250)),
            },
            unbinding: Unbinding {
                state: UnbindingState::Refused,
                reason: Some("code-invalid".into()),
                at: Some(Moment::Run(now)),
                id: 4,
                code: Some(Secret::new("4711")),
                configured: None,
            },
            discovered: vec![DiscoveredStatus {
                interface: "eth0".into(),
                domain: Some("cloud.com".into()),
                password_present: true,
                at: Moment::Run(now),
            }],
            subconnections: vec![SubconnectionStatus {
                service: "telemetry".into(),
                state: SubconnectionState::Established,
                url: "wss://cloud.com/t".into(),
                connected_at: Some(now),
                attempts: 1,
                failure: Some(FailureReason::Busy),
            }],
            ignored_messages: 1,
        }
    }

    #[test]
    fn every_leaf_of_the_container_is_written() {
        let clocks = clocks();
        let mut tree = Tree::new(schema());
        let traffic = Traffic {
            octets_in: 1,
            octets_out: 2,
            dropped: 3,
        };
        write(&mut tree, &full(clocks.instant), clocks, &|_| Some(traffic)).unwrap();
        let value = |leaf: &str| tree.value(&format!("{CLOUD_STATE}/{leaf}"));
        for (leaf, expected) in [
            ("connection-state", "established"),
            ("device-state", "request-success"),
            ("process-state", "message-received"),
            ("failure-reason", "timeout"),
            ("server-domain", "cloud.com"),
            ("server-address", "10.1.1.1"),
            ("server-port", "443"),
            ("domain-origin", "dhcp"),
            ("password-origin", "configured"),
            ("duration", "121"),
            ("server-certificate/subject", "CN=cloud"),
            ("server-certificate/issuer", "CN=authority"),
            ("server-certificate/not-after", "2026-11-01T00:00:00Z"),
            ("clock-unset", "true"),
            ("last-down/reason", "keepalive-expired"),
            ("attempts", "3"),
            ("primary-probe/failure-reason", "connect-failed"),
            ("keepalives/sent", "3"),
            ("keepalives/answered", "1"),
            ("keepalives/missed", "1"),
            ("keepalives/round-trip-time", "250"),
            ("unbinding/status", "refused"),
            ("unbinding/reason", "code-invalid"),
            ("discovered[interface='eth0']/domain", "cloud.com"),
            ("discovered[interface='eth0']/password-present", "true"),
            ("subconnection[service='telemetry']/state", "established"),
            (
                "subconnection[service='telemetry']/url",
                "wss://cloud.com/t",
            ),
            ("subconnection[service='telemetry']/attempts", "1"),
            ("subconnection[service='telemetry']/failure-reason", "busy"),
            ("subconnection[service='telemetry']/octets-in", "1"),
            ("subconnection[service='telemetry']/octets-out", "2"),
            ("subconnection[service='telemetry']/dropped", "3"),
        ] {
            assert_eq!(value(leaf).as_deref(), Some(expected), "{leaf}");
        }
        for date in [
            "connected-at",
            "last-down/at",
            "next-attempt-at",
            "primary-probe/at",
            "primary-probe/next-at",
            "unbinding/at",
            "discovered[interface='eth0']/at",
            "subconnection[service='telemetry']/connected-at",
        ] {
            assert!(
                value(date).is_some_and(|date| date.contains("2019-01-27")),
                "{date}"
            );
        }
        assert!(!tree.to_xml().contains("4711"));
    }

    #[test]
    fn every_word_fits_the_model() {
        let clocks = clocks();
        let fits = |change: &dyn Fn(&mut CloudStatus)| {
            let mut status = full(clocks.instant);
            change(&mut status);
            write(&mut Tree::new(schema()), &status, clocks, &|_| None).unwrap();
        };
        for &word in ConnectionState::ALL {
            fits(&|status| status.connection = word);
        }
        for &word in DeviceState::ALL {
            fits(&|status| status.device = word);
        }
        for &word in ProcessState::ALL {
            fits(&|status| status.process = word);
        }
        for &word in FailureReason::ALL {
            fits(&|status| status.failure = Some(word));
        }
        for &reason in LastDownReason::ALL {
            let at = Moment::Run(clocks.instant);
            fits(&|status| status.last_down = Some(LastDown { reason, at }));
        }
        for &word in UnbindingState::ALL {
            fits(&|status| status.unbinding.state = word);
        }
        for &word in SubconnectionState::ALL {
            fits(&|status| status.subconnections[0].state = word);
        }
    }

    #[test]
    fn every_notification_fits_the_model() {
        let clocks = clocks();
        let told = [
            Notification::ConnectionStateChanged {
                previous: ConnectionState::Established,
                state: ConnectionState::Unconnected,
                device: DeviceState::Waiting,
                server: Some(server()),
                failure: Some(FailureReason::Timeout),
                down: Some(LastDownReason::Protocol),
            },
            Notification::SubconnectionStateChanged {
                service: "telemetry".into(),
                previous: Some(SubconnectionState::Connecting),
                state: SubconnectionState::Closed,
                url: "wss://cloud.com/t".into(),
                failure: Some(FailureReason::Busy),
            },
            Notification::UnbindingAnswered {
                id: 1,
                state: UnbindingState::Refused,
                reason: Some("code-invalid".into()),
            },
            Notification::AllServersFailed {
                attempts: 2,
                next_attempt_at: clocks.instant,
                servers: vec![
                    (server(), FailureReason::Timeout),
                    (server(), FailureReason::DnsFailed),
                ],
            },
        ];
        for told in told {
            let tree = notification(schema(), &told, clocks).unwrap();
            assert!(
                tree.to_json().starts_with("{\"cloud-management:"),
                "{told:?}"
            );
            if let Notification::AllServersFailed { .. } = told {
                assert_eq!(tree.to_xml().matches("<server>").count(), 2);
            }
        }
    }
}
