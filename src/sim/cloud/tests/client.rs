//! A device reduced to its bytes: what it sends is what the test says.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::{Cloud, What};
use super::{PASSWORD, SERIAL, SOON};

pub(super) const AUTHENTICATION: &str = "/cloud/v1/authentication";
pub(super) const REGISTRATION: &str = "/cloud/v1/registration";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// A member of the challenge or of Authentication-Info.
    pub(super) fn member(&self, name: &str) -> String {
        let header = [
            self.header("www-authenticate"),
            self.header("authentication-info"),
        ]
        .concat();
        let (_, after) = header.split_once(&format!("{name}=")).unwrap();
        after
            .split([',', ' '])
            .next()
            .unwrap()
            .trim_matches('"')
            .to_owned()
    }
}

pub(super) async fn tls(
    cloud: &Cloud,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(cloud.ca_pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// One HTTP/1.1 connection.
pub(super) struct Http {
    sender: SendRequest<Full<Bytes>>,
}

impl Http {
    pub(super) async fn connect(cloud: &Cloud) -> Self {
        let tls = tls(cloud, cloud.addr(), "localhost").await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        Self { sender }
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        tokio::time::timeout(SOON, exchange)
            .await
            .expect("an answer in time")
    }

    pub(super) async fn post(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        body: &Value,
    ) -> Answer {
        self.try_post(path, authorization, body).await.unwrap()
    }

    pub(super) async fn try_post(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        body: &Value,
    ) -> hyper::Result<Answer> {
        let mut request = Request::post(path).header(header::HOST, "localhost");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.send(request.body(Full::from(body.to_string())).unwrap())
            .await
    }

    /// Steps 1-2 with [`SERIAL`] and this password: the answer to the credentials.
    pub(super) async fn authenticate(&mut self, password: &str, body: &Value) -> Answer {
        let challenge = self.post(AUTHENTICATION, None, body).await;
        let authorization = credentials(&challenge, password, 1);
        self.post(AUTHENTICATION, Some(&authorization), body).await
    }

    /// Steps 1-4: the token and the URL.
    pub(super) async fn register(&mut self, password: Option<&str>) -> (String, String) {
        let answer = match password {
            Some(password) => self.authenticate(password, &authentication()).await,
            None => self.post(AUTHENTICATION, None, &authentication()).await,
        };
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        let body = json!({"serial-number": SERIAL, "services": ["netconf", "telemetry"]});
        let answer = self
            .post(REGISTRATION, Some(&format!("Bearer {token}")), &body)
            .await;
        (token, answer.json()["url"].as_str().unwrap().to_owned())
    }

    /// Steps 5-6, or a subconnection.
    pub(super) async fn upgrade(
        mut self,
        url: &str,
        token: &str,
        subprotocol: &str,
    ) -> Result<Socket, Answer> {
        let target = url.strip_prefix("wss://localhost").unwrap();
        let request = Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, KEY)
            .header(header::SEC_WEBSOCKET_PROTOCOL, subprotocol)
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.sender.ready().await.unwrap();
        let mut response = self
            .sender
            .send_request(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            return Err(Answer {
                status: head.status,
                headers: head.headers,
                body,
            });
        }
        let headers = response.headers().clone();
        let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
        let web =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
        Ok(Socket { web, headers })
    }
}

/// The body of steps 1-2.
pub(super) fn authentication() -> Value {
    json!({"serial-number": SERIAL, "model": "T1", "software": "tether/0.1.0"})
}

/// The value of `Authorization` for a challenge (RFC 7616 section 3.4).
pub(super) fn credentials(challenge: &Answer, password: &str, nc: u32) -> String {
    let (realm, nonce, opaque) = (
        challenge.member("realm"),
        challenge.member("nonce"),
        challenge.member("opaque"),
    );
    digest_header(password, &realm, &nonce, &opaque, nc)
}

pub(super) fn digest_header(
    password: &str,
    realm: &str,
    nonce: &str,
    opaque: &str,
    nc: u32,
) -> String {
    let response = response(password, realm, nonce, nc, "POST");
    format!(
        "Digest username=\"{SERIAL}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{AUTHENTICATION}\", qop=auth, \
         nc={nc:08x}, cnonce=\"c\", algorithm=SHA-256, opaque=\"{opaque}\", response=\"{response}\""
    )
}

/// `response`, or `rspauth` when the method is empty.
pub(super) fn response(password: &str, realm: &str, nonce: &str, nc: u32, method: &str) -> String {
    let a1 = hex(&format!("{SERIAL}:{realm}:{password}"));
    let a2 = hex(&format!("{method}:{AUTHENTICATION}"));
    hex(&format!("{a1}:{nonce}:{nc:08x}:c:auth:{a2}"))
}

fn hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}

/// One WebSocket of the device.
pub(super) struct Socket {
    pub web: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    pub headers: HeaderMap,
}

impl Socket {
    pub(super) fn accepts_the_key(&self) -> bool {
        self.headers[header::SEC_WEBSOCKET_ACCEPT] == derive_accept_key(KEY.as_bytes()).as_str()
    }

    pub(super) async fn say(&mut self, message: &Value) {
        self.web
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    /// The next frame, error or end.
    pub(super) async fn poll(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        tokio::time::timeout(SOON, self.web.next())
            .await
            .expect("something in time")
    }

    /// The next frame, whatever it is.
    pub(super) async fn next(&mut self) -> Message {
        self.poll().await.unwrap().unwrap()
    }

    pub(super) async fn hear(&mut self) -> Value {
        let message = self.next().await;
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// The code of the close frame that must come next.
    pub(super) async fn closed(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => {
                while let Some(Ok(_)) = self.poll().await {}
                frame.code.into()
            }
            other => panic!("close expected, not {other:?}"),
        }
    }

    /// The list, by service.
    pub(super) async fn list(&mut self) -> Vec<(String, String)> {
        self.say(&json!({"type": "subconnections-request"})).await;
        let list = self.hear().await;
        assert_eq!(list["type"], "subconnections");
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let services = list["services"].as_array().unwrap();
        services
            .iter()
            .map(|entry| (text(entry, "service"), text(entry, "url")))
            .collect()
    }
}

/// The eleven steps as far as the 101, with [`PASSWORD`]; the cloud has seen it too.
pub(super) async fn main_connection(cloud: &Cloud) -> (Socket, String) {
    let mark = cloud.mark();
    let mut http = Http::connect(cloud).await;
    let (token, url) = http.register(Some(PASSWORD)).await;
    let socket = http
        .upgrade(&url, &token, "cloud-connection.v1")
        .await
        .unwrap();
    cloud
        .wait_after(mark, |e| matches!(e.what, What::MainUp { .. }), SOON)
        .await
        .unwrap();
    (socket, token)
}

/// A subconnection to this URL.
pub(super) async fn subconnection(cloud: &Cloud, service: &str, url: &str, token: &str) -> Socket {
    let http = Http::connect(cloud).await;
    http.upgrade(url, token, &format!("cloud-service.{service}.v1"))
        .await
        .unwrap()
}
