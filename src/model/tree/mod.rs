//! Data trees: the one place that wraps the libyang binding.
//!
//! `unsafe` is allowed in this folder and nowhere else. What makes it sound, for every block here:
//! - the context is leaked, so schema pointers live for ever (`Schema`);
//! - a `Tree` owns its nodes and is the only owner; a `Node` borrows the tree, a `Cursor` borrows it mutably,
//!   so no node outlives its tree and none is freed while another handle on it exists;
//! - a `Tree` is `Send` but not `Sync`: libyang caches canonical values in the nodes while it prints them. A `Snapshot`
//!   is a tree in which they are all cached, and which nobody changes: that one is shared.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::c_char;

use yang5::context::Context;
use yang5::ffi;

use super::error::{ErrorTag, Errors, RpcError};
use super::schema::Schema;

mod atoms;
mod constraints;
mod cursor;
mod defaults;
mod diff;
mod edit_form;
mod expression;
mod extension;
mod failure;
pub mod heap;
mod lookup;
pub(super) mod module;
mod node;
mod notification;
mod operation;
mod pairs;
mod patch;
mod schema_node;
mod scope;
mod shared_diff;
mod slice;
mod snapshot;
mod value_type;

pub use constraints::{Constraints, Reach};
pub use cursor::{Cursor, Place};
pub use diff::{Diff, Op};
pub use expression::Expression;
pub use extension::DefaultDeny;
pub use lookup::Siblings;
pub use node::Node;
pub use operation::Operation;
pub use schema_node::{NodeKind, SchemaNode};
pub use scope::{Level, Scope};
pub use shared_diff::{Anchor, SharedDiff};
pub use slice::Slice;
pub use snapshot::{Held, Snapshot};

/// Stops libyang from printing to stderr; errors are kept for the thread that met them (see `failure`).
pub(super) fn quiet() {
    // SAFETY: a plain setting of the library, made before any tree exists.
    unsafe { ffi::ly_log_options(ffi::LY_LOSTORE) };
}

/// What libyang said last about modules that a context is to load.
pub(super) fn refusal_of_modules(context: &Context) -> Option<String> {
    let module = context.modules(false).next()?;
    // SAFETY: a module of a live context, which it points back to.
    unsafe { failure::about_modules((*module.as_raw()).ctx) }
}

/// A forest of data nodes; owns them.
pub struct Tree {
    schema: Schema,
    /// First top-level sibling, or null.
    root: *mut ffi::lyd_node,
}

// SAFETY: a tree is reached through its one owner; libyang keeps no thread-bound state in nodes, and its
// dictionary and type reference counts are made for several threads.
unsafe impl Send for Tree {}

impl Drop for Tree {
    fn drop(&mut self) {
        // SAFETY: the nodes are ours; null is allowed.
        unsafe { ffi::lyd_free_all(self.root) };
    }
}

impl std::fmt::Debug for Tree {
    /// Names the roots only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.roots().map(|node| node.path()))
            .finish()
    }
}

/// Text without NUL bytes, as libyang takes it.
fn c_string(text: &str) -> Result<CString, RpcError> {
    CString::new(text).map_err(|_| {
        RpcError::application(ErrorTag::InvalidValue, "a NUL byte is no XML character")
    })
}

impl Tree {
    /// An empty tree.
    pub fn new(schema: Schema) -> Self {
        Self {
            schema,
            root: std::ptr::null_mut(),
        }
    }

    /// The schema.
    pub fn schema(&self) -> Schema {
        self.schema
    }

    pub(super) fn ctx(&self) -> *const ffi::ly_ctx {
        raw_context(self.schema)
    }

    /// Takes over nodes.
    ///
    /// # Safety
    /// `node` is null or one of the top-level siblings of a forest of this schema's context that nobody else owns.
    unsafe fn adopt(schema: Schema, node: *mut ffi::lyd_node) -> Self {
        // SAFETY: as the caller promises.
        let root = if node.is_null() {
            node
        } else {
            unsafe { ffi::lyd_first_sibling(node) }
        };
        Self { schema, root }
    }

    /// `/yang-library` and `/modules-state` of the schema (RFC 8525), with its content-id.
    pub fn yang_library(schema: Schema) -> Self {
        let mut root = std::ptr::null_mut();
        // SAFETY: the format takes one text, which outlives the call; the nodes are fresh, or null on an error.
        unsafe {
            let format = c"%s";
            let id = CString::new(schema.content_id()).unwrap_or_default();
            let context = raw_context(schema);
            ffi::ly_ctx_get_yanglib_data(context, &mut root, format.as_ptr(), id.as_ptr());
            Self::adopt(schema, root)
        }
    }

    /// Reads configuration in XML: any number of top-level elements. Values are checked; constraints across nodes
    /// are not, see [`Tree::validate`].
    ///
    /// # Errors
    /// Unknown elements, wrong values, state data; XML that is not well-formed.
    pub fn parse_config(schema: Schema, xml: &str) -> Result<Self, Errors> {
        let options = ffi::LYD_PARSE_ONLY | ffi::LYD_PARSE_STRICT | ffi::LYD_PARSE_NO_STATE;
        Self::parse(schema, xml, Format::Xml, options)
    }

    /// Reads state in XML, else as [`Tree::parse_config`].
    ///
    /// # Errors
    /// Unknown elements, wrong values; XML that is not well-formed.
    pub fn parse_state(schema: Schema, xml: &str) -> Result<Self, Errors> {
        let options = ffi::LYD_PARSE_ONLY | ffi::LYD_PARSE_STRICT;
        Self::parse(schema, xml, Format::Xml, options)
    }

    /// The same in the JSON of RFC 7951.
    ///
    /// # Errors
    /// As [`Tree::parse_config`].
    pub fn parse_config_json(schema: Schema, json: &str) -> Result<Self, Errors> {
        let options = ffi::LYD_PARSE_ONLY | ffi::LYD_PARSE_STRICT | ffi::LYD_PARSE_NO_STATE;
        Self::parse(schema, json, Format::Json, options)
    }

    /// Reads configuration and state, as a reply to `<get>` holds them.
    ///
    /// # Errors
    /// As [`Tree::parse_config`].
    pub fn parse_data(schema: Schema, xml: &str) -> Result<Self, Errors> {
        let options = ffi::LYD_PARSE_ONLY | ffi::LYD_PARSE_STRICT;
        Self::parse(schema, xml, Format::Xml, options)
    }

    fn parse(schema: Schema, text: &str, format: Format, options: u32) -> Result<Self, Errors> {
        let text = c_string(text)?;
        let mut root = std::ptr::null_mut();
        failure::clear(schema);
        // SAFETY: the text is NUL-terminated and outlives the call; `root` is ours on success and null otherwise.
        let code = unsafe {
            ffi::lyd_parse_data_mem(
                raw_context(schema),
                text.as_ptr(),
                format.raw(),
                options,
                0,
                &mut root,
            )
        };
        match code {
            // SAFETY: fresh nodes.
            ffi::LY_ERR::LY_SUCCESS => Ok(unsafe { Self::adopt(schema, root) }),
            _ => Err(failure::take(schema)),
        }
    }

    /// A copy, default nodes and flags included.
    pub fn duplicate(&self) -> Self {
        let mut copy = std::ptr::null_mut();
        if !self.root.is_null() {
            // SAFETY: our own nodes; the copy has no other owner. It fails only without memory, and then stays null.
            unsafe {
                ffi::lyd_dup_siblings(
                    self.root,
                    std::ptr::null_mut(),
                    ffi::LYD_DUP_RECURSIVE | ffi::LYD_DUP_WITH_FLAGS,
                    &mut copy,
                );
            }
        }
        // SAFETY: fresh nodes or null.
        unsafe { Self::adopt(self.schema, copy) }
    }

    /// Validates a configuration as a whole and adds the defaults (RFC 7950, section 8.3.3).
    ///
    /// # Errors
    /// Every violation found, each with its path.
    pub fn validate(&mut self) -> Result<(), Errors> {
        failure::clear(self.schema);
        let options = ffi::LYD_VALIDATE_NO_STATE | ffi::LYD_VALIDATE_MULTI_ERROR;
        // SAFETY: our own nodes; libyang keeps `root` the first sibling.
        let code = unsafe {
            ffi::lyd_validate_all(&mut self.root, self.ctx(), options, std::ptr::null_mut())
        };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Ok(()),
            _ => Err(failure::take_violations(self.schema)),
        }
    }

    /// The node at a data path such as `/cloud-management:cloud-management/server/domain`.
    pub fn find(&self, path: &str) -> Option<Node<'_>> {
        let path = CString::new(path).ok()?;
        let mut found = std::ptr::null_mut();
        if self.root.is_null() {
            return None;
        }
        // SAFETY: our own nodes, a NUL-terminated path.
        let code = unsafe { ffi::lyd_find_path(self.root, path.as_ptr(), 0, &mut found) };
        failure::clear(self.schema);
        if code != ffi::LY_ERR::LY_SUCCESS {
            return None;
        }
        Node::from_raw(found)
    }

    /// The canonical value of the leaf at a path.
    pub fn value(&self, path: &str) -> Option<String> {
        self.find(path)?.value()
    }

    /// Creates or changes the node at a path, with all its parents.
    ///
    /// # Errors
    /// An unknown path or a value outside its type.
    pub fn set(&mut self, path: &str, value: Option<&str>) -> Result<(), RpcError> {
        self.put(path, value, ffi::LYD_NEW_PATH_UPDATE)
    }

    /// The same for a node of the output of an rpc or action, such as `/ietf-netconf-monitoring:get-schema/data`.
    ///
    /// # Errors
    /// As [`Tree::set`].
    pub fn set_output(&mut self, path: &str, value: Option<&str>) -> Result<(), RpcError> {
        let options = ffi::LYD_NEW_PATH_UPDATE | ffi::LYD_NEW_VAL_OUTPUT;
        self.put(path, value, options)
    }

    fn put(&mut self, path: &str, value: Option<&str>, options: u32) -> Result<(), RpcError> {
        let target = c_string(path)?;
        let value = value.map(c_string).transpose()?;
        failure::clear(self.schema);
        // SAFETY: our own nodes; texts outlive the call; new nodes are linked to ours.
        let code = unsafe {
            let mut top = std::ptr::null_mut();
            let code = ffi::lyd_new_path2(
                self.root,
                self.ctx(),
                target.as_ptr(),
                value
                    .as_ref()
                    .map_or(std::ptr::null(), |value| value.as_ptr().cast()),
                0,
                ffi::LYD_VALHINT_STRING,
                options,
                &mut top,
                std::ptr::null_mut(),
            );
            let any = if self.root.is_null() { top } else { self.root };
            self.root = if any.is_null() {
                any
            } else {
                ffi::lyd_first_sibling(any)
            };
            code
        };
        match code {
            ffi::LY_ERR::LY_SUCCESS => Ok(()),
            _ => Err(failure::first(self.schema).at(path)),
        }
    }

    /// Takes the node at a path out, with everything below it; does nothing when there is none.
    pub fn remove(&mut self, path: &str) {
        if let Some(raw) = self.find(path).map(Node::raw) {
            // SAFETY: a node of ours; no handle on it is alive, since `self` is borrowed mutably.
            unsafe { self.free(raw) };
        }
    }

    /// Whatever libyang has put in front: the root is the first sibling.
    fn reroot(&mut self) {
        if !self.root.is_null() {
            // SAFETY: any of the top-level siblings leads to the first.
            self.root = unsafe { ffi::lyd_first_sibling(self.root) };
        }
    }

    /// # Safety
    /// `raw` is a node of this tree, and no handle on it is used afterwards.
    unsafe fn free(&mut self, raw: *mut ffi::lyd_node) {
        // SAFETY: as the caller promises; the root moves on first when it is the one that goes.
        unsafe {
            if raw == self.root {
                self.root = (*raw).next;
            }
            ffi::lyd_free_tree(raw);
        }
    }

    /// Removes every node for which `keep` is false, with everything below it; parents are asked first.
    pub fn retain(&mut self, keep: &mut dyn FnMut(Node<'_>) -> bool) {
        let mut doomed = Vec::new();
        let mut stack: Vec<Node<'_>> = self.roots().collect();
        while let Some(node) = stack.pop() {
            match keep(node) {
                true => stack.extend(node.children()),
                false => doomed.push(node.raw()),
            }
        }
        for raw in doomed {
            // SAFETY: disjoint subtrees of ours: below a node that goes nothing was visited.
            unsafe { self.free(raw) };
        }
    }

    /// Adds the defaults that are in use (RFC 7950, section 7.6.1), those of state data too if so wished.
    pub fn add_defaults(&mut self, state: bool) {
        let options = if state { 0 } else { ffi::LYD_IMPLICIT_NO_STATE };
        // SAFETY: our own nodes; libyang keeps `root` the first sibling. It fails only without memory.
        unsafe {
            ffi::lyd_new_implicit_all(&mut self.root, self.ctx(), options, std::ptr::null_mut());
        }
        failure::clear(self.schema);
    }

    /// The nodes an XPath expression selects; prefixes in it are module names.
    ///
    /// # Errors
    /// A syntax error, or an expression whose result is no node set.
    pub fn select(&self, xpath: &str) -> Result<Vec<Node<'_>>, RpcError> {
        let expression = c_string(xpath)?;
        let mut set = std::ptr::null_mut();
        if self.root.is_null() {
            return Ok(Vec::new());
        }
        failure::clear(self.schema);
        // SAFETY: our own nodes; the set is freed below, its nodes stay ours.
        let code = unsafe { ffi::lyd_find_xpath(self.root, expression.as_ptr(), &mut set) };
        if code != ffi::LY_ERR::LY_SUCCESS {
            return Err(failure::first(self.schema));
        }
        // SAFETY: on success the set holds `count` node pointers.
        unsafe {
            let count = (*set).count as usize;
            let nodes = (0..count)
                .filter_map(|index| Node::from_raw(*(*set).__bindgen_anon_1.dnodes.add(index)));
            let nodes = nodes.collect();
            ffi::ly_set_free(set, None);
            Ok(nodes)
        }
    }

    /// The top-level nodes.
    pub fn roots(&self) -> impl Iterator<Item = Node<'_>> {
        std::iter::successors(Node::from_raw(self.root), |node| node.next())
    }

    /// Whether there is no node at all.
    pub fn is_empty(&self) -> bool {
        self.root.is_null()
    }

    /// Adds a copy of a node with everything below it and its parents up to the root; what is there already stays.
    pub fn graft(&mut self, node: Node<'_>) {
        let mut copy = std::ptr::null_mut();
        let options = ffi::LYD_DUP_RECURSIVE | ffi::LYD_DUP_WITH_PARENTS | ffi::LYD_DUP_WITH_FLAGS;
        // SAFETY: the copy is ours alone until it is merged, which takes it over (LYD_MERGE_DESTRUCT).
        unsafe {
            if ffi::lyd_dup_single(node.raw(), std::ptr::null_mut(), options, &mut copy)
                != ffi::LY_ERR::LY_SUCCESS
            {
                return;
            }
            while !(*copy).parent.is_null() {
                copy = (*copy).parent;
            }
            let options = (ffi::LYD_MERGE_DESTRUCT | ffi::LYD_MERGE_WITH_FLAGS) as u16;
            ffi::lyd_merge_tree(&mut self.root, copy, options);
        }
        self.reroot();
    }

    /// Takes all nodes of another tree over.
    pub fn merge(&mut self, mut other: Self) {
        let root = std::mem::replace(&mut other.root, std::ptr::null_mut());
        if root.is_null() {
            return;
        }
        // SAFETY: the source is spent by the merge (LYD_MERGE_DESTRUCT), and `other` no longer owns it.
        unsafe {
            let options = (ffi::LYD_MERGE_DESTRUCT | ffi::LYD_MERGE_WITH_FLAGS) as u16;
            ffi::lyd_merge_siblings(&mut self.root, root, options);
        }
        self.reroot();
    }

    /// What turns this tree into `to`; defaults that nobody set do not count.
    ///
    /// # Errors
    /// An entry that stands, in a list that the user orders, behind one whose key holds both kinds of quotes: no diff
    /// can spell its place. A tree of another schema.
    pub fn diff(&self, to: &Self) -> Result<Diff, RpcError> {
        if self.ctx() != to.ctx() {
            let words = "the trees are of different schemas";
            return Err(RpcError::application(ErrorTag::OperationFailed, words));
        }
        let mut diff = std::ptr::null_mut();
        failure::clear(self.schema);
        // SAFETY: both forests are alive and of one context; the diff is a new one, and stays null on an error.
        let code = unsafe { ffi::lyd_diff_siblings(self.root, to.root, 0, &mut diff) };
        match code {
            // SAFETY: fresh nodes or null.
            ffi::LY_ERR::LY_SUCCESS => Ok(Diff(unsafe { Self::adopt(self.schema, diff) })),
            _ => Err(failure::first(self.schema)),
        }
    }

    /// XML without white space, one element a root; what was not set is left out.
    pub fn to_xml(&self) -> String {
        self.print(Format::Xml)
    }

    /// One JSON object (RFC 7951).
    pub fn to_json(&self) -> String {
        self.print(Format::Json)
    }

    /// What was set, and no defaults (RFC 6243, section 2.3).
    fn print(&self, format: Format) -> String {
        let mut text = std::ptr::null_mut();
        let options = ffi::LYD_PRINT_SIBLINGS | ffi::LYD_PRINT_SHRINK | ffi::LYD_PRINT_WD_EXPLICIT;
        // SAFETY: our own nodes; the text is allocated by libyang and freed by `own`.
        unsafe {
            ffi::lyd_print_mem(&mut text, self.root, format.raw(), options);
            own(text)
        }
    }
}

/// The two texts a tree has.
#[derive(Clone, Copy)]
enum Format {
    Xml,
    Json,
}

impl Format {
    fn raw(self) -> ffi::LYD_FORMAT::Type {
        match self {
            Self::Xml => ffi::LYD_FORMAT::LYD_XML,
            Self::Json => ffi::LYD_FORMAT::LYD_JSON,
        }
    }
}

/// Takes a text that libyang allocated.
///
/// # Safety
/// `text` is null or a NUL-terminated string from the C allocator that nobody else frees.
unsafe fn own(text: *mut c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe {
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        ffi::free(text.cast());
        owned
    }
}

/// The pointer that the binding keeps to itself.
#[derive(Clone, Copy)]
pub(super) struct RawContext(*const ffi::ly_ctx);

// SAFETY: the context is leaked and complete before it is shared; what libyang changes in it later (dictionary,
// error lists) it guards itself.
unsafe impl Send for RawContext {}
// SAFETY: as above.
unsafe impl Sync for RawContext {}

impl RawContext {
    /// Reads it off any module; every context has libyang's own.
    pub(super) fn of(context: &'static Context) -> Option<Self> {
        // SAFETY: a module of the context.
        context
            .modules(false)
            .next()
            .map(|module| Self(unsafe { (*module.as_raw()).ctx }))
    }
}

fn raw_context(schema: Schema) -> *const ffi::ly_ctx {
    schema.raw().0
}

fn raw_context_of(node: SchemaNode) -> *const ffi::ly_ctx {
    // SAFETY: every module of the leaked context points back to it.
    unsafe { (*node.module_raw()).ctx }
}

/// # Safety
/// `node` is a live data node.
unsafe fn context_of(node: *const ffi::lyd_node) -> *const ffi::ly_ctx {
    // SAFETY: as the caller promises; every node here has a schema (see `Node::from_raw`), every schema its module.
    unsafe { (*(*(*node).schema).module).ctx }
}

/// Ties a node to the tree that owns it.
type Owner<'a> = PhantomData<&'a Tree>;

#[cfg(test)]
mod tests;
