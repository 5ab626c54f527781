//! What changed last, within bounds: everybody's queue, as that of events is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Change, Of};
use crate::model::tree::SharedDiff;

/// Changes that are kept for those who read slowly.
const MOST: usize = 1024;
/// Nodes of all of them together.
const MOST_NODES: usize = 200_000;

/// What is at a place.
#[derive(Clone, Debug)]
pub enum Found {
    /// This change.
    Change(Arc<Change>),
    /// Nothing yet.
    End,
    /// Nothing any more: it had to make room, or nobody listened.
    Lost {
        /// How many changes there were before the next that is there.
        changes: u64,
    },
}

/// The changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    /// The number of the next change.
    next: u64,
    nodes: usize,
}

impl Log {
    /// The number that the next change gets.
    pub fn end(&self) -> u64 {
        self.next
    }

    /// Adds a change; the oldest make room, in the end the new one itself.
    pub fn push(&mut self, of: Of, diff: SharedDiff) {
        self.next += 1;
        self.nodes += diff.nodes();
        self.changes.push_back(Arc::new(Change { of, diff }));
        while self.changes.len() > MOST || self.nodes > MOST_NODES {
            let Some(oldest) = self.changes.pop_front() else {
                return;
            };
            self.nodes -= oldest.diff.nodes();
        }
    }

    /// Counts a change that nobody listens to.
    pub fn skip(&mut self) {
        self.next += 1;
        self.changes.clear();
        self.nodes = 0;
    }

    /// What is at a place.
    pub fn at(&self, place: u64) -> Found {
        let start = self.next - self.changes.len() as u64;
        let Some(index) = place.checked_sub(start) else {
            return Found::Lost {
                changes: start - place,
            };
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.changes
            .get(index)
            .map_or(Found::End, |change| Found::Change(Arc::clone(change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Schema;
    use crate::model::tree::Tree;

    fn diff(schema: Schema) -> SharedDiff {
        let xml = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><hostname>a</hostname></system>"#;
        let tree = Tree::parse_config(schema, xml).unwrap();
        Tree::new(schema).diff(&tree).unwrap().share()
    }

    #[test]
    fn the_oldest_make_room_and_who_was_there_learns_how_many_he_missed() {
        let schema = Schema::load(&[]).unwrap();
        let mut log = Log::default();
        for version in 0..=MOST as u64 {
            log.push(Of::Running(version), diff(schema));
        }
        assert!(matches!(log.at(0), Found::Lost { changes: 1 }));
        assert!(matches!(log.at(1), Found::Change(change) if change.of == Of::Running(1)));
        assert!(matches!(log.at(log.end()), Found::End));
    }

    #[test]
    fn what_nobody_hears_of_is_counted_and_not_kept() {
        let schema = Schema::load(&[]).unwrap();
        let mut log = Log::default();
        log.push(Of::State, diff(schema));
        log.skip();
        assert_eq!(log.end(), 2);
        assert!(matches!(log.at(0), Found::Lost { changes: 2 }));
        assert!(matches!(log.at(2), Found::End));
    }
}
