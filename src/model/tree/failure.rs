//! What libyang says of a refusal, as rpc-errors.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::ffi::CStr;
use std::os::raw::c_char;

use yang5::ffi;

use super::raw_context;
use crate::model::error::{ErrorTag, Errors, RpcError};
use crate::model::schema::Schema;

/// Forgets this thread's earlier errors, so that [`take`] sees only those of the call in between.
pub(super) fn clear(schema: Schema) {
    // SAFETY: the list belongs to the thread and the context.
    unsafe { ffi::ly_err_clean(raw_context(schema), std::ptr::null_mut()) };
}

/// Forgets this thread's errors about a node: it was asked whether something is there, and it is not.
pub(super) fn forget(node: super::SchemaNode) {
    // SAFETY: as in `clear`.
    unsafe { ffi::ly_err_clean(super::raw_context_of(node), std::ptr::null_mut()) };
}

/// The first error since [`clear`].
pub(super) fn first(schema: Schema) -> RpcError {
    take(schema).swap_remove(0)
}

/// All errors since [`clear`]; never empty.
pub(super) fn take(schema: Schema) -> Errors {
    let mut errors = Errors::new();
    // SAFETY: the list is this thread's, and nothing is logged while it is walked.
    unsafe {
        let mut item = ffi::ly_err_first(raw_context(schema));
        while !item.is_null() {
            if (*item).level == ffi::LY_LOG_LEVEL::LY_LLERR {
                errors.push(Item::read(&*item).to_error());
            }
            item = (*item).next;
        }
    }
    clear(schema);
    if errors.is_empty() {
        errors.push(RpcError::application(
            ErrorTag::OperationFailed,
            "the data was refused",
        ));
    }
    errors
}

/// One entry of the list, owned.
struct Item {
    message: String,
    path: Option<String>,
    app_tag: Option<String>,
    syntax: bool,
}

impl Item {
    fn read(item: &ffi::ly_err_item) -> Self {
        Self {
            message: text(item.msg).map_or_else(|| "the data was refused".to_owned(), first_line),
            path: text(item.data_path),
            app_tag: text(item.apptag),
            syntax: item.vecode == ffi::LY_VECODE::LYVE_SYNTAX_XML,
        }
    }

    /// The tag by RFC 6241, appendix A, and RFC 7950, sections 8.3 and 15.
    fn to_error(&self) -> RpcError {
        let mut error = match self.app_tag.as_deref() {
            Some("instance-required" | "missing-choice") => self.error(ErrorTag::DataMissing),
            Some("data-not-unique") => self.not_unique(),
            Some("must-violation" | "too-few-elements" | "too-many-elements") => {
                self.error(ErrorTag::OperationFailed)
            }
            _ => self.by_message(),
        };
        error.path.clone_from(&self.path);
        if error.app_tag.is_none() {
            error.app_tag.clone_from(&self.app_tag);
        }
        if error.app_tag.as_deref() == Some("missing-choice") {
            let choice = quoted(&self.message).unwrap_or_default();
            error = error.yang_info("missing-choice", choice);
        }
        error
    }

    fn error(&self, tag: ErrorTag) -> RpcError {
        RpcError::application(tag, self.message.clone())
    }

    /// RFC 7950, section 15.1: `non-unique` names the entries that hold the same values.
    fn not_unique(&self) -> RpcError {
        let paths = self.message.split('"').skip(3).step_by(2);
        let error = self.error(ErrorTag::OperationFailed);
        paths.fold(error, |error, path| error.yang_info("non-unique", path))
    }

    fn by_message(&self) -> RpcError {
        let message = self.message.as_str();
        let name = || quoted(message).unwrap_or_default();
        if message.starts_with("Mandatory node") {
            self.error(ErrorTag::DataMissing)
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
            self.error(ErrorTag::UnknownElement)
        } else if message.starts_with("Duplicate instance")
            || message.starts_with("Data for both cases")
        {
            self.error(ErrorTag::BadElement).info("bad-element", name())
        } else if self.syntax {
            RpcError::rpc(ErrorTag::MalformedMessage, message)
        } else {
            self.error(ErrorTag::InvalidValue)
        }
    }
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
