//! Access control (RFC 8341). To be written: this holds the place of what the datastore calls.

use crate::model::error::RpcError;
use crate::model::tree::{Diff, Node, Operation, Tree};

/// The rules of a running configuration, ready to be asked.
pub struct Nacm;

impl Nacm {
    /// Reads the rules of `/nacm`.
    pub fn read(_running: &Tree) -> Self {
        Self
    }
    /// The rules of a new running configuration; the counters go on.
    #[must_use]
    pub fn reread(&self, _running: &Tree) -> Self {
        Self
    }
    /// Whether a user may execute an rpc.
    ///
    /// # Errors
    /// `access-denied`.
    pub fn may_exec(&self, _user: &str, _module: &str, _rpc: &str) -> Result<(), RpcError> {
        Ok(())
    }
    /// Whether a user may execute an action: it may read the nodes the action is in, too.
    ///
    /// # Errors
    /// `access-denied` with the path of the action.
    pub fn may_act(&self, _user: &str, _action: &Operation) -> Result<(), RpcError> {
        Ok(())
    }
    /// What a user may read.
    pub fn view<'a>(&'a self, _user: &'a str) -> impl FnMut(Node<'_>) -> bool + 'a {
        |_| true
    }
    /// Checks that a user may make a change.
    ///
    /// # Errors
    /// `access-denied` with the path of the first node that may not be changed.
    pub fn check(&self, _user: &str, _diff: &Diff) -> Result<(), RpcError> {
        Ok(())
    }
}
