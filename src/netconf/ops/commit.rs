//! `<commit>` and `<discard-changes>` (RFC 6241, section 8.3.4).

use crate::datastore::{Author, Datastore, Step};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::netconf::rpc::Confirmed;

/// The parameters of a confirmed commit belong to a capability that is not announced.
pub(super) fn commit(
    datastore: &mut Datastore,
    caller: &Author,
    confirmed: Option<&Confirmed>,
    persist_id: Option<&str>,
) -> Result<Step, Errors> {
    let parameter = match (confirmed, persist_id) {
        (Some(_), _) => Some("confirmed"),
        (_, Some(_)) => Some("persist-id"),
        (None, None) => None,
    };
    if let Some(parameter) = parameter {
        let words =
            format!("{parameter} needs :confirmed-commit, which this device does not announce");
        return Err(RpcError::protocol(ErrorTag::UnknownElement, words)
            .info("bad-element", parameter)
            .into());
    }
    datastore.commit(caller)
}

pub(super) fn discard_changes(datastore: &mut Datastore, caller: &Author) -> Result<Step, Errors> {
    datastore.discard(caller)?;
    Ok(Step::Done)
}
