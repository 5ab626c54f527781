//! What a commit costs whoever makes it, with nobody listening and with a thousand subscriptions: a whole agent with its
//! store on the disk, all sessions over its local socket. `cargo bench --bench subscribers`.
//!
//! What counts is the ratio to the first line. The subscribers read all they are sent, on a thread of their own, which
//! has a share of the same processors.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tether::agent::Agent;
use tether::agent::options::Options;
use tether::protocol::client::Client;
use tether::protocol::framing::{Framer, Framing, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);
const SUBSCRIBERS: usize = 1000;
/// Subscriptions that one session may have.
const ABREAST: usize = 50;
const COMMITS: usize = 1000;
const ENTRIES: usize = 10_000;
const HELLO: &str = r#"<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>"#;
const CREATE: &str =
    r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"/>"#;
const FILTERED: &str = r#"<create-subscription xmlns="urn:ietf:params:xml:ns:netconf:notification:1.0"><filter type="subtree"><netconf-config-change xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"/></filter></create-subscription>"#;
const ESTABLISH: &str = r#"<establish-subscription xmlns="urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"><stream>NETCONF</stream></establish-subscription>"#;
const PUSH: &str = r#"<establish-subscription xmlns="urn:ietf:params:xml:ns:yang:ietf-subscribed-notifications"><datastore xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-push" xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">ds:running</datastore><on-change xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-push"/></establish-subscription>"#;

/// Sessions that subscribe and read, until it is dropped.
struct Audience {
    messages: Arc<AtomicU64>,
    over: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Audience {
    /// So many sessions that ask this, each so often.
    fn gather(socket: &Path, sessions: usize, operation: &'static str, each: usize) -> Self {
        let messages = Arc::new(AtomicU64::new(0));
        let over = watch::Sender::new(false);
        let (socket, counted, stop) = (socket.to_owned(), Arc::clone(&messages), over.subscribe());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            // They are elsewhere on a network: what they cost is not to be in what is measured.
            let thread = nix::unistd::gettid().to_string();
            let niced = std::process::Command::new("renice")
                .args(["-n", "19", "-p", &thread])
                .output();
            niced.unwrap();
            runtime.block_on(async move {
                let mut readers = tokio::task::JoinSet::new();
                for _ in 0..sessions {
                    let line = subscribe(&socket, operation, each).await;
                    readers.spawn(read(line, Arc::clone(&counted), stop.clone()));
                }
                ready.send(()).unwrap();
                readers.join_all().await;
            });
        });
        is_ready.recv().unwrap();
        Self {
            messages,
            over,
            thread: Some(thread),
        }
    }

    /// Waits until all has been read, and says how many messages that were.
    fn settled(&self) -> u64 {
        let mut before = self.messages.load(Ordering::Relaxed);
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.messages.load(Ordering::Relaxed);
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.over.send_replace(true);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

async fn subscribe(socket: &Path, operation: &str, each: usize) -> (UnixStream, Framer) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let mut framer = Framer::new(16 << 20);
    send(&mut stream, HELLO).await;
    for _ in 0..each {
        let rpc = format!(
            r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="1">{operation}</rpc>"#
        );
        send(&mut stream, &rpc).await;
    }
    let mut answered = 0;
    while answered < each {
        let message = framer.next().unwrap();
        match message {
            Some(message) => answered += usize::from(is_reply(&message)),
            None => assert!(fill(&mut stream, &mut framer).await),
        }
    }
    (stream, framer)
}

fn is_reply(message: &[u8]) -> bool {
    let text = std::str::from_utf8(message).unwrap();
    assert!(!text.contains("rpc-error"), "{text}");
    text.contains("<rpc-reply")
}

async fn send(stream: &mut UnixStream, message: &str) {
    let message = encode(Framing::EndOfMessage, message.as_bytes());
    stream.write_all(&message).await.unwrap();
}

async fn fill(stream: &mut UnixStream, framer: &mut Framer) -> bool {
    let mut buffer = [0; 16 << 10];
    let octets = stream.read(&mut buffer).await.unwrap();
    framer.push(&buffer[..octets]);
    octets > 0
}

async fn read(
    (mut stream, mut framer): (UnixStream, Framer),
    count: Arc<AtomicU64>,
    mut stop: watch::Receiver<bool>,
) {
    let reading = async {
        loop {
            while framer.next().unwrap().is_some() {
                count.fetch_add(1, Ordering::Relaxed);
            }
            if !fill(&mut stream, &mut framer).await {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        _ = stop.wait_for(|over| *over) => {}
    }
}

fn keepalive(n: usize) -> String {
    let seconds = 10 + n % 500;
    format!(
        r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>{seconds}</keepalive-interval></cloud-management>"#
    )
}

fn hosts(prefix: &str) -> String {
    let hosts: String = (0..ENTRIES)
        .map(|n| format!(r#"<host xmlns="urn:tether:yang:device-hosts"><name>{prefix}{n}</name><address>192.0.2.1</address></host>"#))
        .collect();
    format!(
        r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver>{hosts}</dns-resolver></system>"#
    )
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    committer: Client<UnixStream>,
    socket: PathBuf,
    first: Option<Duration>,
}

impl Bench {
    /// Edits the candidate and commits it.
    fn commit(&mut self, config: &str) -> Duration {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let edited = self.committer.edit_config("candidate", config).await;
            edited.unwrap();
            self.committer.commit().await.unwrap();
        });
        begun.elapsed()
    }

    /// The commits of one leaf, one after the other.
    fn commits(&mut self, who: &str, audience: Option<&Audience>) {
        let before = audience.map_or(0, Audience::settled);
        let begun = Instant::now();
        let mut took: Vec<_> = (0..COMMITS).map(|n| self.commit(&keepalive(n))).collect();
        let whole = begun.elapsed();
        took.sort();
        let median = took[COMMITS / 2];
        let first = *self.first.get_or_insert(median);
        let read = audience.map_or(0, Audience::settled) - before;
        println!(
            "{who:44} p50 {median:>9.1?}  p99 {:>9.1?}  ratio {:.2}  {COMMITS} commits in {whole:.2?}, {read} messages read in {:.2?}",
            took[COMMITS * 99 / 100],
            median.as_secs_f64() / first.as_secs_f64(),
            begun.elapsed()
        );
    }

    fn large(&mut self, who: &str, prefix: &str) {
        let took = self.commit(&hosts(prefix));
        println!("{who:44} {ENTRIES} entries in {took:.2?}");
        let delete = r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><dns-resolver xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0" nc:operation="remove"/></system>"#;
        self.commit(delete);
    }
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let options = Options {
        state_dir: Some(directory.path().to_owned()),
        ssh: vec!["127.0.0.1:0".parse().unwrap()],
        ..Options::default()
    };
    let (agent, committer) = runtime.block_on(async {
        let agent = Agent::start(options, Some("device-Pa55".to_owned()));
        let agent = agent.await.unwrap();
        let stream = UnixStream::connect(agent.socket()).await.unwrap();
        (agent, Client::connect(stream, PATIENCE).await.unwrap())
    });
    let mut bench = Bench {
        runtime,
        committer,
        socket: agent.socket().to_owned(),
        first: None,
    };
    let most = SUBSCRIBERS + 10;
    bench.commit(&format!(
        r#"<device-management xmlns="urn:tether:yang:device-management"><limits><sessions>{most}</sessions><sessions-per-user>{most}</sessions-per-user></limits></device-management>"#
    ));
    bench.commits("nobody listens (warm-up)", None);
    bench.first = None;
    bench.commits("nobody listens", None);
    let socket = bench.socket.clone();
    for (who, sessions, operation, each) in [
        ("one create-subscription", 1, CREATE, 1),
        (
            "1,000 sessions, one create-subscription each",
            SUBSCRIBERS,
            CREATE,
            1,
        ),
        ("the same with a filter", SUBSCRIBERS, FILTERED, 1),
        (
            "20 sessions, 50 establish-subscription each",
            SUBSCRIBERS / ABREAST,
            ESTABLISH,
            ABREAST,
        ),
        (
            "1,000 sessions, one on change of running each",
            SUBSCRIBERS,
            PUSH,
            1,
        ),
        (
            "20 sessions, 50 on change of running each",
            SUBSCRIBERS / ABREAST,
            PUSH,
            ABREAST,
        ),
    ] {
        let audience = Audience::gather(&socket, sessions, operation, each);
        bench.commits(who, Some(&audience));
    }
    bench.commits("nobody listens", None);
    bench.large("nobody listens", "a");
    for (who, operation) in [
        ("one without a filter", CREATE),
        ("one with a filter", FILTERED),
    ] {
        let audience = Audience::gather(&socket, 1, operation, 1);
        bench.large(who, "b");
        audience.settled();
    }
    bench.commit(&hosts("c"));
    bench.commits("10,000 entries in the store, nobody listens", None);
    let audience = Audience::gather(&socket, 1, PUSH, 1);
    bench.commits("the same, one on change of all of running", Some(&audience));
    drop(audience);
    let Bench {
        runtime, committer, ..
    } = bench;
    drop(committer);
    runtime.block_on(agent.stop());
}
