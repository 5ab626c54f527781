//! The state container and the notifications of cloud-management as data trees.

use std::time::{Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::error::RpcError;
use crate::model::paths::{self, CLOUD_STATE};
use crate::model::schema::Schema;
use crate::model::status::{
    Clocks, CloudStatus, Moment, ServerStatus, SubconnectionStatus, UnbindingState,
};
use crate::model::tree::Tree;
use crate::tunnel::machine::Notification;

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

/// Writes leaves below one node; a value that the model refuses is left out rather than taking the rest with it, and the
/// first such error is kept.
struct Writer<'a> {
    tree: &'a mut Tree,
    base: String,
    clocks: Clocks,
    error: Option<RpcError>,
}

impl<'a> Writer<'a> {
    fn new(tree: &'a mut Tree, base: &str, clocks: Clocks) -> Self {
        Self {
            tree,
            base: base.to_owned(),
            clocks,
            error: None,
        }
    }

    fn text(&mut self, leaf: &str, value: impl Into<Option<String>>) {
        let Some(value) = value.into() else { return };
        let path = format!("{}/{leaf}", self.base);
        if let Err(error) = self.tree.set(&path, Some(&value)) {
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
        let date = at.map(|at| date_and_time(self.clocks.date_of_moment(at)));
        self.text(leaf, date);
    }

    fn server(&mut self, server: &ServerStatus) {
        self.text("server-domain", server.domain.clone());
        self.text("server-address", server.address.map(|a| a.to_string()));
        self.number("server-port", server.port.into());
    }

    fn done(self) -> Result<(), RpcError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// `yang:date-and-time` (RFC 6991, section 3), in UTC.
fn date_and_time(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)
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
    let mut to = Writer::new(tree, CLOUD_STATE, clocks);
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
    to.text("clock-unset", status.clock_unset.to_string());
    if let Some(last_down) = status.last_down {
        to.word("last-down/reason", last_down.reason.as_yang());
        to.moment("last-down/at", Some(last_down.at));
    }
    to.counter("attempts", status.attempts);
    to.instant("next-attempt-at", status.next_attempt_at);
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
        let mut to = Writer::new(tree, &base, clocks);
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
    let mut to = Writer::new(tree, &base, clocks);
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
            let mut to = Writer::new(&mut tree, paths::CONNECTION_STATE_CHANGED, clocks);
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
            let mut to = Writer::new(&mut tree, paths::SUBCONNECTION_STATE_CHANGED, clocks);
            to.text("service", service.clone());
            to.text("previous-state", previous.map(|p| p.as_yang().into()));
            to.word("state", state.as_yang());
            to.text("url", url.clone());
            to.text("failure-reason", failure.map(|f| f.as_yang().into()));
            to.done()?;
        }
        Notification::UnbindingAnswered { id, state, reason } => {
            let mut to = Writer::new(&mut tree, paths::UNBINDING_ANSWERED, clocks);
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
    let mut to = Writer::new(tree, paths::ALL_SERVERS_FAILED, clocks);
    to.counter("attempts", *attempts);
    to.instant("next-attempt-at", Some(*next_attempt_at));
    to.done()?;
    for (position, (server, failure)) in servers.iter().enumerate() {
        let base = format!("{}/server[{}]", paths::ALL_SERVERS_FAILED, position + 1);
        let mut to = Writer::new(tree, &base, clocks);
        to.server(server);
        to.word("failure-reason", failure.as_yang());
        to.done()?;
    }
    Ok(())
}
