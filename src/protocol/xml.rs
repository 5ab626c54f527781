//! The XML of the message layer: what lies around the data that libyang parses.
//!
//! [`Document::parse`] reads a message once and refuses whatever is not well-formed; after that the elements are
//! views of the same text, read only when they are asked for, so that a message costs no memory besides its text.

mod check;
mod tag;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

pub use tag::{Attribute, Tag};

/// The namespace to which the prefix `xml` is always bound (Namespaces in XML 1.0, section 3).
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// Namespace declarations in force at one place of a message, at the most: more is no honest message, and each
/// of them may have to be copied to every fragment that is taken out of its context.
pub const MAX_DECLARATIONS: usize = 1024;
/// Attributes of one element, at the most.
pub const MAX_ATTRIBUTES: usize = 1024;

/// Why octets are not a message; the `malformed-message` of RFC 6241, appendix A.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// RFC 6242, section 3: messages are in UTF-8.
    #[error("the message is not in UTF-8")]
    NotUtf8,
    /// The XML declaration names another encoding or version.
    #[error("the XML declaration asks for something other than XML 1.0 in UTF-8")]
    Declaration,
    /// A character that XML does not have, written as it is or as a reference.
    #[error("a character that is not allowed in XML at octet {at}")]
    Character {
        /// Octet of the message.
        at: usize,
    },
    /// RFC 6241, section 3: document type declarations must not appear.
    #[error("a document type declaration")]
    DocumentType,
    /// Elements nested deeper than the limit.
    #[error("elements nested more than {limit} deep")]
    TooDeep {
        /// The limit that was passed.
        limit: usize,
    },
    /// Markup that cannot be read.
    #[error("{reason} at octet {at}")]
    Syntax {
        /// What is wrong, for a person.
        reason: String,
        /// Octet of the message.
        at: usize,
    },
    /// The end before all elements are closed.
    #[error("the message ends inside element \"{name}\"")]
    Unclosed {
        /// The innermost open element, as written.
        name: String,
    },
    /// No element at all.
    #[error("the message has no element")]
    NoRoot,
    /// Text or a second element beside the root element.
    #[error("content outside the root element at octet {at}")]
    OutsideRoot {
        /// Octet of the message.
        at: usize,
    },
    /// A name that XML and its namespaces do not allow.
    #[error("\"{name}\" is not a name")]
    Name {
        /// The name, as written.
        name: String,
    },
    /// A prefix without a declaration in force.
    #[error("the prefix \"{prefix}\" is not bound to a namespace")]
    UnboundPrefix {
        /// The prefix.
        prefix: String,
    },
    /// A namespace declaration that is not allowed.
    #[error("a forbidden declaration of the prefix \"{prefix}\"")]
    ForbiddenDeclaration {
        /// The prefix.
        prefix: String,
    },
    /// The same attribute twice.
    #[error("the attribute \"{name}\" stands twice in one element")]
    DuplicateAttribute {
        /// The attribute, as written.
        name: String,
    },
    /// More than [`MAX_DECLARATIONS`] or [`MAX_ATTRIBUTES`].
    #[error("more attributes or namespace declarations than are accepted")]
    TooManyAttributes,
}

/// A well-formed message.
#[derive(Debug)]
pub struct Document<'a> {
    root: Element<'a>,
}

impl<'a> Document<'a> {
    /// Checks the whole message; `depth` is the greatest number of elements nested in one another.
    ///
    /// # Errors
    /// The message is not well-formed, or has a document type declaration.
    pub fn parse(message: &'a [u8], depth: usize) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(message).map_err(|_| XmlError::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        check::check(text, depth)?;
        let nothing = Rc::new(Scope {
            parent: None,
            declared: Vec::new(),
        });
        let root = Children::new(text, 0..text.len(), nothing)
            .next()
            .ok_or(XmlError::NoRoot)?;
        Ok(Self { root })
    }

    /// The root element.
    pub fn root(&self) -> &Element<'a> {
        &self.root
    }
}

/// The namespace declarations of one element, and of those around it.
#[derive(Debug)]
struct Scope<'a> {
    parent: Option<Rc<Scope<'a>>>,
    declared: Vec<(&'a str, Cow<'a, str>)>,
}

impl Scope<'_> {
    /// The namespace of a prefix, where the empty prefix is the default namespace.
    fn resolve(&self, prefix: &str) -> Option<&str> {
        if prefix == "xml" {
            return Some(XML_NAMESPACE);
        }
        let own = self
            .declared
            .iter()
            .find(|(declared, _)| *declared == prefix);
        match (own, &self.parent) {
            (Some((_, uri)), _) => Some(uri),
            (None, Some(parent)) => parent.resolve(prefix),
            (None, None) => None,
        }
    }

    /// Every prefix that is bound here, with its namespace.
    fn in_force(&self) -> Vec<(&str, &str)> {
        let mut seen = HashSet::new();
        let mut declarations = Vec::new();
        let mut scope = Some(self);
        while let Some(here) = scope {
            let new = here
                .declared
                .iter()
                .filter(|(prefix, _)| seen.insert(*prefix));
            declarations.extend(new.map(|(prefix, uri)| (*prefix, &**uri)));
            scope = here.parent.as_deref();
        }
        declarations
    }
}

/// One element of a checked message.
#[derive(Clone, Debug)]
pub struct Element<'a> {
    text: &'a str,
    tag: Tag<'a>,
    /// From `<` to the last `>`.
    range: Range<usize>,
    /// Between the tags.
    content: Range<usize>,
    scope: Rc<Scope<'a>>,
}

impl<'a> Element<'a> {
    /// The name without its prefix.
    pub fn name(&self) -> &'a str {
        self.tag.local_name()
    }

    /// The namespace; empty for none.
    pub fn namespace(&self) -> &str {
        self.scope.resolve(self.tag.prefix()).unwrap_or_default()
    }

    /// Whether this is the element `name` of `namespace`.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.name() == name && self.namespace() == namespace
    }

    /// Octets from the start tag to the end tag.
    #[allow(clippy::len_without_is_empty)] // no element is empty of octets
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// The start tag, with the attributes as written.
    pub fn tag(&self) -> &Tag<'a> {
        &self.tag
    }

    /// The value of an attribute without a namespace.
    pub fn attribute(&self, name: &str) -> Option<Cow<'a, str>> {
        self.tag
            .attributes()
            .flatten()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value())
    }

    /// The attributes that are not namespace declarations: namespace (empty for none), name, value.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &'a str, Cow<'a, str>)> {
        self.tag
            .attributes()
            .flatten()
            .filter(|attribute| attribute.declares().is_none())
            .map(|attribute| {
                let (prefix, name) = attribute.split();
                let namespace = if prefix.is_empty() {
                    None
                } else {
                    self.scope.resolve(prefix)
                };
                (namespace.unwrap_or_default(), name, attribute.value())
            })
    }

    /// The prefixes that are bound inside, each with its namespace; the empty one is the default namespace.
    pub fn declarations(&self) -> Vec<(String, String)> {
        let bound = self.scope.in_force();
        let owned = |(prefix, uri): (&str, &str)| (prefix.to_owned(), uri.to_owned());
        bound.into_iter().map(owned).collect()
    }

    /// The elements directly inside.
    pub fn children(&self) -> impl Iterator<Item = Element<'a>> {
        Children::new(self.text, self.content.clone(), Rc::clone(&self.scope))
    }

    /// The character data, or `None` if there is an element inside.
    pub fn leaf_text(&self) -> Option<String> {
        let mut text = String::new();
        let mut reader = Reader::from_str(&self.text[self.content.clone()]);
        loop {
            match reader.read_event().ok()? {
                Event::Text(piece) => text.push_str(&piece),
                Event::CData(piece) => text.push_str(&piece),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                    Some(character) => text.push(character),
                    None => text.push_str(resolve_predefined_entity(&reference)?),
                },
                Event::Start(_) | Event::Empty(_) | Event::End(_) => return None,
                Event::Eof => return Some(text),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {}
            }
        }
    }

    /// The element by itself: as written, with those namespace declarations added to its start tag that it has
    /// from the elements around it. All of them, since a value may use a prefix too (RFC 7950, section 9.10.3).
    pub fn standalone(&self) -> String {
        let mut xml = String::new();
        let around = self
            .scope
            .parent
            .as_ref()
            .map(|scope| scope.in_force())
            .unwrap_or_default();
        self.write_standalone(&mut xml, &around);
        xml
    }

    /// The elements inside, each [standalone](Self::standalone), one after the other; `None` when the copies of the
    /// namespace declarations would make that longer than `limit` octets.
    pub fn standalone_children(&self, limit: usize) -> Option<String> {
        let mut xml = String::new();
        let around = self.scope.in_force();
        for child in self.children() {
            child.write_standalone(&mut xml, &around);
            if xml.len() > limit {
                return None;
            }
        }
        Some(xml)
    }

    fn write_standalone(&self, xml: &mut String, around: &[(&str, &str)]) {
        let own: HashSet<&str> = self
            .scope
            .declared
            .iter()
            .map(|(prefix, _)| *prefix)
            .collect();
        let after_name = self.range.start + 1 + self.tag.name().len();
        xml.push_str(&self.text[self.range.start..after_name]);
        for (prefix, uri) in around.iter().filter(|(prefix, _)| !own.contains(prefix)) {
            write_declaration(xml, prefix, uri);
        }
        xml.push_str(&self.text[after_name..self.range.end]);
    }
}

/// Reads the elements of one level, one at a time.
struct Children<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    offset: usize,
    scope: Rc<Scope<'a>>,
}

impl<'a> Children<'a> {
    fn new(text: &'a str, content: Range<usize>, scope: Rc<Scope<'a>>) -> Self {
        let reader = Reader::from_str(&text[content.clone()]);
        Self {
            text,
            reader,
            offset: content.start,
            scope,
        }
    }

    fn here(&self) -> usize {
        self.offset + usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// Reads up to the end of the element whose start tag has just been read: start and end of its end tag.
    fn end(&mut self) -> Option<Range<usize>> {
        let mut depth = 0usize;
        loop {
            let start = self.here();
            match self.reader.read_event().ok()? {
                Event::Start(_) => depth += 1,
                Event::End(_) if depth == 0 => return Some(start..self.here()),
                Event::End(_) => depth -= 1,
                Event::Eof => return None,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let start = self.here();
            let event = self.reader.read_event().ok()?;
            let opened = self.here();
            let end_tag = match event {
                Event::Start(_) => self.end()?,
                Event::Empty(_) => opened..opened,
                Event::Eof => return None,
                _ => continue,
            };
            let tag = Tag::new(&self.text[start..opened]);
            let declared = tag.declarations().collect();
            let scope = Rc::new(Scope {
                parent: Some(Rc::clone(&self.scope)),
                declared,
            });
            let content = opened..end_tag.start;
            return Some(Element {
                text: self.text,
                tag,
                range: start..end_tag.end,
                content,
                scope,
            });
        }
    }
}

/// Writes ` xmlns:prefix="uri"`, or ` xmlns="uri"` for the empty prefix.
pub fn write_declaration(xml: &mut String, prefix: &str, uri: &str) {
    xml.push_str(" xmlns");
    if !prefix.is_empty() {
        xml.push(':');
        xml.push_str(prefix);
    }
    xml.push_str("=\"");
    xml.push_str(&escape(uri));
    xml.push('"');
}

/// Writes `<name>text</name>`, the text escaped.
pub fn write_leaf(xml: &mut String, name: &str, text: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    xml.push_str(&escape(text));
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Document<'_> {
        Document::parse(text.as_bytes(), 256).unwrap()
    }

    #[test]
    fn elements_are_found_by_namespace_whatever_the_prefix() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?><!-- c --><x:a xmlns:x="urn:x"><?pi?><b xmlns='urn:b'/>t<x:c/></x:a> "#;
        let document = root(text);
        assert!(document.root().is("urn:x", "a"));
        let names: Vec<_> = document
            .root()
            .children()
            .map(|e| (e.namespace().to_owned(), e.name()))
            .collect();
        assert_eq!(
            names,
            [("urn:b".to_owned(), "b"), ("urn:x".to_owned(), "c")]
        );
    }

    #[test]
    fn text_is_joined_from_references_and_character_data_sections() {
        let document = root("<a> 1 &lt; <!-- x -->&#50;<![CDATA[<&>]]></a>");
        assert_eq!(document.root().leaf_text().unwrap(), " 1 < 2<&>");
        assert_eq!(root("<a>1<b/></a>").root().leaf_text(), None);
        assert_eq!(root("<a/>").root().leaf_text().unwrap(), "");
    }

    #[test]
    fn a_fragment_takes_its_namespaces_with_it() {
        let text = r#"<a xmlns="urn:a" xmlns:p="urn:&lt;p"><b xmlns:q='urn:q'><c xmlns="urn:c" q:d="1">p:v</c></b></a>"#;
        let document = root(text);
        let b = document.root().children().next().unwrap();
        let c = b.children().next().unwrap();
        assert_eq!(
            c.standalone(),
            r#"<c xmlns:q="urn:q" xmlns="urn:a" xmlns:p="urn:&lt;p" xmlns="urn:c" q:d="1">p:v</c>"#
                .replace(r#" xmlns="urn:a""#, "")
        );
        let again = c.standalone();
        let again = root(&again);
        assert!(again.root().is("urn:c", "c"));
        assert_eq!(b.standalone_children(1000).unwrap(), c.standalone());
        assert_eq!(b.standalone_children(10), None);
    }

    #[test]
    fn attributes_are_given_with_their_namespaces() {
        let document = root(r#"<a xmlns:p="urn:p" p:x="1 &amp; 2" y='"' xml:lang="en"/>"#);
        let attributes: Vec<_> = document.root().attributes().collect();
        let expected = [
            ("urn:p", "x", "1 & 2".into()),
            ("", "y", "\"".into()),
            (XML_NAMESPACE, "lang", "en".into()),
        ];
        assert_eq!(attributes, expected);
        assert_eq!(document.root().attribute("y").unwrap(), "\"");
        assert_eq!(document.root().attribute("x"), None);
    }
}
