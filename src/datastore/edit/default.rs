//! The attribute `default` of RFC 6243, section 6, by which a manager hands back what `report-all-tagged` gave it: the
//! value is that of the schema, and none is to be set.

use crate::model::error::{ErrorTag, RpcError};
use crate::model::tree::{NodeKind, SchemaNode};
use crate::model::xml::Element;

/// The namespace of the attribute.
pub(super) const NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:default:1.0";
/// Its name.
pub(super) const NAME: &str = "default";

/// Whether an element is tagged as a default.
///
/// # Errors
/// `bad-attribute` for what is no boolean, `unknown-attribute` on what can have no default.
pub(super) fn is_tagged(schema: SchemaNode, element: &Element) -> Result<bool, RpcError> {
    let refused = |tag, words: String| {
        let error = RpcError::application(tag, words);
        let error = error.info("bad-attribute", NAME);
        Err(error.info("bad-element", &element.name))
    };
    let Some(word) = element.attribute(Some(NAMESPACE), NAME) else {
        return Ok(false);
    };
    if schema.is_key() || !matches!(schema.kind(), NodeKind::Leaf | NodeKind::LeafList) {
        let words = format!("{} has no default value", element.name);
        return refused(ErrorTag::UnknownAttribute, words);
    }
    match word.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => refused(
            ErrorTag::BadAttribute,
            format!("{word:?} is no boolean value"),
        ),
    }
}
