//! The state of call home as types, and as the tree below `call-home/state`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use crate::datastore::changes::when_published;
use crate::datastore::subscriber::{StateProvider, Telling};
use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::status::Clocks;
use crate::model::tree::{Cursor, Tree};
use crate::tunnel::driver::clocks;

/// `connection-state`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is nobody to call.
    #[default]
    Idle,
    /// Until the next attempt.
    Waiting,
    /// Until the manager accepts.
    Connecting,
    /// Until somebody logs in.
    LoggingIn,
    /// From the login on.
    Connected,
}

/// `last-failure/reason`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No address was found.
    DnsFailed,
    /// No address accepted.
    ConnectFailed,
    /// It took longer than `max-wait`.
    Timeout,
    /// Nobody logged in in time.
    LoginTimeout,
    /// The connection ended before a login.
    Closed,
    /// The agent has too many connections.
    ResourceDenied,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In a word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

impl Failure {
    /// Both.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

/// `last-failure`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The name of the endpoint.
    pub endpoint: String,
    /// Why.
    pub failure: Failure,
    /// When.
    pub at: Instant,
}

/// Where call home stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallHomeStatus {
    /// What it does.
    pub phase: Phase,
    /// The name of the endpoint it is about.
    pub endpoint: Option<String>,
    /// The manager's address, once it has accepted.
    pub address: Option<IpAddr>,
    /// Who has logged in.
    pub user: Option<String>,
    /// When.
    pub connected_at: Option<Instant>,
    /// Attempts since the last that succeeded.
    pub attempts: u32,
    /// When the next one starts.
    pub next_attempt_at: Option<Instant>,
    /// The last attempt that failed, unless one has succeeded since.
    pub last_failure: Option<LastFailure>,
}

impl Phase {
    fn as_yang(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::LoggingIn => "logging-in",
            Self::Connected => "connected",
        }
    }
}

impl Reason {
    /// The word of the YANG module.
    pub fn as_yang(self) -> &'static str {
        match self {
            Self::DnsFailed => "dns-failed",
            Self::ConnectFailed => "connect-failed",
            Self::Timeout => "timeout",
            Self::LoginTimeout => "login-timeout",
            Self::Closed => "closed",
            Self::ResourceDenied => "resource-denied",
        }
    }
}

/// Shows the state.
pub struct CallHomeState(pub watch::Receiver<Arc<CallHomeStatus>>);

impl StateProvider for CallHomeState {
    fn module(&self) -> &'static str {
        "device-management"
    }

    fn state(&self, into: &mut Tree) {
        let status = Arc::clone(&self.0.borrow());
        if let Err(error) = write(into, &status, clocks(SystemTime::now)) {
            tracing::warn!(%error, "the state of call home does not fit its module");
        }
    }

    fn telling(&self) -> Option<Telling> {
        Telling::by(when_published(&self.0), &[])
    }
}

fn write(tree: &mut Tree, status: &CallHomeStatus, clocks: Clocks) -> Result<(), RpcError> {
    let mut at = Cursor::at(tree, paths::CALL_HOME_STATE)?;
    let mut put = |leaf: &str, value: Option<String>| match value {
        Some(value) => at.put(leaf, &value),
        None => Ok(()),
    };
    let date = |at: Instant| date_and_time::seconds(clocks.date_of(at));
    put("connection-state", Some(status.phase.as_yang().to_owned()))?;
    put("endpoint", status.endpoint.clone())?;
    put("address", status.address.map(|address| address.to_string()))?;
    put("user", status.user.clone())?;
    put("connected-at", status.connected_at.map(date))?;
    put("attempts", Some(status.attempts.to_string()))?;
    put("next-attempt-at", status.next_attempt_at.map(date))?;
    if let Some(last) = &status.last_failure {
        let failure = &last.failure;
        put("last-failure/endpoint", Some(last.endpoint.clone()))?;
        put(
            "last-failure/reason",
            Some(failure.reason.as_yang().to_owned()),
        )?;
        put("last-failure/message", Some(failure.message.clone()))?;
        put("last-failure/at", Some(date(last.at)))?;
    }
    Ok(())
}
