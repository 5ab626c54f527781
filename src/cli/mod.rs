//! Layer 2: the command line, a NETCONF client on the local socket like any other.

pub mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use crate::protocol::client::{Client, ClientError};

/// An answer takes no longer than this.
const DEADLINE: Duration = Duration::from_secs(30);

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
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| CliError::Connect {
            path: socket.to_owned(),
            source,
        })?;
    let mut client = Client::connect(stream, DEADLINE).await?;
    let mut all_done = true;
    for command in commands {
        match execute(&mut client, command).await {
            Ok(text) => out.write_all(text.as_bytes())?,
            Err(CommandError::Session(error @ ClientError::Refused(_))) => {
                writeln!(out, "% {error}")?;
                all_done = false;
            }
            Err(CommandError::Session(error)) => return Err(error.into()),
            Err(CommandError::Unknown { at }) => {
                writeln!(
                    out,
                    "{command}\n{:>width$}\n% Unrecognized command found at '^' position.",
                    '^',
                    width = at + 1
                )?;
                all_done = false;
            }
        }
    }
    out.flush()?;
    client.close().await?;
    Ok(all_done)
}

#[derive(Debug)]
enum CommandError {
    /// The byte of the command where it stops being one.
    Unknown {
        at: usize,
    },
    Session(ClientError),
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        Self::Session(error)
    }
}

async fn execute(client: &mut Client<UnixStream>, command: &str) -> Result<String, CommandError> {
    expect(command, &["display", "cloud-management", "state"])?;
    let data = client.get(Some(show::STATE_FILTER)).await?;
    Ok(show::state(&data))
}

/// Whether a command consists of these words.
fn expect(command: &str, words: &[&str]) -> Result<(), CommandError> {
    let mut rest = command;
    for word in words {
        let start = rest.trim_start();
        let given = start.split_whitespace().next().unwrap_or_default();
        if given != *word {
            return Err(CommandError::Unknown {
                at: command.len() - start.len(),
            });
        }
        rest = &start[word.len()..];
    }
    match rest.trim_start() {
        "" => Ok(()),
        more => Err(CommandError::Unknown {
            at: command.len() - more.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_that_does_not_fit_is_pointed_at() {
        let words = ["display", "cloud-management", "state"];
        assert!(expect("  display   cloud-management state ", &words).is_ok());
        for (command, place) in [
            ("show", 0),
            ("display clock", 8),
            ("display", 7),
            ("display cloud-management state x", 31),
        ] {
            assert!(
                matches!(expect(command, &words), Err(CommandError::Unknown { at }) if at == place),
                "{command}"
            );
        }
    }
}
