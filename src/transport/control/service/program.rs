//! `tether service NAME -- COMMAND`: a program that is a service, run anew for each connection of it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::maybe_done;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf, split};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::frame::{self, Frame};
use crate::transport::control::{ControlError, Request, ask};

/// How long COMMAND may go on after the end of its input, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Why a service ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The agent does not take it.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The agent ended, or has dropped the service.
    #[error("the agent is gone; start it and run this again")]
    AgentGone,
    /// COMMAND does not run.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

type Agent = BufReader<UnixStream>;

/// Registers the service `name` with the agent behind the socket, until `stop`. Each time its subconnection stands, runs
/// COMMAND with the bytes of it on standard input and output; when COMMAND ends or closes its output, so does the
/// subconnection.
///
/// # Errors
/// The agent refuses or goes away, or COMMAND cannot be started.
pub async fn run(
    socket: &Path,
    name: &str,
    command: &[String],
    stop: impl Future<Output = ()>,
) -> Result<(), ServiceError> {
    let request = Request::Service {
        name: name.to_owned(),
    };
    let (mut from, mut to) = split(ask(socket, &request).await?);
    tokio::pin!(stop);
    loop {
        let opened = tokio::select! {
            opened = frame::read(&mut from) => opened,
            () = &mut stop => return Ok(()),
        };
        let Ok(Frame::Opened) = opened else {
            return Err(ServiceError::AgentGone);
        };
        let child = start(name, command)?;
        if let After::Stop = converse(&mut from, &mut to, child, stop.as_mut()).await? {
            return Ok(());
        }
    }
}

/// What follows a connection.
enum After {
    Next,
    Stop,
}

/// One connection: COMMAND talks to the cloud until either has done, or until `stop`; then COMMAND has to end.
async fn converse(
    from: &mut ReadHalf<Agent>,
    to: &mut WriteHalf<Agent>,
    mut child: Child,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<After, ServiceError> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let up = maybe_done(say(child.stdout.take(), to));
    let down = maybe_done(feed(from, child.stdin.take()));
    tokio::pin!(up, down);
    let after = tokio::select! {
        () = &mut up => After::Next,
        () = &mut down => After::Next,
        () = stop => After::Stop,
    };
    {
        let rest = async { drop(tokio::join!(&mut up, &mut down, child.wait())) };
        tokio::pin!(rest);
        // At the end of its input it may finish what it is at, but not for ever.
        let patience = match after {
            After::Next => GRACE,
            After::Stop => Duration::ZERO,
        };
        // After the last, something that COMMAND has left behind may hold its output, or the agent hangs.
        let steps = [
            (patience, Some(Signal::SIGTERM)),
            (GRACE, Some(Signal::SIGKILL)),
            (GRACE, None),
        ];
        for (patience, signal) in steps {
            if timeout(patience, &mut rest).await.is_ok() {
                break;
            }
            // The number is that of its group, for as long as anything of it lives.
            let _ = pid.map(|pid| killpg(Pid::from_raw(pid), signal));
        }
    }
    match (after, up.take_output(), down.take_output()) {
        (After::Stop, _, _) => Ok(After::Stop),
        (After::Next, Some(Ok(())), Some(Ok(()))) => Ok(After::Next),
        (After::Next, _, _) => Err(ServiceError::AgentGone),
    }
}

fn start(name: &str, command: &[String]) -> Result<Child, ServiceError> {
    let (program, arguments) = command
        .split_first()
        .map_or(("", command), |(p, a)| (p.as_str(), a));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("TETHER_SERVICE", name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What it starts is ended with it.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().map_err(|source| ServiceError::Start {
        program: program.to_owned(),
        source,
    })
}

/// What the cloud says becomes COMMAND's input, until the subconnection ends.
async fn feed(from: &mut ReadHalf<Agent>, mut stdin: Option<ChildStdin>) -> io::Result<()> {
    loop {
        match frame::read(from).await? {
            Frame::Data(octets) => {
                // A program that has closed its input does not want to hear more.
                if let Some(input) = &mut stdin
                    && input.write_all(&octets).await.is_err()
                {
                    stdin = None;
                }
            }
            Frame::Closed => return Ok(()),
            Frame::Opened => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// COMMAND's output goes to the cloud, until it closes it.
async fn say(stdout: Option<ChildStdout>, to: &mut WriteHalf<Agent>) -> io::Result<()> {
    let mut octets = vec![0; 16 << 10];
    if let Some(mut stdout) = stdout {
        while let Ok(length @ 1..) = stdout.read(&mut octets).await {
            frame::write(to, &Frame::Data(octets[..length].to_vec())).await?;
        }
    }
    frame::write(to, &Frame::Closed).await
}
