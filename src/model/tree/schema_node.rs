//! Nodes of the compiled schema, as plain values: they live as long as the process does.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::{CStr, CString};

use yang5::ffi;
use yang5::schema::SchemaModule;

/// What a schema node is (RFC 7950).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// container
    Container,
    /// list
    List,
    /// leaf
    Leaf,
    /// leaf-list
    LeafList,
    /// anydata or anyxml
    Any,
    /// rpc
    Rpc,
    /// action
    Action,
    /// notification
    Notification,
    /// choice, case, input, output: never a data node
    Other,
}

/// A node of the compiled schema.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaNode {
    raw: *const ffi::lysc_node,
}

// SAFETY: the compiled schema is never changed after the context is made and is never freed (see Schema).
unsafe impl Send for SchemaNode {}
// SAFETY: as above; nothing here has interior mutability.
unsafe impl Sync for SchemaNode {}

impl std::fmt::Debug for SchemaNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.module(), self.name())
    }
}

/// Text that the schema owns.
pub(super) fn text(raw: *const std::os::raw::c_char) -> &'static str {
    if raw.is_null() {
        return "";
    }
    // SAFETY: a NUL-terminated string of the dictionary of the leaked context. YANG identifiers and URIs are ASCII.
    unsafe { CStr::from_ptr(raw) }.to_str().unwrap_or("")
}

impl SchemaNode {
    /// Wraps a pointer; `None` for null.
    pub(super) fn from_raw(raw: *const ffi::lysc_node) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw })
    }
    pub(super) fn raw(self) -> *const ffi::lysc_node {
        self.raw
    }
    fn node(self) -> &'static ffi::lysc_node {
        // SAFETY: never null, and the schema is leaked.
        unsafe { &*self.raw }
    }
    fn module_ref(self) -> &'static ffi::lys_module {
        // SAFETY: every compiled node has its module.
        unsafe { &*self.node().module }
    }
    pub(super) fn module_raw(self) -> *const ffi::lys_module {
        self.node().module
    }
    /// Namespace of a module, for as long as the process lives.
    pub(in crate::model) fn static_namespace(module: &SchemaModule<'_>) -> &'static str {
        // SAFETY: the module belongs to the leaked context.
        text(unsafe { (*module.as_raw()).ns })
    }
    /// Name of a module, for as long as the process lives.
    pub(in crate::model) fn static_name(module: &SchemaModule<'_>) -> &'static str {
        // SAFETY: the module belongs to the leaked context.
        text(unsafe { (*module.as_raw()).name })
    }
    /// A top-level node of a module.
    pub(in crate::model) fn top(module: &SchemaModule<'_>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        let module = module.as_raw();
        // SAFETY: the module is one of the leaked context; the arguments are checked by libyang.
        Self::from_raw(unsafe {
            ffi::lys_find_child(
                (*module).ctx,
                std::ptr::null(),
                module,
                std::ptr::null(),
                0,
                name.as_ptr(),
                0,
                0,
            )
        })
    }
    /// The top-level data nodes of a module.
    pub(in crate::model) fn roots(module: &SchemaModule<'_>) -> impl Iterator<Item = Self> + use<> {
        // SAFETY: an implemented module of the leaked context is compiled.
        let compiled = unsafe { (*module.as_raw()).compiled };
        let mut last = std::ptr::null();
        let nodes = std::iter::from_fn(move || {
            // SAFETY: `last` came from the same module or is null.
            last = unsafe { ffi::lys_getnext(last, std::ptr::null(), compiled, 0) };
            Self::from_raw(last)
        });
        nodes.filter(|node| !matches!(node.kind(), NodeKind::Rpc | NodeKind::Notification))
    }
    /// Whether a module defines an identity.
    pub(in crate::model) fn has_identity(module: &SchemaModule<'_>, name: &str) -> bool {
        // SAFETY: the module belongs to the leaked context; libyang's sized arrays keep their length in the word before
        // the first element.
        unsafe {
            let identities = (*module.as_raw()).identities;
            let count = match identities.is_null() {
                true => 0,
                false => *identities.cast::<u64>().sub(1) as usize,
            };
            (0..count).any(|index| text((*identities.add(index)).name) == name)
        }
    }
    /// The child data node, action or notification of that module and name, through choices and cases.
    pub fn child(self, module: &str, name: &str) -> Option<Self> {
        self.children()
            .find(|child| child.name() == name && child.module() == module)
    }
    /// The children: data nodes through choices and cases, actions and notifications.
    pub fn children(self) -> impl Iterator<Item = Self> {
        let mut last = std::ptr::null();
        std::iter::from_fn(move || {
            // SAFETY: `last` came from the same parent or is null.
            last = unsafe { ffi::lys_getnext(last, self.raw, std::ptr::null(), 0) };
            Self::from_raw(last)
        })
    }
    /// The name.
    pub fn name(self) -> &'static str {
        text(self.node().name)
    }
    /// Name of the module whose namespace the node has.
    pub fn module(self) -> &'static str {
        text(self.module_ref().name)
    }
    /// XML namespace.
    pub fn namespace(self) -> &'static str {
        text(self.module_ref().ns)
    }
    /// What it is.
    pub fn kind(self) -> NodeKind {
        match u32::from(self.node().nodetype) {
            ffi::LYS_CONTAINER => NodeKind::Container,
            ffi::LYS_LIST => NodeKind::List,
            ffi::LYS_LEAF => NodeKind::Leaf,
            ffi::LYS_LEAFLIST => NodeKind::LeafList,
            ffi::LYS_ANYXML | ffi::LYS_ANYDATA => NodeKind::Any,
            ffi::LYS_RPC => NodeKind::Rpc,
            ffi::LYS_ACTION => NodeKind::Action,
            ffi::LYS_NOTIF => NodeKind::Notification,
            _ => NodeKind::Other,
        }
    }
    fn flag(self, flag: u32) -> bool {
        u32::from(self.node().flags) & flag != 0
    }
    /// Whether it is configuration.
    pub fn is_config(self) -> bool {
        self.flag(ffi::LYS_CONFIG_W)
    }
    /// Whether it is the key of a list.
    pub fn is_key(self) -> bool {
        self.kind() == NodeKind::Leaf && self.flag(ffi::LYS_KEY)
    }
    /// Whether it is a container with presence.
    pub fn is_presence(self) -> bool {
        self.kind() == NodeKind::Container && self.flag(ffi::LYS_PRESENCE)
    }
    /// Whether it is anydata, which holds elements of modules and no text.
    pub fn is_anydata(self) -> bool {
        u32::from(self.node().nodetype) == ffi::LYS_ANYDATA
    }
    /// Whether the user orders its entries (RFC 7950, section 7.7.7).
    pub fn is_user_ordered(self) -> bool {
        matches!(self.kind(), NodeKind::List | NodeKind::LeafList) && self.flag(ffi::LYS_ORDBY_USER)
    }
    /// The keys of a list, in order.
    pub fn keys(self) -> impl Iterator<Item = Self> {
        self.children().filter(|child| child.is_key())
    }
    /// The parent data node, past choices and cases.
    pub fn parent(self) -> Option<Self> {
        let mut parent = Self::from_raw(self.node().parent);
        while let Some(node) = parent {
            if node.kind() != NodeKind::Other {
                break;
            }
            parent = Self::from_raw(node.node().parent);
        }
        parent
    }
    /// The input of an rpc or action has no data node of its own; this is the schema path with module names.
    pub fn path(self) -> String {
        let own_prefix = self
            .parent()
            .is_none_or(|parent| parent.module() != self.module());
        let above = self.parent().map(Self::path).unwrap_or_default();
        match own_prefix {
            true => format!("{above}/{}:{}", self.module(), self.name()),
            false => format!("{above}/{}", self.name()),
        }
    }
    /// The cases it is in, innermost first, each with its choice.
    pub fn cases(self) -> Vec<(SchemaNode, SchemaNode)> {
        let mut cases = Vec::new();
        let mut node = self.node().parent;
        while let Some(case) = Self::from_raw(node) {
            if u32::from(case.node().nodetype) != ffi::LYS_CASE {
                break;
            }
            let Some(choice) = Self::from_raw(case.node().parent) else {
                break;
            };
            cases.push((choice, case));
            node = choice.node().parent;
        }
        cases
    }
    /// Whether a sibling is in another case of a choice that this node is in (RFC 7950, section 7.9).
    pub fn excludes(self, sibling: SchemaNode) -> bool {
        let theirs = sibling.cases();
        self.cases()
            .iter()
            .any(|(choice, case)| theirs.iter().any(|(c, k)| c == choice && k != case))
    }
    pub(super) fn leaf_type(self) -> *const ffi::lysc_type {
        match self.kind() {
            // SAFETY: the kind says which structure the node is.
            NodeKind::Leaf => unsafe { (*self.raw.cast::<ffi::lysc_node_leaf>()).type_ },
            // SAFETY: as above.
            NodeKind::LeafList => unsafe { (*self.raw.cast::<ffi::lysc_node_leaflist>()).type_ },
            _ => std::ptr::null(),
        }
    }
    /// Name of the typedef of a leaf or leaf-list, without prefix; empty for a built-in type.
    pub fn typedef(self) -> &'static str {
        let leaf_type = self.leaf_type();
        if leaf_type.is_null() {
            return "";
        }
        // SAFETY: the type belongs to the leaked schema.
        text(unsafe { (*leaf_type).name })
    }
    /// Whether white space in a value counts: strings, and unions, which may hold one.
    pub fn is_string(self) -> bool {
        let leaf_type = self.leaf_type();
        // SAFETY: the type belongs to the leaked schema.
        !leaf_type.is_null()
            && matches!(
                unsafe { (*leaf_type).basetype },
                ffi::LY_DATA_TYPE::LY_TYPE_STRING | ffi::LY_DATA_TYPE::LY_TYPE_UNION
            )
    }
    /// Whether a value of the type may hold prefixes that an XML document declares (RFC 7950, section 9.10.3 and 9.13.2).
    pub fn has_qualified_names(self) -> bool {
        let leaf_type = self.leaf_type();
        !leaf_type.is_null() && qualified(leaf_type)
    }
    /// Extension instances: (module of the extension, name).
    pub fn extensions(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let exts = self.node().exts;
        // SAFETY: libyang's sized arrays keep their length in the word before the first element.
        let count = if exts.is_null() {
            0
        } else {
            unsafe { *exts.cast::<u64>().sub(1) as usize }
        };
        (0..count).map(move |index| {
            // SAFETY: index is below the length of the array; a compiled instance has its definition and module.
            let def = unsafe { &*(*exts.add(index)).def };
            // SAFETY: as above.
            (text(unsafe { (*def.module).name }), text(def.name))
        })
    }
}

fn qualified(leaf_type: *const ffi::lysc_type) -> bool {
    // SAFETY: the type belongs to the leaked schema, and the base type says which structure it is.
    unsafe {
        let name = text((*leaf_type).name);
        match (*leaf_type).basetype {
            ffi::LY_DATA_TYPE::LY_TYPE_IDENT | ffi::LY_DATA_TYPE::LY_TYPE_INST => true,
            ffi::LY_DATA_TYPE::LY_TYPE_STRING => {
                matches!(
                    name,
                    "xpath1.0" | "node-instance-identifier" | "schema-instance-identifier"
                )
            }
            ffi::LY_DATA_TYPE::LY_TYPE_LEAFREF => {
                qualified((*leaf_type.cast::<ffi::lysc_type_leafref>()).realtype)
            }
            ffi::LY_DATA_TYPE::LY_TYPE_UNION => {
                let types = (*leaf_type.cast::<ffi::lysc_type_union>()).types;
                let count = if types.is_null() {
                    0
                } else {
                    *types.cast::<u64>().sub(1) as usize
                };
                (0..count).any(|index| qualified(*types.add(index)))
            }
            _ => false,
        }
    }
}
