//! How much is logged: `/device-management/logging`, and what the device is called in the log.

use std::collections::BTreeMap;

use super::read::entries;
use crate::model::paths;
use crate::model::tree::Tree;

/// `log-level` of device-management; each holds those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what needs an operator.
    Error,
    /// Also what the agent got over.
    Warning,
    /// Also each change of state.
    Info,
    /// Also each step.
    Debug,
    /// Also each message.
    Trace,
}

impl LogLevel {
    /// Every level, the fewest events first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warning,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The word of the YANG module.
    pub fn as_yang(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of a word of the YANG module.
    pub fn from_yang(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_yang() == word)
    }

    /// The word of the crate `tracing`.
    pub fn as_tracing(self) -> &'static str {
        match self {
            Self::Warning => "warn",
            other => other.as_yang(),
        }
    }
}

/// What is configured about the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Of every part that has no level of its own; absent means that of the start.
    pub level: Option<LogLevel>,
    /// Of parts of the agent, such as `tunnel`.
    pub modules: BTreeMap<String, LogLevel>,
    /// What the device is called in the log; absent means what the kernel calls it.
    pub name: Option<String>,
}

impl LogSettings {
    /// Reads it from a validated tree.
    pub fn read(tree: &Tree) -> Self {
        let level = tree.value(&format!("{}/level", paths::LOGGING));
        let modules = entries(tree, paths::LOGGING, "module").filter_map(|module| {
            let level = LogLevel::from_yang(&module.child_value("level")?)?;
            Some((module.child_value("name")?, level))
        });
        Self {
            level: level.and_then(|level| LogLevel::from_yang(&level)),
            modules: modules.collect(),
            name: tree.value(paths::HOSTNAME),
        }
    }
}
