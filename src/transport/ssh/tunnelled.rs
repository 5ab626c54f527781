//! The connections that came through the cloud tunnel, and whether their managers have what they are owed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use russh::server::Handle;
use tokio::sync::watch;

use super::handler::Progress;
use crate::transport::Owed;

/// All of them. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Tunnelled(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    next: u64,
    connections: BTreeMap<u64, Manager>,
}

/// The other end of one connection.
#[derive(Clone)]
pub(super) struct Manager {
    pub(super) handle: Handle,
    pub(super) owed: Owed,
    pub(super) progress: watch::Receiver<Progress>,
}

/// One connection's entry, taken out when this is dropped.
pub(super) struct Entry {
    tunnelled: Tunnelled,
    number: u64,
}

impl Tunnelled {
    pub(super) fn enter(&self, manager: Manager) -> Entry {
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        entries.connections.insert(number, manager);
        Entry {
            tunnelled: self.clone(),
            number,
        }
    }

    /// Ends once every reply that is owed to any of them has arrived.
    pub(super) async fn answered(&self) {
        let managers: Vec<Manager> = self.entries().connections.values().cloned().collect();
        join_all(managers.into_iter().map(Manager::answered)).await;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager {
    /// Ends once every reply that is owed has arrived.
    pub(super) async fn answered(self) {
        self.owed.settled().await;
        if self.progress.borrow().sessions > 0 {
            // Written is not arrived. A client answers every request that it does not know, in order, with a refusal
            // (RFC 4254, section 4), and this is one that no client knows: what was written before has arrived then.
            let _ = self.handle.cancel_forward_tcpip(String::new(), 0).await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tunnelled.entries().connections.remove(&self.number);
    }
}
