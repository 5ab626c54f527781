//! The configuration of a device that has none yet.

use std::path::{Path, PathBuf};

use crate::datastore::edit::{self, EditOptions, Operation, Sealer, Secrets};
use crate::model::error::{Errors, RpcError};
use crate::model::paths;
use crate::model::schema::Schema;
use crate::model::tree::Tree;
use crate::model::xml::{self, Element, Scope};

/// Why there is no first configuration.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The file cannot be read.
    #[error("the factory default {path} cannot be read: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no instance data of this device's modules.
    #[error("the factory default {path} is refused: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The agent's own part of the configuration was refused: the modules are not those it was built with.
    #[error("the first configuration is refused: {0}")]
    Own(RpcError),
}

/// Users are managed through ietf-system; groups admin and operator through NACM (the model's first start). Nobody
/// but the group admin may execute anything that is not listed, and an operator's reading stops at the nodes that
/// are denied to all, and at the password hashes, which ietf-system leaves open.
const ACCESS_CONTROL: &str = r#"
<nacm xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm">
  <exec-default>deny</exec-default>
  <groups>
    <group><name>admin</name><user-name>admin</user-name></group>
    <group><name>operator</name></group>
  </groups>
  <rule-list>
    <name>admin</name><group>admin</group>
    <rule><name>everything</name><module-name>*</module-name><access-operations>*</access-operations><action>permit</action></rule>
  </rule-list>
  <rule-list>
    <name>operator</name><group>operator</group>
    <rule><name>get</name><module-name>ietf-netconf</module-name><rpc-name>get</rpc-name><access-operations>exec</access-operations><action>permit</action></rule>
    <rule><name>get-config</name><module-name>ietf-netconf</module-name><rpc-name>get-config</rpc-name><access-operations>exec</access-operations><action>permit</action></rule>
    <rule><name>get-schema</name><module-name>ietf-netconf-monitoring</module-name><rpc-name>get-schema</rpc-name><access-operations>exec</access-operations><action>permit</action></rule>
  </rule-list>
  <rule-list>
    <name>password-hashes</name><group>*</group>
    <rule><name>hidden</name><path xmlns:sys="urn:ietf:params:xml:ns:yang:ietf-system">/sys:system/sys:authentication/sys:user/sys:password</path><access-operations>*</access-operations><action>deny</action></rule>
  </rule-list>
</nacm>"#;

/// The configuration for the first start: the factory default; where it has no user, a user `admin` with this
/// password and the access control that goes with it.
///
/// Returns whether that user was made.
///
/// # Errors
/// A factory default that cannot be used.
pub(super) fn configuration(
    schema: Schema,
    factory_default: Option<&Path>,
    admin_password: &str,
    sealer: &mut dyn Sealer,
) -> Result<(Tree, bool), FirstStartError> {
    let mut tree = Tree::new(schema);
    if let Some(path) = factory_default {
        let refused = |errors: Errors| FirstStartError::Content {
            path: path.to_owned(),
            reason: all(&errors),
        };
        let text = std::fs::read_to_string(path).map_err(|source| FirstStartError::File {
            path: path.to_owned(),
            source,
        })?;
        let content = instance_data(schema, &text).map_err(refused)?;
        merge(&mut tree, &content, sealer).map_err(refused)?;
        // The whole is judged before it becomes what the device starts with.
        tree.duplicate().validate().map_err(refused)?;
    }
    let has_user = tree
        .select(&format!("{}/user", paths::AUTHENTICATION))
        .is_ok_and(|users| !users.is_empty());
    if has_user {
        return Ok((tree, false));
    }
    let own =
        |errors: Errors| FirstStartError::Own(errors.into_iter().next().unwrap_or_else(unknown));
    let password = quick_xml::escape::escape(admin_password);
    let admin = format!(
        r#"<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><authentication><user><name>admin</name>
        <password>$0${password}</password></user></authentication></system>"#
    );
    for part in [admin.as_str(), ACCESS_CONTROL] {
        let content = xml::parse(part, &Scope::default()).map_err(FirstStartError::Own)?;
        merge(&mut tree, &content, sealer).map_err(own)?;
    }
    Ok((tree, true))
}

fn unknown() -> RpcError {
    RpcError::application(crate::model::error::ErrorTag::OperationFailed, "refused")
}

fn all(errors: &Errors) -> String {
    let each: Vec<_> = errors.iter().map(ToString::to_string).collect();
    each.join("; ")
}

fn merge(tree: &mut Tree, content: &[Element], sealer: &mut dyn Sealer) -> Result<(), Errors> {
    let options = EditOptions {
        default: Operation::Merge,
        continue_on_error: false,
    };
    let stored = Tree::new(tree.schema());
    edit::apply(
        tree,
        content,
        options,
        Secrets {
            sealer,
            stored: &stored,
            given: &mut Vec::new(),
        },
    )
}

/// The configuration in an instance data file (RFC 9195) in XML or JSON, or in a file that holds it bare.
fn instance_data(schema: Schema, text: &str) -> Result<Vec<Element>, Errors> {
    if text.trim_start().starts_with('{') {
        let bare = Tree::parse_config_json(schema, &json_content(text)?)?;
        return Ok(xml::parse(&bare.to_xml(), &Scope::default())?);
    }
    let elements = xml::parse(text, &Scope::default())?;
    match elements.into_iter().next() {
        Some(root) if root.name == "instance-data-set" => {
            let content = root
                .children
                .into_iter()
                .find(|child| child.name == "content-data");
            Ok(content.map(|content| content.children).unwrap_or_default())
        }
        Some(root) if matches!(root.name.as_str(), "config" | "data") => Ok(root.children),
        Some(root) => Ok(vec![root]),
        None => Ok(Vec::new()),
    }
}

fn json_content(text: &str) -> Result<String, RpcError> {
    let malformed = |error: serde_json::Error| {
        RpcError::rpc(
            crate::model::error::ErrorTag::MalformedMessage,
            error.to_string(),
        )
    };
    let mut document: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
    let content = document
        .get_mut("ietf-yang-instance-data:instance-data-set")
        .and_then(|set| set.get_mut("content-data"));
    match content {
        Some(content) => Ok(content.take().to_string()),
        None => Ok(document.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::crypt_hash;

    struct Plain;
    impl Sealer for Plain {
        fn seal(
            &mut self,
            typedef: &str,
            value: &str,
            _: Option<&str>,
        ) -> Result<Option<String>, RpcError> {
            match typedef {
                "crypt-hash" => Ok(Some(crypt_hash::replace(
                    value,
                    None,
                    [0; crypt_hash::SALT_LENGTH],
                )?)),
                _ => Ok(None),
            }
        }
    }

    fn first(file: Option<&str>) -> Result<(Tree, bool), FirstStartError> {
        let schema = Schema::load(&[]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("factory");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let (mut tree, made) =
            configuration(schema, file.map(|_| path.as_path()), "secret", &mut Plain)?;
        tree.validate().unwrap();
        Ok((tree, made))
    }

    #[test]
    fn a_device_without_configuration_has_an_admin_and_access_control() {
        let (tree, made) = first(None).unwrap();
        assert!(made);
        let password = tree.value("/ietf-system:system/authentication/user[name='admin']/password");
        crypt_hash::verify("secret", &password.unwrap()).unwrap();
        assert_eq!(
            tree.value("/ietf-netconf-acm:nacm/exec-default").as_deref(),
            Some("deny")
        );
    }

    #[test]
    fn a_factory_default_comes_in_xml_and_in_json() {
        let json = r#"{"ietf-yang-instance-data:instance-data-set":{"name":"x","content-data":{"cloud-management:cloud-management":{"keepalive-interval":60}}}}"#;
        let xml = r#"<?xml version="1.0"?><instance-data-set xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-instance-data"><name>x</name><content-data><cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>60</keepalive-interval></cloud-management></content-data></instance-data-set>"#;
        for text in [json, xml] {
            let (tree, made) = first(Some(text)).unwrap();
            assert!(made);
            assert_eq!(
                tree.value("/cloud-management:cloud-management/keepalive-interval")
                    .as_deref(),
                Some("60")
            );
        }
    }

    #[test]
    fn a_bad_factory_default_is_refused_with_its_reason() {
        let error = first(Some(
            r#"<cloud-management xmlns="urn:tether:yang:cloud-management"><keepalive-interval>9</keepalive-interval></cloud-management>"#,
        ));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("keepalive-interval")
        );
        assert!(first(Some("{")).is_err());
    }
}
