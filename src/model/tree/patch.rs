//! Changing a tree in place as another one was changed.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::collections::HashSet;

use yang5::ffi;

use super::pairs::{self, Pair, Sides};
use super::{Node, NodeKind, SchemaNode, Tree, failure};
use crate::model::error::{ErrorTag, RpcError};

/// Flags that the validation of a node leaves behind.
const VALIDATED: u32 = ffi::LYD_WHEN_TRUE | ffi::LYD_NEW;

impl Tree {
    /// Changes this tree as `old` was changed into `new`, of which it holds all of `old`. The cost follows the size
    /// of these, not of this tree. What is set and what is there by default stays told apart.
    ///
    /// # Errors
    /// A tree that does not hold what `old` does, or no memory; it is to be thrown away then.
    pub fn follow(&mut self, old: &Self, new: &Self) -> Result<(), RpcError> {
        let mut follower = Follower { tree: self };
        follower.level(std::ptr::null_mut(), Sides::of(old, new))
    }
}

struct Follower<'t> {
    tree: &'t mut Tree,
}

fn lost(node: Node<'_>) -> RpcError {
    let words = format!("{} is not where it was", node.path());
    RpcError::application(ErrorTag::OperationFailed, words)
}

impl Follower<'_> {
    /// The children of `at`, or the top-level nodes when it is null.
    fn level(&mut self, at: *mut ffi::lyd_node, sides: Sides<'_>) -> Result<(), RpcError> {
        let pairs = sides.pairs();
        let reordered = sides.reordered(&pairs);
        for schema in &reordered {
            self.free_all(at, *schema);
        }
        for pair in &pairs {
            let (Pair::Old(node) | Pair::New(node) | Pair::Both(node, _)) = pair;
            if reordered.contains(&node.schema()) {
                continue;
            }
            match pair {
                Pair::Old(node) => {
                    let own = self.find(at, *node)?;
                    // SAFETY: a node of ours, and no handle on it but this one.
                    unsafe { self.tree.free(own) };
                }
                Pair::New(node) => self.insert(at, *node)?,
                Pair::Both(old, new) => self.both(at, *old, *new)?,
            }
        }
        self.insert_all(at, &sides, &reordered)
    }

    fn both(
        &mut self,
        at: *mut ffi::lyd_node,
        old: Node<'_>,
        new: Node<'_>,
    ) -> Result<(), RpcError> {
        let is_inner = matches!(old.kind(), NodeKind::Container | NodeKind::List);
        if is_inner {
            let own = self.find(at, old)?;
            self.level(own, Sides::below(old, new))?;
            take_flags(own, new);
        } else if pairs::is_changed(old, new) {
            let own = self.find(at, old)?;
            // SAFETY: a node of ours, and no handle on it but this one.
            unsafe { self.tree.free(own) };
            self.insert(at, new)?;
        } else if old.flags() != new.flags() {
            take_flags(self.find(at, old)?, new);
        }
        Ok(())
    }

    /// Our own instance of a node.
    fn find(&self, at: *mut ffi::lyd_node, node: Node<'_>) -> Result<*mut ffi::lyd_node, RpcError> {
        let found = self.first(at).and_then(|first| pairs::find(first, node));
        found.map(Node::raw).ok_or_else(|| lost(node))
    }

    fn first(&self, at: *mut ffi::lyd_node) -> Option<Node<'_>> {
        match Node::from_raw(at) {
            Some(node) => node.children().next(),
            None => self.tree.roots().next(),
        }
    }

    fn insert(&mut self, at: *mut ffi::lyd_node, node: Node<'_>) -> Result<(), RpcError> {
        let mut copy = std::ptr::null_mut();
        let options = ffi::LYD_DUP_RECURSIVE | ffi::LYD_DUP_WITH_FLAGS;
        // SAFETY: a live node; the copy is owned by our tree as soon as it is linked, here or by the call itself.
        let is_linked = unsafe {
            ffi::lyd_dup_single(node.raw(), at, options, &mut copy) == ffi::LY_ERR::LY_SUCCESS
                && (!at.is_null()
                    || ffi::lyd_insert_sibling(self.tree.root, copy, &mut self.tree.root)
                        == ffi::LY_ERR::LY_SUCCESS)
        };
        if !is_linked {
            failure::forget(node.schema());
            return Err(lost(node));
        }
        // Shared trees have every value in its canonical form, which libyang else makes on first use.
        if let Some(copy) = Node::from_raw(copy) {
            copy.descendants().for_each(|node| drop(node.value()));
        }
        let mut above = at;
        // What holds something that is set is no default itself.
        // SAFETY: the nodes above the copy are ours.
        while !node.is_default() && !above.is_null() {
            unsafe {
                (*above).flags &= !ffi::LYD_DEFAULT;
                above = (*above).parent;
            }
        }
        Ok(())
    }

    fn free_all(&mut self, at: *mut ffi::lyd_node, schema: SchemaNode) {
        let doomed = pairs::siblings(self.first(at)).filter(|node| node.schema() == schema);
        for raw in doomed.map(Node::raw).collect::<Vec<_>>() {
            // SAFETY: a node of ours, and no handle on it but this one.
            unsafe { self.tree.free(raw) };
        }
    }

    /// Inserts every entry of lists, in order.
    fn insert_all(
        &mut self,
        at: *mut ffi::lyd_node,
        sides: &Sides<'_>,
        lists: &HashSet<SchemaNode>,
    ) -> Result<(), RpcError> {
        let entries = sides.news().filter(|node| lists.contains(&node.schema()));
        entries
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|node| self.insert(at, node))
    }
}

/// Takes over what validation noted of a node. Whether a container is a default follows from what it holds, of which
/// the other tree may lack a part.
fn take_flags(own: *mut ffi::lyd_node, new: Node<'_>) {
    // SAFETY: a node of ours.
    unsafe { (*own).flags = (*own).flags & !VALIDATED | new.flags() & VALIDATED };
}
