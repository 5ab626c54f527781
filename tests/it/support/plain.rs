//! A device without a cloud, which holds the module for tests (tests/yang/) beside its own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tether::agent::options::Options;
use tether::agent::{Agent, AgentError};

use super::{Session, SshSession, open, options, soon, start_agent};

/// Namespace of the module for tests.
const EXAMPLE: &str = "urn:example:all";

/// The files of the module for tests, as `--yang` takes them.
pub fn example_files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yang");
    ["example-all.yang", "example-all-sub.yang"]
        .map(|name| directory.join(name))
        .into()
}

/// Options of an agent with the module for tests, whose state is in this directory.
fn example_options(directory: &Path) -> Options {
    Options {
        yang: example_files(),
        ..options(directory)
    }
}

/// An element at the top of the module for tests, such as `all`, with this in it.
pub fn example(name: &str, content: &str) -> String {
    format!(r#"<{name} xmlns="{EXAMPLE}">{content}</{name}>"#)
}

/// An agent and a session of its administrator.
pub struct Plain {
    pub session: Session,
    agent: Agent,
    directory: TempDir,
}

impl Plain {
    /// An agent with the module for tests.
    pub async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let options = example_options(directory.path());
        Self::start_in(directory, options).await.unwrap()
    }

    /// An agent with these options, whose state is in this directory.
    pub async fn start_in(directory: TempDir, options: Options) -> Result<Self, AgentError> {
        let agent = start_agent(options).await?;
        Ok(Self {
            session: open(&agent).await,
            agent,
            directory,
        })
    }

    /// Edits the candidate and commits it.
    pub async fn commit(&mut self, config: &str) {
        self.session.edit_config("candidate", config).await.unwrap();
        self.session.commit().await.unwrap();
    }

    /// What running holds of an element at the top of the module for tests.
    pub async fn running(&mut self, name: &str) -> String {
        let filter = example(name, "");
        let config = self.session.get_config("running", Some(&filter));
        config.await.unwrap()
    }

    /// One more session of `admin`.
    pub async fn open(&self) -> Session {
        open(&self.agent).await
    }

    /// A session over SSH.
    pub async fn ssh(&self, user: &str, password: &str) -> SshSession {
        SshSession::open(self.agent.ssh_addresses()[0], user, password)
            .await
            .expect("the login is refused")
    }

    /// Stops the agent; what is left is its directory.
    pub async fn stop(self) -> TempDir {
        drop(self.session);
        soon(self.agent.stop()).await;
        self.directory
    }

    /// Stops the agent and starts it on the same directory.
    pub async fn restart(self) -> Self {
        let directory = self.stop().await;
        let options = example_options(directory.path());
        Self::start_in(directory, options).await.unwrap()
    }
}
