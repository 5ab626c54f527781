//! Sessions that end in every way there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::wire::{Door, Failure, GET, Line};

const LOCK_CANDIDATE: &str = "<lock><target><candidate/></target></lock>";
/// For those who hold it until a timeout.
const LOCK_RUNNING: &str = "<lock><target><running/></target></lock>";

/// How a session ends. The idle and the silent one wait for the server's timeouts.
#[derive(Clone, Copy, Debug)]
enum Way {
    Close,
    Kill,
    EndOfFile,
    EndOfConnection,
    Reset,
    BadFraming,
    BadHello,
    Idle,
    Silent,
}

const OVER_SSH: [Way; 9] = [
    Way::Close,
    Way::Kill,
    Way::EndOfFile,
    Way::EndOfConnection,
    Way::Reset,
    Way::BadFraming,
    Way::BadHello,
    Way::Idle,
    Way::Silent,
];
const OVER_THE_SOCKET: [Way; 7] = [
    Way::Close,
    Way::Kill,
    Way::EndOfFile,
    Way::BadFraming,
    Way::BadHello,
    Way::Idle,
    Way::Silent,
];

/// Lives so many sessions, half of them over the local socket where there is one.
pub async fn run(door: Arc<Door>, count: usize, abreast: usize) -> Result<(), Failure> {
    let places = Arc::new(Semaphore::new(abreast));
    let locks = Arc::new(AtomicUsize::new(0));
    let mut lives = JoinSet::new();
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await?;
        let (door, locks) = (Arc::clone(&door), Arc::clone(&locks));
        let is_local = door.socket.is_some() && number % 2 == 1;
        lives.spawn(async move {
            let lived = if is_local {
                let way = OVER_THE_SOCKET[number / 2 % OVER_THE_SOCKET.len()];
                live_on_socket(&door, way, &locks).await
            } else {
                let way = OVER_SSH[number / 2 % OVER_SSH.len()];
                live_over_ssh(&door, way, &locks).await
            };
            drop(place);
            lived.map_err(|error| format!("session {number} (local: {is_local}): {error}"))
        });
        while let Some(lived) = lives.try_join_next() {
            lived??;
        }
    }
    while let Some(lived) = lives.join_next().await {
        lived??;
    }
    println!("crowd: sessions={count} locks={}", locks.load(Relaxed));
    Ok(())
}

async fn live_over_ssh(door: &Door, way: Way, locks: &AtomicUsize) -> Result<(), Failure> {
    let (mut line, connection) = door.channel().await?;
    match way {
        Way::EndOfConnection | Way::Reset => {
            line.greet().await?;
            work(&mut line, LOCK_CANDIDATE, locks).await?;
            connection.cut(matches!(way, Way::Reset)).await;
        }
        Way::Kill => {
            let (mut killer, other) = door.session().await?;
            kill(&mut line, &mut killer, locks).await?;
            other.leave().await;
            connection.leave().await;
        }
        _ => {
            live(&mut line, way, locks).await?;
            connection.leave().await;
        }
    }
    Ok(())
}

async fn live_on_socket(door: &Door, way: Way, locks: &AtomicUsize) -> Result<(), Failure> {
    let mut line = door.local().await?;
    if matches!(way, Way::Kill) {
        let mut killer = door.local().await?;
        killer.greet().await?;
        return kill(&mut line, &mut killer, locks).await;
    }
    live(&mut line, way, locks).await
}

async fn live<S>(line: &mut Line<S>, way: Way, locks: &AtomicUsize) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match way {
        Way::Silent => {
            line.hear_hello().await?;
            return line.hear_end().await;
        }
        Way::BadHello => {
            line.say(b"<hello/>]]>]]>").await?;
            return line.hear_end().await;
        }
        _ => line.greet().await?,
    }
    let lock = match way {
        Way::Idle => LOCK_RUNNING,
        _ => LOCK_CANDIDATE,
    };
    work(line, lock, locks).await?;
    match way {
        Way::Close => drop(line.ask("<close-session/>").await?),
        Way::EndOfFile => line.shut().await?,
        Way::BadFraming => line.say(b"\n#0\n").await?,
        _ => {}
    }
    line.hear_end().await
}

async fn kill<S>(
    line: &mut Line<S>,
    killer: &mut Line<S>,
    locks: &AtomicUsize,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    line.greet().await?;
    work(line, LOCK_CANDIDATE, locks).await?;
    let kill = format!(
        "<kill-session><session-id>{}</session-id></kill-session>",
        line.id
    );
    killer.ask(&kill).await?;
    line.hear_end().await?;
    killer.ask("<close-session/>").await?;
    killer.hear_end().await
}

/// A request, and a lock if nobody else has it: the session ends with it.
async fn work<S>(line: &mut Line<S>, lock: &str, locks: &AtomicUsize) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    line.ask(GET).await?;
    if line.ask(lock).await?.contains("<ok/>") {
        locks.fetch_add(1, Relaxed);
    }
    Ok(())
}
