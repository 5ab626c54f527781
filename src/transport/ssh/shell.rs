//! A shell: the command line of the agent's own program on a pseudo-terminal, as a process of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use pty_process::{OwnedWritePty, Pty, Size};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::command_line::Ended;
use crate::cli;
use crate::transport::{Peer, Serve};

/// Time for a shell to end by itself once its session has, or its terminal.
const GRACE: Duration = Duration::from_secs(2);
/// What the environment of the agent passes on: the shell shows times, and the client has no say in that.
const PASSED_ON: [&str; 2] = ["TZ", "TZDIR"];
/// The keys that end a line, and the input.
const RETURN: u8 = b'\r';
const CTRL_D: u8 = 4;

/// The terminal of a client (RFC 4254, section 6.2).
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    /// Its kind, such as `xterm`.
    pub(super) kind: String,
    /// Rows and columns; another pair when its window changes.
    pub(super) size: watch::Receiver<(u16, u16)>,
}

/// Runs the shell; gives its exit status, or why there is none.
pub(super) async fn shell(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    serve: Serve,
    peer: Peer,
    program: PathBuf,
    terminal: Terminal,
) -> Result<u32, Ended> {
    let started = UnixStream::pair().and_then(|(ours, theirs)| {
        let (pty, child) = start(program, theirs, &terminal)?;
        Ok((ours, pty, child))
    });
    let (ours, pty, child) = started.map_err(|error| {
        warn!(%error, "the command line could not be started");
        Ended::NotStarted(error)
    })?;
    // It ends with its stream, which the shell has – or because somebody ends it, and the shell with it.
    let served = tokio::spawn(serve(Box::new(ours), peer));
    let over = async {
        // However it ended.
        let _ = served.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        status = attend(stream, pty, child, terminal.size) => Ok(status),
        () = over => Err(Ended::Session),
    }
}

/// Starts it as the leader of a session of its own with the pseudo-terminal as its controlling terminal; it dies with the
/// handle.
fn start(program: PathBuf, session: UnixStream, terminal: &Terminal) -> io::Result<(Pty, Child)> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    let (rows, columns) = *terminal.size.borrow();
    pty.resize(Size::new(rows, columns))
        .map_err(io::Error::other)?;
    cli::terminal::prepare(&pty, &terminal.kind)?;
    let session = session.into_std()?;
    session.set_nonblocking(false)?;
    let passed_on = PASSED_ON.map(|name| Some((name, std::env::var_os(name)?)));
    let child = pty_process::Command::new(program)
        .args(["cli", "--session-on-stdin"])
        .env_clear()
        .envs(passed_on.into_iter().flatten())
        .env("TERM", &terminal.kind)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(session)))
        .kill_on_drop(true)
        .spawn(pts)
        .map_err(io::Error::other)?;
    Ok((pty, child))
}

/// Carries octets between the client and the shell until the shell has ended, or the client takes no more.
async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    pty: Pty,
    mut child: Child,
    size: watch::Receiver<(u16, u16)>,
) -> u32 {
    let (from_client, mut to_client) = tokio::io::split(stream);
    let (mut from_shell, to_shell) = pty.into_split();
    // It ends with an error when the shell has closed its terminal, all that it wrote before included.
    let shown = tokio::io::copy(&mut from_shell, &mut to_client);
    let typed = async {
        type_in(from_client, to_shell, size).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = shown => {}
        () = typed => {}
    }
    let status = timeout(GRACE, child.wait()).await;
    let code = status
        .ok()
        .and_then(Result::ok)
        .and_then(|status| status.code());
    code.and_then(|code| u32::try_from(code).ok()).unwrap_or(1)
}

/// Types what the client does, into windows of the size that his is, until he types no more or the shell has ended.
async fn type_in(
    mut from_client: impl AsyncRead + Unpin,
    mut to_shell: OwnedWritePty,
    mut size: watch::Receiver<(u16, u16)>,
) {
    let mut octets = [0; 4096];
    let mut last = RETURN;
    loop {
        tokio::select! {
            // What is typed into a new size is read in it.
            biased;
            Ok(()) = size.changed() => {
                let (rows, columns) = *size.borrow_and_update();
                // A shell that has ended needs no size.
                let _ = to_shell.resize(Size::new(rows, columns));
            }
            read = from_client.read(&mut octets) => {
                let typed = match read {
                    Ok(read @ 1..) => &octets[..read],
                    _ => break,
                };
                last = typed.last().copied().unwrap_or(last);
                if to_shell.write_all(typed).await.is_err() {
                    return;
                }
            }
        }
    }
    // Who types no more has still asked for what he has typed; a line without an end is one, too.
    let end: &[u8] = match last {
        b'\r' | b'\n' => &[CTRL_D],
        _ => &[RETURN, CTRL_D],
    };
    // A shell that has ended needs no end.
    let _ = to_shell.write_all(end).await;
}
