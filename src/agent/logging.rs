//! The log as configuration drives it and operators read it.

use tracing::Level;

use crate::datastore::subscriber::{ActionHandler, Change, ConfigSubscriber, Prepared};
use crate::log::entry::Entry;
use crate::log::{self, Log};
use crate::model::date_and_time;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::paths;
use crate::model::settings::logging::{LogLevel, LogSettings};
use crate::model::tree::Tree;

/// Where what drives the log is configured.
const READ: [&str; 2] = [paths::LOGGING, paths::HOSTNAME];
/// Entries that are read where nobody says how many.
const MOST: usize = 100;

/// Takes over the levels, and what the device is called.
pub(super) struct Levels(pub Log);

impl ConfigSubscriber for Levels {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(READ.to_vec())
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if !change.at_start && !READ.iter().any(|path| change.diff.touches(path)) {
            return Ok(Box::new(|| {}));
        }
        let settings = LogSettings::read(change.new);
        log::check(&settings).map_err(|error| {
            let path = format!("{}/module[name='{}']/name", paths::LOGGING, error.name);
            RpcError::application(ErrorTag::InvalidValue, error.to_string()).at(path)
        })?;
        let log = self.0.clone();
        Ok(Box::new(move || {
            log.set_name(settings.name.as_deref());
            if let Some(level) = settings.modules.get(log::AUDIT)
                && *level < LogLevel::Info
            {
                // The record of this commit itself comes too late.
                let level = level.as_yang();
                tracing::warn!(target: "audit", level, "the audit is turned down; the list of commits has who did it");
            }
            log.set_levels(&settings);
        }))
    }
}

/// The action `read-log`.
pub(super) struct ReadLog(pub Log);

impl ActionHandler for ReadLog {
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let leaf = |name: &str| input.value(&format!("{}/{name}", paths::READ_LOG));
        let most = leaf("most").and_then(|most| most.parse().ok());
        let after: u64 = leaf("after")
            .and_then(|after| after.parse().ok())
            .unwrap_or(0);
        let level = leaf("level").and_then(|level| LogLevel::from_yang(&level));
        let module = leaf("module");
        let wanted = |entry: &Entry| {
            entry.number > after
                && level.is_none_or(|level| of(entry.level) <= level)
                && module
                    .as_deref()
                    .is_none_or(|module| is_of(&entry.module, module))
        };
        let mut output = Tree::new(input.schema());
        for entry in self.0.buffer().newest(most.unwrap_or(MOST), wanted) {
            write(&mut output, &entry)?;
        }
        Ok(output)
    }
}

fn write(output: &mut Tree, entry: &Entry) -> Result<(), RpcError> {
    let at = format!("{}/entry[number='{}']", paths::READ_LOG, entry.number);
    let mut set = |leaf: &str, value: &str| output.set_output(&format!("{at}/{leaf}"), Some(value));
    set("at", &date_and_time::milliseconds(entry.at))?;
    set("level", of(entry.level).as_yang())?;
    set("module", &entry.module)?;
    set("message", &entry.line())
}

/// Whether a part is another one or within it.
fn is_of(part: &str, whole: &str) -> bool {
    let rest = part.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_another_by_whole_words() {
        assert!(is_of("netconf::session", "netconf"));
        assert!(is_of("netconf", "netconf"));
        assert!(!is_of("netconfig", "netconf"));
        assert!(!is_of("netconf", "netconf::session"));
    }
}
