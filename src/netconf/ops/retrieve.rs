//! `<get>`, `<get-config>` (RFC 6241, sections 7.1 and 7.7) and `<get-data>` (RFC 8526, section 3.1.1).
//!
//! Every reader is shown its own view: what access control hides is neither read nor compared with, so that no
//! filter reveals it (RFC 8341, section 3.2.4).

use super::monitoring::{self, Monitoring};
use super::{Found, target, writable};
use crate::datastore::filter::Filter;
use crate::datastore::retrieval::{Options, Reader, Retrieval, Selection, Source, WithDefaults};
use crate::datastore::{Author, Datastore, Target, View, history, xpath};
use crate::model::error::{Errors, RpcError};
use crate::model::schema::Schema;
use crate::model::tree::{Expression, SchemaNode, Snapshot, Tree};
use crate::model::xml::Scope;
use crate::netconf::rpc::{
    Datastore as Name, Filter as Requested, GetData, NMDA_NAMESPACE, Stored,
};
use crate::netconf::subscription::push::capabilities;

pub(super) fn get_config(
    datastore: &View,
    caller: &Author,
    source: Name,
    filter: Option<&Requested>,
    with_defaults: Option<WithDefaults>,
) -> Result<Found, Errors> {
    let options = Options {
        with_defaults: with_defaults.unwrap_or_default(),
        ..Options::default()
    };
    let selection = selection(datastore.schema(), filter)?;
    let target = target(datastore.schema(), source)?;
    let source = configuration(datastore, target, selection, &options);
    let retrieval = Retrieval::new(vec![source], options, reader(datastore, caller));
    Ok(Found::Data(Box::new(retrieval), None))
}

pub(super) fn get(
    datastore: &View,
    caller: &Author,
    filter: Option<&Requested>,
    with_defaults: Option<WithDefaults>,
    monitoring: &dyn Fn() -> Monitoring,
) -> Result<Found, Errors> {
    let options = Options {
        with_defaults: with_defaults.unwrap_or_default(),
        ..Options::default()
    };
    let selection = selection(datastore.schema(), filter)?;
    let reader = reader(datastore, caller);
    let sources = operational(datastore, selection, &options, monitoring, reader.as_ref());
    let retrieval = Retrieval::new(sources, options, reader);
    Ok(Found::Data(Box::new(retrieval), None))
}

pub(super) fn get_data(
    datastore: &View,
    caller: &Author,
    request: GetData,
    monitoring: &dyn Fn() -> Monitoring,
) -> Result<Found, Errors> {
    let mut options = request.options;
    let basic = match request.datastore {
        // RFC 8342, section 5.3: values in use are there, whatever default the schema has.
        Stored::Operational => WithDefaults::ReportAll,
        Stored::Conventional(_) => WithDefaults::default(),
    };
    options.with_defaults = request.with_defaults.unwrap_or(basic);
    let selection = selection(datastore.schema(), request.filter.as_ref())?;
    let (stored, reader) = (request.datastore, reader(datastore, caller));
    let wanted = (selection, &options);
    let sources = sources(datastore, stored, wanted, monitoring, reader.as_ref())?;
    let retrieval = Retrieval::new(sources, options, reader);
    Ok(Found::Data(Box::new(retrieval), Some(NMDA_NAMESPACE)))
}

/// What a selection is made of: a datastore by its identity.
///
/// # Errors
/// `invalid-value` for one that the device does not have.
pub fn sources(
    datastore: &View,
    stored: Stored,
    (selection, options): (Selection, &Options),
    monitoring: &dyn Fn() -> Monitoring,
    reader: Option<&Reader>,
) -> Result<Vec<Source>, RpcError> {
    Ok(match stored {
        Stored::Operational => operational(datastore, selection, options, monitoring, reader),
        stored => {
            let target = writable(datastore.schema(), stored)?;
            vec![configuration(datastore, target, selection, options)]
        }
    })
}

fn reader(datastore: &View, caller: &Author) -> Option<Reader> {
    (!caller.recovery).then(|| Reader {
        nacm: datastore.nacm().clone(),
        author: caller.clone(),
    })
}

/// A configuration datastore.
fn configuration(
    datastore: &View,
    target: Target,
    selection: Selection,
    options: &Options,
) -> Source {
    let mut source = Source::new(datastore.snapshot(target), selection);
    // What was edited since the last commit has no defaults yet.
    source.lacks_defaults =
        target == Target::Candidate && options.with_defaults != WithDefaults::Explicit;
    source
}

/// Running with the state of the device: `get`, and the operational datastore.
fn operational(
    datastore: &View,
    selection: Selection,
    options: &Options,
    monitoring: &dyn Fn() -> Monitoring,
    reader: Option<&Reader>,
) -> Vec<Source> {
    let running = datastore.snapshot(Target::Running);
    let mut both = state(datastore, &selection, monitoring);
    add_history(datastore, &selection, reader, &mut both);
    if options.with_defaults != WithDefaults::Explicit {
        both.add_defaults(true);
    }
    let elsewhere = with_configuration(&mut both, &running);
    if both.is_empty() {
        return vec![Source::new(running, selection)];
    }
    let source = |tree, selection, elsewhere, intended| Source {
        elsewhere,
        intended,
        ..Source::new(tree, selection)
    };
    let Selection::XPath(expression) = selection else {
        let again = selection.clone();
        let intended = Some(running.clone());
        return vec![
            source(running, selection, elsewhere, None),
            source(Snapshot::new(both), again, Vec::new(), intended),
        ];
    };
    // An expression sees all it speaks of in one tree.
    let others = running.roots().filter(|root| {
        expression.roots().contains(&root.schema()) && !elsewhere.contains(&root.schema())
    });
    others.for_each(|root| both.graft(root));
    let selection = Selection::XPath(expression);
    let both = Snapshot::new(both);
    vec![source(both, selection, Vec::new(), Some(running))]
}

/// Adds the configuration of the top-level nodes that are there; these are returned. A filter may pick state by
/// configuration and the other way round, so it sees both where both are.
fn with_configuration(state: &mut Tree, running: &Snapshot) -> Vec<SchemaNode> {
    let there: Vec<_> = state.roots().map(|root| root.schema()).collect();
    let shared = running
        .roots()
        .filter(|root| there.contains(&root.schema()));
    shared.for_each(|root| state.graft(root));
    there
}

/// The state of the modules that a selection can reach.
fn state(datastore: &View, selection: &Selection, monitoring: &dyn Fn() -> Monitoring) -> Tree {
    let schema = datastore.schema();
    let roots = selection.roots(schema);
    let reaches = |module: &str| {
        let roots = roots.as_ref();
        roots.is_none_or(|roots| roots.iter().any(|root| root.module() == module))
    };
    let mut state = datastore.state(&reaches);
    if reaches(monitoring::MODULE) {
        let namespace = schema.namespace(monitoring::MODULE).unwrap_or_default();
        let part = |name: &str| match selection {
            Selection::Filter(filter) => {
                filter.reaches(&[(namespace, monitoring::CONTAINER), (namespace, name)])
            }
            Selection::XPath(_) | Selection::All => true,
        };
        monitoring().state(datastore, &part, &mut state);
    }
    if reaches(monitoring::ACCESS_CONTROL)
        && let Err(error) = datastore.nacm().state(&mut state)
    {
        debug_assert!(false, "the counters of access control: {error}");
    }
    if reaches(capabilities::MODULE) {
        capabilities::show(datastore, &mut state);
    }
    if reaches(monitoring::YANG_LIBRARY) {
        monitoring::yang_library(schema, &mut state);
    }
    state
}

/// The commits so far, if the selection can reach them. What their differences show depends on the reader.
fn add_history(datastore: &View, selection: &Selection, reader: Option<&Reader>, into: &mut Tree) {
    let schema = datastore.schema();
    let namespace = schema.namespace(history::MODULE).unwrap_or_default();
    let names = [history::MODULE, "commit", "diff"];
    let steps = names.map(|name| (namespace, name));
    let reaches = |depth: usize| match selection {
        Selection::All => true,
        Selection::Filter(filter) => filter.reaches(&steps[..depth]),
        Selection::XPath(expression) => expression
            .roots()
            .iter()
            .any(|root| root.module() == history::MODULE),
    };
    if !reaches(2) {
        return;
    }
    match datastore.history().state(schema, reader, reaches(3)) {
        Ok(commits) => into.merge(commits),
        Err(errors) => tracing::error!(?errors, "the history of commits does not fit its module"),
    }
}

/// A copy of what the caller may read of a tree.
pub(super) fn visible(datastore: &Datastore, caller: &Author, tree: &Tree) -> Tree {
    let mut copy = tree.duplicate();
    if !caller.recovery {
        datastore.nacm().prune(caller, &mut copy);
    }
    copy
}

pub(super) fn selection(schema: Schema, filter: Option<&Requested>) -> Result<Selection, RpcError> {
    match filter {
        None => Ok(Selection::All),
        Some(Requested::Subtree(inside)) => {
            Filter::parse(inside, &Scope::default()).map(Selection::Filter)
        }
        Some(Requested::XPath { expression, .. }) if expression.trim() == "/" => Ok(Selection::All),
        Some(Requested::XPath {
            expression,
            declared,
        }) => {
            let namespace = |prefix: &str| {
                let found = declared.iter().find(|(own, _)| own == prefix);
                found.map(|(_, namespace)| namespace.as_str())
            };
            let expression: Expression = xpath::parse(schema, expression, namespace)?;
            Ok(Selection::XPath(expression))
        }
    }
}
