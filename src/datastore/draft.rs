//! A configuration on its way into a datastore, and the candidate: whole, or the part of running that it changes.

use std::cell::OnceCell;

use crate::model::error::{Errors, RpcError};
use crate::model::tree::{Constraints, Diff, Scope, Snapshot, Tree};

use super::part::Part;

#[cfg(test)]
mod tests;

/// A configuration that somebody has made.
pub enum Draft {
    /// All of it.
    Whole(Tree),
    /// Running, with a change.
    Part(Box<Part>),
}

impl From<Tree> for Draft {
    fn from(tree: Tree) -> Self {
        Self::Whole(tree)
    }
}

impl From<Part> for Draft {
    fn from(part: Part) -> Self {
        Self::Part(Box::new(part))
    }
}

impl Draft {
    /// Running, as far as the draft goes.
    pub(super) fn before<'a>(&'a self, running: &'a Tree) -> &'a Tree {
        match self {
            Self::Whole(_) => running,
            Self::Part(part) => part.before(),
        }
    }

    /// What running is to become, as far as the draft goes.
    pub(super) fn after(&self) -> &Tree {
        match self {
            Self::Whole(tree) => tree,
            Self::Part(part) => part.after(),
        }
    }

    /// What turns running into it.
    ///
    /// # Errors
    /// As [`Tree::diff`].
    pub(super) fn diff(&self, running: &Tree) -> Result<Diff, RpcError> {
        self.before(running).diff(self.after())
    }

    /// A copy.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn copy(&self, running: &Tree, constraints: &Constraints) -> Result<Self, RpcError> {
        Ok(match self {
            Self::Whole(tree) => Self::Whole(tree.duplicate()),
            Self::Part(part) => part
                .widened(running, &Scope::default(), constraints)?
                .into(),
        })
    }

    /// All of it, if `running` is what it is a part of.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn into_whole(self, running: &Tree) -> Result<Tree, RpcError> {
        match self {
            Self::Whole(tree) => Ok(tree),
            Self::Part(part) => whole(&part, running),
        }
    }
}

fn whole(part: &Part, running: &Tree) -> Result<Tree, RpcError> {
    let mut tree = running.duplicate();
    part.carry(&mut tree)?;
    Ok(tree)
}

/// A candidate that was edited.
pub(super) enum Candidate {
    /// All of it.
    Whole(Snapshot),
    /// Running, with a change.
    Part {
        change: Box<Part>,
        /// All of it, from when somebody asks for it.
        whole: OnceCell<Snapshot>,
    },
}

impl From<Draft> for Candidate {
    fn from(draft: Draft) -> Self {
        match draft {
            Draft::Whole(tree) => Self::Whole(Snapshot::new(tree)),
            Draft::Part(change) => Self::Part {
                change,
                whole: OnceCell::new(),
            },
        }
    }
}

impl Candidate {
    /// All of it.
    pub(super) fn snapshot<'a>(&'a self, running: &'a Snapshot) -> &'a Snapshot {
        match self {
            Self::Whole(whole) => whole,
            Self::Part { change, whole } => {
                whole.get_or_init(|| match self::whole(change, running) {
                    Ok(tree) => Snapshot::new(tree),
                    Err(error) => {
                        tracing::error!(%error, "the candidate could not be put together");
                        running.clone()
                    }
                })
            }
        }
    }

    /// What turns running into it.
    ///
    /// # Errors
    /// As [`Tree::diff`].
    pub(super) fn diff(&self, running: &Tree) -> Result<Diff, RpcError> {
        match self {
            Self::Whole(whole) => running.diff(whole),
            Self::Part { change, .. } => change.diff(),
        }
    }

    /// A copy of it.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn draft(
        &self,
        running: &Tree,
        constraints: &Constraints,
    ) -> Result<Draft, RpcError> {
        self.widened(running, &Scope::default(), constraints)
    }

    /// A copy of it as it is after validation.
    ///
    /// # Errors
    /// Every violation.
    pub(super) fn validated(
        &self,
        running: &Tree,
        constraints: &Constraints,
    ) -> Result<Draft, Errors> {
        match self {
            Self::Whole(whole) => {
                let mut tree = whole.duplicate();
                tree.validate()?;
                Ok(tree.into())
            }
            Self::Part { change, .. } => Ok(change.validated(running, constraints)?.into()),
        }
    }

    /// A copy of it that has at least this part.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn widened(
        &self,
        running: &Tree,
        scope: &Scope,
        constraints: &Constraints,
    ) -> Result<Draft, RpcError> {
        Ok(match self {
            Self::Whole(whole) => Draft::Whole(whole.duplicate()),
            Self::Part { change, .. } => change.widened(running, scope, constraints)?.into(),
        })
    }
}

impl Candidate {
    /// The same configuration, told by its difference to what running has become.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn rebased(
        self,
        running: &Tree,
        constraints: &Constraints,
    ) -> Result<Self, RpcError> {
        Ok(match self {
            Self::Whole(whole) => Self::Whole(whole),
            Self::Part { change, .. } => Draft::from(change.rebased(running, constraints)?).into(),
        })
    }
}

/// What running is to become.
pub(super) enum Next {
    /// This.
    Whole(Snapshot),
    /// What it is, with a change.
    Part(Box<Part>),
}

impl From<Draft> for Next {
    fn from(draft: Draft) -> Self {
        match draft {
            Draft::Whole(tree) => Self::Whole(Snapshot::new(tree)),
            Draft::Part(part) => Self::Part(part),
        }
    }
}

impl Next {
    /// The candidate, such that it stays as it is when running becomes this; [`Candidate::rebased`] is to follow.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn keep(
        &self,
        candidate: Candidate,
        running: &Snapshot,
        constraints: &Constraints,
    ) -> Result<Candidate, RpcError> {
        match (self, candidate) {
            (Self::Part(next), Candidate::Part { change, .. }) => {
                let wider = change.widened(running, next.scope(), constraints)?;
                Ok(Draft::from(wider).into())
            }
            (_, candidate) => Ok(Candidate::Whole(candidate.snapshot(running).clone())),
        }
    }

    /// Makes running this, in place if nobody else holds it. Gives what takes that back.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn replace(self, running: &mut Snapshot) -> Result<Undo, RpcError> {
        Ok(match self {
            Self::Whole(next) => Undo::Whole(std::mem::replace(running, next)),
            Self::Part(change) => {
                running.follow(change.before(), change.after())?;
                Undo::Part(change)
            }
        })
    }
}

/// What takes a change of running back.
pub(super) enum Undo {
    /// What was before.
    Whole(Snapshot),
    /// The change.
    Part(Box<Part>),
}
