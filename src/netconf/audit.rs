//! The record of what a session asked to be changed, or was not allowed to see: who, from where, what, and what came of it.
//!
//! It holds no value of the request, which may be a secret, and no words of an error, which may quote one. The paths that
//! a commit has changed are in the record that follows it (`datastore/events/announcer.rs`), once it is in force.

use super::operations::SessionId;
use super::rpc::{Named, Rpc, Stored};
use crate::model::error::{ErrorTag, Errors};
use crate::model::paths;

/// Under which part of the log it is told.
const PART: &str = "audit";

/// An operation as it is recorded.
pub struct Request {
    operation: String,
    target: Option<String>,
    may_change: bool,
}

impl Request {
    /// Of an operation.
    pub fn of(rpc: &Rpc) -> Self {
        let target = match rpc {
            Rpc::EditConfig(edit) => Some(edit.target.as_str().to_owned()),
            Rpc::EditData(edit) => Some(stored(edit.datastore).to_owned()),
            Rpc::CopyConfig { target, .. } | Rpc::DeleteConfig { target } => {
                Some(target.as_str().to_owned())
            }
            Rpc::Lock { target } | Rpc::Unlock { target } => Some(named(*target).to_owned()),
            Rpc::KillSession { session } => Some(format!("session {session}")),
            Rpc::KillSubscription { id } => Some(format!("subscription {id}")),
            Rpc::Action { path, .. } if path.as_deref() == Some(paths::READ_LOG) => {
                return Self::only_looks(rpc);
            }
            Rpc::Action { path, .. } => path.clone(),
            Rpc::Commit { .. }
            | Rpc::CancelCommit { .. }
            | Rpc::DiscardChanges
            | Rpc::Other { .. } => None,
            _ => return Self::only_looks(rpc),
        };
        Self {
            operation: rpc.name().to_owned(),
            target,
            may_change: true,
        }
    }

    /// Of an operation that changes nothing, for nobody or for its own session alone.
    fn only_looks(rpc: &Rpc) -> Self {
        Self {
            operation: rpc.name().to_owned(),
            target: None,
            may_change: false,
        }
    }

    /// Whether it is worth a record: what may change something always, the rest if it was not allowed.
    pub fn is_told<T>(&self, outcome: &Result<T, Errors>) -> bool {
        let is_refusal = |tag| {
            matches!(
                tag,
                ErrorTag::AccessDenied | ErrorTag::ResourceDenied | ErrorTag::TooBig
            )
        };
        let errors = outcome.as_ref().err();
        self.may_change
            || errors.is_some_and(|errors| errors.iter().any(|error| is_refusal(error.tag)))
    }

    /// Tells who asked for it, and what came of it.
    pub fn tell<T>(
        self,
        session: SessionId,
        user: &str,
        source: Option<&str>,
        outcome: &Result<T, Errors>,
    ) {
        let Self {
            operation, target, ..
        } = self;
        let error = outcome.as_ref().err().and_then(|errors| errors.first());
        let word = error.map_or("ok", |error| error.tag.as_str());
        let path = error.and_then(|error| error.path.as_deref());
        tracing::info!(
            target: PART, session, user, source, operation, on = target, outcome = word, path, "rpc"
        );
    }
}

fn named(name: Named) -> &'static str {
    match name {
        Named::Element(datastore) => datastore.as_str(),
        Named::Identity(datastore) => stored(datastore),
    }
}

fn stored(datastore: Stored) -> &'static str {
    match datastore {
        Stored::Conventional(datastore) => datastore.as_str(),
        Stored::Operational => "operational",
    }
}
