//! Layer 1: the datastores of RFC 8342 and the one door to running.
//!
//! A [`Datastore`] is plain data with one owner, the task in `driver.rs`. What changes running goes through
//! `commit.rs`, whoever asks.

pub mod changes;
pub mod commit;
pub mod confirm;
mod draft;
pub mod driver;
pub mod edit;
pub mod events;
pub mod filter;
pub mod guard;
pub mod history;
pub mod lock;
pub mod nacm;
pub mod part;
mod past;
pub mod retrieval;
pub mod rollback;
pub mod startup;
pub mod store;
pub mod subscriber;
mod view;
pub mod xpath;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;
use crate::model::settings::CloudSettings;
use crate::model::tree::{Constraints, Snapshot, Tree};
use crate::model::xml::Element;
use confirm::Confirm;
use draft::Candidate;
use edit::{EditOptions, Sealer, Secrets};
use guard::{Guard, Rollback};
use history::History;
use lock::{Lock, Locks};
use nacm::{InForce, Nacm};
use part::Part;
use past::Past;
use subscriber::{ActionHandler, ConfigSubscriber, StateProvider};

pub use commit::{Staged, Step};
pub use draft::Draft;
pub use past::Version;
pub use view::View;

/// The number of a session, from 1 (RFC 6241, section 8.1); 0 stands for the agent itself.
pub type SessionId = u32;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The session; 0 for the agent itself.
    pub session: SessionId,
    /// User name; empty for the agent itself.
    pub user: String,
    /// The groups that the transport says he is in (RFC 8341, `enable-external-groups`).
    pub groups: Vec<String>,
    /// Whether access control does not apply: the recovery session (RFC 8341, section 3.5.2).
    pub recovery: bool,
    /// The address he comes from, where he comes over the network.
    pub host: Option<IpAddr>,
    /// How he came in: an identity of ietf-netconf-monitoring's `transport` with its module.
    pub transport: Option<&'static str>,
    /// What the change comes from, such as `netconf`: an enum of `source` in `/device-management/commit`.
    pub source: &'static str,
    /// The commit that he goes back to, if that is the change.
    pub back_to: Option<u64>,
    /// What he says about the change.
    pub comment: Option<String>,
    /// When it was asked for.
    pub at: SystemTime,
}

impl Author {
    /// The agent itself.
    pub fn agent(source: &'static str, at: SystemTime) -> Self {
        Self {
            session: 0,
            user: String::new(),
            groups: Vec::new(),
            recovery: true,
            host: None,
            transport: None,
            source,
            back_to: None,
            comment: None,
            at,
        }
    }
}

/// The datastores that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The configuration that the agent works by.
    Running,
    /// The work copy that a commit makes running.
    Candidate,
    /// What the agent starts with, where that is not running by itself (RFC 6241, section 8.7).
    Startup,
}

/// The parts of the agent that the datastore drives, in the order in which changes are applied.
#[derive(Default)]
pub struct Parts {
    /// Take changes of running over.
    pub subscribers: Vec<Box<dyn ConfigSubscriber>>,
    /// Show state.
    pub providers: Vec<Box<dyn StateProvider>>,
    /// The commits so far.
    pub history: History,
    /// Is told of what happened; nobody is when there is none.
    pub announce: Option<events::Announce>,
    /// The connection that the commit guard watches over, and how what there is to see of the guard is shown.
    pub guarded: Option<Guarded>,
    /// Do actions and rpcs, by schema path such as `/cloud-management:cloud-management/reset-tunnel`.
    pub actions: BTreeMap<String, Box<dyn ActionHandler>>,
}

/// What the commit guard needs of the agent.
pub struct Guarded {
    /// What is known of the connection.
    pub ask: guard::Ask,
    /// Shows the guard.
    pub show: guard::Show,
    /// What it has taken back last, in an earlier run.
    pub last: Option<Rollback>,
}

/// Running, candidate, startup and operational, with what guards them.
pub struct Datastore {
    schema: Schema,
    /// What of the schema a change of a part can touch elsewhere.
    constraints: Constraints,
    running: Snapshot,
    /// None while it equals running.
    candidate: Option<Candidate>,
    /// What is stored, on a device where that is not running.
    startup: Option<Snapshot>,
    locks: Locks,
    confirm: Confirm<Version>,
    guard: Guard<Version>,
    /// `commit-guard/timeout` of running; none without `commit-guard`.
    guarded: Option<Duration>,
    last_rollback: Option<Rollback>,
    /// How often running has changed since the start.
    version: Version,
    past: Past,
    nacm: Arc<Nacm>,
    in_force: InForce,
    sealer: Box<dyn Sealer + Send>,
    parts: Parts,
    providers: Arc<[Box<dyn StateProvider>]>,
    announce: events::Announce,
    next_commit: u64,
    history: History,
}

impl Datastore {
    /// Starts with a running configuration: validates it and hands it to every subscriber.
    ///
    /// # Errors
    /// What is wrong with the configuration, or what a subscriber refuses.
    pub fn start(
        mut running: Tree,
        next_commit: u64,
        sealer: Box<dyn Sealer + Send>,
        mut parts: Parts,
    ) -> Result<Self, Errors> {
        running.validate()?;
        let schema = running.schema();
        let nacm = Arc::new(Nacm::read(&running));
        let guarded = CloudSettings::read_commit_guard(&running);
        let running = Snapshot::new(running);
        let mut datastore = Self {
            schema,
            constraints: Constraints::of(schema),
            startup: schema.has_startup().then(|| running.clone()),
            running,
            candidate: None,
            locks: Locks::default(),
            confirm: Confirm::default(),
            in_force: InForce::new(Arc::clone(&nacm)),
            guard: Guard::default(),
            guarded,
            last_rollback: parts
                .guarded
                .as_mut()
                .and_then(|guarded| guarded.last.take()),
            version: 0,
            past: Past::default(),
            nacm,
            sealer,
            providers: std::mem::take(&mut parts.providers).into(),
            history: std::mem::take(&mut parts.history),
            announce: parts.announce.take().unwrap_or_else(|| Box::new(drop)),
            parts,
            next_commit,
        };
        datastore.hand_out_at_start()?;
        datastore.show_guard();
        Ok(datastore)
    }

    /// The schema.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    /// A datastore's configuration. Without a startup datastore the agent starts with running.
    pub fn config(&self, target: Target) -> &Tree {
        self.shared(target)
    }

    /// The same to read later, when the datastore may have changed.
    pub fn snapshot(&self, target: Target) -> Snapshot {
        self.shared(target).clone()
    }

    fn shared(&self, target: Target) -> &Snapshot {
        let running = &self.running;
        match target {
            Target::Running => running,
            Target::Startup => self.startup.as_ref().unwrap_or(running),
            Target::Candidate => {
                (self.candidate.as_ref()).map_or(running, |candidate| candidate.snapshot(running))
            }
        }
    }

    /// The access control rules in force.
    pub fn nacm(&self) -> &Arc<Nacm> {
        &self.nacm
    }

    /// The same for those who look at them later.
    pub fn nacm_in_force(&self) -> InForce {
        self.in_force.clone()
    }

    /// The lock of a datastore.
    pub fn lock_of(&self, target: Target) -> &Lock {
        self.locks.of(target)
    }

    /// `<lock>` (RFC 6241, section 7.5).
    ///
    /// # Errors
    /// `lock-denied`, also for running while another session's confirmed commit is pending; `operation-failed` for a
    /// candidate with changes that nobody committed or discarded.
    pub fn lock(&mut self, target: Target, by: &Author) -> Result<(), RpcError> {
        if target == Target::Candidate
            && self.locks.of(Target::Candidate).holder().is_none()
            && self.is_candidate_changed()
        {
            let words = "the candidate holds changes; commit or discard them first";
            return Err(RpcError::protocol(ErrorTag::OperationFailed, words));
        }
        if target == Target::Running && self.locks.of(Target::Running).holder().is_none() {
            self.confirm.lockable_by(by.session)?;
        }
        self.locks.of_mut(target).take(by.session, by.at)
    }

    /// `<unlock>` (RFC 6241, section 7.6).
    ///
    /// # Errors
    /// `operation-failed` when the session does not hold the lock.
    pub fn unlock(&mut self, target: Target, session: SessionId) -> Result<(), RpcError> {
        self.locks.of_mut(target).release(session)
    }

    /// Lets go of everything a session held. A candidate that it had locked is discarded (RFC 6241, section 8.3.5.2);
    /// its confirmed commit is due to be taken back.
    pub fn end_session(&mut self, session: SessionId) {
        self.confirm.end_session(session);
        self.locks.of_mut(Target::Running).end(session);
        self.locks.of_mut(Target::Startup).end(session);
        if self.locks.of_mut(Target::Candidate).end(session) {
            self.candidate = None;
        }
    }

    /// Whether a session may change a datastore directly.
    fn writable_by(&self, target: Target, session: SessionId) -> Result<(), RpcError> {
        self.lock_of(target).writable_by(session)?;
        match target {
            Target::Running => {
                self.confirm.writable_by(session)?;
                self.guard.writable()
            }
            Target::Candidate | Target::Startup => Ok(()),
        }
    }

    fn is_candidate_changed(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| {
            candidate
                .diff(&self.running)
                .map_or(true, |diff| !diff.is_empty())
        })
    }

    /// `<discard-changes>` (RFC 6241, section 8.3.4.2).
    ///
    /// # Errors
    /// `in-use` under another session's lock.
    pub fn discard(&mut self, by: &Author) -> Result<(), RpcError> {
        self.locks.of(Target::Candidate).writable_by(by.session)?;
        self.candidate = None;
        Ok(())
    }

    /// The configuration that an edit of a datastore would make, with secrets sealed and access checked.
    ///
    /// # Errors
    /// What is wrong with the edit, and `access-denied`.
    pub fn edited(
        &mut self,
        target: Target,
        by: &Author,
        config: &[Element],
        options: EditOptions,
    ) -> Result<Draft, Errors> {
        match self.edited_in_part(target, by, config, options)? {
            (draft, errors) if errors.is_empty() => Ok(draft),
            (_, errors) => Err(errors),
        }
    }

    /// The same; what could not be done comes beside what could, if the edit is to go on at an error.
    ///
    /// # Errors
    /// As [`Datastore::edited`].
    pub fn edited_in_part(
        &mut self,
        target: Target,
        by: &Author,
        config: &[Element],
        options: EditOptions,
    ) -> Result<(Draft, Errors), Errors> {
        self.writable_by(target, by.session)?;
        match self.to_edit(target, config, options)? {
            Draft::Whole(mut tree) => {
                let errors = self.apply(&mut tree, by, config, options)?;
                let before = self.config(target);
                let errors = self.permitted(by, before, &tree, errors, options)?;
                Ok((Draft::Whole(tree), errors))
            }
            Draft::Part(mut part) => {
                // Whoever may do everything is not asked.
                let before = (!by.recovery).then(|| part.copy());
                let errors = part.change(|tree| self.apply(tree, by, config, options))?;
                let before = before.as_ref().unwrap_or(part.after());
                let errors = self.permitted(by, before, part.after(), errors, options)?;
                Ok((Draft::Part(part), errors))
            }
        }
    }

    /// The errors of an edit that is kept all the same, if its outcome is permitted.
    fn permitted(
        &self,
        by: &Author,
        before: &Tree,
        after: &Tree,
        mut errors: Errors,
        options: EditOptions,
    ) -> Result<Errors, Errors> {
        if errors.is_empty() || options.continue_on_error {
            match self.check_access(by, before, after) {
                Ok(()) => return Ok(errors),
                Err(denied) => errors.push(denied),
            }
        }
        Err(errors)
    }

    /// What an edit of a datastore works on: a copy of as much as it can touch.
    fn to_edit(
        &self,
        target: Target,
        config: &[Element],
        options: EditOptions,
    ) -> Result<Draft, RpcError> {
        let (running, constraints) = (&self.running, &self.constraints);
        let scope = edit::scope(self.schema, config, options);
        if scope.is_everything() || target == Target::Startup {
            return Ok(Draft::Whole(self.config(target).duplicate()));
        }
        match self
            .candidate
            .as_ref()
            .filter(|_| target == Target::Candidate)
        {
            Some(candidate) => candidate.widened(running, &scope, constraints),
            None => Part::of(running, scope, constraints).map(Draft::from),
        }
    }

    /// Configuration from a manager that is to replace a datastore, with secrets sealed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, by: &Author, config: &[Element]) -> Result<Tree, Errors> {
        let mut tree = Tree::new(self.schema);
        let options = EditOptions {
            default: edit::Operation::Merge,
            continue_on_error: false,
        };
        match self.apply(&mut tree, by, config, options)? {
            errors if errors.is_empty() => Ok(tree),
            errors => Err(errors),
        }
    }

    /// Gives what is wrong with the edit; fails if that must not be told.
    fn apply(
        &mut self,
        tree: &mut Tree,
        by: &Author,
        config: &[Element],
        options: EditOptions,
    ) -> Result<Errors, RpcError> {
        let mut given = Vec::new();
        let secrets = Secrets {
            sealer: self.sealer.as_mut(),
            stored: &self.running,
            given: &mut given,
        };
        let errors = edit::apply(tree, config, options, secrets)
            .err()
            .unwrap_or_default();
        if by.recovery {
            return Ok(errors);
        }
        // That something exists is told to those only who may know it.
        let existing = errors
            .iter()
            .filter(|error| error.tag == ErrorTag::DataExists);
        let told = existing.filter_map(|error| error.path.as_ref());
        for node in told.chain(&given).filter_map(|path| tree.find(path)) {
            self.nacm.may_give(by, node)?;
        }
        Ok(errors)
    }

    /// Makes a configuration the candidate.
    ///
    /// # Errors
    /// `in-use` under another session's lock.
    pub fn set_candidate(&mut self, draft: impl Into<Draft>, by: &Author) -> Result<(), RpcError> {
        self.locks.of(Target::Candidate).writable_by(by.session)?;
        self.candidate = Some(draft.into().into());
        Ok(())
    }

    /// A copy of a datastore's configuration.
    ///
    /// # Errors
    /// No memory.
    pub fn draft(&self, target: Target) -> Result<Draft, RpcError> {
        match self
            .candidate
            .as_ref()
            .filter(|_| target == Target::Candidate)
        {
            Some(candidate) => candidate.draft(&self.running, &self.constraints),
            None => Ok(Draft::Whole(self.config(target).duplicate())),
        }
    }

    /// A copy of a configuration that is not in a datastore yet.
    ///
    /// # Errors
    /// No memory.
    pub fn copy(&self, draft: &Draft) -> Result<Draft, RpcError> {
        draft.copy(&self.running, &self.constraints)
    }

    /// Checks that a user may turn one configuration into another.
    ///
    /// # Errors
    /// `access-denied` with the path of a node.
    pub fn check_access(&self, by: &Author, old: &Tree, new: &Tree) -> Result<(), RpcError> {
        if by.recovery {
            return Ok(());
        }
        self.nacm.check(by, &old.diff(new)?)
    }

    /// Does an action or rpc of a module.
    ///
    /// # Errors
    /// `operation-not-supported` when no part of the agent does it; else what that part says.
    pub fn act(&mut self, path: &str, input: &Tree) -> Result<Tree, RpcError> {
        match self.parts.actions.get_mut(path) {
            Some(handler) => handler.act(input),
            None => Err(RpcError::protocol(
                ErrorTag::OperationNotSupported,
                format!("nothing on this device does {path}"),
            )),
        }
    }
}
