//! The service modules: each speaks its own protocol on its own subconnection.
//!
//! A [`Service`] registers under its name with [`Modules`]. Each time its subconnection stands it is handed the open
//! WebSocket as a [`Link`]: it obeys [`Order`]s and says what it hears as
//! [`SubconnectionReply`](crate::tunnel::machine::event::SubconnectionReply); the machine decides what follows. Whatever
//! a module does, it does in the task of its own subconnection.

pub mod external;
mod listener;
mod modules;
pub mod netconf;
mod stream;
pub mod telemetry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::tunnel::machine::event::{CloseCode, SubconnectionReply};
use crate::tunnel::net::WebSocket;
use crate::tunnel::state::Traffic;
use listener::{End, Kind, Listener, finish};
pub use modules::{Modules, RegisterError, Registration, WeakModules};

/// A service module. It has one subconnection at a time.
pub trait Service: Send + Sync {
    /// Serves one connection to its end. Dropped when it does not end soon after the order to; a panic ends this
    /// connection alone.
    fn serve(&self, link: Link) -> BoxFuture<'_, ()>;

    /// What went over all its connections.
    fn counters(&self) -> &Counters;
}

/// A subconnection that stands, and how its module and the driver talk about it.
pub struct Link<S = WebSocket> {
    /// The open WebSocket.
    pub socket: S,
    /// The keepalive interval, live.
    pub interval: watch::Receiver<Duration>,
    /// When this is dropped the connection is to be closed as going away.
    pub orders: mpsc::Receiver<Order>,
    /// What is heard, signs of life at most once a second. An end that nothing was reported of counts as a loss.
    pub report: mpsc::Sender<SubconnectionReply>,
}

/// What the driver tells a service that has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send a WebSocket ping.
    Ping,
    /// End the connection with this code.
    Close(CloseCode),
}

/// `octets-in`, `octets-out` and `dropped` of a subconnection, since its module registered.
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

    /// All of them.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            octets_in: self.received(),
            octets_out: self.sent(),
            dropped: self.dropped(),
        }
    }

    fn add(counter: &AtomicU64, amount: usize) {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
