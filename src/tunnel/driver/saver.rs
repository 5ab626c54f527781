//! Stores what the tunnel remembers, beside the driver: no disk holds a keepalive up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::tunnel::record::{Record, TunnelStore};

/// How long until a record that could not be stored is stored again.
const SAVE_AGAIN: Duration = Duration::from_secs(10);

/// Stores each record, the last one for sure; ends with the driver.
pub(super) async fn save(mut records: watch::Receiver<Record>, store: Arc<dyn TunnelStore>) {
    while records.changed().await.is_ok() {
        let bytes = records.borrow_and_update().to_bytes();
        let store = store.clone();
        let saved = tokio::task::spawn_blocking(move || store.save(&bytes)).await;
        let error = match saved {
            Ok(Ok(())) => continue,
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
