//! ★ The one door to running: validate → diff → prepare all → store → swap → apply all.
//!
//! ```text
//!  stage      a configuration is validated and compared; every subscriber prepares      may refuse, leaves no trace
//!  (store)    the driver makes the difference durable, off the owner's task             may refuse: Staged is dropped
//!  complete   running is changed or replaced, every subscriber applies                  cannot fail
//! ```
//! Dropping a [`Staged`] drops every `Prepared` in it, so exactly those subscribers that prepared are aborted.
//!
//! A confirmed commit (`confirm.rs`) and the commit guard (`guard.rs`) are asked when a commit is staged and told when it
//! is complete. Taking one back (`rollback.rs`) is a commit like any other: staged, stored, completed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::error::{Errors, RpcError};
use crate::model::paths;
use crate::model::settings::CloudSettings;
use crate::model::tree::{Diff, Scope, Snapshot, Tree};

use super::confirm::{self, Request};
use super::draft::{Draft, Next};
use super::events::{Announced, What};
use super::guard::{self, Proposal, Rollback};
use super::nacm::Nacm;
use super::store::{CommitRecord, MetaChange};
use super::subscriber::{Change, ConfigSubscriber, Direction, Prepared, Reach};
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
    /// What the commit guard takes back by it.
    pub(super) rollback: Option<Rollback>,
    pub(super) empties_candidate: bool,
}

/// What a commit does to those that may be taken back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) confirm: confirm::Effect,
    pub(super) guard: guard::Effect,
}

impl Effect {
    pub(super) const NONE: Self = Self {
        confirm: confirm::Effect::None,
        guard: guard::Effect::None,
    };
}

/// What running becomes.
pub(super) struct StagedChange {
    record: Option<Arc<CommitRecord>>,
    running: Next,
    diff: Diff,
    nacm: Arc<Nacm>,
    /// `commit-guard/timeout` from then on.
    guarded: Option<Duration>,
    prepared: Vec<Box<dyn Prepared>>,
}

impl StagedChange {
    /// What it means for the connection to the device's server.
    fn reach(&self) -> Reach {
        let each = self.prepared.iter().map(|prepared| prepared.reach());
        each.max().unwrap_or_default()
    }
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
        let confirm = self.confirm.admit(by.session, request)?;
        self.guard.writable()?;
        let change = match &self.candidate {
            Some(candidate) => {
                let draft = candidate.validated(&self.running, &self.constraints)?;
                self.stage(draft, by)?
            }
            None => None,
        };
        let effect = Effect {
            confirm,
            guard: self.guarded(change.as_ref()),
        };
        Ok(self.step(by, change, effect, true))
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
        let effect = Effect {
            guard: self.guarded(change.as_ref()),
            ..Effect::NONE
        };
        Ok(self.step(by, change, effect, false))
    }

    /// What the change of a session means to the commit guard.
    fn guarded(&self, change: Option<&StagedChange>) -> guard::Effect {
        change.map_or(guard::Effect::None, |change| {
            self.guard.effect_of(&Proposal {
                timeout: change.guarded,
                timeout_before: self.guarded,
                reach: change.reach(),
            })
        })
    }

    /// Everything that may refuse a valid configuration and needs no disk; none if there is no difference.
    fn stage(&mut self, draft: Draft, by: &Author) -> Result<Option<StagedChange>, Errors> {
        // Before anybody prepares: a tunnel that comes up in between is one that this change cuts, not one that ends the guard.
        self.hear_of_connection();
        let diff = draft.diff(&self.running)?;
        if !by.recovery {
            self.nacm.check(by, &diff)?;
        }
        self.prepare(draft, diff, by, Direction::Onward)
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

    pub(super) fn prepare(
        &mut self,
        draft: Draft,
        diff: Diff,
        by: &Author,
        direction: Direction,
    ) -> Result<Option<StagedChange>, Errors> {
        if diff.is_empty() {
            return Ok(None);
        }
        let (draft, prepared) = self.ask_all(draft, &diff, direction)?;
        let nacm = match diff.touches(paths::NACM) {
            true => Arc::new(self.nacm.reread(draft.after())),
            false => Arc::clone(&self.nacm),
        };
        let guarded = match diff.touches(paths::COMMIT_GUARD) {
            true => CloudSettings::read_commit_guard(draft.after()),
            false => self.guarded,
        };
        Ok(Some(StagedChange {
            record: self.startup.is_none().then(|| self.record(by, &diff)),
            diff,
            nacm,
            guarded,
            running: draft.into(),
            prepared,
        }))
    }

    /// Every part of the agent prepares. Gives the configuration back with all that somebody looked at.
    fn ask_all(
        &mut self,
        draft: Draft,
        diff: &Diff,
        direction: Direction,
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
            number: self.version + 1,
            direction,
        };
        let prepared = prepare_all(&mut self.parts.subscribers, &change)?;
        Ok((draft, prepared))
    }

    /// What the parts of the agent read of a change.
    fn read_of(&self, diff: &Diff) -> Scope {
        let mut scope = Scope::default();
        const NONE: &[&str] = &[];
        let own = [paths::NACM, paths::COMMIT_GUARD].map(|path| (Some(vec![path]), NONE));
        let parts = self.parts.subscribers.iter();
        let asked = parts.map(|part| (part.reads(), part.keeps()));
        for (reads, kept) in asked.chain(own) {
            let Some(mut reads) = reads else {
                return Scope::everything();
            };
            if reads.iter().any(|path| diff.touches(path)) {
                reads.retain(|path| !kept.contains(path) || diff.touches(path));
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
    pub(super) fn step(
        &mut self,
        by: &Author,
        mut change: Option<StagedChange>,
        effect: Effect,
        empties_candidate: bool,
    ) -> Step {
        if change.is_none() && effect == Effect::NONE {
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
            rollback: None,
            empties_candidate,
        }))
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
        let (draft, prepared) = self.ask_all(draft, &diff, Direction::Onward)?;
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
        let Effect { confirm, guard } = staged.effect;
        let confirmed = self.confirm.step_of(&confirm);
        let before = self.version;
        self.confirm.committed(confirm, now, || before);
        self.guard.committed(guard, now, before + 1, before);
        if let Some(change) = staged.change {
            self.take_over(&by, change);
        }
        self.past.keep(&self.points());
        if let Some(event) = confirmed {
            self.announce(&by, What::ConfirmedCommit(event));
        }
        if let Some(rollback) = staged.rollback {
            self.announce(&by, What::RolledBack(Box::new(rollback.clone())));
            self.last_rollback = Some(rollback);
        }
        if guard != guard::Effect::None {
            tracing::info!(
                user = by.user,
                ?guard,
                "the commit guard is another one now"
            );
            self.show_guard();
        }
    }

    fn take_over(&mut self, by: &Author, change: StagedChange) {
        if let Err(error) = self.become_running(change.running) {
            tracing::error!(%error, "the stored configuration could not be taken over in full");
        }
        self.nacm = change.nacm;
        self.in_force.set(Arc::clone(&self.nacm));
        self.guarded = change.guarded;
        for prepared in change.prepared {
            // Whatever becomes of one part, the others take over what is stored.
            let applied = catch_unwind(AssertUnwindSafe(|| prepared.apply()));
            if applied.is_err() {
                tracing::error!("a part of the agent broke down while it took a commit over");
            }
        }
        let (diff, version) = (change.diff, self.version);
        self.announce(by, What::RunningChanged { diff, version });
    }

    pub(super) fn announce(&mut self, by: &Author, what: What) {
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
        self.version += 1;
        let points = self.points();
        self.past
            .push(self.version - 1, undo, &points, &self.running)?;
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
            number: 0,
            direction: Direction::Onward,
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
