//! `display …`, letter for letter as the manual prints it.

use chrono::{DateTime, Local};

use super::lists::{child, text};
use crate::model::status::{
    ConnectionState, DeviceState, FailureReason, NOT_APPLICABLE, ProcessState,
};
use crate::model::xml::Element;

/// How a value of a leaf is shown; none if it is no such value.
type Shown = fn(&str) -> Option<String>;

/// The lines of `display cloud-management state` (manual, "Verifying the configuration"): their names there, the leaves that
/// they show, and how.
const SHOWN: [(&str, &str, Shown); 9] = [
    ("Cloud connection state", "connection-state", |value| {
        ConnectionState::from_yang(value).map(|state| state.as_display().to_owned())
    }),
    ("Device state", "device-state", |value| {
        DeviceState::from_yang(value).map(|state| state.as_display().to_owned())
    }),
    ("Cloud server address", "server-address", as_it_is),
    ("Cloud server domain name", "server-domain", as_it_is),
    ("Cloud server port", "server-port", as_it_is),
    ("Connected at", "connected-at", connected_at),
    ("Duration", "duration", |value| {
        value.parse().ok().map(duration)
    }),
    ("Process state", "process-state", |value| {
        ProcessState::from_yang(value).map(|state| state.as_display().to_owned())
    }),
    ("Failure reason", "failure-reason", |value| {
        FailureReason::from_yang(value).map(|reason| reason.as_display().to_owned())
    }),
];

fn as_it_is(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// `display cloud-management state verbose`: the same, and then all else there is, under its names in the model.
pub fn verbose(roots: &[Element]) -> String {
    let mut shown = state(roots);
    let state = roots.iter().find_map(|root| child(root, "state"));
    for more in state.map_or(&[][..], |state| &state.children) {
        if SHOWN.iter().all(|(_, leaf, _)| *leaf != more.name) {
            outline(more, 0, &mut shown);
        }
    }
    shown
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

/// `display cloud-management state` of the content of a `<data>`.
pub fn state(roots: &[Element]) -> String {
    let state = roots.iter().find_map(|root| child(root, "state"));
    let lines = SHOWN.map(|(name, leaf, shown)| {
        let value = state.and_then(|state| text(state, leaf)).and_then(shown);
        let value = value.unwrap_or_else(|| NOT_APPLICABLE.to_owned());
        format!("{name:<25}: {value}\n")
    });
    lines.concat()
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
