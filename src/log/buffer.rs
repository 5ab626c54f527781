//! The newest of the log, for operators who have no shell on the device.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Entries that are kept.
pub const ENTRIES: usize = 1000;
/// Octets of their messages that are kept; the newest is there whatever it takes.
pub const OCTETS: usize = 256 << 10;
/// The longest message; the rest is cut off.
const LONGEST: usize = 2048;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts from 1 since the start of the agent.
    pub number: u64,
    /// When.
    pub at: SystemTime,
    /// How serious.
    pub level: Level,
    /// The part of the agent, without the name of the program.
    pub module: &'static str,
    /// In one line, with its fields as `name=value`.
    pub message: String,
}

/// The newest entries. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Buffer(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    octets: usize,
    last: u64,
}

impl Buffer {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, level: Level, module: &'static str, message: String) {
        let mut ring = self.ring();
        ring.last += 1;
        ring.octets += message.len();
        let entry = Entry {
            number: ring.last,
            at: SystemTime::now(),
            level,
            module,
            message,
        };
        ring.entries.push_back(entry);
        while ring.entries.len() > ENTRIES || ring.octets > OCTETS && ring.entries.len() > 1 {
            let oldest = ring.entries.pop_front();
            ring.octets -= oldest.map_or(0, |oldest| oldest.message.len());
        }
    }

    /// The newest `most` entries that are wanted, oldest first.
    pub fn newest(&self, most: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let ring = self.ring();
        let wanted = ring.entries.iter().rev().filter(|entry| wanted(entry));
        let mut found: Vec<_> = wanted.take(most).cloned().collect();
        found.reverse();
        found
    }
}

/// Puts every event into a buffer.
pub(super) struct Recorder(Buffer);

impl Recorder {
    pub(super) fn new(buffer: Buffer) -> Self {
        Self(buffer)
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        self.0
            .push(*metadata.level(), module(metadata.target()), line(event));
    }
}

/// The part of the agent that an event is from.
pub(super) fn module(target: &'static str) -> &'static str {
    target.strip_prefix("tether::").unwrap_or(target)
}

/// The event in one line of at most [`LONGEST`] octets, without control characters.
pub(super) fn line(event: &Event<'_>) -> String {
    let mut line = Line::default();
    event.record(&mut line);
    let Line {
        mut message,
        fields,
    } = line;
    message.push_str(&fields);
    if message.len() > LONGEST {
        let end = (0..=LONGEST)
            .rev()
            .find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
    }
    match message.contains(char::is_control) {
        true => message.replace(char::is_control, " "),
        false => message,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Who names himself so has not forged a field.
        match field.name() != "message" && value.contains([' ', '=', '"']) {
            true => self.record_debug(field, &value),
            false => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn recorded(log: impl FnOnce()) -> Buffer {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(Recorder::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        buffer
    }

    #[test]
    fn an_event_is_one_line_with_its_fields() {
        let buffer = recorded(|| {
            tracing::warn!(
                user = "admin outcome=ok\n",
                host = "a",
                failures = 3,
                "refused"
            );
            tracing::info!(target: "audit", "done");
        });
        let entries = buffer.newest(10, |_| true);
        assert_eq!(
            entries[0].message,
            r#"refused user="admin outcome=ok\n" host=a failures=3"#
        );
        assert_eq!((entries[0].number, entries[0].level), (1, Level::WARN));
        assert_eq!(entries[0].module, "log::buffer::tests");
        assert_eq!((entries[1].number, entries[1].module), (2, "audit"));
    }

    #[test]
    fn it_is_bounded_in_entries_and_in_octets() {
        let buffer = Buffer::default();
        for _ in 0..ENTRIES + 5 {
            buffer.push(Level::INFO, "x", "short".to_owned());
        }
        let all = buffer.newest(usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].number), (ENTRIES, 6));
        buffer.push(Level::INFO, "x", "x".repeat(OCTETS));
        assert_eq!(buffer.newest(usize::MAX, |_| true).len(), 1);
        assert_eq!(buffer.ring().octets, OCTETS);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let buffer =
            recorded(|| tracing::info!("{}é{}", "x".repeat(LONGEST - 1), "y".repeat(100_000)));
        let message = &buffer.newest(1, |_| true)[0].message;
        assert_eq!(message.len(), LONGEST - 1);
    }

    #[test]
    fn the_newest_that_are_wanted_come_oldest_first() {
        let buffer = Buffer::default();
        for level in [
            Level::INFO,
            Level::WARN,
            Level::INFO,
            Level::WARN,
            Level::WARN,
        ] {
            buffer.push(level, "x", String::new());
        }
        let warnings = buffer.newest(2, |entry| entry.level == Level::WARN);
        let numbers: Vec<_> = warnings.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [4, 5]);
    }
}
