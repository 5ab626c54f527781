//! Trees that several threads read at once, and handles on their nodes that keep them alive.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ops::Deref;
use std::sync::Arc;

use yang5::ffi;

use super::{Node, NodeKind, Tree};
use crate::model::error::RpcError;

/// A tree that is shared and not changed as long as it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Settled>);

/// A tree in whose nodes nothing is left to be cached.
#[derive(Debug)]
struct Settled(Tree);

// SAFETY: all that libyang changes in a tree that is merely read is the canonical value of a node, on first use;
// `Settled::new` has used them all. Its dictionary and its error lists it guards itself.
unsafe impl Sync for Settled {}

impl Settled {
    fn new(tree: Tree) -> Self {
        tree.roots().for_each(settle);
        Self(tree)
    }
}

/// Has the canonical value of a node and of all below it made.
fn settle(node: Node<'_>) {
    match node.kind() {
        NodeKind::Leaf | NodeKind::LeafList => drop(node.text()),
        _ => node.children().for_each(settle),
    }
}

impl Snapshot {
    /// Shares a tree.
    pub fn new(tree: Tree) -> Self {
        Self(Arc::new(Settled::new(tree)))
    }

    /// Changes the tree as another one was changed, of which it holds all of `old` (see [`Tree::follow`]): in place
    /// if nobody else holds it, else in a copy.
    ///
    /// # Errors
    /// A tree that does not hold what `old` does, or no memory.
    pub fn follow(&mut self, old: &Tree, new: &Tree) -> Result<(), RpcError> {
        if let Some(settled) = Arc::get_mut(&mut self.0) {
            // What comes into the tree comes settled.
            return settled.0.follow(old, new);
        }
        let mut tree = self.duplicate();
        tree.follow(old, new)?;
        *self = Self::new(tree);
        Ok(())
    }

    /// A node of the tree to keep; what is picked can only come from the tree.
    pub fn hold(&self, pick: impl for<'a> FnOnce(&'a Tree) -> Option<Node<'a>>) -> Option<Held> {
        let raw = pick(self)?.raw();
        Some(self.held(raw))
    }

    /// The same for several nodes.
    pub fn hold_all(&self, pick: impl for<'a> FnOnce(&'a Tree) -> Vec<Node<'a>>) -> Vec<Held> {
        let nodes: Vec<_> = pick(self).into_iter().map(Node::raw).collect();
        nodes.into_iter().map(|raw| self.held(raw)).collect()
    }

    fn held(&self, raw: *mut ffi::lyd_node) -> Held {
        Held {
            snapshot: self.clone(),
            raw,
        }
    }
}

impl Deref for Snapshot {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.0.0
    }
}

/// A node of a snapshot, which lives at least as long.
#[derive(Clone)]
pub struct Held {
    snapshot: Snapshot,
    /// A live node of the snapshot.
    raw: *mut ffi::lyd_node,
}

// SAFETY: the node goes with its tree, which may be read by any thread (see `Settled`).
unsafe impl Send for Held {}

impl Held {
    /// The node.
    #[allow(clippy::expect_used)] // only what was a `Node` is held
    pub fn node(&self) -> Node<'_> {
        Node::from_raw(self.raw).expect("it was a node when it was taken")
    }

    /// A node reached from this one.
    pub fn reach(&self, pick: impl for<'a> FnOnce(Node<'a>) -> Option<Node<'a>>) -> Option<Self> {
        let raw = pick(self.node())?.raw();
        Some(self.snapshot.held(raw))
    }

    /// Several nodes reached from this one.
    pub fn reach_all(&self, pick: impl for<'a> FnOnce(Node<'a>) -> Vec<Node<'a>>) -> Vec<Self> {
        let nodes: Vec<_> = pick(self.node()).into_iter().map(Node::raw).collect();
        nodes
            .into_iter()
            .map(|raw| self.snapshot.held(raw))
            .collect()
    }

    /// Moves on to the next sibling; `None` behind the last.
    pub fn into_next(mut self) -> Option<Self> {
        self.raw = self.node().next()?.raw();
        Some(self)
    }
}

impl PartialEq for Held {
    /// The same node, not an equal one.
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl std::fmt::Debug for Held {
    /// The path; values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.node().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema::Schema;

    const XML: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><server><domain>a.example</domain><port>8443</port></server></cloud-management>"#;

    fn snapshot() -> Snapshot {
        Snapshot::new(Tree::parse_config(Schema::load(&[]).unwrap(), XML).unwrap())
    }

    #[test]
    fn many_threads_read_one_tree() {
        let shared = snapshot();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let own = shared.clone();
                scope.spawn(move || {
                    for _ in 0..100 {
                        assert_eq!(own.to_xml(), XML);
                        let port = own.value("/cloud-management:cloud-management/server/port");
                        assert_eq!(port.as_deref(), Some("8443"));
                    }
                });
            }
        });
    }

    #[test]
    fn a_held_node_outlives_every_other_handle_on_its_tree() {
        let shared = snapshot();
        let top = shared.hold(|tree| tree.roots().next()).unwrap();
        drop(shared);
        let domain = top
            .reach(|top| top.child("server")?.child("domain"))
            .unwrap();
        drop(top);
        let port = std::thread::spawn(|| domain.into_next().unwrap()).join();
        assert_eq!(port.unwrap().node().value().as_deref(), Some("8443"));
    }
}
