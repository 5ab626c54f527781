//! Which events are logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::AUDIT;
use crate::model::settings::logging::LogSettings;

/// The parts of the agent that log, by the first word of their names.
pub const PARTS: [&str; 11] = [
    AUDIT,
    "agent",
    "cli",
    "datastore",
    "dhcp",
    "model",
    "netconf",
    "netlink",
    "protocol",
    "transport",
    "tunnel",
];

/// A part that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no part of the agent is called {name}: there are {parts}", parts = PARTS.join(", "))]
pub struct LevelError {
    /// What was configured.
    pub name: String,
}

pub(super) fn check(settings: &LogSettings) -> Result<(), LevelError> {
    let is_part = |name: &str| PARTS.contains(&name.split("::").next().unwrap_or_default());
    match settings.modules.keys().find(|name| !is_part(name)) {
        Some(name) => Err(LevelError { name: name.clone() }),
        None => Ok(()),
    }
}

/// russh tells every step of every connection at info, and at trace what a login sends; tungstenite tells at trace what the
/// cloud connection carries, unbinding codes too.
const QUIET: [&str; 3] = ["russh", "tungstenite", "tokio_tungstenite"];

/// The levels of the start, with those that are configured in their place. The audit is at info, whatever the level of all,
/// unless somebody names it. `None`: what the start says is no level, or
/// names a crate that tells secrets.
pub(super) fn filter(start: &str, settings: &LogSettings) -> Option<EnvFilter> {
    let own = |name: &str| match name {
        AUDIT => AUDIT.to_owned(),
        name => format!("tether::{name}"),
    };
    let modules = settings.modules.iter();
    let modules: String = modules
        .map(|(name, level)| format!(",{}={}", own(name), level.as_tracing()))
        .collect();
    // As the configuration spells it.
    let start = if start == "warning" { "warn" } else { start };
    let level = settings.level.map_or(start, |level| level.as_tracing());
    // As a directive a misspelt level would be the name of a part, of which everything is logged.
    let is_directive = level.contains(['=', ',']);
    if level.is_empty() || !is_directive && level.parse::<LevelFilter>().is_err() {
        return None;
    }
    if level.split(',').any(|directive| {
        QUIET
            .iter()
            .any(|quiet| directive.trim().starts_with(quiet))
    }) {
        return None;
    }
    let quiet: String = QUIET.iter().map(|name| format!(",{name}=warn")).collect();
    // Of two directives for one part the later holds.
    EnvFilter::try_new(format!("{AUDIT}=info,{level}{quiet}{modules}")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::settings::logging::LogLevel;

    fn settings(level: Option<LogLevel>, modules: &[(&str, LogLevel)]) -> LogSettings {
        let modules = modules
            .iter()
            .map(|(name, level)| ((*name).to_owned(), *level));
        LogSettings {
            level,
            modules: BTreeMap::from_iter(modules),
            name: None,
        }
    }

    #[test]
    fn crates_that_tell_secrets_stay_quiet_whatever_is_asked_for() {
        let all = filter("trace", &settings(None, &[])).unwrap().to_string();
        for quiet in ["russh=warn", "tungstenite=warn", "tokio_tungstenite=warn"] {
            assert!(all.contains(quiet), "{quiet}: {all}");
        }
        for asked in [
            "trace,tungstenite=trace",
            "russh::server=trace",
            "info, tokio_tungstenite[x]=trace",
        ] {
            assert!(filter(asked, &settings(None, &[])).is_none(), "{asked}");
        }
    }

    #[test]
    fn what_is_configured_comes_before_the_start_and_a_part_before_the_whole() {
        let text = |settings| filter("info", &settings).unwrap().to_string();
        assert!(text(settings(None, &[])).contains("info"));
        assert!(filter("warning", &settings(None, &[])).is_some());
        let both = text(settings(
            Some(LogLevel::Error),
            &[("tunnel", LogLevel::Trace), (AUDIT, LogLevel::Warning)],
        ));
        for directive in ["tether::tunnel=trace", "audit=warn", "russh=warn", "error"] {
            assert!(both.contains(directive), "{directive}: {both}");
        }
        assert!(!both.contains("info"), "{both}");
        let quiet = text(settings(Some(LogLevel::Error), &[]));
        assert!(quiet.contains("audit=info"), "{quiet}");
        let named = filter("error,audit=warn", &settings(None, &[])).unwrap();
        assert!(!named.to_string().contains("audit=info"), "{named}");
        for wrong in ["loud", "tether=loud", ""] {
            assert!(filter(wrong, &settings(None, &[])).is_none(), "{wrong}");
        }
        assert!(filter("info,tether::tunnel=debug", &settings(None, &[])).is_some());
    }

    #[test]
    fn a_part_that_there_is_not_is_named_with_those_that_there_are() {
        assert_eq!(
            check(&settings(None, &[("netconf::session", LogLevel::Debug)])),
            Ok(())
        );
        let error = check(&settings(None, &[("tunel", LogLevel::Debug)]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("called tunel") && error.contains("tunnel"),
            "{error}"
        );
    }
}
