//! Connections that can misbehave: cut off, reset, not read from, octet by octet.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelStream, Disconnect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Whatever goes wrong ends the program.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
const HELLO: &str = r#"<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>"#;
/// A small request.
pub const GET: &str = r#"<get-config><source><running/></source><filter><system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><hostname/></system></filter></get-config>"#;

/// Where the agent is and who comes.
pub struct Door {
    pub ssh: SocketAddr,
    pub socket: Option<PathBuf>,
    pub user: String,
    pub key: Arc<PrivateKey>,
}

impl Door {
    /// A session over SSH, after the hellos.
    pub async fn session(&self) -> Result<(Line<ChannelStream<Msg>>, Connection), Failure> {
        let (mut line, connection) = self.channel().await?;
        line.greet().await?;
        Ok((line, connection))
    }

    /// The same before the client's hello.
    pub async fn channel(&self) -> Result<(Line<ChannelStream<Msg>>, Connection), Failure> {
        timeout(PATIENCE, self.log_in()).await?
    }

    async fn log_in(&self) -> Result<(Line<ChannelStream<Msg>>, Connection), Failure> {
        let stream = TcpStream::connect(self.ssh).await?;
        stream.set_nodelay(true)?;
        let tap = Arc::new(Tap::default());
        let tapped = Tapped {
            stream,
            tap: Arc::clone(&tap),
        };
        let config = Arc::new(client::Config::default());
        let mut handle = client::connect_stream(config, tapped, Trusting).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        if !handle
            .authenticate_publickey(self.user.clone(), key)
            .await?
            .success()
        {
            return Err("the login is refused".into());
        }
        let channel = handle.channel_open_session().await?;
        channel.request_subsystem(true, "netconf").await?;
        let line = Line::new(channel.into_stream());
        Ok((line, Connection { handle, tap }))
    }

    /// A session over the local socket, before the client's hello.
    pub async fn local(&self) -> Result<Line<UnixStream>, Failure> {
        let path = self.socket.as_ref().ok_or("--socket is needed")?;
        Ok(Line::new(UnixStream::connect(path).await?))
    }
}

/// A client that takes any server for the right one.
pub struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// An SSH connection, and the tap on what is below it.
pub struct Connection {
    handle: Handle<Trusting>,
    tap: Arc<Tap>,
}

impl Connection {
    /// Takes leave and waits until the connection is over.
    pub async fn leave(self) {
        // A connection that the server has ended already is over, too.
        let left = async {
            let bye = self.handle.disconnect(Disconnect::ByApplication, "", "");
            if bye.await.is_ok() {
                let _ = self.handle.await;
            }
        };
        let _ = timeout(PATIENCE, left).await;
    }

    /// Closes the socket without a word: the server sees an end of file, or a reset.
    pub async fn cut(self, reset: bool) {
        self.tap.set(if reset { RESET } else { CUT });
        let _ = timeout(PATIENCE, self.handle).await;
    }

    /// Reads nothing from the socket any more.
    pub fn stop_reading(&self) {
        self.tap.set(SHUT);
    }
}

const SHUT: u8 = 1;
const CUT: u8 = 2;
const RESET: u8 = 3;

#[derive(Default)]
struct Tap {
    state: AtomicU8,
    reader: AtomicWaker,
}

impl Tap {
    fn set(&self, state: u8) {
        self.state.store(state, SeqCst);
        self.reader.wake();
    }
}

struct Tapped {
    stream: TcpStream,
    tap: Arc<Tap>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.tap.reader.register(cx.waker());
        match self.tap.state.load(SeqCst) {
            SHUT => return Poll::Pending,
            CUT => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            RESET => {
                // With unsent data thrown away, closing is a reset.
                self.stream.set_zero_linger()?;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            _ => {}
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.tap.state.load(SeqCst) >= CUT {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap.state.load(SeqCst) >= CUT {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One session's stream.
pub struct Line<S> {
    stream: S,
    heard: Vec<u8>,
    pub id: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            heard: Vec::new(),
            id: 0,
        }
    }

    /// Both hellos.
    pub async fn greet(&mut self) -> Result<(), Failure> {
        self.say(HELLO.as_bytes()).await?;
        self.hear_hello().await
    }

    /// The server's hello.
    pub async fn hear_hello(&mut self) -> Result<(), Failure> {
        let hello = self.hear(b"]]>]]>").await?;
        let id = hello.split_once("<session-id>").map(|(_, rest)| rest);
        let id = id.and_then(|rest| rest.split_once('<')).map(|(id, _)| id);
        self.id = id.ok_or("a hello without a session-id")?.parse()?;
        Ok(())
    }

    /// Sends one request and waits for its reply.
    pub async fn ask(&mut self, operation: &str) -> Result<String, Failure> {
        self.say(&request(operation)).await?;
        self.hear(b"\n##\n").await
    }

    pub async fn say(&mut self, octets: &[u8]) -> Result<(), Failure> {
        timeout(PATIENCE, self.stream.write_all(octets)).await??;
        Ok(())
    }

    /// All up to this mark.
    pub async fn hear(&mut self, mark: &[u8]) -> Result<String, Failure> {
        let heard = timeout(PATIENCE, async {
            loop {
                let at = self.heard.windows(mark.len()).position(|part| part == mark);
                if let Some(at) = at {
                    let rest = self.heard.split_off(at + mark.len());
                    return Ok(std::mem::replace(&mut self.heard, rest));
                }
                if self.stream.read_buf(&mut self.heard).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
        });
        Ok(String::from_utf8(heard.await??)?)
    }

    /// Says the end of its own direction.
    pub async fn shut(&mut self) -> Result<(), Failure> {
        timeout(PATIENCE, self.stream.shutdown()).await??;
        Ok(())
    }

    /// Waits for the end, whatever comes before.
    pub async fn hear_end(&mut self) -> Result<(), Failure> {
        timeout(PATIENCE, async {
            let mut octets = vec![0; 4096];
            // A reset is an end, too.
            while let Ok(1..) = self.stream.read(&mut octets).await {}
        })
        .await?;
        Ok(())
    }
}

/// A request as it goes onto the wire.
pub fn request(operation: &str) -> Vec<u8> {
    let rpc = format!(
        r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{operation}</rpc>"#
    );
    format!("\n#{}\n{rpc}\n##\n", rpc.len()).into_bytes()
}
