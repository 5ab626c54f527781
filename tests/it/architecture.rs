//! The shape of the source: imports point downwards, only named files wait, files stay small.

use crate::source::{SourceFile, files, literals, test_module};

/// The layer of each module at the top; what is not named here has no business there.
const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("datastore", 1),
    ("protocol", 1),
    ("dhcp", 1),
    ("netlink", 1),
    ("log", 1),
    ("tunnel", 2),
    ("netconf", 2),
    ("cli", 2),
    ("system", 2),
    ("transport", 3),
    ("agent", 4),
    ("arguments", 5),
    ("sim", 5),
    ("main", 6),
    ("lib", 7),
];

/// The files that may touch tokio, sockets, files, the clock and randomness. A name that ends in `/` is a folder.
const WAITING: &[&str] = &[
    "agent.rs",
    "agent/",
    "main.rs",
    "sim/",
    "log/",
    "transport/mod.rs",
    "transport/call_home/driver.rs",
    "transport/call_home/status.rs",
    "transport/control.rs",
    "transport/control/",
    "transport/local.rs",
    "transport/metrics.rs",
    "transport/metrics/",
    "transport/socket.rs",
    "transport/ssh/",
    "cli/",
    "protocol/client.rs",
    "protocol/client/",
    "dhcp/client.rs",
    "dhcp/client/",
    "netlink/watcher.rs",
    "datastore/changes/stream.rs",
    "datastore/driver.rs",
    "datastore/events/announcer.rs",
    "datastore/events/recorder.rs",
    "datastore/events/seen.rs",
    "datastore/events/stream.rs",
    "datastore/events/turns.rs",
    "datastore/store/",
    "netconf/clock.rs",
    "netconf/evaluator.rs",
    "netconf/server.rs",
    "netconf/session.rs",
    "netconf/session/",
    "netconf/subscription/",
    "tunnel/driver.rs",
    "tunnel/driver/",
    "tunnel/net/",
    "tunnel/service/",
    "system.rs",
];

/// What a pure file does not name.
const IMPURE: [&str; 9] = [
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "TcpStream",
    "UdpSocket",
    "Instant::now",
    "SystemTime::now",
    "rand::",
];

const LONGEST_FILE: usize = 600;

fn top(name: &str) -> &str {
    let first = name.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

fn layer(module: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == module);
    found
        .unwrap_or_else(|| panic!("{module} has no layer: give it one here and in src/lib.rs"))
        .1
}

/// The modules at the top that a file names: after `crate::`, also in braces, and in `main.rs` after `tether::`.
fn named(file: &SourceFile) -> Vec<String> {
    let root = match file.name.as_str() {
        "main.rs" => "tether::",
        _ => "crate::",
    };
    let mut modules = Vec::new();
    for after in file.code.split(root).skip(1) {
        let group = match after.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => after,
        };
        let word = |text: &str| -> String {
            let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
            text.trim().chars().take_while(is_part).collect()
        };
        match after.starts_with('{') {
            true => modules.extend(group.split(',').map(word)),
            false => modules.push(word(group)),
        }
    }
    modules.retain(|module| !module.is_empty());
    modules
}

fn waits(name: &str) -> bool {
    WAITING.iter().any(|marked| match marked.ends_with('/') {
        true => name.starts_with(marked),
        false => name == *marked,
    })
}

#[test]
fn imports_point_downwards_and_never_sideways() {
    let mut wrong = Vec::new();
    for file in files() {
        let own = top(&file.name);
        for module in named(&file) {
            if module != own && layer(&module) >= layer(own) {
                wrong.push(format!("{} names crate::{module}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_marked_files_wait_or_ask_the_world() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !waits(&file.name)) {
        for name in IMPURE {
            if file.code.contains(name) {
                wrong.push(format!("{} names {name}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_marked_file_exists() {
    let files = files();
    for marked in WAITING {
        assert!(
            files.iter().any(|file| file.name.starts_with(marked)),
            "{marked} is marked and does not exist"
        );
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let files = files();
    let long = files
        .iter()
        .filter(|file| file.text.lines().count() > LONGEST_FILE);
    let long: Vec<_> = long.map(|file| &file.name).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let files = files();
    let bold = files.iter().filter(|file| file.code.contains(".unwrap()"));
    let bold: Vec<_> = bold.map(|file| &file.name).collect();
    assert!(bold.is_empty(), "{bold:?}");
}

#[test]
fn production_code_does_not_ask_whether_it_is_tested() {
    for file in files() {
        for (at, line) in file.code.lines().enumerate() {
            let next = file.code.lines().nth(at + 1).unwrap_or_default();
            let is_conditional = line.contains("cfg(test)") && !line.contains("cfg_attr(test");
            assert!(
                !is_conditional || test_module(next).is_some(),
                "{}:{}",
                file.name,
                at + 1
            );
        }
    }
}

#[test]
fn unsafe_stays_in_the_tree() {
    for file in files() {
        let is_inside = file.name.starts_with("model/tree/") || file.name == "model/schema.rs";
        for (at, line) in file.code.lines().enumerate() {
            let is_unsafe = line.contains("unsafe {") || line.contains("unsafe fn");
            assert!(is_inside || !is_unsafe, "{}:{}", file.name, at + 1);
        }
    }
}

#[test]
fn data_paths_stand_as_text_in_the_model_alone() {
    let modules = ["cloud-management", "device-management", "device-hosts"];
    let mut wrong = Vec::new();
    for file in files()
        .iter()
        .filter(|file| !file.name.starts_with("model/") && !file.name.starts_with("sim/"))
    {
        for literal in literals(&file.code) {
            let own = modules
                .iter()
                .any(|m| literal.starts_with(&format!("/{m}:")));
            if own || literal.starts_with("/ietf-") {
                wrong.push(format!("{}: {literal}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
