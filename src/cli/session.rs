//! A session of the command line: lines in, what they show out. A NETCONF client like any other.

use tokio::io::{AsyncRead, AsyncWrite};

use std::time::Duration;

use super::grammar::{Does, Grammar, Show, View};
use super::parse::{Parsed, Place};
use super::values::Known;
use super::{configuration, edit, lists, output, show};
use crate::model::xml::{self, Element, Scope};
use crate::protocol::client::{Client, ClientError};

/// An answer takes no longer than this.
const DEADLINE: Duration = Duration::from_secs(30);
/// RFC 6241, section 8.7.
const STARTUP: &str = "urn:ietf:params:netconf:capability:startup:1.0";
/// The name of a device that has none.
const DEVICE: &str = "Device";
const NAME_FILTER: &str =
    r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><hostname/></system>"#;
const CLOUD_FILTER: &str = r#"<cloud-management xmlns="urn:tether:yang:cloud-management"/>"#;

/// What a line has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done, and this is to be shown.
    Done(String),
    /// It was not done, for this reason.
    Failed(String),
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
        let data = match self.client.get(Some(known.filter)).await {
            Err(ClientError::Refused(_)) => return Ok(Vec::new()),
            data => data?,
        };
        let mut values = Vec::new();
        collect(&elements(&data), known.leaf, &mut values);
        values.sort();
        values.dedup();
        Ok(values)
    }

    /// Does what a line says, which began after so many columns.
    ///
    /// # Errors
    /// The session broke; what the agent refuses is an answer.
    pub async fn line(&mut self, line: &str, columns: usize) -> Result<Answer, ClientError> {
        let parsed = match self.grammar.parse(self.view, line) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(Answer::Done(String::new())),
            Err(error) => return Ok(Answer::Failed(error.message(columns))),
        };
        match self.execute(&parsed).await {
            Err(ClientError::Refused(errors)) => {
                let lines = errors.iter().map(|error| format!("% {error}\n"));
                Ok(Answer::Failed(lines.collect()))
            }
            done => done,
        }
    }

    async fn execute(&mut self, parsed: &Parsed) -> Result<Answer, ClientError> {
        let done = || Ok(Answer::Done(String::new()));
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
                let text = self.show(what, parsed).await?;
                return Ok(match output::filtered(&text, parsed.filter.as_ref()) {
                    // What is asked for is not there.
                    Ok(text) if text.starts_with("% ") => Answer::Failed(text),
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
            Does::Save => return self.save().await.map(Answer::Done),
        }
        done()
    }

    /// Goes back to a view; not from changes that nobody has decided on.
    async fn leave(&mut self, to: View) -> Result<Answer, ClientError> {
        if self.view == View::Exclusive {
            let running = self.client.get_config("running", None).await?;
            let candidate = self.client.get_config("candidate", None).await?;
            if running != candidate {
                let words = "% There are changes: commit them, or throw them away with rollback.\n";
                return Ok(Answer::Failed(words.to_owned()));
            }
            self.client.unlock("candidate").await?;
        }
        self.view = to;
        Ok(Answer::Done(String::new()))
    }

    async fn edit(&mut self, config: &str) -> Result<(), ClientError> {
        self.client.edit_config(self.target(), config).await?;
        self.learn_name().await
    }

    /// The same code typed again is sent again.
    async fn unbind(&mut self, parsed: &Parsed) -> Result<(), ClientError> {
        let running = self
            .client
            .get_config("running", Some(edit::UNBINDING_CODE))
            .await?;
        let mut codes = Vec::new();
        collect(&elements(&running), "unbinding-code", &mut codes);
        let is_there = codes.first().map(String::as_str) == parsed.given.get("code");
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
        collect(&elements(&host), "address", &mut addresses);
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

    async fn show(&mut self, what: Show, parsed: &Parsed) -> Result<String, ClientError> {
        Ok(match what {
            Show::State => show::state(&self.get(show::STATE_FILTER).await?),
            Show::StateVerbose => show::verbose(&self.get(show::STATE_FILTER).await?),
            Show::BackupServers => lists::backup_servers(&self.get(lists::BACKUP_FILTER).await?),
            Show::Current => self.configuration("running", None).await?,
            Show::CurrentCloud => self.configuration("running", Some(CLOUD_FILTER)).await?,
            Show::Saved if self.client.server().has(STARTUP) => {
                self.configuration("startup", None).await?
            }
            Show::Saved => self.configuration("running", None).await?,
            Show::Sessions => lists::sessions(&self.get(lists::SESSIONS_FILTER).await?),
            Show::Commits => lists::commits(&self.get(lists::COMMITS_FILTER).await?),
            Show::Commit => {
                let filter = lists::commit_filter(parsed.given.of("commit-id"));
                lists::commit(&self.get(&filter).await?)
            }
            Show::Difference => {
                let running = self.configuration("running", None).await?;
                let candidate = self.configuration("candidate", None).await?;
                configuration::difference(&running, &candidate)
            }
        })
    }

    async fn get(&mut self, filter: &str) -> Result<Vec<Element>, ClientError> {
        Ok(elements(&self.client.get(Some(filter)).await?))
    }

    async fn configuration(
        &mut self,
        datastore: &str,
        filter: Option<&str>,
    ) -> Result<String, ClientError> {
        let data = self.client.get_config(datastore, filter).await?;
        Ok(configuration::commands(&elements(&data)))
    }

    /// The prompt bears the name of the device, if the user may read it.
    async fn learn_name(&mut self) -> Result<(), ClientError> {
        let known = Known {
            filter: NAME_FILTER,
            leaf: "hostname",
        };
        let name = self.known(known).await?.pop();
        self.name = name.unwrap_or_else(|| DEVICE.to_owned());
        Ok(())
    }
}

/// The client has checked that a reply is well-formed.
fn elements(data: &str) -> Vec<Element> {
    xml::parse(data, &Scope::default()).unwrap_or_default()
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
