//! `<get-data>` (RFC 8526, section 3.1.1).

use super::parameters::{Parameters, content, invalid_value, unknown_element};
use super::{Datastore, Filter, GetData, Rpc, Stored};
use crate::datastore::retrieval::{Options, Origin, OriginFilter};
use crate::model::error::{ErrorTag, RpcError};
use crate::protocol::xml::Element;

/// The namespace of ietf-datastores (RFC 8342).
const DATASTORES_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-datastores";
/// The namespace of ietf-origin (RFC 8342).
const ORIGIN_NAMESPACE: &str = "urn:ietf:params:xml:ns:yang:ietf-origin";

pub(super) fn get_data(operation: &Element<'_>) -> Result<Rpc, RpcError> {
    let known = [
        "datastore",
        "subtree-filter",
        "xpath-filter",
        "config-filter",
        "max-depth",
        "with-origin",
        "with-defaults",
    ];
    let lists = ["origin-filter", "negated-origin-filter"];
    let parameters = Parameters::read_with(operation, &known, &lists)?;
    let datastore = stored(&parameters)?;
    let booleans = [("true", true), ("false", false)];
    let options = Options {
        config: parameters.word("config-filter", &booleans)?,
        origin: origins(&parameters)?,
        with_origin: parameters.has("with-origin"),
        max_depth: max_depth(&parameters)?,
        ..Options::default()
    };
    if datastore != Stored::Operational {
        only_for_operational(&parameters, &lists)?;
    }
    Ok(Rpc::GetData(GetData {
        datastore,
        filter: filter(&parameters)?,
        with_defaults: parameters.with_defaults()?,
        options,
    }))
}

/// Only of the operational datastore origins are known. For the filters the module says so by a `when`, for `with-origin`
/// it names the error.
fn only_for_operational(
    parameters: &Parameters<'_>,
    filters: &[&'static str],
) -> Result<(), RpcError> {
    let words = |name: &str| format!("\"{name}\" goes with the operational datastore alone");
    if let Some(filter) = filters.iter().find(|name| parameters.has(name)) {
        let error = RpcError::protocol(ErrorTag::UnknownElement, words(filter));
        return Err(error.info("bad-element", *filter));
    }
    match parameters.has("with-origin") {
        true => Err(RpcError::protocol(
            ErrorTag::InvalidValue,
            words("with-origin"),
        )),
        false => Ok(()),
    }
}

/// The parameter `datastore`.
pub(super) fn stored(parameters: &Parameters<'_>) -> Result<Stored, RpcError> {
    let parameter = parameters
        .get("datastore")
        .ok_or_else(|| parameters.missing("datastore"))?;
    stored_in(parameter)
}

/// The datastore whose identity is the value of an element.
pub(super) fn stored_in(parameter: &Element<'_>) -> Result<Stored, RpcError> {
    match identity(parameter, DATASTORES_NAMESPACE)?.as_str() {
        "running" => Ok(Stored::Conventional(Datastore::Running)),
        "candidate" => Ok(Stored::Conventional(Datastore::Candidate)),
        "startup" => Ok(Stored::Conventional(Datastore::Startup)),
        "operational" => Ok(Stored::Operational),
        other => Err(invalid_value("datastore", other)),
    }
}

/// The same; none for a datastore of that module which the device does not have.
pub(super) fn stored_if_known(parameter: &Element<'_>) -> Result<Option<Stored>, RpcError> {
    identity(parameter, DATASTORES_NAMESPACE)?;
    Ok(stored_in(parameter).ok())
}

/// The name of an identity of a namespace, without its prefix (RFC 7950, section 9.10.3).
fn identity(parameter: &Element<'_>, namespace: &str) -> Result<String, RpcError> {
    let text = parameter.leaf_text().unwrap_or_default();
    let text = text.trim();
    let (prefix, name) = text.split_once(':').unwrap_or(("", text));
    let declared = parameter.declarations();
    let found = declared.iter().find(|(own, _)| own == prefix);
    match found {
        Some((_, uri)) if uri == namespace => Ok(name.to_owned()),
        _ => Err(invalid_value(parameter.name(), text)),
    }
}

fn origins(parameters: &Parameters<'_>) -> Result<Option<OriginFilter>, RpcError> {
    let wanted = |name: &str| {
        let named = parameters.all(name).map(|parameter| {
            let identity = identity(parameter, ORIGIN_NAMESPACE)?;
            Origin::parse(&identity).ok_or_else(|| invalid_value(name, &identity))
        });
        named.collect::<Result<Vec<_>, RpcError>>()
    };
    let (origins, others) = (wanted("origin-filter")?, wanted("negated-origin-filter")?);
    match (origins.is_empty(), others.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(OriginFilter {
            origins,
            negated: false,
        })),
        (true, false) => Ok(Some(OriginFilter {
            origins: others,
            negated: true,
        })),
        // Two cases of one choice.
        (false, false) => Err(unknown_element("negated-origin-filter")),
    }
}

fn max_depth(parameters: &Parameters<'_>) -> Result<Option<u16>, RpcError> {
    let Some(text) = parameters.text("max-depth")? else {
        return Ok(None);
    };
    match text.trim() {
        "unbounded" => Ok(None),
        number => match number.parse() {
            Ok(depth) if depth > 0 => Ok(Some(depth)),
            _ => Err(invalid_value("max-depth", number)),
        },
    }
}

fn filter(parameters: &Parameters<'_>) -> Result<Option<Filter>, RpcError> {
    match (
        parameters.get("subtree-filter"),
        parameters.get("xpath-filter"),
    ) {
        (None, None) => Ok(None),
        (Some(subtree), None) => Ok(Some(Filter::Subtree(content(subtree)?))),
        (None, Some(xpath)) => Ok(Some(Filter::XPath {
            expression: parameters.text("xpath-filter")?.unwrap_or_default(),
            declared: xpath.declarations(),
        })),
        // Two cases of one choice.
        (Some(_), Some(_)) => Err(unknown_element("xpath-filter")),
    }
}
