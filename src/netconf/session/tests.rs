//! Sessions over an in-memory stream, with the clock paused: no test waits for real.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
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
            Rpc::Get { .. } => Ok(Reply::Data("<x xmlns=\"urn:x\"/>".into())),
            Rpc::Other { name, .. } => match name.as_str() {
                "big" => Ok(Reply::Data("x".repeat(8 << 20))),
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

#[tokio::test(start_paused = true)]
async fn a_session_serves_requests_and_is_closed() {
    let mut client = Client::open().await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    assert_eq!(
        client
            .ask(&rpc(2, "<lock><target><running/></target></lock>"))
            .await,
        ok(2)
    );
    assert_eq!(client.ask(&rpc(3, "<close-session/>")).await, ok(3));
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Closed);
    assert_eq!(ends, [EndReason::Closed]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_base_1_0_is_served_with_end_of_message_marks() {
    let mut client = Client::open_with(Limits::default(), BASE_1_0).await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    let reply = client.ask("not XML").await;
    assert!(
        reply.contains("<error-tag>operation-failed</error-tag>"),
        "{reply}"
    );
    assert_eq!(client.ask(&rpc(2, "<close-session/>")).await, ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_hello_split_at_each_octet_is_read() {
    let mut client = Client::start();
    for octet in encode(Framing::EndOfMessage, hello(&[BASE_1_0]).as_bytes()) {
        client.send_raw(&[octet]).await;
        tokio::task::yield_now().await;
    }
    client.receive().await.unwrap();
    assert_eq!(client.ask(&rpc(1, "<close-session/>")).await, ok(1));
}

#[tokio::test(start_paused = true)]
async fn requests_may_come_in_one_write_with_the_hello() {
    let mut client = Client::start();
    let mut octets = encode(
        Framing::EndOfMessage,
        hello(&[BASE_1_0, BASE_1_1]).as_bytes(),
    );
    octets.extend(encode(
        Framing::Chunked,
        rpc(1, "<close-session/>").as_bytes(),
    ));
    client.send_raw(&octets).await;
    client.receive().await.unwrap();
    client.framer.set_framing(Framing::Chunked);
    assert_eq!(client.receive().await.unwrap(), ok(1));
}

#[tokio::test(start_paused = true)]
async fn bad_hellos_end_the_session() {
    let with_id = Hello {
        capabilities: vec![BASE_1_1.into()],
        session_id: Some(1),
    }
    .write();
    let wrong_namespace = hello(&[BASE_1_1]).replace("base:1.0\"", "base:9.9\"");
    for first in [
        hello(&[]),
        hello(&["urn:x"]),
        with_id,
        wrong_namespace,
        rpc(1, "<get/>"),
        "<hello".into(),
        String::new(),
    ] {
        let mut client = Client::start();
        client.send(&first).await;
        assert!(
            matches!(client.refusal().await, SessionError::Hello(_)),
            "{first}"
        );
    }
    let mut chunked = Client::start();
    chunked
        .send_raw(&encode(Framing::Chunked, hello(&[BASE_1_1]).as_bytes()))
        .await;
    assert!(matches!(
        chunked.refusal().await,
        SessionError::Framing(FramingError::ChunkedTooEarly)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_when_its_hello_is_due() {
    let started = Instant::now();
    let client = Client::start();
    assert!(matches!(
        client.refusal().await,
        SessionError::HelloTimeout(_)
    ));
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_second_hello_ends_the_session() {
    let mut client = Client::open().await;
    client.send(&hello(&[BASE_1_1])).await;
    assert!(matches!(client.refusal().await, SessionError::SecondHello));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_refuses_before_the_hello() {
    let server = Server(Arc::new(State {
        is_full: true,
        ..State::default()
    }));
    let mut client = Client::start_with(Limits::default(), server);
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert!(matches!(result, Err(SessionError::Refused(_))));
    assert_eq!(ends, []);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_their_order() {
    let client = Client::open().await;
    let Client {
        stream,
        mut framer,
        task,
        limits: _limits,
        ..
    } = client;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let writer = tokio::spawn(async move {
        for id in 0..5_000 {
            writing
                .write_all(&encode(Framing::Chunked, rpc(id, "<commit/>").as_bytes()))
                .await
                .unwrap();
        }
        let close = rpc(5_000, "<close-session/>");
        writing
            .write_all(&encode(Framing::Chunked, close.as_bytes()))
            .await
            .unwrap();
    });
    let mut expected = 0;
    let mut buffer = [0; 4096];
    while expected <= 5_000 {
        let octets = reading.read(&mut buffer).await.unwrap();
        framer.push(&buffer[..octets]);
        while let Some(reply) = framer.next().unwrap() {
            assert_eq!(reply, ok(expected));
            expected += 1;
        }
    }
    writer.await.unwrap();
    assert_eq!(task.await.unwrap().unwrap(), EndReason::Closed);
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_while_too_many_requests_wait() {
    let limits = Limits {
        pipelined_requests: 4,
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    client.send(&rpc(0, WAIT)).await;
    client.server.0.started.notified().await;
    let mut sent = 0;
    let request = encode(Framing::Chunked, rpc(1, "<commit/>").as_bytes());
    // With the clock paused the time runs out only when nothing else can move.
    while timeout(Duration::from_secs(1), client.stream.write_all(&request))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1_000, "the session reads on");
    }
    client.server.0.go_on.notify_one();
    assert_eq!(client.receive().await.unwrap(), ok(0));
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_while_too_many_octets_wait() {
    let limits = Limits {
        pipelined_octets: 10_000,
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    client.send(&rpc(0, WAIT)).await;
    client.server.0.started.notified().await;
    let request = encode(
        Framing::Chunked,
        rpc(1, &format!("<commit/><!--{}-->", "x".repeat(3_000))).as_bytes(),
    );
    let mut sent = 0;
    while timeout(Duration::from_secs(1), client.stream.write_all(&request))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 100, "the session reads on");
    }
    client.server.0.go_on.notify_one();
    assert_eq!(client.receive().await.unwrap(), ok(0));
    assert_eq!(client.receive().await.unwrap(), ok(1));
}

#[tokio::test(start_paused = true)]
async fn requests_before_the_end_of_the_stream_are_answered() {
    let mut client = Client::open().await;
    client.send(&rpc(1, "<commit/>")).await;
    client.send(&rpc(2, "<commit/>")).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.receive().await.unwrap(), ok(1));
    assert_eq!(client.receive().await.unwrap(), ok(2));
    assert_eq!(client.receive().await, None);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Dropped);
    assert_eq!(ends, [EndReason::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_keeps_its_session_until_it_goes() {
    let mut client = Client::open().await;
    client.send_raw(b"\n#100\n<rpc message-id=").await;
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(!client.task.is_finished());
    drop(client.stream);
    assert_eq!(client.task.await.unwrap().unwrap(), EndReason::Dropped);
    assert_eq!(client.server.ends(), [EndReason::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_and_octets_without_a_request_do_not_keep_it() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(100),
        ..Limits::default()
    };
    let mut client = Client::open_with(limits, BASE_1_1).await;
    let opened = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(client.ask(&rpc(1, "<commit/>")).await, ok(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.send_raw(b"\n#100\n<rpc").await;
    let (result, _) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Timeout);
    assert_eq!(opened.elapsed().as_secs(), 160);
}

#[tokio::test(start_paused = true)]
async fn a_changed_idle_timeout_counts_for_a_session_that_waits() {
    let mut client = Client::open().await;
    let opened = Instant::now();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.limits.send_replace(Arc::new(Limits {
        idle_timeout: Duration::from_secs(100),
        ..Limits::default()
    }));
    assert_eq!(client.receive().await, None);
    assert_eq!(opened.elapsed().as_secs(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_dropped() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let asked = Instant::now();
    assert!(matches!(
        client.refusal().await,
        SessionError::NotReading(_)
    ));
    assert!((60..=63).contains(&asked.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_served() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let mut buffer = [0; 4096];
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        let octets = client.stream.read(&mut buffer).await.unwrap();
        client.framer.push(&buffer[..octets]);
    }
    assert_eq!(
        client.receive().await.unwrap().len(),
        (8 << 20) + ok(1).len() + "<data></data>".len() - "<ok/>".len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_session_ends_while_it_is_stuck_writing() {
    let mut client = Client::open().await;
    client.send(&rpc(1, BIG)).await;
    let killed = Instant::now();
    // Some of the reply has come, so it is being written.
    assert_eq!(client.stream.read(&mut [0; 10]).await.unwrap(), 10);
    client.server.control().end(EndReason::Killed { by: 3 });
    client.server.control().end(EndReason::Other);
    let (result, ends) = client.end().await;
    assert_eq!(result.unwrap(), EndReason::Killed { by: 3 });
    assert_eq!(ends, [EndReason::Killed { by: 3 }]);
    assert_eq!(killed.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_killed_session_ends_while_it_waits_or_executes() {
    let client = Client::open().await;
    client.server.control().end(EndReason::Other);
    assert_eq!(client.end().await.0.unwrap(), EndReason::Other);

    let mut client = Client::open().await;
    client.send(&rpc(1, WAIT)).await;
    client.server.0.started.notified().await;
    client.server.control().end(EndReason::Other);
    assert_eq!(client.end().await.0.unwrap(), EndReason::Other);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_or_is_aborted_gives_its_place_back() {
    let mut client = Client::open().await;
    client.send(&rpc(1, "<panic xmlns=\"urn:t\"/>")).await;
    assert!(client.task.await.unwrap_err().is_panic());
    assert_eq!(client.server.ends(), [EndReason::Dropped]);

    let client = Client::open().await;
    client.task.abort();
    assert!(client.task.await.unwrap_err().is_cancelled());
    assert_eq!(client.server.ends(), [EndReason::Dropped]);
}

#[tokio::test(start_paused = true)]
async fn broken_framing_ends_the_session_after_the_requests_before_it() {
    for broken in [
        "\n#0\n",
        "\n#01\n",
        "\n#4294967296\n",
        "\n#x\n",
        "\n##\n",
        "]]>]]>",
    ] {
        let mut client = Client::open().await;
        client.send(&rpc(1, "<commit/>")).await;
        client.send_raw(broken.as_bytes()).await;
        assert_eq!(client.receive().await.unwrap(), ok(1));
        assert_eq!(client.receive().await, None);
        assert!(
            matches!(client.refusal().await, SessionError::Framing(_)),
            "{broken}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_64_mib_is_refused_with_its_id_and_ends_the_session() {
    for version in [BASE_1_0, BASE_1_1] {
        let mut client = Client::open_with(Limits::default(), version).await;
        let head = format!("<rpc message-id=\"9\" {NC}><get/><!--");
        if version == BASE_1_1 {
            client
                .send_raw(format!("\n#{}\n", 64 << 20).as_bytes())
                .await;
        }
        client.send_raw(head.as_bytes()).await;
        let block = [b'x'; 4096];
        // The session stops reading somewhere in it.
        for _ in 0..(64 << 20) / block.len() {
            if client.stream.write_all(&block).await.is_err() {
                break;
            }
        }
        let reply = client.receive().await.unwrap();
        assert!(
            reply.contains("message-id=\"9\"") && reply.contains("<error-tag>too-big</error-tag>"),
            "{reply}"
        );
        assert!(matches!(
            client.refusal().await,
            SessionError::Framing(FramingError::TooBig { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_messages_are_answered_and_the_session_goes_on() {
    let deep = format!(
        "<rpc message-id=\"5\" {NC}>{}</rpc>",
        "<a>".repeat(100_000) + &"</a>".repeat(100_000)
    );
    let unclosed = format!("<rpc message-id=\"5\" {NC}><get>");
    let entity =
        format!("<!DOCTYPE rpc [<!ENTITY a \"b\">]><rpc message-id=\"5\" {NC}><get/></rpc>");
    let unbound = format!("<rpc message-id=\"5\" {NC}><x:get/></rpc>");
    let mut client = Client::open().await;
    for message in [&deep, &unclosed, &entity, &unbound, "not XML", "<a/><b/>"] {
        let reply = client.ask(message).await;
        assert!(
            reply.contains("<error-tag>malformed-message</error-tag>"),
            "{reply}"
        );
        assert!(reply.contains("<error-type>rpc</error-type>"), "{reply}");
        assert_eq!(
            reply.contains("message-id=\"5\""),
            message.contains("message-id"),
            "{reply}"
        );
    }
    assert!(client.ask(&rpc(6, "<get/>")).await.ends_with(GET_REPLY));
}

#[tokio::test(start_paused = true)]
async fn a_missing_message_id_is_reported_and_other_attributes_are_echoed() {
    let mut client = Client::open().await;
    let reply = client.ask(&format!("<rpc {NC} x='1'><get/></rpc>")).await;
    let error = "<error-type>rpc</error-type><error-tag>missing-attribute</error-tag><error-severity>error</error-severity>";
    assert!(
        reply.starts_with(&format!("<rpc-reply {NC} x=\"1\"><rpc-error>{error}")),
        "{reply}"
    );
    let info = "<error-info><bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element></error-info>";
    assert!(reply.contains(info), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn the_counters_move() {
    let mut client = Client::open().await;
    client.ask(&rpc(1, "<get/>")).await;
    client.ask(&rpc(2, "<nothing/>")).await;
    client.ask("not XML").await;
    let expected = Statistics {
        in_rpcs: 2,
        in_bad_rpcs: 1,
        out_rpc_errors: 2,
        out_notifications: 0,
    };
    assert_eq!(client.server.control().statistics(), expected);
    assert_eq!(client.server.0.executed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_silent_sessions_do_not_disturb_one_that_works() {
    let silent: Vec<Client> = (0..1_000).map(|_| Client::start()).collect();
    let mut client = Client::open().await;
    assert!(client.ask(&rpc(1, "<get/>")).await.ends_with(GET_REPLY));
    for client in silent {
        assert!(matches!(
            client.refusal().await,
            SessionError::HelloTimeout(_)
        ));
    }
}
