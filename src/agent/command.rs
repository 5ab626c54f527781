//! The rpcs system-restart and system-shutdown (RFC 7317, section 3.6): the commands that the options name.

use std::process::{Command, Stdio};

use crate::datastore::subscriber::ActionHandler;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::tree::Tree;

/// A program with its arguments.
pub(super) struct SystemCommand {
    program: String,
    arguments: Vec<String>,
}

impl SystemCommand {
    /// `None` when nothing is configured; the rpc is then operation-not-supported.
    pub(super) fn new(command: &[String]) -> Option<Self> {
        let (program, arguments) = command.split_first()?;
        Some(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }
}

impl ActionHandler for SystemCommand {
    /// Starts the program and does not wait for it: it may well end the agent.
    fn act(&mut self, input: &Tree) -> Result<Tree, RpcError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null());
        // The first start's password is for the agent alone.
        command.env_remove("TETHER_ADMIN_PASSWORD");
        let child = command.spawn().map_err(|error| {
            let words = format!("{} cannot be started: {error}", self.program);
            RpcError::application(ErrorTag::OperationFailed, words)
        })?;
        // Somebody has to ask for its exit status, or it stays in the process table.
        std::thread::spawn(move || {
            let mut child = child;
            match child.wait() {
                Ok(status) => tracing::info!(%status, "the system command has ended"),
                Err(error) => tracing::warn!(%error, "the system command cannot be waited for"),
            }
        });
        Ok(Tree::new(input.schema()))
    }
}
