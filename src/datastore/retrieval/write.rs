//! Writing nodes as XML.

use quick_xml::escape::partial_escape;

use super::{Origin, WithDefaults};
use crate::model::tree::{Node, NodeKind};

/// RFC 6243, section 6: the attribute of a value that is a default.
const DEFAULT_ATTRIBUTE: &str =
    " xmlns:wd=\"urn:ietf:params:xml:ns:netconf:default:1.0\" wd:default=\"true\"";
/// RFC 7952 and RFC 8342, section 7: the annotation `origin`.
const ORIGIN_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-origin";

/// Elements that are open.
#[derive(Debug, Default)]
pub(super) struct Writer {
    open: Vec<Open>,
    /// Whether the innermost start tag still lacks its `>`.
    is_in_tag: bool,
}

#[derive(Debug)]
struct Open {
    name: &'static str,
    namespace: &'static str,
}

impl Writer {
    /// The start tag of an inner node, and the keys of a list entry.
    pub(super) fn start(&mut self, out: &mut String, node: Node<'_>, origin: Option<Origin>) {
        self.finish_tag(out);
        self.name(out, node);
        write_origin(out, origin);
        self.is_in_tag = true;
        self.open.push(Open {
            name: node.name(),
            namespace: node.namespace(),
        });
        if node.kind() == NodeKind::List {
            let keys = node.children().take_while(Node::is_key);
            keys.for_each(|key| self.value(out, key, None, WithDefaults::Explicit));
        }
    }

    /// The end tag of the innermost element.
    pub(super) fn end(&mut self, out: &mut String) {
        let Some(open) = self.open.pop() else { return };
        if self.is_in_tag {
            out.push_str("/>");
            self.is_in_tag = false;
            return;
        }
        out.push_str("</");
        out.push_str(open.name);
        out.push('>');
    }

    /// A leaf or leaf-list entry, an anydata or anyxml node.
    pub(super) fn value(
        &mut self,
        out: &mut String,
        node: Node<'_>,
        origin: Option<Origin>,
        with_defaults: WithDefaults,
    ) {
        self.finish_tag(out);
        // What somebody set is no default in the basic mode of this server (RFC 6243, section 2.3).
        let is_tagged = with_defaults == WithDefaults::ReportAllTagged && node.is_default();
        let tag = if is_tagged { DEFAULT_ATTRIBUTE } else { "" };
        // Such values need declarations of their own, and libyang knows which.
        if node.kind() == NodeKind::Any || node.schema().has_qualified_names() {
            let xml = node.xml();
            let after_name = 1 + node.name().len();
            let (start, rest) = xml.split_at_checked(after_name).unwrap_or((&xml, ""));
            out.push_str(start);
            out.push_str(tag);
            write_origin(out, origin);
            out.push_str(rest);
            return;
        }
        self.name(out, node);
        out.push_str(tag);
        write_origin(out, origin);
        match node.text().unwrap_or_default() {
            "" => out.push_str("/>"),
            text => {
                out.push('>');
                write_text(out, text);
                out.push_str("</");
                out.push_str(node.name());
                out.push('>');
            }
        }
    }

    fn finish_tag(&mut self, out: &mut String) {
        if self.is_in_tag {
            out.push('>');
            self.is_in_tag = false;
        }
    }

    /// `<name`, and its namespace where it is not the one around it.
    fn name(&self, out: &mut String, node: Node<'_>) {
        out.push('<');
        out.push_str(node.name());
        let namespace = node.namespace();
        if self
            .open
            .last()
            .is_none_or(|open| open.namespace != namespace)
        {
            out.push_str(" xmlns=\"");
            out.push_str(&partial_escape(namespace).replace('"', "&quot;"));
            out.push('"');
        }
    }
}

/// A reader turns a carriage return that stands as it is into a line feed (XML 1.0, section 2.11).
fn write_text(out: &mut String, text: &str) {
    for (at, part) in text.split('\r').enumerate() {
        if at > 0 {
            out.push_str("&#13;");
        }
        out.push_str(&partial_escape(part));
    }
}

fn write_origin(out: &mut String, origin: Option<Origin>) {
    let Some(origin) = origin else { return };
    out.push_str(" xmlns:or=\"");
    out.push_str(ORIGIN_NAMESPACE);
    out.push_str("\" or:origin=\"or:");
    out.push_str(origin.as_str());
    out.push('"');
}
