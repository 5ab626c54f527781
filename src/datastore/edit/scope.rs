//! Which part of a configuration an edit can change.

use super::{EditOptions, Operation, value};
use crate::model::error::NETCONF_NAMESPACE;
use crate::model::schema::Schema;
use crate::model::tree::{Level, NodeKind, SchemaNode, Scope};
use crate::model::xml::Element;

/// The part that [`super::apply`] looks at and changes with the same arguments. What is wrong with the edit is not
/// told here: it is left out.
pub fn scope(schema: Schema, config: &[Element], options: EditOptions) -> Scope {
    if options.default == Operation::Replace {
        return Scope::everything();
    }
    let mut scope = Scope::default();
    let mut named = Named {
        schema,
        ordered: Vec::new(),
    };
    for element in config {
        if let Some(top) = named.resolve(None, element) {
            named.element(&mut scope.top, None, top, element);
        }
    }
    for list in named.ordered {
        scope.take_list(list);
    }
    scope
}

struct Named {
    schema: Schema,
    /// Lists that the user orders: where an entry stands depends on all others.
    ordered: Vec<SchemaNode>,
}

impl Named {
    fn resolve(&self, parent: Option<SchemaNode>, element: &Element) -> Option<SchemaNode> {
        let module = self.schema.module_of(&element.namespace)?;
        match parent {
            Some(parent) => parent.child(module, &element.name),
            None => self.schema.top(module, &element.name),
        }
    }

    /// `level`: what is named of the node that the element is in.
    fn element(
        &mut self,
        level: &mut Level,
        parent: Option<SchemaNode>,
        schema: SchemaNode,
        element: &Element,
    ) {
        self.other_cases(level, parent, schema);
        let below = match schema.kind() {
            NodeKind::Container => level.container(schema),
            NodeKind::List if schema.is_user_ordered() => {
                self.ordered.push(schema);
                return;
            }
            NodeKind::List => {
                let keys = schema.keys().map(|key| self.key(key, element));
                let entry = keys.collect::<Option<Vec<_>>>();
                match entry.and_then(|keys| level.entry(schema, &keys)) {
                    Some(entry) => entry,
                    None => return,
                }
            }
            _ => return,
        };
        // Whatever is not merged into goes, with everything in it.
        let operation = element.attribute(Some(NETCONF_NAMESPACE), "operation");
        if matches!(operation, Some("replace" | "delete" | "remove")) {
            below.take_all();
            return;
        }
        for child in &element.children {
            if let Some(found) = self.resolve(Some(schema), child) {
                self.element(below, Some(schema), found, child);
            }
        }
    }

    /// Creating a node takes the nodes of other cases of its choice away.
    fn other_cases(&self, level: &mut Level, parent: Option<SchemaNode>, schema: SchemaNode) {
        let siblings: Vec<_> = match parent {
            Some(parent) => parent.children().collect(),
            None => self.schema.roots(schema.module()).collect(),
        };
        for sibling in siblings.into_iter().filter(|node| schema.excludes(*node)) {
            match sibling.kind() {
                NodeKind::Container => level.container(sibling).take_all(),
                NodeKind::List => level.take_list(sibling),
                _ => {}
            }
        }
    }

    fn key(&self, key: SchemaNode, element: &Element) -> Option<String> {
        let mut children = element.children.iter();
        let child = children.find(|c| c.name == key.name() && c.namespace == key.namespace())?;
        value::read(self.schema, key, child).ok()
    }
}
