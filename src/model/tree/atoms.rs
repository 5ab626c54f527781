//! What an expression of the schema may look at: a must, a when, the path of a leafref.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::CStr;

use yang5::ffi;

use super::SchemaNode;

/// What one expression looks at, found out without data.
pub(super) struct Expression {
    /// How many steps it may climb from its context node; `None` if it may go anywhere.
    climbs: Option<usize>,
    /// Data nodes above its context node.
    depth: usize,
    /// `None` where it is not known.
    text: Option<String>,
    /// Every schema node that it passes or reads; `None` if nobody can tell.
    pub(super) atoms: Option<Vec<SchemaNode>>,
}

/// An array of libyang without elements: its length stands before it.
static NO_PREFIXES: [u64; 1] = [0];

impl Expression {
    /// Looks at an expression of `node` that is evaluated from `context` (`None`: the document's root).
    pub(super) fn read(
        node: SchemaNode,
        context: Option<SchemaNode>,
        expression: *const ffi::lyxp_expr,
        prefixes: *const ffi::lysc_prefix,
    ) -> Self {
        // SAFETY: an expression of the leaked schema; its text lives as long.
        let text = unsafe { CStr::from_ptr(ffi::lyxp_get_expr(expression)) }.to_string_lossy();
        Self {
            climbs: context.and_then(|_| climbs(&text)),
            depth: context.map_or(0, SchemaNode::depth),
            atoms: atoms(node, context, expression, prefixes),
            text: Some(text.into_owned()),
        }
    }

    /// One that may look at anything.
    pub(super) fn anything() -> Self {
        Self {
            climbs: None,
            depth: 0,
            atoms: None,
            text: None,
        }
    }

    /// Whether it picks among nodes.
    pub(super) fn has_predicates(&self) -> bool {
        self.text.as_ref().is_none_or(|text| text.contains('['))
    }

    /// Whether it may come to other entries of a list than the one that its context node is in: once out of that, a
    /// step has to name the list, or whatever there is.
    pub(super) fn enters(&self, list: SchemaNode) -> bool {
        let any_name = ["*", "//", "::", "deref"];
        self.leaves(list)
            && self.text.as_ref().is_none_or(|text| {
                text.contains(list.name()) || any_name.iter().any(|any| text.contains(any))
            })
    }

    /// Whether it may look out of the entry of a list that its context node is in (or is, or would be).
    pub(super) fn leaves(&self, list: SchemaNode) -> bool {
        self.climbs
            .is_none_or(|climbs| self.depth < list.depth() + climbs)
    }
}

fn atoms(
    node: SchemaNode,
    context: Option<SchemaNode>,
    expression: *const ffi::lyxp_expr,
    prefixes: *const ffi::lysc_prefix,
) -> Option<Vec<SchemaNode>> {
    let context = context.map_or(std::ptr::null(), SchemaNode::raw);
    let mut set = std::ptr::null_mut();
    // SAFETY: all belong to the leaked schema; libyang takes no null for the prefixes of an expression without names,
    // but an array whose length, before its first element, is zero. The set is freed below.
    unsafe {
        let prefixes = match prefixes.is_null() {
            true => NO_PREFIXES.as_ptr().add(1).cast(),
            false => prefixes,
        };
        let code = ffi::lys_find_expr_atoms(
            context,
            node.module_raw(),
            expression,
            prefixes,
            0,
            &mut set,
        );
        super::failure::forget(node);
        if code != ffi::LY_ERR::LY_SUCCESS || set.is_null() {
            return None;
        }
        let nodes = (0..(*set).count as usize)
            .filter_map(|index| SchemaNode::from_raw(*(*set).__bindgen_anon_1.snodes.add(index)))
            .collect();
        ffi::ly_set_free(set, None);
        Some(nodes)
    }
}

/// How many steps up an expression can go at most, counted over all of its text; `None` where it may leave the line
/// of its context node altogether: an absolute path, an axis by name, a node that a value refers to.
fn climbs(text: &str) -> Option<usize> {
    if text.contains("::") || text.contains("deref") || has_absolute_path(text) {
        return None;
    }
    Some(text.matches("..").count())
}

/// Whether a `/` stands where no step is before it. In doubt it does.
fn has_absolute_path(text: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.match_indices('/').any(|(at, _)| {
        let before = &text[..at];
        let word = before.rsplit(|c| !is_name(c)).next().unwrap_or_default();
        match before.chars().next_back() {
            // The second half of `//`: what counts is the first.
            Some('/' | ')' | ']') => false,
            Some(c) if is_name(c) => matches!(word, "and" | "or" | "div" | "mod"),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_climbs_as_often_as_it_says() {
        assert_eq!(climbs(". mod 2 = 0"), Some(0));
        assert_eq!(climbs("not(../minimum) or . >= ../minimum"), Some(2));
        assert_eq!(climbs("../../m:name"), Some(2));
        assert_eq!(climbs("current()/../a[b = 'x']//c"), Some(1));
    }

    #[test]
    fn what_may_go_anywhere_is_known_as_such() {
        for text in [
            "/m:a/m:b",
            "a and/b",
            "count( /m:a) > 1",
            "//a",
            "a = //b",
            "a[b = /m:c]",
            "preceding-sibling::a",
            "deref(.)/../a",
        ] {
            assert_eq!(climbs(text), None, "{text}");
        }
    }
}
