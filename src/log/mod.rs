//! Layer 1: the log. One line for each event, with its fields; where it goes is an option of the start, how much of it
//! is configuration.
//!
//! Every part of the agent logs through `tracing`, so none but `main.rs` and `agent.rs` knows of this module. An event
//! becomes an [`entry`] of the [`buffer`], from which operators read the newest and a thread of its own, the only one that
//! may wait for it, feeds the sink. What an rpc has changed is told under the part [`AUDIT`]. No secret is logged: who logs
//! something that may hold one does not log the value.

pub mod buffer;
pub mod entry;
mod file;
mod journald;
pub mod levels;
mod lines;
mod sink;
mod syslog;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::model::settings::logging::LogSettings;
use buffer::{Buffer, Recorder};
use file::LogFile;
use journald::Journal;
pub use levels::LevelError;
use lines::Lines;
use sink::{Output, ToFile, ToStderr};
use syslog::{Syslog, Target};

/// The part under which is told who changed what.
pub const AUDIT: &str = "audit";

/// Where the log goes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub enum Sink {
    /// Standard error.
    #[default]
    Stderr,
    /// The systemd journal, with each field as one of the journal's.
    Journald,
    /// A file, opened again at SIGHUP.
    File(PathBuf),
    /// A Unix datagram socket, to which RFC 5424 is spoken.
    SyslogSocket(PathBuf),
    /// A collector of syslog over UDP (RFC 5426).
    SyslogUdp(SocketAddr),
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let syslog = |to: &str| match to.parse() {
            Ok(address) => Ok(Self::SyslogUdp(address)),
            Err(_) if to.starts_with('/') => Ok(Self::SyslogSocket(to.into())),
            Err(_) => Err(format!(
                "{to:?} is neither ADDRESS:PORT nor the path of a socket"
            )),
        };
        match text.split_once(':') {
            _ if text.starts_with('/') => Ok(Self::File(text.into())),
            None if text == "stderr" => Ok(Self::Stderr),
            None if text == "journald" => Ok(Self::Journald),
            None if text == "syslog" => Ok(Self::SyslogSocket("/dev/log".into())),
            Some(("syslog", to)) => syslog(to),
            _ => Err(
                "stderr, journald, syslog, syslog:ADDRESS:PORT, syslog:/SOCKET or /FILE is needed"
                    .to_owned(),
            ),
        }
    }
}

impl TryFrom<String> for Sink {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The form of lines on standard error and in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How the log is to be started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The least level that is logged where the configuration says nothing; `info` if absent. Also directives of
    /// `tracing-subscriber`, for developers.
    pub level: Option<String>,
    /// The form of lines.
    pub form: Form,
    /// Where they go.
    pub sink: Sink,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("--log {0:?} is no level: error, warn, info, debug or trace")]
    Level(String),
    /// The file cannot be written.
    #[error("the log file {path} (--log-to) cannot be opened: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no journal.
    #[error("the journal (--log-to) cannot be reached: {0}")]
    Journald(io::Error),
    /// There can be no socket.
    #[error("syslog (--log-to) cannot be reached: {0}")]
    Syslog(io::Error),
    /// The system has no thread for it.
    #[error("the log cannot be started: {0}")]
    Thread(io::Error),
    /// This process has one already.
    #[error("this process has a log already")]
    Started,
}

/// The log of this process. Clones are the same.
#[derive(Clone, Default)]
pub struct Log {
    buffer: Buffer,
    levels: Option<Arc<Levels>>,
    name: syslog::Name,
}

struct Levels {
    start: String,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// A level or a sink that cannot be used, or a second start.
    pub fn start(setup: Setup) -> Result<Self, LogError> {
        let (log, subscriber) = Self::prepare(setup)?;
        subscriber.try_init().map_err(|_| LogError::Started)?;
        Ok(log)
    }

    /// A log, and what is to hear the events of which it is made.
    ///
    /// # Errors
    /// A level or a sink that cannot be used.
    pub fn prepare(setup: Setup) -> Result<(Self, Dispatch), LogError> {
        let level = setup.level.unwrap_or_else(|| "info".to_owned());
        let filter = levels::filter(&level, &LogSettings::default())
            .ok_or_else(|| LogError::Level(level.clone()))?;
        let (filter, handle) = reload::Layer::new(filter);
        let log = Self {
            levels: Some(Arc::new(Levels {
                start: level,
                filter: handle,
            })),
            ..Self::default()
        };
        let output = output(&setup.sink, setup.form, &log.name)?;
        sink::start(log.buffer.clone(), output).map_err(LogError::Thread)?;
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(Recorder::new(log.buffer.clone()));
        Ok((log, subscriber.into()))
    }

    /// Logs at these levels from now on.
    pub fn set_levels(&self, settings: &LogSettings) {
        let Some(levels) = &self.levels else { return };
        let Some(filter) = levels::filter(&levels.start, settings) else {
            return;
        };
        // It fails only when the subscriber is gone, and the log with it.
        let _ = levels.filter.reload(filter);
    }

    /// Calls this device so in what is sent to other hosts.
    pub fn set_name(&self, name: Option<&str>) {
        self.name.set(name);
    }

    /// Has the file opened again, which may have been moved (SIGHUP). What comes of it is in the log.
    pub fn reopen(&self) {
        self.buffer.moved();
    }

    /// Waits until all there is was written, but no longer than this: the last thing that a process does.
    pub fn flush(&self, patience: Duration) {
        self.buffer.flush(patience);
    }

    /// The newest of the log.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }
}

/// Checks that the configured parts are parts of the agent.
///
/// # Errors
/// The first that is not.
pub fn check(settings: &LogSettings) -> Result<(), LevelError> {
    levels::check(settings)
}

fn output(sink: &Sink, form: Form, name: &syslog::Name) -> Result<Box<dyn Output>, LogError> {
    let lines = |is_coloured| Lines { form, is_coloured };
    let target = match sink {
        Sink::Stderr => return Ok(Box::new(ToStderr(lines(io::stderr().is_terminal())))),
        Sink::File(path) => {
            let file = LogFile::open(path).map_err(|source| LogError::File {
                path: path.clone(),
                source,
            })?;
            let lines = lines(false);
            return Ok(Box::new(ToFile { lines, file }));
        }
        Sink::Journald => {
            let journal = Journal::open(journald::SOCKET.into());
            return Ok(Box::new(journal.map_err(LogError::Journald)?));
        }
        Sink::SyslogSocket(path) => Target::Unix(path.clone()),
        Sink::SyslogUdp(address) => Target::Udp(*address),
    };
    let syslog = Syslog::open(target, name.clone()).map_err(LogError::Syslog)?;
    Ok(Box::new(syslog))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told meanwhile.
    pub(super) fn told(log: impl FnOnce()) -> Vec<Arc<entry::Entry>> {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(Recorder::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        buffer.newest(usize::MAX, |_| true)
    }

    #[test]
    fn each_sink_is_known_by_its_word() {
        let sink = |text: &str| text.parse::<Sink>();
        assert_eq!(sink("stderr"), Ok(Sink::Stderr));
        assert_eq!(sink("journald"), Ok(Sink::Journald));
        assert_eq!(sink("/var/log/a:b"), Ok(Sink::File("/var/log/a:b".into())));
        assert_eq!(sink("syslog"), Ok(Sink::SyslogSocket("/dev/log".into())));
        assert_eq!(
            sink("syslog:/run/x"),
            Ok(Sink::SyslogSocket("/run/x".into()))
        );
        assert_eq!(
            sink("syslog:[::1]:514"),
            Ok(Sink::SyslogUdp("[::1]:514".parse().unwrap()))
        );
        for wrong in ["", "syslog:", "syslog:host", "file", "journald:x"] {
            assert!(sink(wrong).is_err(), "{wrong}");
        }
    }
}
