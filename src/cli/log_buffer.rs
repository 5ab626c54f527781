//! `display logbuffer`: the newest of the log, over the action `read-log` of device-management.

use chrono::{DateTime, Local};

use super::edit;
use super::lists::{table, text};
use super::parse::Parsed;
use crate::model::status::NOT_APPLICABLE;
use crate::model::xml::Element;

/// All that the device keeps (`read-log`, `most`).
const ALL: &str = "1000";
/// The words that name a level.
const LEVELS: [&str; 5] = ["error", "warning", "info", "debug", "trace"];

/// What is asked of the device.
pub(super) fn request(parsed: &Parsed) -> String {
    let mut input = vec![("most", parsed.given.get("number").unwrap_or(ALL))];
    let level = parsed.words.iter().find(|word| LEVELS.contains(word));
    input.extend(level.map(|level| ("level", *level)));
    input.extend(parsed.given.get("module").map(|module| ("module", module)));
    edit::read_log(&input)
}

/// The entries of an answer, the oldest first unless `reverse` was said.
pub(super) fn log_buffer(entries: &[Element], parsed: &Parsed) -> String {
    let number = |entry: Option<&Element>| text(entry?, "number").map(str::to_owned);
    let (Some(first), Some(last)) = (number(entries.first()), number(entries.last())) else {
        return "The log buffer holds no such message.\n".to_owned();
    };
    let mut rows: Vec<_> = entries.iter().map(row).collect();
    if parsed.words.contains(&"reverse") {
        rows.reverse();
    }
    let shown = format!(
        "Log buffer  : the last 1000 messages or 256 KiB since the agent started\n\
         Shown       : {} of the numbers {first} to {last}\n",
        rows.len()
    );
    shown + &table(["No.", "Time", "Level", "Module", "Message"], &rows)
}

fn row(entry: &Element) -> [String; 5] {
    let leaf = |name| text(entry, name).unwrap_or(NOT_APPLICABLE).to_owned();
    ["number", "at", "level", "module", "message"].map(|name| match name {
        "at" => time(&leaf(name)),
        name => leaf(name),
    })
}

/// `2019-01-27 14:18:40.123`, local time.
fn time(text: &str) -> String {
    let at = DateTime::parse_from_rfc3339(text);
    at.map_or_else(
        |_| NOT_APPLICABLE.to_owned(),
        |at| {
            let local = at.with_timezone(&Local);
            local.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::{Grammar, View};
    use crate::model::xml::{Scope, parse};

    fn parsed(line: &str) -> Parsed {
        let parsed = Grammar::default().parse(View::User, line);
        parsed.ok().flatten().unwrap()
    }

    #[test]
    fn what_is_asked_for_is_the_input_of_the_action() {
        let asked = request(&parsed("dis log level warn module tunnel size 7"));
        assert!(
            asked.contains(
                "<read-log><most>7</most><level>warning</level><module>tunnel</module></read-log>"
            ),
            "{asked}"
        );
        assert!(
            request(&parsed("dis logbuffer")).contains("<read-log><most>1000</most></read-log>")
        );
    }

    #[test]
    fn messages_are_shown_as_they_came_or_the_newest_first() {
        let entry = |number: u8, level: &str| {
            format!(
                "<entry><number>{number}</number><at>2019-01-27T14:18:40.5Z</at><level>{level}</level>\
                 <module>tunnel</module><message>m{number}</message></entry>"
            )
        };
        let entries = parse(
            &(entry(4, "info") + &entry(6, "warning")),
            &Scope::default(),
        )
        .unwrap();
        let shown = log_buffer(&entries, &parsed("dis log"));
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1], "Shown       : 2 of the numbers 4 to 6");
        assert!(lines[2].starts_with("No.  Time"), "{shown}");
        assert!(
            lines[3].starts_with("4 ") && lines[3].ends_with(".500  info     tunnel  m4"),
            "{shown}"
        );
        let reverse = log_buffer(&entries, &parsed("dis log reverse"));
        assert!(
            reverse.lines().nth(3).unwrap().starts_with("6 "),
            "{reverse}"
        );
        assert_eq!(
            log_buffer(&[], &parsed("dis log")),
            "The log buffer holds no such message.\n"
        );
    }
}
