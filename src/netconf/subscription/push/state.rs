//! Follows the state of the device: where a part of the agent says that its state may be another one, it is compared with
//! what it was, once for all who are told of changes. As long as nobody is, nothing is compared.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use futures_util::future::select_all;
use tokio::sync::{Mutex, watch};

use super::contents::{Room, Turns};
use crate::datastore::View;
use crate::datastore::changes::{Bell, Changes, Of, Unsettled, Wakes};
use crate::datastore::subscriber::{StateProvider, Telling};
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::{NodeKind, SchemaNode, Tree};
use crate::netconf::server::Server;

/// Who is told of changes, and of what.
#[derive(Default)]
pub(in crate::netconf) struct Told {
    pub changes: Changes,
    /// Rings when sessions come and go and locks are taken and released.
    pub sessions: Bell,
    /// Of those who gather all that they select.
    pub(super) turns: Turns,
    /// For what they have gathered until it is sent.
    pub(super) room: Room,
    unsettled: OnceLock<Unsettled>,
    /// What the parts of the agent showed last, by their number; only while somebody is told of changes.
    shown: Mutex<BTreeMap<Part, Tree>>,
}

/// A part of the agent that has state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Of this number in [`View::providers`].
    Provider(usize),
    /// The sessions and locks of the server itself.
    Server,
}

impl Told {
    /// With the changes that a datastore tells of.
    pub fn new(changes: Changes) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// The nodes whose changes are not told.
    pub fn unsettled(&self, view: &View) -> Unsettled {
        let all = || unsettled(view.schema(), view.providers());
        Arc::clone(self.unsettled.get_or_init(|| Arc::new(all())))
    }
}

/// Schema paths of the nodes whose changes are not told; the same as [`Told::unsettled`].
pub(super) fn unsettled_paths(view: &View) -> Vec<String> {
    let mut paths: Vec<_> = unsettled(view.schema(), view.providers())
        .into_iter()
        .map(SchemaNode::path)
        .collect();
    paths.sort_unstable();
    paths
}

fn unsettled(schema: Schema, providers: &[Box<dyn StateProvider>]) -> HashSet<SchemaNode> {
    let own = paths::SERVER_UNSETTLED.iter();
    let mut all: HashSet<_> = own.filter_map(|path| schema.at(path)).collect();
    for provider in providers {
        match provider.telling() {
            Some(telling) => {
                let named = telling.unsettled.iter();
                all.extend(named.filter_map(|path| schema.at(path)));
            }
            None => schema
                .roots(provider.module())
                .for_each(|root| state_below(root, &mut all)),
        }
    }
    all
}

/// The topmost nodes at or below a node that are state.
fn state_below(node: SchemaNode, into: &mut HashSet<SchemaNode>) {
    let is_data = !matches!(
        node.kind(),
        NodeKind::Action | NodeKind::Notification | NodeKind::Rpc | NodeKind::Other
    );
    match node.is_config() {
        _ if !is_data => {}
        true => node.children().for_each(|child| state_below(child, into)),
        false => {
            into.insert(node);
        }
    }
}

impl Server {
    /// Follows the state until it is told to stop.
    pub async fn follow_state(self, mut stop: watch::Receiver<bool>) {
        let wakes = self.look(|view| Ok(wakes(view))).await;
        let mut wakes = wakes.unwrap_or_default();
        wakes.push((Part::Server, self.told().sessions.hear()));
        while !wakes.is_empty() {
            let heard = wakes.iter_mut().map(|(_, wakes)| wakes.changed());
            let (is_alive, index) = tokio::select! {
                (is_alive, index, _) = select_all(heard) => (is_alive, index),
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let part = wakes[index].0;
            // Whoever was served is the last one to be asked again, so that nobody keeps the others waiting.
            wakes.rotate_left(index + 1);
            if !is_alive {
                drop(wakes.pop());
            }
            if let Err(error) = self.compare(part).await {
                tracing::debug!(%error, "the state could not be compared");
            }
        }
    }

    /// Has changes of the state told from now on; somebody has to listen already.
    pub(super) async fn begin_to_follow(&self) -> Result<(), RpcError> {
        let mut shown = self.told().shown.lock().await;
        let parts = self.look(|view| Ok(wakes(view))).await?;
        let parts = parts.into_iter().map(|(part, _)| part);
        for part in parts.chain([Part::Server]) {
            if let Entry::Vacant(place) = shown.entry(part) {
                place.insert(self.state_of(part).await?);
            }
        }
        Ok(())
    }

    async fn compare(&self, part: Part) -> Result<(), RpcError> {
        let told = self.told();
        let mut shown = told.shown.lock().await;
        if !told.changes.is_state_heard() {
            shown.clear();
        }
        let Some(last) = shown.get_mut(&part) else {
            return Ok(());
        };
        let now = self.state_of(part).await?;
        let diff = last.diff(&now)?;
        if !diff.is_empty() {
            *last = now;
            told.changes.publish(Of::State, diff);
        }
        Ok(())
    }

    async fn state_of(&self, part: Part) -> Result<Tree, RpcError> {
        if part == Part::Server {
            // A lock that ends with its session is released in its turn.
            self.await_turn().await?;
        }
        let server = self.clone();
        let show = move |view: &View| {
            let mut tree = Tree::new(view.schema());
            match part {
                Part::Provider(number) => {
                    if let Some(provider) = view.providers().get(number) {
                        provider.state(&mut tree);
                    }
                }
                Part::Server => {
                    let wanted = |name: &str| matches!(name, "sessions" | "datastores");
                    server.monitoring().state(view, &wanted, &mut tree);
                }
            }
            let unsettled = server.told().unsettled(view);
            tree.retain(&mut |node| !unsettled.contains(&node.schema()));
            Ok(tree)
        };
        self.look(show).await
    }
}

/// The parts that say when their state may be another one.
fn wakes(view: &View) -> Vec<(Part, Box<dyn Wakes>)> {
    let providers = view.providers().iter().enumerate();
    let wakes = providers.filter_map(|(number, provider)| {
        let Telling { wakes, .. } = provider.telling()?;
        Some((Part::Provider(number), wakes?))
    });
    wakes.collect()
}
