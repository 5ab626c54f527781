//! The difference of two trees.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::borrow::Borrow;

use yang5::ffi;

use super::{Node, NodeKind, Schema, Tree, failure};
use crate::model::error::{Errors, RpcError};

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
    /// What the diff itself says of one of its nodes; none where that follows from a node above.
    pub fn op_of(node: Node<'_>) -> Option<Op> {
        own_op(node)
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

impl Tree {
    /// Applies a diff that was made from an equal tree. Defaults go: a diff says nothing of them, and libyang would
    /// put a second container beside one that is there by default, which its validation then frees under its own
    /// feet.
    ///
    /// # Errors
    /// A diff that does not fit.
    pub fn apply(&mut self, diff: &Diff) -> Result<(), RpcError> {
        self.apply_all(std::iter::once(Ok(diff)))
    }

    /// Applies diffs that were made one after the other. The cost of each follows its size.
    ///
    /// # Errors
    /// A diff that does not fit, or that could not be had.
    pub fn apply_all<E: From<RpcError>>(
        &mut self,
        diffs: impl Iterator<Item = Result<impl Borrow<Diff>, E>>,
    ) -> Result<(), E> {
        self.retain(&mut |node| !node.is_default());
        for diff in diffs {
            let diff = diff?;
            let diff = diff.borrow();
            failure::clear(self.schema);
            // SAFETY: both forests are alive; libyang copies what it takes from the diff.
            let code = unsafe { ffi::lyd_diff_apply_all(&mut self.root, diff.0.root) };
            self.reroot();
            if code != ffi::LY_ERR::LY_SUCCESS {
                return Err(failure::first(self.schema).into());
            }
            self.drop_emptied(diff);
        }
        Ok(())
    }

    /// Takes the containers out that a diff has emptied, and that so became defaults; the innermost first.
    fn drop_emptied(&mut self, diff: &Diff) {
        let containers = diff.iter().map(|(_, node)| node);
        let containers = containers.filter(|node| node.kind() == NodeKind::Container);
        let paths: Vec<_> = containers.map(|node| node.path()).collect();
        for path in paths.iter().rev() {
            if self.find(path).is_some_and(|node| node.is_default()) {
                self.remove(path);
            }
        }
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
