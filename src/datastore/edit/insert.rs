//! The attributes `insert`, `key` and `value` for entries that the user orders (RFC 7950, sections 7.7.9 and 7.8.6).

use crate::model::error::{ErrorTag, RpcError, YANG_NAMESPACE};
use crate::model::schema::Schema;
use crate::model::tree::{NodeKind, Place, SchemaNode};
use crate::model::xml::Element;

use super::value::qualify;

/// Where an entry goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Insert {
    /// Before the anchor, else after it.
    pub(super) before: bool,
    /// The other entry; none for the beginning and the end.
    pub(super) anchor: Option<Place>,
    /// The attribute that named the anchor.
    pub(super) attribute: &'static str,
}

/// Reads the attributes of an element.
///
/// # Errors
/// `bad-attribute` for a wrong word, `missing-attribute` for an anchor that is not named, `unknown-attribute`
/// where the user does not order.
pub(super) fn parse(
    schema: Schema,
    node: SchemaNode,
    element: &Element,
) -> Result<Option<Insert>, RpcError> {
    let get = |name: &str| element.attribute(Some(YANG_NAMESPACE), name);
    let attribute = if node.kind() == NodeKind::List {
        "key"
    } else {
        "value"
    };
    let Some(word) = get("insert") else {
        return Ok(None);
    };
    if !node.is_user_ordered() {
        return Err(error(
            ErrorTag::UnknownAttribute,
            "insert",
            element,
            "its entries are not ordered by the user",
        ));
    }
    let edge = |before| {
        Ok(Some(Insert {
            before,
            anchor: None,
            attribute,
        }))
    };
    let before = match word {
        "first" => return edge(true),
        "last" => return edge(false),
        "before" => true,
        "after" => false,
        _ => {
            return Err(error(
                ErrorTag::BadAttribute,
                "insert",
                element,
                "it is first, last, before or after",
            ));
        }
    };
    let Some(anchor) = get(attribute) else {
        return Err(error(
            ErrorTag::MissingAttribute,
            attribute,
            element,
            "the other entry is not named",
        ));
    };
    let keys = match node.kind() {
        NodeKind::List => keys(node, &qualify(schema, anchor, &element.scope)),
        _ if node.has_qualified_names() => Some(vec![qualify(schema, anchor, &element.scope)]),
        _ if node.is_string() => Some(vec![anchor.to_owned()]),
        _ => Some(vec![anchor.trim().to_owned()]),
    };
    let keys = keys.ok_or_else(|| {
        error(
            ErrorTag::BadAttribute,
            attribute,
            element,
            "it names no entry of the list",
        )
    })?;
    Ok(Some(Insert {
        before,
        anchor: Some(Place { schema: node, keys }),
        attribute,
    }))
}

fn error(tag: ErrorTag, attribute: &str, element: &Element, words: &str) -> RpcError {
    RpcError::application(tag, format!("{}: {words}", element.name))
        .info("bad-attribute", attribute)
        .info("bad-element", &element.name)
}

/// The values of `[key='value']…` in the order of the list's keys.
fn keys(list: SchemaNode, predicates: &str) -> Option<Vec<String>> {
    let mut named = Vec::new();
    let mut rest = predicates.trim();
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('[')?.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (value, after) = after[1..].split_once(quote)?;
        rest = after.trim_start().strip_prefix(']')?.trim_start();
        let name = name.trim();
        named.push((name.rsplit(':').next().unwrap_or(name), value));
    }
    let values = list.keys().map(|key| {
        let found = named.iter().find(|(name, _)| *name == key.name());
        found.map(|(_, value)| (*value).to_owned())
    });
    values
        .collect::<Option<Vec<_>>>()
        .filter(|values| values.len() == named.len())
}
