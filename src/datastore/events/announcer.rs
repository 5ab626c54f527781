//! Puts what happens to the datastores in words, after it has happened: nobody who commits waits for it. The differences
//! themselves go on to those who are told of changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Announce, Announced, Stream, What, notices};
use crate::datastore::changes::{Changes, Of};
use crate::datastore::{Author, Target};
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::Tree;

/// Octets of a difference that are kept for those who may not see all of it; of a larger one they are told that there was
/// one.
const ABOUT: usize = 1 << 20;
/// Announcements that wait to be put in words.
const QUEUE: usize = 1024;

/// Changes that the log names; of more it says how many there are.
const NAMED: usize = 20;

/// Publishes what is announced.
pub struct Announcer {
    schema: Schema,
    stream: Stream,
    /// Changes that came while the queue was full.
    missed: Arc<AtomicU64>,
    changes: Changes,
}

impl Announcer {
    /// Starts its task, which ends when the closure it is told by is gone.
    pub fn start(schema: Schema, stream: Stream, changes: Changes) -> (Announce, JoinHandle<()>) {
        let (announce, announced) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&missed);
        let announcer = Self {
            schema,
            stream,
            changes,
            missed,
        };
        let task = tokio::spawn(announcer.run(announced));
        let announce = move |what: Announced| {
            if announce.try_send(what).is_err() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        (Box::new(announce), task)
    }

    async fn run(self, mut announced: mpsc::Receiver<Announced>) {
        while let Some(announced) = announced.recv().await {
            self.publish(self.put_in_words(&announced));
            if let What::RunningChanged { diff, version } = announced.what {
                self.changes.publish(Of::Running(version), diff);
            }
            self.own_up();
        }
    }

    fn publish(&self, event: Result<(Tree, Option<String>), RpcError>) {
        match event {
            Ok((content, about)) => self.stream.publish(SystemTime::now(), content, about),
            Err(error) => tracing::warn!(%error, "an event does not fit its module"),
        }
    }

    /// Tells that running changed where it can no longer tell how: whoever keeps a copy reads it anew.
    fn own_up(&self) {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed == 0 {
            return;
        }
        tracing::warn!(missed, "changes came faster than they could be told of");
        self.stream.count_missed(missed);
        self.changes.lose();
        let by = Author::agent("events", SystemTime::now());
        let change = notices::config_change(self.schema, &by, Target::Running);
        self.publish(change.map(|tree| (tree, None)));
    }

    fn put_in_words(&self, announced: &Announced) -> Result<(Tree, Option<String>), RpcError> {
        let by = &announced.by;
        Ok(match &announced.what {
            What::RunningChanged { diff, .. } => {
                let everything = &mut |_: crate::model::tree::Node<'_>| true;
                let mut tree = notices::config_change(self.schema, by, Target::Running)?;
                notices::list_edits(&mut tree, diff, everything)?;
                audit(by, &tree);
                let about = diff.to_text();
                (
                    tree,
                    Some(
                        Some(about)
                            .filter(|about| about.len() <= ABOUT)
                            .unwrap_or_default(),
                    ),
                )
            }
            What::StartupReplaced => (
                notices::config_change(self.schema, by, Target::Startup)?,
                None,
            ),
            What::ConfirmedCommit(event) => {
                (notices::confirmed_commit(self.schema, by, *event)?, None)
            }
            What::RolledBack(rollback) => (notices::rolled_back(self.schema, rollback)?, None),
        })
    }
}

/// The record of a change of running in the log: who made it, and the paths; no values, which may be secrets.
fn audit(by: &Author, notice: &Tree) {
    let edits = || {
        let change = notice.find(paths::CONFIG_CHANGE);
        let children = change.into_iter().flat_map(|change| change.children());
        children.filter(|child| child.name() == "edit")
    };
    let named = edits().take(NAMED).filter_map(|edit| {
        let (operation, target) = (edit.child_value("operation")?, edit.child_value("target")?);
        Some(format!("{operation} {target}"))
    });
    let host = by.host.map(tracing::field::display);
    tracing::info!(
        target: "audit",
        session = by.session,
        user = by.user,
        source = host,
        by = by.source,
        back_to = by.back_to,
        changes = edits().count(),
        paths = named.collect::<Vec<_>>().join(", "),
        "running changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::events::{Bounds, Found, Place};

    #[tokio::test]
    async fn changes_that_come_too_fast_are_counted_and_owned_up_to() {
        let schema = Schema::load(&[]).unwrap();
        let bounds = Bounds {
            events: 2 * QUEUE,
            octets: 16 << 20,
        };
        let stream = Stream::new(SystemTime::now(), None, bounds, Vec::new());
        let (mut announce, _task) = Announcer::start(schema, stream.clone(), Changes::default());
        let by = Author {
            session: 7,
            user: "admin".to_owned(),
            ..Author::agent("netconf", SystemTime::now())
        };
        // Its task has no chance meanwhile.
        for _ in 0..QUEUE + 5 {
            announce(Announced {
                by: by.clone(),
                what: What::StartupReplaced,
            });
        }
        let all = Place(QUEUE as u64 + 2);
        let mut end = stream.watch();
        end.wait_for(|end| *end == all).await.unwrap();
        assert_eq!(stream.losses().changes, 5);
        let events = (1..all.0).filter_map(|number| match stream.at(Place(number)) {
            Found::Event(event) => Some(event),
            _ => None,
        });
        let by_agent: Vec<_> = events
            .filter(|event| event.xml.contains("<server/>"))
            .collect();
        assert_eq!(by_agent.len(), 1);
        assert!(!by_agent[0].xml.contains("<edit>"), "{}", by_agent[0].xml);
    }
}
