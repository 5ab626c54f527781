//! Nodes picked one by one, put together to the tree that leads to them.

use crate::model::tree::{Held, Node};

/// A node on the way to picked ones, or one itself.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) node: Held,
    /// None: picked, with all that is below it.
    pub(super) below: Option<Vec<Pick>>,
}

/// The tops of the lines to some nodes, which come in the order of their tree.
pub(super) fn picks(nodes: Vec<Held>) -> Vec<Pick> {
    let mut tops = Vec::new();
    for node in nodes {
        let mut line: Vec<Held> =
            std::iter::successors(Some(node), |node| node.reach(|node| Node::parent(&node)))
                .collect();
        let Some(top) = line.pop() else { continue };
        add(&mut tops, top, line);
    }
    tops
}

/// `line` leads from `node`, the last one being its child, to the picked node.
fn add(siblings: &mut Vec<Pick>, node: Held, mut line: Vec<Held>) {
    if siblings.last().is_none_or(|last| last.node != node) {
        let below = Some(Vec::new());
        siblings.push(Pick { node, below });
    }
    let Some(pick) = siblings.last_mut() else {
        return;
    };
    match (line.pop(), &mut pick.below) {
        (None, below) => *below = None,
        (Some(child), Some(below)) => add(below, child, line),
        // It is in there already.
        (Some(_), None) => {}
    }
}
