//! libyang's sentences in the words of a manager.

use crate::model::error::{ErrorTag, RpcError};
use crate::model::tree::SchemaNode;

/// Characters of a wrong value that are shown to whoever gave it.
const SHOWN: usize = 64;

/// The refusal of a value: the module's own words for the restriction if there are any, else what the type takes.
pub(super) fn of_value(
    leaf: SchemaNode,
    value: Option<&str>,
    message: &str,
    app_tag: Option<String>,
) -> RpcError {
    let own = leaf.own_words();
    // A number that does not even fit into the bits of its type is outside the range as well.
    let beyond = match message.contains("min/max bounds") {
        true => own.first().copied(),
        false => None,
    };
    let is_own = own
        .iter()
        .any(|words| !words.message.is_empty() && words.message == message);
    let words = match beyond
        .map(|words| words.message)
        .filter(|words| !words.is_empty())
    {
        Some(words) => words.to_owned(),
        None if is_own => message.to_owned(),
        None => taken(leaf, value),
    };
    let beyond = beyond.map(|words| words.app_tag.to_owned());
    let app_tag = app_tag.or(beyond.filter(|tag| !tag.is_empty()));
    RpcError {
        app_tag,
        ..RpcError::application(ErrorTag::InvalidValue, words)
    }
}

fn taken(leaf: SchemaNode, value: Option<&str>) -> String {
    let expected = format!("{} takes {}", leaf.name(), leaf.expects());
    match value {
        // A secret is not repeated.
        None => expected,
        Some(_) if matches!(leaf.typedef(), "secret" | "crypt-hash") => expected,
        Some("") => format!("{expected}; nothing was given"),
        Some(value) => {
            let shown: String = value.chars().take(SHOWN).collect();
            let more = if shown.len() < value.len() { "…" } else { "" };
            format!("{expected}; \"{shown}{more}\" was given")
        }
    }
}

/// The refusal of data that a constraint does not allow.
pub(super) fn of_constraint(message: &str) -> String {
    let parts: Vec<&str> = message.split('"').collect();
    let quoted = |index: usize| parts.get(2 * index + 1).copied().unwrap_or_default();
    let starts = |words: &str| message.starts_with(words);
    let (one, two) = (quoted(0), quoted(1));
    if starts("Invalid leafref value") {
        format!("nothing at {two} has the value \"{one}\", to which this refers")
    } else if starts("Invalid instance-identifier") {
        format!("there is no {one}, to which this refers")
    } else if starts("Mandatory choice") {
        format!("one of the cases of {one} has to be given")
    } else if starts("Mandatory node") {
        format!("{one} is mandatory and is missing")
    } else if starts("Must condition") {
        format!("the condition {} does not hold", between(message))
    } else if starts("When condition") {
        format!("it can be there only if {}", between(message))
    } else if starts("Unique data leaf") {
        let leaves = one.split_whitespace().collect::<Vec<_>>().join(" and ");
        format!("two entries hold the same {leaves}")
    } else if starts("Too few") {
        format!("there are too few entries of {one}")
    } else if starts("Too many") {
        format!("there are too many entries of {one}")
    } else if starts("List instance is missing its key") {
        format!("the key {one} is missing")
    } else if starts("Duplicate instance") {
        format!("{one} is there twice")
    } else if starts("Data for both cases") {
        format!("there are data of two cases of one choice: {one} and {two}")
    } else if starts("No module with namespace") {
        format!("no module here has the namespace {one}")
    } else if starts("Node ") || message.contains("not found as a child") {
        format!("there is no {one} here")
    } else if starts("Missing the operation node") {
        "there is no action in it".to_owned()
    } else if starts("Unexpected action element") {
        format!("{one} is a second action")
    } else if starts("Unexpected data") {
        let last = parts.len().checked_sub(2).and_then(|at| parts.get(at));
        format!("{} has no place here", last.copied().unwrap_or_default())
    } else {
        message.to_owned()
    }
}

/// What stands between the first and the last double quote: an expression may hold some itself.
fn between(message: &str) -> &str {
    let start = message.find('"').map_or(0, |at| at + 1);
    let end = message.rfind('"').unwrap_or(message.len());
    message.get(start..end).unwrap_or(message)
}

/// The refusal of a module.
pub(super) fn of_module(message: &str) -> String {
    let name = message.split('"').nth(1).unwrap_or_default();
    let missing = message.ends_with("failed, not found.");
    match missing {
        true if message.starts_with("Loading") => {
            format!("it imports {name}, or a revision of it, that is not there: give its file, too")
        }
        true => format!("it includes {name}, which is not there: give its file, too"),
        false => message.trim_end_matches('.').to_owned(),
    }
}

/// What libyang adds about a module after it has said what is wrong.
pub(super) fn is_summary(message: &str) -> bool {
    message.starts_with("Loading \"") || message.starts_with("Parsing module")
}
