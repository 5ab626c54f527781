//! Puts what happens to the datastores in words, after it has happened: nobody who commits waits for it.

use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Announce, Announced, Stream, What, notices};
use crate::datastore::Target;
use crate::model::error::RpcError;
use crate::model::schema::Schema;
use crate::model::tree::Tree;

/// Announcements that wait to be put in words.
const QUEUE: usize = 1024;

/// Publishes what is announced.
pub struct Announcer {
    schema: Schema,
    stream: Stream,
}

impl Announcer {
    /// Starts its task, which ends when the closure it is told by is gone.
    pub fn start(schema: Schema, stream: Stream) -> (Announce, JoinHandle<()>) {
        let (announce, announced) = mpsc::channel(QUEUE);
        let task = tokio::spawn(Self { schema, stream }.run(announced));
        let mut lost: u64 = 0;
        let announce = move |what: Announced| match announce.try_send(what) {
            Ok(()) => lost = 0,
            Err(error) => {
                lost += 1;
                if lost.is_power_of_two() {
                    tracing::warn!(lost, %error, "changes are not announced");
                }
            }
        };
        (Box::new(announce), task)
    }

    async fn run(self, mut announced: mpsc::Receiver<Announced>) {
        while let Some(announced) = announced.recv().await {
            match self.put_in_words(&announced) {
                Ok((content, about)) => self.stream.publish(SystemTime::now(), content, about),
                Err(error) => tracing::warn!(%error, "an event does not fit its module"),
            }
        }
    }

    fn put_in_words(&self, announced: &Announced) -> Result<(Tree, Option<String>), RpcError> {
        let by = &announced.by;
        Ok(match &announced.what {
            What::RunningChanged(diff) => {
                let everything = &mut |_: crate::model::tree::Node<'_>| true;
                let mut tree = notices::config_change(self.schema, by, Target::Running)?;
                notices::list_edits(&mut tree, diff, everything)?;
                (tree, Some(diff.to_text()))
            }
            What::StartupReplaced => (
                notices::config_change(self.schema, by, Target::Startup)?,
                None,
            ),
            What::ConfirmedCommit(event) => {
                (notices::confirmed_commit(self.schema, by, *event)?, None)
            }
        })
    }
}
