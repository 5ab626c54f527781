//! Start tags: names and attributes as they are written.

use std::borrow::Cow;

use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use quick_xml::name::QName;
use quick_xml::{Reader, XmlVersion};

/// A start tag or an empty-element tag, with `<` and `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    name: &'a str,
    /// Between the name and the end of the tag.
    rest: &'a str,
}

impl<'a> Tag<'a> {
    /// Takes the text of a tag apart. The reader that found it made sure that it begins with `<` and ends with `>`.
    pub(super) fn new(tag: &'a str) -> Self {
        let inside = tag.strip_prefix('<').unwrap_or(tag);
        let inside = inside.strip_suffix('>').unwrap_or(inside);
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let end = inside
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(inside.len());
        let (name, rest) = inside.split_at(end);
        Self { name, rest }
    }

    /// The first start tag of a text that need not be complete or well-formed.
    pub fn first(text: &'a str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        loop {
            let start = usize::try_from(reader.buffer_position()).ok()?;
            match reader.read_event().ok()? {
                Event::Start(_) | Event::Empty(_) => {
                    let end = usize::try_from(reader.buffer_position()).ok()?;
                    return Some(Self::new(text.get(start..end)?));
                }
                Event::Eof => return None,
                _ => {}
            }
        }
    }

    /// The name with its prefix.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The prefix; empty for none.
    pub fn prefix(&self) -> &'a str {
        split(self.name).0
    }

    /// The name without its prefix.
    pub fn local_name(&self) -> &'a str {
        split(self.name).1
    }

    /// The attributes, namespace declarations included; an error for text that is no attribute.
    pub fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'a>, String>> {
        let mut attributes = Attributes::new(self.rest, 0);
        // Its check compares each with each; `check` does it with a set.
        attributes.with_checks(false);
        attributes.map(|attribute| match attribute {
            Ok(attribute) => match attribute.value {
                Cow::Borrowed(raw) => Ok(Attribute {
                    name: attribute.key.into_inner(),
                    raw,
                }),
                Cow::Owned(_) => Err("an attribute that cannot be read".into()),
            },
            Err(error) => Err(error.to_string()),
        })
    }

    /// The namespaces that the tag declares: prefix (empty for the default namespace) and name.
    pub fn declarations(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.attributes()
            .flatten()
            .filter_map(|attribute| Some((attribute.declares()?, attribute.value())))
    }
}

/// An attribute or a namespace declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name with its prefix.
    pub name: &'a str,
    /// The value between its quotes, references not resolved.
    pub raw: &'a str,
}

impl<'a> Attribute<'a> {
    /// The prefix that is declared, empty for the default namespace; `None` if this is no declaration.
    pub fn declares(&self) -> Option<&'a str> {
        match self.name.strip_prefix("xmlns")? {
            "" => Some(""),
            rest => rest.strip_prefix(':'),
        }
    }

    /// Prefix (empty for none) and name.
    pub fn split(&self) -> (&'a str, &'a str) {
        split(self.name)
    }

    /// The value with references resolved and white space normalised (XML 1.0, section 3.3.3); as written if it
    /// has references that do not resolve, which no checked message has.
    pub fn value(&self) -> Cow<'a, str> {
        let attribute = quick_xml::events::attributes::Attribute {
            key: QName(self.name),
            value: Cow::Borrowed(self.raw),
        };
        attribute
            .normalized_value(XmlVersion::Explicit1_0)
            .unwrap_or(Cow::Borrowed(self.raw))
    }
}

fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}
