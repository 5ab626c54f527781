//! `<create-subscription>` (RFC 5277, section 2.1.1): whether it makes sense.

use std::time::SystemTime;

use super::retrieve;
use crate::datastore::events::NETCONF;
use crate::datastore::retrieval::Selection;
use crate::model::error::{ErrorTag, RpcError};
use crate::model::schema::Schema;
use crate::netconf::rpc::CreateSubscription;

/// What a subscription selects.
///
/// # Errors
/// `invalid-value` for a stream that is not there, `bad-element` for a start in the future or a stop before the start,
/// `missing-element` for a stop without a start, and what is wrong with the filter.
pub fn create_subscription(
    schema: Schema,
    request: &CreateSubscription,
    now: SystemTime,
) -> Result<Selection, RpcError> {
    if request.stream != NETCONF {
        let words = format!("there is no stream of that name; there is \"{NETCONF}\"");
        let error = RpcError::protocol(ErrorTag::InvalidValue, words);
        return Err(error.info("bad-element", "stream"));
    }
    let bad = |element: &str, words: &str| {
        RpcError::protocol(ErrorTag::BadElement, words).info("bad-element", element)
    };
    match (request.start, request.stop) {
        (Some(start), _) if start > now => {
            return Err(bad("startTime", "the start of a replay is not in the past"));
        }
        (Some(start), Some(stop)) if stop <= start => {
            return Err(bad("stopTime", "the stop is not after the start"));
        }
        (None, Some(_)) => {
            let words = "a stopTime needs a startTime";
            let error = RpcError::protocol(ErrorTag::MissingElement, words);
            return Err(error.info("bad-element", "startTime"));
        }
        _ => {}
    }
    retrieve::selection(schema, request.filter.as_ref())
}
