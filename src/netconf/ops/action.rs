//! Actions and rpcs of modules (RFC 7950, sections 7.14 and 7.15).

use super::permit_named;
use crate::datastore::{Author, Datastore, Step, Target};
use crate::model::error::Errors;
use crate::model::tree::Operation;
use crate::netconf::reply::Reply;

pub(super) fn act(
    datastore: &mut Datastore,
    caller: &Author,
    message: &str,
) -> Result<(Step, Reply), Errors> {
    let mut operation = Operation::parse(datastore.schema(), message)?;
    let path = operation.path();
    if path.matches('/').count() == 1 {
        let (module, name) = operation.name();
        permit_named(datastore, caller, module, name)?;
    } else if !caller.recovery {
        // RFC 8341, section 3.2.3: execute the action, and read the nodes it is in.
        datastore.nacm().may_act(&caller.user, &operation)?;
    }
    operation.validate(datastore.config(Target::Running))?;
    let output = datastore.act(&path, operation.input())?;
    let inside = output
        .find(&path)
        .map(|node| node.inner_xml())
        .unwrap_or_default();
    let reply = if inside.is_empty() {
        Reply::Ok
    } else {
        Reply::Output(inside)
    };
    Ok((Step::Done, reply))
}
