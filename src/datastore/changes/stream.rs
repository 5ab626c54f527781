//! The changes as many tell them and many hear of them; and how a part of the agent says that its state is another one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Of;
use super::log::{Found, Log};
use crate::datastore::events::{Listener as Seat, Place, Turns};
use crate::model::tree::Diff;

/// The changes of the datastores. Cheap to clone; all clones are the same. What nobody listens to is not kept.
#[derive(Clone, Debug)]
pub struct Changes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Mutex<Log>,
    turns: Turns,
    /// Held by those who hear of changes, and by those among them who hear of state too.
    heard: Arc<()>,
    state: Arc<()>,
}

/// Hears of changes, from when it was made on.
#[derive(Debug)]
pub struct Listener {
    changes: Changes,
    place: u64,
    seat: Seat,
    _heard: (Arc<()>, Option<Arc<()>>),
}

impl Default for Changes {
    fn default() -> Self {
        let log = Log::default();
        Self(Arc::new(Inner {
            turns: Turns::for_half(Place(log.end())),
            log: Mutex::new(log),
            heard: Arc::default(),
            state: Arc::default(),
        }))
    }
}

impl Changes {
    /// Tells of a change; never waits, whoever listens.
    pub fn publish(&self, of: Of, diff: Diff) {
        let is_heard = Arc::strong_count(&self.0.heard) > 1;
        // Made ready outside of the lock.
        let diff = is_heard.then(|| diff.share());
        let mut log = self.log();
        match diff {
            Some(diff) => log.push(of, diff),
            None => log.skip(),
        }
        // Under the lock, so that the end never goes back.
        self.0.turns.added(Place(log.end()));
    }

    /// Something changed, and it is not known any more how: all who listen have missed it.
    pub fn lose(&self) {
        let mut log = self.log();
        log.skip();
        self.0.turns.added(Place(log.end()));
    }

    /// The place of the next change.
    pub fn end(&self) -> Place {
        Place(self.log().end())
    }

    /// Whether anybody hears of state.
    pub fn is_state_heard(&self) -> bool {
        Arc::strong_count(&self.0.state) > 1
    }

    /// One more who hears of changes, of state too if so wished.
    pub fn listen(&self, state: bool) -> Listener {
        let state = state.then(|| Arc::clone(&self.0.state));
        let heard = (Arc::clone(&self.0.heard), state);
        Listener {
            seat: self.0.turns.listen(),
            place: self.log().end(),
            _heard: heard,
            changes: self.clone(),
        }
    }

    /// What a thread that panicked left is still a log.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// What comes next; behind what was lost it goes on by itself.
    pub fn take(&mut self) -> Found {
        let found = self.changes.log().at(self.place);
        match &found {
            Found::Change(_) => self.place += 1,
            Found::Lost { changes } => self.place += changes,
            Found::End => {}
        }
        found
    }

    /// Passes over the changes before a place.
    pub fn skip_to(&mut self, end: Place) {
        self.place = self.place.max(end.0);
    }

    /// Waits until there is something next, and for its turn among all who listen. Safe to cancel, if [`Listener::rest`]
    /// follows.
    pub async fn turn(&self) {
        self.seat.turn(Place(self.place)).await;
    }

    /// Has others read the changes.
    pub fn rest(&self) {
        self.seat.rest();
    }
}

/// Tells when something is another one than before.
pub trait Wakes: Send {
    /// Waits for that; false when it will not happen any more. Safe to cancel.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl<T: Send + Sync> Wakes for watch::Receiver<T> {
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { watch::Receiver::changed(self).await.is_ok() })
    }
}

/// When either of two is another one.
impl<A: Wakes, B: Wakes> Wakes for (A, B) {
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            tokio::select! {
                is_alive = self.0.changed() => is_alive,
                is_alive = self.1.changed() => is_alive,
            }
        })
    }
}

/// Wakes whenever something else is published, from now on.
pub fn when_published<T: Send + Sync + 'static>(published: &watch::Receiver<T>) -> Box<dyn Wakes> {
    let mut published = published.clone();
    published.mark_unchanged();
    Box::new(published)
}

/// A bell that whoever changes something rings. Cheap to clone; all clones are the same bell.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<watch::Sender<()>>);

impl Bell {
    /// Rings it.
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears it from now on.
    pub fn hear(&self) -> Box<dyn Wakes> {
        Box::new(self.0.subscribe())
    }
}
