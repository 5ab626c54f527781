//! Clients that mean no good, all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::wire::{Door, Failure, request};

/// Logins at a time while the siege is laid.
const ABREAST: usize = 8;
/// Sessions that send octet by octet, and clients that send noise, of two kinds.
const FEW: usize = 10;
/// Between the octets of the slow, and between the attempts of the others.
const OCTET: Duration = Duration::from_millis(5);
const ATTEMPT: Duration = Duration::from_millis(500);
/// Whoever has not been read from for this time is stuck.
const SETTLED: Duration = Duration::from_secs(2);
const SCHEMA: &str = r#"<get-schema xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><identifier>ietf-hardware</identifier></get-schema>"#;

#[derive(Default)]
struct Tally {
    slow_replies: AtomicUsize,
    noise: AtomicUsize,
    silent_again: AtomicUsize,
}

/// Lays the siege, says so, and holds it until standard input ends.
pub async fn run(door: Arc<Door>, silent: usize, sessions: usize) -> Result<(), Failure> {
    let tally = Arc::new(Tally::default());
    let mut clients = JoinSet::new();
    let laid = Arc::new(Semaphore::new(0));
    let places = Arc::new(Semaphore::new(ABREAST));
    for _ in 0..silent {
        clients.spawn(keep_silent(door.clone(), tally.clone(), laid.clone()));
    }
    for _ in 0..sessions {
        clients.spawn(stop_halfway(door.clone(), places.clone(), laid.clone()));
        clients.spawn(never_read(door.clone(), places.clone(), laid.clone()));
    }
    for number in 0..FEW {
        clients.spawn(crawl(
            door.clone(),
            tally.clone(),
            places.clone(),
            laid.clone(),
        ));
        let seed = number as u64;
        clients.spawn(babble(door.clone(), tally.clone(), seed));
        clients.spawn(babble_in_session(
            door.clone(),
            tally.clone(),
            places.clone(),
            seed,
        ));
    }
    let all = u32::try_from(silent + 2 * sessions + FEW)?;
    tokio::select! {
        laid = laid.acquire_many(all) => drop(laid?),
        Some(ended) = clients.join_next() => return ended?.and(Err("a client ended".into())),
    }
    println!("crowd: laid={all}");
    tokio::select! {
        ended = input_ended() => ended?,
        Some(ended) = clients.join_next() => return ended?.and(Err("a client ended".into())),
    }
    println!(
        "crowd: slow_replies={} noise={} silent_again={}",
        tally.slow_replies.load(Relaxed),
        tally.noise.load(Relaxed),
        tally.silent_again.load(Relaxed)
    );
    // What still reads and writes goes with the program.
    std::process::exit(0)
}

/// Waits for the end of standard input, on a thread that the end of the program need not wait for.
async fn input_ended() -> Result<(), Failure> {
    let (told, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // Nobody listens once the program has failed.
        let _ = told.send(read.map(drop));
    });
    Ok(ended.await??)
}

/// Connects and says nothing; comes again when it is left.
async fn keep_silent(
    door: Arc<Door>,
    tally: Arc<Tally>,
    laid: Arc<Semaphore>,
) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(door.ssh).await?;
    laid.add_permits(1);
    loop {
        let mut octets = [0; 1024];
        while let Ok(1..) = stream.read(&mut octets).await {}
        sleep(ATTEMPT).await;
        tally.silent_again.fetch_add(1, Relaxed);
        stream = TcpStream::connect(door.ssh).await?;
    }
}

/// Begins a message and never ends it.
async fn stop_halfway(
    door: Arc<Door>,
    places: Arc<Semaphore>,
    laid: Arc<Semaphore>,
) -> Result<(), Failure> {
    let place = places.acquire().await?;
    let (mut line, _connection) = door.session().await?;
    drop(place);
    line.say(b"\n#2000\n<rpc xmlns=\"").await?;
    laid.add_permits(1);
    std::future::pending().await
}

/// Asks for much and takes nothing off its socket.
async fn never_read(
    door: Arc<Door>,
    places: Arc<Semaphore>,
    laid: Arc<Semaphore>,
) -> Result<(), Failure> {
    let place = places.acquire().await?;
    let (mut line, connection) = door.session().await?;
    drop(place);
    connection.stop_reading();
    let much = request(SCHEMA).repeat(100);
    // It waits once the window is used up. The server may end it before, or later.
    let asked = line.say(&much);
    tokio::pin!(asked);
    let is_stuck = timeout(SETTLED, &mut asked).await.is_err();
    laid.add_permits(1);
    if is_stuck {
        let _ = asked.await;
    }
    std::future::pending().await
}

/// Sends proper requests, an octet at a time.
async fn crawl(
    door: Arc<Door>,
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    laid: Arc<Semaphore>,
) -> Result<(), Failure> {
    let place = places.acquire().await?;
    let (mut line, _connection) = door.session().await?;
    drop(place);
    // In place once the first of its requests is answered.
    let mut laid = Some(laid);
    loop {
        for octet in request(super::GET) {
            line.say(&[octet]).await?;
            sleep(OCTET).await;
        }
        line.hear(b"\n##\n").await?;
        tally.slow_replies.fetch_add(1, Relaxed);
        if let Some(laid) = laid.take() {
            laid.add_permits(1);
        }
    }
}

/// Sends noise instead of SSH.
async fn babble(door: Arc<Door>, tally: Arc<Tally>, seed: u64) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let mut stream = TcpStream::connect(door.ssh).await?;
        let noise: Vec<u8> = (0..random.random_range(1..4000))
            .map(|_| random.random())
            .collect();
        // The server ends the connection when it likes.
        let _ = stream.write_all(&noise).await;
        let _ = timeout(ATTEMPT, stream.read_to_end(&mut Vec::new())).await;
        tally.noise.fetch_add(1, Relaxed);
        sleep(ATTEMPT).await;
    }
}

/// Sends noise instead of messages, some of it in a proper chunk.
async fn babble_in_session(
    door: Arc<Door>,
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    seed: u64,
) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let place = places.acquire().await?;
        let (mut line, connection) = door.session().await?;
        drop(place);
        let noise: Vec<u8> = (0..random.random_range(1..4000))
            .map(|_| random.random())
            .collect();
        let head = format!("\n#{}\n", noise.len());
        let is_framed: bool = random.random();
        let message = if is_framed {
            [head.as_bytes(), &noise, b"\n##\n"].concat()
        } else {
            noise
        };
        // Refused or ended, as the server likes.
        let _ = line.say(&message).await;
        let _ = timeout(ATTEMPT, line.hear(b"\n##\n")).await;
        connection.cut(random.random()).await;
        tally.noise.fetch_add(1, Relaxed);
        sleep(ATTEMPT).await;
    }
}
