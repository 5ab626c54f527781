//! A NETCONF client on any byte stream: for the command line, the examples and the tests.

mod error;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

pub use self::error::{ClientError, ReportedError};
use super::framing::{Framer, Framing, encode};
use super::hello::{BASE_1_0, BASE_1_1, Hello};
use super::xml::{Document, Element};
use crate::model::error::NETCONF_NAMESPACE;

/// Octets of a reply, at the most.
const MESSAGE_LIMIT: usize = 256 << 20;
/// Elements nested in a reply, at the most.
const DEPTH_LIMIT: usize = 512;
/// Notifications that wait to be asked for, at the most.
const NOTIFICATIONS: usize = 65_536;
/// Namespace of `<notification>` (RFC 5277, section 4).
const NOTIFICATION_NAMESPACE: &str = "urn:ietf:params:xml:ns:netconf:notification:1.0";
/// Octets taken from the stream at a time.
const READ_SIZE: usize = 16 << 10;

/// An open session with a server.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    framer: Framer,
    framing: Framing,
    server: Hello,
    session_id: u32,
    next_id: u64,
    deadline: Duration,
    /// What is to be sent before anything else: a request that was broken off is still sent whole.
    unsent: BytesMut,
    /// Notifications that came before a reply and that nobody has asked for yet.
    told: VecDeque<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Exchanges the hellos. `deadline` is the time for that, and then for each request with its reply.
    ///
    /// # Errors
    /// The server sends no acceptable hello in time.
    pub async fn connect(stream: S, deadline: Duration) -> Result<Self, ClientError> {
        let mut client = Self {
            stream,
            framer: Framer::new(MESSAGE_LIMIT),
            framing: Framing::EndOfMessage,
            server: Hello::default(),
            session_id: 0,
            next_id: 1,
            deadline,
            unsent: BytesMut::new(),
            told: VecDeque::new(),
        };
        let until = Instant::now() + deadline;
        let hellos = client.exchange_hellos();
        timeout_at(until, hellos)
            .await
            .map_err(|_| ClientError::Deadline(deadline))??;
        Ok(client)
    }

    async fn exchange_hellos(&mut self) -> Result<(), ClientError> {
        let ours = Hello {
            capabilities: vec![BASE_1_0.into(), BASE_1_1.into()],
            session_id: None,
        };
        self.send(&ours.write()).await?;
        let message = self.receive().await?;
        let (server, session_id) = Hello::from_server(&message, DEPTH_LIMIT)?;
        self.framing = ours.agree(&server)?;
        self.framer.set_framing(self.framing);
        (self.server, self.session_id) = (server, session_id);
        Ok(())
    }

    /// What the server announced.
    pub fn server(&self) -> &Hello {
        &self.server
    }

    /// The number of the session.
    pub fn session_id(&self) -> u32 {
        self.session_id
    }

    /// Sends one operation; an element without a namespace declaration is one of RFC 6241.
    /// Gives the content of the reply: `<ok/>`, `<data>…</data>` or the output of an rpc, each element with the
    /// namespace declarations it needs.
    ///
    /// The future may be dropped, and the session goes on: the server still does what it was asked for, and its reply is
    /// passed over when it comes.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the `<rpc-error>`s of the reply, or [`ClientError::Deadline`] as if it were dropped.
    /// After any other error the session is of no more use.
    pub async fn rpc(&mut self, operation: &str) -> Result<String, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let request =
            format!("<rpc xmlns=\"{NETCONF_NAMESPACE}\" message-id=\"{id}\">{operation}</rpc>");
        let until = Instant::now() + self.deadline;
        let exchange = async {
            self.send(&request).await?;
            loop {
                let message = self.receive().await?;
                match Message::read(&message, id)? {
                    Message::Notification(_) if self.told.len() == NOTIFICATIONS => {
                        return Err(ClientError::TooBig);
                    }
                    Message::Notification(content) => self.told.push_back(content),
                    Message::LateReply => {}
                    Message::Reply(content) => return Ok(content),
                }
            }
        };
        timeout_at(until, exchange)
            .await
            .map_err(|_| ClientError::Deadline(self.deadline))?
    }

    /// The next notification (RFC 5277, section 4): what is inside of it, each element with the namespace declarations it
    /// needs, `<eventTime>` first.
    ///
    /// # Errors
    /// None comes in time, or something else does.
    pub async fn notification(&mut self) -> Result<String, ClientError> {
        if let Some(told) = self.told.pop_front() {
            return Ok(told);
        }
        let until = Instant::now() + self.deadline;
        let told = async {
            loop {
                match Message::read(&self.receive().await?, self.next_id)? {
                    Message::Notification(content) => return Ok(content),
                    Message::LateReply => {}
                    Message::Reply(_) => {
                        return Err(ClientError::NotAReply {
                            name: "rpc-reply".to_owned(),
                        });
                    }
                }
            }
        };
        timeout_at(until, told)
            .await
            .map_err(|_| ClientError::Deadline(self.deadline))?
    }

    /// Waits, without a deadline, until the session is of no more use, and gives why. What the server tells meanwhile is kept
    /// for [`Client::notification`]. The future may be dropped, and the session goes on.
    pub async fn ended(&mut self) -> ClientError {
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            match Message::read(&message, self.next_id) {
                Ok(Message::Notification(_)) if self.told.len() == NOTIFICATIONS => {
                    return ClientError::TooBig;
                }
                Ok(Message::Notification(content)) => self.told.push_back(content),
                Ok(Message::LateReply | Message::Reply(_)) => {}
                Err(error) => return error,
            }
        }
    }

    /// RFC 6241, section 7.7; `filter` is the content of a subtree filter. Gives the content of `<data>`.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn get(&mut self, filter: Option<&str>) -> Result<String, ClientError> {
        let operation = format!("<get>{}</get>", filter_element(filter));
        self.rpc(&operation).await.and_then(|reply| data(&reply))
    }

    /// RFC 6241, section 7.1; `source` is the name of a datastore. Gives the content of `<data>`.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn get_config(
        &mut self,
        source: &str,
        filter: Option<&str>,
    ) -> Result<String, ClientError> {
        let filter = filter_element(filter);
        let operation = format!("<get-config><source><{source}/></source>{filter}</get-config>");
        self.rpc(&operation).await.and_then(|reply| data(&reply))
    }

    /// RFC 6241, section 7.2; `target` is the name of a datastore, `config` what stands inside `<config>`.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn edit_config(&mut self, target: &str, config: &str) -> Result<(), ClientError> {
        self.order(&format!(
            "<edit-config><target><{target}/></target><config>{config}</config></edit-config>"
        ))
        .await
    }

    /// RFC 6241, section 8.3.4.1.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        self.order("<commit/>").await
    }

    /// RFC 6241, section 8.3.4.2.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn discard_changes(&mut self) -> Result<(), ClientError> {
        self.order("<discard-changes/>").await
    }

    /// RFC 6241, section 7.5.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn lock(&mut self, target: &str) -> Result<(), ClientError> {
        self.order(&format!("<lock><target><{target}/></target></lock>"))
            .await
    }

    /// RFC 6241, section 7.6.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn unlock(&mut self, target: &str) -> Result<(), ClientError> {
        self.order(&format!("<unlock><target><{target}/></target></unlock>"))
            .await
    }

    /// RFC 6241, section 7.8: ends the session.
    ///
    /// # Errors
    /// As [`Client::rpc`].
    pub async fn close(mut self) -> Result<(), ClientError> {
        self.order("<close-session/>").await
    }

    /// An operation whose answer is `<ok/>`.
    async fn order(&mut self, operation: &str) -> Result<(), ClientError> {
        self.rpc(operation).await.map(|_| ())
    }

    async fn send(&mut self, message: &str) -> Result<(), ClientError> {
        let message = encode(self.framing, message.as_bytes());
        self.unsent.extend_from_slice(&message);
        while !self.unsent.is_empty() {
            // It takes from the buffer what it has written, and nothing if it is dropped.
            self.stream.write_buf(&mut self.unsent).await?;
        }
        Ok(self.stream.flush().await?)
    }

    /// The next message. What has arrived is kept when the future is dropped.
    async fn receive(&mut self) -> Result<bytes::Bytes, ClientError> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            if let Some(message) = self.framer.next()? {
                return Ok(message);
            }
            match self.stream.read(&mut buffer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                octets => self.framer.push(&buffer[..octets]),
            }
        }
    }
}

fn filter_element(filter: Option<&str>) -> String {
    match filter {
        Some(content) => format!("<filter type=\"subtree\">{content}</filter>"),
        None => String::new(),
    }
}

/// A message of the server.
enum Message {
    /// Its content.
    Notification(String),
    /// The reply to a request that nobody waits for any more.
    LateReply,
    /// The content of the reply that is waited for.
    Reply(String),
}

impl Message {
    /// Reads one while the reply to request `id` is waited for.
    fn read(message: &[u8], id: u64) -> Result<Self, ClientError> {
        let document = Document::parse(message, DEPTH_LIMIT)?;
        let root = document.root();
        if root.is(NOTIFICATION_NAMESPACE, "notification") {
            return contents(root).map(Self::Notification);
        }
        if !root.is(NETCONF_NAMESPACE, "rpc-reply") {
            return Err(ClientError::NotAReply {
                name: root.name().to_owned(),
            });
        }
        let found = root.attribute("message-id");
        let number = found.as_ref().and_then(|id| id.parse::<u64>().ok());
        if number.is_some_and(|found| (1..id).contains(&found)) {
            return Ok(Self::LateReply);
        }
        let errors = root.children();
        let errors = errors.filter_map(|child| ReportedError::read(&child));
        let errors: Vec<_> = errors.collect();
        if !errors.is_empty() {
            return Err(ClientError::Refused(errors));
        }
        // Errors first: a request that could not be read is answered without its id.
        match found {
            Some(found) if *found == *id.to_string() => contents(root).map(Self::Reply),
            found => Err(ClientError::WrongReply {
                expected: id,
                found: found.map(|id| id.into_owned()),
            }),
        }
    }
}

fn contents(element: &Element<'_>) -> Result<String, ClientError> {
    element
        .standalone_children(MESSAGE_LIMIT)
        .ok_or(ClientError::TooBig)
}

/// The content of the `<data>` of a reply.
fn data(reply: &str) -> Result<String, ClientError> {
    let document = Document::parse(reply.as_bytes(), DEPTH_LIMIT)?;
    let root = document.root();
    if root.is(NETCONF_NAMESPACE, "data") {
        contents(root)
    } else {
        Err(ClientError::NotAReply {
            name: root.name().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    /// A server that answers the hello, then each request with the next of `replies`, `ID` standing for its number.
    async fn serve(mut stream: DuplexStream, version: &'static str, replies: Vec<&'static str>) {
        let mut framer = Framer::new(MESSAGE_LIMIT);
        let hello = Hello {
            capabilities: vec![version.into()],
            session_id: Some(5),
        };
        let mut framing = Framing::EndOfMessage;
        let mut answers = replies.into_iter();
        let mut requests = 0;
        stream
            .write_all(&encode(framing, hello.write().as_bytes()))
            .await
            .unwrap();
        let mut buffer = [0; 1024];
        loop {
            while let Some(message) = framer.next().unwrap() {
                if requests == 0 {
                    framing = hello
                        .agree(&Hello::from_client(&message, 16).unwrap())
                        .unwrap();
                    framer.set_framing(framing);
                } else {
                    let Some(reply) = answers.next() else { return };
                    let reply = reply.replace("ID", &requests.to_string());
                    let reply =
                        format!("<rpc-reply xmlns=\"{NETCONF_NAMESPACE}\" {reply}</rpc-reply>");
                    stream
                        .write_all(&encode(framing, reply.as_bytes()))
                        .await
                        .unwrap();
                }
                requests += 1;
            }
            match stream.read(&mut buffer).await.unwrap() {
                0 => return,
                octets => framer.push(&buffer[..octets]),
            }
        }
    }

    async fn client(version: &'static str, replies: &[&'static str]) -> Client<DuplexStream> {
        let (stream, theirs) = tokio::io::duplex(256);
        tokio::spawn(serve(theirs, version, replies.to_vec()));
        Client::connect(stream, Duration::from_secs(10))
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_speaks_the_version_of_the_server() {
        for version in [BASE_1_0, BASE_1_1] {
            let data = "message-id=\"ID\"><data><a xmlns=\"urn:a\"/></data>";
            let mut client = client(version, &[data, "message-id=\"ID\"><ok/>"]).await;
            assert_eq!(client.session_id(), 5);
            assert!(client.server().has(version));
            assert!(client.get(None).await.unwrap().starts_with("<a xmlns"));
            client.close().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_typed_and_the_session_goes_on() {
        let refusal = "message-id=\"ID\"><rpc-error><error-type>application</error-type><error-tag>in-use</error-tag>\
            <error-severity>error</error-severity><error-path>/a</error-path><error-message xml:lang=\"en\">held &lt; by 7</error-message>\
            <error-info><session-id>7</session-id></error-info></rpc-error>";
        let mut client = client(BASE_1_1, &[refusal, "message-id=\"ID\"><ok/>"]).await;
        let Err(ClientError::Refused(errors)) = client.lock("running").await else {
            panic!("not refused")
        };
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].tag, "in-use");
        assert_eq!(errors[0].message.as_deref(), Some("held < by 7"));
        assert_eq!(errors[0].path.as_deref(), Some("/a"));
        assert_eq!(errors[0].info, [("session-id".to_owned(), "7".to_owned())]);
        client.commit().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up() {
        let mut client = client(BASE_1_1, &[]).await;
        assert!(client.commit().await.is_err());
        let (stream, _theirs) = tokio::io::duplex(1024);
        let error = Client::connect(stream, Duration::from_secs(10))
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Deadline(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_broken_off_is_sent_whole_and_its_reply_passed_over() {
        let late = "message-id=\"ID\"><data><late xmlns=\"urn:a\"/></data>";
        let data = "message-id=\"ID\"><data><a xmlns=\"urn:a\"/></data>";
        let mut client = client(BASE_1_1, &[late, late, data]).await;
        // The first in the middle of it: the pipe holds 256 octets.
        let long = "x".repeat(400);
        for operation in [format!("<long>{long}</long>"), "<short/>".to_owned()] {
            tokio::select! {
                biased;
                _ = client.rpc(&operation) => panic!("the server cannot have answered"),
                () = std::future::ready(()) => {}
            }
        }
        assert!(client.get(None).await.unwrap().starts_with("<a xmlns"));
    }

    #[tokio::test(start_paused = true)]
    async fn replies_to_other_requests_are_refused() {
        let mut client = client(BASE_1_1, &["message-id=\"9\"><ok/>"]).await;
        assert!(matches!(
            client.commit().await,
            Err(ClientError::WrongReply { expected: 1, .. })
        ));
    }
}
