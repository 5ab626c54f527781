//! What changes in running and in the operational state, node by node, for those who are told of changes (RFC 8641).
//!
//! A commit leaves its difference here when it is in force ([`Changes::publish`], called off the commit's way); whoever
//! follows the state leaves those of the state. `walk.rs` picks out of a difference what one subscriber has asked for and
//! may see, at a cost that follows the difference; `record.rs` puts several together, as dampening wants it; `patch.rs` puts
//! them in words.

mod log;
mod patch;
mod record;
mod stream;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::tree::{SchemaNode, SharedDiff};

pub use log::Found;
pub use patch::{ChangeType, Edit, Where};
pub use record::Record;
pub use stream::{Bell, Changes, Listener, Wakes, when_published};
pub use walk::Look;

/// Of what something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Of running, which has this version since then (see [`super::View::version`]).
    Running(u64),
    /// Of the state.
    State,
}

/// What changed at once.
#[derive(Debug)]
pub struct Change {
    /// Of what.
    pub of: Of,
    /// What turns the state before into the one after.
    pub diff: SharedDiff,
}

/// The nodes whose changes are not told, with all that is below them.
pub type Unsettled = Arc<HashSet<SchemaNode>>;
