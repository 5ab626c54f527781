//! Sessions over an in-memory stream, with the clock paused: no test waits for real.

mod flow;
mod hello;
mod messages;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::model::schema::Schema;
use crate::netconf::operations::Statistics;
use crate::protocol::framing::{Framer, encode};
use crate::protocol::hello::{BASE_1_0, BASE_1_1};

const NC: &str = "xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"";
const SESSION: SessionId = 7;

/// A server that does what the name of the operation says.
#[derive(Clone, Default)]
struct Server(Arc<State>);

#[derive(Default)]
struct State {
    executed: AtomicUsize,
    control: Mutex<Option<Control>>,
    ends: Mutex<Vec<EndReason>>,
    started: Notify,
    go_on: Notify,
    is_full: bool,
}

impl Server {
    fn control(&self) -> Control {
        self.0.control.lock().unwrap().clone().unwrap()
    }

    fn ends(&self) -> Vec<EndReason> {
        self.0.ends.lock().unwrap().clone()
    }
}

impl Operations for Server {
    async fn open(&self, _: &Peer, control: Control) -> Result<Opened, RpcError> {
        if self.0.is_full {
            return Err(RpcError::protocol(
                ErrorTag::ResourceDenied,
                "too many sessions",
            ));
        }
        *self.0.control.lock().unwrap() = Some(control);
        Ok(Opened {
            session: SESSION,
            capabilities: vec![BASE_1_0.into(), BASE_1_1.into()],
        })
    }

    async fn execute(&self, session: SessionId, rpc: Rpc) -> Result<Reply, Errors> {
        assert_eq!(session, SESSION);
        self.0.executed.fetch_add(1, Ordering::SeqCst);
        match rpc {
            Rpc::Get { .. } => Ok(Reply::Output("<data><x xmlns=\"urn:x\"/></data>".into())),
            Rpc::Other { name, .. } => match name.as_str() {
                "big" => Ok(Reply::Output(format!(
                    "<data>{}</data>",
                    "x".repeat(8 << 20)
                ))),
                "panic" => panic!("an operation that fails its session"),
                "wait" => {
                    self.0.started.notify_one();
                    self.0.go_on.notified().await;
                    Ok(Reply::Ok)
                }
                name => Err(rpc::unknown_operation(name).into()),
            },
            _ => Ok(Reply::Ok),
        }
    }

    fn close(&self, session: SessionId, reason: EndReason) {
        assert_eq!(session, SESSION);
        self.0.ends.lock().unwrap().push(reason);
    }

    fn schema(&self) -> Schema {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(&[]).unwrap());
        *SCHEMA
    }

    fn namespace(&self, module: &str) -> Option<String> {
        Some(format!("urn:{module}"))
    }
}

struct Client {
    stream: DuplexStream,
    framer: Framer,
    framing: Framing,
    server: Server,
    task: JoinHandle<Result<EndReason, SessionError>>,
    /// Keeps the limits changeable.
    limits: watch::Sender<Arc<Limits>>,
}

impl Client {
    /// Starts a session and sends nothing.
    fn start_with(limits: Limits, server: Server) -> Self {
        let (stream, theirs) = tokio::io::duplex(4096);
        let (limits, receiver) = watch::channel(Arc::new(limits));
        let peer = Peer {
            user: "fred".into(),
            transport: Transport::Local,
            source: None,
            groups: Vec::new(),
            may_recover: false,
            owed: Owed::default(),
        };
        let task = tokio::spawn(serve(theirs, peer, server.clone(), receiver));
        Self {
            stream,
            framer: Framer::new(usize::MAX),
            framing: Framing::EndOfMessage,
            server,
            task,
            limits,
        }
    }

    fn start() -> Self {
        Self::start_with(Limits::default(), Server::default())
    }

    /// A session with the hellos exchanged.
    async fn open_with(limits: Limits, version: &str) -> Self {
        let mut client = Self::start_with(limits, Server::default());
        client.send(&hello(&[version])).await;
        let theirs = client.receive().await.unwrap();
        let (theirs, session) = Hello::from_server(theirs.as_bytes(), 16).unwrap();
        assert_eq!(session, SESSION);
        assert!(theirs.has(BASE_1_1));
        client.framing = if version == BASE_1_1 {
            Framing::Chunked
        } else {
            Framing::EndOfMessage
        };
        client.framer.set_framing(client.framing);
        client
    }

    async fn open() -> Self {
        Self::open_with(Limits::default(), BASE_1_1).await
    }

    async fn send(&mut self, message: &str) {
        self.send_raw(&encode(self.framing, message.as_bytes()))
            .await;
    }

    async fn send_raw(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next message, or `None` at the end of the stream.
    async fn receive(&mut self) -> Option<String> {
        loop {
            if let Some(message) = self.framer.next().unwrap() {
                return Some(String::from_utf8(message.to_vec()).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await.unwrap() {
                0 => return None,
                octets => self.framer.push(&buffer[..octets]),
            }
        }
    }

    async fn ask(&mut self, message: &str) -> String {
        self.send(message).await;
        self.receive().await.unwrap()
    }

    /// The end of the session, with the stream still open on this side.
    async fn end(self) -> (Result<EndReason, SessionError>, Vec<EndReason>) {
        let result = self.task.await.unwrap();
        (result, self.server.ends())
    }

    async fn refusal(self) -> SessionError {
        let (result, ends) = self.end().await;
        let error = result.unwrap_err();
        assert_eq!(ends, [error.reason()]);
        error
    }
}

fn hello(capabilities: &[&str]) -> String {
    Hello {
        capabilities: capabilities.iter().map(|uri| (*uri).into()).collect(),
        session_id: None,
    }
    .write()
}

fn rpc(id: usize, operation: &str) -> String {
    format!("<rpc message-id=\"{id}\" {NC}>{operation}</rpc>")
}

fn ok(id: usize) -> String {
    format!("<rpc-reply {NC} message-id=\"{id}\"><ok/></rpc-reply>")
}

const GET_REPLY: &str = "<data><x xmlns=\"urn:x\"/></data></rpc-reply>";
const BIG: &str = "<big xmlns=\"urn:t\"/>";
const WAIT: &str = "<wait xmlns=\"urn:t\"/>";
