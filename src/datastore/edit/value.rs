//! The value an element gives a leaf, in the form the tree takes: prefixes are module names.

use std::fmt::Write as _;

use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::SchemaNode;
use crate::model::xml::{Element, Scope};

/// The typedef of ietf-yang-types whose values are expressions, in which every name bears its module.
const XPATH: &str = "xpath1.0";

/// The value of a leaf or leaf-list element.
///
/// # Errors
/// Elements inside it.
pub(super) fn read(
    schema: Schema,
    leaf: SchemaNode,
    element: &Element,
) -> Result<String, RpcError> {
    if let Some(child) = element.children.first() {
        let words = format!(
            "{} is a value and holds no element {}",
            element.name, child.name
        );
        return Err(
            RpcError::application(ErrorTag::UnknownElement, words).info("bad-element", &child.name)
        );
    }
    // White space counts in strings alone; around any other value it is layout.
    let text = if leaf.is_string() {
        element.text.as_str()
    } else {
        element.text.trim()
    };
    Ok(match leaf.has_qualified_names() {
        true if leaf.typedef() == XPATH => qualify(schema, text, &element.scope),
        true => inherit(&qualify(schema, text, &element.scope)),
        false => text.to_owned(),
    })
}

/// # Errors
/// Text other than white space in a container or list entry.
pub(super) fn no_text(element: &Element) -> Result<(), RpcError> {
    if element.text.trim().is_empty() {
        return Ok(());
    }
    let words = format!("{} holds elements, not text", element.name);
    Err(RpcError::application(ErrorTag::BadElement, words).info("bad-element", &element.name))
}

/// Replaces each prefix that the document declares by the name of its module (RFC 7951, section 6.8 and 6.11).
pub(super) fn qualify(schema: Schema, text: &str, scope: &Scope) -> String {
    let trimmed = text.trim();
    let is_name = !trimmed.is_empty() && trimmed.chars().all(is_name_char);
    if is_name {
        // An identity without prefix is one of the default namespace.
        let module = scope
            .get("")
            .and_then(|namespace| schema.module_of(namespace));
        return module.map_or_else(
            || trimmed.to_owned(),
            |module| format!("{module}:{trimmed}"),
        );
    }
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    let mut rest = trimmed;
    while let Some(c) = rest.chars().next() {
        let name = match quote {
            None => rest
                .find(|c| !is_name_char(c))
                .map_or(rest, |end| &rest[..end]),
            Some(_) => "",
        };
        if name.is_empty() {
            quote = match quote {
                Some(open) if open == c => None,
                None if c == '\'' || c == '"' => Some(c),
                other => other,
            };
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        rest = &rest[name.len()..];
        let prefix = rest.starts_with(':') && !rest.starts_with("::");
        let module = if prefix {
            scope
                .get(name)
                .and_then(|namespace| schema.module_of(namespace))
        } else {
            None
        };
        out.push_str(module.unwrap_or(name));
    }
    out
}

/// Leaves a module name out where it is that of the node before: in XML each name of an instance-identifier has its
/// prefix (RFC 7950, section 9.13.2), in the form of the tree a name has one only where the module changes (RFC 7951,
/// section 6.11).
pub(super) fn inherit(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut out = String::with_capacity(path.len());
    let (mut module, mut quote, mut rest) = ("", None, path);
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        match after.strip_prefix(':') {
            Some(local) if quote.is_none() && !name.is_empty() => {
                if name != module {
                    out.push_str(name);
                    out.push(':');
                    module = name;
                }
                rest = local;
            }
            _ if quote.is_none() && !name.is_empty() => {
                out.push_str(name);
                rest = after;
            }
            _ => {
                quote = match quote {
                    Some(open) if open == c => None,
                    None if matches!(c, '\'' | '"') => Some(c),
                    other => other,
                };
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// What is inside an element, as XML of its own (for anydata and anyxml).
pub(super) fn inner_xml(element: &Element) -> String {
    let mut out = String::new();
    if element.children.is_empty() {
        out.push_str(&quick_xml::escape::escape(element.text.as_str()));
    }
    for child in &element.children {
        write_element(child, &mut out);
    }
    out
}

/// Declares the namespace on each element: longer than needed, but right for any nesting of prefixes.
fn write_element(element: &Element, out: &mut String) {
    let escape = |text: &str| quick_xml::escape::escape(text).into_owned();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<{} xmlns=\"{}\"",
        element.name,
        escape(&element.namespace)
    );
    let in_force = element.scope.in_force();
    for (prefix, namespace) in in_force.iter().filter(|(prefix, _)| !prefix.is_empty()) {
        let _ = write!(out, " xmlns:{prefix}=\"{}\"", escape(namespace));
    }
    for attribute in &element.attributes {
        let bound = in_force.iter().find(|(prefix, namespace)| {
            !prefix.is_empty() && Some(**namespace) == attribute.namespace.as_deref()
        });
        let prefix = bound
            .map(|(prefix, _)| format!("{prefix}:"))
            .unwrap_or_default();
        let _ = write!(
            out,
            " {prefix}{}=\"{}\"",
            attribute.name,
            escape(&attribute.value)
        );
    }
    out.push('>');
    out.push_str(&inner_xml(element));
    let _ = write!(out, "</{}>", element.name);
}
