//! Events: what happens in the agent, as notifications of its modules (RFC 7950, section 7.16).
//!
//! `log.rs` keeps them within bounds, `stream.rs` lets many read it, each in his turn (`turns.rs`); `seen.rs` is what each sees of it, `kept.rs` of which events that is
//! kept; `recorder.rs` has it survive a restart;
//! `notices.rs` writes those that the datastores and sessions give rise to.

mod announcer;
mod kept;
mod log;
pub mod notices;
mod recorder;
mod seen;
mod stream;
mod turns;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::error::Errors;
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Snapshot, Tree};

use super::Author;
use super::guard::Rollback;

pub use announcer::Announcer;
pub use log::{Bounds, Found, Place};
pub use recorder::Recorder;
pub use seen::{Content, Reader, Seen, Wanted};
pub use stream::{Losses, Stream};
pub use turns::{Listener, Turns};

/// The name of the stream of all events (RFC 5277, section 3.2.3).
pub const NETCONF: &str = "NETCONF";

/// Something that happened to the datastores, which is still to be put in words.
#[derive(Debug)]
pub struct Announced {
    /// Who did it, and when.
    pub by: Author,
    /// What.
    pub what: What,
}

/// See [`Announced`].
pub enum What {
    /// Running was changed by so much.
    RunningChanged {
        /// What turns the one before into the one after.
        diff: Diff,
        /// Which one it is since; see [`super::View::version`].
        version: u64,
    },
    /// Startup is another one.
    StartupReplaced,
    /// A confirmed commit went a step further.
    ConfirmedCommit(notices::ConfirmEvent),
    /// The commit guard has restored what was before.
    RolledBack(Box<Rollback>),
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RunningChanged { diff, .. } => {
                f.debug_tuple("RunningChanged").field(diff.tree()).finish()
            }
            Self::StartupReplaced => f.write_str("StartupReplaced"),
            Self::ConfirmedCommit(event) => f.debug_tuple("ConfirmedCommit").field(event).finish(),
            Self::RolledBack(rollback) => f.debug_tuple("RolledBack").field(rollback).finish(),
        }
    }
}

/// Takes announcements; must not wait.
pub type Announce = Box<dyn FnMut(Announced) + Send>;

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Its place in the stream, from 1 over all runs of the agent.
    pub number: u64,
    /// When it happened, by the device's clock.
    pub at: SystemTime,
    /// The notification as XML: one element with the declarations it needs.
    pub xml: String,
    /// What it is about where that has to be asked for access control: the text of a difference, empty if that would be too
    /// large.
    pub about: Option<String>,
    is_kept: AtomicBool,
    content: Mutex<Option<Snapshot>>,
    views: seen::Views,
}

impl Event {
    /// An event that happens.
    pub fn new(number: u64, at: SystemTime, content: Tree, about: Option<String>) -> Self {
        Self {
            number,
            at,
            xml: content.to_xml(),
            about,
            is_kept: AtomicBool::new(false),
            content: Mutex::new(Some(Snapshot::new(content))),
            views: seen::Views::default(),
        }
    }

    /// An event of an earlier run.
    pub fn stored(number: u64, at: SystemTime, xml: String, about: Option<String>) -> Self {
        Self {
            number,
            at,
            xml,
            about,
            is_kept: AtomicBool::new(false),
            content: Mutex::new(None),
            views: seen::Views::default(),
        }
    }

    /// What it takes in a log.
    pub fn octets(&self) -> usize {
        self.xml.len() + self.about.as_ref().map_or(0, String::len)
    }

    /// The notification as a tree.
    ///
    /// # Errors
    /// The text of an event that another set of modules made.
    pub fn content(&self, schema: Schema) -> Result<Snapshot, Errors> {
        if let Some(content) = &*self.ready() {
            return Ok(content.clone());
        }
        let content = Snapshot::new(Tree::parse_notification(schema, &self.xml)?);
        if self.is_kept() {
            *self.ready() = Some(content.clone());
        }
        Ok(content)
    }

    /// Whether what it takes time to find out of it is kept.
    fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Acquire)
    }

    /// The same from now on; gives back what was.
    fn set_kept(&self, is_kept: bool) -> bool {
        let was_kept = self.is_kept.swap(is_kept, Ordering::AcqRel);
        if !is_kept {
            *self.ready() = None;
            self.views.forget();
        }
        was_kept
    }

    /// What a thread that panicked left is still the content or nothing.
    fn ready(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
