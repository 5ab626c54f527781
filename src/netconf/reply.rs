//! `<rpc-reply>`: what is echoed of the request, and what came of it.

use std::collections::BTreeSet;

use quick_xml::escape::escape;

use crate::model::error::{NETCONF_NAMESPACE, RpcError};
use crate::protocol::xml::{Attribute, Element, Tag, write_declaration, write_leaf};

/// What an operation gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `<ok/>`.
    Ok,
    /// `<data>` of get and get-config, with these elements inside.
    Data(String),
    /// The output of an rpc or action: elements of the modules' namespaces.
    Output(String),
}

/// The attributes of an `<rpc>`, which its reply repeats unchanged (RFC 6241, section 4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// Ready to be written, each with a space in front.
    attributes: String,
    message_id: Option<String>,
}

impl ReplyHead {
    /// All attributes of the `<rpc>`, and the declarations of the prefixes they may use.
    pub fn of(rpc: &Element<'_>) -> Self {
        let mut head = Self::default();
        for attribute in rpc.tag().attributes().flatten() {
            if attribute.declares() != Some("") {
                head.push(&attribute);
            }
        }
        head
    }

    /// The message-id of a message that is not well-formed or not complete, if its start tag can be read.
    pub fn recover(message: &[u8]) -> Self {
        let text = match std::str::from_utf8(message) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&message[..error.valid_up_to()]).unwrap_or_default(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut head = Self::default();
        if let Some(tag) = Tag::first(text).filter(|tag| tag.local_name() == "rpc") {
            let id = tag
                .attributes()
                .flatten()
                .find(|attribute| attribute.name == "message-id");
            // Echoed unread, so it must not carry over what was wrong with the message.
            let is_plain = |id: &Attribute<'_>| {
                !id.raw
                    .contains(|c: char| matches!(c, '<' | '&') || c.is_control())
            };
            if let Some(id) = id.filter(is_plain) {
                head.push(&id);
            }
        }
        head
    }

    /// `message-id`, if there is one.
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    fn push(&mut self, attribute: &Attribute<'_>) {
        if attribute.name == "message-id" {
            self.message_id = Some(attribute.value().into_owned());
        }
        self.attributes.push(' ');
        self.attributes.push_str(attribute.name);
        self.attributes.push_str("=\"");
        // The request may have had it between single quotes.
        self.attributes
            .push_str(&attribute.raw.replace('"', "&quot;"));
        self.attributes.push('"');
    }
}

/// Writes the reply; `namespace` gives the namespace of a module, for the prefixes of error paths.
pub fn write(
    head: &ReplyHead,
    result: &Result<Reply, Vec<RpcError>>,
    namespace: impl Fn(&str) -> Option<String>,
) -> String {
    let mut xml = format!(
        "<rpc-reply xmlns=\"{NETCONF_NAMESPACE}\"{}>",
        head.attributes
    );
    match result {
        Ok(Reply::Ok) => xml.push_str("<ok/>"),
        Ok(Reply::Output(elements)) => xml.push_str(elements),
        Ok(Reply::Data(elements)) => {
            xml.push_str("<data>");
            xml.push_str(elements);
            xml.push_str("</data>");
        }
        Err(errors) => {
            for error in errors {
                write_error(&mut xml, error, &namespace);
            }
        }
    }
    xml.push_str("</rpc-reply>");
    xml
}

/// One `<rpc-error>`, its elements in the order of RFC 6241, appendix B.
fn write_error(xml: &mut String, error: &RpcError, namespace: &impl Fn(&str) -> Option<String>) {
    xml.push_str("<rpc-error>");
    write_leaf(xml, "error-type", error.error_type.as_str());
    write_leaf(xml, "error-tag", error.tag.as_str());
    write_leaf(xml, "error-severity", "error");
    if let Some(app_tag) = &error.app_tag {
        write_leaf(xml, "error-app-tag", app_tag);
    }
    if let Some(path) = &error.path {
        write_path(xml, path, namespace);
    }
    xml.push_str("<error-message xml:lang=\"en\">");
    xml.push_str(&escape(&*error.message));
    xml.push_str("</error-message>");
    if !error.info.is_empty() {
        xml.push_str("<error-info>");
        for info in &error.info {
            write_info(xml, info.name, info.namespace, &info.value);
        }
        xml.push_str("</error-info>");
    }
    xml.push_str("</rpc-error>");
}

fn write_info(xml: &mut String, name: &str, namespace: &str, value: &str) {
    if namespace == NETCONF_NAMESPACE {
        return write_leaf(xml, name, value);
    }
    xml.push('<');
    xml.push_str(name);
    write_declaration(xml, "", namespace);
    xml.push('>');
    xml.push_str(&escape(value));
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

fn write_path(xml: &mut String, path: &str, namespace: &impl Fn(&str) -> Option<String>) {
    let (path, modules) = qualify(path);
    xml.push_str("<error-path");
    for module in modules {
        if let Some(uri) = namespace(&module) {
            write_declaration(xml, &module, &uri);
        }
    }
    xml.push('>');
    xml.push_str(&escape(path));
    xml.push_str("</error-path>");
}

/// Puts a prefix before each name of a data path, where the path has it only where the module changes: without
/// one an XPath name is in no namespace (XPath 1.0, section 2.3). Also gives the prefixes that are used.
fn qualify(path: &str) -> (String, BTreeSet<String>) {
    let mut modules = BTreeSet::new();
    let mut module = String::new();
    let mut qualified = String::with_capacity(path.len() * 2);
    let mut rest = path;
    let mut quote = None;
    while let Some(character) = rest.chars().next() {
        if quote.is_none() && starts_name(character) {
            let name_length = rest
                .find(|c: char| !is_name_character(c))
                .unwrap_or(rest.len());
            let (name, after) = rest.split_at(name_length);
            rest = after;
            match name.split_once(':') {
                Some((prefix, _)) => prefix.clone_into(&mut module),
                None if module.is_empty() => {}
                None => {
                    qualified.push_str(&module);
                    qualified.push(':');
                }
            }
            if !module.is_empty() {
                modules.insert(module.clone());
            }
            qualified.push_str(name);
            continue;
        }
        quote = match quote {
            None if matches!(character, '\'' | '"') => Some(character),
            Some(open) if open == character => None,
            quote => quote,
        };
        qualified.push(character);
        rest = &rest[character.len_utf8()..];
    }
    (qualified, modules)
}

fn starts_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | ':')
}
