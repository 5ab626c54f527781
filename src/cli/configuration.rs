//! `display current-configuration`: the configuration as the commands that make it.
//!
//! What no command makes is shown as an outline in comment lines, so that nothing is hidden and all of it can be typed in
//! again.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::printable::word;
use crate::model::xml::Element;

/// Characters of a value in the outline.
const SHOWN: usize = 60;

/// The commands of a configuration: the content of a `<data>`. Sections are set apart by `#`.
pub fn commands(roots: Vec<Element>) -> String {
    let mut text = String::new();
    let mut rest = String::new();
    for root in roots {
        match root.name.as_str() {
            "system" => system(root, &mut text, &mut rest),
            "cloud-management" => cloud(root, &mut text, &mut rest),
            _ => outline(&root, 0, &mut rest),
        }
    }
    if !rest.is_empty() {
        text.push_str("#\n# No command makes what follows; NETCONF edits it.\n");
        text.push_str(&rest);
    }
    text.push_str("#\nreturn\n");
    text
}

/// The lines that one configuration has and the other has not, or has more often: `-` before those that go, `+` before those
/// that come.
pub fn difference(old: &str, new: &str) -> String {
    lines_without(old, new, '-') + &lines_without(new, old, '+')
}

/// The lines of a text that another one lacks, behind a mark.
fn lines_without(text: &str, other: &str, mark: char) -> String {
    let mut there: HashMap<&str, usize> = HashMap::new();
    for line in other.lines() {
        *there.entry(line).or_default() += 1;
    }
    let mut left = String::new();
    for line in text.lines().filter(|line| !matches!(*line, "#" | "return")) {
        match there.get_mut(line) {
            Some(count) if *count > 0 => *count -= 1,
            // Writing to a String does not fail.
            _ => drop(writeln!(left, "{mark}{line}")),
        }
    }
    left
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

/// ` NAME VALUE` of each option that is there.
fn options(of: &Element, names: &[(&str, &str)]) -> String {
    let given = names
        .iter()
        .filter_map(|(leaf, option)| Some((option, value(of, leaf)?)));
    given
        .map(|(option, value)| format!(" {option} {}", word(value)))
        .collect()
}

fn system(mut root: Element, into: &mut String, rest: &mut String) {
    if let Some(name) = value(&root, "hostname") {
        section(into, &[format!("sysname {}", word(name))]);
    }
    root.children.retain(|child| child.name != "hostname");
    let mut hosts = Vec::new();
    let resolvers = root.children.iter_mut();
    for resolver in resolvers.filter(|child| child.name == "dns-resolver") {
        resolver.children.retain(|child| match host(child) {
            Some(command) => {
                hosts.push(command);
                false
            }
            None => true,
        });
    }
    root.children
        .retain(|child| child.name != "dns-resolver" || !child.children.is_empty());
    section(into, &hosts);
    if !root.children.is_empty() {
        outline(&root, 0, rest);
    }
}

/// The command of a host. None makes one with several addresses: the next would replace the one before.
fn host(entry: &Element) -> Option<String> {
    let mut addresses = entry
        .children
        .iter()
        .filter(|child| child.name == "address");
    let (Some(address), None) = (addresses.next(), addresses.next()) else {
        return None;
    };
    let is_host = entry.name == "host";
    let name = value(entry, "name").filter(|_| is_host)?;
    Some(format!("ip host {} {}", word(name), address.text))
}

fn cloud(mut root: Element, into: &mut String, rest: &mut String) {
    let mut lines = Vec::new();
    for child in std::mem::take(&mut root.children) {
        match child.name.as_str() {
            "server" => root.children.extend(server(child, &mut lines)),
            "backup-server" => lines.push(backup_server(&child)),
            "keepalive-interval" => {
                lines.push(format!("cloud-management keepalive {}", child.text));
            }
            "unbinding-code" => {
                let code = word(&child.text);
                lines.push(format!("cloud-management unbinding-code {code}"));
            }
            _ => root.children.push(child),
        }
    }
    section(into, &lines);
    if !root.children.is_empty() {
        outline(&root, 0, rest);
    }
}

/// The options that go with a domain.
const SOURCE: [(&str, &str); 2] = [("vpn-instance", "vpn-instance"), ("source-ip", "source-ip")];

/// The commands of a server; gives back what they do not make.
fn server(mut server: Element, lines: &mut Vec<String>) -> Option<Element> {
    if let Some(domain) = value(&server, "domain") {
        let options = options(&server, &SOURCE);
        lines.push(format!("cloud-management server domain {domain}{options}"));
        server.children.retain(|child| {
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
        server.children.retain(|child| child.name != "ipv6");
    }
    for (leaf, command) in [("port", "port"), ("password", "password cipher")] {
        if let Some(value) = value(&server, leaf) {
            lines.push(format!("cloud-management server {command} {value}"));
        }
        server.children.retain(|child| child.name != leaf);
    }
    (!server.children.is_empty()).then_some(server)
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
        commands(parse(xml, &Scope::default()).unwrap())
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
    fn a_host_with_several_addresses_is_made_by_no_command() {
        let host =
            |name: &str, addresses: &str| format!("<host><name>{name}</name>{addresses}</host>");
        let one = "<address>10.1.1.1</address>";
        let hosts = host("a.com", one) + &host("b.com", &one.repeat(2)) + &host("c.com", one);
        let shown = shown(&format!(
            "<system><dns-resolver>{hosts}<options><timeout>1</timeout></options></dns-resolver></system>"
        ));
        assert!(
            shown.starts_with("#\n ip host a.com 10.1.1.1\n ip host c.com 10.1.1.1\n#\n#"),
            "{shown}"
        );
        assert!(
            shown.contains("#    name b.com\n#    address 10.1.1.1\n"),
            "{shown}"
        );
    }

    #[test]
    fn a_difference_tells_what_goes_and_what_comes() {
        let (old, new) = ("#\n a\n b\n#\nreturn\n", "#\n b\n c\n#\nreturn\n");
        assert_eq!(difference(old, new), "- a\n+ c\n");
        assert_eq!(difference(old, old), "");
        let (twice, once) = ("# name x\n# name x\n", "# name x\n");
        assert_eq!(difference(twice, once), "-# name x\n");
    }
}
