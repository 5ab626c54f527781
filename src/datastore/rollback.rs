//! Commits that are taken back: a confirmed one that nobody confirmed, and one by which the device lost its server.
//!
//! Each has a base of its own. While both are pending, the older of the two is what is restored, by whichever deadline
//! comes first (model.md, "Commit guard"), and both are over then.

use std::time::{Instant, SystemTime};

use super::commit::{Effect, StagedChange, Step};
use super::confirm::{self, BASE_KEY};
use super::guard::record::LAST_KEY;
use super::guard::{self, Armed, Ending, GUARD_KEY, Rollback, Status};
use super::past::Version;
use super::store::MetaChange;
use super::subscriber::Direction;
use super::{Author, Datastore, Target};
use crate::model::error::{Errors, RpcError};

/// The source of the commits by which a confirmed commit is taken back.
pub const CONFIRMED_COMMIT: &str = "confirmed-commit";
/// The source of the commits by which the commit guard takes back.
pub const COMMIT_GUARD: &str = "commit-guard";

impl Datastore {
    /// `<cancel-commit>` (RFC 6241, section 8.4.4.1): running is to be what it was before the pending commit. A
    /// candidate with changes stays as it is.
    ///
    /// # Errors
    /// `in-use` under another session's lock; what
    /// [`Confirm::admit_cancel`](super::confirm::Confirm::admit_cancel) refuses; what a subscriber refuses.
    pub fn cancel_commit(&mut self, by: &Author, persist_id: Option<&str>) -> Result<Step, Errors> {
        self.lock_of(Target::Running).writable_by(by.session)?;
        let confirm = self.confirm.admit_cancel(by.session, persist_id)?;
        let change = self.stage_base(by, Direction::TakenBack)?;
        let guard = self.guard.taken_back(Ending::TakenBack);
        Ok(self.step(by, change, Effect { confirm, guard }, false))
    }

    /// `accept-guarded-commit`: the configuration stays, whether or not the connection comes back. No lock forbids it,
    /// since running stays what it is; a confirmed commit stays pending.
    ///
    /// # Errors
    /// `operation-failed` when no guard is armed.
    pub fn accept_guarded_commit(&mut self, by: &Author) -> Result<Step, RpcError> {
        let effect = Effect {
            guard: self.guard.accepted()?,
            ..Effect::NONE
        };
        tracing::info!(user = by.user, "a guarded commit is accepted");
        Ok(self.step(by, None, effect, false))
    }

    /// Whether [`Datastore::on_time`] has something to do.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.hear_of_connection();
        // All of them, since each takes note of its deadline.
        let due = [self.guard.is_due(now), self.confirm.is_due(now)];
        due.contains(&true) || self.guard.is_met(now)
    }

    /// Has the guard know what is known of the connection by now.
    pub(super) fn hear_of_connection(&mut self) {
        if self.guard.armed().is_some() {
            let reached = self.ask().reached;
            self.guard.reached(reached);
        }
    }

    /// What is due at this time: a confirmed commit that nobody confirmed, or one that has cut the device off, is taken
    /// back, whoever holds a lock, and whatever access control says of those who are there; or the store is told that a
    /// guarded one stays. `at` is the same time by the device's clock.
    pub fn on_time(&mut self, now: Instant, at: SystemTime) -> Step {
        if !self.is_due(now) {
            return Step::Done;
        }
        let by_guard = self.guard.is_due(now);
        if !by_guard && !self.confirm.is_due(now) {
            return self.settle_guard(at);
        }
        let (source, direction) = if by_guard {
            (COMMIT_GUARD, Direction::RolledBack)
        } else {
            (CONFIRMED_COMMIT, Direction::TakenBack)
        };
        let by = Author::agent(source, at);
        match self.stage_base(&by, direction) {
            Ok(change) => self.back(&by, change, by_guard),
            Err(errors) => {
                tracing::error!(?errors, by = source, "a commit cannot be taken back yet");
                self.put_rollback_off(now);
                Step::Done
            }
        }
    }

    /// The device takes back by itself.
    fn back(&mut self, by: &Author, change: Option<StagedChange>, by_guard: bool) -> Step {
        let how = if by_guard {
            Ending::RolledBack
        } else {
            Ending::TakenBack
        };
        let effect = Effect {
            confirm: self.confirm.taken_back(),
            guard: self.guard.taken_back(how),
        };
        let rollback = by_guard.then(|| self.rollback(by, change.is_some()));
        let step = self.step(by, change, effect, false);
        match (step, rollback) {
            (Step::Store(mut staged), Some(rollback)) => {
                let last = (LAST_KEY.to_owned(), Some(rollback.to_bytes()));
                staged.beside.push(last);
                staged.rollback = Some(rollback);
                Step::Store(staged)
            }
            (step, _) => step,
        }
    }

    /// What is told of it.
    fn rollback(&self, by: &Author, is_commit: bool) -> Rollback {
        let base = self.base().and_then(|base| self.commit_of(base));
        let last = self.next_commit - 1;
        let news = self.ask();
        tracing::warn!(
            ?base,
            server = news.server.as_ref().map(|server| &server.domain),
            failure = news.failure.map(|failure| failure.as_yang()),
            "the connection was not established again in time: the configuration before is restored"
        );
        Rollback {
            at: by.at,
            commit: base.filter(|_| is_commit).map(|_| self.next_commit),
            taken_back: base.map_or_else(Vec::new, |base| Rollback::numbers(base, last)),
            server: news.server,
            failure: news.failure,
        }
    }

    /// The connection is established again: the next start is to know it, too.
    fn settle_guard(&mut self, at: SystemTime) -> Step {
        let effect = Effect {
            guard: self.guard.taken_back(Ending::Established),
            ..Effect::NONE
        };
        tracing::info!("the connection is established again: the guarded commit stays");
        self.step(&Author::agent(COMMIT_GUARD, at), None, effect, false)
    }

    /// What was due could not be stored; it will be due again.
    pub fn put_rollback_off(&mut self, now: Instant) {
        self.confirm.put_off(now);
        self.guard.put_off(now);
    }

    /// When [`Datastore::is_due`] will be true, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let each = [self.confirm.poll_timeout(), self.guard.poll_timeout()];
        each.into_iter().flatten().min()
    }

    /// Whether the store may forget how its configuration came to be: not while a commit may be taken back after a restart.
    pub fn may_snapshot(&self) -> bool {
        self.startup.is_some() || (self.confirm.base().is_none() && self.guard.is_idle())
    }

    /// The points that running may go back to.
    pub(super) fn points(&self) -> Vec<Version> {
        let each = [self.confirm.base().copied(), self.guard.base()];
        each.into_iter().flatten().collect()
    }

    /// The one of them that counts.
    fn base(&self) -> Option<Version> {
        self.points().into_iter().min()
    }

    /// Stages what pending commits fall back to: it was running before, so it is valid.
    fn stage_base(
        &mut self,
        by: &Author,
        direction: Direction,
    ) -> Result<Option<StagedChange>, Errors> {
        let Some(base) = self.base() else {
            return Ok(None);
        };
        let base = self.past.restored(base, &self.running)?;
        tracing::info!(
            session = by.session,
            user = by.user,
            by = by.source,
            "a commit is taken back"
        );
        let diff = self.running.diff(&base)?;
        self.prepare(base.into(), diff, by, direction)
    }

    /// The last commit at a point; none where commits of running are not kept.
    fn commit_of(&self, version: Version) -> Option<u64> {
        let since = self.version - version;
        self.startup.is_none().then(|| self.next_commit - 1 - since)
    }

    /// What tells the next start that a commit is pending or guarded. A running that is not durable needs no telling.
    pub(super) fn mark(&self, effect: &Effect) -> Vec<MetaChange> {
        let Some(last) = self.commit_of(self.version) else {
            return Vec::new();
        };
        let last = || Some(last.to_string().into_bytes());
        let mut changes = Vec::new();
        let confirm = match (&effect.confirm, self.confirm.base()) {
            (confirm::Effect::Pends { .. }, None) => Some(last()),
            (confirm::Effect::Ends(_), _) => Some(None),
            _ => None,
        };
        changes.extend(confirm.map(|mark| (BASE_KEY.to_owned(), mark)));
        let guard = match (&effect.guard, self.guard.base()) {
            (guard::Effect::Arms(_), None) => Some(last()),
            (guard::Effect::Ends(_), _) => Some(None),
            _ => None,
        };
        changes.extend(guard.map(|mark| (GUARD_KEY.to_owned(), mark)));
        changes
    }

    fn ask(&self) -> guard::News {
        let guarded = self.parts.guarded.as_ref();
        guarded.map_or_else(guard::News::default, |guarded| (guarded.ask)())
    }

    /// Has others see what there is to see of the guard.
    pub(super) fn show_guard(&mut self) {
        let armed = self.guard.armed().map(|armed| Armed {
            base: self.commit_of(armed.base),
            since: armed.since,
            until: armed.until,
        });
        let status = Status {
            armed,
            last: self.last_rollback.clone(),
        };
        if let Some(guarded) = &mut self.parts.guarded {
            (guarded.show)(&status);
        }
    }
}

#[cfg(test)]
mod tests;
