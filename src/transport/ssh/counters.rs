//! What the SSH server has done since it started.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts that only grow; read them at any time.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) connections_refused: AtomicU64,
    pub(super) logins: AtomicU64,
    pub(super) failed_logins: AtomicU64,
    pub(super) login_timeouts: AtomicU64,
    pub(super) sessions: AtomicU64,
    pub(super) channels_refused: AtomicU64,
}

impl Counters {
    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }
    /// Connections refused, or ended before their login, because there were too many.
    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Relaxed)
    }
    /// Logins that succeeded.
    pub fn logins(&self) -> u64 {
        self.logins.load(Relaxed)
    }
    /// Wrong passwords, unknown users and keys that prove nothing; connections that left without a login after they had
    /// offered keys count once.
    pub fn failed_logins(&self) -> u64 {
        self.failed_logins.load(Relaxed)
    }
    /// Connections that did not log in within the login time.
    pub fn login_timeouts(&self) -> u64 {
        self.login_timeouts.load(Relaxed)
    }
    /// Sessions begun.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Relaxed)
    }
    /// Channels refused because the connection had too many.
    pub fn channels_refused(&self) -> u64 {
        self.channels_refused.load(Relaxed)
    }
}
