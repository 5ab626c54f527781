//! What the agent is started with: arguments, and the same keys in a TOML file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use crate::log::{Form, Setup, Sink};
use crate::model::schema::NoModule;

/// Options of `tether agent`; an argument comes before the key of the same name in the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// TOML file with any of the other options as keys
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// State directory [default: /var/lib/tether for root, else $XDG_STATE_HOME/tether]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of NETCONF over SSH; may be repeated [default: 127.0.0.1:8830]
    #[arg(long, value_name = "ADDR:PORT")]
    pub ssh: Vec<SocketAddr>,
    /// Unix socket of local NETCONF [default: DIR/tether.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Unix socket for programs beside the agent, such as hooks of DHCP clients [default: DIR/control.sock]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Serial number [default: what the hardware says, else one made at the first start]
    #[arg(long, value_name = "TEXT")]
    pub serial_number: Option<String>,
    /// Configuration for the first start (RFC 9195 instance data, JSON or XML)
    #[arg(long, value_name = "FILE")]
    pub factory_default: Option<PathBuf>,
    /// Further YANG module whose data the datastores also hold; may be repeated
    #[arg(long, value_name = "FILE")]
    pub yang: Vec<PathBuf>,
    /// Keep running only by a copy to the startup datastore (RFC 6241, section 8.7)
    #[arg(long)]
    pub startup_datastore: bool,
    /// Address of the metrics for Prometheus, /metrics over HTTP [default: none]
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Least level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Form of the log on standard error and in a file: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Where the log goes: stderr, journald, /FILE, syslog, syslog:/SOCKET or syslog:ADDRESS:PORT [default: stderr]
    #[arg(long, value_name = "WHERE")]
    pub log_to: Option<Sink>,
    /// Program of the agent, whose command line is the shell over SSH [default: the one that runs]
    #[arg(skip)]
    #[serde(skip)]
    pub program: Option<PathBuf>,
    /// Command that the rpc system-restart runs (file only)
    #[arg(skip)]
    pub restart_command: Vec<String>,
    /// Command that the rpc system-shutdown runs (file only)
    #[arg(skip)]
    pub shutdown_command: Vec<String>,
}

/// Characters of a line that is refused.
const EXCERPT: usize = 60;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {path} is refused: {reason}; tether-agent(1) has all keys", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why, in one line.
        reason: String,
    },
    /// A YANG module cannot be read.
    #[error("the YANG module {path} (--yang) cannot be read: {source}", path = path.display())]
    Yang {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no YANG module.
    #[error("{path} (--yang) is no YANG module: {source}", path = path.display())]
    NoModule {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NoModule,
    },
    /// There is no place to keep state.
    #[error("no state directory: give --state-dir DIR, or set HOME or XDG_STATE_HOME")]
    NoStateDirectory,
}

impl Options {
    /// The program of the agent.
    pub(super) fn own_program(&self) -> PathBuf {
        // Without /proc there is no shell over SSH, and that is all.
        let running = || std::env::current_exe().unwrap_or_default();
        self.program.clone().unwrap_or_else(running)
    }

    /// Fills what no argument gave from the file, if one is named.
    ///
    /// # Errors
    /// A file that cannot be read or has unknown keys or wrong values.
    pub fn with_file(self) -> Result<Self, OptionsError> {
        let Some(path) = self.config.clone() else {
            return Ok(self);
        };
        let text = std::fs::read_to_string(&path).map_err(|source| OptionsError::File {
            path: path.clone(),
            source,
        })?;
        let file: Self = toml::from_str(&text).map_err(|error| OptionsError::Content {
            path,
            reason: reason(&error, &text),
        })?;
        let first = |own: Vec<_>, other| if own.is_empty() { other } else { own };
        Ok(Self {
            config: self.config,
            state_dir: self.state_dir.or(file.state_dir),
            ssh: if self.ssh.is_empty() {
                file.ssh
            } else {
                self.ssh
            },
            socket: self.socket.or(file.socket),
            control: self.control.or(file.control),
            serial_number: self.serial_number.or(file.serial_number),
            factory_default: self.factory_default.or(file.factory_default),
            yang: first(self.yang, file.yang),
            startup_datastore: self.startup_datastore || file.startup_datastore,
            metrics: self.metrics.or(file.metrics),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            log_to: self.log_to.or(file.log_to),
            program: self.program,
            restart_command: file.restart_command,
            shutdown_command: file.shutdown_command,
        })
    }

    /// How the log is to be started.
    pub fn log(&self) -> Setup {
        Setup {
            level: self.log.clone(),
            form: match self.log_format.unwrap_or_default() {
                LogFormat::Text => Form::Text,
                LogFormat::Json => Form::Json,
            },
            sink: self.log_to.clone().unwrap_or_default(),
        }
    }

    /// The state directory, given or by default.
    ///
    /// # Errors
    /// No home to keep it in.
    pub fn state_directory(&self) -> Result<PathBuf, OptionsError> {
        default_state_directory(self.state_dir.clone())
    }
}

/// Where in the text, and why, in one line.
fn reason(error: &toml::de::Error, text: &str) -> String {
    let words = error.message().lines().collect::<Vec<_>>().join(" ");
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else {
        return words;
    };
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    let shown: String = line.chars().take(EXCERPT).collect();
    format!("line {}, {shown:?}: {words}", number + 1)
}

/// `given`, else /var/lib/tether for root, else a folder of the user's own.
///
/// # Errors
/// No home to keep it in.
pub fn default_state_directory(given: Option<PathBuf>) -> Result<PathBuf, OptionsError> {
    if let Some(given) = given {
        return Ok(given);
    }
    if nix::unistd::Uid::effective().is_root() {
        return Ok(PathBuf::from("/var/lib/tether"));
    }
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = || variable("HOME").map(|home| home.join(".local/state"));
    let base = variable("XDG_STATE_HOME").or_else(home);
    base.map(|base| base.join("tether"))
        .ok_or(OptionsError::NoStateDirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, arguments: Options) -> Result<Options, OptionsError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tether.toml");
        std::fs::write(&path, text).unwrap();
        Options {
            config: Some(path),
            ..arguments
        }
        .with_file()
    }

    #[test]
    fn an_argument_comes_before_the_file() {
        let text = "ssh = [\"0.0.0.0:830\"]\nserial-number = \"FILE\"\nlog-format = \"json\"\nstartup-datastore = true";
        let arguments = Options {
            serial_number: Some("ARGUMENT".to_owned()),
            ..Options::default()
        };
        let options = with(text, arguments).unwrap();
        assert_eq!(options.ssh, ["0.0.0.0:830".parse().unwrap()]);
        assert_eq!(options.serial_number.as_deref(), Some("ARGUMENT"));
        assert_eq!(options.log_format, Some(LogFormat::Json));
        assert!(options.startup_datastore);
    }

    #[test]
    fn what_is_wrong_is_refused_in_one_line_with_its_place() {
        for (text, place, words) in [
            (
                "sshh = 1",
                r#"line 1, "sshh = 1": "#,
                "unknown field `sshh`",
            ),
            (
                "log = \"info\"\n\nmetrics = \"localhost\"\n",
                r#"line 3, "metrics = \"localhost\"": "#,
                "socket address",
            ),
            (
                "ssh = [\n  \"0.0.0.0:830\",\n  \"nowhere\",\n]",
                r#"line 3, "\"nowhere\",": "#,
                "socket address",
            ),
            ("startup-datastore = 1", "line 1, ", "boolean"),
            ("log-format = \"xml\"", "line 1, ", "`text` or `json`"),
            ("log = \"info", "line 1, ", ""),
            ("a\u{1b}\n= 1", "line 1, ", ""),
        ] {
            let error = with(text, Options::default()).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(words), "{error}");
            assert!(!error.contains(['\n', '\u{1b}']), "{error}");
            assert!(error.ends_with("tether-agent(1) has all keys"), "{error}");
        }
    }
}
