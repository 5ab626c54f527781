//! The parameters of an operation: which there are, and what they may hold (RFC 7950, section 8.3.1).

use super::get_data::stored_in;
use super::parse::unknown_namespace;
use super::push;
use super::subscribe;
use super::{Datastore, DefaultOperation, Filter, NMDA_NAMESPACE, Named, Source, WithDefaults};
use crate::model::error::{ErrorTag, NETCONF_NAMESPACE, RpcError};
use crate::netconf::subscription::push::NAMESPACE as PUSH_NAMESPACE;
use crate::protocol::xml::Element;

/// The namespace of ietf-netconf-with-defaults (RFC 6243).
const WITH_DEFAULTS_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults";

/// The namespace of device-management, which lets the author of a commit say something.
const MANAGEMENT_NAMESPACE: &str = "urn:tether:yang:device-management";
/// Characters of what he says.
const COMMENT: std::ops::RangeInclusive<usize> = 1..=255;

/// The parameters of one operation, each at most once.
pub(super) struct Parameters<'a> {
    found: Vec<Element<'a>>,
}

impl<'a> Parameters<'a> {
    /// Collects the parameters, of which `known` are all that the operation has. They are of the operation's own
    /// namespace, but for `with-defaults` and `comment`.
    pub(super) fn read(operation: &Element<'a>, known: &[&str]) -> Result<Self, RpcError> {
        Self::read_with(operation, known, &[])
    }

    /// The same where those of `lists` may stand more than once.
    pub(super) fn read_with(
        operation: &Element<'a>,
        known: &[&str],
        lists: &[&str],
    ) -> Result<Self, RpcError> {
        let mut found: Vec<Element<'a>> = Vec::new();
        for parameter in operation.children() {
            let name = parameter.name();
            if !known.contains(&name) && !lists.contains(&name) {
                return Err(unknown_element(name));
            }
            let namespace = match name {
                // get-data has it from the grouping, and so as its own.
                "with-defaults" if operation.namespace() == NETCONF_NAMESPACE => {
                    WITH_DEFAULTS_NAMESPACE
                }
                "comment" => MANAGEMENT_NAMESPACE,
                // Those that RFC 8641 adds to operations of RFC 8639.
                name if operation.namespace() == subscribe::NAMESPACE
                    && push::PARAMETERS.contains(&name) =>
                {
                    PUSH_NAMESPACE
                }
                _ => operation.namespace(),
            };
            if parameter.namespace() != namespace
                && !is_bare_config(&parameter)
                && !is_base_filter(&parameter)
            {
                return Err(unknown_namespace(name, parameter.namespace()));
            }
            if !lists.contains(&name) && found.iter().any(|other| other.name() == name) {
                let message = format!("the parameter \"{name}\" stands twice");
                return Err(
                    RpcError::protocol(ErrorTag::BadElement, message).info("bad-element", name)
                );
            }
            found.push(parameter);
        }
        Ok(Self { found })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Element<'a>> {
        self.all(name).next()
    }

    /// All of that name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Element<'a>> {
        self.found
            .iter()
            .filter(move |parameter| parameter.name() == name)
    }

    /// Whether a parameter is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The refusal for want of a parameter.
    pub(super) fn missing(&self, name: &str) -> RpcError {
        let message = format!("the parameter \"{name}\" is missing");
        RpcError::protocol(ErrorTag::MissingElement, message).info("bad-element", name)
    }

    /// A parameter that is a string.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, RpcError> {
        match self.get(name) {
            None => Ok(None),
            Some(parameter) => match parameter.leaf_text() {
                Some(text) => Ok(Some(text)),
                None => {
                    let message = format!("the parameter \"{name}\" holds an element, not a value");
                    Err(RpcError::protocol(ErrorTag::InvalidValue, message))
                }
            },
        }
    }

    /// A parameter that is one of several words.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, RpcError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text.trim()) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => Err(invalid_value(name, &text)),
        }
    }

    /// A parameter that is a number from 1 to 4294967295.
    pub(super) fn positive(&self, name: &str) -> Result<Option<u32>, RpcError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(invalid_value(name, &text)),
        }
    }

    pub(super) fn with_defaults(&self) -> Result<Option<WithDefaults>, RpcError> {
        self.word(
            "with-defaults",
            &[
                ("report-all", WithDefaults::ReportAll),
                ("report-all-tagged", WithDefaults::ReportAllTagged),
                ("trim", WithDefaults::Trim),
                ("explicit", WithDefaults::Explicit),
            ],
        )
    }

    /// What the author says about a commit; where the operation is none, the parameter does not exist (RFC 7950, section
    /// 8.3.1).
    pub(super) fn comment(&self, is_commit: bool) -> Result<Option<String>, RpcError> {
        match self.text("comment")? {
            Some(_) if !is_commit => Err(unknown_element("comment")),
            Some(text) if !COMMENT.contains(&text.chars().count()) => {
                let words = format!("a comment has 1 to {} characters", COMMENT.end());
                Err(RpcError::protocol(ErrorTag::InvalidValue, words))
            }
            comment => Ok(comment),
        }
    }

    pub(super) fn default_operation(&self) -> Result<DefaultOperation, RpcError> {
        let operation = self.word(
            "default-operation",
            &[
                ("merge", DefaultOperation::Merge),
                ("replace", DefaultOperation::Replace),
                ("none", DefaultOperation::None),
            ],
        )?;
        Ok(operation.unwrap_or_default())
    }

    /// The elements inside a parameter.
    pub(super) fn content(&self, name: &str) -> Result<Option<String>, RpcError> {
        self.get(name).map(content).transpose()
    }
}

/// Scripts around ncclient often send a `<config>` without a namespace. It can mean but one thing, so it is taken.
fn is_bare_config(parameter: &Element<'_>) -> bool {
    parameter.name() == "config" && parameter.namespace().is_empty()
}

/// Clients such as ncclient send create-subscription with the `<filter>` that they have for get. It can mean but one
/// thing, too.
fn is_base_filter(parameter: &Element<'_>) -> bool {
    parameter.is(NETCONF_NAMESPACE, "filter")
}

/// RFC 6241, section 8.9.5.1: the expression is the attribute `select`.
fn xpath(filter: &Element<'_>) -> Result<Filter, RpcError> {
    let select = filter.attributes().find(|(namespace, name, _)| {
        *name == "select" && ["", NETCONF_NAMESPACE].contains(namespace)
    });
    let Some((_, _, expression)) = select else {
        let message = "a filter of type xpath has no attribute select";
        let error = RpcError::protocol(ErrorTag::MissingAttribute, message);
        return Err(error
            .info("bad-attribute", "select")
            .info("bad-element", "filter"));
    };
    Ok(Filter::XPath {
        expression: expression.into_owned(),
        declared: filter.declarations(),
    })
}

pub(super) fn unknown_element(name: &str) -> RpcError {
    let message = format!("there is no parameter \"{name}\" here");
    RpcError::protocol(ErrorTag::UnknownElement, message).info("bad-element", name)
}

/// Characters of a wrong value that are shown to whoever sent it.
const SHOWN: usize = 64;

pub(super) fn invalid_value(name: &str, value: &str) -> RpcError {
    let shown: String = value.chars().take(SHOWN).collect();
    let message = format!("the parameter \"{name}\" cannot be \"{shown}\"");
    RpcError::protocol(ErrorTag::InvalidValue, message)
}

/// What is inside an element. The namespace declarations that are copied to each element inside may make it longer
/// than it was in the message, within reason.
pub(super) fn content(element: &Element<'_>) -> Result<String, RpcError> {
    let limit = 4 * element.len() + (1 << 20);
    element.standalone_children(limit).ok_or_else(|| {
        let message = "too many elements that share too many namespace declarations";
        RpcError::protocol(ErrorTag::TooBig, message)
    })
}

/// A `<source>` or `<target>` that names a datastore.
pub(super) fn datastore(parameters: &Parameters<'_>, name: &str) -> Result<Datastore, RpcError> {
    element(&choice(parameters, name)?)
}

/// The same, which may name it by its identity (RFC 8526, section 3.2).
pub(super) fn any_target(parameters: &Parameters<'_>) -> Result<Named, RpcError> {
    any(&choice(parameters, "target")?)
}

/// A `<source>` that names a datastore or holds a configuration.
pub(super) fn source(parameters: &Parameters<'_>) -> Result<Source, RpcError> {
    let choice = choice(parameters, "source")?;
    match config(&choice)? {
        Some(config) => Ok(Source::Config(config)),
        None => Ok(Source::Datastore(Named::Element(element(&choice)?))),
    }
}

/// The same, which may name a datastore by its identity.
pub(super) fn any_source(parameters: &Parameters<'_>) -> Result<Source, RpcError> {
    let choice = choice(parameters, "source")?;
    match config(&choice)? {
        Some(config) => Ok(Source::Config(config)),
        None => Ok(Source::Datastore(any(&choice)?)),
    }
}

fn any(choice: &Element<'_>) -> Result<Named, RpcError> {
    match choice.is(NMDA_NAMESPACE, "datastore") {
        true => stored_in(choice).map(Named::Identity),
        false => element(choice).map(Named::Element),
    }
}

/// What is inside an inline `<config>`.
fn config(choice: &Element<'_>) -> Result<Option<String>, RpcError> {
    let is_config = choice.is(NETCONF_NAMESPACE, "config") || is_bare_config(choice);
    is_config.then(|| content(choice)).transpose()
}

/// The one element inside a parameter.
fn choice<'a>(parameters: &Parameters<'a>, name: &str) -> Result<Element<'a>, RpcError> {
    let parameter = parameters
        .get(name)
        .ok_or_else(|| parameters.missing(name))?;
    let mut children = parameter.children();
    let Some(child) = children.next() else {
        let message = format!("\"{name}\" names no datastore");
        return Err(RpcError::protocol(ErrorTag::MissingElement, message).info("bad-element", name));
    };
    match children.next() {
        None => Ok(child),
        Some(second) => {
            let message = format!("\"{name}\" holds a second element");
            let error = RpcError::protocol(ErrorTag::BadElement, message);
            Err(error.info("bad-element", second.name()))
        }
    }
}

fn element(choice: &Element<'_>) -> Result<Datastore, RpcError> {
    if choice.namespace() != NETCONF_NAMESPACE {
        return Err(unknown_namespace(choice.name(), choice.namespace()));
    }
    match choice.name() {
        "running" => Ok(Datastore::Running),
        "candidate" => Ok(Datastore::Candidate),
        "startup" => Ok(Datastore::Startup),
        // `url` too: its capability is not announced.
        other => Err(unknown_element(other)),
    }
}

/// The filter of get and get-config.
pub(super) fn filter(parameters: &Parameters<'_>) -> Result<Option<Filter>, RpcError> {
    let Some(parameter) = parameters.get("filter") else {
        return Ok(None);
    };
    // RFC 6241 has it without namespace; some clients give it the namespace of its element.
    let kind = parameter
        .attributes()
        .find(|(namespace, name, _)| *name == "type" && ["", NETCONF_NAMESPACE].contains(namespace))
        .map(|(_, _, value)| value);
    match kind.as_deref() {
        None | Some("subtree") => Ok(Some(Filter::Subtree(content(parameter)?))),
        Some("xpath") => xpath(parameter).map(Some),
        Some(other) => {
            let message = format!("filters of type \"{other}\" are not supported");
            let error = RpcError::protocol(ErrorTag::BadAttribute, message);
            Err(error
                .info("bad-attribute", "type")
                .info("bad-element", "filter"))
        }
    }
}
