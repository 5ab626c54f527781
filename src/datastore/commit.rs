//! ★ The one door to running: validate → diff → prepare all → store → swap → apply all.
//!
//! ```text
//!  stage      a configuration is validated and compared; every subscriber prepares      may refuse, leaves no trace
//!  (store)    the driver makes the difference durable, off the owner's task             may refuse: Staged is dropped
//!  complete   running is changed or replaced, every subscriber applies                  cannot fail
//! ```
//! Dropping a [`Staged`] drops every `Prepared` in it, so exactly those subscribers that prepared are aborted.
//!
//! A confirmed commit (`confirm.rs`) is asked when a commit is staged and told when it is complete. Taking one back is
//! a commit like any other: staged, stored, completed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::model::error::{Errors, RpcError};
use crate::model::paths;
use crate::model::tree::{Diff, Scope, Snapshot, Tree};

use super::base::Base;
use super::confirm::{BASE_KEY, Effect, Request};
use super::draft::{Draft, Next};
use super::events::{Announced, What};
use super::nacm::Nacm;
use super::store::{CommitRecord, MetaChange};
use super::subscriber::{Change, ConfigSubscriber, Prepared};
use super::{Author, Datastore, Target};

/// The source of the commits by which a confirmed commit is taken back.
pub const CONFIRMED_COMMIT: &str = "confirmed-commit";

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
    /// Who commits.
    pub by: Author,
    /// What lies beside the configuration and changes with it, in the same transaction.
    pub beside: Vec<MetaChange>,
    /// None when what is stored stays as it is: nothing changes, or only a running that is not durable by itself.
    pub(super) record: Option<Arc<CommitRecord>>,
    /// None when running stays as it is, as when a confirmed commit is confirmed and nothing else.
    pub(super) change: Option<StagedChange>,
    /// None when startup stays as it is.
    pub(super) startup: Option<Snapshot>,
    pub(super) effect: Effect,
    pub(super) empties_candidate: bool,
}

/// What running becomes.
pub(super) struct StagedChange {
    record: Option<Arc<CommitRecord>>,
    running: Next,
    diff: Diff,
    nacm: Arc<Nacm>,
    prepared: Vec<Box<dyn Prepared>>,
}

impl Staged {
    /// What the history keeps of the commit: the difference is one to what is stored.
    pub fn record(&self) -> Option<&CommitRecord> {
        self.record.as_deref()
    }

    /// Whether there is anything to store: another deadline of a confirmed commit is not.
    pub fn needs_disk(&self) -> bool {
        self.record.is_some() || !self.beside.is_empty()
    }
}

impl Datastore {
    /// `<commit>` (RFC 6241, section 8.3.4.1): the candidate is to become running, perhaps for a while (section 8.4).
    ///
    /// # Errors
    /// `in-use` under another session's lock; what [`Confirm::admit`](super::confirm::Confirm::admit) refuses; every
    /// violation; what a subscriber refuses; `access-denied`.
    pub fn commit(&mut self, by: &Author, request: &Request) -> Result<Step, Errors> {
        self.lock_of(Target::Running).writable_by(by.session)?;
        self.lock_of(Target::Candidate).writable_by(by.session)?;
        let effect = self.confirm.admit(by.session, request)?;
        let change = match &self.candidate {
            Some(candidate) => {
                let draft = candidate.validated(&self.running, &self.constraints)?;
                self.stage(draft, by)?
            }
            None => None,
        };
        Ok(self.step(by, change, effect, true))
    }

    /// `<cancel-commit>` (RFC 6241, section 8.4.4.1): running is to be what it was before the pending commit. A
    /// candidate with changes stays as it is.
    ///
    /// # Errors
    /// `in-use` under another session's lock; what
    /// [`Confirm::admit_cancel`](super::confirm::Confirm::admit_cancel) refuses; what a subscriber refuses.
    pub fn cancel_commit(&mut self, by: &Author, persist_id: Option<&str>) -> Result<Step, Errors> {
        self.lock_of(Target::Running).writable_by(by.session)?;
        let effect = self.confirm.admit_cancel(by.session, persist_id)?;
        let change = self.stage_base(by)?;
        Ok(self.step(by, change, effect, false))
    }

    /// Whether [`Datastore::on_time`] has something to do.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.confirm.is_due(now)
    }

    /// What is due at this time: a confirmed commit that nobody confirmed is taken back, whoever holds a lock, and
    /// whatever access control says of those who are there. `at` is the same time by the device's clock.
    pub fn on_time(&mut self, now: Instant, at: SystemTime) -> Step {
        if !self.confirm.is_due(now) {
            return Step::Done;
        }
        let by = Author::agent(CONFIRMED_COMMIT, at);
        match self.stage_base(&by) {
            Ok(change) => self.step(&by, change, self.confirm.taken_back(), false),
            Err(errors) => {
                tracing::error!(?errors, "a confirmed commit cannot be taken back yet");
                self.confirm.put_off(now);
                Step::Done
            }
        }
    }

    /// A rollback that was due could not be stored; it will be due again.
    pub fn put_rollback_off(&mut self, now: Instant) {
        self.confirm.put_off(now);
    }

    /// When [`Datastore::is_due`] will be true, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.confirm.poll_timeout()
    }

    /// Whether the store may forget how its configuration came to be: not while a commit may be taken back after a restart.
    pub fn may_snapshot(&self) -> bool {
        self.startup.is_some() || self.confirm.base().is_none()
    }

    /// Replaces running, as an edit of running or copy-config does.
    ///
    /// # Errors
    /// `in-use` under another session's lock or while its confirmed commit is pending; else as [`Datastore::commit`].
    pub fn replace_running(
        &mut self,
        draft: impl Into<Draft>,
        by: &Author,
    ) -> Result<Step, Errors> {
        self.writable_by(Target::Running, by.session)?;
        let draft = self.with_defaults(draft.into())?;
        let change = self.stage(draft, by)?;
        Ok(self.step(by, change, Effect::None, false))
    }

    /// Everything that may refuse a valid configuration and needs no disk; none if there is no difference.
    fn stage(&mut self, draft: Draft, by: &Author) -> Result<Option<StagedChange>, Errors> {
        let diff = draft.diff(&self.running)?;
        if !by.recovery {
            self.nacm.check(by, &diff)?;
        }
        self.prepare(draft, diff, by)
    }

    /// Validates a configuration.
    fn with_defaults(&self, draft: Draft) -> Result<Draft, Errors> {
        Ok(match draft {
            Draft::Whole(mut tree) => {
                tree.validate()?;
                Draft::Whole(tree)
            }
            Draft::Part(part) => part.validated(&self.running, &self.constraints)?.into(),
        })
    }

    /// The same for what a pending commit falls back to: it was running before, so it is valid.
    fn stage_base(&mut self, by: &Author) -> Result<Option<StagedChange>, Errors> {
        let Some(base) = self.confirm.base() else {
            return Ok(None);
        };
        let base = base.restored(&self.running)?;
        tracing::info!(
            session = by.session,
            user = by.user,
            "a confirmed commit is taken back"
        );
        let diff = self.running.diff(&base)?;
        self.prepare(base.into(), diff, by)
    }

    fn prepare(
        &mut self,
        draft: Draft,
        diff: Diff,
        by: &Author,
    ) -> Result<Option<StagedChange>, Errors> {
        if diff.is_empty() {
            return Ok(None);
        }
        let (draft, prepared) = self.ask_all(draft, &diff)?;
        let nacm = match diff.touches(paths::NACM) {
            true => Arc::new(self.nacm.reread(draft.after())),
            false => Arc::clone(&self.nacm),
        };
        Ok(Some(StagedChange {
            record: self.startup.is_none().then(|| self.record(by, &diff)),
            diff,
            nacm,
            running: draft.into(),
            prepared,
        }))
    }

    /// Every part of the agent prepares. Gives the configuration back with all that somebody looked at.
    fn ask_all(
        &mut self,
        draft: Draft,
        diff: &Diff,
    ) -> Result<(Draft, Vec<Box<dyn Prepared>>), Errors> {
        let draft = match draft {
            Draft::Part(part) => {
                let read = self.read_of(diff);
                part.widened(&self.running, &read, &self.constraints)?
                    .into()
            }
            whole => whole,
        };
        let change = Change {
            old: draft.before(&self.running),
            new: draft.after(),
            diff,
            at_start: false,
        };
        let prepared = prepare_all(&mut self.parts.subscribers, &change)?;
        Ok((draft, prepared))
    }

    /// What the parts of the agent read of a change.
    fn read_of(&self, diff: &Diff) -> Scope {
        let mut scope = Scope::default();
        let access = vec![paths::NACM];
        let asked = self.parts.subscribers.iter().map(|part| part.reads());
        for reads in asked.chain([Some(access)]) {
            let Some(reads) = reads else {
                return Scope::everything();
            };
            if reads.iter().any(|path| diff.touches(path)) {
                let containers = reads.iter().filter_map(|path| self.schema.at(path));
                containers.for_each(|container| scope.take_container(container));
            }
        }
        scope
    }

    pub(super) fn record(&self, by: &Author, diff: &Diff) -> Arc<CommitRecord> {
        Arc::new(CommitRecord::new(self.next_commit, by, diff))
    }

    /// What is left to do of a commit to which all have agreed.
    fn step(
        &mut self,
        by: &Author,
        mut change: Option<StagedChange>,
        effect: Effect,
        empties_candidate: bool,
    ) -> Step {
        if change.is_none() && effect == Effect::None {
            if empties_candidate {
                self.candidate = None;
            }
            return Step::Done;
        }
        Step::Store(Box::new(Staged {
            by: by.clone(),
            beside: self.mark(&effect),
            record: change.as_mut().and_then(|change| change.record.take()),
            change,
            startup: None,
            effect,
            empties_candidate,
        }))
    }

    /// What tells the next start that a commit is pending. A running that is not durable needs no telling.
    fn mark(&self, effect: &Effect) -> Vec<MetaChange> {
        if self.startup.is_some() {
            return Vec::new();
        }
        match (effect, self.confirm.base()) {
            (Effect::Pends { .. }, None) => {
                let last = self.next_commit - 1;
                vec![(BASE_KEY.to_owned(), Some(last.to_string().into_bytes()))]
            }
            (Effect::Ends(_), _) => vec![(BASE_KEY.to_owned(), None)],
            _ => Vec::new(),
        }
    }

    /// Whether a configuration could become running, as far as YANG and every part of the agent can tell
    /// (RFC 6241, section 8.6): all prepare, and all abort.
    ///
    /// # Errors
    /// Every violation, or what a part of the agent refuses.
    pub fn validate(&mut self, draft: impl Into<Draft>) -> Result<(), Errors> {
        self.validated(draft.into()).map(drop)
    }

    /// The same; gives the configuration back, with its defaults.
    pub(super) fn validated(&mut self, draft: Draft) -> Result<Draft, Errors> {
        let draft = self.with_defaults(draft)?;
        let diff = draft.diff(&self.running)?;
        let (draft, prepared) = self.ask_all(draft, &diff)?;
        drop(prepared);
        Ok(draft)
    }

    /// Takes over what was stored; cannot fail. A time that it starts counts from `now`.
    pub fn complete(&mut self, staged: Staged, now: Instant) {
        if staged.empties_candidate {
            self.candidate = None;
        }
        if let Some(record) = staged.record {
            self.remember(record);
        }
        let by = staged.by;
        if staged.startup.is_some() {
            self.startup = staged.startup;
            self.announce(&by, What::StartupReplaced);
        }
        let confirmed = self.confirm.step_of(&staged.effect);
        self.confirm.committed(staged.effect, now, Base::default);
        if let Some(change) = staged.change {
            self.take_over(&by, change);
        }
        if let Some(event) = confirmed {
            self.announce(&by, What::ConfirmedCommit(event));
        }
    }

    fn take_over(&mut self, by: &Author, change: StagedChange) {
        if let Err(error) = self.become_running(change.running) {
            tracing::error!(%error, "the stored configuration could not be taken over in full");
        }
        self.nacm = change.nacm;
        self.in_force.set(Arc::clone(&self.nacm));
        for prepared in change.prepared {
            // Whatever becomes of one part, the others take over what is stored.
            let applied = catch_unwind(AssertUnwindSafe(|| prepared.apply()));
            if applied.is_err() {
                tracing::error!("a part of the agent broke down while it took a commit over");
            }
        }
        self.announce(by, What::RunningChanged(change.diff));
    }

    fn announce(&mut self, by: &Author, what: What) {
        (self.announce)(Announced {
            by: by.clone(),
            what,
        });
    }

    /// Makes running another one. A candidate with changes stays what it is, the changes of running aside.
    fn become_running(&mut self, next: Next) -> Result<(), RpcError> {
        let constraints = &self.constraints;
        let candidate = self.candidate.take();
        let kept = candidate.map(|candidate| next.keep(candidate, &self.running, constraints));
        let undo = next.replace(&mut self.running)?;
        if let Some(base) = self.confirm.base_mut() {
            base.push(undo, &self.running)?;
        }
        if let Some(kept) = kept {
            self.candidate = Some(kept?.rebased(&self.running, constraints)?);
        }
        Ok(())
    }

    /// Takes note of a commit that is stored.
    pub fn remember(&mut self, record: Arc<CommitRecord>) {
        self.next_commit = record.id + 1;
        self.history.push(record);
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

#[cfg(test)]
mod tests;
