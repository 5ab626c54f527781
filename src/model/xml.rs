//! XML elements as an operation sees them: names resolved to namespaces, and the prefixes in scope for values.
//!
//! The lexer is quick-xml; what it does not check (unbound prefixes, unclosed elements, DTDs) is checked here.

use std::collections::BTreeMap;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::error::{ErrorTag, RpcError};

/// Prefixes in scope; the empty prefix is the default namespace.
///
/// An element adds its own declarations to those around it without copying them: a document of many elements that
/// declare something, below many declarations, would else take thousands of times its length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope(Option<Arc<Declarations>>);

/// What one element declares, within the scope around it.
#[derive(Debug, PartialEq)]
struct Declarations {
    own: BTreeMap<String, String>,
    outer: Scope,
}

impl Scope {
    /// Declarations around a document.
    pub fn new(own: BTreeMap<String, String>) -> Self {
        Self::default().with(own)
    }

    /// The scope inside an element of this one that declares `own`.
    fn with(&self, own: BTreeMap<String, String>) -> Self {
        if own.is_empty() {
            return self.clone();
        }
        let outer = self.clone();
        Self(Some(Arc::new(Declarations { own, outer })))
    }

    /// The namespace of a prefix.
    pub fn get(&self, prefix: &str) -> Option<&str> {
        let found = self.levels().find_map(|level| level.own.get(prefix));
        found.map(String::as_str)
    }

    /// Every prefix that is bound here, with its namespace.
    pub fn in_force(&self) -> BTreeMap<&str, &str> {
        let mut bound = BTreeMap::new();
        for (prefix, namespace) in self.levels().flat_map(|level| &level.own) {
            bound.entry(prefix.as_str()).or_insert(namespace.as_str());
        }
        bound
    }

    /// The innermost first.
    fn levels(&self) -> impl Iterator<Item = &Declarations> {
        std::iter::successors(self.0.as_deref(), |level| level.outer.0.as_deref())
    }
}

/// An attribute that is no namespace declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its namespace; an attribute without prefix has none.
    pub namespace: Option<String>,
    /// Local name.
    pub name: String,
    /// Value, entities resolved.
    pub value: String,
}

/// An element with everything in it.
#[derive(Clone, Debug)]
pub struct Element {
    /// Its namespace; empty when it has none.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// Attributes, namespace declarations left out.
    pub attributes: Vec<Attribute>,
    /// All character data directly in it, CDATA included, as it stands.
    pub text: String,
    /// Child elements, in order.
    pub children: Vec<Element>,
    /// The prefixes that values in it may use.
    pub scope: Scope,
}

impl Element {
    /// The value of an attribute.
    pub fn attribute(&self, namespace: Option<&str>, name: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|a| a.name == name && a.namespace.as_deref() == namespace);
        found.map(|attribute| attribute.value.as_str())
    }
}

/// Elements nested deeper than this are refused (the default of the message-depth limit, far below any stack).
const MAX_DEPTH: usize = 1024;

/// Elements of one document, at the most: each takes some 200 octets however short it is written, so the shortest ones
/// would take fifty times the length of their message.
const MOST_ELEMENTS: usize = 1 << 20;

fn malformed(message: impl Into<String>) -> RpcError {
    RpcError::rpc(ErrorTag::MalformedMessage, message)
}

/// Reads any number of sibling elements; text between them is ignored.
///
/// `outer` holds the prefixes that the surrounding document declares.
///
/// # Errors
/// `malformed-message` for anything that is not well-formed, a DTD, or a prefix that nobody declared; `too-big` for more
/// than a million elements.
pub fn parse(xml: &str, outer: &Scope) -> Result<Vec<Element>, RpcError> {
    parse_at_most(MOST_ELEMENTS, xml, outer)
}

/// The same with at most so many elements.
///
/// # Errors
/// As [`parse`]; `too-big` for more elements.
pub fn parse_at_most(most: usize, xml: &str, outer: &Scope) -> Result<Vec<Element>, RpcError> {
    let mut left = most;
    let mut count = || {
        left = left.checked_sub(1).ok_or_else(|| {
            let words = format!("there are more than {most} elements");
            RpcError::protocol(ErrorTag::TooBig, words)
        })?;
        Ok::<(), RpcError>(())
    };
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<Element> = Vec::new();
    let mut done = Vec::new();
    loop {
        match reader
            .read_event()
            .map_err(|error| malformed(format!("not well-formed XML: {error}")))?
        {
            Event::Start(tag) => {
                if open.len() >= MAX_DEPTH {
                    return Err(malformed("elements are nested too deep"));
                }
                count()?;
                let element = start(&tag, open.last().map_or(outer, |parent| &parent.scope))?;
                open.push(element);
            }
            Event::Empty(tag) => {
                count()?;
                let element = start(&tag, open.last().map_or(outer, |parent| &parent.scope))?;
                close(element, &mut open, &mut done);
            }
            Event::End(_) => match open.pop() {
                Some(element) => close(element, &mut open, &mut done),
                None => return Err(malformed("an end tag without its start tag")),
            },
            Event::Text(text) => push_text(&mut open, &text),
            Event::CData(text) => push_text(&mut open, &text),
            Event::GeneralRef(name) => push_text(&mut open, &reference(&name)?),
            Event::DocType(_) => {
                return Err(malformed("a document type declaration is not allowed"));
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
    match open.is_empty() {
        true => Ok(done),
        false => Err(malformed("an element is not closed")),
    }
}

fn close(element: Element, open: &mut [Element], done: &mut Vec<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => done.push(element),
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// The text of `&name;`: a predefined entity or a character reference (XML 1.0, section 4.1 and 4.6).
fn reference(name: &str) -> Result<String, RpcError> {
    if let Some(text) = resolve_predefined_entity(name) {
        return Ok(text.to_owned());
    }
    let code = match name.strip_prefix('#') {
        Some(hex) if hex.starts_with('x') => u32::from_str_radix(&hex[1..], 16).ok(),
        Some(decimal) => decimal.parse().ok(),
        None => None,
    };
    let character = code
        .and_then(char::from_u32)
        .filter(|c| is_xml_character(*c));
    character
        .map(String::from)
        .ok_or_else(|| malformed(format!("&{name}; is no known entity or character")))
}

/// Text of a stranger as it may stand in a leaf and on a terminal: without control characters and what XML has no place
/// for, and no longer than this.
pub fn presentable(text: &str, longest: usize) -> String {
    text.chars()
        .filter(|c| is_xml_character(*c) && !c.is_control())
        .take(longest)
        .collect()
}

/// Whether XML has a place for a character (XML 1.0, section 2.2).
pub fn is_xml_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn start(tag: &BytesStart<'_>, outer: &Scope) -> Result<Element, RpcError> {
    let mut plain = Vec::new();
    let mut declared = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute =
            attribute.map_err(|error| malformed(format!("a bad attribute: {error}")))?;
        let value = unescape(&attribute.value)?;
        let key: &str = attribute.key.as_ref();
        match key.strip_prefix("xmlns") {
            Some("") => drop(declared.insert(String::new(), value)),
            Some(rest) if rest.starts_with(':') => {
                declared.insert(rest[1..].to_owned(), value);
            }
            _ => plain.push((key.to_owned(), value)),
        }
    }
    let scope = outer.with(declared);
    let tag_name = tag.name();
    let (prefix, name) = split(tag_name.as_ref());
    let namespace = match prefix {
        Some(prefix) => bound(&scope, prefix)?,
        None => scope.get("").unwrap_or_default().to_owned(),
    };
    let mut attributes = Vec::with_capacity(plain.len());
    for (key, value) in plain {
        let (prefix, name) = split(&key);
        let namespace = prefix.map(|prefix| bound(&scope, prefix)).transpose()?;
        attributes.push(Attribute {
            namespace,
            name: name.to_owned(),
            value,
        });
    }
    Ok(Element {
        namespace,
        name: name.to_owned(),
        attributes,
        text: String::new(),
        children: Vec::new(),
        scope,
    })
}

/// Prefix and local name of a qualified name.
fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, name),
    }
}

fn bound(scope: &Scope, prefix: &str) -> Result<String, RpcError> {
    if prefix == "xml" {
        return Ok("http://www.w3.org/XML/1998/namespace".to_owned());
    }
    scope
        .get(prefix)
        .map(str::to_owned)
        .ok_or_else(|| malformed(format!("the prefix {prefix:?} is not declared")))
}

fn unescape(raw: &str) -> Result<String, RpcError> {
    let Some(first) = raw.find('&') else {
        return Ok(raw.to_owned());
    };
    let mut text = raw[..first].to_owned();
    let mut rest = &raw[first..];
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        let end = rest[at..]
            .find(';')
            .ok_or_else(|| malformed("an ampersand that starts no reference"))?;
        text.push_str(&reference(&rest[at + 1..at + end])?);
        rest = &rest[at + end + 1..];
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(xml: &str) -> Result<Element, RpcError> {
        parse(xml, &Scope::default()).map(|mut elements| elements.swap_remove(0))
    }

    #[test]
    fn names_and_attributes_are_resolved_with_the_prefixes_in_scope() {
        let element = one(r#"<a xmlns="urn:a" xmlns:b="urn:b" b:op="x"><b:c d='1'/></a>"#).unwrap();
        assert_eq!(
            (element.namespace.as_str(), element.name.as_str()),
            ("urn:a", "a")
        );
        assert_eq!(element.attribute(Some("urn:b"), "op"), Some("x"));
        assert_eq!(element.children[0].namespace, "urn:b");
        assert_eq!(element.children[0].attribute(None, "d"), Some("1"));
    }

    #[test]
    fn an_inner_declaration_hides_an_outer_one() {
        let element =
            one(r#"<p:a xmlns:p="urn:1" xmlns:q="urn:2"><p:b xmlns:p="urn:3"/></p:a>"#).unwrap();
        let inside = &element.children[0];
        assert_eq!(inside.namespace, "urn:3");
        assert_eq!(
            inside.scope.in_force(),
            [("p", "urn:3"), ("q", "urn:2")].into()
        );
        assert_eq!(element.scope.get("p"), Some("urn:1"));
    }

    #[test]
    fn elements_that_declare_something_do_not_copy_what_they_inherit() {
        let outer: String = (0..1000)
            .map(|n| format!(" xmlns:p{n}='urn:{n}'"))
            .collect();
        let inner = "<b xmlns:q='urn:q'/>".repeat(1000);
        let element = one(&format!("<a{outer}>{inner}</a>")).unwrap();
        for child in &element.children {
            let level = child.scope.0.as_ref().unwrap();
            assert_eq!(level.own.len(), 1);
            assert!(Arc::ptr_eq(
                level.outer.0.as_ref().unwrap(),
                element.scope.0.as_ref().unwrap()
            ));
        }
    }

    #[test]
    fn more_elements_than_are_accepted_are_too_big() {
        let within = parse_at_most(3, "<a><b/></a><c/>", &Scope::default());
        assert_eq!(within.unwrap().len(), 2);
        let beyond = parse_at_most(3, "<a><b/></a><c/><d>", &Scope::default());
        assert_eq!(beyond.unwrap_err().tag, ErrorTag::TooBig);
    }

    #[test]
    fn references_and_cdata_become_text() {
        let element = one("<a>x&amp;&#65;&#x42;<![CDATA[<c>]]>y</a>").unwrap();
        assert_eq!(element.text, "x&AB<c>y");
        assert_eq!(
            one("<a b='&quot;&#x9;'/>").unwrap().attributes[0].value,
            "\"\t"
        );
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for bad in [
            "<a>",
            "</a>",
            "<a></b>",
            "<p:a/>",
            "<!DOCTYPE a><a/>",
            "<a>&nope;</a>",
            "<a>&#0;</a>",
            "<a b=c/>",
        ] {
            assert_eq!(
                one(bad).map(|_| ()).unwrap_err().tag,
                ErrorTag::MalformedMessage,
                "{bad}"
            );
        }
        let deep = "<a>".repeat(100_000);
        assert!(one(&deep).is_err());
    }
}
