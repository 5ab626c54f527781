//! `<lock>` and `<unlock>` (RFC 6241, sections 7.5 and 7.6).

use crate::datastore::{Author, Datastore, Step, Target};
use crate::model::error::Errors;

pub(super) fn lock(
    datastore: &mut Datastore,
    caller: &Author,
    target: Target,
) -> Result<Step, Errors> {
    datastore.lock(target, caller)?;
    Ok(Step::Done)
}

pub(super) fn unlock(
    datastore: &mut Datastore,
    caller: &Author,
    target: Target,
) -> Result<Step, Errors> {
    datastore.unlock(target, caller.session)?;
    Ok(Step::Done)
}
