//! The difference of two trees.

use super::{Node, Schema, Tree};
use crate::model::error::Errors;

/// What a diff does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It comes into being.
    Create,
    /// It goes.
    Delete,
    /// Its value changes, or its place among the entries that the user orders.
    Replace,
    /// It leads to one of the others.
    None,
}

/// What turns one tree into another.
pub struct Diff(pub(super) Tree);

impl Diff {
    /// Whether both trees were equal.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Every node that takes part, parents first: children of what is created or deleted are so too.
    pub fn iter(&self) -> impl Iterator<Item = (Op, Node<'_>)> {
        let mut stack: Vec<(Op, Node<'_>)> = self.0.roots().map(|root| (Op::None, root)).collect();
        stack.reverse();
        std::iter::from_fn(move || {
            let (inherited, node) = stack.pop()?;
            let op = own_op(node).unwrap_or(inherited);
            // A moved or changed list entry says nothing of its keys, which never change.
            let below = if op == Op::Replace { Op::None } else { op };
            let mut children: Vec<_> = node.children().map(|child| (below, child)).collect();
            children.reverse();
            stack.extend(children);
            Some((op, node))
        })
    }
    /// What is created, deleted or changed, without what merely leads there.
    pub fn changes(&self) -> impl Iterator<Item = (Op, Node<'_>)> {
        self.iter().filter(|(op, _)| *op != Op::None)
    }
    /// Whether a node at or below the path of a container or leaf (no lists on the way) changes.
    pub fn touches(&self, path: &str) -> bool {
        self.0.find(path).is_some()
    }
    /// The diff as a tree of the changed nodes and their parents.
    pub fn tree(&self) -> &Tree {
        &self.0
    }
    /// The text that [`Diff::parse`] reads.
    pub fn to_text(&self) -> String {
        self.0.to_xml()
    }
    /// Reads what [`Diff::to_text`] wrote.
    ///
    /// # Errors
    /// Text that is none.
    pub fn parse(schema: Schema, text: &str) -> Result<Self, Errors> {
        Tree::parse_config(schema, text).map(Self)
    }
}

fn own_op(node: Node<'_>) -> Option<Op> {
    match node.meta("operation")?.as_str() {
        "create" => Some(Op::Create),
        "delete" => Some(Op::Delete),
        "replace" => Some(Op::Replace),
        _ => Some(Op::None),
    }
}
