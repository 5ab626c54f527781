//! `state/connection-test` as a data tree.

use super::Writer;
use crate::model::error::RpcError;
use crate::model::paths;
use crate::model::status::{Clocks, ConnectionTest, ServerStatus, TestedStep};
use crate::model::tree::Tree;

/// Characters of `explanation`.
const EXPLANATION: usize = 1023;

/// Writes the last test of the connection.
///
/// # Errors
/// What does not fit the model.
pub fn write_test(tree: &mut Tree, test: &ConnectionTest, clocks: Clocks) -> Result<(), RpcError> {
    let mut to = Writer::new(tree, paths::CONNECTION_TEST, clocks)?;
    to.moment("started-at", Some(test.started));
    to.moment("ended-at", test.ended);
    to.done()?;
    for (server, number) in test.servers.iter().zip(1..) {
        let base = format!("{}/server[number='{number}']", paths::CONNECTION_TEST);
        let mut to = Writer::new(tree, &base, clocks)?;
        to.server(&ServerStatus {
            address: server.address,
            domain: server.domain.clone(),
            port: server.port,
        });
        to.certificate(server.certificate.as_ref());
        to.done()?;
        let resolved = format!("{base}/resolved-address");
        for address in &server.resolved {
            tree.set(&resolved, Some(&address.to_string()))?;
        }
        for step in &server.steps {
            let base = format!("{base}/step[name='{}']", step.step.as_yang());
            write_tested(Writer::new(tree, &base, clocks)?, step)?;
        }
    }
    Ok(())
}

fn write_tested(mut to: Writer<'_>, step: &TestedStep) -> Result<(), RpcError> {
    let duration = step.duration.as_millis();
    to.counter("duration", u64::try_from(duration).unwrap_or(u64::MAX));
    if let Some(failure) = &step.failure {
        to.word("failure-reason", failure.reason.as_yang());
        let explanation = failure.explanation.as_deref();
        to.text("explanation", explanation.map(of_bounded_length));
    }
    to.done()
}

/// As long as `explanation` may be.
fn of_bounded_length(text: &str) -> String {
    text.chars().take(EXPLANATION).collect()
}
