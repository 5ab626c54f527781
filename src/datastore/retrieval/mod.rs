//! Retrieval: what a reader gets of a datastore, as XML, a piece at a time.
//!
//! A [`Retrieval`] holds snapshots of what it reads and walks them as its pieces are asked for. So a large reply takes
//! neither memory nor the time of the datastore, and a reader who is slow holds nothing but old snapshots.

mod origin;
mod picks;
mod walk;
mod write;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use super::Author;
use super::changes::Unsettled;
use super::filter::{Filter, View};
use super::nacm::Nacm;
use crate::model::error::RpcError;
use crate::model::schema::Schema;
use crate::model::tree::{Expression, Held, SchemaNode, Snapshot, Tree};

pub use origin::{Origin, OriginFilter};
use walk::Walk;

/// Octets after which a piece ends; one more value may follow.
const PIECE: usize = 32 << 10;
/// Nodes after which a piece ends, written or not.
const VISITS: usize = 4096;

/// How values are reported that the schema gives by default (RFC 6243, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithDefaults {
    /// All of them.
    ReportAll,
    /// All of them, each marked as a default.
    ReportAllTagged,
    /// None.
    Trim,
    /// Those that somebody set; the basic mode of this server.
    #[default]
    Explicit,
}

/// What a reader wants to see of the nodes that are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Defaults.
    pub with_defaults: WithDefaults,
    /// Levels of nodes from each selected one on, 1 for the node alone (RFC 8526, section 3.1.1, `max-depth`).
    pub max_depth: Option<u16>,
    /// Only configuration, or only what is not (`config-filter`).
    pub config: Option<bool>,
    /// Only configuration of these origins.
    pub origin: Option<OriginFilter>,
    /// Whether the origin of configuration is told.
    pub with_origin: bool,
    /// Nodes that are left out, with all below them.
    pub unsettled: Option<Unsettled>,
}

/// Which nodes of a tree are asked for. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// All of them.
    All,
    /// Those of a subtree filter (RFC 6241, section 6).
    Filter(Filter),
    /// Those of an XPath filter (section 8.9), each with all that is below it.
    XPath(Expression),
}

impl Selection {
    /// The top-level nodes at or below which anything could be selected; none for all of them.
    pub fn roots(&self, schema: Schema) -> Option<Vec<SchemaNode>> {
        match self {
            Self::All => None,
            Self::Filter(filter) => Some(filter.roots(schema)),
            Self::XPath(expression) => Some(expression.roots().to_vec()),
        }
    }
}

/// A tree to read, and what of it.
#[derive(Debug)]
pub struct Source {
    /// The tree.
    pub tree: Snapshot,
    /// What is asked for.
    pub selection: Selection,
    /// Top-level nodes that another source shows.
    pub elsewhere: Vec<SchemaNode>,
    /// The configuration in force, where the tree holds more than it.
    pub intended: Option<Snapshot>,
    /// Whether defaults in use are still to be added.
    pub lacks_defaults: bool,
}

impl Source {
    /// All that is selected of a configuration.
    pub fn new(tree: Snapshot, selection: Selection) -> Self {
        Self {
            tree,
            selection,
            elsewhere: Vec::new(),
            intended: None,
            lacks_defaults: false,
        }
    }
}

/// For whom it is: he gets what access control shows him.
#[derive(Clone)]
pub struct Reader {
    /// The rules that were in force when he asked.
    pub nacm: Arc<Nacm>,
    /// He.
    pub author: Author,
}

/// What a reader asked for, with the trees as they were then.
pub struct Retrieval {
    sources: Vec<Source>,
    options: Options,
    /// None for a reader who sees everything.
    reader: Option<Reader>,
}

impl Retrieval {
    /// Of these sources, one after the other; without a reader, of all there is.
    pub fn new(sources: Vec<Source>, options: Options, reader: Option<Reader>) -> Self {
        Self {
            sources,
            options,
            reader: reader.filter(|reader| !reader.nacm.shows_everything(&reader.author)),
        }
    }

    /// Whether [`Retrieval::begin`] may take long: it is then for a thread that may.
    pub fn takes_long(&self) -> bool {
        let is_long = |source: &Source| {
            source.lacks_defaults || matches!(source.selection, Selection::XPath(_))
        };
        self.sources.iter().any(is_long)
    }

    /// Does what has to be done before the first piece, such as the evaluation of an XPath filter.
    ///
    /// # Errors
    /// `invalid-value` for an XPath expression that selects no nodes.
    pub fn begin(self) -> Result<Pieces, RpcError> {
        let reader = self.reader.as_ref();
        let prepare = |source: Source| source.prepare(reader);
        let waiting = self
            .sources
            .into_iter()
            .map(prepare)
            .collect::<Result<_, _>>()?;
        Ok(Pieces {
            waiting,
            options: self.options,
            reader: self.reader,
            walk: None,
        })
    }
}

impl Source {
    fn prepare(mut self, reader: Option<&Reader>) -> Result<Prepared, RpcError> {
        if self.lacks_defaults {
            let mut tree = self.tree.duplicate();
            tree.add_defaults(false);
            self.tree = Snapshot::new(tree);
        }
        let picked = match self.selection {
            Selection::All => Picked::All,
            Selection::Filter(filter) => Picked::Filter(filter),
            Selection::XPath(expression) => {
                if let Some(reader) = reader {
                    self.tree = reader.sees(&self.tree, expression.roots());
                }
                Picked::Nodes(select(&self.tree, &expression)?)
            }
        };
        Ok(Prepared {
            tree: self.tree,
            picked,
            elsewhere: self.elsewhere,
            intended: self.intended,
        })
    }
}

impl Reader {
    /// A copy of some top-level nodes as the reader sees them. An expression that is evaluated on nothing else tells him
    /// nothing else, whatever functions and predicates it has.
    fn sees(&self, tree: &Snapshot, roots: &[SchemaNode]) -> Snapshot {
        let mut copy = Tree::new(tree.schema());
        let asked = tree.roots().filter(|root| roots.contains(&root.schema()));
        asked.for_each(|root| copy.graft(root));
        self.nacm.prune(&self.author, &mut copy);
        Snapshot::new(copy)
    }
}

fn select(tree: &Snapshot, expression: &Expression) -> Result<Vec<Held>, RpcError> {
    let mut refused = None;
    let nodes = tree.hold_all(|tree| match expression.select(tree) {
        Ok(nodes) => nodes,
        Err(error) => {
            refused = Some(error);
            Vec::new()
        }
    });
    refused.map_or(Ok(nodes), Err)
}

/// A source that can be walked.
struct Prepared {
    tree: Snapshot,
    picked: Picked,
    elsewhere: Vec<SchemaNode>,
    intended: Option<Snapshot>,
}

/// A selection of nodes.
enum Picked {
    All,
    Filter(Filter),
    /// In the order of the tree, each with all that is below it.
    Nodes(Vec<Held>),
}

/// A reply in the making.
pub struct Pieces {
    waiting: VecDeque<Prepared>,
    options: Options,
    reader: Option<Reader>,
    walk: Option<Walk>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Pieces {
    /// The next piece of XML, [`None`] behind the last. All pieces together are elements, each with the namespace
    /// declarations it needs. A piece may be empty: making one takes a bounded time, whatever there is to be found.
    pub fn next_piece(&mut self) -> Option<String> {
        let reader = self.reader.take();
        let piece = match &reader {
            Some(Reader { nacm, author }) => self.next_piece_in(&mut nacm.view(author)),
            None => self.next_piece_in(&mut |_| true),
        };
        self.reader = reader;
        piece
    }

    /// All of it at once.
    pub fn into_xml(mut self) -> String {
        let mut xml = String::new();
        while let Some(piece) = self.next_piece() {
            xml.push_str(&piece);
        }
        xml
    }

    /// The same in a view of the caller's own.
    pub fn next_piece_in(&mut self, view: View<'_>) -> Option<String> {
        let mut piece = String::new();
        loop {
            if let Some(walk) = &mut self.walk {
                if !walk.write(&mut piece, &self.options, view) {
                    return Some(piece);
                }
                self.walk = None;
            }
            let Some(source) = self.waiting.pop_front() else {
                return (!piece.is_empty()).then_some(piece);
            };
            self.walk = Some(Walk::new(source, &self.options, view));
        }
    }
}
