//! Layer 2: the command line, a NETCONF client like any other.
//!
//! [`grammar`] is the table of all commands; `parse.rs` reads a line by it, `edit.rs` says what a command asks of the
//! server, `show.rs`, `lists.rs` and `configuration.rs` how answers look. [`session::Session`] puts these together: lines in,
//! text out. [`run`] and [`script`] give it lines that somebody has written before, `shell.rs` those that a person types at a
//! terminal.

pub mod configuration;
mod connection_test;
mod edit;
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
pub mod tokens;
pub mod values;
pub mod words;

use std::fs::OpenOptions;
use std::io;
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
        out.write_all(shown.as_bytes()).await?;
        out.flush().await?;
        if done.is_some() {
            return Ok(done);
        }
        answer = session.more_until(std::future::pending()).await?;
    }
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
    let end_of_line = if on_terminal { "\r\n" } else { "\n" };
    loop {
        let mut line = Vec::new();
        (&mut lines).take(LINE).read_until(b'\n', &mut line).await?;
        if line.len() as u64 == LINE {
            return Err(io::Error::other("a line is too long").into());
        }
        let is_last = line.is_empty();
        let Ok(text) = String::from_utf8(line) else {
            let words = format!("% This line is no UTF-8 and was passed over.{end_of_line}");
            out.write_all(words.as_bytes()).await?;
            all_done = false;
            continue;
        };
        let text = text.trim_end_matches(['\n', '\r']);
        match one(session, text, &mut out, end_of_line).await? {
            Some(done) if !is_last => all_done &= done,
            _ => return Ok(all_done),
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
    mut out: impl AsyncWrite + Unpin,
) -> Result<bool, CliError> {
    let mut session = connect(socket).await?;
    let mut all_done = true;
    for command in commands {
        match one(&mut session, command, &mut out, "\n").await? {
            Some(done) => all_done &= done,
            None => break,
        }
    }
    session.close().await?;
    Ok(all_done)
}
