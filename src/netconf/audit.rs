//! The record of what a session asked to be changed, or was not allowed to see: who, from where, what, and what came of it.
//!
//! It holds no value of the request, which may be a secret, and no words of an error, which may quote one. The paths that
//! a commit has changed are in the record that follows it (`datastore/events/announcer.rs`), once it is in force.

use super::operations::SessionId;
use super::rpc::{Named, Rpc, Stored};
use crate::model::error::{ErrorTag, Errors};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{NodeKind, SchemaNode};
use crate::protocol::xml::{Document, Element};

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
    pub fn of(schema: Schema, rpc: &Rpc) -> Self {
        let target = match rpc {
            Rpc::EditConfig(edit) => Some(edit.target.as_str().to_owned()),
            Rpc::EditData(edit) => Some(stored(edit.datastore).to_owned()),
            Rpc::CopyConfig { target, .. } | Rpc::DeleteConfig { target } => {
                Some(target.as_str().to_owned())
            }
            Rpc::Lock { target } | Rpc::Unlock { target } => Some(named(*target).to_owned()),
            Rpc::KillSession { session } => Some(format!("session {session}")),
            Rpc::KillSubscription { id } => Some(format!("subscription {id}")),
            Rpc::Action { message } => match action(schema, message) {
                Some(action) if action == paths::READ_LOG => return Self::only_looks(rpc),
                action => action,
            },
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

/// The path of the action in its module; nothing if there is no such action.
fn action(schema: Schema, message: &str) -> Option<String> {
    let document = Document::parse(message.as_bytes(), usize::MAX).ok()?;
    let action = document.root().children().next()?;
    let mut element = action.children().next()?;
    let mut node = schema.top(schema.module_of(element.namespace())?, element.name())?;
    while node.kind() != NodeKind::Action {
        (element, node) = element.children().find_map(|child| {
            let below = below(node, &child)?;
            Some((child, below))
        })?;
    }
    Some(node.path())
}

/// The node of a child, if an action can be it or be within it.
fn below(node: SchemaNode, child: &Element<'_>) -> Option<SchemaNode> {
    let may_be = [NodeKind::Action, NodeKind::Container, NodeKind::List];
    let mut below = node.children();
    below.find(|below| below.name() == child.name() && may_be.contains(&below.kind()))
}
