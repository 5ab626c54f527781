//! `<rpc-reply>`: what is echoed of the request, and what came of it.

use std::collections::BTreeSet;

use quick_xml::escape::escape;

use super::subscription::Subscribed;
use crate::datastore::retrieval::Pieces;
use crate::model::error::{ErrorInfo, NETCONF_NAMESPACE, RpcError};
use crate::protocol::xml::{Attribute, Element, Tag, write_declaration, write_leaf};

/// What an operation gives back.
#[derive(Debug)]
pub enum Reply {
    /// `<ok/>`.
    Ok,
    /// `<data>` of get, get-config and get-data.
    Data(Data),
    /// The output of an rpc or action: elements of the modules' namespaces.
    Output(String),
    /// As [`Reply::Output`], `<ok/>` if that is empty; and a subscription of the session begins.
    Subscribed(Box<Subscribed>, String),
}

/// A `<data>` element, which may be larger than all memory: it is made as it is sent.
#[derive(Debug)]
pub struct Data {
    namespace: Option<&'static str>,
    pieces: Box<Pieces>,
}

impl Data {
    /// With what was retrieved inside, of the namespace of the operation, if that is not NETCONF's own.
    pub fn new(pieces: Pieces, namespace: Option<&'static str>) -> Self {
        Self {
            namespace,
            pieces: Box::new(pieces),
        }
    }

    /// What the reply says before the first piece; see [`Data::next_piece`].
    pub fn start(&self, head: &ReplyHead) -> String {
        let mut xml = start(head);
        xml.push_str("<data");
        if let Some(namespace) = self.namespace {
            write_declaration(&mut xml, "", namespace);
        }
        xml.push('>');
        xml
    }

    /// The next piece of the content; behind the last one follows [`Data::end`].
    pub fn next_piece(&mut self) -> Option<String> {
        self.pieces.next_piece()
    }

    /// What the reply says after the last piece.
    pub fn end() -> &'static str {
        "</data></rpc-reply>"
    }
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

fn start(head: &ReplyHead) -> String {
    format!(
        "<rpc-reply xmlns=\"{NETCONF_NAMESPACE}\"{}>",
        head.attributes
    )
}

/// A reply without anything to tell, or with the output of an rpc or action.
pub fn write(head: &ReplyHead, output: &str) -> String {
    let mut xml = start(head);
    xml.push_str(if output.is_empty() { "<ok/>" } else { output });
    xml.push_str("</rpc-reply>");
    xml
}

/// A refusal; `namespace` gives the namespace of a module, for the prefixes of error paths.
pub fn write_errors(
    head: &ReplyHead,
    errors: &[RpcError],
    namespace: impl Fn(&str) -> Option<String>,
) -> String {
    let mut xml = start(head);
    for error in errors {
        write_error(&mut xml, error, &namespace);
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
            write_info(xml, info, namespace);
        }
        xml.push_str("</error-info>");
    }
    xml.push_str("</rpc-error>");
}

fn write_info(xml: &mut String, info: &ErrorInfo, namespace: &impl Fn(&str) -> Option<String>) {
    if info.namespace == NETCONF_NAMESPACE {
        return write_leaf(xml, info.name, &info.value);
    }
    xml.push('<');
    xml.push_str(info.name);
    write_declaration(xml, "", info.namespace);
    // RFC 7950, section 15.1: an instance-identifier, with its prefixes.
    let value = match info.name {
        "non-unique" => declare(xml, &info.value, namespace),
        _ => info.value.clone(),
    };
    xml.push('>');
    xml.push_str(&escape(value));
    for (name, text) in &info.inside {
        write_inner(xml, name, text, namespace);
    }
    xml.push_str("</");
    xml.push_str(info.name);
    xml.push('>');
}

/// An element inside another; see [`ErrorInfo::inside`].
fn write_inner(
    xml: &mut String,
    name: &str,
    text: &str,
    namespace: &impl Fn(&str) -> Option<String>,
) {
    xml.push('<');
    xml.push_str(name);
    let module = text.split_once(':').map(|(module, _)| module);
    if let Some((module, uri)) = module.and_then(|module| Some((module, namespace(module)?))) {
        write_declaration(xml, module, &uri);
    }
    xml.push('>');
    xml.push_str(&escape(text));
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

fn write_path(xml: &mut String, path: &str, namespace: &impl Fn(&str) -> Option<String>) {
    xml.push_str("<error-path");
    let path = declare(xml, path, namespace);
    xml.push('>');
    xml.push_str(&escape(path));
    xml.push_str("</error-path>");
}

/// Declares, in a start tag, the prefixes of a data path, and returns the path with one before each name.
fn declare(xml: &mut String, path: &str, namespace: &impl Fn(&str) -> Option<String>) -> String {
    let (path, modules) = qualify(path);
    for module in modules {
        if let Some(uri) = namespace(&module) {
            write_declaration(xml, &module, &uri);
        }
    }
    path
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::{ErrorTag, ErrorType};
    use crate::protocol::xml::Document;

    fn namespace(module: &str) -> Option<String> {
        (module != "unknown").then(|| format!("urn:{module}"))
    }

    fn head(rpc: &str) -> ReplyHead {
        ReplyHead::of(Document::parse(rpc.as_bytes(), 16).unwrap().root())
    }

    fn written(errors: &[RpcError]) -> String {
        let xml = write_errors(&ReplyHead::default(), errors, namespace);
        let document = Document::parse(xml.as_bytes(), 256).unwrap();
        assert!(document.root().is(NETCONF_NAMESPACE, "rpc-reply"));
        let start = format!("<rpc-reply xmlns=\"{NETCONF_NAMESPACE}\">");
        xml.strip_prefix(&start)
            .unwrap()
            .strip_suffix("</rpc-reply>")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn all_attributes_of_the_rpc_are_echoed() {
        // RFC 6241, section 4.2.
        let rpc = format!(
            "<rpc message-id='101' xmlns='{NETCONF_NAMESPACE}' xmlns:ex='http://example.net/content/1.0' ex:user-id='fr\"ed &lt;&#x9;' xml:lang=\"de\"><get/></rpc>"
        );
        let reply = write(&head(&rpc), "");
        let document = Document::parse(reply.as_bytes(), 16).unwrap();
        let attributes: Vec<_> = document.root().attributes().collect();
        assert_eq!(attributes[0], ("", "message-id", "101".into()));
        assert_eq!(
            attributes[1],
            (
                "http://example.net/content/1.0",
                "user-id",
                "fr\"ed <\t".into()
            )
        );
        assert_eq!(attributes[2].1, "lang");
        assert!(
            document
                .root()
                .children()
                .next()
                .unwrap()
                .is(NETCONF_NAMESPACE, "ok")
        );
    }

    #[test]
    fn a_prefixed_rpc_is_answered_without_prefix() {
        let rpc = format!("<nc:rpc xmlns:nc='{NETCONF_NAMESPACE}' message-id='1'/>");
        let reply = write(&head(&rpc), "<data/>");
        let expected = format!(
            "<rpc-reply xmlns=\"{NETCONF_NAMESPACE}\" xmlns:nc=\"{NETCONF_NAMESPACE}\" message-id=\"1\"><data/></rpc-reply>"
        );
        assert_eq!(reply, expected);
    }

    #[test]
    fn the_message_id_of_a_broken_message_is_found_if_it_is_plain() {
        let id = |text: &[u8]| ReplyHead::recover(text).message_id().map(str::to_owned);
        assert_eq!(
            id(b"<?xml version='1.0'?><!-- --><x:rpc message-id=\"7\"><get"),
            Some("7".into())
        );
        assert_eq!(
            id(b"\xef\xbb\xbf<rpc message-id='7'>\xff"),
            Some("7".into())
        );
        assert_eq!(id(b"<rpc message-id='7"), None);
        assert_eq!(id(b"<rpc message-id='&x;'>"), None);
        assert_eq!(id(b"<rpc message-id='a\x01b'>"), None);
        assert_eq!(id(b"<other message-id='7'>"), None);
        assert_eq!(id(b"\xff"), None);
    }

    #[test]
    fn an_error_has_its_elements_in_the_order_of_the_schema() {
        let error = RpcError::new(ErrorType::Application, ErrorTag::InvalidValue, "1 < 2")
            .at("/m:a/b[name='x:y']/n:c")
            .app_tag("too-small")
            .info("bad-element", "c")
            .yang_info("non-unique", "/m:d");
        let expected = "<rpc-error><error-type>application</error-type><error-tag>invalid-value</error-tag>\
            <error-severity>error</error-severity><error-app-tag>too-small</error-app-tag>\
            <error-path xmlns:m=\"urn:m\" xmlns:n=\"urn:n\">/m:a/m:b[m:name=&apos;x:y&apos;]/n:c</error-path>\
            <error-message xml:lang=\"en\">1 &lt; 2</error-message>\
            <error-info><bad-element>c</bad-element><non-unique xmlns=\"urn:ietf:params:xml:ns:yang:1\" xmlns:m=\"urn:m\">/m:d</non-unique></error-info></rpc-error>";
        assert_eq!(written(&[error]), expected);
    }

    #[test]
    fn several_errors_stand_side_by_side() {
        let error = RpcError::protocol(ErrorTag::InUse, "busy");
        assert_eq!(
            written(&[error.clone(), error])
                .matches("<rpc-error>")
                .count(),
            2
        );
    }

    #[test]
    fn every_step_of_a_path_gets_its_prefix() {
        let qualified = |path: &str| qualify(path).0;
        assert_eq!(qualified("/m:a/b-c/d.e"), "/m:a/m:b-c/m:d.e");
        assert_eq!(
            qualified("/m:a[k1='it\"s b/c'][k2=\"q'\"]/n:b[.='x y']"),
            "/m:a[m:k1='it\"s b/c'][m:k2=\"q'\"]/n:b[.='x y']"
        );
        assert_eq!(qualified("/m:a[3]/b"), "/m:a[3]/m:b");
        assert_eq!(qualified("/a/b"), "/a/b");
        assert_eq!(qualified("/m:a[k='é']"), "/m:a[m:k='é']");
        assert_eq!(qualified(""), "");
        assert!(
            written(&[RpcError::protocol(ErrorTag::InUse, "").at("/unknown:a")])
                .contains("<error-path>")
        );
    }
}
