//! Settings that parts of the agent read whenever they need them: published by each commit.

use std::sync::Arc;

use tokio::sync::watch;

use crate::datastore::subscriber::{Change, ConfigSubscriber, Prepared};
use crate::model::error::RpcError;
use crate::model::settings::{Limits, UserEntry};
use crate::model::tree::Tree;
use crate::transport::ssh::Users;

/// Makes a value of a validated tree.
type Read<T> = Box<dyn Fn(&Tree) -> Result<T, RpcError> + Send>;

/// Publishes what `read` makes of running, when it has changed.
pub(super) struct Watched<T> {
    channel: watch::Sender<Arc<T>>,
    read: Read<T>,
    /// Where it stands; a change elsewhere is not even read.
    container: &'static str,
}

impl<T: Default + Send + Sync + 'static> Watched<T> {
    /// With the receiver that sees each new value.
    pub(super) fn new(
        container: &'static str,
        read: fn(&Tree) -> T,
    ) -> (Self, watch::Receiver<Arc<T>>) {
        Self::with(container, Box::new(move |tree| Ok(read(tree))))
    }

    /// The same; a commit whose value cannot be read is refused.
    pub(super) fn checked(
        container: &'static str,
        read: fn(&Tree) -> Result<T, RpcError>,
    ) -> (Self, watch::Receiver<Arc<T>>) {
        Self::with(container, Box::new(read))
    }

    fn with(container: &'static str, read: Read<T>) -> (Self, watch::Receiver<Arc<T>>) {
        let (channel, receiver) = watch::channel(Arc::default());
        (
            Self {
                channel,
                read,
                container,
            },
            receiver,
        )
    }
}

impl<T: Send + Sync + 'static> ConfigSubscriber for Watched<T> {
    fn reads(&self) -> Option<Vec<&'static str>> {
        Some(vec![self.container])
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Box<dyn Prepared>, RpcError> {
        if !change.at_start && !change.diff.touches(self.container) {
            return Ok(Box::new(|| {}));
        }
        let value = Arc::new((self.read)(change.new)?);
        let channel = self.channel.clone();
        // Nobody may be listening any more: the agent stops.
        Ok(Box::new(move || drop(channel.send(value))))
    }
}

/// The users of ietf-system, as the login wants them.
pub(super) fn users(tree: &Tree) -> Users {
    Users::new(&UserEntry::read_all(tree))
}

/// The limits table.
pub(super) fn limits(tree: &Tree) -> Limits {
    Limits::read(tree)
}
