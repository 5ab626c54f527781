//! A stream that many publish to and many read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use super::Event;
use super::kept::Kept;
use super::log::{Bounds, Found, Log, Place};
use super::turns::{Listener, Turns};
use crate::model::tree::Tree;

/// A stream of events. Cheap to clone; all clones are the same stream.
#[derive(Clone, Debug)]
pub struct Stream(Arc<Inner>);

/// What was lost since the agent started, mostly by those who read too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Subscriptions that were ended for it.
    pub subscriptions: u64,
    /// Events that had happened by then and that they were not told of.
    pub events: u64,
    /// Changes of the configuration that came faster than they could be put in words.
    pub changes: u64,
}

#[derive(Debug)]
struct Inner {
    log: Mutex<Log>,
    /// The end of the log, for those who wait for more.
    end: watch::Sender<Place>,
    turns: Turns,
    kept: Kept,
    losses: Mutex<Losses>,
}

impl Stream {
    /// A stream that goes on with events of an earlier run; see [`Log::new`].
    pub fn new(
        created: SystemTime,
        aged: Option<SystemTime>,
        bounds: Bounds,
        events: Vec<Event>,
    ) -> Self {
        let log = Log::new(created, aged, bounds, events);
        let end = watch::Sender::new(log.end());
        let turns = Turns::for_half(log.end());
        Self(Arc::new(Inner {
            log: Mutex::new(log),
            end,
            turns,
            kept: Kept::default(),
            losses: Mutex::default(),
        }))
    }

    /// Adds an event; never waits, whoever listens. See [`Event`] for `about`.
    pub fn publish(&self, at: SystemTime, content: Tree, about: Option<String>) {
        // Printed outside of the lock; its number is not known before.
        let mut event = Event::new(0, at, content, about);
        let mut log = self.log();
        event.number = log.end().0;
        let event = Arc::new(event);
        log.push(Arc::clone(&event));
        self.0.kept.add(&event);
        // Under the lock, so that the end never goes back.
        self.0.end.send_replace(log.end());
        self.0.turns.added(log.end());
    }

    /// What is at a place.
    pub fn at(&self, place: Place) -> Found {
        self.log().at(place)
    }

    /// The same for somebody who is going to look at it, as others are: what is found out for one is kept for all.
    pub fn read(&self, place: Place) -> Found {
        let found = self.at(place);
        if let Found::Event(event) = &found {
            self.0.kept.add(event);
        }
        found
    }

    /// Counts a subscription that ends since what is at its place is gone.
    pub fn count_loss(&self, place: Place) {
        let events = self.end().0 - place.0;
        let mut losses = self.losses_so_far();
        losses.subscriptions += 1;
        losses.events += events;
    }

    /// Counts changes of which nothing could be told.
    pub fn count_missed(&self, changes: u64) {
        self.losses_so_far().changes += changes;
    }

    /// What was lost so far.
    pub fn losses(&self) -> Losses {
        *self.losses_so_far()
    }

    fn losses_so_far(&self) -> MutexGuard<'_, Losses> {
        self.0.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of what happens next.
    pub fn end(&self) -> Place {
        self.log().end()
    }

    /// The place of the first event that is still there.
    pub fn start(&self) -> Place {
        self.log().start()
    }

    /// The place of the first event at or after a time.
    pub fn since(&self, time: SystemTime) -> Place {
        self.log().since(time)
    }

    /// When its log was begun, and the time of the last event that the log had to drop.
    pub fn ages(&self) -> (SystemTime, Option<SystemTime>) {
        let log = self.log();
        (log.created(), log.aged())
    }

    /// Other bounds of its log.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.log().set_bounds(bounds);
    }

    /// One more who reads it, in his turn.
    pub fn listen(&self) -> Listener {
        self.0.turns.listen()
    }

    /// Tells of what is added from now on, and what was before.
    pub fn watch(&self) -> watch::Receiver<Place> {
        self.0.end.subscribe()
    }

    /// What a thread that panicked left is still a log.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
