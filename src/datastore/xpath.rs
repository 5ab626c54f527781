//! XPath filters as managers write them: with the prefixes of the request.

use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::Expression;

/// Characters of an expression, at the most.
const LONGEST: usize = 16 << 10;
/// What a name of a namespace stands for that no module has: XPath finds nothing there.
const NOTHING: &str = "*[false()]";

/// Reads an expression; `namespace` gives the namespace of a prefix (RFC 6241, section 8.9: those in scope on the filter
/// element). A name without prefix has, other than XPath says, the namespace of its parent, and at the top any: data
/// without a namespace do not exist, so it can mean nothing else.
///
/// # Errors
/// `invalid-value` for what is no expression, `too-big` for a very long one.
pub fn parse<'a>(
    schema: Schema,
    text: &str,
    namespace: impl Fn(&str) -> Option<&'a str>,
) -> Result<Expression, RpcError> {
    if text.len() > LONGEST {
        let words = format!("an XPath filter has at most {LONGEST} octets");
        return Err(RpcError::protocol(ErrorTag::TooBig, words));
    }
    Expression::parse(schema, &with_module_names(schema, text, namespace)?)
}

/// Replaces prefixes by the names of modules.
fn with_module_names<'a>(
    schema: Schema,
    text: &str,
    namespace: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, RpcError> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if matches!(first, '\'' | '"') {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            out.push_str(&literal(schema, &rest[..end], &namespace));
            rest = &rest[end..];
            continue;
        }
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(length);
        let Some(local) = after
            .strip_prefix(':')
            .filter(|local| !local.starts_with(':'))
        else {
            out.push_str(name);
            rest = after;
            continue;
        };
        let uri = namespace(name).ok_or_else(|| undeclared(name))?;
        match schema.module_of(uri) {
            Some(module) => {
                out.push_str(module);
                out.push(':');
                rest = local;
            }
            None => {
                out.push_str(NOTHING);
                let is_wildcard = local.starts_with('*');
                let end = local.find(|c| !is_name(c)).unwrap_or(local.len());
                rest = &local[end + usize::from(is_wildcard)..];
            }
        }
    }
    Ok(out)
}

/// A literal that names an identity as the request would (`'ianahw:chassis'`) is compared with values in which the
/// prefix is the name of the module.
fn literal<'a>(schema: Schema, text: &str, namespace: impl Fn(&str) -> Option<&'a str>) -> String {
    let quote = &text[..1];
    let inside = text.trim_matches(['\'', '"']);
    let named = inside.split_once(':').and_then(|(prefix, name)| {
        let module = schema.module_of(namespace(prefix)?)?;
        schema
            .has_identity(module, name)
            .then(|| format!("{quote}{module}:{name}{quote}"))
    });
    named.unwrap_or_else(|| text.to_owned())
}

fn undeclared(prefix: &str) -> RpcError {
    let words = format!("the prefix \"{prefix}\" of the XPath expression is not declared");
    RpcError::protocol(ErrorTag::InvalidValue, words)
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(text: &str) -> String {
        let schema = Schema::load(&[]).unwrap();
        let namespace = |prefix: &str| match prefix {
            "s" => Some("urn:ietf:params:xml:ns:yang:ietf-system"),
            "hw" => Some("urn:ietf:params:xml:ns:yang:ietf-hardware"),
            "i" => Some("urn:ietf:params:xml:ns:yang:iana-hardware"),
            "x" => Some("urn:example:unknown"),
            _ => None,
        };
        with_module_names(schema, text, namespace).unwrap_or_else(|error| error.message)
    }

    #[test]
    fn prefixes_become_module_names() {
        assert_eq!(
            translated("/s:system/s:hostname[. = 's:x']"),
            "/ietf-system:system/ietf-system:hostname[. = 's:x']"
        );
        assert_eq!(
            translated("child::s:system/descendant-or-self::node()/s:*"),
            "child::ietf-system:system/descendant-or-self::node()/ietf-system:*"
        );
        assert_eq!(
            translated("//hw:component[hw:class = \"i:chassis\"]"),
            "//ietf-hardware:component[ietf-hardware:class = \"iana-hardware:chassis\"]"
        );
    }

    #[test]
    fn a_namespace_of_no_module_holds_nothing() {
        assert_eq!(
            translated("/x:a/x:*[x:b]"),
            "/*[false()]/*[false()][*[false()]]"
        );
        assert!(
            parse(Schema::load(&[]).unwrap(), "/x:a", |_| Some(
                "urn:example:unknown"
            ))
            .is_ok()
        );
    }

    #[test]
    fn a_prefix_that_nobody_declared_is_an_error() {
        assert!(translated("/y:a").contains("\"y\""));
    }
}
