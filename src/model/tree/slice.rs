//! A part of a tree, as a tree of its own.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::collections::HashSet;

use yang5::ffi;

use super::constraints::Constraints;
use super::pairs::{Pair, Sides};
use super::scope::{Entries, Level, Scope};
use super::{Cursor, Node, NodeKind, SchemaNode, Siblings, Tree};
use crate::model::error::RpcError;

/// A copy of the part of a tree that a [`Scope`] names.
///
/// Where it lacks entries of a list, libyang would take a container for empty that is not. So a container above such
/// a list counts as set by somebody ([`Slice::hold`]).
pub struct Slice {
    tree: Tree,
    /// Containers that have entries left out at or below them.
    held: HashSet<*mut ffi::lyd_node>,
}

// SAFETY: the pointers lead into the tree that goes with them, and are only compared; see Tree.
unsafe impl Send for Slice {}

impl Slice {
    /// Copies a part of a tree. The cost follows what is copied, not the entries that are left out; at the top level
    /// alone, where libyang has no index, these are walked past.
    ///
    /// # Errors
    /// No memory.
    pub fn of(tree: &Tree, scope: &Scope, constraints: &Constraints) -> Result<Self, RpcError> {
        let mut slice = Self {
            tree: Tree::new(tree.schema()),
            held: HashSet::new(),
        };
        if scope.is_everything() {
            slice.tree = tree.duplicate();
            return Ok(slice);
        }
        let mut copy = Copy {
            scope,
            constraints,
            held: HashSet::new(),
        };
        let mut tops: Vec<SchemaNode> = Vec::new();
        for root in tree.roots() {
            if tops.last() != Some(&root.schema()) {
                tops.push(root.schema());
            }
        }
        let level = Some(&scope.top);
        copy.children(
            &mut Cursor::top(&mut slice.tree),
            tree.siblings(),
            &tops,
            level,
        )?;
        slice.held = copy.held;
        Ok(slice)
    }

    /// The copy.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Makes every container of another state of this slice that stands above entries left out count as set, as it
    /// does in the whole tree.
    pub fn hold(&self, other: &mut Tree) {
        if self.held.is_empty() {
            return;
        }
        let mut set = Vec::new();
        let mut stack = vec![Sides::of(&self.tree, other)];
        while let Some(sides) = stack.pop() {
            for pair in sides.pairs() {
                let Pair::Both(old, new) = pair else {
                    continue;
                };
                if self.held.contains(&old.raw()) {
                    set.push(new.raw());
                }
                stack.push(Sides::below(old, new));
            }
        }
        for node in set {
            // SAFETY: a node of `other`, which is borrowed mutably.
            unsafe { (*node).flags &= !ffi::LYD_DEFAULT };
        }
    }
}

struct Copy<'a> {
    scope: &'a Scope,
    constraints: &'a Constraints,
    held: HashSet<*mut ffi::lyd_node>,
}

impl Copy<'_> {
    /// Copies the children of a node; true if any was left out at or below it.
    fn children(
        &mut self,
        to: &mut Cursor<'_>,
        from: Siblings<'_>,
        schemas: &[SchemaNode],
        level: Option<&Level>,
    ) -> Result<bool, RpcError> {
        let mut is_cut = false;
        for schema in schemas.iter().filter(|schema| !schema.is_key()) {
            match schema.kind() {
                NodeKind::Container => {
                    for node in from.instances(*schema) {
                        let below = level.and_then(|level| level.container_at(*schema));
                        is_cut |= self.inner(to, node, below)?;
                    }
                }
                NodeKind::List => {
                    let entries = level.and_then(|level| level.entries_of(*schema));
                    is_cut |= self.list(to, from, *schema, entries)?;
                }
                _ => {
                    for node in from.instances(*schema) {
                        to.copy(node, true)?;
                    }
                }
            }
        }
        Ok(is_cut)
    }

    fn inner(
        &mut self,
        to: &mut Cursor<'_>,
        node: Node<'_>,
        level: Option<&Level>,
    ) -> Result<bool, RpcError> {
        if level.is_some_and(Level::is_all) {
            to.copy(node, true)?;
            return Ok(false);
        }
        let mut copy = to.copy(node, false)?;
        let schemas: Vec<_> = node.schema().data_children().collect();
        let is_cut = self.children(&mut copy, node.siblings_below(), &schemas, level)?;
        // Without children libyang took it for a default.
        copy.copy_flags(node);
        if is_cut {
            self.held.insert(copy.node);
        }
        Ok(is_cut)
    }

    fn list(
        &mut self,
        to: &mut Cursor<'_>,
        from: Siblings<'_>,
        list: SchemaNode,
        entries: Option<&Entries>,
    ) -> Result<bool, RpcError> {
        let is_whole = entries.is_some_and(|entries| entries.all)
            || self.scope.lists.contains(&list)
            || !self.constraints.can_be_cut(list);
        if is_whole {
            to.copy_all(from.instances(list))?;
            return Ok(false);
        }
        let mut copied = 0;
        for (keys, level) in entries.into_iter().flat_map(|entries| &entries.named) {
            if let Some(node) = from.entry(list, keys.clone()) {
                self.inner(to, node, Some(level))?;
                copied += 1;
            }
        }
        Ok(from.instances(list).nth(copied).is_some())
    }
}
