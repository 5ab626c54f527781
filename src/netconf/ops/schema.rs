//! `<get-schema>` (RFC 6022, section 3.1).

use quick_xml::escape::escape;

use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;
use crate::netconf::reply::Reply;

pub(super) fn get_schema(
    schema: Schema,
    identifier: &str,
    version: Option<&str>,
    format: Option<&str>,
) -> Result<Reply, Errors> {
    let refused = |words: String| RpcError::application(ErrorTag::InvalidValue, words);
    let yin = match format {
        None | Some("yang") => false,
        Some("yin") => true,
        Some(other) => {
            return Err(refused(format!("schemas come as yang or yin, not as {other}")).into());
        }
    };
    // An empty version is that of a module without revision.
    let version = version.filter(|version| !version.is_empty());
    let text = schema.text(identifier, version, yin).ok_or_else(|| {
        let version = version
            .map(|version| format!(" of {version}"))
            .unwrap_or_default();
        refused(format!("there is no schema {identifier}{version}"))
    })?;
    Ok(Reply::Output(format!(
        r#"<data xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">{}</data>"#,
        escape(text)
    )))
}
