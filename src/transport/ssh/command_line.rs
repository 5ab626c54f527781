//! The command line over SSH: commands of a script or of one request, and a shell (`shell.rs`).
//!
//! It is a NETCONF client of the user who has logged in: its stream is one end of a pair whose other end is served as
//! that user. It never dials the local socket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tracing::{info, warn};

use super::channel::{complain, farewell};
use super::inbox::{ChannelStream, Inbox};
use super::line::Patient;
use super::places::{Crowded, Places};
use super::shell::{Terminal, shell};
use crate::cli::{self, CliError};
use crate::transport::{Peer, Serve};

/// Shells at a time, in all and of one user: each is a process.
const SHELLS: (usize, usize) = (32, 8);
/// Those who run commands without being a shell: what is displayed is put together in the memory of the agent.
const SCRIPTS: (usize, usize) = (32, 16);
/// Octets that wait between a script and its session.
const PIPE: usize = 64 << 10;
/// The key that breaks off.
const CTRL_C: u8 = 3;
/// Exit status of commands that were broken off: that of a shell, 128 and the number of SIGINT.
const INTERRUPTED: u32 = 130;
/// Exit status of a shell that could not be started, as sh(1) has it for a command that is not found.
const NOT_STARTED: u32 = 127;

/// What a client wants of the command line.
pub(super) enum Wanted {
    /// The commands of one request, or those that it sends.
    Commands {
        given: Option<Vec<u8>>,
        /// Whether its terminal wants a carriage return before each line feed.
        on_terminal: bool,
    },
    /// A shell.
    Shell(Terminal),
}

impl Wanted {
    /// Commands.
    pub(super) fn commands(given: Option<Vec<u8>>, on_terminal: bool) -> Self {
        Self::Commands { given, on_terminal }
    }
}

/// Why a command line ended without an exit status of its own; its client reads it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error(transparent)]
    Broken(#[from] CliError),
    #[error("the shell cannot be started: {0}")]
    NotStarted(io::Error),
    #[error("the session has ended")]
    Session,
}

/// How many command lines there may be.
pub(super) struct CommandLines {
    shells: Places,
    scripts: Places,
}

impl Default for CommandLines {
    fn default() -> Self {
        Self {
            shells: Places::new(SHELLS.0, SHELLS.1),
            scripts: Places::new(SCRIPTS.0, SCRIPTS.1),
        }
    }
}

/// One channel, and who it is.
pub(super) struct CommandLine {
    pub(super) serve: Serve,
    pub(super) peer: Peer,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) inbox: Arc<Inbox>,
    /// The program that is the shell.
    pub(super) program: PathBuf,
    pub(super) places: Arc<CommandLines>,
    /// How long the client may take nothing of what it is sent.
    pub(super) write_timeout: Duration,
}

impl CommandLine {
    /// Serves it to its end and closes the channel.
    pub(super) async fn run(self, wanted: Wanted) {
        let end_of_line = match &wanted {
            Wanted::Commands {
                on_terminal: false, ..
            } => "\n",
            Wanted::Commands { .. } | Wanted::Shell(_) => "\r\n",
        };
        let (user, source) = (self.peer.user.clone(), self.peer.source.clone());
        let writer = Patient::new(self.writer.make_writer(), self.write_timeout);
        let stream = ChannelStream::new(self.inbox.clone(), writer);
        let served = async {
            let places = match wanted {
                Wanted::Commands { .. } => &self.places.scripts,
                Wanted::Shell(_) => &self.places.shells,
            };
            let _place = places.take(&user)?;
            match wanted {
                Wanted::Commands { given, on_terminal } => {
                    let done = commands(stream, self.serve, self.peer, given, on_terminal);
                    Ok(done.await?)
                }
                Wanted::Shell(terminal) => {
                    shell(stream, self.serve, self.peer, self.program, terminal).await
                }
            }
        };
        // Whatever it waits for, it ends with its channel; first, so that half a line of a client that is gone is never done.
        let ended = tokio::select! {
            biased;
            () = self.inbox.closed() => Ok(1),
            ended = served => ended,
        };
        let status = match ended {
            Ok(status) => status,
            Err(why) => {
                match why {
                    Ended::Crowded(_) => warn!(user, source, %why, "ssh command line refused"),
                    _ => info!(user, source, %why, "ssh command line ended early"),
                }
                tell(&self.writer, &why, end_of_line).await
            }
        };
        farewell(self.writer, status).await;
        self.inbox.close();
    }
}

/// Tells a client why; gives the exit status.
async fn tell(writer: &ChannelWriteHalf<Msg>, why: &Ended, end_of_line: &str) -> u32 {
    // Who does not take the output takes no reason either.
    if !matches!(why, Ended::Broken(CliError::Output(_))) {
        complain(writer, format!("% {why}{end_of_line}")).await;
    }
    match why {
        Ended::NotStarted(_) => NOT_STARTED,
        _ => 1,
    }
}

/// Runs commands; gives 0 if all succeeded.
async fn commands(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    serve: Serve,
    peer: Peer,
    given: Option<Vec<u8>>,
    on_terminal: bool,
) -> Result<u32, CliError> {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // It ends with its stream.
    tokio::spawn(serve(Box::new(theirs), peer));
    let (reader, writer) = tokio::io::split(stream);
    let mut session = cli::open(ours).await?;
    let done = match given {
        Some(given) => {
            let script = cli::script(&mut session, given.as_slice(), writer, on_terminal);
            tokio::select! {
                biased;
                done = script => done?,
                () = interrupted(reader), if on_terminal => return Ok(INTERRUPTED),
            }
        }
        None => {
            let lines = BufReader::new(reader);
            cli::script(&mut session, lines, writer, on_terminal).await?
        }
    };
    session.close().await?;
    Ok(u32::from(!done))
}

/// Waits for a Ctrl-C, which the terminal of a client sends like any other key.
async fn interrupted(mut keys: impl AsyncRead + Unpin) {
    let mut octets = [0; 256];
    loop {
        match keys.read(&mut octets).await {
            Ok(read) if octets[..read].contains(&CTRL_C) => return,
            Ok(read) if read > 0 => {}
            // Who types no more does not interrupt.
            _ => std::future::pending().await,
        }
    }
}
