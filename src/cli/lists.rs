//! The outputs that are lists: backup servers, sessions, commits.

use chrono::{DateTime, Local};

use super::configuration::short;
use super::printable;
use crate::model::status::NOT_APPLICABLE;
use crate::model::xml::Element;

/// The port of a server that names none.
const DEFAULT_PORT: &str = "443";

pub(super) fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.children.iter().find(|child| child.name == name)
}

pub(super) fn text<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    child(element, name).map(|child| child.text.as_str())
}

/// The elements at a path of names below the roots.
fn all<'a>(roots: &'a [Element], path: &[&str]) -> Vec<&'a Element> {
    let mut level: Vec<&Element> = roots.iter().collect();
    for (depth, name) in path.iter().enumerate() {
        if depth > 0 {
            level = level.into_iter().flat_map(|it| &it.children).collect();
        }
        level.retain(|element| element.name == *name);
    }
    level
}

/// Columns under their names, each as wide as it needs; the last is not filled up.
pub(super) fn table<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = names.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(printable::width(cell, 0));
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths);
        let line: String = padded
            .map(|(cell, width)| {
                let gap = width + 2 - printable::width(cell, 0);
                format!("{cell}{:gap$}", "")
            })
            .collect();
        format!("{}\n", line.trim_end())
    };
    let rows = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(names)).chain(rows).collect()
}

fn or_none(text: Option<&str>) -> String {
    text.unwrap_or(NOT_APPLICABLE).to_owned()
}

/// `2019-01-27 14:18:40`, local time.
fn time(text: Option<&str>) -> String {
    let at = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    at.map_or_else(
        || NOT_APPLICABLE.to_owned(),
        |at| {
            let local = at.with_timezone(&Local);
            local.format("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

/// `display cloud-management backup-server state`.
pub fn backup_servers(roots: &[Element]) -> String {
    let servers = all(roots, &["cloud-management", "backup-server"]);
    let state = all(roots, &["cloud-management", "state"]);
    let server = all(roots, &["cloud-management", "server"]);
    let used = |name| state.first().and_then(|state| text(state, name));
    let usual = server.first().and_then(|server| text(server, "port"));
    if servers.is_empty() {
        return "No backup server is configured.\n".to_owned();
    }
    let rows: Vec<_> = servers
        .into_iter()
        .map(|entry| {
            let port = text(entry, "port").or(usual).unwrap_or(DEFAULT_PORT);
            let is_used =
                used("server-domain") == text(entry, "domain") && used("server-port") == Some(port);
            let family = text(entry, "address-family").unwrap_or_default();
            [
                family.replace("ip", "IP"),
                or_none(text(entry, "domain")),
                port.to_owned(),
                or_none(text(entry, "vpn-instance")),
                or_none(text(entry, "source-ip")),
                if is_used { "Yes" } else { "No" }.to_owned(),
            ]
        })
        .collect();
    table(
        [
            "Family",
            "Domain name",
            "Port",
            "VPN instance",
            "Source IP",
            "In use",
        ],
        &rows,
    )
}

/// `display netconf sessions`.
pub fn sessions(roots: &[Element]) -> String {
    let sessions = all(roots, &["netconf-state", "sessions", "session"]);
    let rows: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            let transport = text(session, "transport").unwrap_or_default();
            let name = transport.rsplit(':').next().unwrap_or_default();
            [
                or_none(text(session, "session-id")),
                or_none(text(session, "username")),
                or_none(text(session, "source-host")),
                name.to_owned(),
                time(text(session, "login-time")),
            ]
        })
        .collect();
    table(["ID", "User", "From", "Transport", "Login time"], &rows)
}

/// `display configuration commit list`, the newest first.
pub fn commits(roots: &[Element]) -> String {
    let commits = all(roots, &["device-management", "commit"]);
    let rows: Vec<_> = commits
        .into_iter()
        .rev()
        .map(|commit| {
            [
                or_none(text(commit, "id")),
                time(text(commit, "at")),
                or_none(text(commit, "user")),
                or_none(text(commit, "source-host")),
                source(commit),
                text(commit, "comment").unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    table(["ID", "Time", "User", "From", "Source", "Comment"], &rows)
}

/// `display configuration commit ID`: who made it, and the edit that it was.
/// None if there is no such commit.
pub fn commit(roots: &[Element]) -> Option<String> {
    let commit = all(roots, &["device-management", "commit"]).pop()?;
    let transport = text(commit, "transport").and_then(|it| it.rsplit(':').next());
    let fields = [
        ("Commit", or_none(text(commit, "id"))),
        ("Time", time(text(commit, "at"))),
        ("User", or_none(text(commit, "user"))),
        ("Session", or_none(text(commit, "session-id"))),
        ("Transport", or_none(transport)),
        ("From", or_none(text(commit, "source-host"))),
        ("Source", source(commit)),
        ("Comment", or_none(text(commit, "comment"))),
    ];
    let mut shown: String = fields
        .iter()
        .map(|(name, value)| format!("{name:<10}: {value}\n"))
        .collect();
    for edit in child(commit, "diff").map_or(&[][..], |diff| &diff.children) {
        changes(edit, 0, &mut shown);
    }
    Some(shown)
}

/// What brought a commit about, and whereto it went back if it did.
fn source(commit: &Element) -> String {
    let source = or_none(text(commit, "source"));
    match text(commit, "rolled-back-to") {
        Some(earlier) => format!("{source} {}", or_none(Some(earlier))),
        None => source,
    }
}

/// Names and values, indented, with `+` before what came, `-` before what went, `~` before what changed.
fn changes(element: &Element, depth: usize, into: &mut String) {
    let operation = element
        .attributes
        .iter()
        .find(|attribute| attribute.name == "operation");
    let mark = match operation.map(|attribute| attribute.value.as_str()) {
        Some("create") => '+',
        Some("delete") => '-',
        Some(_) => '~',
        None => ' ',
    };
    let value = short(&element.text);
    let line = format!(
        "{mark} {:width$}{} {value}",
        "",
        element.name,
        width = depth
    );
    into.push_str(line.trim_end());
    into.push('\n');
    for child in &element.children {
        changes(child, depth + 1, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::xml::{Scope, parse};

    fn elements(xml: &str) -> Vec<Element> {
        parse(xml, &Scope::default()).unwrap()
    }

    #[test]
    fn the_backup_server_in_use_is_told_from_the_others() {
        let xml = "<cloud-management><server><port>8443</port></server>\
            <backup-server><address-family>ipv4</address-family><domain>b1.com</domain></backup-server>\
            <backup-server><address-family>ipv6</address-family><domain>b2.com</domain><port>1</port></backup-server>\
            <state><server-domain>b1.com</server-domain><server-port>8443</server-port></state></cloud-management>";
        assert_eq!(
            backup_servers(&elements(xml)),
            "Family  Domain name  Port  VPN instance  Source IP  In use\n\
             IPv4    b1.com       8443  N/A           N/A        Yes\n\
             IPv6    b2.com       1     N/A           N/A        No\n"
        );
        assert_eq!(backup_servers(&[]), "No backup server is configured.\n");
    }

    #[test]
    fn a_commit_is_shown_with_what_came_and_went() {
        let xml = "<device-management><commit><id>7</id><user>bob</user><source>netconf</source><diff>\
            <a xmlns:nc='urn:n'><b nc:operation='create'>1</b><c nc:operation='delete'>2</c><d nc:operation='replace'>3</d></a>\
            </diff></commit></device-management>";
        let shown = commit(&elements(xml)).unwrap();
        assert!(
            shown.contains("Commit    : 7\nTime      : N/A\nUser      : bob\n"),
            "{shown}"
        );
        assert!(shown.contains("Source    : netconf\n"), "{shown}");
        assert!(shown.ends_with("  a\n+  b 1\n-  c 2\n~  d 3\n"), "{shown}");
        assert_eq!(commit(&[]), None);
    }

    #[test]
    fn a_commit_that_goes_back_says_whereto() {
        let xml = "<device-management><commit><id>9</id><source>rollback-to</source><rolled-back-to>7</rolled-back-to></commit></device-management>";
        let shown = commit(&elements(xml)).unwrap();
        assert!(shown.contains("Source    : rollback-to 7\n"), "{shown}");
        let listed = commits(&elements(xml));
        assert!(listed.contains("rollback-to 7"), "{listed}");
    }

    #[test]
    fn the_newest_commit_is_the_first() {
        let xml = "<device-management><commit><id>1</id></commit><commit><id>2</id><comment>why</comment></commit></device-management>";
        let shown = commits(&elements(xml));
        let lines: Vec<_> = shown.lines().collect();
        assert!(
            lines[1].starts_with("2 ") && lines[1].ends_with("why"),
            "{shown}"
        );
        assert!(lines[2].starts_with("1 "), "{shown}");
    }
}
