//! RFC 6241: the commit family. Each test is one rule; the clock is a paused one, so a deadline comes at once and never
//! too early.

mod confirmed_commit;
mod datastores;
mod edits;
mod operations;
mod startup;

use std::time::Duration;

use tether::protocol::client::{ClientError, ReportedError};

use tether::protocol::client::Client;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::cloud_management;
use crate::support::served::{Served, Session};

fn keepalive(seconds: u16) -> String {
    cloud_management(&format!(
        "<keepalive-interval>{seconds}</keepalive-interval>"
    ))
}

/// The keepalive interval that was set in a datastore, 0 when none was.
async fn interval<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    datastore: &str,
) -> u16 {
    let filter = cloud_management("<keepalive-interval/>");
    let data = session.get_config(datastore, Some(&filter)).await.unwrap();
    let inside = data.split_once("<keepalive-interval>");
    let value = inside.and_then(|(_, rest)| rest.split('<').next());
    value.map_or(0, |value| value.parse().unwrap())
}

async fn ok<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, operation: &str) {
    match session.rpc(operation).await {
        Ok(reply) => assert!(reply.starts_with("<ok"), "{operation}: {reply}"),
        Err(error) => panic!("{operation}: {error:?}"),
    }
}

async fn refused<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    operation: &str,
) -> ReportedError {
    match session.rpc(operation).await {
        Err(ClientError::Refused(mut errors)) if errors.len() == 1 => errors.remove(0),
        other => panic!("{operation}: {other:?}"),
    }
}

async fn edit<S: AsyncRead + AsyncWrite + Unpin>(
    session: &mut Client<S>,
    datastore: &str,
    seconds: u16,
) {
    let edited = session.edit_config(datastore, &keepalive(seconds)).await;
    edited.unwrap();
}

/// Lets virtual time go by.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Asks until running has this interval; the wait is for a task of the server, not for time.
async fn becomes<S: AsyncRead + AsyncWrite + Unpin>(session: &mut Client<S>, seconds: u16) {
    let asking = async { while interval(session, "running").await != seconds {} };
    tokio::time::timeout(Duration::from_secs(20), asking)
        .await
        .unwrap_or_else(|_| panic!("running never had {seconds}"));
}
