//! Layer 2: the command line, a NETCONF client like any other.
//!
//! [`grammar`] is the table of all commands; `parse.rs` reads a line by it, `edit.rs` says what a command asks of the
//! server, `show.rs`, `lists.rs` and `configuration.rs` how answers look. [`session::Session`] puts these together: lines in,
//! text out. [`run`] and [`script`] give it lines that somebody has written before, `shell.rs` those that a person types at a
//! terminal.

pub mod configuration;
mod edit;
pub mod grammar;
pub mod lists;
pub mod output;
mod pager;
pub mod parse;
pub mod session;
pub mod shell;
pub mod show;
pub mod values;
pub mod words;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
};
use tokio::net::UnixStream;

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
    /// The session broke.
    #[error("the session with the agent broke off: {0}")]
    Session(#[from] ClientError),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// A session on the socket of the agent.
///
/// # Errors
/// The agent cannot be reached, or does not let the user in.
pub async fn connect(socket: &Path) -> Result<Session<UnixStream>, CliError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| CliError::Connect {
            path: socket.to_owned(),
            source,
        })?;
    Ok(Session::open(stream).await?)
}

/// A session whose stream is standard input, which then becomes the controlling terminal: a shell that somebody else has
/// started.
///
/// # Errors
/// There is no terminal, or standard input is no socket of an agent.
pub async fn inherit() -> Result<Session<UnixStream>, CliError> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    nix::unistd::dup2_stdin(&terminal).map_err(io::Error::from)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    Ok(Session::open(UnixStream::from_std(stream)?).await?)
}

/// Does one line of a script; gives what it shows, whether it was done, and whether the session goes on.
async fn one<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    line: &str,
) -> Result<(String, bool, bool), CliError> {
    Ok(match session.line(line, 0).await? {
        Answer::Done(text) => (text, true, true),
        // A caret points at something.
        Answer::Failed(text) if !text.starts_with('%') => (format!("{line}\n{text}"), false, true),
        Answer::Failed(text) => (text, false, true),
        Answer::Over => (String::new(), true, false),
    })
}

/// Octets of a line of a script, at the most.
const LINE: u64 = 64 << 10;

/// Does the lines of a script, in order, and writes what they show, or why they failed. Returns whether all succeeded.
///
/// # Errors
/// The session broke, the lines cannot be read – or one is longer than 64 KiB – or the output not be written.
pub async fn script<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Session<S>,
    mut lines: impl AsyncBufRead + Unpin,
    mut out: impl AsyncWrite + Unpin,
    on_terminal: bool,
) -> Result<bool, CliError> {
    let mut all_done = true;
    loop {
        let mut line = Vec::new();
        (&mut lines).take(LINE).read_until(b'\n', &mut line).await?;
        if line.len() as u64 == LINE {
            return Err(io::Error::other("a line is too long").into());
        }
        let text = String::from_utf8_lossy(&line);
        let (shown, done, goes_on) = one(session, text.trim_end_matches(['\n', '\r'])).await?;
        all_done &= done;
        let shown = match on_terminal {
            true => shown.replace('\n', "\r\n"),
            false => shown,
        };
        out.write_all(shown.as_bytes()).await?;
        out.flush().await?;
        if line.is_empty() || !goes_on {
            return Ok(all_done);
        }
    }
}

/// Runs commands in one session, in order; writes what they show, or why they failed, to `out`.
/// Returns whether all succeeded.
///
/// # Errors
/// The agent cannot be reached, or the output not be written.
pub async fn run(
    socket: &Path,
    commands: &[String],
    out: &mut impl Write,
) -> Result<bool, CliError> {
    let mut session = connect(socket).await?;
    let mut all_done = true;
    for command in commands {
        let (shown, done, goes_on) = one(&mut session, command).await?;
        all_done &= done;
        out.write_all(shown.as_bytes())?;
        if !goes_on {
            break;
        }
    }
    out.flush()?;
    session.close().await?;
    Ok(all_done)
}
