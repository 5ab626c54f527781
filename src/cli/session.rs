//! A session of the command line: lines in, what they show out. A NETCONF client like any other.

use std::borrow::Cow;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection_test::{self, Following, Step};
use super::grammar::{Does, Grammar, Show, View};
use super::parse::{Parsed, Place};
use super::values::{Known, NAME};
use super::{configuration, edit, filters, lists, log_buffer, output, printable, show};
use crate::model::xml::{self, Element, Scope};
use crate::protocol::client::{Client, ClientError};

/// An answer takes no longer than this.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a test of the connection is looked at.
const PACE: Duration = Duration::from_millis(100);
/// RFC 6241, section 8.7.
const STARTUP: &str = "urn:ietf:params:netconf:capability:startup:1.0";
/// What is said to whoever leaves.
const UNCONFIRMED: &str = "The last commit is not confirmed: it is taken back when its time is over or this session ends. configure exclusive and commit confirm it.\n";
/// The name of a device that has none.
const DEVICE: &str = "Device";

/// What a line has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done, and this is to be shown.
    Done(String),
    /// It was not done, for this reason.
    Failed(String),
    /// It is under way, and this is to be shown meanwhile; [`Session::more_until`] goes on.
    More(String),
    /// The session is over.
    Over,
}

/// A session.
pub struct Session<S> {
    client: Client<S>,
    grammar: Grammar,
    view: View,
    /// The view from which exclusive configuration was entered.
    before: View,
    name: String,
    /// The test of the connection that is looked on at.
    following: Option<Following>,
    /// Until when a commit waits to be confirmed.
    unconfirmed: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A session in user view.
    ///
    /// # Errors
    /// The agent does not answer, or does not let the user in.
    pub async fn open(stream: S) -> Result<Self, ClientError> {
        let mut session = Self {
            client: Client::connect(stream, DEADLINE).await?,
            grammar: Grammar::default(),
            view: View::User,
            before: View::User,
            name: DEVICE.to_owned(),
            following: None,
            unconfirmed: None,
        };
        session.learn_name().await?;
        Ok(session)
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// The agent is gone.
    pub async fn close(self) -> Result<(), ClientError> {
        self.client.close().await
    }

    /// Ends once the agent has ended it, and gives how that was seen.
    pub async fn ended(&mut self) -> ClientError {
        self.client.ended().await
    }

    /// What stands before the next line.
    pub fn prompt(&self) -> String {
        match self.view {
            View::User => format!("<{}> ", self.name),
            View::System => format!("[{}] ", self.name),
            View::Exclusive => format!("[*{}] ", self.name),
        }
    }

    /// What fits at the end of a line.
    pub fn place(&self, line: &str) -> Place {
        self.grammar.place(self.view, line)
    }

    /// The values that the device knows; none if it does not tell.
    ///
    /// # Errors
    /// The session broke.
    pub async fn known(&mut self, known: Known) -> Result<Vec<String>, ClientError> {
        let (filter, leaf) = match known {
            Known::Always(values) => return Ok(values.iter().map(|&v| v.to_owned()).collect()),
            Known::OnDevice { filter, leaf } => (filter, leaf),
        };
        let data = match self.client.get(Some(filter)).await {
            Err(ClientError::Refused(_) | ClientError::Deadline(_) | ClientError::TooBig) => {
                return Ok(Vec::new());
            }
            data => data?,
        };
        let mut values = Vec::new();
        let elements = as_they_are(&data).unwrap_or_default();
        collect(&elements, leaf, &mut values);
        values.sort();
        values.dedup();
        Ok(values)
    }

    /// Does what a line says, which began after so many columns.
    ///
    /// # Errors
    /// The session broke; what the agent refuses is an answer.
    pub async fn line(&mut self, line: &str, columns: usize) -> Result<Answer, ClientError> {
        self.line_until(line, columns, std::future::pending()).await
    }

    /// The same, unless it is broken off before it is done. What the agent has been asked for by then it still does.
    ///
    /// # Errors
    /// As [`Session::line`].
    pub async fn line_until(
        &mut self,
        line: &str,
        columns: usize,
        broken_off: impl Future<Output = ()>,
    ) -> Result<Answer, ClientError> {
        self.following = None;
        let parsed = match self.grammar.parse(self.view, line) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(Answer::Done(String::new())),
            Err(error) => return Ok(Answer::Failed(error.message(line, columns))),
        };
        // Whoever was given the lock is in its view.
        let may_end = !matches!(parsed.command.does, Does::Lock);
        let answer = tokio::select! {
            biased;
            done = self.execute(&parsed) => done,
            () = broken_off, if may_end => {
                let words = "% Broken off. What the device was asked for already, it still does.\n";
                Ok(Answer::Failed(words.to_owned()))
            }
        };
        told(answer)
    }

    /// What a command that is under way has come to since, once there is something.
    ///
    /// # Errors
    /// As [`Session::line`].
    pub async fn more_until(
        &mut self,
        broken_off: impl Future<Output = ()>,
    ) -> Result<Answer, ClientError> {
        let answer = tokio::select! {
            biased;
            done = self.follow() => done,
            () = broken_off => {
                self.following = None;
                Ok(Answer::Failed(connection_test::GOES_ON.to_owned()))
            }
        };
        told(answer)
    }

    async fn execute(&mut self, parsed: &Parsed) -> Result<Answer, ClientError> {
        match parsed.command.does {
            Does::Enter(view) => self.view = view,
            Does::Quit if self.view == View::User => return Ok(Answer::Over),
            Does::Quit => {
                let to = match self.view {
                    View::Exclusive => self.before,
                    _ => View::User,
                };
                return self.leave(to).await;
            }
            Does::Return => return self.leave(View::User).await,
            Does::Lock => {
                self.client.lock("candidate").await?;
                self.before = self.view;
                self.view = View::Exclusive;
            }
            Does::Show(what) => {
                let shown = self.show(what, parsed).await?;
                let (Answer::Done(text), Some(filter)) = (&shown, &parsed.filter) else {
                    return Ok(shown);
                };
                return Ok(match output::filtered(text, filter) {
                    Ok(text) => Answer::Done(text),
                    Err(words) => Answer::Failed(format!("{words}\n")),
                });
            }
            Does::Edit(edit) => self.edit(&edit(&parsed.given)).await?,
            Does::Unbind => self.unbind(parsed).await?,
            Does::UndoHost => self.undo_host(parsed).await?,
            Does::Order(order) => {
                self.client.rpc(&order(&parsed.given)).await?;
                self.learn_name().await?;
            }
            Does::Commit => return self.commit(parsed).await.map(Answer::Done),
            Does::Save => return self.save().await.map(Answer::Done),
            Does::Test => {
                self.client.rpc(&edit::test_connection()).await?;
                self.following = Some(Following::default());
                return self.follow().await;
            }
        }
        Ok(Answer::Done(String::new()))
    }

    /// The next that a test of the connection comes to.
    async fn follow(&mut self) -> Result<Answer, ClientError> {
        loop {
            let test = self.get(filters::CONNECTION_TEST).await?;
            let Some(following) = &mut self.following else {
                return Ok(Answer::Done(String::new()));
            };
            match following.see(&test) {
                Step::Nothing => tokio::time::sleep(PACE).await,
                Step::Found(text) => return Ok(Answer::More(text)),
                Step::Passed(text) => return Ok(Answer::Done(text)),
                Step::Failed(text) => return Ok(Answer::Failed(text)),
            }
        }
    }

    /// Goes back to a view; not from changes that nobody has decided on.
    async fn leave(&mut self, to: View) -> Result<Answer, ClientError> {
        let is_locked = self.view == View::Exclusive;
        if is_locked {
            let running = self.client.get_config("running", None).await?;
            let candidate = self.client.get_config("candidate", None).await?;
            if running != candidate {
                let words = "% There are changes: commit them, or throw them away with rollback.\n";
                return Ok(Answer::Failed(words.to_owned()));
            }
        }
        // Before the lock goes: if that is broken off, it goes nevertheless.
        self.view = to;
        if is_locked {
            self.client.unlock("candidate").await?;
        }
        let is_pending = self.unconfirmed.is_some_and(|until| Instant::now() < until);
        let words = if is_locked && is_pending {
            UNCONFIRMED
        } else {
            ""
        };
        Ok(Answer::Done(words.to_owned()))
    }

    /// A commit that is to be confirmed is for this session to confirm, and its end takes it back (RFC 6241, section 8.4.1).
    async fn commit(&mut self, parsed: &Parsed) -> Result<String, ClientError> {
        self.client.rpc(&edit::commit(&parsed.given)).await?;
        self.learn_name().await?;
        let seconds = parsed.given.get("seconds");
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        self.unconfirmed = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Ok(seconds.map_or(String::new(), |seconds| {
            format!(
                "Taken back in {seconds} s, or when this session ends, unless commit confirms it.\n"
            )
        }))
    }

    async fn edit(&mut self, config: &str) -> Result<(), ClientError> {
        self.client.edit_config(self.target(), config).await?;
        self.learn_name().await
    }

    /// The same code typed again is sent again.
    async fn unbind(&mut self, parsed: &Parsed) -> Result<(), ClientError> {
        let running = self
            .client
            .get_config("running", Some(filters::UNBINDING_CODE))
            .await?;
        let mut codes = Vec::new();
        collect(&elements(&running)?, "unbinding-code", &mut codes);
        let code = parsed.given.get("code").map(printable::value);
        let is_there = codes.first().map(String::as_str) == code.as_deref();
        if is_there && self.view != View::Exclusive {
            return self
                .client
                .rpc(&edit::unbind(&parsed.given))
                .await
                .map(drop);
        }
        self.edit(&edit::unbinding_code(&parsed.given)).await
    }

    /// A host without an address is none.
    async fn undo_host(&mut self, parsed: &Parsed) -> Result<(), ClientError> {
        let given = &parsed.given;
        let datastore = self.target();
        let filter = edit::host_filter(given);
        let host = self.client.get_config(datastore, Some(&filter)).await?;
        let mut addresses = Vec::new();
        collect(&elements(&host)?, "address", &mut addresses);
        let keeps_others = given
            .get("ip-address")
            .is_some_and(|gone| addresses.iter().any(|address| address != gone));
        let edit = match keeps_others {
            true => edit::undo_ip_host_address(given),
            false => edit::undo_ip_host(given),
        };
        self.edit(&edit).await
    }

    /// What commands edit in this view.
    fn target(&self) -> &'static str {
        match self.view {
            View::Exclusive => "candidate",
            _ => "running",
        }
    }

    async fn save(&mut self) -> Result<String, ClientError> {
        if !self.client.server().has(STARTUP) {
            let words = "The configuration in force is kept by itself; there is nothing to save.\n";
            return Ok(words.to_owned());
        }
        let copy =
            "<copy-config><target><startup/></target><source><running/></source></copy-config>";
        self.client.rpc(copy).await?;
        Ok("The configuration is saved.\n".to_owned())
    }

    async fn show(&mut self, what: Show, parsed: &Parsed) -> Result<Answer, ClientError> {
        let text = match what {
            Show::State => show::state(&self.get(filters::STATE).await?),
            Show::StateVerbose => show::verbose(&self.get(filters::STATE).await?),
            Show::BackupServers => lists::backup_servers(&self.get(filters::BACKUP_SERVERS).await?),
            Show::Current => self.configuration("running", None).await?,
            Show::CurrentCloud => {
                self.configuration("running", Some(filters::ALL_OF_CLOUD))
                    .await?
            }
            Show::Saved if self.client.server().has(STARTUP) => {
                self.configuration("startup", None).await?
            }
            Show::Saved => self.configuration("running", None).await?,
            Show::Sessions => lists::sessions(&self.get(filters::SESSIONS).await?),
            Show::Commits => lists::commits(&self.get(filters::COMMITS).await?),
            Show::Commit => {
                let filter = filters::commit(parsed.given.of("commit-id"));
                match lists::commit(&self.get(&filter).await?) {
                    Some(text) => text,
                    None => return Ok(Answer::Failed("% There is no such commit.\n".to_owned())),
                }
            }
            Show::Difference => {
                let running = self.configuration("running", None).await?;
                let candidate = self.configuration("candidate", None).await?;
                configuration::difference(&running, &candidate)
            }
            Show::LogBuffer => {
                let entries = self.client.rpc(&log_buffer::request(parsed)).await?;
                // The log has written out itself what would not stay in its line.
                log_buffer::log_buffer(&as_they_are(&entries)?, parsed)
            }
        };
        Ok(Answer::Done(text))
    }

    async fn get(&mut self, filter: &str) -> Result<Vec<Element>, ClientError> {
        elements(&self.client.get(Some(filter)).await?)
    }

    async fn configuration(
        &mut self,
        datastore: &str,
        filter: Option<&str>,
    ) -> Result<String, ClientError> {
        let data = self.client.get_config(datastore, filter).await?;
        Ok(configuration::commands(elements(&data)?))
    }

    /// The prompt bears the name of the device, if the user may read it.
    async fn learn_name(&mut self) -> Result<(), ClientError> {
        let name = self.known(NAME).await?.pop();
        self.name = name.map_or_else(
            || DEVICE.to_owned(),
            |name| printable::value(&name).into_owned(),
        );
        Ok(())
    }
}

/// What becomes of an answer of the agent; all of it may reach a terminal.
fn told(answer: Result<Answer, ClientError>) -> Result<Answer, ClientError> {
    let answer = match answer {
        Err(ClientError::Refused(errors)) => {
            let lines = errors.iter().map(|error| {
                let error = error.to_string();
                format!(
                    "% {}\n",
                    error.split_whitespace().collect::<Vec<_>>().join(" ")
                )
            });
            Answer::Failed(lines.collect())
        }
        Err(ClientError::Deadline(deadline)) => {
            let seconds = deadline.as_secs();
            Answer::Failed(format!(
                "% The device has not answered within {seconds} s; it may still do what it was asked for.\n"
            ))
        }
        Err(ClientError::TooBig) => Answer::Failed(
            "% That is too much to display: NETCONF reads it, whole or in parts.\n".to_owned(),
        ),
        answer => answer?,
    };
    let clean = |text: String| printable::text(&text).into_owned();
    Ok(match answer {
        Answer::Done(text) => Answer::Done(clean(text)),
        Answer::Failed(text) => Answer::Failed(clean(text)),
        Answer::More(text) => Answer::More(clean(text)),
        Answer::Over => Answer::Over,
    })
}

/// The elements of a reply, which the client has checked is well-formed.
fn as_they_are(data: &str) -> Result<Vec<Element>, ClientError> {
    xml::parse(data, &Scope::default()).map_err(|_| ClientError::TooBig)
}

/// The same, each value in one line.
fn elements(data: &str) -> Result<Vec<Element>, ClientError> {
    let mut elements = as_they_are(data)?;
    elements.iter_mut().for_each(into_one_line);
    Ok(elements)
}

fn into_one_line(element: &mut Element) {
    if element.children.is_empty()
        && let Cow::Owned(line) = printable::value(&element.text)
    {
        element.text = line;
    }
    element.children.iter_mut().for_each(into_one_line);
}

/// The texts of all elements of a name.
fn collect(elements: &[Element], name: &str, into: &mut Vec<String>) {
    for element in elements {
        if element.name == name && element.children.is_empty() {
            into.push(element.text.clone());
        }
        collect(&element.children, name, into);
    }
}
