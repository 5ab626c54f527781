//! `<get>` and `<get-config>` (RFC 6241, sections 7.1 and 7.7).
//!
//! Every reader is shown its own view: what access control hides is neither read nor compared with, so that no
//! filter reveals it (RFC 8341, section 3.2.4).

use super::monitoring::{self, Monitoring};
use super::target;
use crate::datastore::filter::Filter;
use crate::datastore::{Author, Datastore, Target};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::tree::Tree;
use crate::model::xml::Scope;
use crate::netconf::reply::Reply;
use crate::netconf::rpc::{Datastore as Name, Filter as Requested, WithDefaults};

pub(super) fn get_config(
    datastore: &Datastore,
    caller: &Author,
    source: Name,
    filter: Option<&Requested>,
    with_defaults: Option<WithDefaults>,
) -> Result<Reply, Errors> {
    refuse_with_defaults(with_defaults)?;
    let filter = parse(filter)?;
    let selected = select(
        datastore,
        caller,
        datastore.config(target(source)?),
        filter.as_ref(),
    )?;
    Ok(Reply::Data(selected.to_xml()))
}

pub(super) fn get(
    datastore: &Datastore,
    caller: &Author,
    filter: Option<&Requested>,
    with_defaults: Option<WithDefaults>,
    monitoring: &dyn Fn() -> Monitoring,
) -> Result<Reply, Errors> {
    refuse_with_defaults(with_defaults)?;
    let filter = parse(filter)?;
    let running = datastore.config(Target::Running);
    let mut selected = select(datastore, caller, running, filter.as_ref())?;
    let state = state(datastore, filter.as_ref(), monitoring);
    if !state.is_empty() {
        // A filter may pick state by configuration and the other way round, so it sees both where both are.
        let mut both = state;
        let shared: Vec<_> = running
            .roots()
            .filter(|root| both.roots().any(|s| s.schema() == root.schema()))
            .collect();
        shared.into_iter().for_each(|root| both.graft(root));
        selected.merge(select(datastore, caller, &both, filter.as_ref())?);
    }
    Ok(Reply::Data(selected.to_xml()))
}

/// The state of the modules that a filter can reach.
fn state(
    datastore: &Datastore,
    filter: Option<&Filter>,
    monitoring: &dyn Fn() -> Monitoring,
) -> Tree {
    let schema = datastore.schema();
    let reaches = |module: &str| {
        let Some(filter) = filter else { return true };
        let namespace = schema.namespace(module).unwrap_or_default();
        schema
            .roots(module)
            .any(|root| filter.reaches(&[(namespace, root.name())]))
    };
    let mut state = datastore.state(&reaches);
    if reaches(monitoring::MODULE) {
        monitoring().state(datastore, &mut state);
    }
    if reaches(monitoring::ACCESS_CONTROL)
        && let Err(error) = datastore.nacm().state(&mut state)
    {
        debug_assert!(false, "the counters of access control: {error}");
    }
    if reaches(monitoring::YANG_LIBRARY) {
        state.merge(Tree::yang_library(schema));
    }
    state
}

fn select(
    datastore: &Datastore,
    caller: &Author,
    tree: &Tree,
    filter: Option<&Filter>,
) -> Result<Tree, RpcError> {
    let nacm = datastore.nacm();
    let sees_all = caller.recovery || nacm.shows_everything(&caller.user);
    match filter {
        None => Ok(visible(datastore, caller, tree)),
        Some(filter) if sees_all => filter.apply(tree),
        Some(filter) => filter.apply_in_view(tree, &mut nacm.view(&caller.user)),
    }
}

/// A copy of what the caller may read of a tree.
pub(super) fn visible(datastore: &Datastore, caller: &Author, tree: &Tree) -> Tree {
    let mut copy = tree.duplicate();
    if !caller.recovery {
        datastore.nacm().prune(&caller.user, &mut copy);
    }
    copy
}

fn parse(filter: Option<&Requested>) -> Result<Option<Filter>, RpcError> {
    match filter {
        None => Ok(None),
        Some(Requested::Subtree(inside)) => Filter::parse(inside, &Scope::default()).map(Some),
    }
}

fn refuse_with_defaults(with_defaults: Option<WithDefaults>) -> Result<(), RpcError> {
    match with_defaults {
        None => Ok(()),
        Some(_) => Err(RpcError::protocol(
            ErrorTag::UnknownElement,
            "with-defaults needs :with-defaults, which this device does not announce",
        )
        .info("bad-element", "with-defaults")),
    }
}
