//! XPath expressions of managers, evaluated from the root of a tree (RFC 6241, section 8.9).
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::collections::HashSet;

use yang5::ffi;

use super::{Node, SchemaNode, Tree, c_string, failure, raw_context};
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;

/// An expression in which prefixes are module names; a name without one is of the module of its parent, at the top of
/// any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    roots: Vec<SchemaNode>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// `invalid-value` with what is wrong with it.
    pub fn parse(schema: Schema, text: &str) -> Result<Self, RpcError> {
        let expression = c_string(text)?;
        let mut set = std::ptr::null_mut();
        failure::clear(schema);
        // SAFETY: a NUL-terminated text; on success and on failure the set, if there is one, is ours to free.
        let roots = unsafe {
            let code = ffi::lys_find_xpath_atoms(
                raw_context(schema),
                std::ptr::null(),
                expression.as_ptr(),
                0,
                &mut set,
            );
            let roots = match code {
                ffi::LY_ERR::LY_SUCCESS if !set.is_null() => Some(roots(&*set)),
                _ => None,
            };
            ffi::ly_set_free(set, None);
            roots
        };
        match roots {
            Some(roots) => {
                failure::clear(schema);
                let text = text.to_owned();
                Ok(Self { text, roots })
            }
            None => Err(refused(&failure::first(schema))),
        }
    }

    /// The expression as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The top-level nodes at or below which an evaluation can look.
    pub fn roots(&self) -> &[SchemaNode] {
        &self.roots
    }

    /// The nodes it selects of a tree, in the order of the tree.
    ///
    /// # Errors
    /// `invalid-value` for a result that is no node set, and for what shows only when it is evaluated.
    pub fn select<'a>(&self, tree: &'a Tree) -> Result<Vec<Node<'a>>, RpcError> {
        let expression = c_string(&self.text)?;
        let (mut kind, mut set) = (0, std::ptr::null_mut());
        let (mut string, mut number, mut boolean) = (std::ptr::null_mut(), 0, 0);
        if tree.root.is_null() {
            return Ok(Vec::new());
        }
        failure::clear(tree.schema);
        // SAFETY: live nodes, a NUL-terminated text; the set and the string are ours to free.
        unsafe {
            let code = ffi::lyd_eval_xpath4(
                std::ptr::null(),
                tree.root,
                std::ptr::null(),
                expression.as_ptr(),
                ffi::LY_VALUE_FORMAT::LY_VALUE_JSON,
                std::ptr::null_mut(),
                std::ptr::null(),
                &mut kind,
                &mut set,
                &mut string,
                &mut number,
                &mut boolean,
            );
            let nodes = match set.is_null() {
                true => None,
                false => Some(nodes(&*set)),
            };
            ffi::ly_set_free(set, None);
            ffi::free(string.cast());
            if code != ffi::LY_ERR::LY_SUCCESS {
                return Err(refused(&failure::first(tree.schema)));
            }
            nodes.ok_or_else(|| {
                let words = "the XPath expression selects no nodes: its result is a value";
                RpcError::protocol(ErrorTag::InvalidValue, words)
            })
        }
    }
}

fn refused(error: &RpcError) -> RpcError {
    let words = format!("the XPath expression is refused: {}", error.message);
    RpcError::protocol(ErrorTag::InvalidValue, words)
}

/// # Safety
/// The members are live data nodes.
unsafe fn nodes<'a>(set: &ffi::ly_set) -> Vec<Node<'a>> {
    let all = 0..set.count as usize;
    // SAFETY: the set has `count` members; as the caller promises.
    all.filter_map(|at| Node::from_raw(unsafe { *set.__bindgen_anon_1.dnodes.add(at) }))
        .collect()
}

/// The top-level nodes above the members, each once.
///
/// # Safety
/// The members are schema nodes.
unsafe fn roots(set: &ffi::ly_set) -> Vec<SchemaNode> {
    let mut seen = HashSet::new();
    let mut roots = Vec::new();
    for at in 0..set.count as usize {
        // SAFETY: the set has `count` members; as the caller promises.
        let node = SchemaNode::from_raw(unsafe { *set.__bindgen_anon_1.snodes.add(at) }.cast());
        let top = std::iter::successors(node, |node| node.parent()).last();
        roots.extend(top.filter(|top| seen.insert(*top)));
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><server><domain>a.example</domain><port>8443</port></server></cloud-management>
        <system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><hostname>edge</hostname></system>"#;

    fn selected(xpath: &str) -> Result<Vec<String>, RpcError> {
        let schema = Schema::load(&[]).unwrap();
        let tree = Tree::parse_config(schema, DATA).unwrap();
        let nodes = Expression::parse(schema, xpath)?.select(&tree)?;
        Ok(nodes.iter().map(|node| node.path()).collect())
    }

    #[test]
    fn nodes_are_selected_from_the_root() {
        let domain = vec!["/cloud-management:cloud-management/server/domain".to_owned()];
        assert_eq!(
            selected("/cloud-management:cloud-management/server/domain").unwrap(),
            domain
        );
        assert_eq!(
            selected("cloud-management:cloud-management/server/domain").unwrap(),
            domain
        );
        assert_eq!(selected("/cloud-management/server/domain").unwrap(), domain);
        assert_eq!(selected("//domain").unwrap(), domain);
        let both = selected("/ietf-system:system/hostname | //domain").unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(
            selected("/*[count(/ietf-system:system) = 2]")
                .unwrap()
                .len(),
            0
        );
        assert!(selected("/ietf-system:system/contact").unwrap().is_empty());
    }

    #[test]
    fn an_expression_tells_where_it_looks() {
        let schema = Schema::load(&[]).unwrap();
        let roots = |xpath: &str| -> Vec<_> {
            let expression = Expression::parse(schema, xpath).unwrap();
            expression.roots().iter().map(|root| root.name()).collect()
        };
        assert_eq!(roots("/ietf-system:system/hostname"), ["system"]);
        let both = roots(
            "/ietf-system:system[hostname = /cloud-management:cloud-management/server/domain]",
        );
        assert_eq!(both.len(), 2);
        assert!(roots("//hostname").contains(&"system"));
        assert!(roots("/*").len() > 5);
        assert!(roots("/ietf-system:nothing").is_empty());
        assert_eq!(roots("/cloud-management/server"), ["cloud-management"]);
    }

    #[test]
    fn what_is_no_expression_or_no_node_set_is_refused() {
        for wrong in [
            "",
            "///",
            "/a[",
            "unknown-function()",
            "/nowhere:a",
            "$x",
            "count(/*)",
            "1 = 1",
            "'text'",
        ] {
            let error = selected(wrong).unwrap_err();
            assert_eq!(error.tag, ErrorTag::InvalidValue, "{wrong}");
            assert!(!error.message.contains('\n'), "{}", error.message);
        }
    }
}
