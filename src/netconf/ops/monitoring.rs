//! The state of the server itself (RFC 6022, section 2; RFC 8525).

use std::time::SystemTime;

use crate::datastore::{SessionId, Target, View};
use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::Tree;
use crate::netconf::operations::{Peer, Statistics};

/// Module of [`Monitoring`].
pub const MODULE: &str = "ietf-netconf-monitoring";
/// Its only node at the top.
pub const CONTAINER: &str = "netconf-state";
/// Module of access control, which counts refusals.
pub const ACCESS_CONTROL: &str = "ietf-netconf-acm";
/// Module of the list of modules.
pub const YANG_LIBRARY: &str = "ietf-yang-library";

/// A session as the state shows it.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its number.
    pub id: SessionId,
    /// Who.
    pub peer: Peer,
    /// Since when.
    pub login_time: SystemTime,
    /// What it did.
    pub statistics: Statistics,
}

/// What the server knows beside the datastore, at one moment.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// When the server started.
    pub start_time: SystemTime,
    /// What its hello announces.
    pub capabilities: Vec<String>,
    /// The sessions that are open.
    pub sessions: Vec<SessionState>,
    /// Hellos that ended a session.
    pub in_bad_hellos: u32,
    /// Sessions opened since the start.
    pub in_sessions: u32,
    /// Sessions that ended against the rules.
    pub dropped_sessions: u32,
    /// Those of all sessions, ended ones included.
    pub statistics: Statistics,
}

impl Monitoring {
    /// Adds those parts of `/netconf-state` that `wanted` names, such as `sessions`.
    pub fn state(&self, datastore: &View, wanted: &dyn Fn(&str) -> bool, into: &mut Tree) {
        for part in [
            "capabilities",
            "datastores",
            "schemas",
            "sessions",
            "statistics",
        ] {
            let filled = match part {
                _ if !wanted(part) => Ok(()),
                "capabilities" => self.fill_capabilities(into),
                "datastores" => fill_datastores(datastore, into),
                "schemas" => fill_schemas(datastore, into),
                "sessions" => self.sessions.iter().try_for_each(|one| one.fill(into)),
                _ => self.fill_statistics(into),
            };
            // Every path and value is of the module's own making; a refusal would only leave that part out.
            if let Err(error) = filled {
                debug_assert!(false, "netconf-state: {error}");
            }
        }
    }

    fn fill_capabilities(&self, into: &mut Tree) -> Result<(), RpcError> {
        for uri in &self.capabilities {
            into.set(
                &format!(
                    "{}/capabilities/capability[.='{uri}']",
                    paths::NETCONF_STATE
                ),
                None,
            )?;
        }
        Ok(())
    }

    fn fill_statistics(&self, into: &mut Tree) -> Result<(), RpcError> {
        let path = |leaf: &str| format!("{}/statistics/{leaf}", paths::NETCONF_STATE);
        into.set(
            &path("netconf-start-time"),
            Some(&date_and_time::seconds(self.start_time)),
        )?;
        into.set(
            &path("in-bad-hellos"),
            Some(&self.in_bad_hellos.to_string()),
        )?;
        into.set(&path("in-sessions"), Some(&self.in_sessions.to_string()))?;
        into.set(
            &path("dropped-sessions"),
            Some(&self.dropped_sessions.to_string()),
        )?;
        counters(
            into,
            &format!("{}/statistics", paths::NETCONF_STATE),
            self.statistics,
        )
    }
}

fn fill_datastores(datastore: &View, into: &mut Tree) -> Result<(), RpcError> {
    let mut datastores = vec![
        (Target::Running, "running"),
        (Target::Candidate, "candidate"),
    ];
    if datastore.schema().has_startup() {
        datastores.push((Target::Startup, "startup"));
    }
    for (target, name) in datastores {
        let path = format!(
            "{}/datastores/datastore[name='{name}']",
            paths::NETCONF_STATE
        );
        into.set(&path, None)?;
        if let Some((holder, since)) = datastore.lock_of(target).held() {
            let lock = format!("{path}/locks/global-lock");
            into.set(
                &format!("{lock}/locked-by-session"),
                Some(&holder.to_string()),
            )?;
            into.set(
                &format!("{lock}/locked-time"),
                Some(&date_and_time::seconds(since)),
            )?;
        }
    }
    Ok(())
}

fn fill_schemas(datastore: &View, into: &mut Tree) -> Result<(), RpcError> {
    for text in datastore.schema().texts() {
        let (identifier, version) = (&text.identifier, &text.version);
        for format in ["yang", "yin"] {
            let schema = format!(
                "{}/schemas/schema[identifier='{identifier}'][version='{version}'][format='{MODULE}:{format}']",
                paths::NETCONF_STATE
            );
            into.set(&format!("{schema}/namespace"), Some(&text.namespace))?;
            into.set(&format!("{schema}/location[.='NETCONF']"), None)?;
        }
    }
    Ok(())
}

impl SessionState {
    fn fill(&self, into: &mut Tree) -> Result<(), RpcError> {
        let path = format!(
            "{}/sessions/session[session-id='{}']",
            paths::NETCONF_STATE,
            self.id
        );
        let transport = self.peer.transport.identity();
        into.set(&format!("{path}/transport"), Some(transport))?;
        into.set(&format!("{path}/username"), Some(&self.peer.user))?;
        if let Some(source) = &self.peer.source {
            into.set(&format!("{path}/source-host"), Some(source))?;
        }
        into.set(
            &format!("{path}/login-time"),
            Some(&date_and_time::seconds(self.login_time)),
        )?;
        counters(into, &path, self.statistics)
    }
}

/// Adds `/yang-library` and `/modules-state`, with the datastores there are (RFC 8525, section 3).
pub fn yang_library(schema: Schema, into: &mut Tree) {
    let mut library = Tree::yang_library(schema);
    let startup = schema.has_startup().then_some("startup");
    for name in ["running", "candidate", "operational"]
        .into_iter()
        .chain(startup)
    {
        let path = format!(
            "{}/datastore[name='ietf-datastores:{name}']/schema",
            paths::YANG_LIBRARY
        );
        // The one schema that libyang makes of its modules.
        let set = library.set(&path, Some("complete"));
        debug_assert!(set.is_ok(), "{set:?}");
    }
    into.merge(library);
}

/// The grouping common-counters.
fn counters(into: &mut Tree, path: &str, statistics: Statistics) -> Result<(), RpcError> {
    for (leaf, count) in [
        ("in-rpcs", statistics.in_rpcs),
        ("in-bad-rpcs", statistics.in_bad_rpcs),
        ("out-rpc-errors", statistics.out_rpc_errors),
        ("out-notifications", statistics.out_notifications),
    ] {
        into.set(&format!("{path}/{leaf}"), Some(&count.to_string()))?;
    }
    Ok(())
}
