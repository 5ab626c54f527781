//! `<get-schema>` (RFC 6022, section 3.1).

use quick_xml::escape::escape;

use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::{Schema, SchemaText};
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
    let is_asked = |text: &SchemaText| {
        text.identifier == identifier && version.is_none_or(|version| text.version == version)
    };
    let found: Vec<_> = schema.texts().into_iter().filter(is_asked).collect();
    let text = match found.as_slice() {
        [text] => schema.text(text, yin).ok_or_else(|| {
            let words = format!("the schema {identifier} cannot be written");
            RpcError::application(ErrorTag::OperationFailed, words)
        })?,
        [] => {
            let version = version.map(|version| format!(" of revision \"{version}\""));
            let version = version.unwrap_or_default();
            return Err(refused(format!("there is no schema {identifier}{version}")).into());
        }
        several => {
            let versions: Vec<_> = several.iter().map(|text| text.version.as_str()).collect();
            let words = format!(
                "there are several schemas {identifier}; ask for one of the versions {}",
                versions.join(", ")
            );
            return Err(RpcError::application(ErrorTag::OperationFailed, words)
                .app_tag("data-not-unique")
                .into());
        }
    };
    Ok(Reply::Output(format!(
        r#"<data xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">{}</data>"#,
        escape(text)
    )))
}
