//! The children that a filter selects, one after the other.
//!
//! The walk goes down from the top and visits only nodes that a criterion is about; entries of a list whose keys are
//! all given are found by hash. So the cost follows the reply, not the datastore.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Content, Criterion, Filter, Kind, selects_all};
use crate::model::schema::Schema;
use crate::model::tree::{Held, Node, NodeKind, SchemaNode, Siblings, Snapshot};

/// Whether a reader may see a node; what it may not see is not there for it, neither to be read nor to be compared
/// with. An entry of a list is seen with all its keys or not at all.
pub type View<'v> = &'v mut dyn FnMut(Node<'_>) -> bool;

/// Sibling criteria, all about the children of one node.
pub(in crate::datastore) type Set = Arc<Vec<Criterion>>;

/// How much of a node is selected.
#[derive(Debug)]
pub(in crate::datastore) enum Extent {
    /// All that is below it, too.
    Whole,
    /// What these sets select of its children; if that is nothing, not the node either.
    Sets(Vec<Set>),
}

/// The children of each schema node that was met: the entries of a list share them.
#[derive(Debug, Default)]
pub(in crate::datastore) struct Known(HashMap<SchemaNode, Arc<[SchemaNode]>>);

/// Where the children are.
#[derive(Debug)]
enum Parent {
    Top(Snapshot),
    Node(Held),
}

/// The selected children of one node, or of the top.
pub(in crate::datastore) struct Selected {
    schema: Schema,
    parent: Parent,
    /// What the children can be that any criterion is about.
    schemas: Arc<[SchemaNode]>,
    /// The next of them.
    at: usize,
    /// The sets whose content matches are all true.
    active: Vec<Set>,
    /// Whether one of them selects all siblings.
    all: bool,
    run: Option<Run>,
}

/// Instances of one schema node.
#[derive(Debug)]
struct Run {
    nodes: Nodes,
    whole: bool,
    /// Criteria about it, as set and place in it.
    contents: Vec<(Set, usize)>,
    contained: Vec<Set>,
}

#[derive(Debug)]
enum Nodes {
    Instances(Option<Held>),
    Entries(std::vec::IntoIter<Held>),
}

impl Selected {
    /// What a filter selects of the top of a tree.
    pub(in crate::datastore) fn top(tree: &Snapshot, filter: &Filter, view: View<'_>) -> Self {
        let schema = tree.schema();
        let schemas = roots(schema, &filter.criteria).into();
        let parent = Parent::Top(tree.clone());
        Self::new(
            schema,
            parent,
            schemas,
            &[Arc::clone(&filter.criteria)],
            view,
        )
    }

    /// What sets select of the children of a node.
    pub(in crate::datastore) fn below(
        schema: Schema,
        node: Held,
        sets: &[Set],
        known: &mut Known,
        view: View<'_>,
    ) -> Self {
        let own = node.node().schema();
        let children = known.0.entry(own);
        let children = children.or_insert_with(|| own.children().collect());
        let schemas = Arc::clone(children);
        Self::new(schema, Parent::Node(node), schemas, sets, view)
    }

    fn new(
        schema: Schema,
        parent: Parent,
        schemas: Arc<[SchemaNode]>,
        sets: &[Set],
        view: View<'_>,
    ) -> Self {
        let siblings = parent.siblings();
        let matches = |set: &&Set| content_matches(schema, siblings, &schemas, set, view);
        let active: Vec<_> = sets.iter().filter(matches).cloned().collect();
        let all = active
            .iter()
            .any(|set| selects_all(set.iter()) && !set.is_empty());
        Self {
            schema,
            parent,
            schemas,
            at: 0,
            active,
            all,
            run: None,
        }
    }

    /// The next selected child that the reader may see.
    pub(in crate::datastore) fn next(&mut self, view: View<'_>) -> Option<(Held, Extent)> {
        loop {
            let Some(run) = &mut self.run else {
                let schema = *self.schemas.get(self.at)?;
                self.at += 1;
                self.run = self.run_of(schema);
                continue;
            };
            match run.next() {
                None => self.run = None,
                Some(node) => {
                    let extent = run.extent(node.node(), self.schema);
                    if let Some(extent) = extent.filter(|_| view(node.node())) {
                        return Some((node, extent));
                    }
                }
            }
        }
    }

    /// The instances of one schema node, if any criterion is about it.
    fn run_of(&self, schema: SchemaNode) -> Option<Run> {
        let places = self
            .active
            .iter()
            .flat_map(|set| (0..set.len()).map(move |at| (set, at)));
        let about: Vec<_> = places
            .filter(|(set, at)| set[*at].is_about(schema))
            .collect();
        if !self.all && about.is_empty() {
            return None;
        }
        let kind = |(set, at): &(&Set, usize)| match &set[*at].kind {
            Kind::Containment(inside) => Some(Arc::clone(inside)),
            _ => None,
        };
        let contained: Vec<_> = about.iter().filter_map(kind).collect();
        let is_selection = |(set, at): &(&Set, usize)| matches!(set[*at].kind, Kind::Selection);
        let whole = self.all || about.iter().any(is_selection);
        let contents = about
            .iter()
            .filter(|(set, at)| set[*at].content().is_some());
        let contents = contents
            .map(|(set, at)| (Arc::clone(set), *at))
            .collect::<Vec<_>>();
        let by_key = match whole {
            true => None,
            false => self.entries_by_key(schema, &contained),
        };
        let nodes = match by_key {
            Some(entries) => Nodes::Entries(entries.into_iter()),
            None => Nodes::Instances(self.parent.first(schema)),
        };
        Some(Run {
            nodes,
            whole,
            contents,
            contained,
        })
    }

    /// The entries of a list that are asked for, if each criterion gives all keys of its one; each entry once.
    fn entries_by_key(&self, list: SchemaNode, contained: &[Set]) -> Option<Vec<Held>> {
        // The order of the user is that of the tree: several entries have to be met in it.
        if list.kind() != NodeKind::List || (list.is_user_ordered() && contained.len() > 1) {
            return None;
        }
        let mut wanted = BTreeSet::new();
        for inside in contained {
            wanted.insert(keys(list, inside, self.schema)?);
        }
        Some(self.parent.entries(list, wanted))
    }
}

impl Parent {
    fn siblings(&self) -> Siblings<'_> {
        match self {
            Self::Top(tree) => tree.siblings(),
            Self::Node(node) => node.node().siblings_below(),
        }
    }

    fn first(&self, schema: SchemaNode) -> Option<Held> {
        match self {
            Self::Top(tree) => tree.hold(|tree| tree.siblings().instances(schema).next()),
            Self::Node(node) => node.reach(|node| node.siblings_below().instances(schema).next()),
        }
    }

    fn entries(&self, list: SchemaNode, keys: BTreeSet<Vec<String>>) -> Vec<Held> {
        fn all(
            siblings: Siblings<'_>,
            list: SchemaNode,
            keys: BTreeSet<Vec<String>>,
        ) -> Vec<Node<'_>> {
            let entries = keys.into_iter();
            entries
                .filter_map(|keys| siblings.entry(list, keys))
                .collect()
        }
        match self {
            Self::Top(tree) => tree.hold_all(|tree| all(tree.siblings(), list, keys)),
            Self::Node(node) => node.reach_all(|node| all(node.siblings_below(), list, keys)),
        }
    }
}

impl Run {
    fn next(&mut self) -> Option<Held> {
        match &mut self.nodes {
            Nodes::Entries(entries) => entries.next(),
            Nodes::Instances(next) => {
                let node = next.take()?;
                // Instances of one schema node stand together.
                let is_same = |next: &Held| next.node().schema() == node.node().schema();
                *next = node.clone().into_next().filter(is_same);
                Some(node)
            }
        }
    }

    /// How much of one instance is selected; `None` for nothing.
    fn extent(&self, node: Node<'_>, schema: Schema) -> Option<Extent> {
        let value = node.text();
        let is_content = |(set, at): &(Set, usize)| {
            let content = set[*at].content();
            content.is_some_and(|content| {
                value == Some(content.as_value_of(node.schema(), schema).as_str())
            })
        };
        if self.whole || self.contents.iter().any(is_content) {
            return Some(Extent::Whole);
        }
        match node.kind() {
            _ if self.contained.is_empty() => None,
            NodeKind::Leaf | NodeKind::LeafList => None,
            // What an anydata node holds has no schema to filter by; it comes whole (RFC 7950, section 7.10.3).
            NodeKind::Any => Some(Extent::Whole),
            _ => Some(Extent::Sets(self.contained.clone())),
        }
    }
}

/// The top-level schema nodes that the criteria are about, each once.
pub(super) fn roots(schema: Schema, criteria: &[Criterion]) -> Vec<SchemaNode> {
    let mut roots = Vec::new();
    for criterion in criteria {
        let modules = match &criterion.namespace {
            Some(namespace) => schema.module_of(namespace).into_iter().collect(),
            None => schema.implemented(),
        };
        let tops = modules
            .into_iter()
            .filter_map(|module| schema.top(module, &criterion.name));
        for top in tops.filter(|top| criterion.is_about(*top)) {
            if !roots.contains(&top) {
                roots.push(top);
            }
        }
    }
    roots
}

/// Whether every content match of a sibling set is true.
fn content_matches(
    schema: Schema,
    siblings: Siblings<'_>,
    schemas: &[SchemaNode],
    set: &[Criterion],
    view: View<'_>,
) -> bool {
    let mut is_met = |content: &Content, leaf: SchemaNode| {
        let wanted = content.as_value_of(leaf, schema);
        siblings
            .instances(leaf)
            .any(|node| node.text() == Some(wanted.as_str()) && view(node))
    };
    set.iter().all(|criterion| {
        let Some(content) = criterion.content() else {
            return true;
        };
        let mut about = schemas.iter().filter(|one| criterion.is_about(**one));
        about.any(|leaf| is_met(content, *leaf))
    })
}

/// The values of all keys of a list that a sibling set asks for.
fn keys(list: SchemaNode, inside: &[Criterion], schema: Schema) -> Option<Vec<String>> {
    let keys: Option<Vec<_>> = list
        .keys()
        .map(|key| {
            let mut about = inside.iter().filter(|criterion| criterion.is_about(key));
            let content: Option<&Content> = about.find_map(Criterion::content);
            Some(content?.as_value_of(key, schema))
        })
        .collect();
    keys.filter(|keys| !keys.is_empty())
}
