//! Why a subscription to a datastore is refused: an identity of the modules as app-tag, with hints (RFC 8641, section 4.4.1;
//! RFC 8640, section 7).

use super::message::NAMESPACE;
use crate::model::error::{ErrorInfo, ErrorTag, RpcError};

/// The structure that the hints of an operation are in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Establish,
    Modify,
    Resync,
}

impl Of {
    fn structure(self) -> &'static str {
        match self {
            Self::Establish => "establish-subscription-datastore-error-info",
            Self::Modify => "modify-subscription-datastore-error-info",
            Self::Resync => "resync-subscription-error",
        }
    }
}

/// A refusal by an identity of ietf-yang-push.
pub(super) fn refuse(
    of: Of,
    identity: &str,
    words: impl Into<String>,
    hints: &[(&'static str, u64)],
) -> RpcError {
    let tag = match identity {
        "cant-exclude" | "on-change-unsupported" | "on-change-sync-unsupported" => {
            ErrorTag::OperationNotSupported
        }
        "update-too-big" | "sync-too-big" => ErrorTag::TooBig,
        "unchanging-selection" => ErrorTag::OperationFailed,
        _ => ErrorTag::InvalidValue,
    };
    let identity = format!("ietf-yang-push:{identity}");
    let mut inside = vec![("reason", identity.clone())];
    inside.extend(hints.iter().map(|(name, value)| (*name, value.to_string())));
    let mut error = RpcError::application(tag, words).app_tag(identity);
    error.info.push(ErrorInfo {
        name: of.structure(),
        namespace: NAMESPACE,
        value: String::new(),
        inside,
    });
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netconf::reply::{ReplyHead, write_errors};

    #[test]
    fn a_refusal_has_the_identity_as_app_tag_and_its_hints_in_the_structure_of_the_operation() {
        let hints = [("period-hint", 100)];
        let error = refuse(Of::Modify, "period-unsupported", "too short", &hints);
        let namespace = |module: &str| (module == "ietf-yang-push").then(|| "urn:p".to_owned());
        let xml = write_errors(&ReplyHead::default(), &[error], namespace);
        for part in [
            "<error-tag>invalid-value</error-tag>",
            "<error-app-tag>ietf-yang-push:period-unsupported</error-app-tag>",
            "<modify-subscription-datastore-error-info xmlns=\"urn:ietf:params:xml:ns:yang:ietf-yang-push\">\
             <reason xmlns:ietf-yang-push=\"urn:p\">ietf-yang-push:period-unsupported</reason>\
             <period-hint>100</period-hint></modify-subscription-datastore-error-info>",
        ] {
            assert!(xml.contains(part), "{part}: {xml}");
        }
    }
}
