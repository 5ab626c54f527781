//! `display current-configuration`: the configuration as the commands that make it.
//!
//! What no command makes is shown as an outline in comment lines, so that nothing is hidden and all of it can be typed in
//! again.

use std::fmt::Write as _;

use crate::model::xml::Element;

/// Characters of a value in the outline.
const SHOWN: usize = 60;

/// The commands of a configuration: the content of a `<data>`. Sections are set apart by `#`.
pub fn commands(roots: &[Element]) -> String {
    let mut text = String::new();
    let mut rest = String::new();
    for root in roots {
        match root.name.as_str() {
            "system" => system(root, &mut text, &mut rest),
            "cloud-management" => cloud(root, &mut text, &mut rest),
            _ => outline(root, 0, &mut rest),
        }
    }
    if !rest.is_empty() {
        text.push_str("#\n# No command makes what follows; NETCONF edits it.\n");
        text.push_str(&rest);
    }
    text.push_str("#\nreturn\n");
    text
}

/// The lines that one configuration has and the other has not: `-` before those that go, `+` before those that come.
pub fn difference(old: &str, new: &str) -> String {
    let is_command = |line: &&str| !matches!(*line, "#" | "return");
    let old: Vec<&str> = old.lines().filter(is_command).collect();
    let new: Vec<&str> = new.lines().filter(is_command).collect();
    let gone = old.iter().filter(|line| !new.contains(line));
    let come = new.iter().filter(|line| !old.contains(line));
    let lines = gone
        .map(|line| format!("-{line}\n"))
        .chain(come.map(|line| format!("+{line}\n")));
    lines.collect()
}

fn section(into: &mut String, lines: &[String]) {
    if !lines.is_empty() {
        into.push_str("#\n");
    }
    for line in lines {
        into.push_str(&format!(" {line}\n"));
    }
}

fn value<'a>(of: &'a Element, name: &str) -> Option<&'a str> {
    let child = of.children.iter().find(|child| child.name == name);
    child.map(|child| child.text.as_str())
}

/// A word of a command: in quotes where it would else be several.
fn word(text: &str) -> String {
    match text.contains([' ', '?']) {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    }
}

/// ` NAME VALUE` of each option that is there.
fn options(of: &Element, names: &[(&str, &str)]) -> String {
    let given = names
        .iter()
        .filter_map(|(leaf, option)| Some((option, value(of, leaf)?)));
    given
        .map(|(option, value)| format!(" {option} {}", word(value)))
        .collect()
}

fn system(root: &Element, into: &mut String, rest: &mut String) {
    if let Some(name) = value(root, "hostname") {
        section(into, &[format!("sysname {}", word(name))]);
    }
    let mut left = root.clone();
    left.children.retain(|child| child.name != "hostname");
    let mut hosts = Vec::new();
    for resolver in &mut left.children {
        if resolver.name != "dns-resolver" {
            continue;
        }
        let is_host = |child: &Element| child.name == "host";
        for host in resolver.children.iter().filter(|child| is_host(child)) {
            let name = word(value(host, "name").unwrap_or_default());
            let addresses = host.children.iter().filter(|child| child.name == "address");
            hosts.extend(addresses.map(|address| format!("ip host {name} {}", address.text)));
        }
        resolver.children.retain(|child| !is_host(child));
    }
    left.children
        .retain(|child| child.name != "dns-resolver" || !child.children.is_empty());
    section(into, &hosts);
    if !left.children.is_empty() {
        outline(&left, 0, rest);
    }
}

fn cloud(root: &Element, into: &mut String, rest: &mut String) {
    let mut lines = Vec::new();
    let mut left = root.clone();
    left.children.clear();
    for child in &root.children {
        match child.name.as_str() {
            "server" => {
                let more = server(child, &mut lines);
                left.children.extend(more);
            }
            "backup-server" => lines.push(backup_server(child)),
            "keepalive-interval" => {
                lines.push(format!("cloud-management keepalive {}", child.text));
            }
            "unbinding-code" => {
                lines.push(format!(
                    "cloud-management unbinding-code {}",
                    word(&child.text)
                ));
            }
            _ => left.children.push(child.clone()),
        }
    }
    section(into, &lines);
    if !left.children.is_empty() {
        outline(&left, 0, rest);
    }
}

/// The options that go with a domain.
const SOURCE: [(&str, &str); 2] = [("vpn-instance", "vpn-instance"), ("source-ip", "source-ip")];

/// The commands of a server; gives back what they do not make.
fn server(server: &Element, lines: &mut Vec<String>) -> Option<Element> {
    let mut left = server.clone();
    if let Some(domain) = value(server, "domain") {
        let options = options(server, &SOURCE);
        lines.push(format!("cloud-management server domain {domain}{options}"));
        left.children.retain(|child| {
            child.name != "domain" && SOURCE.iter().all(|(leaf, _)| child.name != *leaf)
        });
    }
    let ipv6 = server.children.iter().find(|child| child.name == "ipv6");
    if let Some(ipv6) = ipv6
        && let Some(domain) = value(ipv6, "domain")
    {
        let options = options(ipv6, &SOURCE);
        lines.push(format!(
            "cloud-management server ipv6 domain {domain}{options}"
        ));
        left.children.retain(|child| child.name != "ipv6");
    }
    for (leaf, command) in [("port", "port"), ("password", "password cipher")] {
        if let Some(value) = value(server, leaf) {
            lines.push(format!("cloud-management server {command} {value}"));
        }
        left.children.retain(|child| child.name != leaf);
    }
    (!left.children.is_empty()).then_some(left)
}

fn backup_server(entry: &Element) -> String {
    let family = match value(entry, "address-family") {
        Some("ipv6") => "ipv6 ",
        _ => "",
    };
    let domain = value(entry, "domain").unwrap_or_default();
    let port = options(entry, &[("port", "port")]);
    let source = options(entry, &SOURCE);
    format!("cloud-management backup-server {family}domain {domain}{port}{source}")
}

/// A value in one line that is not too long.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

/// Names and values, indented, in comment lines.
fn outline(element: &Element, depth: usize, into: &mut String) {
    let indent = 1 + depth;
    let value = short(&element.text);
    let gap = if value.is_empty() { "" } else { " " };
    let name = &element.name;
    // Writing to a String does not fail.
    let _ = writeln!(into, "#{:indent$}{name}{gap}{value}", "");
    for child in &element.children {
        outline(child, depth + 1, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::xml::{Scope, parse};

    fn shown(xml: &str) -> String {
        commands(&parse(xml, &Scope::default()).unwrap())
    }

    #[test]
    fn a_configuration_is_shown_as_the_commands_that_make_it() {
        let xml = "<cloud-management><server><domain>cloud.com</domain><port>8443</port><vpn-instance>mgmt</vpn-instance>\
            <ipv6><domain>c6.com</domain><source-ip>2001:db8::1</source-ip></ipv6><password>$1$abc=</password></server>\
            <backup-server><address-family>ipv6</address-family><domain>b.com</domain><port>1</port></backup-server>\
            <keepalive-interval>60</keepalive-interval><unbinding-code>a b</unbinding-code></cloud-management>\
            <system><hostname>R1</hostname><dns-resolver><host><name>cloud.com</name><address>10.1.1.1</address></host></dns-resolver></system>";
        assert_eq!(
            shown(xml),
            "#\n cloud-management server domain cloud.com vpn-instance mgmt\n \
             cloud-management server ipv6 domain c6.com source-ip 2001:db8::1\n \
             cloud-management server port 8443\n \
             cloud-management server password cipher $1$abc=\n \
             cloud-management backup-server ipv6 domain b.com port 1\n \
             cloud-management keepalive 60\n \
             cloud-management unbinding-code \"a b\"\n#\n sysname R1\n#\n ip host cloud.com 10.1.1.1\n#\nreturn\n"
        );
    }

    #[test]
    fn what_no_command_makes_is_an_outline_in_comments() {
        let xml = "<system><clock><timezone-name>Europe/Rome</timezone-name></clock></system>\
            <cloud-management><server><source-ip>10.0.0.1</source-ip></server><commit-guard/></cloud-management>";
        assert_eq!(
            shown(xml),
            "#\n# No command makes what follows; NETCONF edits it.\n# system\n#  clock\n#   timezone-name Europe/Rome\n\
             # cloud-management\n#  server\n#   source-ip 10.0.0.1\n#  commit-guard\n#\nreturn\n"
        );
        assert_eq!(shown(""), "#\nreturn\n");
    }

    #[test]
    fn a_difference_tells_what_goes_and_what_comes() {
        let (old, new) = ("#\n a\n b\n#\nreturn\n", "#\n b\n c\n#\nreturn\n");
        assert_eq!(difference(old, new), "- a\n+ c\n");
        assert_eq!(difference(old, old), "");
    }
}
