//! A Unix socket that programs of this machine connect to: made, served to a bounded number at once, and removed.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::{Leavers, stopped};

/// A wait after the system refuses a connection (out of descriptors, memory).
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Connections may take so long to end by themselves at a shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// Why a Unix socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error("the socket {path} is in use by another agent", path = .0.display())]
    InUse(PathBuf),
    /// Something else has this name.
    #[error("{path} exists and is not a socket; remove it or choose another {option}", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What chooses the path.
        option: &'static str,
    },
    /// The system refuses.
    #[error("the socket {path} cannot be made: {source}", path = path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What a socket is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What chooses the path.
    pub option: &'static str,
    /// Who may connect, as permissions of the file.
    pub mode: u32,
    /// Connections at once; one more is closed unserved.
    pub connections: usize,
}

/// A Unix socket, bound; its file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    kind: Kind,
}

impl Socket {
    /// Binds the socket at this path, in place of one that a dead agent left. Needs a tokio runtime.
    pub async fn bind(path: &Path, kind: Kind) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io {
            path: path.into(),
            source,
        };
        remove_stale(path, kind.option).await?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let server = Self {
            listener,
            path: path.into(),
            kind,
        };
        tokio::fs::set_permissions(path, Permissions::from_mode(kind.mode))
            .await
            .map_err(failed)?;
        Ok(server)
    }

    /// Serves all who connect until `shutdown` says true; then gives them two seconds to end.
    pub async fn run<S>(
        self,
        serve: impl Fn(UnixStream) -> S + Send,
        shutdown: watch::Receiver<bool>,
    ) where
        S: Future<Output = ()> + Send + 'static,
    {
        let most = self.kind.connections;
        let places = Arc::new(Semaphore::new(most));
        let mut connections = JoinSet::new();
        let mut leavers = Leavers::default();
        loop {
            tokio::select! {
                () = stopped(&shutdown) => break,
                Some(_) = connections.join_next() => leavers.left(connections.is_empty()),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let Ok(place) = places.clone().try_acquire_owned() else {
                            warn!(most, path = %self.path.display(), "connection refused: too many");
                            continue;
                        };
                        let served = serve(stream);
                        connections.spawn(async move {
                            served.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        warn!(%error, path = %self.path.display(), "the socket cannot accept a connection");
                        // A shutdown is seen again at the head of the loop.
                        let _ = timeout(ACCEPT_BACK_OFF, stopped(&shutdown)).await;
                    }
                }
            }
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        // What has not ended by now is cut off.
        let _ = timeout(GRACE, ended).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Only tidiness: a socket left behind is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes a socket that nobody listens on.
async fn remove_stale(path: &Path, option: &'static str) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.into(),
        source,
    };
    let metadata = match tokio::fs::symlink_metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(failed)?,
    };
    if !metadata.file_type().is_socket() {
        let path = path.into();
        return Err(SocketError::NotASocket { path, option });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tokio::fs::remove_file(path).await.map_err(failed)
        }
        // Connected, or it could not because its queue is full: somebody is there.
        Ok(_) => Err(SocketError::InUse(path.into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::InUse(path.into()))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        option: "--socket",
        mode: 0o600,
        connections: 1,
    };

    #[tokio::test]
    async fn the_file_has_the_permissions_that_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let _server = Socket::bind(&path, KIND).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_socket_left_by_a_dead_agent_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Socket::bind(&path, KIND).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_use_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let _first = Socket::bind(&path, KIND).await.unwrap();
        let second = Socket::bind(&path, KIND).await.unwrap_err();
        assert!(matches!(second, SocketError::InUse(_)));
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = Socket::bind(&path, KIND).await.unwrap_err();
        assert!(error.to_string().contains("--socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_unserved() {
        use tokio::io::AsyncReadExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let server = Socket::bind(&path, KIND).await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        let wait = |mut stream: UnixStream| async move {
            let _ = stream.read_u8().await;
        };
        let running = tokio::spawn(server.run(wait, shutdown));
        let _first = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        assert_eq!(second.read(&mut [0; 8]).await.unwrap(), 0);
        stop.send(true).unwrap();
        drop(_first);
        running.await.unwrap();
    }
}
