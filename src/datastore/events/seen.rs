//! What readers see of an event. Those for whom the same rules of access control go see the same, and those who also have
//! the same filter want the same: each is found out once for all of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use super::{Event, notices};
use crate::datastore::Author;
use crate::datastore::nacm::{Class, Nacm};
use crate::datastore::retrieval::Selection;
use crate::model::error::Errors;
use crate::model::schema::Schema;
use crate::model::tree::{Diff, Snapshot};

/// Of how many classes of readers an event keeps what they see.
const CLASSES: usize = 16;
/// For how many filters it keeps whether they want it.
const FILTERS: usize = 64;

/// A reader, by the access control rules of one moment.
pub struct Reader {
    author: Author,
    rules: Rules,
}

/// What goes for a reader.
#[derive(Clone)]
enum Rules {
    /// Nothing: a recovery session (RFC 8341, section 3.5.2).
    None,
    Nacm(Arc<Nacm>, Class),
}

impl Reader {
    /// This user under these rules.
    pub fn new(author: Author, nacm: Arc<Nacm>) -> Self {
        let rules = match author.recovery {
            true => Rules::None,
            false => {
                let class = nacm.class_of(&author);
                Rules::Nacm(nacm, class)
            }
        };
        Self { author, rules }
    }

    /// Has these rules go for him; whether they are other ones.
    pub fn set_rules(&mut self, nacm: &Arc<Nacm>) -> bool {
        match &mut self.rules {
            Rules::Nacm(own, class) if !Arc::ptr_eq(own, nacm) => {
                *own = Arc::clone(nacm);
                *class = nacm.class_of(&self.author);
                true
            }
            _ => false,
        }
    }

    /// Who he is.
    pub fn author(&self) -> &Author {
        &self.author
    }
}

impl Rules {
    fn are_those_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Nacm(nacm, class), Self::Nacm(other, of_other)) => {
                Arc::ptr_eq(nacm, other) && class == of_other
            }
            _ => false,
        }
    }
}

/// What a reader sees of an event.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing: he may not receive such events (RFC 8341, section 3.4.6).
    Denied,
    /// Nothing: it is about what he may not read.
    Nothing,
    /// This.
    Content(Arc<Content>),
}

/// See [`Seen::Content`].
#[derive(Debug)]
pub struct Content {
    /// Its text and tree without what is hidden; none if nothing is.
    pruned: Option<(String, Snapshot)>,
    message: OnceLock<Arc<str>>,
    wanted: Mutex<Vec<(Arc<Selection>, Wanted)>>,
}

/// Whether a filter wants an event, once somebody has found out.
pub type Wanted = Arc<OnceCell<bool>>;

/// What readers saw of an event.
#[derive(Default)]
pub(super) struct Views(Mutex<Vec<(Rules, Seen)>>);

impl Views {
    /// Keeps nothing any more.
    pub fn forget(&self) {
        self.all().clear();
    }

    fn find(&self, rules: &Rules) -> Option<Seen> {
        let all = self.all();
        let mut views = all.iter();
        let found = views.find(|(own, _)| own.are_those_of(rules));
        found.map(|(_, seen)| seen.clone())
    }

    fn keep(&self, rules: &Rules, seen: &Seen) {
        let mut all = self.all();
        if all.len() < CLASSES {
            all.push((rules.clone(), seen.clone()));
        }
    }

    /// What a thread that panicked left is still a list.
    fn all(&self) -> MutexGuard<'_, Vec<(Rules, Seen)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Views").field(&self.all().len()).finish()
    }
}

impl Event {
    /// What a reader sees of it. A denial is counted for each who asks.
    ///
    /// # Errors
    /// The text of an event that another set of modules made.
    pub fn seen_by(&self, reader: &Reader, schema: Schema) -> Result<Seen, Errors> {
        let seen = match self.views.find(&reader.rules) {
            Some(seen) => seen,
            None => {
                let seen = self.look(reader, schema)?;
                if self.is_kept() {
                    self.views.keep(&reader.rules, &seen);
                }
                seen
            }
        };
        if let (Seen::Denied, Rules::Nacm(nacm, _)) = (&seen, &reader.rules) {
            nacm.count_denied_notification();
        }
        Ok(seen)
    }

    fn look(&self, reader: &Reader, schema: Schema) -> Result<Seen, Errors> {
        let Rules::Nacm(nacm, _) = &reader.rules else {
            return Ok(Seen::content(None));
        };
        let tree = self.content(schema)?;
        let Some(root) = tree.roots().next() else {
            return Ok(Seen::Nothing);
        };
        if !nacm.may_receive(&reader.author, root.module(), root.name()) {
            return Ok(Seen::Denied);
        }
        if nacm.shows_everything(&reader.author) {
            return Ok(Seen::content(None));
        }
        self.pruned(&tree, reader, nacm)
    }

    /// Without the nodes of the notification that the reader may not read, and without what it tells of others that he may
    /// not read.
    fn pruned(&self, tree: &Snapshot, reader: &Reader, nacm: &Nacm) -> Result<Seen, Errors> {
        let mut copy = tree.duplicate();
        if self.about.as_deref() == Some("") {
            notices::hide_edits(&mut copy);
        } else if let Some(about) = &self.about {
            let diff = Diff::parse(tree.schema(), about)?;
            if !notices::list_edits(&mut copy, &diff, &mut nacm.view(&reader.author))? {
                return Ok(Seen::Nothing);
            }
        }
        nacm.prune(&reader.author, &mut copy);
        Ok(Seen::content(Some((copy.to_xml(), Snapshot::new(copy)))))
    }
}

impl Seen {
    fn content(pruned: Option<(String, Snapshot)>) -> Self {
        Self::Content(Arc::new(Content {
            pruned,
            message: OnceLock::new(),
            wanted: Mutex::default(),
        }))
    }
}

impl Content {
    /// Its text in a message, as `write` makes it; one text for all.
    pub fn message(&self, event: &Event, write: impl FnOnce(&str) -> String) -> Arc<str> {
        let xml = self.pruned.as_ref().map_or(&event.xml, |(xml, _)| xml);
        Arc::clone(self.message.get_or_init(|| write(xml).into()))
    }

    /// Its tree.
    ///
    /// # Errors
    /// As [`Event::content`].
    pub fn tree(&self, event: &Event, schema: Schema) -> Result<Snapshot, Errors> {
        match &self.pruned {
            Some((_, tree)) => Ok(tree.clone()),
            None => event.content(schema),
        }
    }

    /// Whether a filter wants it: to be found out by the first who asks.
    pub fn wanted_by(&self, selection: &Arc<Selection>) -> Wanted {
        let mut all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().find(|(own, _)| Arc::ptr_eq(own, selection));
        if let Some((_, wanted)) = known {
            return Arc::clone(wanted);
        }
        let wanted = Wanted::default();
        if all.len() < FILTERS {
            all.push((Arc::clone(selection), Arc::clone(&wanted)));
        }
        wanted
    }
}
