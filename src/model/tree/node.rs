//! A node of a data tree, borrowed.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::CStr;

use yang5::ffi;

use super::{NodeKind, Owner, SchemaNode, Tree};

/// A data node of a tree; cheap to copy, never longer-lived than the tree.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    raw: *mut ffi::lyd_node,
    owner: Owner<'a>,
}

impl std::fmt::Debug for Node<'_> {
    /// The path; values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

impl PartialEq for Node<'_> {
    /// The same node, not an equal one.
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl<'a> Node<'a> {
    /// Wraps a pointer into a tree that the caller has borrowed; `None` for null and for opaque nodes.
    pub(super) fn from_raw(raw: *mut ffi::lyd_node) -> Option<Self> {
        // SAFETY: non-null pointers here point to live nodes.
        if raw.is_null() || unsafe { (*raw).schema.is_null() } {
            return None;
        }
        Some(Self {
            raw,
            owner: Owner::default(),
        })
    }
    pub(super) fn raw(self) -> *mut ffi::lyd_node {
        self.raw
    }
    fn get(&self) -> &'a ffi::lyd_node {
        // SAFETY: never null, and the tree is borrowed for 'a.
        unsafe { &*self.raw }
    }
    /// Its schema node.
    #[allow(clippy::expect_used)] // from_raw lets no node without schema in
    pub fn schema(&self) -> SchemaNode {
        SchemaNode::from_raw(self.get().schema).expect("checked when the node was wrapped")
    }
    /// The name.
    pub fn name(&self) -> &'static str {
        self.schema().name()
    }
    /// Module of the name.
    pub fn module(&self) -> &'static str {
        self.schema().module()
    }
    /// Namespace of the name.
    pub fn namespace(&self) -> &'static str {
        self.schema().namespace()
    }
    /// What it is.
    pub fn kind(&self) -> NodeKind {
        self.schema().kind()
    }
    /// Whether it is the key of a list.
    pub fn is_key(&self) -> bool {
        self.schema().is_key()
    }
    /// Whether it is configuration.
    pub fn is_config(&self) -> bool {
        self.schema().is_config()
    }
    /// Whether it was added as a default, not set by anybody.
    pub fn is_default(&self) -> bool {
        self.get().flags & ffi::LYD_DEFAULT != 0
    }
    /// Its flags, as libyang keeps them.
    pub(super) fn flags(self) -> u32 {
        self.get().flags
    }
    /// The canonical value of a leaf or leaf-list entry (RFC 7950, section 9.1).
    pub fn value(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }
    /// The same without a copy of it.
    pub fn text(&self) -> Option<&'a str> {
        if !matches!(self.kind(), NodeKind::Leaf | NodeKind::LeafList) {
            return None;
        }
        // SAFETY: the kind says that it is a term node; the text belongs to the dictionary while the node lives and has
        // its value, and so for 'a. Values came as Rust strings, so they are UTF-8.
        unsafe {
            let term = self.raw.cast::<ffi::lyd_node_term>();
            let text = ffi::lyd_value_get_canonical(super::context_of(self.raw), &(*term).value);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_str().unwrap_or_default())
        }
    }
    /// Whether it has the value that the schema gives by default, set or not (RFC 6243, section 1.2). The entries of a
    /// leaf-list have it only together, and so only where nobody set them; for a key no default counts.
    pub fn has_default_value(&self) -> bool {
        let is_leaf = self.kind() == NodeKind::Leaf && !self.is_key();
        // SAFETY: a live node, which the kind says is a term node.
        self.is_default() || is_leaf && unsafe { ffi::lyd_is_default(self.raw) != 0 }
    }
    /// The node and everything below it as one XML element, with every declaration it needs.
    pub fn xml(&self) -> String {
        let mut text = std::ptr::null_mut();
        let options = ffi::LYD_PRINT_SHRINK | ffi::LYD_PRINT_WD_ALL;
        // SAFETY: a live node; the text is freed by `own`.
        unsafe {
            ffi::lyd_print_mem(&mut text, self.raw, ffi::LYD_FORMAT::LYD_XML, options);
            super::own(text)
        }
    }
    /// The data path, with module names as prefixes and the keys of lists as predicates.
    pub fn path(&self) -> String {
        // SAFETY: a live node; the text is freed by `own`.
        unsafe {
            super::own(ffi::lyd_path(
                self.raw,
                ffi::LYD_PATH_TYPE::LYD_PATH_STD,
                std::ptr::null_mut(),
                0,
            ))
        }
    }
    /// The children, in order.
    pub fn children(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let first = match self.kind() {
            NodeKind::Leaf | NodeKind::LeafList | NodeKind::Any => std::ptr::null_mut(),
            // SAFETY: every other kind is an inner node.
            _ => unsafe { (*self.raw.cast::<ffi::lyd_node_inner>()).child },
        };
        std::iter::successors(Self::from_raw(first), |node| node.next())
    }
    /// The next sibling.
    pub fn next(&self) -> Option<Node<'a>> {
        Self::from_raw(self.get().next)
    }
    /// The parent.
    pub fn parent(&self) -> Option<Node<'a>> {
        Self::from_raw(self.get().parent)
    }
    /// The child of that name in the node's own module.
    pub fn child(&self, name: &str) -> Option<Node<'a>> {
        let module = self.module();
        self.children()
            .find(|child| child.name() == name && child.module() == module)
    }
    /// The value of the child leaf of that name in the node's own module.
    pub fn child_value(&self, name: &str) -> Option<String> {
        self.child(name)?.value()
    }
    /// The node and everything below it, parents first.
    pub fn descendants(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let mut stack = vec![*self];
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            let mut children: Vec<_> = node.children().collect();
            children.reverse();
            stack.extend(children);
            Some(node)
        })
    }
    /// The value of a metadata annotation (RFC 7952) of that name.
    pub(super) fn meta(&self, name: &str) -> Option<String> {
        let mut meta = self.get().meta;
        while !meta.is_null() {
            // SAFETY: the list belongs to the live node.
            unsafe {
                if CStr::from_ptr((*meta).name).to_bytes() == name.as_bytes() {
                    let text =
                        ffi::lyd_value_get_canonical(super::context_of(self.raw), &(*meta).value);
                    return (!text.is_null())
                        .then(|| CStr::from_ptr(text).to_string_lossy().into_owned());
                }
                meta = (*meta).next;
            }
        }
        None
    }
    /// Has the canonical values of all metadata annotations made; the octets of them.
    pub(super) fn settle_annotations(&self) -> usize {
        let mut octets = 0;
        let mut meta = self.get().meta;
        while !meta.is_null() {
            // SAFETY: the list belongs to the live node.
            unsafe {
                let text =
                    ffi::lyd_value_get_canonical(super::context_of(self.raw), &(*meta).value);
                if !text.is_null() {
                    octets += CStr::from_ptr(text).count_bytes();
                }
                meta = (*meta).next;
            }
        }
        octets
    }
    /// The octets of its own value.
    pub(super) fn octets(&self) -> usize {
        match self.kind() {
            NodeKind::Any => self.plain_xml().len(),
            _ => self.text().map_or(0, str::len),
        }
    }
    /// The node and everything below it as one XML element, without metadata annotations.
    pub fn plain_xml(&self) -> String {
        let mut copy = std::ptr::null_mut();
        let options = ffi::LYD_DUP_RECURSIVE | ffi::LYD_DUP_NO_META;
        // SAFETY: a live node; the copy is ours alone and freed.
        unsafe {
            ffi::lyd_dup_single(self.raw, std::ptr::null_mut(), options, &mut copy);
            let xml = Self::from_raw(copy).map(|copy| copy.xml());
            ffi::lyd_free_tree(copy);
            xml.unwrap_or_default()
        }
    }
    /// What is inside an inner node, as XML elements.
    pub fn inner_xml(&self) -> String {
        let Some(first) = self.children().next() else {
            return String::new();
        };
        let mut text = std::ptr::null_mut();
        let options = ffi::LYD_PRINT_SIBLINGS | ffi::LYD_PRINT_SHRINK;
        // SAFETY: live nodes; the text is freed by `own`.
        unsafe {
            ffi::lyd_print_mem(&mut text, first.raw, ffi::LYD_FORMAT::LYD_XML, options);
            super::own(text)
        }
    }
    /// A copy of the node, with everything below it, under its parents.
    pub fn to_tree(&self, like: &Tree) -> Tree {
        let mut tree = Tree::new(like.schema());
        tree.graft(*self);
        tree
    }
}
