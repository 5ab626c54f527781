//! Comparing the text of a filter with values: both in their canonical form (RFC 7950, section 9.1).

use std::sync::PoisonError;

use super::Content;
use crate::model::schema::Schema;
use crate::model::tree::SchemaNode;
use crate::model::xml::Scope;

impl Content {
    /// The text as the canonical value of a leaf; the text itself where it is no value of the leaf's type.
    pub(super) fn as_value_of(&self, leaf: SchemaNode, schema: Schema) -> String {
        let mut last = self
            .canonical
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, canonical)) = last.as_ref().filter(|(known, _)| *known == leaf) {
            return canonical.clone();
        }
        let canonical = canonical(&self.text, &self.scope, leaf, schema);
        *last = Some((leaf, canonical.clone()));
        canonical
    }
}

fn canonical(text: &str, scope: &Scope, leaf: SchemaNode, schema: Schema) -> String {
    let named = leaf
        .has_qualified_names()
        .then(|| with_module_names(text, scope, schema));
    let canonical = named.and_then(|named| leaf.canonical(&named));
    canonical
        .or_else(|| leaf.canonical(text))
        .unwrap_or_else(|| text.to_owned())
}

/// A text with XML prefixes, as with module names; like RFC 7951 (section 6.11) it names a module only where it
/// differs from the one before.
fn with_module_names(text: &str, scope: &Scope, schema: Schema) -> String {
    let mut named = String::with_capacity(text.len());
    let mut last = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\'' | '"' => quoted(rest),
            _ if is_name(character) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ => character.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        let local = after.strip_prefix(':').filter(|_| is_name(character));
        let module = local
            .and_then(|_| scope.get(token))
            .and_then(|namespace| schema.module_of(namespace));
        match (module, local) {
            (Some(module), Some(local)) => {
                if last != Some(module) {
                    named.push_str(module);
                    named.push(':');
                }
                last = Some(module);
                rest = local;
            }
            _ => {
                named.push_str(token);
                rest = after;
            }
        }
    }
    named
}

fn quoted(text: &str) -> usize {
    let mut characters = text.char_indices();
    let quote = characters.next().map(|(_, quote)| quote);
    let end = characters.find(|(_, character)| Some(*character) == quote);
    end.map_or(text.len(), |(at, quote)| at + quote.len_utf8())
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.')
}
