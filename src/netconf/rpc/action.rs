//! Which action a message is about (RFC 7950, section 7.15.2).

use crate::model::schema::Schema;
use crate::model::tree::{NodeKind, SchemaNode};
use crate::protocol::xml::Element;

/// The path of the action in its module; nothing if there is no such action.
pub(super) fn path(schema: Schema, action: &Element<'_>) -> Option<String> {
    let mut element = action.children().next()?;
    let mut node = schema.top(schema.module_of(element.namespace())?, element.name())?;
    while node.kind() != NodeKind::Action {
        (element, node) = element.children().find_map(|child| {
            let below = below(node, &child)?;
            Some((child, below))
        })?;
    }
    Some(node.path())
}

/// The node of a child, if an action can be it or be within it.
fn below(node: SchemaNode, child: &Element<'_>) -> Option<SchemaNode> {
    let may_be = [NodeKind::Action, NodeKind::Container, NodeKind::List];
    let mut below = node.children();
    below.find(|below| below.name() == child.name() && may_be.contains(&below.kind()))
}
