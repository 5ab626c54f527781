//! Lines for people and for programs.

use serde_json::{Map, Value, json};
use tracing::Level;

use super::Form;
use super::entry::Entry;
use crate::model::date_and_time;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) form: Form,
    /// Whether the level has a colour.
    pub(super) is_coloured: bool,
}

impl Lines {
    /// The entry in one line, with its end.
    pub(super) fn of(self, entry: &Entry) -> String {
        match self.form {
            Form::Text => self.text(entry),
            Form::Json => json(entry),
        }
    }

    fn text(self, entry: &Entry) -> String {
        let at = date_and_time::milliseconds(entry.at);
        let (on, off) = match self.is_coloured {
            true => (colour(entry.level), "\x1b[0m"),
            false => ("", ""),
        };
        let (level, module) = (entry.level.as_str(), &entry.module);
        format!("{at} {on}{level:>5}{off} {module}: {}\n", entry.line())
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

fn json(entry: &Entry) -> String {
    let own = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
    let mut fields: Map<String, Value> = entry.fields.iter().map(own).collect();
    fields.insert("message".to_owned(), entry.message.clone().into());
    let line = json!({
        "timestamp": date_and_time::milliseconds(entry.at),
        "level": entry.level.as_str(),
        "target": entry.module,
        "fields": fields,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    fn lines(form: Form) -> Vec<String> {
        let lines = Lines {
            form,
            is_coloured: false,
        };
        let entries = told(|| {
            tracing::warn!(target: "tether::tunnel::driver", user = "a\nb", failures = 3, "re\nfused");
        });
        entries.iter().map(|entry| lines.of(entry)).collect()
    }

    #[test]
    fn a_line_for_people_has_time_level_part_and_words() {
        let lines = lines(Form::Text);
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == 24, "{time}");
        assert_eq!(
            rest,
            " WARN tunnel::driver: re\\nfused user=\"a\\nb\" failures=3\n"
        );
    }

    #[test]
    fn a_line_for_programs_is_one_object_with_each_value_as_it_is() {
        let lines = lines(Form::Json);
        assert_eq!(lines[0].matches('\n').count(), 1);
        let object: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(object["level"], "WARN");
        assert_eq!(object["target"], "tunnel::driver");
        let fields = json!({"message": "re\nfused", "user": "a\nb", "failures": 3});
        assert_eq!(object["fields"], fields);
    }

    #[test]
    fn on_a_terminal_the_level_alone_is_coloured() {
        let lines = Lines {
            form: Form::Text,
            is_coloured: true,
        };
        let entries = told(|| tracing::error!("\x1b[2Jx"));
        let line = lines.of(&entries[0]);
        assert!(line.contains("\x1b[31mERROR\x1b[0m "), "{line:?}");
        assert_eq!(line.matches('\x1b').count(), 2, "{line:?}");
    }
}
