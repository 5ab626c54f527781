//! Walking the data with a filter, and copying what it selects.
//!
//! The walk goes down from the top and visits only nodes that a criterion is about; entries of a list whose keys are
//! all given are found by hash. So the cost follows the reply, not the datastore.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::{Content, Criterion, Filter, Kind, selects_all};
use crate::model::error::RpcError;
use crate::model::schema::Schema;
use crate::model::tree::{Cursor, Node, NodeKind, SchemaNode, Siblings, Tree};

/// Whether a reader may see a node; what it may not see is not there for it, neither to be read nor to be compared
/// with. An entry of a list is seen with all its keys or not at all.
pub type View<'v> = &'v mut dyn FnMut(Node<'_>) -> bool;

impl Filter {
    /// A copy of what the filter selects of a tree, in the order of the tree.
    ///
    /// # Errors
    /// No memory.
    pub fn apply(&self, tree: &Tree) -> Result<Tree, RpcError> {
        self.walk(tree, None)
    }

    /// The same of what a reader may see, with no way to find out about the rest (RFC 8341, section 3.2.4).
    ///
    /// # Errors
    /// As [`Filter::apply`].
    pub fn apply_in_view(&self, tree: &Tree, view: View<'_>) -> Result<Tree, RpcError> {
        self.walk(tree, Some(view))
    }

    fn walk(&self, tree: &Tree, view: Option<View<'_>>) -> Result<Tree, RpcError> {
        let mut selected = Tree::new(tree.schema());
        let mut walk = Walk {
            schema: tree.schema(),
            view,
            children: HashMap::new(),
        };
        let top = Level {
            siblings: tree.siblings(),
            schemas: walk.roots(&self.criteria).into(),
        };
        walk.set(&top, &[&self.criteria], &mut Cursor::top(&mut selected))?;
        Ok(selected)
    }
}

struct Walk<'v> {
    schema: Schema,
    view: Option<View<'v>>,
    /// The children of each schema node that was met: the entries of a list share them.
    children: HashMap<SchemaNode, Rc<[SchemaNode]>>,
}

/// Siblings, and the schema nodes they can be of that any criterion is about.
struct Level<'a> {
    siblings: Siblings<'a>,
    schemas: Rc<[SchemaNode]>,
}

impl Walk<'_> {
    fn below<'a>(&mut self, node: Node<'a>) -> Level<'a> {
        let schema = node.schema();
        let known = self.children.entry(schema);
        Level {
            siblings: node.siblings_below(),
            schemas: Rc::clone(known.or_insert_with(|| schema.children().collect())),
        }
    }

    /// The top-level schema nodes that the criteria are about, in the order of the modules.
    fn roots(&self, criteria: &[Criterion]) -> Vec<SchemaNode> {
        let names: BTreeSet<&str> = criteria.iter().map(|one| one.name.as_str()).collect();
        let modules = self.schema.modules().filter(|module| module.implemented);
        modules
            .flat_map(|module| {
                let tops = names.iter().map(|name| self.schema.top(&module.name, name));
                tops.flatten().collect::<Vec<_>>()
            })
            .filter(|top| criteria.iter().any(|criterion| criterion.is_about(*top)))
            .collect()
    }

    /// Copies what any of several sibling sets, all about these siblings, selects. False if that is nothing.
    fn set(
        &mut self,
        level: &Level<'_>,
        sets: &[&Vec<Criterion>],
        into: &mut Cursor<'_>,
    ) -> Result<bool, RpcError> {
        let active: Vec<_> = sets
            .iter()
            .filter(|set| self.content_matches(level, set))
            .collect();
        let all = active
            .iter()
            .any(|set| selects_all(set.iter()) && !set.is_empty());
        let mut copied = false;
        for schema in level.schemas.iter() {
            let about: Vec<_> = active
                .iter()
                .flat_map(|set| set.iter())
                .filter(|criterion| criterion.is_about(*schema))
                .collect();
            if all || !about.is_empty() {
                copied |= self.instances(level.siblings, *schema, all, &about, into)?;
            }
        }
        Ok(copied)
    }

    /// Whether every content match of a sibling set is true.
    fn content_matches(&mut self, level: &Level<'_>, set: &[Criterion]) -> bool {
        let schema = self.schema;
        set.iter().all(|criterion| {
            let Some(content) = criterion.content() else {
                return true;
            };
            let about = level.schemas.iter().filter(|one| criterion.is_about(**one));
            about.into_iter().any(|leaf| {
                let wanted = content.as_value_of(*leaf, schema);
                level
                    .siblings
                    .instances(*leaf)
                    .any(|node| node.value().as_ref() == Some(&wanted) && self.shows(node))
            })
        })
    }

    /// Copies what is selected of the instances of one schema node; `all` of it, or by the criteria about it.
    fn instances(
        &mut self,
        siblings: Siblings<'_>,
        schema: SchemaNode,
        all: bool,
        about: &[&Criterion],
        into: &mut Cursor<'_>,
    ) -> Result<bool, RpcError> {
        let whole = all || about.iter().any(|one| matches!(one.kind, Kind::Selection));
        let contents: Vec<_> = about.iter().filter_map(|one| one.content()).collect();
        let contained: Vec<_> = about
            .iter()
            .filter_map(|one| match &one.kind {
                Kind::Containment(inside) => Some(inside),
                _ => None,
            })
            .collect();
        let mut copied = false;
        let found = match self.entries_by_key(siblings, schema, &contained) {
            Some(entries) if !whole => entries,
            _ => siblings.instances(schema).collect(),
        };
        for node in found {
            if !self.shows(node) {
                continue;
            }
            copied |= match whole || self.is_one_of(node, &contents) {
                true => self.copy_whole(node, into)?,
                false if contained.is_empty() => false,
                false => self.copy_part(node, &contained, into)?,
            };
        }
        Ok(copied)
    }

    fn is_one_of(&self, node: Node<'_>, contents: &[&Content]) -> bool {
        let value = node.value();
        contents
            .iter()
            .any(|content| value.as_ref() == Some(&content.as_value_of(node.schema(), self.schema)))
    }

    /// The entries of a list that are asked for, if each criterion gives all keys of its one; each entry once.
    fn entries_by_key<'a>(
        &self,
        siblings: Siblings<'a>,
        list: SchemaNode,
        contained: &[&Vec<Criterion>],
    ) -> Option<Vec<Node<'a>>> {
        // The order of the user is that of the tree: several entries have to be met in it.
        if list.kind() != NodeKind::List || (list.is_user_ordered() && contained.len() > 1) {
            return None;
        }
        let mut wanted = BTreeSet::new();
        for inside in contained {
            wanted.insert(self.keys(list, inside)?);
        }
        let entries = wanted.into_iter();
        Some(
            entries
                .filter_map(|keys| siblings.entry(list, keys))
                .collect(),
        )
    }

    /// The values of all keys of a list that a sibling set asks for.
    fn keys(&self, list: SchemaNode, inside: &[Criterion]) -> Option<Vec<String>> {
        let keys: Option<Vec<_>> = list
            .keys()
            .map(|key| {
                let mut about = inside.iter().filter(|criterion| criterion.is_about(key));
                let content = about.find_map(Criterion::content)?;
                Some(content.as_value_of(key, self.schema))
            })
            .collect();
        keys.filter(|keys| !keys.is_empty())
    }

    /// Copies a container or list entry with what its sibling sets select; nothing if they select nothing.
    fn copy_part(
        &mut self,
        node: Node<'_>,
        contained: &[&Vec<Criterion>],
        into: &mut Cursor<'_>,
    ) -> Result<bool, RpcError> {
        match node.kind() {
            // What an anydata node holds has no schema to filter by; it comes whole (RFC 7950, section 7.10.3).
            NodeKind::Any => return self.copy_whole(node, into),
            NodeKind::Leaf | NodeKind::LeafList => return Ok(false),
            _ => {}
        }
        let mut copy = into.copy(node, false)?;
        let level = self.below(node);
        let copied = self.set(&level, contained, &mut copy)?;
        if !copied {
            copy.remove();
        }
        Ok(copied)
    }

    /// Copies a node with everything below it that the reader may see.
    fn copy_whole(&mut self, node: Node<'_>, into: &mut Cursor<'_>) -> Result<bool, RpcError> {
        // The keys came with their entry.
        if node.is_key() && into.node().is_some() {
            return Ok(true);
        }
        if self.view.is_none() {
            into.copy(node, true)?;
            return Ok(true);
        }
        let mut copy = into.copy(node, false)?;
        for child in node.children() {
            if self.shows(child) {
                self.copy_whole(child, &mut copy)?;
            }
        }
        Ok(true)
    }

    fn shows(&mut self, node: Node<'_>) -> bool {
        self.view.as_mut().is_none_or(|view| view(node))
    }
}
