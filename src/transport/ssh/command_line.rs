//! The command line over SSH: commands of a script or of one request, and a shell on a pseudo-terminal.
//!
//! It is a NETCONF client of the user who has logged in: its stream is one end of a pair whose other end is served as
//! that user. It never dials the local socket.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::channel::farewell;
use super::inbox::{ChannelStream, Inbox};
use crate::cli::{self, session::Session};
use crate::transport::{Peer, Serve};

/// Shells at a time: each is a process. Commands without a terminal are none.
pub(super) const SHELLS: usize = 32;
/// Octets that wait between a script and its session.
const PIPE: usize = 64 << 10;
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
        given: Option<String>,
        /// Whether its terminal wants a carriage return before each line feed.
        on_terminal: bool,
    },
    /// A shell.
    Shell(Terminal),
}

impl Wanted {
    /// Commands.
    pub(super) fn commands(given: Option<String>, on_terminal: bool) -> Self {
        Self::Commands { given, on_terminal }
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
    /// How many more there may be.
    pub(super) shells: Arc<Semaphore>,
}

impl CommandLine {
    /// Serves it to its end and closes the channel.
    pub(super) async fn run(self, wanted: Wanted) {
        let stream = ChannelStream::new(self.inbox.clone(), self.writer.make_writer());
        let served = async {
            match wanted {
                Wanted::Commands { given, on_terminal } => {
                    commands(stream, self.serve, self.peer, given, on_terminal).await
                }
                Wanted::Shell(terminal) => match self.shells.try_acquire() {
                    Ok(_place) => {
                        shell(stream, self.serve, self.peer, self.program, terminal).await
                    }
                    Err(_) => {
                        let Peer { user, source, .. } = &self.peer;
                        warn!(user, source, "ssh shell refused: too many");
                        crowded(stream).await
                    }
                },
            }
        };
        // Whatever it waits for, it ends with its channel.
        let status = tokio::select! {
            status = served => status,
            () = self.inbox.closed() => 1,
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
    given: Option<String>,
    on_terminal: bool,
) -> u32 {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    // It ends with its stream.
    tokio::spawn(serve(Box::new(theirs), peer));
    let (reader, writer) = tokio::io::split(stream);
    let done = async {
        let mut session = Session::open(ours).await?;
        let done = match given {
            Some(given) => cli::script(&mut session, given.as_bytes(), writer, on_terminal).await,
            None => cli::script(&mut session, BufReader::new(reader), writer, on_terminal).await,
        };
        session.close().await?;
        done
    };
    match done.await {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            warn!(%error, "commands over ssh were broken off");
            1
        }
    }
}

/// Tells a client that there is no place for another shell.
async fn crowded(mut stream: impl AsyncWrite + Unpin) -> u32 {
    let words = format!("% No more than {SHELLS} shells at a time.\r\n");
    // Whoever does not hear it sees the exit status.
    let _ = stream.write_all(words.as_bytes()).await;
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
    // It ends with its stream, which the shell has.
    tokio::spawn(serve(Box::new(ours), peer));
    attend(stream, pty, child, terminal.size).await
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
    stream: impl AsyncRead + AsyncWrite + Unpin,
    pty: pty_process::Pty,
    mut child: Child,
    mut size: watch::Receiver<(u16, u16)>,
) -> u32 {
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (mut from_shell, mut to_shell) = pty.into_split();
    // It ends with an error when the shell has closed its terminal, all that it wrote before included.
    let shown = tokio::io::copy(&mut from_shell, &mut to_client);
    let typed = async {
        let mut octets = [0; 4096];
        loop {
            tokio::select! {
                read = from_client.read(&mut octets) => match read {
                    Ok(read) if read > 0 => {
                        if to_shell.write_all(&octets[..read]).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                Ok(()) = size.changed() => {
                    let (rows, columns) = *size.borrow_and_update();
                    // A shell that has ended needs no size.
                    let _ = to_shell.resize(pty_process::Size::new(rows, columns));
                }
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
