//! What libyang says of a refusal, as rpc-errors.
#![allow(unsafe_code)] // the libyang binding is wrapped here

mod words;

use std::ffi::CStr;
use std::os::raw::c_char;

use yang5::ffi;

use super::{SchemaNode, raw_context};
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;

/// Forgets this thread's earlier errors, so that [`take`] sees only those of the call in between.
pub(super) fn clear(schema: Schema) {
    // SAFETY: the list belongs to the thread and the context.
    unsafe { ffi::ly_err_clean(raw_context(schema), std::ptr::null_mut()) };
}

/// Forgets this thread's errors about a node: it was asked whether something is there, and it is not.
pub(super) fn forget(node: SchemaNode) {
    // SAFETY: as in `clear`.
    unsafe { ffi::ly_err_clean(super::raw_context_of(node), std::ptr::null_mut()) };
}

/// The first error since [`clear`].
pub(super) fn first(schema: Schema) -> RpcError {
    take(schema).swap_remove(0)
}

/// The refusal of a value of a leaf or leaf-list (RFC 7950, section 8.3.1), in the module's words if it has any.
pub(super) fn of_value(schema: Schema, leaf: SchemaNode, value: &str) -> RpcError {
    let items = items(schema);
    let message = items.first().map_or("", |item| &item.message);
    let app_tag = items.first().and_then(|item| item.app_tag.clone());
    words::of_value(leaf, Some(value), message, app_tag)
}

/// All errors of a text that was read, since [`clear`]; never empty.
pub(super) fn take(schema: Schema) -> Errors {
    errors(schema, Stage::Reading)
}

/// All errors of a validation, since [`clear`]; never empty.
pub(super) fn take_violations(schema: Schema) -> Errors {
    errors(schema, Stage::Validation)
}

fn errors(schema: Schema, stage: Stage) -> Errors {
    let items = items(schema);
    let mut errors: Errors = items
        .iter()
        .map(|item| item.to_error(schema, stage))
        .collect();
    if errors.is_empty() {
        errors.push(RpcError::application(
            ErrorTag::OperationFailed,
            "the data was refused",
        ));
    }
    errors
}

/// The list of this thread, which is empty afterwards.
fn items(schema: Schema) -> Vec<Item> {
    // SAFETY: the list is this thread's, and nothing is logged while it is walked.
    let items = unsafe { read(ffi::ly_err_first(raw_context(schema))) };
    clear(schema);
    items
}

/// What libyang says about modules that it refuses, its own summaries left out.
///
/// # Safety
/// `context` is a live context.
pub(super) unsafe fn about_modules(context: *const ffi::ly_ctx) -> Option<String> {
    // SAFETY: as the caller promises; see `items`.
    let items = unsafe { read(ffi::ly_err_first(context)) };
    let telling = items.iter().find(|item| !words::is_summary(&item.message));
    telling.or(items.first()).map(Item::about_module)
}

/// # Safety
/// `item` is null or an entry of a list that is not changed meanwhile.
unsafe fn read(mut item: *const ffi::ly_err_item) -> Vec<Item> {
    let mut items = Vec::new();
    while !item.is_null() {
        // SAFETY: as the caller promises.
        unsafe {
            if (*item).level == ffi::LY_LOG_LEVEL::LY_LLERR {
                items.push(Item::read(&*item));
            }
            item = (*item).next;
        }
    }
    items
}

/// What was done when an error was met: the same words of a module mean another tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    Validation,
}

/// One entry of the list, owned.
struct Item {
    message: String,
    path: Option<String>,
    schema_path: Option<String>,
    line: u64,
    app_tag: Option<String>,
    syntax: bool,
}

impl Item {
    fn read(item: &ffi::ly_err_item) -> Self {
        Self {
            message: text(item.msg).map_or_else(|| "the data was refused".to_owned(), first_line),
            path: text(item.data_path),
            schema_path: text(item.schema_path),
            line: item.line,
            app_tag: text(item.apptag),
            syntax: item.vecode == ffi::LY_VECODE::LYVE_SYNTAX_XML,
        }
    }

    fn about_module(&self) -> String {
        let mut words = words::of_module(&self.message);
        if let Some(path) = &self.schema_path {
            words.push_str(&format!(", at {path}"));
        }
        if self.line > 0 {
            words.push_str(&format!(", in line {}", self.line));
        }
        words
    }

    /// The tag by RFC 6241, appendix A, and RFC 7950, sections 8.3 and 15.
    fn to_error(&self, schema: Schema, stage: Stage) -> RpcError {
        let error = match self.app_tag.as_deref() {
            Some("instance-required") => self.error(ErrorTag::DataMissing),
            Some("missing-choice") => {
                let choice = quoted(&self.message).unwrap_or_default();
                self.error(ErrorTag::DataMissing)
                    .yang_info("missing-choice", choice)
            }
            Some("data-not-unique") => self.not_unique(schema),
            Some("must-violation") => self.of_must(),
            // Section 15.2 and 15.3: the path is that of the list, not of the entry that is one too many.
            Some("too-few-elements" | "too-many-elements") => {
                // At the top there is no data node that libyang could name.
                let data = self.path.as_ref().filter(|path| *path != "/");
                let list = data.or(self.schema_path.as_ref());
                let list = list.map(|list| without_last_predicates(list));
                return RpcError {
                    app_tag: self.app_tag.clone(),
                    path: list.map(str::to_owned),
                    ..self.error(ErrorTag::OperationFailed)
                };
            }
            // A must with an app-tag of its own (section 15.4).
            Some(_) if stage == Stage::Validation => self.of_must(),
            _ => self.by_message(schema),
        };
        RpcError {
            path: error.path.clone().or_else(|| self.path.clone()),
            app_tag: error.app_tag.clone().or_else(|| self.app_tag.clone()),
            ..error
        }
    }

    fn error(&self, tag: ErrorTag) -> RpcError {
        RpcError::application(tag, words::of_constraint(&self.message))
    }

    /// A must may have words of its own, which stay as they are.
    fn of_must(&self) -> RpcError {
        match self.message.starts_with("Must condition \"") {
            true => self.error(ErrorTag::OperationFailed),
            false => RpcError::application(ErrorTag::OperationFailed, self.message.clone()),
        }
    }

    /// RFC 7950, section 15.1: `non-unique` points to each leaf that holds what another entry holds.
    fn not_unique(&self, schema: Schema) -> RpcError {
        let mut quoted = self.message.split('"').skip(1).step_by(2);
        let leaves = quoted.next().unwrap_or_default();
        let error = self.error(ErrorTag::OperationFailed);
        let mut entries: Vec<_> = quoted.collect();
        entries.sort_unstable();
        let list = entries.first().map(|entry| without_last_predicates(entry));
        let error = error.at(list.unwrap_or_default());
        let paths = entries.iter().flat_map(|entry| {
            leaves
                .split_whitespace()
                .map(move |leaf| format!("{entry}/{}", without_prefixes(leaf, entry, schema)))
        });
        paths.fold(error, |error, path| error.yang_info("non-unique", path))
    }

    fn by_message(&self, schema: Schema) -> RpcError {
        let message = self.message.as_str();
        let name = || quoted(message).unwrap_or_default();
        if message.starts_with("Mandatory node") {
            let path = match self.path.as_deref() {
                Some(above) if above != "/" => format!("{above}/{}", name()),
                _ => self.schema_path.clone().unwrap_or_default(),
            };
            self.error(ErrorTag::DataMissing).at(path)
        } else if message.starts_with("List instance is missing its key") {
            self.error(ErrorTag::MissingElement)
                .info("bad-element", name())
        } else if message.contains("not found as a child")
            || message.starts_with("Node \"") && message.contains("not found")
        {
            self.error(ErrorTag::UnknownElement)
                .info("bad-element", name())
        } else if message.starts_with("No module with namespace") {
            self.error(ErrorTag::UnknownNamespace)
                .info("bad-element", "")
                .info("bad-namespace", name())
        } else if message.starts_with("Unexpected data") {
            self.error(ErrorTag::UnknownElement)
                .info("bad-element", last_quoted(message))
        } else if message.starts_with("When condition") {
            let path = self.path.as_deref().map(without_last_predicates);
            let name = path.and_then(|path| path.rsplit(['/', ':']).next());
            self.error(ErrorTag::UnknownElement)
                .info("bad-element", name.unwrap_or_default())
        } else if message.starts_with("Missing the operation node") {
            self.error(ErrorTag::MissingElement)
                .info("bad-element", "action")
        } else if message.starts_with("Duplicate instance")
            || message.starts_with("Data for both cases")
            || message.starts_with("Unexpected action element")
        {
            self.error(ErrorTag::BadElement).info("bad-element", name())
        } else if self.syntax {
            RpcError::rpc(ErrorTag::MalformedMessage, message)
        } else {
            let leaf = self.path.as_deref().and_then(|path| at(schema, path));
            match leaf.filter(|leaf| !leaf.leaf_type().is_null()) {
                Some(leaf) => words::of_value(leaf, None, message, self.app_tag.clone()),
                None => self.error(ErrorTag::InvalidValue),
            }
        }
    }
}

/// The schema node of a data path.
fn at(schema: Schema, path: &str) -> Option<SchemaNode> {
    let mut node: Option<SchemaNode> = None;
    for step in steps(path) {
        let name = step.split('[').next().unwrap_or_default();
        node = Some(match (name.split_once(':'), node) {
            (Some((module, name)), None) => schema.top(module, name)?,
            (Some((module, name)), Some(above)) => above.child(module, name)?,
            (None, Some(above)) => above.child(above.module(), name)?,
            (None, None) => return None,
        });
    }
    node
}

/// The steps of a data path, with their predicates.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    let parts = path.split(move |character| {
        match quote {
            Some(open) if open == character => quote = None,
            Some(_) => {}
            None if matches!(character, '\'' | '"') => quote = Some(character),
            None => return character == '/',
        }
        false
    });
    parts.skip(1)
}

/// The path of a list or leaf-list without what tells one entry from the others.
fn without_last_predicates(path: &str) -> &str {
    let Some(last) = steps(path).last() else {
        return path;
    };
    let bare = last.split('[').next().unwrap_or_default();
    &path[..path.len() - (last.len() - bare.len())]
}

/// The argument of `unique` has prefixes as the module writes them; in the path of a node of the same module they go.
fn without_prefixes(leaf: &str, entry: &str, schema: Schema) -> String {
    let own = at(schema, entry).map(SchemaNode::module);
    let name = |step: &str| match step.split_once(':') {
        Some((module, name)) if Some(module) != own && schema.namespace(module).is_some() => {
            format!("{module}:{name}")
        }
        Some((_, name)) => name.to_owned(),
        None => step.to_owned(),
    };
    let steps: Vec<_> = leaf.split('/').map(name).collect();
    steps.join("/")
}

/// Of a union libyang lists what each of its types says, a line each, with the value repeated in every one.
fn first_line(message: String) -> String {
    match message.split_once('\n') {
        Some((first, _)) => first.trim_end_matches(':').to_owned(),
        None => message,
    }
}

/// The first text in double quotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}

/// The last text in double quotes.
fn last_quoted(message: &str) -> &str {
    message.rsplit('"').nth(1).unwrap_or_default()
}

fn text(raw: *const c_char) -> Option<String> {
    // SAFETY: null or a NUL-terminated text of the error list, alive while it is walked.
    (!raw.is_null()).then(|| {
        unsafe { CStr::from_ptr(raw) }
            .to_string_lossy()
            .into_owned()
    })
}
