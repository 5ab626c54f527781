//! The startup datastore (RFC 6241, section 8.7), on a device where running is kept only by a copy to it.
//!
//! The store always holds what the agent starts with. So its history is that of startup here, and an option that is
//! switched on or off finds the configuration that the last start would have found.

use crate::model::error::Errors;
use crate::model::tree::{Snapshot, Tree};

use super::commit::{Effect, Staged, Step};
use super::draft::Draft;
use super::{Author, Datastore, Target};

/// Where the store keeps that startup was deleted: the next start is a first one.
pub const DELETED_KEY: &str = "startup-deleted";

impl Datastore {
    /// Replaces startup, as copy-config and edit-data do. It must be what the agent could start with.
    ///
    /// # Errors
    /// `in-use` under another session's lock; every violation; what a subscriber refuses.
    pub fn replace_startup(
        &mut self,
        draft: impl Into<Draft>,
        by: &Author,
    ) -> Result<Step, Errors> {
        self.lock_of(Target::Startup).writable_by(by.session)?;
        let draft = self.validated(draft.into())?;
        let tree = draft.into_whole(&self.running)?;
        self.store_startup(tree, by, None)
    }

    /// Deletes startup: the agent starts next as it did at first.
    ///
    /// # Errors
    /// `in-use` under another session's lock.
    pub fn delete_startup(&mut self, by: &Author) -> Result<Step, Errors> {
        self.lock_of(Target::Startup).writable_by(by.session)?;
        self.store_startup(Tree::new(self.schema), by, Some(Vec::new()))
    }

    fn store_startup(
        &mut self,
        tree: Tree,
        by: &Author,
        deleted: Option<Vec<u8>>,
    ) -> Result<Step, Errors> {
        let diff = self.config(Target::Startup).diff(&tree)?;
        if diff.is_empty() && deleted.is_none() {
            return Ok(Step::Done);
        }
        Ok(Step::Store(Box::new(Staged {
            by: by.clone(),
            beside: vec![(DELETED_KEY.to_owned(), deleted)],
            record: (!diff.is_empty()).then(|| self.record(by, &diff)),
            change: None,
            startup: Some(Snapshot::new(tree)),
            effect: Effect::NONE,
            rollback: None,
            empties_candidate: false,
        })))
    }
}
