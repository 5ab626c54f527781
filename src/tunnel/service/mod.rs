//! The service modules: each speaks its own protocol on its own subconnection.
//!
//! A module is handed an open WebSocket, obeys [`Order`]s and says what it hears as
//! [`SubconnectionReply`](crate::tunnel::machine::event::SubconnectionReply); the machine decides what follows.

pub mod telemetry;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tunnel::machine::event::CloseCode;

/// What the driver tells a service that has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send a WebSocket ping.
    Ping,
    /// End the connection with this code.
    Close(CloseCode),
}

/// `octets-in`, `octets-out` and `dropped` of a subconnection, since the start of the agent.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    /// Octets of messages that came from the cloud.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
    /// Octets of messages that went to the cloud.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    /// Messages that were never sent, since the cloud took them too slowly.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn add(counter: &AtomicU64, amount: usize) {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
