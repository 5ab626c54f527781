//! The door for Prometheus: `GET /metrics` over HTTP (exposition format 0.0.4), and nothing else. Whoever can reach the
//! address may read; it is off unless it is asked for.

mod guests;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout, timeout_at};

use self::guests::{Guests, HasAsked, Room};
use super::stopped;

/// A request is to be there by then.
const REQUEST: Duration = Duration::from_secs(5);
/// And everything over by then.
const CONNECTION: Duration = Duration::from_secs(30);
/// Octets of the head of a request.
const HEAD: usize = 16 << 10;
/// How long until a listener that failed, mostly for want of descriptors, is asked again.
const AGAIN: Duration = Duration::from_millis(100);

const PATH: &str = "/metrics";
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes down how things are.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The door, open.
#[derive(Debug)]
pub struct MetricsServer(TcpListener);

impl MetricsServer {
    /// Listens on an address.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// The address with the real port.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `shutdown` says true.
    pub async fn run(self, render: Render, shutdown: watch::Receiver<bool>) {
        let mut guests = Guests::default();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&shutdown) => return,
                Some(_) = connections.join_next() => {}
                accepted = self.0.accept() => match accepted {
                    Ok((stream, from)) => {
                        let address = from.ip().to_canonical();
                        if has_room(&mut guests, address, &shutdown).await {
                            let has_asked = HasAsked::default();
                            let answer = answer(stream, Arc::clone(&render), has_asked.clone());
                            guests.enter(address, has_asked, connections.spawn(answer));
                        }
                        // Whoever has come asks, if he can, before others come.
                        yield_now().await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the address of the metrics cannot accept a connection");
                        // A shutdown is seen again at the head of the loop.
                        let _ = timeout(AGAIN, stopped(&shutdown)).await;
                    }
                },
            }
        }
    }
}

/// Whether there is a place, perhaps after a moment: others wait to be accepted meanwhile, in the order in which they came.
async fn has_room(guests: &mut Guests, address: IpAddr, shutdown: &watch::Receiver<bool>) -> bool {
    loop {
        match guests.make_room(address) {
            Room::Place => return true,
            Room::None => return false,
            Room::At(time) => {
                if timeout_at(time, stopped(shutdown)).await.is_ok() {
                    return false;
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, render: Render, has_asked: HasAsked) {
    let service = service_fn(move |request| {
        has_asked.set();
        let response = respond(&request, &render);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a reader of the metrics went wrong");
            }
        }
        () = sleep(CONNECTION) => {}
    }
}

fn respond(request: &Request<Incoming>, render: &Render) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, body) = match request.uri().path() {
        PATH if is_read => (StatusCode::OK, render()),
        PATH => (StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            format!("the metrics are at {PATH}\n"),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(FORMAT),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Door {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Door {
        async fn open() -> Self {
            let server = MetricsServer::bind(([127, 0, 0, 1], 0).into())
                .await
                .unwrap();
            let address = server.address().unwrap();
            let (stop, stopping) = watch::channel(false);
            let render: Render = Arc::new(|| "tether_up 1\n".to_owned());
            let task = tokio::spawn(server.run(render, stopping));
            Self {
                address,
                stop,
                task,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// The whole answer to this request.
        async fn ask(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    fn get(method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: device\r\n\r\n")
    }

    #[tokio::test]
    async fn metrics_are_at_their_path_and_only_read() {
        let door = Door::open().await;
        let answer = door.ask(&get("GET", "/metrics")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("version=0.0.4"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ntether_up 1\n"), "{answer}");
        let answer = door.ask(&get("GET", "/")).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let answer = door.ask(&get("DELETE", "/metrics")).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        let door = Door::open().await;
        for bad in ["\0\0\0\r\n\r\n", "GET\r\n\r\n"] {
            let answer = door.ask(bad).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad:?}: {answer}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEAD));
        let answer = door.ask(&long).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    #[tokio::test]
    async fn whoever_keeps_silent_makes_room_and_keeps_nobody_out() {
        let door = Door::open().await;
        let mut silent = Vec::new();
        for _ in 0..guests::PLACES {
            let mut stream = door.connect().await;
            stream.write_all(b"GET /metrics HT").await.unwrap();
            silent.push(stream);
        }
        for _ in 0..3 {
            let answer = door.ask(&get("GET", "/metrics")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        // The oldest have gone.
        assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn it_ends_with_the_agent_whoever_is_connected() {
        let door = Door::open().await;
        let mut held = door.connect().await;
        door.stop.send_replace(true);
        timeout(Duration::from_secs(20), door.task)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(held.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
