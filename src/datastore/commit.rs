//! ★ The one door to running: validate → diff → prepare all → store → swap → apply all.
//!
//! ```text
//!  stage      a configuration is validated and compared; every subscriber prepares      may refuse, leaves no trace
//!  (store)    the driver makes the difference durable, off the owner's task             may refuse: Staged is dropped
//!  complete   the new tree takes the place of the old, every subscriber applies         cannot fail
//! ```
//! Dropping a [`Staged`] drops every `Prepared` in it, so exactly those subscribers that prepared are aborted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::model::error::Errors;
use crate::model::tree::Tree;

use super::nacm::Nacm;
use super::subscriber::{Change, ConfigSubscriber, Prepared};
use super::{Author, Datastore, Target};

/// What an operation on the datastore leaves to do.
#[must_use]
pub enum Step {
    /// Nothing: it is done.
    Done,
    /// Make this durable, then complete it.
    Store(Box<Staged>),
}

/// A commit that every subscriber has agreed to and that is not stored yet.
#[must_use]
pub struct Staged {
    /// Its number.
    pub id: u64,
    /// Who commits.
    pub by: Author,
    /// The difference to running, as text that `Diff::parse` reads.
    pub diff: String,
    running: Tree,
    nacm: Nacm,
    prepared: Vec<Box<dyn Prepared>>,
    empties_candidate: bool,
}

impl Datastore {
    /// `<commit>` (RFC 6241, section 8.3.4.1): the candidate is to become running.
    ///
    /// # Errors
    /// `in-use` under another session's lock; every violation; what a subscriber refuses; `access-denied`.
    pub fn commit(&mut self, by: &Author) -> Result<Step, Errors> {
        self.lock_of(Target::Running).writable_by(by.session)?;
        self.lock_of(Target::Candidate).writable_by(by.session)?;
        let Some(candidate) = &self.candidate else {
            return Ok(Step::Done);
        };
        let candidate = candidate.duplicate();
        let step = self.stage(candidate, by, true)?;
        if matches!(step, Step::Done) {
            self.candidate = None;
        }
        Ok(step)
    }

    /// Replaces running, as an edit of running or copy-config does.
    ///
    /// # Errors
    /// As [`Datastore::commit`].
    pub fn replace_running(&mut self, tree: Tree, by: &Author) -> Result<Step, Errors> {
        self.lock_of(Target::Running).writable_by(by.session)?;
        self.stage(tree, by, false)
    }

    /// Everything that may refuse and needs no disk.
    fn stage(
        &mut self,
        mut new: Tree,
        by: &Author,
        empties_candidate: bool,
    ) -> Result<Step, Errors> {
        new.validate()?;
        let diff = self.running.diff(&new)?;
        if diff.is_empty() {
            return Ok(Step::Done);
        }
        if !by.recovery {
            self.nacm.check(&by.user, &diff)?;
        }
        let change = Change {
            old: &self.running,
            new: &new,
            diff: &diff,
            at_start: false,
        };
        let prepared = prepare_all(&mut self.parts.subscribers, &change)?;
        Ok(Step::Store(Box::new(Staged {
            id: self.next_commit,
            by: by.clone(),
            diff: diff.to_text(),
            nacm: self.nacm.reread(&new),
            running: new,
            prepared,
            empties_candidate,
        })))
    }

    /// Whether a configuration could become running, as far as YANG and every part of the agent can tell
    /// (RFC 6241, section 8.6): all prepare, and all abort.
    ///
    /// # Errors
    /// Every violation, or what a part of the agent refuses.
    pub fn validate(&mut self, mut new: Tree) -> Result<(), Errors> {
        new.validate()?;
        let diff = self.running.diff(&new)?;
        let change = Change {
            old: &self.running,
            new: &new,
            diff: &diff,
            at_start: false,
        };
        prepare_all(&mut self.parts.subscribers, &change).map(drop)
    }

    /// Takes over what was stored; cannot fail.
    pub fn complete(&mut self, staged: Staged) {
        self.running = staged.running;
        self.nacm = staged.nacm;
        self.next_commit = staged.id + 1;
        if staged.empties_candidate {
            self.candidate = None;
        }
        for prepared in staged.prepared {
            // Whatever becomes of one part, the others take over what is stored.
            let applied = catch_unwind(AssertUnwindSafe(|| prepared.apply()));
            if applied.is_err() {
                tracing::error!("a part of the agent broke down while it took a commit over");
            }
        }
    }

    /// The number the next commit bears.
    pub fn next_commit(&self) -> u64 {
        self.next_commit
    }

    /// Every subscriber takes over the configuration that the agent starts with.
    pub(super) fn hand_out_at_start(&mut self) -> Result<(), Errors> {
        let nothing = Tree::new(self.schema);
        let diff = nothing.diff(&self.running)?;
        let change = Change {
            old: &nothing,
            new: &self.running,
            diff: &diff,
            at_start: true,
        };
        let prepared = prepare_all(&mut self.parts.subscribers, &change)?;
        for prepared in prepared {
            prepared.apply();
        }
        Ok(())
    }
}

/// Asks one after the other; a refusal drops, and so aborts, those that have prepared.
fn prepare_all(
    subscribers: &mut [Box<dyn ConfigSubscriber>],
    change: &Change<'_>,
) -> Result<Vec<Box<dyn Prepared>>, Errors> {
    let prepare = |subscriber: &mut Box<dyn ConfigSubscriber>| subscriber.prepare(change);
    Ok(subscribers
        .iter_mut()
        .map(prepare)
        .collect::<Result<_, _>>()?)
}
