//! The server with the library's own client, and with OpenSSH where there is one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelMsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{HostKey, Source, SshParts, SshServer, Users};
use crate::model::crypt_hash;
use crate::model::settings::{Limits, UserEntry};
use crate::transport::{Peer, Serve};

mod calls;
mod channels;
mod flow;
mod life;
mod login;
mod openssh;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);
const SOURCE: Source = Source::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

/// A server, and the other ends of all its wires.
struct Stage {
    server: SshServer,
    host_key: HostKey,
    users: watch::Sender<Arc<Users>>,
    stop: watch::Sender<bool>,
}

/// A user whose password is `secret`.
fn user(name: &str) -> UserEntry {
    UserEntry {
        name: name.into(),
        password: Some(
            crypt_hash::replace("$0$secret", None, [0; crypt_hash::SALT_LENGTH]).unwrap(),
        ),
        authorized_keys: Vec::new(),
    }
}

/// Sends everything back until the client has sent all.
fn echo() -> Serve {
    Arc::new(|mut stream, _peer| {
        Box::pin(async move {
            let mut buffer = vec![0; 32 << 10];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        })
    })
}

/// Says who the peer is and ends.
fn introduce() -> Serve {
    Arc::new(|mut stream, peer: Peer| {
        Box::pin(async move {
            let text = format!("{}@{}", peer.user, peer.source.unwrap_or_default());
            stream.write_all(text.as_bytes()).await.unwrap();
        })
    })
}

impl Stage {
    fn new(serve: Serve) -> Self {
        Self::with(serve, Limits::default(), &[user("alice")])
    }

    fn with(serve: Serve, limits: Limits, users: &[UserEntry]) -> Self {
        let state_dir = tempfile::tempdir().unwrap();
        let host_key = HostKey::load_or_create(state_dir.path()).unwrap();
        let (users, users_seen) = watch::channel(Arc::new(Users::new(users)));
        let (stop, shutdown) = watch::channel(false);
        let server = SshServer::new(SshParts {
            host_key: host_key.clone(),
            users: users_seen,
            limits: watch::channel(Arc::new(limits)).1,
            serve,
            program: "/nonexistent".into(),
            shutdown,
        });
        Self {
            server,
            host_key,
            users,
            stop,
        }
    }

    /// A connection that is not logged in yet, and the server's side of it.
    async fn connect(&self) -> (client::Handle<Trusting>, JoinHandle<()>) {
        self.connect_with(client::Config::default()).await
    }

    async fn connect_with(
        &self,
        config: client::Config,
    ) -> (client::Handle<Trusting>, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(64 << 10);
        let server = self.server.clone();
        let serving = tokio::spawn(async move { server.serve_stream(far, SOURCE).await });
        let client = client::connect_stream(Arc::new(config), near, Trusting).await;
        (client.unwrap(), serving)
    }

    /// A connection of alice.
    async fn login(&self) -> (client::Handle<Trusting>, JoinHandle<()>) {
        let (mut client, serving) = self.connect().await;
        assert!(log_in(&mut client).await);
        (client, serving)
    }

    /// Real sockets; the server runs until [`Stage::stop`].
    async fn listen(&self, addresses: &[&str]) -> (Vec<u16>, JoinHandle<()>) {
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(TcpListener::bind(address).await.unwrap());
        }
        let ports = listeners.iter().map(|l| l.local_addr().unwrap().port());
        let ports = ports.collect();
        let server = self.server.clone();
        (
            ports,
            tokio::spawn(async move { server.run(listeners).await }),
        )
    }
}

/// A client that takes any server for the right one.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn log_in(client: &mut client::Handle<Trusting>) -> bool {
    let tried = client.authenticate_password("alice", "secret").await;
    tried.unwrap().success()
}

/// Opens a channel and asks for a subsystem; whether it was granted.
async fn subsystem(client: &client::Handle<Trusting>, name: &str) -> (Channel<client::Msg>, bool) {
    let mut channel = client.channel_open_session().await.unwrap();
    channel.request_subsystem(true, name).await.unwrap();
    let granted = answer(&mut channel).await;
    (channel, granted)
}

/// Whether a channel request was granted.
async fn answer(channel: &mut Channel<client::Msg>) -> bool {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure) => return false,
            Some(_) => {}
            None => panic!("the channel closed without an answer"),
        }
    }
}

/// All that a channel says until it closes, and the exit status.
async fn read_to_end(channel: &mut Channel<client::Msg>) -> (String, Option<u32>) {
    let (mut text, mut status) = (Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => text.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    (String::from_utf8(text).unwrap(), status)
}

/// Waits, but not for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("still waiting")
}

#[test]
fn connections_do_not_take_the_last_descriptor() {
    assert_eq!(super::most_connections(1024, 20_000), 1152);
    assert_eq!(super::most_connections(1024, 1024), 640);
    assert_eq!(super::most_connections(1024, 256), 128);
    assert_eq!(super::most_connections(10, 1024), 138);
}
