//! What a session asks of the server behind it, and what that server may do to a session.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::reply::Reply;
use super::rpc::Rpc;
use super::session::{EndSwitch, Owed};
use crate::model::error::{Errors, RpcError};
use crate::model::schema::Schema;

/// The number of a session, from 1 (RFC 6241, section 8.1).
pub use crate::datastore::SessionId;

/// By which door a peer came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// NETCONF over SSH (RFC 6242).
    Ssh,
    /// The Unix socket of this machine.
    Local,
}

impl Transport {
    /// Its name in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Local => "local",
        }
    }

    /// The identity of ietf-netconf-monitoring's `transport`, with its module.
    pub fn identity(self) -> &'static str {
        match self {
            Self::Ssh => "ietf-netconf-monitoring:netconf-ssh",
            Self::Local => "device-management:netconf-local",
        }
    }
}

/// Who is at the other end of a session; the transport has proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Login name.
    pub user: String,
    /// The door.
    pub transport: Transport,
    /// Host the session comes from (RFC 6022, `source-host`), absent for a local one.
    pub source: Option<String>,
    /// The groups that the transport knows him to be in (RFC 8341, section 3.4.3).
    pub groups: Vec<String>,
    /// Whether his session is a recovery session (RFC 8341, section 3.5.2) if access control locks him out.
    pub may_recover: bool,
    /// Where his session says whether it owes him a reply.
    pub owed: Owed,
}

/// Why a session ended (RFC 6470, section 2.2, `termination-reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client closed it.
    Closed,
    /// Another session killed it.
    Killed {
        /// The session that did.
        by: SessionId,
    },
    /// The transport went away, or the client broke the framing or did not read.
    Dropped,
    /// It was idle for too long, or its hello did not come.
    Timeout,
    /// The hello was bad.
    BadHello,
    /// The server ends it: it stops, or the user is no more.
    Other,
}

impl EndReason {
    /// The word of RFC 6470.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Killed { .. } => "killed",
            Self::Dropped => "dropped",
            Self::Timeout => "timeout",
            Self::BadHello => "bad-hello",
            Self::Other => "other",
        }
    }
}

/// Statistics of one session (RFC 6022, section 2.1.5); counted by the session, read by whoever shows the state.
#[derive(Debug, Default)]
pub struct Counters {
    in_rpcs: AtomicU32,
    in_bad_rpcs: AtomicU32,
    out_rpc_errors: AtomicU32,
    out_notifications: AtomicU32,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Correct `<rpc>` messages received.
    pub in_rpcs: u32,
    /// Messages received that were to be an `<rpc>` and were not a correct one.
    pub in_bad_rpcs: u32,
    /// Replies sent that held an `<rpc-error>`.
    pub out_rpc_errors: u32,
    /// Notifications sent.
    pub out_notifications: u32,
}

impl Statistics {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            in_rpcs: self.in_rpcs.wrapping_add(other.in_rpcs),
            in_bad_rpcs: self.in_bad_rpcs.wrapping_add(other.in_bad_rpcs),
            out_rpc_errors: self.out_rpc_errors.wrapping_add(other.out_rpc_errors),
            out_notifications: self.out_notifications.wrapping_add(other.out_notifications),
        }
    }
}

impl Counters {
    pub(super) fn count_rpc(&self) {
        self.in_rpcs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_bad_rpc(&self) {
        self.in_bad_rpcs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.out_rpc_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_notification(&self) {
        self.out_notifications.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Statistics {
        Statistics {
            in_rpcs: self.in_rpcs.load(Ordering::Relaxed),
            in_bad_rpcs: self.in_bad_rpcs.load(Ordering::Relaxed),
            out_rpc_errors: self.out_rpc_errors.load(Ordering::Relaxed),
            out_notifications: self.out_notifications.load(Ordering::Relaxed),
        }
    }
}

/// The server's hold on a session that runs.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) switch: EndSwitch,
    pub(super) counters: Arc<Counters>,
}

impl Control {
    /// Ends the session now, even while it executes or is stuck writing to a client that does not read.
    /// The first reason counts.
    pub fn end(&self, reason: EndReason) {
        self.switch.end(reason);
    }

    /// The session's statistics.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }
}

/// A session that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub session: SessionId,
    /// What the server's hello announces, base versions included.
    pub capabilities: Vec<String>,
}

/// The server behind the sessions. Cheap to clone: each session has one.
pub trait Operations: Clone + Send + Sync + 'static {
    /// Lets a session in. [`Operations::close`] will be called for each that was, however it ends.
    ///
    /// # Errors
    /// `resource-denied` when there are too many sessions.
    fn open(
        &self,
        peer: &Peer,
        control: Control,
    ) -> impl Future<Output = Result<Opened, RpcError>> + Send;

    /// Carries out one operation, after all operations that the session sent before it. `close-session` does not
    /// come here. The future is dropped when the session ends meanwhile.
    ///
    /// # Errors
    /// What the reply says.
    fn execute(
        &self,
        session: SessionId,
        rpc: Rpc,
    ) -> impl Future<Output = Result<Reply, Errors>> + Send;

    /// Releases what the session holds: locks, the candidate, its place. Must not wait.
    fn close(&self, session: SessionId, reason: EndReason);

    /// The modules that messages are read by.
    fn schema(&self) -> Schema;

    /// The namespace of a module, for the prefixes of error paths.
    fn namespace(&self, module: &str) -> Option<String>;
}
