//! `<edit-data>` (RFC 8526, section 3.1.2).

use super::get_data::stored;
use super::parameters::Parameters;
use super::{Datastore, EditData, Rpc, Stored};
use crate::model::error::RpcError;
use crate::protocol::xml::Element;

pub(super) fn edit_data(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    // `url` is there only with its feature.
    let parameters = Parameters::read(
        operation,
        &["datastore", "default-operation", "config", "comment"],
    )?;
    let datastore = stored(&parameters)?;
    let is_running = datastore == Stored::Conventional(Datastore::Running);
    Ok(Rpc::EditData(EditData {
        datastore,
        comment: parameters.comment(is_running)?,
        default_operation: parameters.default_operation()?,
        config: parameters
            .content("config")?
            .ok_or_else(|| parameters.missing("config"))?,
    }))
}
