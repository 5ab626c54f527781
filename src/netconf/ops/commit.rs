//! `<commit>`, `<cancel-commit>` and `<discard-changes>` (RFC 6241, sections 8.3.4 and 8.4).

use crate::datastore::confirm::Request;
use crate::datastore::{Author, Datastore, Step};
use crate::model::error::Errors;

pub(super) fn commit(
    datastore: &mut Datastore,
    caller: &Author,
    request: &Request,
) -> Result<Step, Errors> {
    datastore.commit(caller, request)
}

pub(super) fn cancel_commit(
    datastore: &mut Datastore,
    caller: &Author,
    persist_id: Option<&str>,
) -> Result<Step, Errors> {
    datastore.cancel_commit(caller, persist_id)
}

pub(super) fn discard_changes(datastore: &mut Datastore, caller: &Author) -> Result<Step, Errors> {
    datastore.discard(caller)?;
    Ok(Step::Done)
}
