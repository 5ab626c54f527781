//! The stream of events: what it goes on with, who adds to it, and who shows it.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::datastore::changes::Changes;
use crate::datastore::events::{Announce, Announcer, Bounds, NETCONF, Recorder, Stream, notices};
use crate::datastore::store::{EventStore, Loaded, Store, StoreError};
use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared, StateProvider, Telling};
use crate::model::date_and_time;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::settings::Limits;
use crate::model::tree::Tree;
use crate::netconf::clock::WallClock;
use crate::netconf::server::{Events, Server};
use crate::netconf::subscription::Registry;

/// Under which the store keeps what the last start announced.
const ANNOUNCED_KEY: &str = "announced";

/// What a start announces.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Announced {
    content_id: String,
    capabilities: Vec<String>,
}

/// What goes on of it while the agent runs.
pub(super) struct Hearing {
    /// What sessions hear of.
    pub events: Events,
    recorder: Option<Recorder>,
    announcer: JoinHandle<()>,
}

impl Hearing {
    /// The stream, with the events of earlier runs; and how changes of the datastores are announced in it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(schema: Schema, store: &Store) -> Result<(Self, Announce), StoreError> {
        let (stream, recorder) = open(store)?;
        let changes = Changes::default();
        let (announce, announcer) = Announcer::start(schema, stream.clone(), changes.clone());
        let hearing = Self {
            events: Events {
                stream,
                subscriptions: Registry::default(),
                changes,
                clock: WallClock::default(),
            },
            recorder,
            announcer,
        };
        Ok((hearing, announce))
    }

    /// Tells what this start announces and the last one did not: capabilities (RFC 6470), the set of modules (RFC 8525). The
    /// first start has nothing to compare with.
    pub fn tell_of_news(
        &self,
        schema: Schema,
        store: &Store,
        loaded: &Loaded,
        capabilities: &[String],
    ) {
        let stream = &self.events.stream;
        let now = Announced {
            content_id: schema.content_id().to_owned(),
            capabilities: capabilities.to_vec(),
        };
        let before = loaded.meta.get(ANNOUNCED_KEY);
        let before = before.and_then(|stored| serde_json::from_slice::<Announced>(stored).ok());
        if before.as_ref() == Some(&now) {
            return;
        }
        if let Some(before) = before {
            let changes = notices::capability_change(schema, &before.capabilities, capabilities);
            let library = (before.content_id != now.content_id)
                .then(|| notices::library_update(schema))
                .transpose();
            for notice in [changes, library] {
                match notice {
                    Ok(notice) => notice
                        .into_iter()
                        .for_each(|notice| stream.publish(SystemTime::now(), notice, None)),
                    Err(error) => tracing::warn!(%error, "an event does not fit its module"),
                }
            }
        }
        let stored = serde_json::to_vec(&now)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                let change = (ANNOUNCED_KEY.to_owned(), Some(text));
                store.put_meta(&[change]).map_err(|error| error.to_string())
            });
        if let Err(error) = stored {
            tracing::warn!(
                error,
                "what was announced cannot be stored: the next start tells of it again"
            );
        }
    }

    /// Runs its tasks among the others of the agent.
    pub fn run(
        self,
        parts: &mut JoinSet<()>,
        server: Server,
        limits: watch::Receiver<Arc<Limits>>,
        stop: &watch::Receiver<bool>,
    ) {
        parts.spawn(server.follow_state(stop.clone()));
        parts.spawn(bound(self.events.stream, limits, stop.clone()));
        if let Some(recorder) = self.recorder {
            parts.spawn(recorder.run(stop.clone()));
        }
        parts.spawn(async move { drop(self.announcer.await) });
    }
}

fn open(store: &Store) -> Result<(Stream, Option<Recorder>), StoreError> {
    let now = SystemTime::now();
    let bounds = bounds(&Limits::default());
    let Some(directory) = store.directory() else {
        return Ok((Stream::new(now, None, bounds, Vec::new()), None));
    };
    let (store, recorded) = EventStore::open(directory, now)?;
    let stream = Stream::new(recorded.created, recorded.aged, bounds, recorded.events);
    let recorder = Recorder::new(stream.clone(), store);
    Ok((stream, Some(recorder)))
}

/// Has the log keep to the limits of the configuration.
async fn bound(
    stream: Stream,
    mut limits: watch::Receiver<Arc<Limits>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let bounds = bounds(&limits.borrow_and_update());
        stream.set_bounds(bounds);
        tokio::select! {
            changed = limits.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        events: limits.replay_events,
        octets: limits.replay_octets,
    }
}

/// Shows the stream as RFC 5277, section 3.2.5.1, has it.
pub(super) struct Streams(pub Stream);

impl StateProvider for Streams {
    fn module(&self) -> &'static str {
        "nc-notifications"
    }

    fn state(&self, into: &mut Tree) {
        let names = StreamLeaves {
            list: paths::STREAMS,
            replay: ("replaySupport", "true"),
            created: "replayLogCreationTime",
            aged: "replayLogAgedTime",
        };
        show(&self.0, &names, into);
    }

    fn telling(&self) -> Option<Telling> {
        Telling::nothing_but(&paths::STREAMS_UNSETTLED)
    }
}

/// Shows the stream as RFC 8639, section 3.1, has it.
pub(super) struct EventStreams(pub Stream);

impl StateProvider for EventStreams {
    fn module(&self) -> &'static str {
        "ietf-subscribed-notifications"
    }

    fn state(&self, into: &mut Tree) {
        let names = StreamLeaves {
            list: paths::EVENT_STREAMS,
            replay: ("replay-support", ""),
            created: "replay-log-creation-time",
            aged: "replay-log-aged-time",
        };
        show(&self.0, &names, into);
    }

    fn telling(&self) -> Option<Telling> {
        Telling::nothing_but(&paths::EVENT_STREAMS_UNSETTLED)
    }
}

/// Shows what of the stream was lost.
pub(super) struct LossState(pub Stream);

impl StateProvider for LossState {
    fn module(&self) -> &'static str {
        "device-management"
    }

    fn state(&self, into: &mut Tree) {
        let losses = self.0.losses();
        let newest = self.0.end().0 - 1;
        for (leaf, value) in [
            ("newest-event", newest),
            ("lost-subscriptions", losses.subscriptions),
            ("lost-events", losses.events),
            ("untold-changes", losses.changes),
        ] {
            let path = format!("{}/{leaf}", paths::NOTIFICATIONS);
            if let Err(error) = into.set(&path, Some(&value.to_string())) {
                tracing::warn!(%error, "what was lost does not fit its module");
            }
        }
    }

    fn telling(&self) -> Option<Telling> {
        Telling::nothing_but(&[paths::NOTIFICATIONS])
    }
}

/// What the two modules call the same things.
struct StreamLeaves {
    list: &'static str,
    replay: (&'static str, &'static str),
    created: &'static str,
    aged: &'static str,
}

fn show(stream: &Stream, names: &StreamLeaves, into: &mut Tree) {
    if let Err(error) = write(stream, names, into) {
        tracing::warn!(%error, "the stream of events does not fit its module");
    }
}

fn write(stream: &Stream, names: &StreamLeaves, into: &mut Tree) -> Result<(), RpcError> {
    let entry = format!("{}/stream[name='{NETCONF}']", names.list);
    let mut set = |leaf: &str, value: &str| into.set(&format!("{entry}/{leaf}"), Some(value));
    set("description", "everything that happens in the agent")?;
    set(names.replay.0, names.replay.1)?;
    let (created, aged) = stream.ages();
    set(names.created, &date_and_time::milliseconds(created))?;
    match aged {
        Some(aged) => set(names.aged, &date_and_time::milliseconds(aged)),
        None => Ok(()),
    }
}

/// Refuses configured subscriptions, which the list of ietf-subscribed-notifications would hold even without the feature,
/// and has the others go along with configured filters.
pub(super) struct Subscribed(pub Registry);

impl ConfigSubscriber for Subscribed {
    fn reads(&self) -> Option<Vec<&'static str>> {
        let mut reads = self.0.reads()?;
        reads.push(paths::SUBSCRIPTIONS);
        Some(reads)
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        let all = change.new.find(paths::SUBSCRIPTIONS);
        let Some(first) = all.and_then(|all| all.children().next()) else {
            return self.0.prepare(change);
        };
        let words = "subscriptions cannot be configured here: a session establishes its own";
        Err(RpcError::application(ErrorTag::OperationNotSupported, words).at(first.path()))
    }
}
