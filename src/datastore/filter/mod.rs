//! Subtree filters (RFC 6241, section 6): which part of the data a manager asks for.
//!
//! Two points that the RFC leaves to the server:
//! - the keys of a list entry are part of the output whenever anything of the entry is (section 6.2.5 allows it);
//! - an element without a namespace, and one that merely stands in the namespace of the message around it, matches
//!   any namespace: there are no data in the namespaces of these operations, so it can mean nothing else.

mod by_name;
mod value;
mod walk;

use std::sync::{Arc, Mutex};

pub use walk::View;
pub(super) use walk::{Extent, Known, Selected, Set};

use crate::model::error::{ErrorTag, NETCONF_NAMESPACE, NMDA_NAMESPACE, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::SchemaNode;
use crate::model::xml::{self, Element, Scope};

/// Elements of one filter, at the most: each may have to be compared with every entry of a list.
const MOST_ELEMENTS: usize = 4096;

/// A subtree filter. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    criteria: Arc<Vec<Criterion>>,
}

/// One element of a filter.
#[derive(Debug, PartialEq)]
pub(super) struct Criterion {
    /// None matches any.
    namespace: Option<String>,
    name: String,
    /// Data of YANG have no attributes, so a criterion that asks for one is never met (section 6.2.2).
    has_attributes: bool,
    kind: Kind,
}

/// What an element of a filter is there for.
#[derive(Debug, PartialEq)]
enum Kind {
    /// An empty element: all of that subtree (section 6.2.4).
    Selection,
    /// Elements inside (section 6.2.3).
    Containment(Arc<Vec<Criterion>>),
    /// Text: the siblings, if the value is this (section 6.2.5).
    Content(Content),
}

#[derive(Debug)]
struct Content {
    text: String,
    scope: Scope,
    /// The canonical form for the leaf it was last compared with; mostly there is only one.
    canonical: Mutex<Option<(SchemaNode, String)>>,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.scope == other.scope
    }
}

impl Filter {
    /// The filter of the elements inside `<filter>`.
    ///
    /// # Errors
    /// `too-big` for more than 4096 elements.
    pub fn new(elements: &[Element]) -> Result<Self, RpcError> {
        let mut left = MOST_ELEMENTS;
        let criteria = Arc::new(criteria(elements, &mut left)?);
        Ok(Self { criteria })
    }

    /// The filter of the XML inside `<filter>`; `scope` holds the prefixes declared around it.
    ///
    /// # Errors
    /// XML that is not well-formed; else as [`Filter::new`].
    pub fn parse(xml: &str, scope: &Scope) -> Result<Self, RpcError> {
        Self::new(&xml::parse_at_most(MOST_ELEMENTS, xml, scope)?)
    }

    /// The top-level nodes at or below which anything could be selected, so that state nobody asks for need not be
    /// gathered.
    pub fn roots(&self, schema: Schema) -> Vec<SchemaNode> {
        walk::roots(schema, &self.criteria)
    }

    /// Whether anything at or below a path could be selected; the steps are namespace and name, from the top. So
    /// that state nobody asks for need not be gathered.
    pub fn reaches(&self, path: &[(&str, &str)]) -> bool {
        let mut level: Vec<&Criterion> = self.criteria.iter().collect();
        for (namespace, name) in path {
            let met = level
                .into_iter()
                .filter(|criterion| criterion.may_be(namespace, name));
            let mut below = Vec::new();
            for criterion in met {
                match &criterion.kind {
                    Kind::Selection => return true,
                    Kind::Containment(inside) if selects_all(inside.iter()) => return true,
                    Kind::Containment(inside) => below.extend(inside.iter()),
                    // A value; there is nothing below it, but it may be the end of the path.
                    Kind::Content(_) => below.push(criterion),
                }
            }
            if below.is_empty() {
                return false;
            }
            level = below;
        }
        true
    }
}

impl Criterion {
    /// Whether it is about a node of that name, as far as the name tells.
    fn may_be(&self, namespace: &str, name: &str) -> bool {
        self.name == name
            && !self.has_attributes
            && self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    fn is_about(&self, schema: SchemaNode) -> bool {
        self.may_be(schema.namespace(), schema.name())
    }

    fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::Content(content) => Some(content),
            _ => None,
        }
    }
}

/// Whether nothing but content is asked for in a sibling set, which then selects all siblings (section 6.2.5).
fn selects_all<'a>(mut siblings: impl Iterator<Item = &'a Criterion>) -> bool {
    siblings.all(|criterion| criterion.content().is_some())
}

fn criteria(elements: &[Element], left: &mut usize) -> Result<Vec<Criterion>, RpcError> {
    *left = left.checked_sub(elements.len()).ok_or_else(|| {
        let message = format!("a filter has at most {MOST_ELEMENTS} elements");
        RpcError::protocol(ErrorTag::TooBig, message)
    })?;
    elements
        .iter()
        .map(|element| criterion(element, left))
        .collect()
}

fn criterion(element: &Element, left: &mut usize) -> Result<Criterion, RpcError> {
    let text = element.text.trim_matches([' ', '\t', '\r', '\n']);
    let kind = match (element.children.is_empty(), text.is_empty()) {
        (false, _) => Kind::Containment(Arc::new(criteria(&element.children, left)?)),
        (true, true) => Kind::Selection,
        (true, false) => Kind::Content(Content {
            text: text.to_owned(),
            scope: Scope::clone(&element.scope),
            canonical: Mutex::new(None),
        }),
    };
    let any = matches!(
        element.namespace.as_str(),
        "" | NETCONF_NAMESPACE | NMDA_NAMESPACE
    );
    Ok(Criterion {
        namespace: (!any).then(|| element.namespace.clone()),
        name: element.name.clone(),
        has_attributes: !element.attributes.is_empty(),
        kind,
    })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
