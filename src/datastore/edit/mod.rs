//! `<edit-config>` onto a tree (RFC 6241, section 7.2; RFC 7950, sections 7.5.8 to 7.10.3 for each kind of node).

use crate::model::error::{ErrorTag, Errors, NETCONF_NAMESPACE, RpcError, YANG_NAMESPACE};
use crate::model::schema::Schema;
use crate::model::tree::{Cursor, NodeKind, Place, SchemaNode, Tree};
use crate::model::xml::Element;

mod default;
mod insert;
mod once;
mod scope;
mod value;

pub use scope::scope;

#[cfg(test)]
mod tests;

/// Passwords in clear text that one edit may give: each is hashed for milliseconds, while all other sessions wait.
const MOST_HASHED: usize = 64;

/// The `operation` attribute (RFC 6241, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// What is there stays, what is given is added or overwritten.
    Merge,
    /// What is given takes the place of what is there.
    Replace,
    /// As merge, but what is there is an error.
    Create,
    /// What is there goes; nothing there is an error.
    Delete,
    /// What is there goes.
    Remove,
    /// Only leads to others (`default-operation` none).
    None,
}

impl Operation {
    /// The value of the attribute.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "merge" => Some(Self::Merge),
            "replace" => Some(Self::Replace),
            "create" => Some(Self::Create),
            "delete" => Some(Self::Delete),
            "remove" => Some(Self::Remove),
            _ => None,
        }
    }
}

/// Turns a clear-text secret into what is stored; see the secrets of the model.
pub trait Sealer {
    /// `typedef` names the type, `value` is what the edit says, `stored` what is there. `Ok(None)`: no secret type.
    ///
    /// # Errors
    /// A value that is no secret of this device.
    fn seal(
        &mut self,
        typedef: &str,
        value: &str,
        stored: Option<&str>,
    ) -> Result<Option<String>, RpcError>;
}

/// What an edit needs to store secrets.
pub struct Secrets<'a> {
    /// Seals what is new.
    pub sealer: &'a mut dyn Sealer,
    /// Where a secret that is stored already keeps its form.
    pub stored: &'a Tree,
    /// Gets the path of each secret that the edit gives, and of each value and entry that it finds there: whoever
    /// could give one that he may neither see nor write would learn from `<ok/>` that he guessed it.
    pub given: &'a mut Vec<String>,
}

/// What an edit does beside its content.
#[derive(Clone, Copy, Debug)]
pub struct EditOptions {
    /// What an element without an operation of its own or of a parent does: merge, replace or none.
    pub default: Operation,
    /// `continue-on-error`: what can be done is done, and every error is reported.
    pub continue_on_error: bool,
}

/// Applies the elements of `<config>` to a tree. After an error the tree is to be thrown away.
///
/// # Errors
/// The first error; with `continue_on_error` all of them, and the tree then holds what could be done.
pub fn apply(
    tree: &mut Tree,
    config: &[Element],
    options: EditOptions,
    secrets: Secrets<'_>,
) -> Result<(), Errors> {
    let schema = tree.schema();
    let mut edit = Edit {
        schema,
        secrets,
        hashed: 0,
        go_on: options.continue_on_error,
        errors: Errors::new(),
    };
    let default = match options.default {
        // The whole datastore is replaced, and what is given then merges into nothing.
        Operation::Replace => {
            Cursor::top(tree).clear();
            Operation::Merge
        }
        other => other,
    };
    edit.children(&mut Cursor::top(tree), None, config, default);
    match edit.errors.is_empty() {
        true => Ok(()),
        false => Err(edit.errors),
    }
}

struct Edit<'a> {
    schema: Schema,
    secrets: Secrets<'a>,
    /// Passwords in clear text so far.
    hashed: usize,
    go_on: bool,
    errors: Errors,
}

impl Edit<'_> {
    /// Does one element after the other, until one fails or, if so wished, to the end.
    fn children(
        &mut self,
        at: &mut Cursor<'_>,
        parent: Option<SchemaNode>,
        elements: &[Element],
        inherited: Operation,
    ) {
        let mut once = once::Once::default();
        for element in elements {
            if let Err(error) = self.element(at, parent, element, inherited, &mut once) {
                self.errors.push(error);
            }
            if !self.errors.is_empty() && !self.go_on {
                return;
            }
        }
    }

    fn element(
        &mut self,
        at: &mut Cursor<'_>,
        parent: Option<SchemaNode>,
        element: &Element,
        inherited: Operation,
        once: &mut once::Once,
    ) -> Result<(), RpcError> {
        let above = at.node().map(|node| node.path()).unwrap_or_default();
        let schema = self
            .resolve(parent, element)
            .map_err(|error| error.at(or_root(&above)))?;
        let step = step(parent, schema);
        let bare = format!("{above}{step}");
        once.node(schema).map_err(|error| error.at(&bare))?;
        let operation = operation(element, inherited).map_err(|error| error.at(&bare))?;
        once.case(schema, operation)
            .map_err(|error| error.at(&bare))?;
        let insert =
            insert::parse(self.schema, schema, element).map_err(|error| error.at(&bare))?;
        let is_default = default::is_tagged(schema, element).map_err(|error| error.at(&bare))?;
        let place = self
            .place(schema, element)
            .map_err(|error| error.at(&bare))?;
        let path = format!("{bare}{}", predicates(&place));
        let mut work = Work {
            edit: self,
            at,
            element,
            place,
            path,
            is_default,
        };
        work.run(operation, insert)
    }

    /// The schema node of an element, or why there is none.
    fn resolve(
        &self,
        parent: Option<SchemaNode>,
        element: &Element,
    ) -> Result<SchemaNode, RpcError> {
        let module = match self.schema.module_of(&element.namespace) {
            Some(module) if element.namespace != NETCONF_NAMESPACE => module,
            _ => return Err(unknown_namespace(element)),
        };
        let found = match parent {
            Some(parent) => parent.child(module, &element.name),
            None => self.schema.top(module, &element.name),
        };
        let data = |node: &SchemaNode| {
            !matches!(
                node.kind(),
                NodeKind::Rpc | NodeKind::Action | NodeKind::Notification
            )
        };
        let Some(schema) = found.filter(data) else {
            let words = format!(
                "{} has no configuration named {}",
                of(parent, module),
                element.name
            );
            return Err(RpcError::application(ErrorTag::UnknownElement, words)
                .info("bad-element", &element.name));
        };
        if !schema.is_config() {
            let words = format!("{} is state data and cannot be edited", element.name);
            return Err(RpcError::application(ErrorTag::UnknownElement, words)
                .info("bad-element", &element.name));
        }
        Ok(schema)
    }

    /// Which instance an element means: the keys of a list entry, the value of a leaf-list entry.
    fn place(&mut self, schema: SchemaNode, element: &Element) -> Result<Place, RpcError> {
        let mut keys = Vec::new();
        match schema.kind() {
            NodeKind::LeafList => keys.push(value::read(self.schema, schema, element)?),
            NodeKind::List => {
                for key in schema.keys() {
                    let child = element
                        .children
                        .iter()
                        .find(|c| c.name == key.name() && c.namespace == key.namespace());
                    let child = child.ok_or_else(|| {
                        let words =
                            format!("the key {} of {} is missing", key.name(), schema.name());
                        RpcError::application(ErrorTag::MissingElement, words)
                            .info("bad-element", key.name())
                    })?;
                    keys.push(value::read(self.schema, key, child)?);
                }
            }
            _ => {}
        }
        Ok(Place { schema, keys })
    }
}

/// One element at its place.
struct Work<'w, 'e, 'c> {
    edit: &'w mut Edit<'e>,
    at: &'w mut Cursor<'c>,
    element: &'w Element,
    place: Place,
    path: String,
    /// Tagged: the value is the default, and none is to be set.
    is_default: bool,
}

impl Work<'_, '_, '_> {
    fn run(
        &mut self,
        operation: Operation,
        insert: Option<insert::Insert>,
    ) -> Result<(), RpcError> {
        if self.place.schema.is_key() {
            return self.key(operation);
        }
        // A default that nobody set does not exist, as far as operations go (RFC 6243, section 2.3: explicit mode).
        let found = match self.at.find(&self.place) {
            Err(error) => return Err(error.at(self.wrong_value())),
            Ok(found) => found,
        };
        let exists = match found {
            Some(found) => !found.node().is_some_and(|node| node.is_default()),
            None => false,
        };
        match operation {
            Operation::Delete if !exists => {
                Err(self.error(ErrorTag::DataMissing, "there is nothing to delete"))
            }
            Operation::Delete | Operation::Remove => self.remove(),
            Operation::Create if exists => {
                Err(self.error(ErrorTag::DataExists, "it exists already"))
            }
            Operation::None if !exists && !self.is_np_container() => Err(self.error(
                ErrorTag::DataMissing,
                "it does not exist, and the default operation is none",
            )),
            _ => {
                if exists && self.ends_here() {
                    self.edit.secrets.given.push(self.path.clone());
                }
                self.write(operation)?;
                if self.is_default && operation != Operation::None {
                    return self.unset();
                }
                match insert {
                    Some(insert) => self.insert(&insert),
                    None => Ok(()),
                }
            }
        }
    }

    /// The path of the key that its type does not take.
    fn wrong_value(&self) -> String {
        match (self.place.schema.kind(), self.place.wrong_key()) {
            (NodeKind::List, Some((key, _))) => format!("{}/{}", self.path, key.name()),
            _ => self.path.clone(),
        }
    }

    /// A key identifies its entry: it can neither go nor change.
    fn key(&self, operation: Operation) -> Result<(), RpcError> {
        match operation {
            Operation::Delete | Operation::Remove => {
                let error = self.error(
                    ErrorTag::BadElement,
                    "a key cannot be deleted; delete the list entry",
                );
                Err(error.info("bad-element", self.place.schema.name()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the element gives a value or an entry, and does not merely lead to what is below.
    fn ends_here(&self) -> bool {
        match self.place.schema.kind() {
            NodeKind::Leaf | NodeKind::LeafList => true,
            NodeKind::List => self.element.children.len() == self.place.keys.len(),
            _ => false,
        }
    }

    fn is_np_container(&self) -> bool {
        let schema = self.place.schema;
        schema.kind() == NodeKind::Container && !schema.is_presence()
    }

    fn error(&self, tag: ErrorTag, words: &str) -> RpcError {
        RpcError::application(tag, format!("{}: {words}", self.place.schema.name())).at(&self.path)
    }

    fn remove(&mut self) -> Result<(), RpcError> {
        if let Some(found) = self.at.find(&self.place)? {
            found.remove();
        }
        Ok(())
    }

    /// Everything that leaves a node behind: merge, replace, create, none.
    fn write(&mut self, operation: Operation) -> Result<(), RpcError> {
        match self.place.schema.kind() {
            NodeKind::Leaf if operation == Operation::None => Ok(()),
            NodeKind::Leaf => self.leaf(),
            NodeKind::Any => self.any(),
            NodeKind::LeafList => {
                if self.at.find(&self.place)?.is_none() {
                    self.at
                        .create(&self.place, None)
                        .map_err(|error| error.at(&self.path))?;
                }
                Ok(())
            }
            _ => self.inner(operation),
        }
    }

    /// Takes back a value that is the default.
    fn unset(&mut self) -> Result<(), RpcError> {
        match self.at.find(&self.place)? {
            Some(found) if found.node().is_some_and(|node| node.has_default_value()) => {
                found.remove();
                Ok(())
            }
            _ => Err(self.error(
                ErrorTag::InvalidValue,
                "it is tagged as a default and has another value",
            )),
        }
    }

    fn leaf(&mut self) -> Result<(), RpcError> {
        let schema = self.place.schema;
        let value = value::read(self.edit.schema, schema, self.element)
            .map_err(|error| error.at(&self.path))?;
        if schema.typedef() == "crypt-hash" && value.starts_with("$0$") {
            self.edit.hashed += 1;
            if self.edit.hashed > MOST_HASHED {
                let words = format!("an edit gives at most {MOST_HASHED} passwords in clear text");
                return Err(RpcError::application(ErrorTag::TooBig, words).at(&self.path));
            }
        }
        let stored = self.edit.secrets.stored.value(&self.path);
        let sealed = self
            .edit
            .secrets
            .sealer
            .seal(schema.typedef(), &value, stored.as_deref());
        let value = match sealed.map_err(|error| error.at(&self.path))? {
            Some(sealed) => {
                self.edit.secrets.given.push(self.path.clone());
                sealed
            }
            None => value,
        };
        let done = match self.at.find(&self.place)? {
            Some(mut leaf) => leaf.set(&value),
            None => self.at.create(&self.place, Some(&value)).map(|_| ()),
        };
        done.map_err(|error| error.at(&self.path))
    }

    fn any(&mut self) -> Result<(), RpcError> {
        if self.place.schema.is_anydata() {
            value::no_text(self.element).map_err(|error| error.at(&self.path))?;
        }
        let xml = value::inner_xml(self.element);
        self.remove()?;
        self.at
            .create(&self.place, Some(&xml))
            .map(|_| ())
            .map_err(|error| error.at(&self.path))
    }

    fn inner(&mut self, operation: Operation) -> Result<(), RpcError> {
        value::no_text(self.element).map_err(|error| error.at(&self.path))?;
        let path = &self.path;
        if self.at.find(&self.place)?.is_none()
            && let Err(error) = self.at.create(&self.place, None)
        {
            return Err(error.at(self.wrong_value()));
        }
        let Some(mut node) = self.at.find(&self.place)? else {
            return Err(RpcError::application(
                ErrorTag::OperationFailed,
                "the node could not be created",
            )
            .at(path));
        };
        if operation == Operation::Replace {
            node.clear();
        }
        self.edit.children(
            &mut node,
            Some(self.place.schema),
            &self.element.children,
            operation,
        );
        Ok(())
    }

    fn insert(&mut self, insert: &insert::Insert) -> Result<(), RpcError> {
        let Some(mut entry) = self.at.find(&self.place)? else {
            return Ok(());
        };
        match entry.move_to(insert.before, insert.anchor.as_ref()) {
            Ok(true) => Ok(()),
            // RFC 7950, section 15.7.
            Ok(false) => Err(self
                .error(
                    ErrorTag::BadAttribute,
                    "the entry it is to stand beside does not exist",
                )
                .app_tag("missing-instance")
                .info("bad-attribute", insert.attribute)
                .info("bad-element", self.place.schema.name())),
            // RFC 7950, section 8.3.1: a value that the type of the anchor does not take.
            Err(error) => Err(RpcError::application(ErrorTag::BadAttribute, error.message)
                .at(&self.path)
                .info("bad-attribute", insert.attribute)
                .info("bad-element", self.place.schema.name())),
        }
    }
}

/// The operation of an element: its own, else that of what it is in.
fn operation(element: &Element, inherited: Operation) -> Result<Operation, RpcError> {
    for attribute in &element.attributes {
        let known = match attribute.namespace.as_deref() {
            Some(NETCONF_NAMESPACE) => attribute.name == "operation",
            Some(default::NAMESPACE) => attribute.name == default::NAME,
            Some(YANG_NAMESPACE) => matches!(attribute.name.as_str(), "insert" | "key" | "value"),
            _ => false,
        };
        if !known {
            let words = format!("the attribute {} is not known here", attribute.name);
            return Err(RpcError::application(ErrorTag::UnknownAttribute, words)
                .info("bad-attribute", &attribute.name)
                .info("bad-element", &element.name));
        }
    }
    let Some(word) = element.attribute(Some(NETCONF_NAMESPACE), "operation") else {
        return Ok(inherited);
    };
    Operation::parse(word).ok_or_else(|| {
        RpcError::application(
            ErrorTag::BadAttribute,
            format!("{word:?} is no operation of edit-config"),
        )
        .info("bad-attribute", "operation")
        .info("bad-element", &element.name)
    })
}

fn unknown_namespace(element: &Element) -> RpcError {
    let words = match element.namespace.as_str() {
        "" | NETCONF_NAMESPACE => format!("{} lacks the namespace of its module", element.name),
        other => format!("no module here has the namespace {other}"),
    };
    RpcError::application(ErrorTag::UnknownNamespace, words)
        .info("bad-element", &element.name)
        .info("bad-namespace", &element.namespace)
}

fn of(parent: Option<SchemaNode>, module: &str) -> String {
    parent.map_or_else(
        || format!("module {module}"),
        |parent| parent.name().to_owned(),
    )
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// One step of a data path.
fn step(parent: Option<SchemaNode>, schema: SchemaNode) -> String {
    match parent {
        Some(parent) if parent.module() == schema.module() => format!("/{}", schema.name()),
        _ => format!("/{}:{}", schema.module(), schema.name()),
    }
}

fn predicates(place: &Place) -> String {
    let quoted = |value: &str| {
        if value.contains('\'') {
            format!("\"{value}\"")
        } else {
            format!("'{value}'")
        }
    };
    match place.schema.kind() {
        NodeKind::LeafList => place
            .keys
            .iter()
            .map(|value| format!("[.={}]", quoted(value)))
            .collect(),
        _ => {
            let pairs = place.schema.keys().zip(&place.keys);
            pairs
                .map(|(key, value)| format!("[{}={}]", key.name(), quoted(value)))
                .collect()
        }
    }
}
