//! Two states of one tree, side by side.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::collections::{HashMap, HashSet};

use yang5::ffi;

use super::{Node, NodeKind, SchemaNode, Tree};

/// A node of one of two states of a tree, or of both.
#[derive(Clone, Copy)]
pub(super) enum Pair<'a> {
    /// It is gone.
    Old(Node<'a>),
    /// It has come.
    New(Node<'a>),
    /// The same instance: of one schema node, entries with equal keys or values.
    Both(Node<'a>, Node<'a>),
}

/// Siblings in two states, by the first of each.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    old: Option<Node<'a>>,
    new: Option<Node<'a>>,
}

impl<'a> Sides<'a> {
    /// The top-level nodes of two trees.
    pub(super) fn of(old: &'a Tree, new: &'a Tree) -> Self {
        Self {
            old: old.roots().next(),
            new: new.roots().next(),
        }
    }

    /// The children of two nodes.
    pub(super) fn below(old: Node<'a>, new: Node<'a>) -> Self {
        Self {
            old: old.children().next(),
            new: new.children().next(),
        }
    }

    /// The siblings of the new state.
    pub(super) fn news(self) -> impl Iterator<Item = Node<'a>> {
        siblings(self.new)
    }

    /// Pairs the siblings up, in the order of the old state. Where both have the same in the same order, as is
    /// mostly the case, nothing is searched.
    pub(super) fn pairs(self) -> Vec<Pair<'a>> {
        let mut pairs = Vec::new();
        let mut created = Vec::new();
        let mut out_of_turn: HashSet<*mut ffi::lyd_node> = HashSet::new();
        let mut ahead = self.new;
        for old in siblings(self.old) {
            while let Some(node) = ahead.filter(|node| out_of_turn.contains(&node.raw())) {
                ahead = node.next();
            }
            if let Some(new) = ahead.filter(|new| is_same(old, *new)) {
                pairs.push(Pair::Both(old, new));
                ahead = new.next();
                continue;
            }
            let Some(new) = self.new.and_then(|first| find(first, old)) else {
                pairs.push(Pair::Old(old));
                continue;
            };
            pairs.push(Pair::Both(old, new));
            let in_order = !old.schema().is_user_ordered();
            match in_order.then(|| between(ahead, new)).flatten() {
                Some(passed) => {
                    created.extend(passed);
                    ahead = new.next();
                }
                None => drop(out_of_turn.insert(new.raw())),
            }
        }
        created.extend(siblings(ahead));
        created.retain(|new| !out_of_turn.contains(&new.raw()));
        pairs.extend(created.into_iter().map(Pair::New));
        pairs
    }

    /// The lists and leaf-lists that the user orders which have other entries than before, or the same in another
    /// order.
    pub(super) fn reordered(self, pairs: &[Pair<'a>]) -> HashSet<SchemaNode> {
        let mut kept: HashMap<SchemaNode, Vec<Node<'a>>> = HashMap::new();
        let mut reordered = HashSet::new();
        for pair in pairs {
            let (Pair::Old(node) | Pair::New(node) | Pair::Both(node, _)) = pair;
            let schema = node.schema();
            match pair {
                _ if !schema.is_user_ordered() => {}
                Pair::Both(old, new) => {
                    if is_term(schema) && is_changed(*old, *new) {
                        reordered.insert(schema);
                    }
                    kept.entry(schema).or_default().push(*new);
                }
                Pair::Old(_) | Pair::New(_) => drop(reordered.insert(schema)),
            }
        }
        for (schema, kept) in kept {
            let now = siblings(self.new).filter(|node| node.schema() == schema);
            if !now.eq(kept) {
                reordered.insert(schema);
            }
        }
        reordered
    }
}

pub(super) fn siblings<'a>(first: Option<Node<'a>>) -> impl Iterator<Item = Node<'a>> {
    std::iter::successors(first, Node::next)
}

/// The siblings from one up to another; `None` if that comes before it.
fn between<'a>(from: Option<Node<'a>>, to: Node<'a>) -> Option<Vec<Node<'a>>> {
    let mut passed = Vec::new();
    for node in siblings(from) {
        if node == to {
            return Some(passed);
        }
        passed.push(node);
    }
    None
}

fn is_entry(schema: SchemaNode) -> bool {
    matches!(schema.kind(), NodeKind::List | NodeKind::LeafList)
}

fn is_term(schema: SchemaNode) -> bool {
    matches!(schema.kind(), NodeKind::Leaf | NodeKind::LeafList)
}

fn is_inner(schema: SchemaNode) -> bool {
    matches!(schema.kind(), NodeKind::Container | NodeKind::List)
}

fn is_equal(left: Node<'_>, right: Node<'_>) -> bool {
    // SAFETY: live nodes of one context.
    unsafe { ffi::lyd_compare_single(left.raw(), right.raw(), 0) == ffi::LY_ERR::LY_SUCCESS }
}

fn is_same(left: Node<'_>, right: Node<'_>) -> bool {
    let schema = left.schema();
    schema == right.schema() && (!is_entry(schema) || is_equal(left, right))
}

/// The instance among siblings that is the same as a node of another tree.
pub(super) fn find<'a>(among: Node<'a>, node: Node<'_>) -> Option<Node<'a>> {
    let mut found = std::ptr::null_mut();
    let schema = node.schema();
    // SAFETY: live nodes of one context.
    let code = unsafe {
        match is_entry(schema) {
            true => ffi::lyd_find_sibling_first(among.raw(), node.raw(), &mut found),
            false => ffi::lyd_find_sibling_val(
                among.raw(),
                schema.raw(),
                std::ptr::null(),
                0,
                &mut found,
            ),
        }
    };
    match code {
        ffi::LY_ERR::LY_SUCCESS => Node::from_raw(found),
        _ => None,
    }
}

/// Whether a leaf or leaf-list entry, an anydata or anyxml has another value, or has become a default or ceased to be
/// one.
pub(super) fn is_changed(old: Node<'_>, new: Node<'_>) -> bool {
    old.is_default() != new.is_default() || !is_equal(old, new)
}

impl Tree {
    /// The schema nodes of everything in which another state differs from this one, defaults included.
    pub fn changed(&self, new: &Self) -> HashSet<SchemaNode> {
        let mut changed = HashSet::new();
        let mut stack = vec![Sides::of(self, new)];
        while let Some(sides) = stack.pop() {
            let pairs = sides.pairs();
            changed.extend(sides.reordered(&pairs));
            for pair in pairs {
                match pair {
                    Pair::Both(old, new) if is_inner(old.schema()) => {
                        stack.push(Sides::below(old, new));
                    }
                    Pair::Both(old, new) if is_changed(old, new) => {
                        changed.insert(old.schema());
                    }
                    Pair::Both(..) => {}
                    Pair::Old(node) | Pair::New(node) => {
                        changed.extend(node.descendants().map(|node| node.schema()));
                    }
                }
            }
        }
        changed
    }
}
