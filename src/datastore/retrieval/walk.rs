//! The walk through a tree: what is selected, seen and wanted, in the order of the tree.
//!
//! Start tags are written late: a node that only leads to others – a container without presence, an entry on the way
//! of a filter – is written when the first of them is, and so not at all if there is none.

use super::origin::{Origin, origin_of};
use super::picks::{Pick, picks};
use super::write::Writer;
use super::{Options, PIECE, Picked, Prepared, VISITS, WithDefaults};
use crate::datastore::changes::Unsettled;
use crate::datastore::filter::{Extent, Known, Selected, Set, View};
use crate::model::schema::Schema;
use crate::model::tree::{Held, Node, NodeKind, SchemaNode, Snapshot};

/// One tree, being walked through.
pub(super) struct Walk {
    schema: Schema,
    intended: Option<Snapshot>,
    elsewhere: Vec<SchemaNode>,
    known: Known,
    frames: Vec<Frame>,
    /// How many frames have their start tag written: those at the bottom.
    opened: usize,
    writer: Writer,
}

/// A node whose children are visited, or the top.
struct Frame {
    /// None at the top.
    node: Option<Held>,
    children: Children,
    /// Levels that may follow below; none for any number. Counted from the selected node on.
    levels: Option<u16>,
    /// The origin told last, which goes for what is below.
    origin: Option<Origin>,
}

/// Which children of a node are left to visit.
enum Children {
    /// This one and all its later siblings.
    All(Option<Held>),
    Filtered(Box<Selected>),
    Picked(std::vec::IntoIter<Pick>),
}

/// What is wanted of a child.
enum Wanted {
    Whole,
    Sets(Vec<Set>),
    Picks(Vec<Pick>),
}

impl Walk {
    pub(super) fn new(source: Prepared, options: &Options, view: View<'_>) -> Self {
        let Prepared {
            tree,
            picked,
            elsewhere,
            intended,
        } = source;
        let children = match picked {
            Picked::All => Children::All(tree.hold(|tree| tree.roots().next())),
            Picked::Filter(filter) => {
                Children::Filtered(Box::new(Selected::top(&tree, &filter, view)))
            }
            Picked::Nodes(nodes) => Children::Picked(picks(nodes).into_iter()),
        };
        let top = Frame {
            node: None,
            children,
            levels: options.max_depth,
            origin: None,
        };
        Self {
            schema: tree.schema(),
            intended,
            elsewhere,
            known: Known::default(),
            frames: vec![top],
            opened: 1,
            writer: Writer::default(),
        }
    }

    /// Goes on until the piece is long enough, or to the end: then this is true.
    pub(super) fn write(&mut self, out: &mut String, options: &Options, view: View<'_>) -> bool {
        for _ in 0..VISITS {
            if out.len() >= PIECE {
                break;
            }
            let Some(frame) = self.frames.last_mut() else {
                return true;
            };
            match frame.children.next(view) {
                Some((node, wanted)) => self.visit(out, options, node, wanted, view),
                None => self.leave(out),
            }
        }
        false
    }

    fn leave(&mut self, out: &mut String) {
        self.frames.pop();
        if self.opened > self.frames.len() {
            self.opened = self.frames.len();
            self.writer.end(out);
        }
    }

    fn visit(
        &mut self,
        out: &mut String,
        options: &Options,
        held: Held,
        wanted: Wanted,
        view: View<'_>,
    ) {
        let node = held.node();
        if self.frames.len() == 1 && self.elsewhere.contains(&node.schema()) {
            return;
        }
        let is_left_out = |all: &Unsettled| all.contains(&node.schema());
        if options.unsettled.as_ref().is_some_and(is_left_out) {
            return;
        }
        match node.kind() {
            // The keys come with the start tag of their entry.
            NodeKind::Leaf if node.is_key() && self.frames.len() > 1 => {
                // One that a filter asks for brings its entry.
                if matches!(wanted, Wanted::Whole) && self.is_kept(options, node) {
                    self.open(out, options);
                }
            }
            NodeKind::Leaf | NodeKind::LeafList | NodeKind::Any => {
                if self.is_shown(options, node) {
                    self.open(out, options);
                    let origin = self.told_origin(options, node);
                    self.writer.value(out, node, origin, options.with_defaults);
                }
            }
            _ => self.enter(out, options, held, wanted, view),
        }
    }

    /// A container or list entry.
    fn enter(
        &mut self,
        out: &mut String,
        options: &Options,
        held: Held,
        wanted: Wanted,
        view: View<'_>,
    ) {
        let node = held.node();
        let is_whole = matches!(wanted, Wanted::Whole);
        let above = self.frames.last().and_then(|frame| frame.levels);
        // On the way to what is selected no level counts.
        let levels = match is_whole {
            true => above.map(|levels| levels.saturating_sub(1)),
            false => above,
        };
        let is_cut = levels == Some(0);
        let counts = node.kind() == NodeKind::List || node.schema().is_presence();
        let is_wanted = is_whole
            && match counts {
                true => self.is_kept(options, node),
                false => is_cut && self.leads_somewhere(options, node, view),
            };
        let children = match wanted {
            _ if is_cut => Children::All(None),
            Wanted::Whole => Children::All(held.reach(|node| node.children().next())),
            Wanted::Sets(sets) => Children::Filtered(Box::new(Selected::below(
                self.schema,
                held.clone(),
                &sets,
                &mut self.known,
                view,
            ))),
            Wanted::Picks(picks) => Children::Picked(picks.into_iter()),
        };
        let origin = self.frames.last().and_then(|frame| frame.origin);
        self.frames.push(Frame {
            node: Some(held),
            children,
            levels,
            origin,
        });
        if is_wanted {
            self.open(out, options);
        }
    }

    /// Writes the start tags that are still owed.
    fn open(&mut self, out: &mut String, options: &Options) {
        while self.opened < self.frames.len() {
            let at = self.opened;
            let above = self.frames[at - 1].origin;
            let Some(held) = self.frames[at].node.clone() else {
                return;
            };
            let origin = self.origin(options, held.node()).or(above);
            self.frames[at].origin = origin;
            let told = origin.filter(|_| origin != above && held.node().is_config());
            self.writer.start(out, held.node(), told);
            self.opened += 1;
        }
    }

    fn told_origin(&self, options: &Options, node: Node<'_>) -> Option<Origin> {
        let above = self.frames.last().and_then(|frame| frame.origin);
        let own = self.origin(options, node);
        own.filter(|_| own != above)
    }

    /// The origin to tell of a node, if it is one of its own: a container without presence has that of its parent.
    fn origin(&self, options: &Options, node: Node<'_>) -> Option<Origin> {
        let is_plain = node.kind() == NodeKind::Container && !node.schema().is_presence();
        let inherits = is_plain && node.parent().is_some();
        (options.with_origin && node.is_config() && !inherits)
            .then(|| origin_of(node, self.intended.as_ref()))
    }

    /// Whether a node is one of those that the filters of NMDA leave.
    fn is_kept(&self, options: &Options, node: Node<'_>) -> bool {
        let is_config = node.is_config();
        let by_origin = |filter: &super::OriginFilter| {
            !is_config || filter.admits(origin_of(node, self.intended.as_ref()))
        };
        options.config.is_none_or(|wanted| wanted == is_config)
            && options.origin.as_ref().is_none_or(by_origin)
    }

    /// Whether a value is reported.
    fn is_shown(&self, options: &Options, node: Node<'_>) -> bool {
        let by_default = match options.with_defaults {
            WithDefaults::ReportAll | WithDefaults::ReportAllTagged => true,
            WithDefaults::Trim => !node.has_default_value(),
            // RFC 6243, section 2.3.1: of what is not configuration, defaults are reported too.
            WithDefaults::Explicit => !node.is_default() || !node.is_config(),
        };
        by_default && self.is_kept(options, node)
    }

    /// Whether there is anything to report below a container that is cut off.
    fn leads_somewhere(&self, options: &Options, node: Node<'_>, view: View<'_>) -> bool {
        node.children().any(|child| {
            view(child)
                && match child.kind() {
                    NodeKind::Leaf | NodeKind::LeafList | NodeKind::Any => {
                        self.is_shown(options, child)
                    }
                    NodeKind::Container if !child.schema().is_presence() => {
                        self.leads_somewhere(options, child, view)
                    }
                    _ => self.is_kept(options, child),
                }
        })
    }
}

impl Children {
    fn next(&mut self, view: View<'_>) -> Option<(Held, Wanted)> {
        match self {
            Self::All(next) => loop {
                let node = next.take()?;
                *next = node.clone().into_next();
                let is_key = node.node().is_key() && node.node().parent().is_some();
                if !is_key && view(node.node()) {
                    return Some((node, Wanted::Whole));
                }
            },
            Self::Filtered(selected) => {
                let (node, extent) = selected.next(view)?;
                let wanted = match extent {
                    Extent::Whole => Wanted::Whole,
                    Extent::Sets(sets) => Wanted::Sets(sets),
                };
                Some((node, wanted))
            }
            Self::Picked(picks) => loop {
                let pick = picks.next()?;
                if view(pick.node.node()) {
                    let wanted = pick.below.map_or(Wanted::Whole, Wanted::Picks);
                    return Some((pick.node, wanted));
                }
            },
        }
    }
}
