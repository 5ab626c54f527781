//! What a pending confirmed commit falls back to, told by the changes since: so a confirmed commit costs what its change
//! does, and only taking it back costs what running does.

use super::draft::Undo;
use crate::model::error::RpcError;
use crate::model::tree::{Snapshot, Tree};

/// Changes that are kept apart, at the most.
const MOST: usize = 64;

/// A configuration that was running.
#[derive(Default)]
pub(super) struct Base {
    /// The changes since, oldest first. Only the last can be a whole configuration: what came later does not matter.
    changes: Vec<Undo>,
}

impl Base {
    /// Takes note of a change that made running what it is.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn push(&mut self, change: Undo, running: &Tree) -> Result<(), RpcError> {
        if matches!(self.changes.last(), Some(Undo::Whole(_))) {
            return Ok(());
        }
        self.changes.push(change);
        if self.changes.len() > MOST {
            let base = Snapshot::new(self.restored(running)?);
            self.changes = vec![Undo::Whole(base)];
        }
        Ok(())
    }

    /// The configuration, made of what is running now.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn restored(&self, running: &Tree) -> Result<Tree, RpcError> {
        let (mut tree, parts) = match self.changes.split_last() {
            Some((Undo::Whole(before), older)) => (before.duplicate(), older),
            _ => (running.duplicate(), &self.changes[..]),
        };
        for change in parts.iter().rev() {
            if let Undo::Part(part) = change {
                tree.follow(part.after(), part.before())?;
            }
        }
        Ok(tree)
    }
}
