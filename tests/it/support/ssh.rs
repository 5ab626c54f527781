//! NETCONF over SSH as a user, with the russh client.

use std::net::SocketAddr;
use std::sync::Arc;

use russh::client::{self, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelStream, client::Msg};
use tether::protocol::client::Client;
use tokio::net::TcpStream;

use super::{PATIENCE, soon};

/// A session as a user, with the connection that carries it.
pub struct SshSession {
    pub session: Client<ChannelStream<Msg>>,
    connection: Handle<Trusting>,
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

impl SshSession {
    /// Logs in with a password; `None` when that is refused.
    pub async fn open(address: SocketAddr, user: &str, password: &str) -> Option<Self> {
        let mut connection = dial(address).await;
        let tried = soon(connection.authenticate_password(user, password)).await;
        if tried.unwrap().success() {
            Some(Self::over(connection).await)
        } else {
            None
        }
    }

    /// Logs in with a password at a server that has called; `None` when that is refused.
    pub async fn answer(stream: TcpStream, user: &str, password: &str) -> Option<Self> {
        let config = Arc::new(client::Config::default());
        let connection = soon(client::connect_stream(config, stream, Trusting)).await;
        let mut connection = connection.unwrap();
        let tried = soon(connection.authenticate_password(user, password)).await;
        if tried.unwrap().success() {
            Some(Self::over(connection).await)
        } else {
            None
        }
    }

    /// Logs in with a key; `None` when that is refused.
    pub async fn open_with_key(address: SocketAddr, user: &str, key: &PrivateKey) -> Option<Self> {
        let mut connection = dial(address).await;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        let tried = soon(connection.authenticate_publickey(user, key)).await;
        if tried.unwrap().success() {
            Some(Self::over(connection).await)
        } else {
            None
        }
    }

    /// Tries passwords one after the other on one connection; how many of them let in.
    pub async fn attempts(address: SocketAddr, user: &str, passwords: &[&str]) -> usize {
        let mut connection = dial(address).await;
        let mut accepted = 0;
        for password in passwords {
            // A connection that has ended lets nobody in.
            let tried = soon(connection.authenticate_password(user, *password)).await;
            accepted += usize::from(tried.is_ok_and(|result| result.success()));
        }
        accepted
    }

    /// The subsystem `netconf` of a user whose messages are the test's business.
    pub async fn by_hand(address: SocketAddr, user: &str, password: &str) -> ByHand {
        let mut connection = dial(address).await;
        let tried = soon(connection.authenticate_password(user, password)).await;
        assert!(tried.unwrap().success());
        ByHand {
            stream: subsystem(&connection).await,
            _connection: connection,
        }
    }

    async fn over(connection: Handle<Trusting>) -> Self {
        let stream = subsystem(&connection).await;
        Self {
            session: Client::connect(stream, PATIENCE).await.unwrap(),
            connection,
        }
    }

    /// Waits until the server has ended the connection.
    pub async fn ended(self) {
        // An error is an end, too.
        let _ = soon(self.connection).await;
    }
}

/// A channel with the subsystem on it.
pub struct ByHand {
    pub stream: ChannelStream<Msg>,
    _connection: Handle<Trusting>,
}

async fn subsystem(connection: &Handle<Trusting>) -> ChannelStream<Msg> {
    let channel = soon(connection.channel_open_session()).await.unwrap();
    channel.request_subsystem(true, "netconf").await.unwrap();
    channel.into_stream()
}

async fn dial(address: SocketAddr) -> Handle<Trusting> {
    let config = Arc::new(client::Config::default());
    soon(client::connect(config, address, Trusting))
        .await
        .unwrap()
}
