//! The datastores as a reader sees them: what it takes to answer one without asking their owner.

use std::sync::Arc;

use super::history::History;
use super::lock::{Lock, Locks};
use super::nacm::Nacm;
use super::subscriber::StateProvider;
use super::{Datastore, Target, Version};
use crate::model::schema::Schema;
use crate::model::tree::{Snapshot, Tree};

/// Every datastore at one moment.
pub struct View {
    schema: Schema,
    running: Snapshot,
    /// None where it was edited and nobody has put it together.
    candidate: Option<Snapshot>,
    startup: Snapshot,
    locks: Locks,
    nacm: Arc<Nacm>,
    providers: Arc<[Box<dyn StateProvider>]>,
    history: History,
    version: Version,
}

impl Datastore {
    /// The datastores as they are now, the candidate only where it is at hand.
    pub fn view(&self) -> View {
        View {
            schema: self.schema,
            running: self.running.clone(),
            candidate: self.candidate.is_none().then(|| self.running.clone()),
            startup: self.snapshot(Target::Startup),
            locks: self.locks,
            nacm: Arc::clone(&self.nacm),
            providers: Arc::clone(&self.providers),
            history: self.history.clone(),
            version: self.version,
        }
    }

    /// The same with the candidate, which may have to be put together.
    pub fn whole_view(&self) -> View {
        View {
            candidate: Some(self.snapshot(Target::Candidate)),
            ..self.view()
        }
    }
}

impl View {
    /// Whether the candidate is in it.
    pub fn is_whole(&self) -> bool {
        self.candidate.is_some()
    }

    /// The schema.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// Which running it is, counted from the start: it rises by one with each that changes something.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The parts of the agent that have state to show.
    pub fn providers(&self) -> &[Box<dyn StateProvider>] {
        &self.providers
    }

    /// A datastore's configuration; for a candidate that is not in the view, running.
    pub fn snapshot(&self, target: Target) -> Snapshot {
        match target {
            Target::Running => &self.running,
            Target::Candidate => self.candidate.as_ref().unwrap_or(&self.running),
            Target::Startup => &self.startup,
        }
        .clone()
    }

    /// The access control rules in force.
    pub fn nacm(&self) -> &Arc<Nacm> {
        &self.nacm
    }

    /// The lock of a datastore.
    pub fn lock_of(&self, target: Target) -> &Lock {
        self.locks.of(target)
    }

    /// The commits so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The state of the modules that `wanted` names, without configuration.
    pub fn state(&self, wanted: &dyn Fn(&str) -> bool) -> Tree {
        let mut tree = Tree::new(self.schema);
        let asked = self
            .providers
            .iter()
            .filter(|provider| wanted(provider.module()));
        asked.for_each(|provider| provider.state(&mut tree));
        tree
    }
}
