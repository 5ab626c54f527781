//! `<edit-data>` (RFC 8526, section 3.1.2).

use super::get_data::stored;
use super::parameters::Parameters;
use super::{EditData, Rpc};
use crate::model::error::RpcError;
use crate::protocol::xml::Element;

pub(super) fn edit_data(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    // `url` is there only with its feature.
    let parameters = Parameters::read(operation, &["datastore", "default-operation", "config"])?;
    Ok(Rpc::EditData(EditData {
        datastore: stored(&parameters)?,
        default_operation: parameters.default_operation()?,
        config: parameters
            .content("config")?
            .ok_or_else(|| parameters.missing("config"))?,
    }))
}
