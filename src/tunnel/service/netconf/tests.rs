//! The service against a cloud at the other end of a pipe: a WebSocket, and yamux in it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::tunnel::machine::event::SubconnectionReply;
use crate::tunnel::service::Order;

const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<DuplexStream>;

struct Rig {
    module: Arc<Netconf>,
    streams: mpsc::Receiver<TunnelStream>,
    cloud: Socket,
    orders: mpsc::Sender<Order>,
    heard: mpsc::Receiver<SubconnectionReply>,
    task: JoinHandle<()>,
    _interval: watch::Sender<Duration>,
}

async fn rig() -> Rig {
    let (ours, theirs) = duplex(8 << 10);
    let socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let cloud = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    let (orders, order) = mpsc::channel(4);
    let (report, heard) = mpsc::channel(64);
    let (interval, intervals) = watch::channel(Duration::from_secs(180));
    let (module, streams) = Netconf::new();
    let module = Arc::new(module);
    let link = Link {
        socket,
        interval: intervals,
        orders: order,
        report,
    };
    let serving = module.clone();
    let task = tokio::spawn(async move { serving.serve_on(link).await });
    Rig {
        module,
        streams,
        cloud,
        orders,
        heard,
        task,
        _interval: interval,
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

/// What the cloud has closed the WebSocket with.
async fn close_code(cloud: &mut Socket) -> u16 {
    loop {
        match soon(cloud.next()).await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// The cloud's yamux: streams can be opened while it is driven.
struct Mux {
    open: mpsc::Sender<tokio::sync::oneshot::Sender<yamux::Stream>>,
    _tasks: JoinSet<()>,
}

impl Mux {
    /// Over the cloud's end of a rig. Each octet of the byte stream is a message of its own where `shredded`.
    fn new(cloud: Socket, shredded: bool) -> Self {
        let (near, far) = duplex(64 << 10);
        let mut tasks = JoinSet::new();
        tasks.spawn(messages(cloud, near, shredded));
        let (open, mut wanted) =
            mpsc::channel::<tokio::sync::oneshot::Sender<yamux::Stream>>(STREAMS * 2);
        tasks.spawn(async move {
            let mut config = Config::default();
            config.set_max_num_streams(1024);
            let mut connection = Connection::new(far.compat(), config, Mode::Client);
            loop {
                tokio::select! {
                    Some(answer) = wanted.recv() => {
                        let Ok(stream) = poll_fn(|cx| connection.poll_new_outbound(cx)).await else { return };
                        drop(answer.send(stream));
                    }
                    inbound = poll_fn(|cx| connection.poll_next_inbound(cx)) => {
                        let Some(Ok(_)) = inbound else { return };
                    }
                }
            }
        });
        Self {
            open,
            _tasks: tasks,
        }
    }

    /// A stream, which the device learns of with the first octet.
    async fn open(&self) -> Compat<yamux::Stream> {
        let (answer, stream) = tokio::sync::oneshot::channel();
        self.open.send(answer).await.unwrap();
        soon(stream).await.unwrap().compat()
    }
}

async fn messages(cloud: Socket, pipe: DuplexStream, shredded: bool) {
    let (mut sink, mut stream) = cloud.split();
    let (mut read, mut write) = tokio::io::split(pipe);
    let out = async {
        let mut chunk = vec![0; 16 << 10];
        while let Ok(length @ 1..) = read.read(&mut chunk).await {
            let step = if shredded { 1 } else { length };
            for piece in chunk[..length].chunks(step) {
                let message = Message::Binary(Bytes::copy_from_slice(piece));
                if sink.send(message).await.is_err() {
                    return;
                }
            }
        }
    };
    let into = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Binary(bytes) = message
                && write.write_all(&bytes).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = out => {}
        () = into => {}
    }
}

#[tokio::test]
async fn a_stream_of_the_cloud_comes_out_and_carries_octets_both_ways_whatever_the_messages() {
    for shredded in [false, true] {
        let mut rig = rig().await;
        let mux = Mux::new(rig.cloud, shredded);
        let mut manager = mux.open().await;
        manager.write_all(b"from the manager").await.unwrap();
        let mut device = soon(rig.streams.recv()).await.unwrap();
        let mut heard = [0; 16];
        soon(device.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"from the manager");
        device.write_all(b"from the device").await.unwrap();
        // Half-close: the device's end of file leaves the other direction open.
        device.shutdown().await.unwrap();
        let mut answer = String::new();
        soon(manager.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer, "from the device");
        manager.write_all(b"more").await.unwrap();
        manager.shutdown().await.unwrap();
        let mut rest = Vec::new();
        soon(device.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, b"more");
        let counters = rig.module.counters();
        assert!(counters.received() > 20 && counters.sent() > 15);
    }
}

#[tokio::test]
async fn a_stream_beyond_128_is_reset_and_the_others_go_on() {
    let mut rig = rig().await;
    let mux = Mux::new(rig.cloud, false);
    let (mut managers, mut device) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let mut manager = mux.open().await;
        manager.write_all(b"x").await.unwrap();
        device.push(soon(rig.streams.recv()).await.unwrap());
        managers.push(manager);
    }
    let mut excess = mux.open().await;
    excess.write_all(b"x").await.unwrap();
    // A reset ends what is read; the device wrote nothing on it.
    assert_eq!(soon(excess.read(&mut [0])).await.unwrap(), 0);
    device[0].write_all(b"y").await.unwrap();
    assert_eq!(soon(managers[0].read_u8()).await.unwrap(), b'y');
    // One that ends makes room.
    drop(managers.pop());
    drop(device.pop());
    let mut next = mux.open().await;
    next.write_all(b"x").await.unwrap();
    soon(rig.streams.recv()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_256_kib_and_no_more() {
    let mut rig = rig().await;
    let mux = Mux::new(rig.cloud, false);
    let mut manager = mux.open().await;
    manager.write_all(b"x").await.unwrap();
    let _device = soon(rig.streams.recv()).await.unwrap();
    let mut sent = 1;
    while let Ok(Ok(length)) =
        tokio::time::timeout(Duration::from_millis(500), manager.write(&[0; 4096])).await
    {
        sent += length;
        assert!(sent <= DEFAULT_CREDIT as usize, "{sent}");
    }
    assert_eq!(sent, DEFAULT_CREDIT as usize);
    // Another stream is not behind it.
    let mut other = mux.open().await;
    other.write_all(b"x").await.unwrap();
    soon(rig.streams.recv()).await.unwrap();
}

#[tokio::test]
async fn a_go_away_ends_the_streams_and_the_subconnection_in_order() {
    let mut rig = rig().await;
    // Yamux version 0, type 3 (go away), code 0; before it a stream.
    let syn = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'x'];
    rig.cloud.send(Message::binary(syn.to_vec())).await.unwrap();
    let mut device = soon(rig.streams.recv()).await.unwrap();
    let go_away = [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rig.cloud
        .send(Message::binary(go_away.to_vec()))
        .await
        .unwrap();
    assert_eq!(close_code(&mut rig.cloud).await, 1000);
    let mut rest = Vec::new();
    soon(device.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"x");
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Alive));
    let closed = SubconnectionReply::Closed(CloseCode::NORMAL);
    assert_eq!(rig.heard.recv().await, Some(closed));
    soon(rig.task).await.unwrap();
}

#[tokio::test]
async fn what_is_not_yamux_is_closed_with_1002() {
    let mut rig = rig().await;
    rig.cloud
        .send(Message::binary(&b"SSH-2.0-nonsense"[..]))
        .await
        .unwrap();
    assert_eq!(close_code(&mut rig.cloud).await, 1002);
    assert_eq!(rig.heard.recv().await, Some(SubconnectionReply::Alive));
    let violation = SubconnectionReply::Violation(CloseCode::PROTOCOL);
    assert_eq!(rig.heard.recv().await, Some(violation));
}

#[tokio::test]
async fn a_cloud_that_fills_a_window_with_tiny_frames_is_closed_with_1002() {
    let mut rig = rig().await;
    let syn = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'x'];
    rig.cloud.send(Message::binary(syn.to_vec())).await.unwrap();
    let _device = soon(rig.streams.recv()).await.unwrap();
    let frame = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'x'];
    let many = frame.repeat(1000);
    // Far fewer octets than the window has room for.
    for _ in 0..80 {
        if rig.cloud.send(Message::binary(many.clone())).await.is_err() {
            break;
        }
    }
    assert_eq!(close_code(&mut rig.cloud).await, 1002);
}

#[tokio::test]
async fn a_text_frame_is_answered_by_1003_on_order() {
    let mut rig = rig().await;
    rig.cloud.send(Message::text("hello")).await.unwrap();
    let violation = SubconnectionReply::Violation(CloseCode::UNSUPPORTED);
    assert_eq!(soon(rig.heard.recv()).await, Some(violation));
    let code = CloseCode::UNSUPPORTED;
    rig.orders.send(Order::Close(code)).await.unwrap();
    assert_eq!(close_code(&mut rig.cloud).await, 1003);
}

#[tokio::test]
async fn pings_are_sent_on_order_and_answered_while_a_stream_stalls() {
    let mut rig = rig().await;
    let syn = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'x'];
    rig.cloud.send(Message::binary(syn.to_vec())).await.unwrap();
    let mut device = soon(rig.streams.recv()).await.unwrap();
    // More than a window: what the cloud has no credit for stays with the device.
    let writing = tokio::spawn(async move { device.write_all(&vec![0; 1 << 20]).await });
    rig.orders.send(Order::Ping).await.unwrap();
    let ping = Message::Ping(Bytes::from_static(b"still there?"));
    rig.cloud.send(ping).await.unwrap();
    let (mut pinged, mut answered, mut octets) = (false, false, 0);
    while !pinged || !answered || octets < DEFAULT_CREDIT as usize {
        match soon(rig.cloud.next()).await.unwrap().unwrap() {
            Message::Ping(_) => pinged = true,
            Message::Pong(payload) => answered = payload == "still there?",
            Message::Binary(bytes) => octets += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    assert!(!writing.is_finished());
}
