//! A server that answers the requests of one connection in turn, with exactly these bytes.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::task::JoinHandle;

use super::super::Connection;
use super::{endpoint, surroundings};

/// From the text of a request (head and body) to the bytes of its answer.
pub(super) type Respond = Box<dyn Fn(&str) -> String + Send>;

/// Always the same answer.
pub(super) fn always(answer: impl Into<String>) -> Respond {
    let answer = answer.into();
    Box::new(move |_| answer.clone())
}

/// An answer with a JSON body.
pub(super) fn json(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

/// Answers and closes; hands back the requests it saw.
pub(super) async fn serve<S>(stream: S, script: Vec<Respond>) -> Vec<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut seen = Vec::new();
    for respond in script {
        let Some(request) = request(&mut stream).await else {
            break;
        };
        let answer = respond(&request);
        seen.push(request);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    seen
}

async fn request<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if stream.read_line(&mut text).await.ok()? == 0 {
            return None;
        }
    }
    let length = header(&text, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    text.push_str(&String::from_utf8(body).unwrap());
    Some(text)
}

/// The value of a header in the text of a request.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.lines();
    lines.find_map(|line| {
        let (other, value) = line.split_once(": ")?;
        other.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// A connection to such a server over a pipe in memory.
pub(super) async fn connected(script: Vec<Respond>) -> (Connection, JoinHandle<Vec<String>>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server = tokio::spawn(serve(theirs, script));
    let endpoint = endpoint("cloud.example", 443);
    let connection = Connection::open(&surroundings(), &endpoint, ours).await;
    (connection.unwrap(), server)
}

/// A parameter of the request's `Authorization: Digest`.
pub(super) fn parameter(request: &str, name: &str) -> String {
    let authorization = header(request, "authorization").unwrap();
    let (_, rest) = authorization.split_once(&format!("{name}=")).unwrap();
    let value = rest.split(", ").next().unwrap();
    value.trim_matches('"').to_owned()
}

/// `Authentication-Info` of a cloud that knows this password, for realm `r`.
pub(super) fn proof(request: &str, serial_number: &str, password: &str) -> String {
    let secret = hex(&format!("{serial_number}:r:{password}"));
    let a2 = hex(":/cloud/v1/authentication");
    let [nonce, nc, cnonce] = ["nonce", "nc", "cnonce"].map(|name| parameter(request, name));
    let rspauth = hex(&format!("{secret}:{nonce}:{nc}:{cnonce}:auth:{a2}"));
    format!("authentication-info: qop=auth, rspauth=\"{rspauth}\", cnonce=\"{cnonce}\", nc={nc}")
}

fn hex(text: &str) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}
