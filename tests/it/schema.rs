//! The project's own modules have no dead nodes: every leaf of the configuration has a reader, every leaf of the state
//! and of the notifications a writer, every action a handler.
//!
//! The one file that reads or writes a subtree is named here; a leaf counts as read or written when its name is a word
//! of a string literal in that file's code.

use std::collections::{BTreeMap, BTreeSet};

use tether::model::schema::Schema;
use tether::model::tree::{NodeKind, SchemaNode};

use crate::source::{files, literals};

const MODULES: [&str; 3] = ["cloud-management", "device-management", "device-hosts"];

/// Subtrees and the file that knows their leaves; the first that fits counts.
const KNOWN_BY: &[(&str, &str)] = &[
    (
        "/cloud-management:cloud-management/state/connection-test/server/number",
        "tunnel/state/connection_test.rs",
    ),
    (
        "/cloud-management:cloud-management/state/connection-test/server/resolved-address",
        "tunnel/state/connection_test.rs",
    ),
    (
        "/cloud-management:cloud-management/state/connection-test/server/step",
        "tunnel/state/connection_test.rs",
    ),
    (
        "/cloud-management:cloud-management/state/connection-test/server",
        "tunnel/state.rs",
    ),
    (
        "/cloud-management:cloud-management/state/connection-test",
        "tunnel/state/connection_test.rs",
    ),
    (
        "/cloud-management:cloud-management/state/commit-guard/last-rollback/at",
        "agent/guard.rs",
    ),
    (
        "/cloud-management:cloud-management/state/commit-guard/last-rollback",
        "datastore/events/notices.rs",
    ),
    (
        "/cloud-management:cloud-management/state/commit-guard",
        "agent/guard.rs",
    ),
    (
        "/cloud-management:commit-rolled-back",
        "datastore/events/notices.rs",
    ),
    (
        "/cloud-management:cloud-management/state",
        "tunnel/state.rs",
    ),
    ("/cloud-management:cloud-management/unbind", "tunnel/mod.rs"),
    (
        "/cloud-management:cloud-management",
        "model/settings/read.rs",
    ),
    ("/cloud-management:", "tunnel/state.rs"),
    (
        "/device-management:device-management/commit",
        "datastore/history.rs",
    ),
    (
        "/device-management:device-management/rollback-to",
        "netconf/ops/action.rs",
    ),
    (
        "/device-management:device-management/call-home/state",
        "transport/call_home/status.rs",
    ),
    (
        "/device-management:device-management/call-home",
        "model/settings/call_home.rs",
    ),
    (
        "/device-management:device-management/notifications",
        "agent/events.rs",
    ),
    (
        "/device-management:device-management/logging/read-log",
        "agent/logging.rs",
    ),
    (
        "/device-management:device-management/logging",
        "model/settings/logging.rs",
    ),
    ("/device-management:", "model/settings/read.rs"),
    ("/ietf-system:", "model/settings/read.rs"),
];

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above.ends_with(':'))
}

fn known_by(path: &str) -> &'static str {
    let known = KNOWN_BY.iter().find(|(above, _)| is_below(path, above));
    known
        .unwrap_or_else(|| panic!("{path} is known by no file"))
        .1
}

/// Every node of our modules, those that augment others' included.
fn nodes(schema: Schema) -> Vec<SchemaNode> {
    let mut nodes = Vec::new();
    for module in MODULES {
        for root in schema.roots(module) {
            collect(root, &mut nodes);
        }
        let texts = schema.texts();
        let text = texts.iter().find(|text| text.identifier == *module);
        let text = schema.text(text.unwrap(), false).unwrap();
        let lines = text.lines().filter_map(|line| {
            line.strip_prefix("  notification ")?
                .split_whitespace()
                .next()
        });
        for name in lines {
            collect(schema.top(module, name).unwrap(), &mut nodes);
        }
    }
    for root in schema.roots("ietf-system") {
        let mut system = Vec::new();
        collect(root, &mut system);
        nodes.extend(
            system
                .into_iter()
                .filter(|node| MODULES.contains(&node.module())),
        );
    }
    nodes
}

fn collect(node: SchemaNode, into: &mut Vec<SchemaNode>) {
    into.push(node);
    for child in node.children() {
        collect(child, into);
    }
}

/// The words of the string literals of each file that is named in [`KNOWN_BY`].
fn words() -> BTreeMap<String, BTreeSet<String>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    let known = files()
        .into_iter()
        .filter(|file| KNOWN_BY.iter().any(|(_, name)| *name == file.name));
    let words = known.map(|file| {
        let literals = literals(&file.code);
        let words = literals
            .iter()
            .flat_map(|literal| literal.split(|c| !is_part(c)));
        (file.name, words.map(str::to_owned).collect())
    });
    words.collect()
}

#[test]
fn every_leaf_has_a_reader_or_a_writer() {
    let nodes = nodes(Schema::load(&[]).unwrap());
    let leaves = nodes
        .iter()
        .filter(|node| matches!(node.kind(), NodeKind::Leaf | NodeKind::LeafList));
    let words = words();
    let mut count = 0;
    let mut dead = Vec::new();
    for leaf in leaves {
        let path = leaf.path();
        count += 1;
        let file = known_by(&path);
        if !words[file].contains(leaf.name()) {
            dead.push(format!("{path} is not named in src/{file}"));
        }
    }
    assert!(count > 60, "only {count} leaves were found");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_action_has_a_path_that_the_agent_knows() {
    let nodes = nodes(Schema::load(&[]).unwrap());
    let files = files();
    let paths = files.iter().find(|file| file.name == "model/paths.rs");
    let known = literals(&paths.unwrap().code);
    let actions = nodes
        .iter()
        .filter(|node| matches!(node.kind(), NodeKind::Action | NodeKind::Rpc));
    let paths: Vec<_> = actions.map(|action| action.path()).collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        assert!(known.contains(&path), "{path}");
    }
}
