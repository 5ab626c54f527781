//! A change of a configuration, worked on in a part of it.
//!
//! Of long lists, only the entries that the change or a constraint can touch are looked at, so that changing one of
//! 100,000 entries costs what changing one of 100 does. Whatever is refused here is looked at again as a whole: an
//! error is never one of the part alone.

use crate::model::error::{Errors, RpcError};
use crate::model::tree::{Constraints, Diff, Scope, Slice, Tree};

#[cfg(test)]
mod tests;

/// Turns after which a part that still grows is taken for the whole.
const MOST_TURNS: usize = 8;

/// A part of a configuration, as it is and as it is to be.
pub struct Part {
    scope: Scope,
    old: Slice,
    new: Tree,
}

impl Part {
    /// A part of a configuration, not changed yet.
    ///
    /// # Errors
    /// No memory.
    pub fn of(whole: &Tree, scope: Scope, constraints: &Constraints) -> Result<Self, RpcError> {
        let old = Slice::of(whole, &scope, constraints)?;
        let new = old.tree().duplicate();
        let mut part = Self { scope, old, new };
        part.settle();
        Ok(part)
    }

    /// The same change in a larger part of the same configuration.
    ///
    /// # Errors
    /// No memory.
    pub fn widened(
        &self,
        whole: &Tree,
        by: &Scope,
        constraints: &Constraints,
    ) -> Result<Self, RpcError> {
        let mut scope = self.scope.clone();
        scope.add(by);
        let mut part = Self::of(whole, scope, constraints)?;
        part.new.follow(self.old.tree(), &self.new)?;
        part.settle();
        Ok(part)
    }

    /// The same outcome, told by its difference to another configuration, from which this part differs and no other.
    ///
    /// # Errors
    /// No memory.
    pub fn rebased(self, whole: &Tree, constraints: &Constraints) -> Result<Self, RpcError> {
        let old = Slice::of(whole, &self.scope, constraints)?;
        let mut part = Self { old, ..self };
        part.settle();
        Ok(part)
    }

    /// The part before the change.
    pub fn before(&self) -> &Tree {
        self.old.tree()
    }

    /// The part after the change.
    pub fn after(&self) -> &Tree {
        &self.new
    }

    /// A copy of the part after the change.
    pub fn copy(&self) -> Tree {
        let mut copy = self.new.duplicate();
        self.old.hold(&mut copy);
        copy
    }

    /// What it is a part of.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Changes it; what the change does below a list it finds in full, if the scope names it.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Tree) -> T) -> T {
        let done = change(&mut self.new);
        self.settle();
        done
    }

    /// libyang takes a container for empty, and so for a default, whose entries are not in this part.
    fn settle(&mut self) {
        self.old.hold(&mut self.new);
    }

    /// The difference, which is that of the whole configuration.
    ///
    /// # Errors
    /// As [`Tree::diff`].
    pub fn diff(&self) -> Result<Diff, RpcError> {
        self.old.tree().diff(&self.new)
    }

    /// Does the change to the configuration that this is a part of.
    ///
    /// # Errors
    /// Another configuration, or no memory.
    pub fn carry(&self, whole: &mut Tree) -> Result<(), RpcError> {
        whole.follow(self.old.tree(), &self.new)
    }

    /// The change as it is after validation of the whole configuration, which was valid before it: with defaults, and
    /// without what no longer applies.
    ///
    /// # Errors
    /// Every violation, as [`Tree::validate`] finds them in the whole.
    pub fn validated(&self, whole: &Tree, constraints: &Constraints) -> Result<Self, Errors> {
        let mut wider = self.scope.clone();
        self.grow(&mut wider, constraints);
        for _ in 0..MOST_TURNS {
            let mut part = self.widened(whole, &wider, constraints)?;
            if part.grow(&mut wider, constraints) {
                continue;
            }
            if part.new.validate().is_err() {
                break;
            }
            part.settle();
            // Defaults that came or went count as changes, too.
            if !part.grow(&mut wider, constraints) {
                return Ok(part);
            }
        }
        let mut all = self.widened(whole, &Scope::everything(), constraints)?;
        all.new.validate()?;
        Ok(all)
    }

    /// Adds what constraints look at to a scope; false if this part has it all.
    fn grow(&self, scope: &mut Scope, constraints: &Constraints) -> bool {
        if self.scope.is_everything() {
            return false;
        }
        let reach = constraints.reach(&self.new);
        if reach.anything {
            scope.top.take_all();
            return true;
        }
        let mut has_grown = false;
        let changed = self.old.tree().changed(&self.new);
        let lists = reach.lists.into_iter();
        for list in lists.chain(constraints.affected_by(&changed)) {
            has_grown |= scope.take_list(list);
        }
        for (list, key) in &reach.entries {
            has_grown |= scope.take_entry(*list, key);
        }
        has_grown
    }
}
