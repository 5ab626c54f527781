//! `display …`, letter for letter as the manual prints it.

use chrono::{DateTime, Local};

use crate::model::status::{
    ConnectionState, DeviceState, FailureReason, NOT_APPLICABLE, ProcessState,
};
use crate::model::xml::Element;

/// What `display cloud-management state` asks for.
pub const STATE_FILTER: &str =
    r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><state/></cloud-management>"#;

/// The leaves that `display cloud-management state` shows.
const SHOWN: [&str; 9] = [
    "connection-state",
    "device-state",
    "server-address",
    "server-domain",
    "server-port",
    "connected-at",
    "duration",
    "process-state",
    "failure-reason",
];

/// `display cloud-management state verbose`: the same, and then all else there is, under its names in the model.
pub fn verbose(roots: &[Element]) -> String {
    let mut text = state(roots);
    let state = roots.iter().find_map(|root| child(root, "state"));
    for more in state.map_or(&[][..], |state| &state.children) {
        if !SHOWN.contains(&more.name.as_str()) {
            outline(more, 0, &mut text);
        }
    }
    text
}

/// A line for each value, as wide as those of the manual; what is inside of something stands below its name.
fn outline(element: &Element, depth: usize, into: &mut String) {
    let mut name = " ".repeat(depth);
    let mut letters = element.name.chars();
    name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    name.extend(letters.map(|letter| if letter == '-' { ' ' } else { letter }));
    if element.children.is_empty() {
        into.push_str(&format!("{name:<25}: {}\n", element.text));
        return;
    }
    into.push_str(&format!("{name}\n"));
    for child in &element.children {
        outline(child, depth + 1, into);
    }
}

/// `display cloud-management state` (manual, "Verifying the configuration") of the content of a `<data>`.
pub fn state(roots: &[Element]) -> String {
    let state = roots.iter().find_map(|root| child(root, "state"));
    let leaf = |name: &str| Some(child(state?, name)?.text.as_str());
    let fields = [
        (
            "Cloud connection state",
            leaf("connection-state")
                .and_then(ConnectionState::from_yang)
                .map(|v| v.as_display().to_owned()),
        ),
        (
            "Device state",
            leaf("device-state")
                .and_then(DeviceState::from_yang)
                .map(|v| v.as_display().to_owned()),
        ),
        (
            "Cloud server address",
            leaf("server-address").map(str::to_owned),
        ),
        (
            "Cloud server domain name",
            leaf("server-domain").map(str::to_owned),
        ),
        ("Cloud server port", leaf("server-port").map(str::to_owned)),
        ("Connected at", leaf("connected-at").and_then(connected_at)),
        (
            "Duration",
            leaf("duration")
                .and_then(|seconds| seconds.parse().ok())
                .map(duration),
        ),
        (
            "Process state",
            leaf("process-state")
                .and_then(ProcessState::from_yang)
                .map(|v| v.as_display().to_owned()),
        ),
        (
            "Failure reason",
            leaf("failure-reason")
                .and_then(FailureReason::from_yang)
                .map(|v| v.as_display().to_owned()),
        ),
    ];
    let lines = fields.map(|(name, value)| {
        let value = value.unwrap_or_else(|| NOT_APPLICABLE.to_owned());
        format!("{name:<25}: {value}\n")
    });
    lines.concat()
}

fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.children.iter().find(|child| child.name == name)
}

/// `Wed Jan 27 14:18:40 2019`, local time.
fn connected_at(text: &str) -> Option<String> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some(
        at.with_timezone(&Local)
            .format("%a %b %e %H:%M:%S %Y")
            .to_string(),
    )
}

/// `00d 00h 02m 01s`
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    format!(
        "{days:02}d {hours:02}h {:02}m {:02}s",
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::xml::{self, Scope};

    #[test]
    fn the_state_is_printed_letter_for_letter_as_in_the_manual() {
        let at = Local::now().fixed_offset().to_rfc3339();
        let data = format!(
            "<cloud-management xmlns='urn:tether:yang:cloud-management'><state>\
             <connection-state>established</connection-state><device-state>request-success</device-state>\
             <process-state>message-received</process-state><server-domain>cloud.com</server-domain>\
             <server-address>10.1.1.1</server-address><server-port>443</server-port>\
             <connected-at>{at}</connected-at><duration>121</duration></state></cloud-management>"
        );
        let elements = xml::parse(&data, &Scope::default()).unwrap();
        let shown = state(&elements);
        let (before, after) = shown.split_once("Connected at             : ").unwrap();
        assert_eq!(
            before,
            "Cloud connection state   : Established\n\
             Device state             : Request_success\n\
             Cloud server address     : 10.1.1.1\n\
             Cloud server domain name : cloud.com\n\
             Cloud server port        : 443\n"
        );
        assert!(after.ends_with(
            "\nDuration                 : 00d 00h 02m 01s\n\
             Process state            : Message received\n\
             Failure reason           : N/A\n"
        ));
    }

    #[test]
    fn an_absent_field_is_not_applicable() {
        assert_eq!(state(&[]).matches(": N/A\n").count(), 9);
        assert_eq!(duration(2 * 86_400 + 3 * 3600 + 59), "02d 03h 00m 59s");
        let printed = connected_at("2019-01-27T14:18:40+00:00").unwrap();
        assert_eq!(printed.len(), "Wed Jan 27 14:18:40 2019".len());
    }
    #[test]
    fn verbose_shows_the_same_and_then_all_else() {
        let data = "<cloud-management><state><connection-state>unconnected</connection-state><clock-unset>true</clock-unset>\
            <last-down><reason>evicted</reason></last-down></state></cloud-management>";
        let elements = xml::parse(data, &Scope::default()).unwrap();
        let shown = verbose(&elements);
        let rest = shown.strip_prefix(&state(&elements)).unwrap();
        assert_eq!(
            rest,
            "Clock unset              : true\nLast down\n Reason                  : evicted\n"
        );
    }
}
