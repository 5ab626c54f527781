use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

/// A control socket with the requests that it got.
struct Served {
    path: PathBuf,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Served {
    async fn start(outcome: fn() -> Outcome) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let server = ControlServer::bind(&path).await.unwrap();
        let (stop, shutdown) = watch::channel(false);
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let noted = asked.clone();
        let handler: Handler = Arc::new(move |request| {
            noted.lock().unwrap().push(request);
            Box::pin(async move { outcome() })
        });
        let running = tokio::spawn(server.run(handler, shutdown));
        Self {
            path,
            asked,
            stop,
            running,
            _directory: directory,
        }
    }

    /// What is answered to these octets.
    async fn answer(&self, octets: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(octets).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn event() -> Request {
    Request::DhcpEvent {
        interface: "eth0".to_owned(),
        domain: Some("cloud.example".to_owned()),
        password: Some(Secret::new("a \"quoted\" secret")),
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_asked() {
    let served = Served::start(|| Outcome::Done).await;
    ask(&served.path, &event()).await.unwrap();
    assert_eq!(*served.asked.lock().unwrap(), [event()]);
}

#[tokio::test]
async fn a_refusal_comes_with_its_reason() {
    let served = Served::start(|| Outcome::Refused("not now".to_owned())).await;
    let refused = ask(&served.path, &event()).await.unwrap_err();
    assert_eq!(refused.to_string(), "refused: not now");
}

#[tokio::test]
async fn a_stream_follows_the_answer_and_nothing_of_it_is_lost() {
    let served = Served::start(|| {
        Outcome::Stream(Box::new(|mut stream| {
            Box::pin(async move {
                let mut octets = [0; 4];
                stream.read_exact(&mut octets).await.unwrap();
                octets.reverse();
                stream.write_all(&octets).await.unwrap();
            })
        }))
    })
    .await;
    // Written before the answer is read: what follows the line in one piece belongs to the stream.
    let line = b"{\"request\":\"dhcp-event\",\"interface\":\"eth0\"}\nabcd";
    assert_eq!(served.answer(line).await, "{\"result\":\"success\"}\ndcba");
}

#[tokio::test]
async fn what_is_no_request_is_refused_without_a_word_of_it() {
    let served = Served::start(|| Outcome::Done).await;
    let refusals: [&[u8]; 5] = [
        b"hunter2\n",
        b"{\"request\":\"hunter2\"}\n",
        b"{\"request\":\"dhcp-event\",\"interface\":\"eth0\",\"hunter2\":1}\n",
        b"{\"request\":\"dhcp-event\",\"interface\":\"eth0\",\"password\":[\"hunter2\"]}\n",
        b"\xff\xfe\n",
    ];
    for octets in refusals {
        let answer = served.answer(octets).await;
        assert!(answer.starts_with("{\"result\":\"failure\""), "{answer}");
        assert!(!answer.contains("hunter2"), "{answer}");
    }
    assert!(served.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_line_without_end_is_refused_at_its_bound() {
    let served = Served::start(|| Outcome::Done).await;
    let answer = served.answer(&[b' '; 4096]).await;
    assert!(answer.contains("longer than 4096 octets"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_sent_away() {
    let served = Served::start(|| Outcome::Done).await;
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn others_than_root_and_the_own_user_are_refused() {
    let handler: Handler = Arc::new(|_| Box::pin(async { Outcome::Done }));
    let (near, mut far) = UnixStream::pair().unwrap();
    line::write(&mut far, &event()).await.unwrap();
    let served = converse(&mut BufReader::new(near), handler, false).await;
    assert!(served.unwrap().is_none());
    let mut answer = String::new();
    far.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("only root"), "{answer}");
}

#[tokio::test]
async fn shutdown_ends_the_streams() {
    let served = Served::start(|| {
        Outcome::Stream(Box::new(|mut stream| {
            Box::pin(async move {
                let _ = stream.read_u8().await;
            })
        }))
    })
    .await;
    let mut stream = ask(&served.path, &event()).await.unwrap();
    served.stop.send(true).unwrap();
    served.running.await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(!served.path.exists());
}

#[tokio::test]
async fn without_an_agent_the_error_says_what_to_do() {
    let error = ask(Path::new("/nonexistent/control.sock"), &event()).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("--control") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn a_request_does_not_show_its_secret() {
    assert!(!format!("{:?}", event()).contains("quoted"));
}
