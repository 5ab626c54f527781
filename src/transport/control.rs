//! The control socket: what programs beside the agent tell it, the hook of a DHCP client above all.
//!
//! The caller writes one line of JSON ([`Request`]) and reads one line of JSON ([`Answer`]); what follows a success are
//! the bytes of the stream that the request asked for, if it did. Only root and the agent's own user are heard: what is
//! said here decides where the tunnel goes.

mod line;
pub mod service;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use nix::unistd::{Uid, geteuid};
use serde::{Deserialize, Serialize};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::BoxedStream;
use super::socket::{Kind, Socket, SocketError};
use crate::model::settings::Secret;

/// Nobody but its owner gets as far as the credentials.
const KIND: Kind = Kind {
    option: "--control",
    mode: 0o600,
    connections: 64,
};
/// A request has to be there, and an answer to be read, within this.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a caller waits for an answer: longer than the agent takes to say that it was not told in time.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a program of this machine asks of the agent.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Request {
    /// What a DHCP client got on an interface; without a value: it has nothing any more.
    DhcpEvent {
        /// Name of the network interface.
        interface: String,
        /// Option 253.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        /// Option 252.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "line::clear_text"
        )]
        password: Option<Secret>,
    },
    /// To be the module of a service for as long as the stream lasts, which [`service`] is spoken on.
    Service {
        /// Name of the service.
        name: String,
    },
}

/// The agent's answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Success,
    /// It is not done.
    Failure {
        /// Why, in one line.
        reason: String,
    },
}

/// What is served on the stream of a request that asked for one; ends soon after the stream does.
pub type ServeStream = Box<dyn FnOnce(BoxedStream) -> BoxFuture<'static, ()> + Send>;

/// What the agent makes of a request.
pub enum Outcome {
    /// It is done, and that was all.
    Done,
    /// The stream follows the answer.
    Stream(ServeStream),
    /// It is not done: why, in one line.
    Refused(String),
}

/// Does what is asked; must have a deadline of its own below [`DEADLINE`].
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The control socket, bound; its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlServer(Socket);

impl ControlServer {
    /// Binds the socket at this path, in place of one that a dead agent left. Needs a tokio runtime.
    ///
    /// # Errors
    /// Somebody listens there, something else has that name, or the system refuses.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        Socket::bind(path, KIND).await.map(Self)
    }

    /// Serves all who connect until `shutdown` says true; then gives their streams two seconds to end.
    pub async fn run(self, handler: Handler, shutdown: watch::Receiver<bool>) {
        let serve = |stream| serve_one(stream, handler.clone());
        self.0.run(serve, shutdown).await;
    }
}

async fn serve_one(stream: UnixStream, handler: Handler) {
    let uid = match stream.peer_cred() {
        Ok(credentials) => Uid::from_raw(credentials.uid()),
        Err(error) => {
            warn!(%error, "a caller of the control socket is refused: its credentials are unknown");
            return;
        }
    };
    let may_ask = uid.is_root() || uid == geteuid();
    if !may_ask {
        warn!(%uid, "a caller of the control socket is refused: only root and the agent's own user may ask");
    }
    let mut stream = BufReader::new(stream);
    match timeout(DEADLINE, converse(&mut stream, handler, may_ask)).await {
        Ok(Ok(Some(serve))) => serve(Box::new(stream)).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => debug!(%error, %uid, "a caller of the control socket went away"),
        Err(_) => info!(%uid, "a caller of the control socket was too slow"),
    }
}

/// From the request to the answer; what is to be served on the stream after it, if anything.
async fn converse(
    stream: &mut BufReader<UnixStream>,
    handler: Handler,
    may_ask: bool,
) -> io::Result<Option<ServeStream>> {
    let outcome = match line::read(stream).await? {
        _ if !may_ask => Outcome::Refused("only root and the agent's own user may ask".to_owned()),
        Ok(request) => handler(request).await,
        Err(reason) => Outcome::Refused(reason),
    };
    let (answer, serve) = match outcome {
        Outcome::Done => (Answer::Success, None),
        Outcome::Stream(serve) => (Answer::Success, Some(serve)),
        Outcome::Refused(reason) => (Answer::Failure { reason }, None),
    };
    line::write(stream, &answer).await?;
    Ok(serve)
}

/// Why a caller did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No agent is there.
    #[error("no agent listens on {path}: {source}; start it, or give its --control PATH", path = path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent did not answer: {0}")]
    Broken(#[from] io::Error),
    /// The agent said something else.
    #[error("the agent's answer is not understood: {0}")]
    NotUnderstood(String),
    /// It is not done.
    #[error("refused: {0}")]
    Refused(String),
}

/// Asks the agent behind this socket; the stream is what the request asked for, if it did.
///
/// # Errors
/// No agent, no answer in 15 s, or a refusal.
pub async fn ask(path: &Path, request: &Request) -> Result<BufReader<UnixStream>, ControlError> {
    let unreachable = |source| ControlError::Unreachable {
        path: path.into(),
        source,
    };
    let conversation = async {
        let stream = UnixStream::connect(path).await.map_err(unreachable)?;
        let mut stream = BufReader::new(stream);
        line::write(&mut stream, request).await?;
        match line::read(&mut stream).await? {
            Ok(Answer::Success) => Ok(stream),
            Ok(Answer::Failure { reason }) => Err(ControlError::Refused(reason)),
            Err(reason) => Err(ControlError::NotUnderstood(reason)),
        }
    };
    let silent = |_| ControlError::Broken(io::ErrorKind::TimedOut.into());
    timeout(PATIENCE, conversation).await.map_err(silent)?
}

#[cfg(test)]
mod tests;
