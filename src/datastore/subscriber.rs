//! What the datastore asks of the parts of the agent: to take a change over, to show state, to do an action.

use super::changes::Wakes;
use super::past::Version;
use crate::model::error::RpcError;
use crate::model::tree::{Diff, Tree};

/// A commit as its subscribers see it. Of long lists there may be no more than the entries that change, except in what
/// one of them reads (see [`ConfigSubscriber::reads`]).
pub struct Change<'a> {
    /// Running before.
    pub old: &'a Tree,
    /// Running after, validated, with defaults.
    pub new: &'a Tree,
    /// What turns one into the other.
    pub diff: &'a Diff,
    /// Whether the agent starts with this configuration: nobody committed it.
    pub at_start: bool,
    /// Its number among the changes since the start, which rise; 0 at the start.
    pub number: Version,
    /// Whether it goes on or back.
    pub direction: Direction,
}

/// Whether a change is a new one or restores what was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Somebody commits something, or the agent starts.
    #[default]
    Onward,
    /// A confirmed commit is taken back.
    TakenBack,
    /// The commit guard restores what was before.
    RolledBack,
}

/// What a change means for the connection that the commit guard watches over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Its target stays the same.
    #[default]
    Kept,
    /// Another target, and nothing is lost by it: no connection stands.
    Moved,
    /// Another target, and a connection that stands is given up for it.
    Cut,
}

/// A part of the agent that configuration drives.
pub trait ConfigSubscriber: Send {
    /// The containers that it reads, and then only if the change touches one of them: a change shows them whole.
    /// `None`: it may read anything at any time.
    fn reads(&self) -> Option<Vec<&'static str>> {
        None
    }

    /// Those of them that it keeps what it has read of, so that only a change of theirs has to show them: what a commit
    /// costs does not follow what lies beside it.
    fn keeps(&self) -> &'static [&'static str] {
        &[]
    }

    /// Checks the change and reserves what it needs. Nothing outside may notice yet.
    ///
    /// # Errors
    /// Whatever makes the change impossible; the commit is then refused and leaves no trace.
    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError>;
}

/// A change that a subscriber is ready to take over. Dropping it aborts.
#[must_use]
pub trait Prepared: Send {
    /// Does it; cannot fail.
    fn apply(self: Box<Self>);

    /// What it means for the connection to the device's server.
    fn reach(&self) -> Reach {
        Reach::Kept
    }
}

impl<F: FnOnce() + Send> Prepared for F {
    fn apply(self: Box<Self>) {
        self();
    }
}

/// A part of the agent that has state to show.
pub trait StateProvider: Send + Sync {
    /// The module whose top-level nodes it fills.
    fn module(&self) -> &'static str;
    /// Adds its state; reads what is at hand and never waits.
    fn state(&self, into: &mut Tree);
    /// What it says of changes of its state; none if nothing, so that nobody can be told of them (RFC 8641, section 3.10).
    fn telling(&self) -> Option<Telling> {
        None
    }
}

/// What a part of the agent says of changes of its state.
pub struct Telling {
    /// Tells that the state may be another one; none if it never is.
    pub wakes: Option<Box<dyn Wakes>>,
    /// The schema nodes that are another one all the time, or of whose changes it does not tell; with all below them.
    pub unsettled: &'static [&'static str],
}

impl Telling {
    /// Nobody tells: but for what is unsettled, the state stays what it is.
    pub const fn nothing_but(unsettled: &'static [&'static str]) -> Option<Self> {
        Some(Self {
            wakes: None,
            unsettled,
        })
    }

    /// It is another one whenever this wakes, but for what is unsettled.
    pub fn by(wakes: Box<dyn Wakes>, unsettled: &'static [&'static str]) -> Option<Self> {
        Some(Self {
            wakes: Some(wakes),
            unsettled,
        })
    }
}

/// A part of the agent that carries out an action or rpc of a module.
pub trait ActionHandler: Send {
    /// Does it with an input that was validated; returns the output nodes, or an empty tree when there are none.
    ///
    /// # Errors
    /// Why it was not done.
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError>;
}
