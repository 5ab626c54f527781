//! What changed last, within bounds: everybody's queue, as that of events is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Change, Of};
use crate::model::tree::SharedDiff;

/// Changes that are kept for those who read slowly.
const MOST: usize = 1024;
/// Nodes of all of them together.
const MOST_NODES: usize = 200_000;
/// Octets of the values in all of them together: two of the largest messages.
const MOST_OCTETS: usize = 32 << 20;

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
    octets: usize,
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
        self.octets += diff.octets();
        self.changes.push_back(Arc::new(Change { of, diff }));
        while self.is_full() {
            let Some(oldest) = self.changes.pop_front() else {
                return;
            };
            self.nodes -= oldest.diff.nodes();
            self.octets -= oldest.diff.octets();
        }
    }

    fn is_full(&self) -> bool {
        self.changes.len() > MOST || self.nodes > MOST_NODES || self.octets > MOST_OCTETS
    }

    /// Counts a change that nobody listens to.
    pub fn skip(&mut self) {
        self.next += 1;
        self.changes.clear();
        (self.nodes, self.octets) = (0, 0);
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
        diff_of(schema, "a")
    }

    fn diff_of(schema: Schema, contact: &str) -> SharedDiff {
        let xml = format!(
            r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><contact>{contact}</contact></system>"#
        );
        let tree = Tree::parse_config(schema, &xml).unwrap();
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
    fn large_values_make_room_too_and_one_that_is_too_large_is_not_kept() {
        let schema = Schema::load(&[]).unwrap();
        let third = diff_of(schema, &"x".repeat(MOST_OCTETS / 3 - 100));
        let mut log = Log::default();
        for version in 0..4 {
            log.push(Of::Running(version), third.clone());
        }
        assert!(matches!(log.at(0), Found::Lost { changes: 1 }));
        log.push(Of::State, diff_of(schema, &"x".repeat(MOST_OCTETS + 1)));
        assert!(matches!(log.at(0), Found::Lost { changes: 5 }));
        log.push(Of::State, third);
        assert!(matches!(log.at(5), Found::Change(_)));
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
