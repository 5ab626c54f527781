//! NETCONF over SSH as a user, with the russh client.

use std::net::SocketAddr;
use std::sync::Arc;

use russh::client::{self, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelStream, client::Msg};
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

    /// Logs in with a password and begins a command whose output it does not read. Gives how it ends.
    pub async fn deaf(
        address: SocketAddr,
        (user, password): (&str, &str),
        command: &str,
    ) -> Option<u32> {
        // The library opens a window again of which less than half is left: never, with one octet.
        let config = client::Config {
            window_size: 1,
            ..client::Config::default()
        };
        let mut connection = dial_with(address, config).await;
        let tried = soon(connection.authenticate_password(user, password)).await;
        assert!(tried.unwrap().success());
        let channel = connection.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        let command = Shell {
            channel,
            unseen: String::new(),
            status: None,
        };
        command.end().await
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

    /// What a command shows on its output and its standard error, and its exit status.
    pub async fn exec(self, command: &str) -> (String, u32) {
        let mut channel = self.connection.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        let (mut shown, mut status) = (Vec::new(), u32::MAX);
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                    shown.extend_from_slice(&data);
                }
                ChannelMsg::ExitStatus { exit_status } => status = exit_status,
                _ => {}
            }
        }
        (String::from_utf8(shown).unwrap(), status)
    }

    /// A shell on a terminal of this size.
    pub async fn shell(&self, rows: u32, columns: u32) -> Shell {
        let channel = self.connection.channel_open_session().await.unwrap();
        let terminal = channel.request_pty(true, "xterm", columns, rows, 0, 0, &[]);
        terminal.await.unwrap();
        channel.request_shell(true).await.unwrap();
        Shell {
            channel,
            unseen: String::new(),
            status: None,
        }
    }

    /// A shell without a terminal: it reads commands.
    pub async fn script(&self) -> Shell {
        let channel = self.connection.channel_open_session().await.unwrap();
        channel.request_shell(true).await.unwrap();
        Shell {
            channel,
            unseen: String::new(),
            status: None,
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

/// A shell, as a person sees it.
pub struct Shell {
    channel: Channel<Msg>,
    unseen: String,
    status: Option<u32>,
}

impl Shell {
    /// Types.
    pub async fn send(&mut self, text: &str) {
        self.channel.data(text.as_bytes()).await.unwrap();
    }

    /// Types no more.
    pub async fn eof(&self) {
        self.channel.eof().await.unwrap();
    }

    /// Changes the size of the window.
    pub async fn resize(&mut self, rows: u32, columns: u32) {
        let changed = self.channel.window_change(columns, rows, 0, 0);
        changed.await.unwrap();
    }

    /// Waits for a text; gives all that was shown up to its end, without the control sequences of the terminal.
    pub async fn wait_for(&mut self, text: &str) -> String {
        loop {
            let seen = plain(&self.unseen);
            if let Some(at) = seen.find(text) {
                let end = at + text.len();
                self.unseen = seen[end..].to_owned();
                return seen[..end].to_owned();
            }
            assert!(self.more().await, "{text:?} never came: {seen:?}");
        }
    }

    /// Waits for the end; gives the exit status.
    pub async fn end(mut self) -> Option<u32> {
        while self.more().await {}
        self.status
    }

    async fn more(&mut self) -> bool {
        match self.channel.wait().await {
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                self.unseen.push_str(&String::from_utf8_lossy(&data));
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
            Some(_) => {}
            None => return false,
        }
        true
    }
}

/// A text without control sequences; one that is not complete yet stays.
fn plain(text: &str) -> String {
    let sequences = regex::Regex::new(r"\x1b\[[0-9;?]*[A-Za-z]|\r").unwrap();
    sequences.replace_all(text, "").into_owned()
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
    dial_with(address, client::Config::default()).await
}

async fn dial_with(address: SocketAddr, config: client::Config) -> Handle<Trusting> {
    let dialled = client::connect(Arc::new(config), address, Trusting);
    soon(dialled).await.unwrap()
}
