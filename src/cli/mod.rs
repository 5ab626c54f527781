//! Layer 2: the command line, a NETCONF client like any other.
//!
//! [`grammar`] is the table of all commands; `parse.rs` reads a line by it, `edit.rs` says what a command asks of the
//! server, `show.rs`, `lists.rs` and `configuration.rs` how answers look. [`session::Session`] puts these together: lines in,
//! text out. Whoever has a line to do gives it one.

pub mod configuration;
mod edit;
pub mod grammar;
pub mod lists;
pub mod output;
pub mod parse;
pub mod session;
pub mod show;
pub mod values;
pub mod words;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
        match session.line(command, 0).await? {
            Answer::Done(text) => out.write_all(text.as_bytes())?,
            Answer::Failed(text) => {
                all_done = false;
                // A caret points at something.
                let shown = if text.starts_with('%') { "" } else { command };
                let end = if shown.is_empty() { "" } else { "\n" };
                write!(out, "{shown}{end}{text}")?;
            }
            Answer::Over => break,
        }
    }
    out.flush()?;
    session.close().await?;
    Ok(all_done)
}
