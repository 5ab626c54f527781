//! Changing a tree: a place in it, borrowed mutably.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::{Node, NodeKind, SchemaNode, Tree, c_string, failure};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;

/// Which child of a node: its schema node and what tells the entry from its siblings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The schema node.
    pub schema: SchemaNode,
    /// The keys of a list entry in order, the value of a leaf-list entry; empty for the others.
    pub keys: Vec<String>,
}

impl Place {
    /// The key or leaf-list value that its type does not take.
    pub fn wrong_key(&self) -> Option<(SchemaNode, &str)> {
        let typed: Vec<_> = match self.schema.kind() {
            NodeKind::List => self.schema.keys().collect(),
            _ => vec![self.schema],
        };
        let mut pairs = typed.into_iter().zip(self.keys.iter().map(String::as_str));
        pairs.find(|(leaf, value)| !leaf.takes(value))
    }

    /// Why nothing can be there, in this thread's last errors.
    fn refusal(&self, schema: Schema, value: Option<&str>) -> RpcError {
        match (self.schema.kind(), value) {
            (NodeKind::List, _) | (NodeKind::LeafList, _) => {
                let errors = failure::first(schema);
                match self.wrong_key() {
                    // Asking again has left the errors of this key alone.
                    Some((key, value)) => failure::of_value(schema, key, value),
                    None => errors,
                }
            }
            (NodeKind::Leaf, Some(value)) => failure::of_value(schema, self.schema, value),
            _ => failure::first(schema),
        }
    }
}

/// A place in a tree whose children can be changed; the top of the tree, or a node.
///
/// A cursor borrows its tree mutably, and a cursor on a child borrows the one on the parent: so there is never
/// a second handle on what is changed or removed.
pub struct Cursor<'t> {
    pub(super) tree: &'t mut Tree,
    /// Null at the top.
    pub(super) node: *mut ffi::lyd_node,
}

impl<'t> Cursor<'t> {
    /// The top of a tree.
    pub fn top(tree: &'t mut Tree) -> Self {
        Self {
            tree,
            node: std::ptr::null_mut(),
        }
    }

    /// A node that is there or can be: it is created where it is missing, with all its parents.
    ///
    /// # Errors
    /// A path that the schema does not have.
    pub fn at(tree: &'t mut Tree, path: &str) -> Result<Self, RpcError> {
        if tree.find(path).is_none() {
            tree.set(path, None)?;
        }
        let node = tree.find(path).map_or(std::ptr::null_mut(), Node::raw);
        Ok(Self { tree, node })
    }

    /// Creates a leaf below the node, which must not be there yet; `path` is the names on the way, all of the node's own
    /// module, and all but the last of containers. Much cheaper than [`Tree::set`] for many leaves of one node.
    ///
    /// # Errors
    /// A path that the schema does not have, or a value outside its type.
    pub fn put(&mut self, path: &str, value: &str) -> Result<(), RpcError> {
        let (name, below) = match path.split_once('/') {
            Some((name, below)) => (name, Some(below)),
            None => (path, None),
        };
        let child = self.node().and_then(|node| {
            let schema = node.schema();
            schema.child(schema.module(), name)
        });
        let schema = child.ok_or_else(|| {
            let words = format!("there is no node {name} here");
            RpcError::application(ErrorTag::UnknownElement, words)
        })?;
        let place = Place {
            schema,
            keys: Vec::new(),
        };
        let Some(below) = below else {
            return self.create(&place, Some(value)).map(drop);
        };
        match self.find(&place)? {
            Some(mut inner) => inner.put(below, value),
            None => self.create(&place, None)?.put(below, value),
        }
    }

    /// The node; `None` at the top.
    pub fn node(&self) -> Option<Node<'_>> {
        Node::from_raw(self.node)
    }

    fn first_child(&self) -> *mut ffi::lyd_node {
        if self.node.is_null() {
            return self.tree.root;
        }
        // SAFETY: our own node; an inner node has its children where `lyd_child` looks, others have none.
        unsafe { ffi::lyd_child_no_keys(self.node) }
    }

    fn all_children(&self) -> *mut ffi::lyd_node {
        match self.node() {
            Some(node) => node
                .children()
                .next()
                .map_or(std::ptr::null_mut(), Node::raw),
            None => self.tree.root,
        }
    }

    /// The child at a place, if it is there.
    ///
    /// # Errors
    /// A key or value outside its type.
    pub fn find(&mut self, place: &Place) -> Result<Option<Cursor<'_>>, RpcError> {
        let raw = self.find_raw(place)?;
        Ok(raw.map(|node| Cursor {
            tree: self.tree,
            node,
        }))
    }

    fn find_raw(&self, place: &Place) -> Result<Option<*mut ffi::lyd_node>, RpcError> {
        let siblings = self.all_children();
        let schema = place.schema;
        let target = match schema.kind() {
            NodeKind::List => match predicate(place) {
                Some(target) => target,
                None => return Ok(self.find_by_walking(place)),
            },
            NodeKind::LeafList => place.keys.first().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        if siblings.is_null() {
            return Ok(None);
        }
        let text = c_string(&target)?;
        let entry = matches!(schema.kind(), NodeKind::List | NodeKind::LeafList);
        let wanted = if entry {
            text.as_ptr()
        } else {
            std::ptr::null()
        };
        let mut found = std::ptr::null_mut();
        failure::clear(self.tree.schema);
        // SAFETY: our own siblings, a schema node of the same context, a NUL-terminated text.
        let code =
            unsafe { ffi::lyd_find_sibling_val(siblings, schema.raw(), wanted, 0, &mut found) };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Ok(Some(found)),
            ffi::LY_ERR::LY_ENOTFOUND | ffi::LY_ERR::LY_EINCOMPLETE => Ok(None),
            _ => Err(place.refusal(self.tree.schema, None)),
        }
    }

    /// For keys that hold both kinds of quotes, which no predicate can spell.
    fn find_by_walking(&self, place: &Place) -> Option<*mut ffi::lyd_node> {
        let siblings = std::iter::successors(Node::from_raw(self.all_children()), Node::next);
        let mut entries = siblings.filter(|node| node.schema() == place.schema);
        let found = entries.find(|entry| {
            let keys = entry
                .children()
                .filter(Node::is_key)
                .filter_map(|key| key.value());
            keys.eq(place.keys.iter().cloned())
        });
        found.map(Node::raw)
    }

    /// Creates the child at a place; nodes of other cases of the same choice go (RFC 7950, section 7.9).
    /// `value` is the value of a leaf, or the XML inside an anydata or anyxml.
    ///
    /// # Errors
    /// A key or value outside its type.
    pub fn create(&mut self, place: &Place, value: Option<&str>) -> Result<Cursor<'_>, RpcError> {
        self.remove_other_cases(place.schema);
        let schema = place.schema;
        let name = c_string(schema.name())?;
        let module = schema.module_raw();
        let mut node = std::ptr::null_mut();
        failure::clear(self.tree.schema);
        // SAFETY: parent, module and name belong together; the texts outlive the calls; a new node under a parent
        // is owned by the tree at once, one at the top is linked below.
        let code = unsafe {
            match schema.kind() {
                NodeKind::List => {
                    let keys = place
                        .keys
                        .iter()
                        .map(|key| c_string(key))
                        .collect::<Result<Vec<_>, _>>()?;
                    let mut pointers: Vec<_> = keys.iter().map(|key| key.as_ptr().cast()).collect();
                    let no_sizes = std::ptr::null_mut();
                    ffi::lyd_new_list3(
                        self.node,
                        module,
                        name.as_ptr(),
                        pointers.as_mut_ptr(),
                        no_sizes,
                        0,
                        &mut node,
                    )
                }
                NodeKind::Leaf | NodeKind::LeafList => {
                    let text = c_string(
                        place
                            .keys
                            .first()
                            .map(String::as_str)
                            .or(value)
                            .unwrap_or_default(),
                    )?;
                    ffi::lyd_new_term(
                        self.node,
                        module,
                        name.as_ptr(),
                        text.as_ptr(),
                        0,
                        &mut node,
                    )
                }
                NodeKind::Any => {
                    let text = c_string(value.unwrap_or_default())?;
                    let child = std::ptr::null();
                    ffi::lyd_new_any(
                        self.node,
                        module,
                        name.as_ptr(),
                        child,
                        text.as_ptr(),
                        0,
                        0,
                        &mut node,
                    )
                }
                _ => ffi::lyd_new_inner(self.node, module, name.as_ptr(), 0, &mut node),
            }
        };
        if code != ffi::LY_ERR::LY_SUCCESS || node.is_null() {
            return Err(place.refusal(self.tree.schema, value));
        }
        if self.node.is_null() {
            // SAFETY: a fresh node without owner goes among the top-level siblings.
            unsafe { ffi::lyd_insert_sibling(self.tree.root, node, &mut self.tree.root) };
        }
        Ok(Cursor {
            tree: self.tree,
            node,
        })
    }

    /// Creation in one case deletes the nodes of the others, default nodes included.
    fn remove_other_cases(&mut self, schema: SchemaNode) {
        if schema.cases().is_empty() {
            return;
        }
        let siblings = std::iter::successors(Node::from_raw(self.all_children()), Node::next);
        let doomed: Vec<_> = siblings
            .filter(|node| schema.excludes(node.schema()))
            .map(Node::raw)
            .collect();
        for raw in doomed {
            // SAFETY: a node of ours, and no handle on it but this one.
            unsafe { self.tree.free(raw) };
        }
    }

    /// Changes the value of a leaf; it counts as set from then on, even to its default.
    ///
    /// # Errors
    /// A value outside its type.
    pub fn set(&mut self, value: &str) -> Result<(), RpcError> {
        let text = c_string(value)?;
        failure::clear(self.tree.schema);
        // SAFETY: a term node of ours (the caller has seen its schema); libyang checks the value.
        let code = unsafe { ffi::lyd_change_term(self.node, text.as_ptr()) };
        match code {
            ffi::LY_ERR::LY_SUCCESS | ffi::LY_ERR::LY_EEXIST | ffi::LY_ERR::LY_ENOT => Ok(()),
            _ => Err(match self.node().map(|node| node.schema()) {
                Some(leaf) => failure::of_value(self.tree.schema, leaf, value),
                None => failure::first(self.tree.schema),
            }),
        }
    }

    /// Removes the node with everything below it; at the top, everything.
    pub fn remove(mut self) {
        if self.node.is_null() {
            self.clear();
        } else {
            // SAFETY: the cursor is the only handle on the node and ends here.
            unsafe { self.tree.free(self.node) };
        }
    }

    /// Removes all children but the keys.
    pub fn clear(&mut self) {
        loop {
            let child = self.first_child();
            if child.is_null() {
                break;
            }
            // SAFETY: a node of ours, and no handle on it but this one.
            unsafe { self.tree.free(child) };
        }
    }

    /// Moves an entry of a list or leaf-list that the user orders: before or after another entry of it, or
    /// with `None` to the beginning (before) or the end (after).
    ///
    /// # Errors
    /// The other entry, when it is not there, as `Ok(false)`; a key outside its type as an error.
    pub fn move_to(&mut self, before: bool, anchor: Option<&Place>) -> Result<bool, RpcError> {
        let Some(schema) = self.node().map(|node| node.schema()) else {
            return Ok(true);
        };
        let parent = Cursor {
            // SAFETY: our own node.
            node: unsafe { (*self.node).parent }.cast(),
            tree: self.tree,
        };
        let other = match anchor {
            Some(place) => match parent.find_raw(place)? {
                Some(found) => found,
                None => return Ok(false),
            },
            None => {
                let siblings =
                    std::iter::successors(Node::from_raw(parent.all_children()), Node::next);
                let mut entries = siblings
                    .filter(|node| node.schema() == schema)
                    .map(Node::raw);
                let edge = if before {
                    entries.next()
                } else {
                    entries.last()
                };
                edge.unwrap_or(self.node)
            }
        };
        if other != self.node {
            // SAFETY: two entries of the same list of ours; libyang relinks the first.
            unsafe {
                match before {
                    true => ffi::lyd_insert_before(other, self.node),
                    false => ffi::lyd_insert_after(other, self.node),
                };
            }
            parent.tree.reroot();
        }
        Ok(true)
    }
}

/// `[key='value']…`, or `None` when a value holds both kinds of quotes.
pub(super) fn predicate(place: &Place) -> Option<String> {
    let mut text = String::new();
    for (key, value) in place.schema.keys().zip(&place.keys) {
        let quote = match (value.contains('\''), value.contains('"')) {
            (false, _) => '\'',
            (true, false) => '"',
            (true, true) => return None,
        };
        text.push_str(&format!("[{}={quote}{value}{quote}]", key.name()));
    }
    Some(text)
}
