//! A difference in the form of an edit: what stands inside the `<config>` of an edit-config (RFC 6241, section 7.2) that
//! makes it again, with default-operation none.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::{CStr, CString};

use yang5::ffi;

use super::{Diff, Node, NodeKind, Op, Tree, failure};
use crate::model::error::RpcError;
use crate::model::schema::Schema;

impl Diff {
    /// What takes it back.
    ///
    /// # Errors
    /// A difference that was not made by [`Tree::diff`].
    pub fn reversed(&self) -> Result<Self, RpcError> {
        let schema = self.0.schema;
        let told = self.0.duplicate();
        for root in told.roots() {
            tell_places(root, Op::None);
        }
        let mut reversed = std::ptr::null_mut();
        failure::clear(schema);
        // SAFETY: our own nodes; the result is a new forest, or null on an error.
        let code = unsafe { ffi::lyd_diff_reverse_all(told.root, &mut reversed) };
        match code {
            // SAFETY: fresh nodes or null.
            ffi::LY_ERR::LY_SUCCESS => Ok(Self(unsafe { Tree::adopt(schema, reversed) })),
            _ => Err(failure::first(schema)),
        }
    }

    /// The elements of the edit that does the same, as far as `view` shows its nodes; empty if it shows none that
    /// changes. What an element says goes for all below it. An entry does not say that it stands behind one that is not
    /// shown.
    pub fn to_edit(&self, view: &mut dyn FnMut(Node<'_>) -> bool) -> String {
        let mut edit = self.0.duplicate();
        let mut marks = Marks {
            schema: self.0.schema,
            said: Vec::new(),
            hidden: Vec::new(),
        };
        for root in edit.roots() {
            marks.visit(root, Above::default(), view);
        }
        for said in marks.said {
            said.write();
        }
        for raw in marks.hidden {
            // SAFETY: disjoint subtrees of the copy; below a node that is hidden nothing was written.
            unsafe { edit.free(raw) };
        }
        edit.to_xml()
    }
}

/// Says of entries that the user orders, and that go with what is above them, that each is the first when it goes: libyang
/// asks for that, and leaves it out itself.
fn tell_places(node: Node<'_>, above: Op) {
    let own = Diff::op_of(node);
    let op = own.unwrap_or(above);
    if own.is_none() && op == Op::Delete && node.schema().is_user_ordered() {
        let place = match node.kind() {
            NodeKind::List => c"yang:orig-key",
            _ => c"yang:orig-value",
        };
        annotate(node.raw(), place, c"");
    }
    let below = if op == Op::Replace { Op::None } else { op };
    node.children().for_each(|child| tell_places(child, below));
}

/// Adds metadata to a node of a tree that nobody else looks at.
fn annotate(node: *mut ffi::lyd_node, name: &CStr, value: &CStr) {
    // SAFETY: as said; libyang copies the texts. It refuses none of the values that differences and edits have.
    unsafe {
        ffi::lyd_new_meta(
            std::ptr::null(),
            node,
            std::ptr::null(),
            name.as_ptr(),
            value.as_ptr(),
            0,
            std::ptr::null_mut(),
        );
    }
}

/// What holds for the children of a node.
#[derive(Clone, Copy)]
struct Above {
    op: Op,
    /// Whether the edit says it at or above the node.
    is_said: bool,
}

impl Default for Above {
    fn default() -> Self {
        Self {
            op: Op::None,
            is_said: false,
        }
    }
}

struct Marks {
    schema: Schema,
    said: Vec<Said>,
    hidden: Vec<*mut ffi::lyd_node>,
}

/// What an element of the edit says of itself.
struct Said {
    node: *mut ffi::lyd_node,
    operation: Option<&'static CStr>,
    /// The attribute that names the entry before it, and that entry; empty for the first.
    behind: Option<(&'static CStr, String)>,
}

impl Marks {
    /// Finds out what the elements at and below a node are to say; false if nothing there is to be shown.
    fn visit(
        &mut self,
        node: Node<'_>,
        above: Above,
        view: &mut dyn FnMut(Node<'_>) -> bool,
    ) -> bool {
        let (said, hidden) = (self.said.len(), self.hidden.len());
        let is_shown = view(node) && self.mark(node, above, view);
        if !is_shown {
            self.said.truncate(said);
            self.hidden.truncate(hidden);
            self.hidden.push(node.raw());
        }
        is_shown
    }

    fn mark(
        &mut self,
        node: Node<'_>,
        above: Above,
        view: &mut dyn FnMut(Node<'_>) -> bool,
    ) -> bool {
        let op = Diff::op_of(node).unwrap_or(above.op);
        let is_said = above.is_said && op == above.op;
        let operation = operation(op, node).filter(|_| !is_said);
        self.said.push(Said {
            node: node.raw(),
            operation,
            behind: behind(op, node)
                .filter(|(_, entry)| entry.is_empty() || is_shown(self.schema, node, entry, view)),
        });
        let below = match op {
            // A moved entry says nothing of what is in it.
            Op::Replace => Above::default(),
            op => Above {
                op,
                is_said: is_said || operation.is_some(),
            },
        };
        let mut is_shown = is_said || operation.is_some();
        for child in node.children().filter(|child| !child.is_key()) {
            is_shown |= self.visit(child, below, view);
        }
        is_shown
    }
}

/// The operation that changes this node; none if it only leads to those that change.
fn operation(op: Op, node: Node<'_>) -> Option<&'static CStr> {
    let is_plain = node.kind() == NodeKind::Container && !node.schema().is_presence();
    match op {
        Op::None => None,
        // A container without presence is there with what is in it.
        Op::Create | Op::Delete if is_plain => None,
        Op::Create => Some(c"create"),
        Op::Delete => Some(c"delete"),
        Op::Replace if matches!(node.kind(), NodeKind::List | NodeKind::LeafList) => Some(c"merge"),
        Op::Replace => Some(c"replace"),
    }
}

/// The place of an entry that the user orders (RFC 7950, sections 7.7.9 and 7.8.6).
fn behind(op: Op, node: Node<'_>) -> Option<(&'static CStr, String)> {
    if !node.schema().is_user_ordered() || !matches!(op, Op::Create | Op::Replace) {
        return None;
    }
    let (name, attribute) = match node.kind() {
        NodeKind::List => ("key", c"yang:key"),
        _ => ("value", c"yang:value"),
    };
    Some((attribute, node.meta(name)?))
}

/// Whether the sibling that `behind` names would be shown, which may be in neither tree of the difference: a node of
/// its own stands for it, with its keys, as access control asks for no more (RFC 8341, section 3.4.5).
fn is_shown(
    schema: Schema,
    node: Node<'_>,
    entry: &str,
    view: &mut dyn FnMut(Node<'_>) -> bool,
) -> bool {
    let above = node.parent().map_or(String::new(), |parent| parent.path());
    let own = node.schema();
    let predicate = match node.kind() {
        NodeKind::List => entry.to_owned(),
        _ if entry.contains('\'') => format!("[.=\"{entry}\"]"),
        _ => format!("[.='{entry}']"),
    };
    let path = format!("{above}/{}:{}{predicate}", own.module(), own.name());
    let mut sibling = Tree::new(schema);
    sibling.set(&path, None).is_ok() && sibling.find(&path).is_some_and(view)
}

impl Said {
    /// Writes it in place of what the difference says of the node.
    fn write(self) {
        // SAFETY: a node of the copy, whose metadata nobody else looks at.
        unsafe {
            ffi::lyd_free_meta_siblings((*self.node).meta);
            (*self.node).meta = std::ptr::null_mut();
        }
        if let Some(operation) = self.operation {
            annotate(self.node, c"ietf-netconf:operation", operation);
        }
        match &self.behind {
            Some((_, entry)) if entry.is_empty() => annotate(self.node, c"yang:insert", c"first"),
            Some((attribute, entry)) => {
                annotate(self.node, c"yang:insert", c"after");
                // A value of YANG has no NUL byte.
                let entry = CString::new(entry.as_str()).unwrap_or_default();
                annotate(self.node, attribute, &entry);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::model::schema::Schema;

    const CM: &str = "xmlns=\"urn:tether:yang:cloud-management\"";

    fn tree(inside: &str) -> Tree {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        let schema = *SCHEMA.get_or_init(|| Schema::load(&[]).unwrap());
        let text = format!("<cloud-management {CM}>{inside}</cloud-management>");
        let mut tree = Tree::parse_config(schema, &text).unwrap();
        tree.validate().unwrap();
        tree
    }

    fn server(name: &str) -> String {
        format!(
            "<backup-server><address-family>ipv4</address-family><domain>{name}</domain></backup-server>"
        )
    }

    /// The edit between two configurations, without namespaces, as a reader sees it who is shown all but `hidden`.
    fn edit(old: &str, new: &str, hidden: &str) -> String {
        let diff = tree(old).diff(&tree(new)).unwrap();
        let text = diff.to_edit(&mut |node| node.name() != hidden);
        text.replace(&format!(" {CM}"), "")
            .replace(" xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\"", "")
            .replace(" xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\"", "")
    }

    #[test]
    fn leaves_are_created_replaced_and_deleted_each_by_its_own_word() {
        assert_eq!(
            edit(
                "<server><domain>a</domain><port>1</port></server>",
                "<server><domain>b</domain></server><keepalive-interval>60</keepalive-interval>",
                "",
            ),
            "<cloud-management><server><domain nc:operation=\"replace\">b</domain>\
             <port nc:operation=\"delete\">1</port></server>\
             <keepalive-interval nc:operation=\"create\">60</keepalive-interval></cloud-management>"
        );
    }

    #[test]
    fn an_entry_says_where_it_stands_and_what_goes_for_all_in_it() {
        let (a, b) = (server("a"), server("b"));
        let told = edit(&a, &format!("{b}{a}"), "");
        assert_eq!(
            told,
            "<cloud-management><backup-server nc:operation=\"create\" yang:insert=\"first\">\
             <address-family>ipv4</address-family><domain>b</domain></backup-server></cloud-management>"
        );
        let moved = edit(&format!("{a}{b}"), &format!("{b}{a}"), "");
        assert!(moved.contains("nc:operation=\"merge\""), "{moved}");
    }

    #[test]
    fn what_a_reader_may_not_see_is_not_there_and_neither_is_what_leads_to_it() {
        let (old, new) = (
            "",
            "<server><domain>a</domain></server><unbinding-code>7</unbinding-code>",
        );
        assert!(!edit(old, new, "unbinding-code").contains("unbinding"));
        assert_eq!(
            edit(old, "<server><domain>a</domain></server>", "domain"),
            ""
        );
    }

    #[test]
    fn a_difference_is_taken_back_by_its_reverse_whatever_it_does() {
        let (a, b, c) = (server("a"), server("b"), server("c"));
        let configurations = [
            String::new(),
            format!("<server><domain>a</domain></server>{a}{b}{c}"),
            format!("<server><port>1</port></server>{c}{a}<keepalive-interval>60</keepalive-interval>"),
            format!("<commit-guard/>{b}{c}{a}"),
            "<commit-guard><timeout>60</timeout></commit-guard><keepalive-interval>180</keepalive-interval>"
                .to_owned(),
        ];
        for old in &configurations {
            for new in &configurations {
                let (old, mut new) = (tree(old), tree(new));
                let diff = old.diff(&new).unwrap();
                let stored = Diff::parse(old.schema(), &diff.to_text()).unwrap();
                new.apply(&stored.reversed().unwrap()).unwrap();
                new.validate().unwrap();
                assert_eq!(new.to_xml(), old.to_xml());
            }
        }
    }

    #[test]
    fn an_entry_does_not_say_that_it_stands_behind_one_that_is_hidden() {
        let old = [server("a"), server("hidden")].concat();
        let new = [server("a"), server("hidden"), server("b"), server("c")].concat();
        let diff = tree(&old).diff(&tree(&new)).unwrap();
        let is_hidden = |node: Node<'_>| {
            node.name() == "backup-server"
                && node.child_value("domain").as_deref() == Some("hidden")
        };
        let text = diff.to_edit(&mut |node| !is_hidden(node));
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("[domain='b']"), "{text}");
        let all = diff.to_edit(&mut |_| true);
        assert!(all.contains("[domain='hidden']"), "{all}");
    }
}
