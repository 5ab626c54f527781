//! The state container of cloud-management, flattened.

use std::collections::BTreeMap;

use tether::model::xml::{self, Element, Scope};

/// Leaves by path below the state container, such as `last-down/reason` and `subconnection[telemetry]/url`.
#[derive(Clone, Debug, Default)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// Reads what `<get>` answered.
    pub fn parse(data: &str) -> Self {
        let mut state = Self::default();
        for root in xml::parse(data, &Scope::default()).unwrap() {
            for container in root.children.iter().filter(|child| child.name == "state") {
                state.add(container, "");
            }
        }
        state
    }

    fn add(&mut self, element: &Element, path: &str) {
        for child in &element.children {
            let mut below = format!("{path}{}", child.name);
            // The lists of this container have their key as first leaf.
            if matches!(
                child.name.as_str(),
                "subconnection" | "discovered" | "server" | "step"
            ) {
                below = format!("{below}[{}]", child.children[0].text);
            }
            if child.children.is_empty() {
                self.0.insert(below, child.text.clone());
            } else {
                self.add(child, &format!("{below}/"));
            }
        }
    }

    /// A leaf, if it is there.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Whether a leaf is there with this value.
    pub fn is(&self, path: &str, value: &str) -> bool {
        self.get(path) == Some(value)
    }

    /// Whether anything of a list entry is there.
    pub fn has_entry(&self, entry: &str) -> bool {
        self.0.keys().any(|path| path.starts_with(entry))
    }
}
