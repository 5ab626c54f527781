//! What running was at the points that commits may be taken back to, told by the changes since: so such a commit costs
//! what its change does, and only taking it back costs what running does.

use super::draft::Undo;
use crate::model::error::RpcError;
use crate::model::tree::{Snapshot, Tree};

/// How often running has changed since the agent started: a point of its history.
pub type Version = u64;

/// Changes that are kept apart, at the most.
const MOST: usize = 64;

/// The changes since the oldest point that somebody may go back to.
#[derive(Default)]
pub(super) struct Past {
    /// Each with the point before it, oldest first.
    changes: Vec<(Version, Undo)>,
}

impl Past {
    /// Takes note of the change after a point, which made running what it is. `points` are those that somebody may go
    /// back to; what leads to none of them is forgotten.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn push(
        &mut self,
        before: Version,
        change: Undo,
        points: &[Version],
        running: &Tree,
    ) -> Result<(), RpcError> {
        self.keep(points);
        let Some(&newest) = points.iter().max() else {
            return Ok(());
        };
        let mut since = self
            .changes
            .iter()
            .filter(|(version, _)| *version >= newest);
        // What came after a whole configuration that is kept leads to nothing more.
        if since.any(|(_, change)| matches!(change, Undo::Whole(_))) {
            return Ok(());
        }
        self.changes.push((before, change));
        if self.changes.len() > MOST {
            self.shorten(points, running)?;
        }
        Ok(())
    }

    /// Forgets what leads to none of these points.
    pub(super) fn keep(&mut self, points: &[Version]) {
        match points.iter().min() {
            Some(oldest) => self.changes.retain(|(version, _)| version >= oldest),
            None => self.changes.clear(),
        }
    }

    fn shorten(&mut self, points: &[Version], running: &Tree) -> Result<(), RpcError> {
        let mut points = points.to_vec();
        points.sort_unstable();
        points.dedup();
        let mut whole = Vec::new();
        for point in points {
            let before = Snapshot::new(self.restored(point, running)?);
            whole.push((point, Undo::Whole(before)));
        }
        self.changes = whole;
        Ok(())
    }

    /// The configuration at a point, made of what is running now.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn restored(&self, point: Version, running: &Tree) -> Result<Tree, RpcError> {
        let first = self
            .changes
            .partition_point(|(version, _)| *version < point);
        let since = &self.changes[first..];
        let is_whole = |(_, change): &(Version, Undo)| matches!(change, Undo::Whole(_));
        let whole = since.iter().position(is_whole).unwrap_or(since.len());
        let mut tree = match since.get(whole) {
            Some((_, Undo::Whole(before))) => before.duplicate(),
            _ => running.duplicate(),
        };
        for (_, change) in since[..whole].iter().rev() {
            if let Undo::Part(part) = change {
                tree.follow(part.after(), part.before())?;
            }
        }
        Ok(tree)
    }
}
