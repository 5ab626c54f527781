//! Finding children without walking past all the others, and copying what was found.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use yang5::ffi;

use super::cursor::predicate;
use super::{Cursor, Node, NodeKind, Owner, Place, SchemaNode, Tree, c_string, failure};
use crate::model::error::{ErrorTag, RpcError};

/// The children of a node, or the top of a tree.
#[derive(Clone, Copy)]
pub struct Siblings<'a> {
    /// Null when there are none.
    first: *mut ffi::lyd_node,
    owner: Owner<'a>,
}

impl Tree {
    /// The top-level nodes.
    pub fn siblings(&self) -> Siblings<'_> {
        Siblings {
            first: self.root,
            owner: Owner::default(),
        }
    }
}

impl<'a> Node<'a> {
    /// The children.
    pub fn siblings_below(&self) -> Siblings<'a> {
        let first = self.children().next();
        Siblings {
            first: first.map_or(std::ptr::null_mut(), Node::raw),
            owner: Owner::default(),
        }
    }
}

impl<'a> Siblings<'a> {
    /// The instances of a schema node, in order; found by hash where there are many siblings.
    pub fn instances(self, schema: SchemaNode) -> impl Iterator<Item = Node<'a>> {
        // Instances of one schema node stand together (libyang inserts them so).
        std::iter::successors(self.find(schema, None), Node::next)
            .take_while(move |node| node.schema() == schema)
    }

    /// The entry of a list with these keys, in the order of the schema; by hash, however long the list is.
    pub fn entry(self, list: SchemaNode, keys: Vec<String>) -> Option<Node<'a>> {
        let place = Place { schema: list, keys };
        match predicate(&place) {
            Some(text) if !text.is_empty() => self.find(list, Some(&text)),
            // A key with both kinds of quotes, which no predicate can spell.
            _ => self.instances(list).find(|entry| {
                let keys = entry.children().filter(Node::is_key);
                keys.filter_map(|key| key.value())
                    .eq(place.keys.iter().cloned())
            }),
        }
    }

    fn find(self, schema: SchemaNode, entry: Option<&str>) -> Option<Node<'a>> {
        let text = entry.map(c_string).transpose().ok()?;
        let wanted = text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        if self.first.is_null() {
            return None;
        }
        let mut found = std::ptr::null_mut();
        // SAFETY: live siblings, a schema node of the same context, a NUL-terminated text or null.
        let code =
            unsafe { ffi::lyd_find_sibling_val(self.first, schema.raw(), wanted, 0, &mut found) };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Node::from_raw(found),
            _ => {
                failure::forget(schema);
                None
            }
        }
    }
}

impl SchemaNode {
    /// The canonical form of a value of a leaf or leaf-list (RFC 7950, section 9.1); prefixes in it are module
    /// names. `None` if it is not a value of the type.
    pub fn canonical(self, value: &str) -> Option<String> {
        if !matches!(self.kind(), NodeKind::Leaf | NodeKind::LeafList) {
            return None;
        }
        let length = u32::try_from(value.len()).ok()?;
        let text = c_string(value).ok()?;
        let mut canonical = std::ptr::null();
        // SAFETY: the kind says that the node has a type; the text outlives the call; what comes back is one
        // reference to a text of the dictionary, given back below.
        unsafe {
            let code = ffi::lyd_value_validate(
                self.raw(),
                text.as_ptr(),
                length,
                std::ptr::null(),
                std::ptr::null_mut(),
                &mut canonical,
            );
            failure::forget(self);
            let is_value = matches!(
                code,
                // Incomplete: it refers to data, which are not asked for here.
                ffi::LY_ERR::LY_SUCCESS | ffi::LY_ERR::LY_EINCOMPLETE
            );
            if canonical.is_null() {
                return None;
            }
            let owned = std::ffi::CStr::from_ptr(canonical)
                .to_string_lossy()
                .into_owned();
            ffi::lydict_remove(super::raw_context_of(self), canonical);
            is_value.then_some(owned)
        }
    }
}

impl Cursor<'_> {
    /// Appends a copy of a node of any tree of this schema, with everything below it (`whole`) or with its keys
    /// alone. The nodes here must not contain it already.
    ///
    /// # Errors
    /// No memory, or a node that has no place here.
    pub fn copy(&mut self, node: Node<'_>, whole: bool) -> Result<Cursor<'_>, RpcError> {
        self.duplicate(node, if whole { ffi::LYD_DUP_RECURSIVE } else { 0 })
    }

    fn duplicate(&mut self, node: Node<'_>, options: u32) -> Result<Cursor<'_>, RpcError> {
        let options = options | ffi::LYD_DUP_WITH_FLAGS;
        let mut copy = std::ptr::null_mut();
        // SAFETY: a live node; the copy is owned by the tree as soon as it is linked, here or by the call itself.
        let linked = unsafe {
            ffi::lyd_dup_single(node.raw(), self.node.cast(), options, &mut copy)
                == ffi::LY_ERR::LY_SUCCESS
                && !copy.is_null()
                && (!self.node.is_null()
                    || ffi::lyd_insert_sibling(self.tree.root, copy, &mut self.tree.root)
                        == ffi::LY_ERR::LY_SUCCESS)
        };
        if !linked {
            failure::forget(node.schema());
            return Err(RpcError::application(
                ErrorTag::OperationFailed,
                format!("{} could not be copied", node.path()),
            ));
        }
        Ok(Cursor {
            tree: self.tree,
            node: copy,
        })
    }

    /// Appends copies of entries of one list that are in order already, with everything below them.
    ///
    /// # Errors
    /// As [`Cursor::copy`].
    pub(super) fn copy_all<'n>(
        &mut self,
        entries: impl Iterator<Item = Node<'n>>,
    ) -> Result<(), RpcError> {
        for entry in entries {
            self.duplicate(entry, ffi::LYD_DUP_RECURSIVE | ffi::LYD_DUP_NO_LYDS)?;
        }
        Ok(())
    }

    /// Takes over what is noted of a node, whether it counts as a default among it.
    pub(super) fn copy_flags(&mut self, node: Node<'_>) {
        // SAFETY: the cursor's own node.
        unsafe { (*self.node).flags = node.flags() };
    }
}
