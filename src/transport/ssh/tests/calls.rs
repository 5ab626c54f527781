//! Connections that the server has opened itself.

use tokio::time::Instant;

use super::super::{Call, CallEnd, Terms};
use super::life::cuttable;
use super::*;

const MANAGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
const FOR_EVER: Terms = Terms::Stay(None);

/// A manager's side, the server's side, and what the agent wants with it.
struct Called {
    client: client::Handle<Trusting>,
    serving: JoinHandle<CallEnd>,
    terms: watch::Sender<Terms>,
    /// Has all that is sent disappear from now on.
    cut: watch::Sender<bool>,
}

async fn call(stage: &Stage, terms: Terms) -> Called {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (terms, seen) = watch::channel(terms);
    let (call, login) = Call::new(seen);
    let server = stage.server.clone();
    let serving = tokio::spawn(async move { server.serve_call(far, MANAGER, call).await });
    let (wire, cut) = cuttable(near);
    let client = client::connect_stream(Arc::default(), wire, Trusting).await;
    let mut client = client.unwrap();
    assert!(log_in(&mut client).await);
    assert_eq!(login.await.unwrap(), "alice");
    Called {
        client,
        serving,
        terms,
        cut,
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_on_which_nobody_logs_in_ends_after_the_login_time() {
    let stage = Stage::new(echo());
    let (_silent, far) = tokio::io::duplex(1024);
    let (_terms, seen) = watch::channel(FOR_EVER);
    let (call, login) = Call::new(seen);
    let begun = Instant::now();
    let end = stage.server.serve_call(far, MANAGER, call).await;
    assert_eq!(
        (end, begun.elapsed().as_secs()),
        (CallEnd::LoginTimeout, 30)
    );
    assert!(login.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_stays_without_any_session() {
    let stage = Stage::new(introduce());
    let called = call(&stage, FOR_EVER).await;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    let (mut channel, granted) = subsystem(&called.client, "netconf").await;
    assert!(granted);
    assert_eq!(read_to_end(&mut channel).await.0, "alice@192.0.2.8");
}

#[tokio::test(start_paused = true)]
async fn an_idle_call_ends_by_its_terms_of_the_moment() {
    let stage = Stage::new(echo());
    let called = call(&stage, FOR_EVER).await;
    let _session = subsystem(&called.client, "netconf").await;
    let begun = Instant::now();
    called
        .terms
        .send_replace(Terms::Stay(Some(Duration::from_secs(120))));
    assert_eq!(called.serving.await.unwrap(), CallEnd::Over(None));
    assert_eq!(begun.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn a_dead_manager_is_noticed_by_his_missing_keepalives() {
    let stage = Stage::new(echo());
    let called = call(&stage, FOR_EVER).await;
    let _session = subsystem(&called.client, "netconf").await;
    let begun = Instant::now();
    called.cut.send(true).unwrap();
    called.serving.await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(150));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_wanted_any_more_ends_at_once_and_its_manager_is_told() {
    let stage = Stage::new(echo());
    let called = call(&stage, FOR_EVER).await;
    let begun = Instant::now();
    called.terms.send_replace(Terms::Leave);
    assert_eq!(called.serving.await.unwrap(), CallEnd::Over(None));
    // It is disconnected and does not just find its stream closed.
    soon(called.client).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_the_agent() {
    let stage = Stage::new(echo());
    let called = call(&stage, FOR_EVER).await;
    let _session = subsystem(&called.client, "netconf").await;
    let begun = Instant::now();
    stage.stop.send(true).unwrap();
    called.serving.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
