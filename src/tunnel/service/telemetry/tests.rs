//! The service against a cloud at the other end of a pipe.

use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

type Socket = WebSocketStream<DuplexStream>;

struct Rig {
    cloud: Socket,
    orders: mpsc::Sender<Order>,
    interval: watch::Sender<Duration>,
    heard: mpsc::Receiver<SubconnectionReply>,
    task: JoinHandle<()>,
}

fn telemetry() -> Telemetry {
    let state = r#"{"cloud-management:cloud-management":{"state":{"attempts":1}}}"#;
    Telemetry::new(Box::new(|| Some(state.to_owned())), || {
        SystemTime::UNIX_EPOCH
    })
}

async fn rig(telemetry: &'static Telemetry) -> Rig {
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let cloud = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    let (orders, order) = mpsc::channel(4);
    let (report, heard) = mpsc::channel(4);
    let (interval, intervals) = watch::channel(Duration::from_secs(180));
    let link = Link {
        socket: ours,
        interval: intervals,
        orders: order,
        report,
    };
    let task = tokio::spawn(telemetry.serve_on(link));
    Rig {
        cloud,
        orders,
        interval,
        heard,
        task,
    }
}

fn leak() -> &'static Telemetry {
    Box::leak(Box::new(telemetry()))
}

/// The name of the notification in the next frame.
async fn next(cloud: &mut Socket) -> String {
    let frame = cloud.next().await.unwrap().unwrap().into_text().unwrap();
    let frame: Value = serde_json::from_str(&frame).unwrap();
    let notification = frame["ietf-restconf:notification"].as_object().unwrap();
    assert_eq!(notification["eventTime"], "1970-01-01T00:00:00.000Z");
    let mut names = notification.keys().filter(|name| *name != "eventTime");
    names.next().unwrap().clone()
}

fn numbered(number: usize) -> String {
    format!(r#"{{"m:n{number}":{{}}}}"#)
}

const PUSH: &str = "ietf-yang-push:push-update";

#[tokio::test(start_paused = true)]
async fn the_state_goes_out_at_the_opening_and_each_interval() {
    let mut rig = rig(leak()).await;
    let start = Instant::now();
    assert_eq!(next(&mut rig.cloud).await, PUSH);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut rig.cloud).await, PUSH);
    assert_eq!(start.elapsed().as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn a_changed_interval_counts_from_the_change() {
    let mut rig = rig(leak()).await;
    next(&mut rig.cloud).await;
    let start = Instant::now();
    rig.interval.send(Duration::from_secs(10)).unwrap();
    assert_eq!(next(&mut rig.cloud).await, PUSH);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_happened_before_the_opening_is_told_in_order() {
    let telemetry = leak();
    telemetry.notify(SystemTime::UNIX_EPOCH, &numbered(1));
    let mut rig = rig(telemetry).await;
    telemetry.notify(SystemTime::UNIX_EPOCH, &numbered(2));
    assert_eq!(next(&mut rig.cloud).await, PUSH);
    assert_eq!(next(&mut rig.cloud).await, "m:n1");
    assert_eq!(next(&mut rig.cloud).await, "m:n2");
    telemetry.notify(SystemTime::UNIX_EPOCH, &numbered(3));
    assert_eq!(next(&mut rig.cloud).await, "m:n3");
    assert!(telemetry.counters().sent() > 0);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts() {
    let telemetry = leak();
    for number in 0..QUEUE + 3 {
        telemetry.notify(SystemTime::UNIX_EPOCH, &numbered(number));
    }
    assert_eq!(telemetry.counters().dropped(), 3);
    let mut rig = rig(telemetry).await;
    assert_eq!(next(&mut rig.cloud).await, PUSH);
    assert_eq!(next(&mut rig.cloud).await, "m:n3");
}

#[test]
fn what_does_not_fit_into_a_frame_is_dropped() {
    let telemetry = telemetry();
    let long = format!(
        r#"{{"m:n":{{"x":"{}"}}}}"#,
        "x".repeat(MAX_TELEMETRY_MESSAGE)
    );
    telemetry.notify(SystemTime::UNIX_EPOCH, &long);
    telemetry.notify(SystemTime::UNIX_EPOCH, "no object");
    assert_eq!(telemetry.counters().dropped(), 2);
    assert!(telemetry.queue().frames.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_cloud_says_is_a_sign_of_life_and_no_more() {
    let mut rig = rig(leak()).await;
    next(&mut rig.cloud).await;
    for _ in 0..50 {
        rig.cloud.send(Message::text("hello")).await.unwrap();
    }
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Alive));
    // The others fell into the same second.
    rig.cloud.close(None).await.unwrap();
    let closed = SubconnectionReply::Closed(CloseCode(1005));
    assert_eq!(rig.heard.recv().await, Some(closed));
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_binary_frame_is_answered_by_1003_on_order() {
    let mut rig = rig(leak()).await;
    next(&mut rig.cloud).await;
    rig.cloud.send(Message::binary(vec![0])).await.unwrap();
    let code = CloseCode::UNSUPPORTED;
    assert_eq!(
        rig.heard.recv().await,
        Some(SubconnectionReply::Violation(code))
    );
    rig.orders.send(Order::Close(code)).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = rig.cloud.next().await else {
        panic!("not closed");
    };
    assert_eq!(u16::from(frame.code), 1003);
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_sent_on_order() {
    let mut rig = rig(leak()).await;
    next(&mut rig.cloud).await;
    rig.orders.send(Order::Ping).await.unwrap();
    assert!(rig.cloud.next().await.unwrap().unwrap().is_ping());
    // The cloud's next read has answered it.
    rig.cloud.flush().await.unwrap();
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Alive));
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_is_gone_is_lost() {
    let mut rig = rig(leak()).await;
    drop(rig.cloud);
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Lost));
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_takes_nothing_is_lost() {
    let telemetry = leak();
    for number in 0..QUEUE {
        telemetry.notify(SystemTime::UNIX_EPOCH, &numbered(number));
    }
    // Its end of the pipe is open but never read.
    let mut rig = rig(telemetry).await;
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Lost));
    rig.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_notification_whose_connection_is_lost_under_it_is_told_on_the_next() {
    let telemetry = leak();
    let mut first = rig(telemetry).await;
    assert_eq!(next(&mut first.cloud).await, PUSH);
    // More than the pipe holds: it is sent only as far as the cloud reads.
    let long = format!(r#"{{"m:long":{{"x":"{}"}}}}"#, "x".repeat(8 << 10));
    telemetry.notify(SystemTime::UNIX_EPOCH, &long);
    tokio::task::yield_now().await;
    drop(first.cloud);
    assert_eq!(first.heard.recv().await, Some(SubconnectionReply::Lost));
    let mut second = rig(telemetry).await;
    assert_eq!(next(&mut second.cloud).await, PUSH);
    assert_eq!(next(&mut second.cloud).await, "m:long");
    assert_eq!(telemetry.counters().dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_ends_closes_as_going_away() {
    let mut rig = rig(leak()).await;
    next(&mut rig.cloud).await;
    drop(rig.orders);
    let Some(Ok(Message::Close(Some(frame)))) = rig.cloud.next().await else {
        panic!("not closed");
    };
    assert_eq!(u16::from(frame.code), 1001);
}
