//! Well-formedness of a whole message: what the reader does not check by itself.

use std::collections::{HashMap, HashSet};

use quick_xml::Reader;
use quick_xml::escape::{EscapeError, resolve_predefined_entity, unescape};
use quick_xml::events::{BytesDecl, BytesRef, Event};

use super::{Attribute, MAX_ATTRIBUTES, MAX_DECLARATIONS, Tag, XML_NAMESPACE, XmlError};

/// Namespace that nobody may declare (Namespaces in XML 1.0, section 3).
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

/// Reads all of a message, in time that is linear in its length whatever it holds.
pub(super) fn check(text: &str, depth: usize) -> Result<(), XmlError> {
    check_characters(text)?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut check = Check {
        text,
        limit: depth,
        open: Vec::new(),
        has_root: false,
        bound: HashMap::new(),
        declared: 0,
    };
    loop {
        let start = position(&reader);
        let event = reader.read_event();
        let event = event.map_err(|error| XmlError::Syntax {
            reason: error.to_string(),
            at: error_position(&reader),
        })?;
        if matches!(event, Event::Eof) {
            return check.end();
        }
        check.event(&event, start, position(&reader))?;
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn error_position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.error_position()).unwrap_or(usize::MAX)
}

/// Whether XML 1.0 has the character (section 2.2).
fn is_character(character: char) -> bool {
    !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn check_characters(text: &str) -> Result<(), XmlError> {
    match text
        .char_indices()
        .find(|(_, character)| !is_character(*character))
    {
        Some((at, _)) => Err(XmlError::Character { at }),
        None => Ok(()),
    }
}

/// Whether it is a name without a prefix; characters beyond ASCII are taken as they come.
fn is_local_name(name: &str) -> bool {
    let is_inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') || !c.is_ascii();
    let is_first = |c: char| is_inner(c) && !c.is_ascii_digit() && !matches!(c, '-' | '.');
    name.starts_with(is_first) && name.chars().all(is_inner)
}

fn check_name(name: &str) -> Result<(), XmlError> {
    let is_name = match name.split_once(':') {
        Some((prefix, local)) => is_local_name(prefix) && is_local_name(local),
        None => is_local_name(name),
    };
    if is_name {
        Ok(())
    } else {
        Err(XmlError::Name { name: name.into() })
    }
}

/// An element that is open.
struct Open<'a> {
    name: &'a str,
    declared: Vec<&'a str>,
}

struct Check<'a> {
    text: &'a str,
    limit: usize,
    open: Vec<Open<'a>>,
    has_root: bool,
    /// For each prefix the namespaces it is bound to, the one in force last.
    bound: HashMap<&'a str, Vec<String>>,
    /// Declarations in force.
    declared: usize,
}

impl<'a> Check<'a> {
    fn event(&mut self, event: &Event<'_>, start: usize, end: usize) -> Result<(), XmlError> {
        match event {
            Event::Start(_) => self.start(start, end),
            Event::Empty(_) => {
                self.start(start, end)?;
                self.close();
                Ok(())
            }
            Event::End(_) => {
                self.close();
                Ok(())
            }
            Event::Text(text) => self.characters(text, start),
            Event::CData(_) => self.inside(start),
            Event::GeneralRef(reference) => {
                self.inside(start)?;
                check_reference(reference, start)
            }
            Event::Decl(declaration) if start == 0 => check_declaration(declaration),
            Event::Decl(_) => Err(XmlError::Declaration),
            Event::PI(instruction) if instruction.target().eq_ignore_ascii_case("xml") => {
                Err(XmlError::Declaration)
            }
            Event::DocType(_) => Err(XmlError::DocumentType),
            Event::PI(instruction) => check_name(instruction.target()),
            Event::Comment(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, start: usize, end: usize) -> Result<(), XmlError> {
        if self.open.is_empty() && self.has_root {
            return Err(XmlError::OutsideRoot { at: start });
        }
        if self.open.len() >= self.limit {
            return Err(XmlError::TooDeep { limit: self.limit });
        }
        self.has_root = true;
        let tag = Tag::new(&self.text[start..end]);
        check_name(tag.name())?;
        let attributes = read_attributes(&tag, start)?;
        self.declare(&tag, &attributes)?;
        self.resolve(tag.prefix())?;
        self.check_unique(&attributes)
    }

    /// Puts the namespace declarations of a tag into force.
    fn declare(&mut self, tag: &Tag<'a>, attributes: &[Attribute<'a>]) -> Result<(), XmlError> {
        let mut declared = Vec::new();
        for attribute in attributes {
            let Some(prefix) = attribute.declares() else {
                continue;
            };
            let uri = attribute.value();
            let forbidden = match (prefix, &*uri) {
                ("xmlns", _) | (_, XMLNS_NAMESPACE) => true,
                ("xml", uri) => uri != XML_NAMESPACE,
                (_, XML_NAMESPACE) => true,
                (prefix, "") => !prefix.is_empty(),
                _ => false,
            };
            if forbidden {
                return Err(XmlError::ForbiddenDeclaration {
                    prefix: prefix.into(),
                });
            }
            declared.push(prefix);
            self.bound.entry(prefix).or_default().push(uri.into_owned());
        }
        self.declared += declared.len();
        self.open.push(Open {
            name: tag.name(),
            declared,
        });
        if self.declared > MAX_DECLARATIONS {
            Err(XmlError::TooManyAttributes)
        } else {
            Ok(())
        }
    }

    /// The namespace of a prefix; that of an unprefixed element without a declaration is empty.
    fn resolve(&self, prefix: &str) -> Result<&str, XmlError> {
        if prefix == "xml" {
            return Ok(XML_NAMESPACE);
        }
        match self.bound.get(prefix).and_then(|uris| uris.last()) {
            Some(uri) => Ok(uri),
            None if prefix.is_empty() => Ok(""),
            None => Err(XmlError::UnboundPrefix {
                prefix: prefix.into(),
            }),
        }
    }

    /// No attribute may stand twice, under another prefix of the same namespace neither.
    fn check_unique(&self, attributes: &[Attribute<'a>]) -> Result<(), XmlError> {
        let mut seen = HashSet::new();
        for attribute in attributes {
            let (prefix, name) = attribute.split();
            let namespace = match attribute.declares() {
                Some(_) => XMLNS_NAMESPACE,
                None if prefix.is_empty() => "",
                None => self.resolve(prefix)?,
            };
            if !seen.insert((namespace, name)) {
                return Err(XmlError::DuplicateAttribute {
                    name: attribute.name.into(),
                });
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        self.declared -= open.declared.len();
        for prefix in open.declared {
            if let Some(uris) = self.bound.get_mut(prefix) {
                uris.pop();
            }
        }
    }

    fn characters(&self, text: &str, start: usize) -> Result<(), XmlError> {
        if text.contains("]]>") {
            let reason = "\"]]>\" in character data".into();
            return Err(XmlError::Syntax { reason, at: start });
        }
        if text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            Ok(())
        } else {
            self.inside(start)
        }
    }

    /// Character data is allowed inside the root element alone.
    fn inside(&self, at: usize) -> Result<(), XmlError> {
        if self.open.is_empty() {
            Err(XmlError::OutsideRoot { at })
        } else {
            Ok(())
        }
    }

    fn end(&self) -> Result<(), XmlError> {
        match self.open.last() {
            Some(open) => Err(XmlError::Unclosed {
                name: open.name.into(),
            }),
            None if self.has_root => Ok(()),
            None => Err(XmlError::NoRoot),
        }
    }
}

fn read_attributes<'a>(tag: &Tag<'a>, at: usize) -> Result<Vec<Attribute<'a>>, XmlError> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|reason| XmlError::Syntax { reason, at })?;
        check_name(attribute.name)?;
        check_value(attribute.raw, at)?;
        attributes.push(attribute);
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(XmlError::TooManyAttributes);
        }
    }
    Ok(attributes)
}

fn check_value(raw: &str, at: usize) -> Result<(), XmlError> {
    if raw.contains('<') {
        return Err(XmlError::Syntax {
            reason: "\"<\" in an attribute".into(),
            at,
        });
    }
    if !raw.contains('&') {
        return Ok(());
    }
    let value = unescape(raw).map_err(|error| escape_error(&error, at))?;
    if value.chars().all(is_character) {
        Ok(())
    } else {
        Err(XmlError::Character { at })
    }
}

fn check_reference(reference: &BytesRef<'_>, at: usize) -> Result<(), XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) if is_character(character) => Ok(()),
        Ok(Some(_)) => Err(XmlError::Character { at }),
        Ok(None) if resolve_predefined_entity(reference).is_some() => Ok(()),
        // An entity would need a document type declaration.
        Ok(None) => Err(XmlError::Syntax {
            reason: format!("the entity \"{}\" is not defined", &**reference),
            at,
        }),
        Err(error) => Err(XmlError::Syntax {
            reason: error.to_string(),
            at,
        }),
    }
}

fn escape_error(error: &EscapeError, at: usize) -> XmlError {
    XmlError::Syntax {
        reason: error.to_string(),
        at,
    }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    let is_version = declaration.version().is_ok_and(|version| version == "1.0");
    let is_encoding = match declaration.encoding() {
        None => true,
        Some(Ok(encoding)) => encoding.eq_ignore_ascii_case("utf-8"),
        Some(Err(_)) => false,
    };
    if is_version && is_encoding {
        Ok(())
    } else {
        Err(XmlError::Declaration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xml::Document;
    use proptest::prelude::*;

    fn refusal(text: &str) -> XmlError {
        check(text, 256).expect_err(text)
    }

    fn is_syntax(text: &str) -> bool {
        matches!(refusal(text), XmlError::Syntax { .. })
    }

    #[test]
    fn what_surrounds_the_root_element_is_tolerated() {
        let text = "<?xml version='1.0'?>\n<!-- a --><?b c?><a>x<!-- y --><![CDATA[<]]>&amp;&#x41;</a>\n<!-- z -->";
        assert_eq!(check(text, 256), Ok(()));
    }

    #[test]
    fn octets_that_are_not_utf8_are_refused() {
        assert_eq!(
            Document::parse(b"<a>\xff</a>", 256).unwrap_err(),
            XmlError::NotUtf8
        );
        assert_eq!(
            refusal("<?xml version=\"1.0\" encoding=\"latin-1\"?><a/>"),
            XmlError::Declaration
        );
        assert_eq!(
            refusal("<?xml version=\"1.1\"?><a/>"),
            XmlError::Declaration
        );
        assert_eq!(
            refusal(" <?xml version=\"1.0\"?><a/>"),
            XmlError::Declaration
        );
    }

    #[test]
    fn control_characters_are_refused_in_any_spelling() {
        for text in [
            "<a>\0</a>",
            "<a>\x01</a>",
            "<a>&#1;</a>",
            "<a b='&#x1f;'/>",
            "<a>\u{ffff}</a>",
            "<a b='\x02'/>",
        ] {
            assert!(
                matches!(refusal(text), XmlError::Character { .. }),
                "{text:?}"
            );
        }
        assert!(is_syntax("<a>&#0;</a>"));
        assert!(is_syntax("<a>&#xd800;</a>"));
        assert_eq!(check("<a>\t\r\n&#9;</a>", 256), Ok(()));
    }

    #[test]
    fn document_types_and_entities_are_refused() {
        assert_eq!(
            refusal("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"),
            XmlError::DocumentType
        );
        assert!(is_syntax("<a>&x;</a>"));
        assert!(is_syntax("<a b='&x;'/>"));
    }

    #[test]
    fn a_deep_document_is_refused_at_the_limit() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert_eq!(check(&nested(256), 256), Ok(()));
        assert_eq!(refusal(&nested(257)), XmlError::TooDeep { limit: 256 });
        assert_eq!(refusal(&nested(100_000)), XmlError::TooDeep { limit: 256 });
    }

    #[test]
    fn unbalanced_elements_are_refused() {
        assert_eq!(refusal("<a><b>"), XmlError::Unclosed { name: "b".into() });
        assert_eq!(refusal(""), XmlError::NoRoot);
        assert_eq!(refusal("not XML"), XmlError::OutsideRoot { at: 0 });
        assert_eq!(refusal("<a/><b/>"), XmlError::OutsideRoot { at: 4 });
        assert_eq!(refusal("<a/>x"), XmlError::OutsideRoot { at: 4 });
        assert!(is_syntax("<a></b>"));
        assert!(is_syntax("</a>"));
        assert!(is_syntax("<a"));
        assert!(is_syntax("<a>]]></a>"));
        assert!(is_syntax("<a b='<'/>"));
        assert!(is_syntax("<a b=c/>"));
        assert!(is_syntax("<a><!-- -- --></a>"));
        assert!(matches!(refusal("<?1?><a/>"), XmlError::Name { .. }));
    }

    #[test]
    fn prefixes_must_be_bound_where_they_are_used() {
        assert_eq!(
            refusal("<p:a/>"),
            XmlError::UnboundPrefix { prefix: "p".into() }
        );
        assert_eq!(
            refusal("<a p:b=''/>"),
            XmlError::UnboundPrefix { prefix: "p".into() }
        );
        assert_eq!(
            refusal("<a><b xmlns:p='urn:p'/><p:c/></a>"),
            XmlError::UnboundPrefix { prefix: "p".into() }
        );
        assert_eq!(
            refusal("<a xmlns:p=''/>"),
            XmlError::ForbiddenDeclaration { prefix: "p".into() }
        );
        assert!(matches!(
            refusal("<a:b:c xmlns:a='urn:a'/>"),
            XmlError::Name { .. }
        ));
        assert!(matches!(refusal("<1/>"), XmlError::Name { .. }));
    }

    #[test]
    fn the_same_attribute_twice_is_refused() {
        let twice = |text: &str| matches!(refusal(text), XmlError::DuplicateAttribute { .. });
        assert!(twice("<a b='1' b='2'/>"));
        assert!(twice("<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='' q:b=''/>"));
        assert!(twice("<a xmlns='urn:a' xmlns='urn:b'/>"));
    }

    #[test]
    fn attributes_without_end_are_refused() {
        let many: String = (0..=MAX_ATTRIBUTES).map(|n| format!(" a{n}=''")).collect();
        assert_eq!(refusal(&format!("<a{many}/>")), XmlError::TooManyAttributes);
        let declarations: String = (0..=MAX_DECLARATIONS / 2)
            .map(|n| format!(" xmlns:a{n}='u'"))
            .collect();
        assert_eq!(
            refusal(&format!("<a{declarations}><a{declarations}/></a>")),
            XmlError::TooManyAttributes
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(pieces in prop::collection::vec(prop_oneof![
            Just("<a"), Just("<a>"), Just("</a>"), Just("<p:b/>"), Just(" xmlns:p='urn:p'"), Just("xmlns"), Just("="),
            Just(">"), Just("/>"), Just("'"), Just("\""), Just("<![CDATA["), Just("]]>"), Just("<!--"), Just("-->"),
            Just("&"), Just(";"), Just("&#1"), Just("<?xml"), Just("?>"), Just("<!DOCTYPE"), Just("é"), Just(" "), Just(":"),
        ], 0..24)) {
            let text = pieces.concat();
            if let Ok(document) = Document::parse(text.as_bytes(), 8) {
                for child in document.root().children() {
                    let alone = child.standalone();
                    prop_assert!(Document::parse(alone.as_bytes(), 8).is_ok(), "{} of {}", alone, text);
                }
            }
        }
    }
}
