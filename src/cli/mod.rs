//! Layer 2: the command line, a NETCONF client like any other.
//!
//! [`grammar`] is the table of all commands; `parse.rs` reads a line by it, `edit.rs` says what a command asks of the
//! server, `show.rs`, `lists.rs` and `configuration.rs` how answers look. [`session::Session`] puts these together: lines in,
//! text out. [`run`] and [`script`] give it lines that somebody has written before, `shell.rs` those that a person types at a
//! terminal: `terminal.rs` is how that is left, `ahead.rs` what was typed before it was asked for, `pager.rs` a page.

mod ahead;
pub mod configuration;
mod connection_test;
mod edit;
pub mod filters;
pub mod grammar;
pub mod lists;
mod log_buffer;
pub mod output;
mod pager;
pub mod parse;
pub mod printable;
pub mod session;
pub mod shell;
pub mod show;
pub mod terminal;
pub mod tokens;
pub mod values;
pub mod words;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::{CapabilitySet, CapabilitySets};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::protocol::client::ClientError;
use session::{Answer, Session};

/// Why no command could be run, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Nobody answers on the socket.
    #[error("no agent answers on {path}: {source}; is it running, and is this its --socket?", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket is not for this user.
    #[error("you may not use {path}: permission denied; become root or the user of the agent, or ask who owns it", path = path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// The agent has ended the session before it began.
    #[error(
        "the device lets in no further session: there are too many, or too many of this user (\"limits\" of device-management), or it is stopping"
    )]
    NotLetIn,
    /// The agent has ended the session.
    #[error(
        "the device has ended the session: another user has freed it, nothing was typed for too long, or the device is stopping"
    )]
    Ended,
    /// The session broke.
    #[error("the session with the device broke off: {0}")]
    Session(ClientError),
    /// The lines of a script cannot be read.
    #[error("the commands cannot be read: {0}")]
    Input(io::Error),
    /// A line of a script has no end.
    #[error("line {0} is longer than {LINE} octets: nothing of it is done")]
    LongLine(usize),
    /// What is shown cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// The system does not take back what the agent may do.
    #[error("the capabilities of the agent cannot be given up: {0}")]
    Capabilities(io::Error),
    /// A person cannot be served at this terminal.
    #[error("the terminal cannot be used: {0}")]
    Terminal(io::Error),
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            // However the system calls it.
            ClientError::Stream(_) => Self::Ended,
            error => Self::Session(error),
        }
    }
}

/// A session on a stream to the agent.
///
/// # Errors
/// The agent does not let the user in, or is none.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<Session<S>, CliError> {
    Session::open(stream).await.map_err(|error| match error {
        ClientError::Stream(_) => CliError::NotLetIn,
        error => error.into(),
    })
}

/// A session on the socket of the agent.
///
/// # Errors
/// The agent cannot be reached, or does not let the user in.
pub async fn connect(socket: &Path) -> Result<Session<UnixStream>, CliError> {
    let path = socket.to_owned();
    match UnixStream::connect(socket).await {
        Ok(stream) => open(stream).await,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(CliError::Forbidden { path })
        }
        Err(source) => Err(CliError::Connect { path, source }),
    }
}

/// A session whose stream is standard input, which then becomes the controlling terminal: a shell that the agent has started
/// for somebody. What the agent may do beyond that is given up first.
///
/// # Errors
/// There is no terminal, or standard input is no socket of an agent.
pub async fn inherit() -> Result<Session<UnixStream>, CliError> {
    let stream = stream_of_stdin().map_err(CliError::Terminal)?;
    give_up_capabilities().map_err(CliError::Capabilities)?;
    open(stream).await
}

/// For this thread and all that it starts from now on, whatever they execute (capabilities(7)).
fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

fn stream_of_stdin() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    nix::unistd::dup2_stdin(&terminal)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Does one line of a script and writes what it shows as it is known. None if the session is over, else whether it was done.
async fn one<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    line: &str,
    out: &mut (impl AsyncWrite + Unpin),
    end_of_line: &str,
) -> Result<Option<bool>, CliError> {
    let mut answer = session.line(line, 0).await?;
    loop {
        let (shown, done) = match answer {
            Answer::More(text) => (text, None),
            Answer::Done(text) => (text, Some(true)),
            // A caret points at something.
            Answer::Failed(text) if !text.starts_with('%') => {
                (format!("{}\n{text}", printable::text(line)), Some(false))
            }
            Answer::Failed(text) => (text, Some(false)),
            Answer::Over => return Ok(None),
        };
        let shown = match end_of_line {
            "\n" => shown,
            other => shown.replace('\n', other),
        };
        write(out, &shown).await?;
        if done.is_some() {
            return Ok(done);
        }
        answer = session.more_until(std::future::pending()).await?;
    }
}

async fn write(out: &mut (impl AsyncWrite + Unpin), text: &str) -> Result<(), CliError> {
    out.write_all(text.as_bytes())
        .await
        .map_err(CliError::Output)?;
    out.flush().await.map_err(CliError::Output)
}

/// Octets of a line of a script, at the most.
const LINE: u64 = 64 << 10;
/// How long the rest of a script that has failed is waited for, to be counted.
const REST: Duration = Duration::from_secs(1);

/// Whether a line of a script has something to do, as the commands of a person have.
fn is_command(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"!")
}

/// The next line of a script, with its end; empty behind the last.
async fn next_line(
    lines: &mut (impl AsyncBufRead + Unpin),
    number: usize,
) -> Result<Vec<u8>, CliError> {
    let mut line = Vec::new();
    let read = lines.take(LINE).read_until(b'\n', &mut line).await;
    match read.map_err(CliError::Input)? as u64 {
        LINE => Err(CliError::LongLine(number)),
        _ => Ok(line),
    }
}

/// What is said of a script that has stopped before its end: commands that come after one that failed could do harm. Nothing
/// if no more came.
fn stopped(left: Option<usize>) -> String {
    match left {
        Some(0) => String::new(),
        Some(1) => "% Stopped: 1 more command was not done.".to_owned(),
        Some(left) => format!("% Stopped: {left} more commands were not done."),
        None => "% Stopped: the commands that follow were not done.".to_owned(),
    }
}

/// Commands that are left of a script; none if they do not come in time.
async fn left(lines: &mut (impl AsyncBufRead + Unpin)) -> Option<usize> {
    let count = async {
        let mut left = 0;
        loop {
            match next_line(lines, 0).await.ok()? {
                line if line.is_empty() => return Some(left),
                line => left += usize::from(is_command(&line)),
            }
        }
    };
    timeout(REST, count).await.ok().flatten()
}

/// Does the lines of a script, in order, and writes what they show. The first that fails is the last: why is written, and how
/// many commands were not done. Returns whether all succeeded.
///
/// # Errors
/// The session broke, the lines cannot be read – or one is longer than 64 KiB – or the output not be written.
pub async fn script<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    mut lines: impl AsyncBufRead + Unpin,
    mut out: impl AsyncWrite + Unpin,
    on_terminal: bool,
) -> Result<bool, CliError> {
    let end_of_line = if on_terminal { "\r\n" } else { "\n" };
    for number in 1.. {
        let line = next_line(&mut lines, number).await?;
        if line.is_empty() {
            break;
        }
        let done = match std::str::from_utf8(&line) {
            Ok(text) => {
                let text = text.trim_end_matches(['\n', '\r']);
                one(session, text, &mut out, end_of_line).await?
            }
            Err(_) => {
                let words = format!("% Line {number} is no UTF-8.{end_of_line}");
                write(&mut out, &words).await?;
                Some(false)
            }
        };
        match done {
            Some(true) => {}
            Some(false) => {
                let words = stopped(left(&mut lines).await);
                if !words.is_empty() {
                    write(&mut out, &format!("{words}{end_of_line}")).await?;
                }
                return Ok(false);
            }
            None => break,
        }
    }
    Ok(true)
}

/// Runs commands in one session, in order, as [`script`] does its lines; writes what they show to `out`.
/// Returns whether all succeeded.
///
/// # Errors
/// The agent cannot be reached, or the output not be written.
pub async fn run(
    socket: &Path,
    commands: &[String],
    out: impl AsyncWrite + Unpin,
) -> Result<bool, CliError> {
    let mut session = connect(socket).await?;
    let lines = commands.join("\n");
    let all_done = script(&mut session, lines.as_bytes(), out, false).await?;
    session.close().await?;
    Ok(all_done)
}
