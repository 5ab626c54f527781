//! The Unix socket: NETCONF for the programs of this machine, who prove who they are by being who they are.
//!
//! Anybody may connect; the kernel says which user did (SO_PEERCRED), and access control takes it from there. Root and
//! the agent's own user are `admin`; the groups of all others count in access control as those that the transport
//! reports (RFC 8341, `enable-external-groups`), as `unix:NAME`: a group of the machine that happens to be called like one
//! of access control is not that one.

use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Group, Uid, User, geteuid, getgrouplist};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::socket::{Kind, Socket, SocketError};
use super::{Owed, Peer, Serve, Transport};

/// The user whom root and the agent's own user are.
const ADMIN: &str = "admin";
/// Everybody may knock: who may come in depends on the peer's credentials, not on the file. Sessions have a limit of
/// their own.
const KIND: Kind = Kind {
    option: "--socket",
    mode: 0o666,
    connections: 2048,
};
/// A name service that does not answer must not hold a connection for ever.
const LOOK_UP: Duration = Duration::from_secs(5);

/// The local socket, bound; its file goes when this is dropped.
#[derive(Debug)]
pub struct LocalServer(Socket);

impl LocalServer {
    /// Binds the socket at this path, in place of one that a dead agent left. Needs a tokio runtime.
    ///
    /// # Errors
    /// Somebody listens there, something else has that name, or the system refuses.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        Socket::bind(path, KIND).await.map(Self)
    }

    /// Serves all who connect until `shutdown` says true; then gives their sessions two seconds to end.
    pub async fn run(self, serve: Serve, shutdown: watch::Receiver<bool>) {
        let serve = |stream| serve_one(stream, serve.clone());
        self.0.run(serve, shutdown).await;
    }
}

async fn serve_one(stream: UnixStream, serve: Serve) {
    let uid = match stream.peer_cred() {
        Ok(credentials) => Uid::from_raw(credentials.uid()),
        Err(error) => {
            warn!(%error, "local connection refused: its credentials are unknown");
            return;
        }
    };
    let Some(peer) = peer(uid).await else {
        warn!(%uid, "local connection refused: its user is unknown");
        return;
    };
    info!(user = peer.user, %uid, "local login");
    serve(Box::new(stream), peer).await;
}

/// A user of this machine as the agent knows him, if he has a name. Root and the agent's own user, who can read and
/// write all that the agent can, may repair access control that has locked `admin` out.
async fn peer(uid: Uid) -> Option<Peer> {
    let owns_the_machine = uid.is_root() || uid == geteuid();
    let (user, groups) = match owns_the_machine {
        true => (ADMIN.to_owned(), Vec::new()),
        false => {
            // May ask a directory over the network.
            let looked_up = tokio::task::spawn_blocking(move || login(uid));
            timeout(LOOK_UP, looked_up).await.ok()?.ok()??
        }
    };
    Some(Peer {
        user,
        transport: Transport::Local,
        source: None,
        groups,
        may_recover: owns_the_machine,
        owed: Owed::default(),
    })
}

/// Name and groups of a user of this machine, the groups as access control knows them.
fn login(uid: Uid) -> Option<(String, Vec<String>)> {
    let user = User::from_uid(uid).ok()??;
    let name = CString::new(user.name.as_str()).ok()?;
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    let groups = groups.into_iter().filter_map(|gid| {
        let group = Group::from_gid(gid).ok()??;
        Some(format!("unix:{}", group.name))
    });
    Some((user.name, groups.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Says who the peer is, then waits for it to close.
    fn greeter() -> Serve {
        Arc::new(|mut stream, peer: Peer| {
            Box::pin(async move {
                stream.write_all(peer.user.as_bytes()).await.unwrap();
                let _ = stream.read_u8().await;
            })
        })
    }

    #[tokio::test]
    async fn the_agents_own_user_is_admin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tether.sock");
        let server = LocalServer::bind(&path).await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        let running = tokio::spawn(server.run(greeter(), shutdown));
        let mut client = UnixStream::connect(&path).await.unwrap();
        let mut name = [0; 5];
        client.read_exact(&mut name).await.unwrap();
        assert_eq!(&name, b"admin");
        drop(client);
        stop.send(true).unwrap();
        running.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_users_have_their_login_name_and_groups_and_unknown_ones_none() {
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let known = peer(nobody.uid).await.unwrap();
        let group = Group::from_gid(nobody.gid).unwrap().unwrap();
        assert_eq!(known.user, "nobody");
        assert!(
            known.groups.contains(&format!("unix:{}", group.name)),
            "{:?}",
            known.groups
        );
        assert!(!known.may_recover);
        let own = peer(geteuid()).await.unwrap();
        assert_eq!(
            (own.user.as_str(), own.groups.len(), own.may_recover),
            ("admin", 0, true)
        );
        assert_eq!(peer(Uid::from_raw(3_999_999_999)).await, None);
    }

    #[tokio::test]
    async fn everybody_may_connect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tether.sock");
        let _server = LocalServer::bind(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }

    #[tokio::test]
    async fn shutdown_ends_connections_whose_session_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tether.sock");
        let server = LocalServer::bind(&path).await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        let running = tokio::spawn(server.run(greeter(), shutdown));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
        stop.send(true).unwrap();
        running.await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
