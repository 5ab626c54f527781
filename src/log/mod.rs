//! Layer 1: the log. One line for each event, with its fields; where it goes is an option of the start, how much of it
//! is configuration.
//!
//! Every part of the agent logs through `tracing`, so none but `main.rs` and `agent.rs` knows of this module. Whatever
//! the log goes to, the newest of it is in a [`buffer`] too, from which operators read it. What an rpc has changed is
//! told under the part [`AUDIT`]. No secret is logged: who logs something that may hold one does not log the value.

pub mod buffer;
mod file;
mod levels;
mod syslog;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as lines, reload};

use crate::model::settings::logging::LogSettings;
use buffer::{Buffer, Recorder};
use file::LogFile;
pub use levels::LevelError;
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
    /// This process has one already.
    #[error("this process has a log already")]
    Started,
}

/// The log of this process. Clones are the same.
#[derive(Clone, Default)]
pub struct Log {
    buffer: Buffer,
    levels: Option<Arc<Levels>>,
    file: Option<LogFile>,
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
        let mut log = Self::default();
        let sink = log.open(&setup.sink, setup.form)?;
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(Recorder::new(log.buffer.clone()))
            .with(sink);
        log.levels = Some(Arc::new(Levels {
            start: level,
            filter: handle,
        }));
        Ok((log, subscriber.into()))
    }

    fn open<S>(
        &mut self,
        sink: &Sink,
        form: Form,
    ) -> Result<Box<dyn Layer<S> + Send + Sync>, LogError>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let target = match sink {
            Sink::Stderr => return Ok(written(form, io::stderr().is_terminal(), io::stderr)),
            Sink::File(path) => {
                let opened = LogFile::open(path);
                let file = opened.map_err(|source| LogError::File {
                    path: path.clone(),
                    source,
                })?;
                self.file = Some(file.clone());
                return Ok(written(form, false, file));
            }
            Sink::Journald => {
                let journal = tracing_journald::layer().map_err(LogError::Journald)?;
                return Ok(Box::new(journal.with_field_prefix(None)));
            }
            Sink::SyslogSocket(path) => Target::Unix(path.clone()),
            Sink::SyslogUdp(address) => Target::Udp(*address),
        };
        let syslog = Syslog::open(target, self.name.clone()).map_err(LogError::Syslog)?;
        Ok(Box::new(syslog))
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

    /// Opens the file again, which may have been moved (SIGHUP).
    ///
    /// # Errors
    /// It cannot be; the log goes on in the old one.
    pub fn reopen(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), LogFile::reopen)
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

fn written<S, W>(form: Form, ansi: bool, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> lines::MakeWriter<'a> + Send + Sync + 'static,
{
    // It would be told on stderr too, and whoever cannot write there panics: a log on a full disk ends no session.
    let layer = lines::layer().log_internal_errors(false).with_writer(to);
    match form {
        Form::Text => Box::new(layer.with_ansi(ansi)),
        Form::Json => Box::new(layer.json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
