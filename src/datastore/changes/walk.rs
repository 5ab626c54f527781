//! Picks out of a difference what one subscriber has asked for and may see.
//!
//! A difference is a tree of the changed nodes with the keys on the way, so a filter that looks at nothing but names and
//! keys ([`Filter::is_by_name`]) picks the same of it as of the datastore. Whatever else a filter asks of values is not in
//! there: such selections are compared as a whole, and then everything of the difference between them is picked.

use super::Unsettled;
use super::record::{Entry, Key, Level, Record, Spot, Value, is_ordered};
use crate::datastore::filter::{Extent, Filter, Known, Selected, View};
use crate::model::schema::Schema;
use crate::model::tree::{Anchor, Cursor, Held, Node, NodeKind, Op, Place, SharedDiff, Tree};

/// What one subscriber looks at.
pub struct Look<'v> {
    /// None for everything.
    pub filter: Option<&'v Filter>,
    /// The nodes whose changes are not told to anybody.
    pub unsettled: &'v Unsettled,
    /// What he may see.
    pub view: View<'v>,
    /// Whether that is everything.
    pub sees_all: bool,
}

/// A walk through one difference.
struct Walk<'l, 'v> {
    schema: Schema,
    look: &'l mut Look<'v>,
    known: Known,
    /// Nodes that were put in, and the octets of their values.
    nodes: usize,
    octets: usize,
    is_misplaced: bool,
}

impl Record {
    /// Puts in what a difference has for one subscriber.
    pub fn take(&mut self, diff: &SharedDiff, look: &mut Look<'_>) {
        let tree = diff.tree();
        let mut walk = Walk {
            schema: tree.schema(),
            look,
            known: Known::default(),
            nodes: 0,
            octets: 0,
            is_misplaced: false,
        };
        match walk.look.filter {
            None => {
                let roots = tree.hold_all(|tree| tree.roots().collect());
                for root in roots {
                    if walk.sees(root.node()) {
                        walk.visit(&mut self.top, &root, Extent::Whole, Op::None, false);
                    }
                }
            }
            Some(filter) => {
                let mut selected = Selected::top(tree, filter, walk.look.view);
                while let Some((node, extent)) = selected.next(walk.look.view) {
                    walk.visit(&mut self.top, &node, extent, Op::None, false);
                }
            }
        }
        self.nodes += walk.nodes;
        self.octets += walk.octets;
        self.is_misplaced |= walk.is_misplaced;
    }
}

impl Walk<'_, '_> {
    fn sees(&mut self, node: Node<'_>) -> bool {
        (self.look.view)(node)
    }

    /// A node that is selected and seen. `above` is what the difference says of what is above it, `is_new` whether the
    /// record has that as created.
    fn visit(&mut self, level: &mut Level, held: &Held, extent: Extent, above: Op, is_new: bool) {
        let node = held.node();
        if self.look.unsettled.contains(&node.schema()) {
            return;
        }
        let op = SharedDiff::op_of(node).unwrap_or(above);
        match node.kind() {
            NodeKind::Leaf if node.is_key() => {}
            NodeKind::Leaf | NodeKind::LeafList | NodeKind::Any => {
                self.nodes += usize::from(self.value(level, node, op, is_new));
            }
            NodeKind::Container if !node.schema().is_presence() => {
                let entry = level.lead(key(node));
                self.below(entry, held, extent, op, is_new);
            }
            _ => self.inner(level, held, extent, op, is_new),
        }
    }

    /// An entry of a list, or a container with presence.
    fn inner(&mut self, level: &mut Level, held: &Held, extent: Extent, op: Op, is_new: bool) {
        let node = held.node();
        let key = key(node);
        if op == Op::Delete && !self.has_selected(held, &extent) {
            return;
        }
        self.nodes += usize::from(op != Op::None);
        let entry = match op {
            Op::Delete => return level.delete(key, is_new),
            Op::Create => level.create(key, None, self.spot_if_ordered(node, is_new)),
            Op::Replace if is_ordered(key.0) => level.relocate(key, None, self.spot(node, is_new)),
            Op::Replace | Op::None => level.lead(key),
        };
        if op == Op::Create {
            entry.is_way = matches!(extent, Extent::Sets(_));
        }
        // A moved entry says nothing of what is in it.
        let below = if op == Op::Replace { Op::None } else { op };
        self.below(entry, held, extent, below, is_new);
    }

    /// Whether anything that is selected goes with a node that goes: otherwise nobody was told of it.
    fn has_selected(&mut self, held: &Held, extent: &Extent) -> bool {
        let Extent::Sets(sets) = extent else {
            return true;
        };
        let (nodes, octets) = (self.nodes, self.octets);
        let mut scratch = Entry::new(key(held.node()));
        scratch.is_way = true;
        let sets = Extent::Sets(sets.clone());
        self.below(&mut scratch, held, sets, Op::Delete, false);
        let has_selected = self.nodes > nodes || !scratch.is_way;
        (self.nodes, self.octets) = (nodes, octets);
        has_selected
    }

    fn below(&mut self, entry: &mut Entry, held: &Held, extent: Extent, op: Op, is_new: bool) {
        let is_new = is_new || entry.is_new();
        match extent {
            Extent::Whole => {
                let mut next = held.reach(|node| node.children().next());
                while let Some(child) = next {
                    if self.sees(child.node()) {
                        self.visit(&mut entry.below, &child, Extent::Whole, op, is_new);
                    }
                    next = child.into_next();
                }
            }
            Extent::Sets(sets) => {
                let (schema, view) = (self.schema, &mut self.look.view);
                let held = held.clone();
                let mut selected = Selected::below(schema, held, &sets, &mut self.known, view);
                while let Some((child, extent)) = selected.next(self.look.view) {
                    // A key that a filter asks for brings its entry.
                    entry.is_way &= !child.node().is_key();
                    self.visit(&mut entry.below, &child, extent, op, is_new);
                }
            }
        }
    }

    /// A leaf, an entry of a leaf-list or an anydata node. A default that nobody set is no value: pushes show what
    /// somebody has set, as `<get>` does (RFC 6243, section 2.3). False if nothing changed.
    fn value(&mut self, level: &mut Level, node: Node<'_>, op: Op, is_new: bool) -> bool {
        let is_unset = node.is_default() && node.is_config();
        match op {
            Op::None => return false,
            Op::Replace if node.kind() == NodeKind::LeafList && !is_ordered(node.schema()) => {
                return false;
            }
            Op::Create | Op::Delete if is_unset => return false,
            Op::Replace if is_unset => level.delete(key(node), is_new),
            Op::Create => {
                let spot = self.spot_if_ordered(node, is_new);
                level.create(key(node), Some(self.written(node)), spot);
            }
            Op::Delete => level.delete(key(node), is_new),
            Op::Replace if node.kind() == NodeKind::LeafList => {
                let spot = self.spot(node, is_new);
                level.relocate(key(node), Some(self.written(node)), spot);
            }
            Op::Replace => level.replace(key(node), self.written(node)),
        }
        true
    }

    fn written(&mut self, node: Node<'_>) -> Value {
        let value = written(node);
        self.octets += value.len();
        value
    }

    fn spot_if_ordered(&mut self, node: Node<'_>, is_new: bool) -> Option<Spot> {
        is_ordered(node.schema()).then(|| self.spot(node, is_new))
    }

    /// Where an entry comes to stand. In what is new itself the turns put entries in order and are not told.
    fn spot(&mut self, node: Node<'_>, is_new: bool) -> Spot {
        match SharedDiff::anchor_of(node) {
            Anchor::First => Spot::First,
            Anchor::After(keys)
                if is_new || self.look.sees_all || self.sees_beside(node, &keys) =>
            {
                Spot::After(keys)
            }
            Anchor::After(_) => {
                self.is_misplaced = true;
                Spot::Unseen
            }
        }
    }

    /// Whether the subscriber may see an entry beside a node. The difference need not have it.
    fn sees_beside(&mut self, node: Node<'_>, keys: &[String]) -> bool {
        let place = Place {
            schema: node.schema(),
            keys: keys.to_vec(),
        };
        let mut tree = Tree::new(self.schema);
        let to = match node.parent() {
            Some(parent) => Cursor::at(&mut tree, &parent.path()),
            None => Ok(Cursor::top(&mut tree)),
        };
        if to
            .and_then(|mut to| to.create(&place, None).map(|_| ()))
            .is_err()
        {
            return false;
        }
        let mut nodes = tree.roots().flat_map(|root| root.descendants());
        let beside = nodes.find(|beside| beside.schema() == place.schema);
        beside.is_some_and(|beside| self.sees(beside))
    }
}

fn key(node: Node<'_>) -> Key {
    let value = |node: Node<'_>| node.value().unwrap_or_default();
    let keys = match node.kind() {
        NodeKind::List => {
            let keys = node.children().take_while(Node::is_key);
            keys.map(value).collect()
        }
        NodeKind::LeafList => vec![value(node)],
        _ => Vec::new(),
    };
    (node.schema(), keys)
}

fn written(node: Node<'_>) -> Value {
    let needs_declarations = node.kind() == NodeKind::Any || node.schema().has_qualified_names();
    match node.text() {
        Some(text) if !needs_declarations => Value::Text(text.to_owned()),
        _ => Value::Element(node.plain_xml()),
    }
}
