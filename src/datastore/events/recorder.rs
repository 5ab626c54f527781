//! Has a stream survive a restart: what comes is written to the disk, gathered, by a task of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{Event, Found, Place, Stream};
use crate::datastore::store::{EventStore, StoreError};

/// Events of this time share a write. What happens so shortly before a power cut is not in the log afterwards.
const GATHER: Duration = Duration::from_millis(200);
/// How long until a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Events of one write.
const MOST: usize = 1024;

/// Writes a stream to the disk.
pub struct Recorder {
    stream: Stream,
    store: Arc<EventStore>,
    /// The first event that is not written.
    place: Place,
}

impl Recorder {
    /// Of what happens from now on.
    pub fn new(stream: Stream, store: EventStore) -> Self {
        Self {
            place: stream.end(),
            stream,
            store: Arc::new(store),
        }
    }

    /// Writes until it is told to stop, and then what is left.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut end = self.stream.watch();
        let mut is_failing = false;
        while !*stop.borrow() {
            let wait = if is_failing { AGAIN } else { GATHER };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                () = async {
                    // The stream lives as long as this task holds it.
                    let _ = end.wait_for(|end| *end > self.place).await;
                    sleep(wait).await;
                } => {}
            }
            let written = self.write_all().await;
            if let Err(error) = &written
                && !is_failing
            {
                tracing::warn!(%error, "events cannot be stored; they are kept in memory meanwhile");
            }
            is_failing = written.is_err();
        }
    }

    async fn write_all(&mut self) -> Result<(), StoreError> {
        loop {
            let events = self.unwritten();
            let Some(last) = events.last().map(|last| last.number) else {
                return Ok(());
            };
            let (store, stream) = (Arc::clone(&self.store), self.stream.clone());
            let write = move || store.append(&events, stream.start(), stream.ages().1);
            // A thread that broke down has written nothing, or all of it: writing it again does no harm.
            if let Ok(written) = tokio::task::spawn_blocking(write).await {
                written?;
            }
            self.place = Place(last + 1);
        }
    }

    fn unwritten(&mut self) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        let mut place = self.place;
        while events.len() < MOST {
            match self.stream.at(place) {
                Found::Event(event) => {
                    place = Place(event.number + 1);
                    events.push(event);
                }
                // More came than the log holds: what is gone is gone.
                Found::Lost { oldest } => place = oldest,
                Found::End => break,
            }
        }
        events
    }
}
