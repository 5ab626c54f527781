//! A plain and slow model of what RFC 6241 says of edits, differences and subtree filters, and the properties in which
//! the datastore has to agree with it: on a part of the module for tests, for any data, edit and filter.

mod diff;
mod edit;
mod filter;
mod properties;

use tether::model::xml::{self, Element, Scope};

/// A node of the schema, as far as the model knows it.
pub struct Schema {
    pub name: &'static str,
    pub kind: Kind,
    /// The cases it is in: choice, case.
    pub cases: &'static [(&'static str, &'static str)],
    pub children: Vec<Schema>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Container {
        presence: bool,
    },
    /// The first children are its keys.
    List {
        keys: usize,
        user_ordered: bool,
    },
    Leaf,
    LeafList {
        user_ordered: bool,
    },
}

/// A data node; a leaf or leaf-list entry has a value, any other node has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: &'static str,
    pub value: Option<String>,
    pub children: Vec<Node>,
}

/// All values are of these: few enough to meet one another, and values of every type in the module.
pub const VALUES: [&str; 3] = ["1", "2", "3"];

fn node(name: &'static str, kind: Kind, children: Vec<Schema>) -> Schema {
    Schema {
        name,
        kind,
        cases: &[],
        children,
    }
}

fn leaf(name: &'static str) -> Schema {
    node(name, Kind::Leaf, Vec::new())
}

fn container(name: &'static str, presence: bool, children: Vec<Schema>) -> Schema {
    node(name, Kind::Container { presence }, children)
}

fn list(name: &'static str, keys: usize, user_ordered: bool, children: Vec<Schema>) -> Schema {
    node(name, Kind::List { keys, user_ordered }, children)
}

fn in_cases(cases: &'static [(&'static str, &'static str)], node: Schema) -> Schema {
    Schema { cases, ..node }
}

/// The part of example-all that the model knows.
pub fn schema() -> Vec<Schema> {
    let inner = list("inner", 1, false, vec![leaf("id"), leaf("value")]);
    let pair = vec![leaf("first"), leaf("second"), leaf("value"), inner];
    let words = Kind::LeafList {
        user_ordered: false,
    };
    let steps = Kind::LeafList { user_ordered: true };
    vec![
        container(
            "all",
            false,
            vec![list(
                "entry",
                1,
                false,
                vec![leaf("name"), leaf("value"), leaf("note")],
            )],
        ),
        container("flag", true, vec![leaf("level")]),
        container(
            "lists",
            false,
            vec![
                list("pair", 2, false, pair),
                list("ordered", 1, true, vec![leaf("name"), leaf("value")]),
                node("words", words, Vec::new()),
                node("steps", steps, Vec::new()),
            ],
        ),
        container(
            "choices",
            false,
            vec![
                in_cases(&[("transport", "tcp")], leaf("tcp-port")),
                in_cases(&[("transport", "tcp")], leaf("tcp-window")),
                in_cases(&[("transport", "udp")], leaf("udp-port")),
                in_cases(
                    &[("transport", "other"), ("kind", "serial")],
                    leaf("serial"),
                ),
                in_cases(
                    &[("transport", "other"), ("kind", "pipe")],
                    container("pipe", true, vec![leaf("name")]),
                ),
            ],
        ),
    ]
}

impl Schema {
    pub fn keys(&self) -> &[Schema] {
        match self.kind {
            Kind::List { keys, .. } => &self.children[..keys],
            _ => &[],
        }
    }

    pub fn is_value(&self) -> bool {
        matches!(self.kind, Kind::Leaf | Kind::LeafList { .. })
    }

    pub fn is_plain_container(&self) -> bool {
        self.kind == Kind::Container { presence: false }
    }

    pub fn is_user_ordered(&self) -> bool {
        matches!(
            self.kind,
            Kind::List {
                user_ordered: true,
                ..
            } | Kind::LeafList { user_ordered: true }
        )
    }

    /// What tells an instance from its siblings of the same name.
    pub fn id(&self, node: &Node) -> Vec<String> {
        match self.kind {
            Kind::List { .. } => {
                let key = |key: &Schema| node.children.iter().find(|child| child.name == key.name);
                let keys = self.keys().iter().map(|own| key(own).unwrap());
                keys.map(|key| key.value.clone().unwrap()).collect()
            }
            Kind::LeafList { .. } => vec![node.value.clone().unwrap()],
            _ => Vec::new(),
        }
    }
}

pub fn find<'s>(schema: &'s [Schema], name: &str) -> &'s Schema {
    schema.iter().find(|own| own.name == name).unwrap()
}

/// The same data in one order: that of the schema; entries by their keys, unless the user orders them. A container
/// without presence that holds nothing is nothing.
pub fn normal(data: &[Node], schema: &[Schema]) -> Vec<Node> {
    let mut sorted = Vec::new();
    for own in schema {
        let mut instances: Vec<Node> = data
            .iter()
            .filter(|node| node.name == own.name)
            .map(|node| Node {
                children: normal(&node.children, &own.children),
                ..node.clone()
            })
            .filter(|node| !own.is_plain_container() || !node.children.is_empty())
            .collect();
        if !own.is_user_ordered() {
            instances.sort_by_key(|node| own.id(node));
        }
        sorted.extend(instances);
    }
    sorted
}

/// Reads what the agent printed.
pub fn read(xml: &str, schema: &[Schema]) -> Vec<Node> {
    let elements = xml::parse(xml, &Scope::default()).unwrap();
    normal(&nodes(&elements, schema), schema)
}

fn nodes(elements: &[Element], schema: &[Schema]) -> Vec<Node> {
    let nodes = elements.iter().map(|element| {
        let own = find(schema, &element.name);
        Node {
            name: own.name,
            value: own.is_value().then(|| element.text.clone()),
            children: nodes(&element.children, &own.children),
        }
    });
    nodes.collect()
}
