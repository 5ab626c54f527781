//! The command line over SSH: commands of a script or of one request, and a shell on a pseudo-terminal.
//!
//! It is a NETCONF client of the user who has logged in: its stream is one end of a pair whose other end is served as
//! that user. It never dials the local socket.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::channel::farewell;
use super::inbox::{ChannelStream, Inbox};
use crate::cli::{self, CliError};
use crate::transport::{Peer, Serve};

/// Shells at a time: each is a process.
const SHELLS: usize = 32;
/// Those who run commands without being a shell, at a time: what is displayed is put together in the memory of the agent.
const SCRIPTS: usize = 32;
/// Octets that wait between a script and its session.
const PIPE: usize = 64 << 10;
/// The key that breaks off.
const CTRL_C: u8 = 3;
/// Exit status of commands that were broken off: that of a shell, 128 and the number of SIGINT.
const INTERRUPTED: u32 = 130;
/// Time for a shell to end by itself once its session has.
const GRACE: Duration = Duration::from_secs(2);
/// Exit status of a shell that could not be started, as sh(1) has it for a command that is not found.
const NOT_STARTED: u32 = 127;

/// The terminal of a client (RFC 4254, section 6.2).
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    /// Its kind, such as `xterm`.
    pub(super) kind: String,
    /// Rows and columns; another pair when its window changes.
    pub(super) size: watch::Receiver<(u16, u16)>,
}

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

/// How many more command lines there may be.
pub(super) struct Places {
    shells: Semaphore,
    scripts: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            shells: Semaphore::new(SHELLS),
            scripts: Semaphore::new(SCRIPTS),
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
    pub(super) places: Arc<Places>,
}

impl CommandLine {
    /// Serves it to its end and closes the channel.
    pub(super) async fn run(self, wanted: Wanted) {
        let stream = ChannelStream::new(self.inbox.clone(), self.writer.make_writer());
        let served = async {
            let places = match wanted {
                Wanted::Commands { .. } => &self.places.scripts,
                Wanted::Shell(_) => &self.places.shells,
            };
            let Ok(_place) = places.try_acquire() else {
                return crowded(stream).await;
            };
            match wanted {
                Wanted::Commands { given, on_terminal } => {
                    commands(stream, self.serve, self.peer, given, on_terminal).await
                }
                Wanted::Shell(terminal) => {
                    shell(stream, self.serve, self.peer, self.program, terminal).await
                }
            }
        };
        // Whatever it waits for, it ends with its channel; first, so that half a line of a client that is gone is never done.
        let status = tokio::select! {
            biased;
            () = self.inbox.closed() => 1,
            status = served => status,
        };
        farewell(self.writer, status).await;
        self.inbox.close();
    }
}

/// Runs commands; gives 0 if all succeeded.
async fn commands(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    serve: Serve,
    peer: Peer,
    given: Option<Vec<u8>>,
    on_terminal: bool,
) -> u32 {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // It ends with its stream.
    tokio::spawn(serve(Box::new(theirs), peer));
    let (reader, writer) = tokio::io::split(stream);
    let done = async {
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
        Ok::<_, CliError>(u32::from(!done))
    };
    done.await.unwrap_or_else(|error| {
        warn!(%error, "commands over ssh were broken off");
        1
    })
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

/// Tells a client that there is no place for another command line.
async fn crowded(mut stream: impl AsyncWrite + Unpin) -> u32 {
    let words = b"% Too many command lines at a time: try again later.\r\n";
    // Whoever does not hear it sees the exit status.
    let _ = stream.write_all(words).await;
    1
}

/// Runs the shell; gives its exit status.
async fn shell(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    serve: Serve,
    peer: Peer,
    program: PathBuf,
    terminal: Terminal,
) -> u32 {
    let started = UnixStream::pair().and_then(|(ours, theirs)| {
        let (pty, child) = start(program, theirs, &terminal)?;
        Ok((ours, pty, child))
    });
    let (ours, pty, child) = match started {
        Ok(started) => started,
        Err(error) => {
            warn!(%error, "the command line could not be started");
            return NOT_STARTED;
        }
    };
    // It ends with its stream, which the shell has – or because somebody ends it, and the shell with it.
    let served = tokio::spawn(serve(Box::new(ours), peer));
    let (from_client, mut to_client) = tokio::io::split(stream);
    let attended = attend(from_client, &mut to_client, pty, child, terminal.size);
    tokio::select! {
        status = attended => return status,
        () = async {
            // However it ended.
            let _ = served.await;
            tokio::time::sleep(GRACE).await;
        } => {}
    }
    // Whoever does not hear it sees the exit status.
    let words = to_client.write_all(b"\r\n% The session has ended.\r\n");
    let _ = tokio::time::timeout(GRACE, words).await;
    1
}

/// Starts it as the leader of a session of its own with the pseudo-terminal as its controlling terminal; it dies with the
/// handle.
fn start(
    program: PathBuf,
    session: UnixStream,
    terminal: &Terminal,
) -> io::Result<(pty_process::Pty, Child)> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    let (rows, columns) = *terminal.size.borrow();
    let size = pty_process::Size::new(rows, columns);
    pty.resize(size).map_err(io::Error::other)?;
    let session = session.into_std()?;
    session.set_nonblocking(false)?;
    let child = pty_process::Command::new(program)
        .args(["cli", "--session-on-stdin"])
        .env_clear()
        .env("TERM", &terminal.kind)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(session)))
        .kill_on_drop(true)
        .spawn(pts)
        .map_err(io::Error::other)?;
    Ok((pty, child))
}

/// Carries octets between the client and the shell until one of them ends.
async fn attend(
    mut from_client: impl AsyncRead + Unpin,
    mut to_client: impl AsyncWrite + Unpin,
    pty: pty_process::Pty,
    mut child: Child,
    mut size: watch::Receiver<(u16, u16)>,
) -> u32 {
    let (mut from_shell, mut to_shell) = pty.into_split();
    // It ends with an error when the shell has closed its terminal, all that it wrote before included.
    let shown = tokio::io::copy(&mut from_shell, &mut to_client);
    let typed = async {
        let mut octets = [0; 4096];
        loop {
            tokio::select! {
                // What is typed into a new size is read in it.
                biased;
                Ok(()) = size.changed() => {
                    let (rows, columns) = *size.borrow_and_update();
                    // A shell that has ended needs no size.
                    let _ = to_shell.resize(pty_process::Size::new(rows, columns));
                }
                read = from_client.read(&mut octets) => match read {
                    Ok(read) if read > 0 => {
                        if to_shell.write_all(&octets[..read]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    };
    tokio::select! {
        _ = shown => {}
        () = typed => return 1,
    }
    let status = child.wait().await.ok().and_then(|status| status.code());
    status
        .and_then(|code| u32::try_from(code).ok())
        .unwrap_or(1)
}
