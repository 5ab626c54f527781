//! Stores what the tunnel remembers, beside the driver: no disk holds a keepalive up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::tunnel::record::{Record, TunnelStore};

/// How long until a record that could not be stored is stored again.
const SAVE_AGAIN: Duration = Duration::from_secs(10);
/// What may leave only after a record is stored leaves without it after this time: a disk that hangs or is full does not
/// keep a device from being released.
const PATIENCE: Duration = Duration::from_secs(2);

/// A record, and how many there were before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub number: u64,
    pub record: Record,
}

/// Waits for a record to be on the disk.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    number: u64,
    stored: watch::Receiver<u64>,
}

impl Stored {
    /// That with this number, or a later one.
    pub fn new(number: u64, stored: watch::Receiver<u64>) -> Self {
        Self { number, stored }
    }

    /// Returns when it is stored, or could not be in time.
    pub async fn reached(mut self) {
        let number = self.number;
        let reached = self.stored.wait_for(|stored| *stored >= number);
        if !matches!(timeout(PATIENCE, reached).await, Ok(Ok(_))) {
            warn!(
                "an unbinding code leaves before it is stored: after a crash now it may go out again"
            );
        }
    }
}

/// Stores each record, the last one for sure, and says which are stored; ends with the driver.
pub(super) async fn save(
    mut records: watch::Receiver<Version>,
    stored: watch::Sender<u64>,
    store: Arc<dyn TunnelStore>,
) {
    while records.changed().await.is_ok() {
        let (number, bytes) = {
            let version = records.borrow_and_update();
            (version.number, version.record.to_bytes())
        };
        let store = store.clone();
        let saved = tokio::task::spawn_blocking(move || store.save(&bytes)).await;
        let error = match saved {
            Ok(Ok(())) => {
                stored.send_replace(number);
                continue;
            }
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        };
        warn!(%error, "what the tunnel remembers was not stored");
        tokio::select! {
            () = tokio::time::sleep(SAVE_AGAIN) => records.mark_changed(),
            // A newer record is stored in its place; with the driver gone there is none, and no time to try again.
            changed = records.changed() => match changed {
                Ok(()) => records.mark_changed(),
                Err(_) => return,
            },
        }
    }
}
