//! The commit guard among the parts of the agent: what it is told of the tunnel, and what is shown of it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::datastore::Guarded;
use crate::datastore::changes::when_published;
use crate::datastore::driver::Handle;
use crate::datastore::events::{Announce, What, notices};
use crate::datastore::guard::record::LAST_KEY;
use crate::datastore::guard::{Rollback, Status};
use crate::datastore::store::Loaded;
use crate::datastore::subscriber::{StateProvider, Telling};
use crate::model::date_and_time;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::status::Clocks;
use crate::model::tree::{Cursor, Tree};
use crate::tunnel::CloudConnection;
use crate::tunnel::driver::{Standing, clocks};

/// What the guard works with, and who shows it.
pub(super) fn open(cloud: &CloudConnection, loaded: &Loaded) -> (Guarded, CommitGuardState) {
    let (shown, status) = watch::channel(Arc::default());
    let cloud = cloud.clone();
    let stored = loaded.meta.get(LAST_KEY);
    let guarded = Guarded {
        ask: Box::new(move || cloud.news()),
        show: Box::new(move |status: &Status| {
            shown.send_replace(Arc::new(status.clone()));
        }),
        last: stored.and_then(|stored| Rollback::from_bytes(stored)),
    };
    (guarded, CommitGuardState(status))
}

/// The same announcements; of a rollback the cloud hears too (cloud-protocol.md, "Steps 9-11": all of cloud-management).
pub(super) fn heard_by_cloud(
    mut announce: Announce,
    cloud: CloudConnection,
    schema: Schema,
) -> Announce {
    Box::new(move |announced| {
        if let What::RolledBack(rollback) = &announced.what {
            match notices::rolled_back(schema, rollback) {
                Ok(notice) => cloud.notify(announced.by.at, &notice),
                Err(error) => tracing::warn!(%error, "an event does not fit its module"),
            }
        }
        announce(announced);
    })
}

/// Has the owner of the datastores look whenever there is news of the tunnel, for as long as both are there.
pub(super) async fn watch(
    mut standing: watch::Receiver<Standing>,
    datastore: Handle,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        standing.borrow_and_update();
        tokio::select! {
            // Whoever owns them looks at what is due after each thing that it is asked.
            asked = datastore.read(|_| ()) => if asked.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// `state/commit-guard`
pub(super) struct CommitGuardState(watch::Receiver<Arc<Status>>);

impl StateProvider for CommitGuardState {
    fn module(&self) -> &'static str {
        "cloud-management"
    }

    fn state(&self, into: &mut Tree) {
        let status = Arc::clone(&self.0.borrow());
        if let Err(error) = write(&status, clocks(SystemTime::now), into) {
            tracing::warn!(%error, "the state of the commit guard does not fit the model");
        }
    }

    fn telling(&self) -> Option<Telling> {
        Telling::by(when_published(&self.0), &[])
    }
}

fn write(status: &Status, clocks: Clocks, into: &mut Tree) -> Result<(), RpcError> {
    if let Some(armed) = &status.armed {
        let mut to = Cursor::at(into, paths::COMMIT_GUARD_STATE)?;
        let date = |instant| date_and_time::seconds(clocks.date_of(instant));
        to.put("armed-at", &date(armed.since))?;
        to.put("deadline", &date(armed.until))?;
        if let Some(base) = armed.base {
            to.put("base-commit-id", &base.min(u32::MAX.into()).to_string())?;
        }
    }
    if let Some(last) = &status.last {
        let base = format!("{}/last-rollback", paths::COMMIT_GUARD_STATE);
        Cursor::at(into, &base)?.put("at", &date_and_time::seconds(last.at))?;
        notices::write_rollback(into, &base, last)?;
    }
    Ok(())
}
