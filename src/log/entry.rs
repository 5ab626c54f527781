//! One event of the log, as every sink and every reader has it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The most octets of an entry's texts; the rest is cut off.
pub const LONGEST: usize = 8 << 10;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts from 1 since the start of the agent.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// How serious.
    pub level: Level,
    /// The part of the agent, without the name of the program; of what another crate tells, its own name.
    pub module: Cow<'static, str>,
    /// What happened, without the fields.
    pub message: String,
    /// The values that belong to it, in their order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// What is told now; it has no number yet.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut entry = Self {
            number: 0,
            at: SystemTime::now(),
            level: *metadata.level(),
            module: Cow::Borrowed(part(metadata.target())),
            message: String::new(),
            fields: Vec::new(),
        };
        let left = LONGEST;
        event.record(&mut Visitor {
            entry: &mut entry,
            left,
        });
        entry
    }

    /// What the log says of itself.
    pub(super) fn own(level: Level, message: String) -> Self {
        Self {
            number: 0,
            at: SystemTime::now(),
            level,
            module: Cow::Borrowed("log"),
            message,
            fields: Vec::new(),
        }
    }

    /// The octets of its texts.
    pub(super) fn octets(&self) -> usize {
        let of = |value: &Value| value.as_str().map_or(8, str::len);
        let fields = self.fields.iter();
        self.message.len() + fields.map(|(_, value)| of(value)).sum::<usize>()
    }

    /// The message and its fields as `name=value` in one line, without control characters. A text that could pass for
    /// other fields is in quotes: whoever names himself so has not forged one.
    pub fn line(&self) -> String {
        let mut line = escaped(&self.message).into_owned();
        for (name, value) in &self.fields {
            // Writing to a string does not fail.
            let _ = match value {
                Value::String(text) if is_plain(text) => write!(line, " {name}={text}"),
                Value::String(text) => write!(line, " {name}={text:?}"),
                other => write!(line, " {name}={other}"),
            };
        }
        line
    }
}

/// The part of the agent that an event is from.
fn part(target: &'static str) -> &'static str {
    target.strip_prefix("tether::").unwrap_or(target)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || " =\"".contains(c))
}

/// A line of its own stays one, whoever has written what is in it.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

struct Visitor<'a> {
    entry: &'a mut Entry,
    /// Octets that texts may still take.
    left: usize,
}

impl Visitor<'_> {
    /// As much of a text as there is room for.
    fn text(&mut self, value: fmt::Arguments<'_>) -> String {
        let mut bounded = Bounded {
            text: String::new(),
            left: self.left,
        };
        // An error says that it is full.
        let _ = bounded.write_fmt(value);
        self.left -= bounded.text.len();
        bounded.text
    }

    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let text = self.text(value);
        match field.name() {
            "message" => self.entry.message = text,
            // What comes from the crate `log` has its origin in fields.
            "log.target" => self.entry.module = Cow::Owned(text),
            name if name.starts_with("log.") => {}
            name => self.entry.fields.push((name, Value::String(text))),
        }
    }

    fn put_number(&mut self, field: &Field, value: Value) {
        if !field.name().starts_with("log.") {
            self.entry.fields.push((field.name(), value));
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_number(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_number(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put_number(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_number(field, value.into());
    }
}

/// A text that stops growing, between two characters.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let end = more.floor_char_boundary(self.left);
        self.text.push_str(&more[..end]);
        self.left = if end < more.len() { 0 } else { self.left - end };
        match end < more.len() {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;

    use super::*;

    #[test]
    fn an_event_is_one_line_with_its_fields() {
        let entries = told(|| {
            tracing::warn!(
                user = "admin outcome=ok\n",
                host = "a",
                failures = 3,
                recovery = false,
                nobody = "",
                "refused"
            );
            tracing::info!(target: "audit", "done");
        });
        let line =
            r#"refused user="admin outcome=ok\n" host=a failures=3 recovery=false nobody="""#;
        assert_eq!(entries[0].line(), line);
        assert_eq!((entries[0].number, entries[0].level), (1, Level::WARN));
        assert_eq!(entries[0].module, "log::entry::tests");
        assert_eq!((entries[1].number, &*entries[1].module), (2, "audit"));
    }

    #[test]
    fn no_text_of_a_peer_makes_a_line_or_a_field_of_its_own() {
        let forged = "x\r\n2026-01-01T00:00:00Z INFO audit: rpc user=admin\u{1b}[2J\u{85}";
        let error = std::io::Error::other(forged);
        let entries = told(|| {
            tracing::warn!(%error, debug = ?forged, "it said {forged}");
        });
        let line = entries[0].line();
        assert!(!line.contains(char::is_control), "{line:?}");
        assert_eq!(line.matches(" user=").count(), 3, "{line}");
        // In the message there are no fields to be mistaken for; in values all is between quotes.
        let (_, fields) = line.split_once(" error=").unwrap();
        assert!(fields.starts_with("\"x\\r\\n2026"), "{line}");
    }

    #[test]
    fn a_long_entry_is_cut_between_characters() {
        let long = "y".repeat(100_000);
        let entries = told(|| {
            tracing::info!(long, more = long, "{}é", "x".repeat(LONGEST - 1));
        });
        assert_eq!(entries[0].message.len(), LONGEST - 1);
        assert!(entries[0].octets() <= LONGEST);
    }

    #[test]
    fn an_event_of_the_crate_log_is_told_by_its_own_target() {
        let entries = told(|| {
            tracing::info!(target: "log", { "log.target" = "rustls::client", "log.line" = 7 }, "hello");
        });
        assert_eq!(entries[0].module, "rustls::client");
        assert_eq!(entries[0].line(), "hello");
    }
}
